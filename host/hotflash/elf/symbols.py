"""Symbols of relocatable objects. All versions of an object whose symbols are the same bytes share one table.

From one save to the next most of an object stays as it was, its symbols above all. What follows from bytes alone is
kept by these bytes, so nothing can be out of date, and nobody notices who shares it: a table is never changed.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from hotflash.elf import format as elf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.elf.format import Container, RawSymbol
    from hotflash.elf.object import Relocation

_ROOM = 1 << 20
"""Bytes of all tables and names that are kept, those of the units that were read last. Symbols take some 16 times as
much once they are taken apart, and the relocations that are kept with a table (``room``) at most six times that."""
OPEN = 1 << 32
"""The end of what has none: behind every section's."""
_DEFINED = elf.STT_FUNC, elf.STT_OBJECT, elf.STT_GNU_IFUNC


KeptRelocations = tuple[list[tuple[int, int, bytes]], "list[Relocation]", frozenset[int]]
"""The sections that they are from (kind, entry size, bytes), what these say, and the indices of the symbols."""


class SymbolTable:
    """The symbols of an object in the order of the file, and what follows from them."""

    def __init__(self, table: bytes, names: bytes, flags: Sequence[int]) -> None:
        self.symbols: list[RawSymbol] = elf.parse_symbols(table, names, flags, keep_sections=True)
        self.relocations: dict[int, KeptRelocations] = {}
        """Of the version that was read last, by the section that they relocate."""
        self.room = 4 * len(self.symbols)
        """How many more relocations may be kept."""
        self.fields: dict[int, object] = {}
        """What the linker keeps with them."""
        self.bindings: object = None
        """What it knows of them in a firmware."""
        self._named: dict[frozenset[str], frozenset[int]] = {}
        self._threads = any(flag & elf.SHF_TLS for flag in flags)
        self.arm: list[int] = []
        """Allocated sections that hold ARM-mode code."""
        self.extents: dict[int, tuple[int, RawSymbol]] = {}
        """By section: how far its functions and variables reach, and the one that reaches farthest."""
        for s in self.symbols:
            if not 0 < s.section < elf.SHN_LORESERVE:
                continue
            if s.kind in (elf.STT_FUNC, elf.STT_OBJECT):
                # Hand-written functions may claim more than they have (newlib's strcmp does); they end with their
                # section.
                end = (s.value & ~1) + (s.size if s.kind == elf.STT_OBJECT else 0)
                if end > self.extents.get(s.section, (0, s))[0]:
                    self.extents[s.section] = end, s
            code = flags[s.section] & elf.CODE == elf.CODE
            if code and s.name[:2] == "$a" and s.name[2:3] in ("", ".") and s.kind != elf.STT_FILE:
                self.arm.append(s.section)

    @cached_property
    def unit(self) -> str:
        """The first STT_FILE name, or empty."""
        return next((s.name for s in self.symbols if s.kind == elf.STT_FILE), "")

    @cached_property
    def has_threads(self) -> bool:
        """There are thread-local variables among them, or sections of such."""
        return self._threads or any(s.kind == elf.STT_TLS for s in self.symbols)

    @cached_property
    def marks(self) -> dict[int, tuple[list[int], list[str]]]:
        """Mapping symbols by section: offsets, and what begins there: ``t`` Thumb, ``d`` data."""
        marks: dict[int, list[tuple[int, str]]] = {}
        for s in self.symbols:
            name = s.name
            if name[:1] == "$" and s.kind == elf.STT_NOTYPE and name[1:2] in "td" and name[2:3] in ("", "."):
                marks.setdefault(s.section, []).append((s.value, name[1:2]))
        result = {}
        for section, entries in marks.items():
            entries.sort()
            result[section] = ([offset for offset, _ in entries], [nature for _, nature in entries])
        return result

    @cached_property
    def code(self) -> dict[int, list[tuple[int, int]]]:
        """Start and end offsets of what is Thumb code, for sections with mapping symbols; the last may be open."""
        return {
            section: [(s, e) for s, e, n in zip(offsets, [*offsets[1:], OPEN], natures, strict=True) if n == "t"]
            for section, (offsets, natures) in self.marks.items()
        }

    @cached_property
    def by_section(self) -> dict[int, list[RawSymbol]]:
        """Functions and variables by the section that defines them."""
        found: dict[int, list[RawSymbol]] = {}
        for s in self.symbols:
            if s.kind in _DEFINED and 0 < s.section < elf.SHN_LORESERVE and not is_merged(s):
                found.setdefault(s.section, []).append(s)
        return found

    @cached_property
    def around_locals(self) -> frozenset[int]:
        """Indices of the symbols, section symbols included, in sections that hold local variables."""
        sections = {s.section for s in self.symbols if s.kind == elf.STT_OBJECT and s.bind == elf.STB_LOCAL}
        return frozenset(s.index for s in self.symbols if s.section in sections)

    def named(self, names: frozenset[str]) -> frozenset[int]:
        """Indices of the symbols with one of some names."""
        found = self._named.get(names)
        if found is None:
            found = self._named[names] = frozenset(s.index for s in self.symbols if s.name in names)
        return found

    @cached_property
    def globals(self) -> dict[str, int]:
        """Global and weak definitions by name: their indices."""
        return {
            s.name: s.index
            for s in self.symbols
            if s.bind != elf.STB_LOCAL and s.section not in (elf.SHN_UNDEF, elf.SHN_ABS)
        }


class TableCache:
    """The tables that were used last, of not more than ``room`` bytes in files."""

    def __init__(self, room: int = _ROOM) -> None:
        self._room = room
        self._tables: OrderedDict[elf.SymbolSource, SymbolTable] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, source: elf.SymbolSource) -> SymbolTable:
        """The table that these bytes make. DamagedError when they make none."""
        with self._lock:
            table = self._tables.get(source)
            if table is not None:
                self._tables.move_to_end(source)
                return table
        table = SymbolTable(*source)
        with self._lock:
            if source not in self._tables:
                self._tables[source] = table
                self._size += _size(source)
            while self._size > self._room:
                self._size -= _size(self._tables.popitem(last=False)[0])
        return table

    @property
    def size(self) -> int:
        """Bytes of the files' tables that are kept."""
        return self._size


kept = TableCache()


def _size(source: elf.SymbolSource) -> int:
    return len(source[0]) + len(source[1]) + 8 * len(source[2])


def read(container: Container) -> SymbolTable:
    """An object's symbol table. ElfError when it is damaged."""
    try:
        return kept.get(elf.symbol_source(container))
    except elf.DamagedError as error:
        raise container.fail(str(error), error.hint) from None


def is_merged(symbol: RawSymbol) -> bool:
    """Whether it is LLVM's name for several variables that it laid out together (GlobalMerge)."""
    return symbol.name.removeprefix(".L").startswith("_MergedGlobals")
