"""Relocatable objects as compilers write them, read fast enough to be read on every save.

A thin layer over :mod:`hotflash.elf.format`: sections, symbols, relocations per section, mapping symbols
(AAELF32, 5.5.5) and build attributes. The relocations of a section are taken apart when they are asked for.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from hotflash.elf import attributes as attrs
from hotflash.elf import format as elf
from hotflash.elf import symbols
from hotflash.elf.format import Container, RawSymbol, Section

if TYPE_CHECKING:
    from hotflash.errors import ElfError

Symbol = RawSymbol
_ZLIB = 1
"""ELFCOMPRESS_ZLIB."""
_MAX_CONTENTS = 1 << 28
"""Bytes of one section that are believed: a compressed one could claim anything."""
_offset_of = itemgetter(0)
_symbol_of = itemgetter(2)


Relocation = tuple[int, int, int, int | None]
"""One relocation of a section: offset of the place in the section, kind (``R_ARM_*``, AAELF32, 5.6.1), index of the
symbol, and the explicit addend (RELA) or None: it is in the place (REL), as in all that GCC and clang write."""


class ObjectFile:
    """A relocatable object.

    ``sections`` and ``symbols`` are indexed as in the file (symbol 0 and section 0 are the null entries).
    """

    def __init__(self, container: Container) -> None:
        self.name = container.name
        """What messages call the object."""
        self.container = container
        self.sections: list[Section] = container.sections
        self.table = symbols.read(container)
        """What follows from the symbols alone; objects with the same symbols share it."""
        self.symbols: list[Symbol] = self.table.symbols
        self.attributes: dict[int, int | str] = {}
        """Build attributes by tag; see :mod:`hotflash.elf.attributes`."""
        section = container.of_kind(elf.SHT_ARM_ATTRIBUTES)
        if section is not None:
            self.attributes = attrs.parse(section.data, container.fail)
        self._relocation_sections: dict[int, list[Section]] = {}
        rel, rela, count = elf.SHT_REL, elf.SHT_RELA, len(self.sections)
        for section in [s for s in self.sections if s.kind == rel or s.kind == rela]:  # noqa: PLR1714
            if not 0 < section.info < count:
                raise self.fail(f"{section.name} relocates section {section.info}, which does not exist")
            self._relocation_sections.setdefault(section.info, []).append(section)
        self._relocations: dict[int, list[Relocation]] = {}
        self._check()

    @classmethod
    def load(cls, path: str | Path) -> ObjectFile:
        """Reads an object file. Raises ElfError when it is not one, UsageError when it cannot be opened."""
        return cls.parse(elf.read_file(Path(path)), str(path))

    @classmethod
    def parse(cls, data: bytes, name: str) -> ObjectFile:
        """Takes the bytes of an object file apart; ``name`` is for messages."""
        return cls(elf.open_container(data, name, (elf.ET_REL,)))

    def fail(self, what: str, hint: str | None = None) -> ElfError:
        """An error about this file, ready to be raised."""
        return self.container.fail(what, hint)

    def _check(self) -> None:
        lto = next((s.name for s in self.sections if s.name.startswith(".gnu.lto_")), None)
        if lto is not None and not any(s.code and s.size for s in self.sections):
            raise self.fail("holds LTO bytecode instead of code", "compile without -flto")
        sections = self.sections
        for index, (end, symbol) in self.table.extents.items():
            section = sections[index]
            if end > section.size:
                raise self.fail(
                    f"symbol {symbol.name} ({symbol.size:#x} bytes at {symbol.value:#x}) reaches behind the end of "
                    f"its section {section.name} ({section.size:#x} bytes)"
                )
        for index in self.table.arm:
            raise self.fail(
                f"section {sections[index].name} holds ARM-mode code, which Cortex-M cannot execute",
                "compile with -mthumb",
            )

    @cached_property
    def unit(self) -> str:
        """The first STT_FILE name: the source file that this object was compiled from, or empty."""
        return self.table.unit

    @cached_property
    def has_threads(self) -> bool:
        """It defines or uses thread-local variables."""
        return self.table.has_threads

    def relocations(self, section: int) -> list[Relocation]:
        """The relocations of a section in offset order; places and symbols are checked."""
        found = self._relocations.get(section)
        if found is None:
            found = self._relocations[section] = self._read_relocations(section)
        return found

    def relocated_by(self, section: int) -> frozenset[int]:
        """Indices of the symbols that a section refers to."""
        relocations = self.relocations(section)
        kept = self.table.relocations.get(section)
        return kept[2] if kept is not None and kept[1] is relocations else frozenset(map(_symbol_of, relocations))

    def _read_relocations(self, index: int) -> list[Relocation]:
        sections = self._relocation_sections.get(index)
        if sections is None:
            return []
        target, table = self.sections[index], self.table
        source = [(s.kind, s.entsize, s.data) for s in sections]
        kept = table.relocations.get(index)
        if kept is not None and kept[0] == source:
            found = kept[1]
        else:
            found = self._take_apart(target, sections)
            if target.alloc:
                table.room += len(kept[1]) if kept is not None else 0
                if len(found) <= table.room:
                    table.room -= len(found)
                    table.relocations[index] = source, found, frozenset(map(_symbol_of, found))
                elif kept is not None:
                    table.relocations.pop(index, None)
                    table.fields.pop(index, None)
        if not found:
            return found
        plain = target.kind not in (0, elf.SHT_NOBITS) and not target.flags & elf.SHF_COMPRESSED
        size = target.size if plain else len(self.contents(target))
        if found[-1][0] >= size:
            offset, kind = found[-1][:2]
            raise self.fail(
                f"{target.name}+{offset:#x}: relocation of kind {kind} is behind the section's end ({size:#x} bytes)"
            )
        return found

    def _take_apart(self, target: Section, sections: list[Section]) -> list[Relocation]:
        found: list[Relocation] = []
        for section in sections:
            layout = elf.REL if section.kind == elf.SHT_REL else elf.RELA
            if section.size % layout.size or (section.entsize not in (0, layout.size)):
                raise self.fail(f"{section.name}: {section.size} bytes are not whole relocations")
            if section.kind == elf.SHT_REL:
                found += [(o, i & 0xFF, i >> 8, None) for o, i in elf.REL.iter_unpack(section.data)]
            else:
                found += [(o, i & 0xFF, i >> 8, a) for o, i, a in elf.RELA.iter_unpack(section.data)]
        count = len(self.symbols)
        if found and max(found, key=_symbol_of)[2] >= count:
            offset, kind, symbol, _ = max(found, key=_symbol_of)
            raise self.fail(
                f"{target.name}+{offset:#x}: relocation of kind {kind} names symbol {symbol}; there are only {count}"
            )
        found.sort(key=_offset_of)
        return found

    def contents(self, section: Section) -> bytes:
        """A section's bytes, decompressed where the compiler compressed them (gABI, "Section Compression")."""
        if not section.flags & elf.SHF_COMPRESSED:
            return section.data
        kind = int.from_bytes(section.data[:4], "little")
        size = int.from_bytes(section.data[4:8], "little")
        if kind != _ZLIB or not 0 < size <= _MAX_CONTENTS:
            raise self.fail(f"{section.name} is compressed in a way that is not known", "compile without -gz")
        import zlib

        try:
            data = zlib.decompressobj().decompress(section.data[12:], size)
        except zlib.error as error:
            raise self.fail(f"{section.name} cannot be decompressed: {error}") from None
        if len(data) != size:
            raise self.fail(f"{section.name} has {len(data)} bytes instead of {size} once decompressed")
        return data

    @cached_property
    def mapping(self) -> dict[int, tuple[list[int], list[str]]]:
        """Per section: offsets where the content's nature changes and the nature: ``t`` Thumb, ``d`` data."""
        marks = self.table.marks
        for section, (offsets, natures) in marks.items():
            if section < len(self.sections) and offsets[-1] > self.sections[section].size:
                raise self.fail(
                    f"the mapping symbol ${natures[-1]} is at {self.sections[section].name}+{offsets[-1]:#x}, behind "
                    f"its end"
                )
        return marks

    def code_spans(self, section: int) -> list[tuple[int, int]]:
        """Start and end offsets of a section's Thumb code: all of it where no mapping symbols say more."""
        size = self.sections[section].size
        if section not in self.mapping:
            return [(0, size)]
        return [(start, min(end, size)) for start, end in self.table.code[section]]

    def nature(self, section: int, offset: int) -> str:
        """``t`` where ``offset`` of a section is in Thumb code, ``d`` in data, empty where nothing says."""
        marks = self.mapping.get(section)
        if marks is None:
            return ""
        at = bisect_right(marks[0], offset) - 1
        return marks[1][at] if at >= 0 else ""
