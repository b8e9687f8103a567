"""The same object at the same random addresses, linked by hotflash and by GNU ld: are the bytes the same?

GNU ld gets a copy of the object whose sections have names of their own, so that a script can place each, and are
plain: ld edits string, exception index and frame sections on its way, which is no part of linking.
"""

from __future__ import annotations

import random
import struct
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hotflash.elf import format as elf
from hotflash.elf.object import ObjectFile
from hotflash.elf.threads import head_size
from hotflash.link import reloc, thumb
from hotflash.link.relocate import is_wide
from tests.link.whole import Known, Part, WholeLink, link

FAR = "far"
NEAR = "near"
_SHF_GROUP = 0x200
_PREL31 = 42
_THREADS = 0x1000
"""Bytes of thread-local variables besides the object's own."""

_EXTRA = 32
"""Bytes that a veneer of GNU ld takes, with room to spare."""


@dataclass
class Figures:
    """What was compared."""

    objects: int = 0
    sections: int = 0
    bytes: int = 0
    relocations: Counter[str] = field(default_factory=Counter)
    veneers: int = 0
    """Branches that go through one here."""
    skipped: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        self.objects += other.objects
        self.sections += other.sections
        self.bytes += other.bytes
        self.relocations += other.relocations
        self.veneers += other.veneers
        self.skipped += other.skipped


def plain_copy(obj: ObjectFile) -> bytes:
    """The object for GNU ld: section number 5 is called ``s5``, and none is mergeable or of a special type."""
    data = bytearray(obj.container.data)
    shoff = struct.unpack_from("<I", data, 32)[0]
    strings = struct.unpack_from("<H", data, 50)[0]
    names = bytearray(obj.sections[strings].data)  # clang has symbols' names in there, too
    for section in obj.sections:
        at = shoff + 40 * section.index
        if section.alloc:
            struct.pack_into("<I", data, at, len(names))
            names += f"s{section.index}\0".encode()
            kind = elf.SHT_NOBITS if section.kind == elf.SHT_NOBITS else elf.SHT_PROGBITS
            struct.pack_into("<I", data, at + 4, kind)
            keep = elf.SHF_WRITE | elf.SHF_ALLOC | elf.SHF_EXECINSTR | elf.SHF_TLS
            struct.pack_into("<I", data, at + 8, section.flags & keep)
            struct.pack_into("<I", data, at + 24, 0)
            struct.pack_into("<I", data, at + 36, 0)
        elif section.kind == elf.SHT_GROUP:
            struct.pack_into("<II", data, at, len(names), elf.SHT_PROGBITS)
            names += f"x{section.index}\0".encode()
        elif section.name != ".ARM.attributes" and section.index:
            struct.pack_into("<I", data, at, len(names))
            names += f"x{section.index}\0".encode()
        elif section.index:
            struct.pack_into("<I", data, at, len(names))
            names += section.name.encode() + b"\0"
    for section in obj.sections:
        at = shoff + 40 * section.index + 8
        struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] & ~_SHF_GROUP)
    struct.pack_into("<II", data, shoff + 40 * strings + 16, len(data), len(names))
    return bytes(data + names)


def symbol_object(known: dict[str, Known], threads: dict[str, int]) -> bytes:
    """An object that defines the symbols as absolute ones, functions with type and Thumb bit.

    ``threads`` are thread-local variables and their offsets in its section ``threads``.
    """
    names, table = bytearray(b"\0"), bytearray(elf.SYM.pack(0, 0, 0, 0, 0, 0))
    for name, symbol in known.items():
        kind = elf.STT_FUNC if symbol.function else elf.STT_OBJECT
        value = symbol.address | symbol.function
        table += elf.SYM.pack(len(names), value, 0, elf.STB_GLOBAL << 4 | kind, 0, elf.SHN_ABS)
        names += name.encode() + b"\0"
    for name, offset in threads.items():
        table += elf.SYM.pack(len(names), offset, 4, elf.STB_GLOBAL << 4 | elf.STT_TLS, 0, 4)
        names += name.encode() + b"\0"
    own = b"\0.symtab\0.strtab\0threads\0"
    start = elf.EHDR.size
    tables = start + len(table) + len(names) + len(own)
    ident = b"\x7fELF\1\1\1".ljust(16, b"\0")
    head = elf.EHDR.pack(ident, elf.ET_REL, elf.EM_ARM, 1, 0, 0, tables, 0x05000000, 52, 0, 0, 40, 5, 3)
    sections = elf.SHDR.pack(*[0] * 10)
    sections += elf.SHDR.pack(1, elf.SHT_SYMTAB, 0, 0, start, len(table), 2, 1, 4, 16)
    sections += elf.SHDR.pack(9, elf.SHT_STRTAB, 0, 0, start + len(table), len(names), 0, 0, 1, 0)
    sections += elf.SHDR.pack(9, elf.SHT_STRTAB, 0, 0, start + len(table) + len(names), len(own), 0, 0, 1, 0)
    flags = elf.SHF_WRITE | elf.SHF_ALLOC | elf.SHF_TLS
    sections += elf.SHDR.pack(17, elf.SHT_NOBITS, flags, 0, start, _THREADS if threads else 0, 0, 0, 4, 0)
    return head + table + names + own + sections


class Comparison:
    """One object, compared at addresses drawn from ``seed``. ``mode`` FAR makes branches need veneers."""

    def __init__(self, obj: ObjectFile, seed: str, folder: Path, mode: str = NEAR) -> None:
        self.object = obj
        self.random = random.Random(seed)
        self.seed = seed
        self.folder = folder
        self.mode = mode
        self.wide = is_wide(obj.attributes)
        self.figures = Figures()
        self.known: dict[str, Known] = {}
        self._code = self.random.randrange(0x00100000, 0x00400000, 4) + self.random.choice((0, 0x08000000, 0x60000000))
        self._data = self.random.randrange(0x20000000, 0x20800000, 4)
        near = {_PREL31} | {number for number, kind in reloc.KINDS.items() if kind.branch}
        self._functions = {
            obj.symbols[symbol].name
            for section in obj.sections
            if section.alloc
            for _, kind, symbol, _ in obj.relocations(section.index)
            if kind in near
        }
        self._thread_names = {s.name for s in obj.symbols if s.kind == elf.STT_TLS and s.section == elf.SHN_UNDEF}
        self.thread_offsets: dict[str, int] = {}
        """Of undefined thread-local variables, in a block behind the object's own."""
        self.commons: dict[str, int] = {}
        self._weak = sorted(s.name for s in obj.symbols if s.bind == elf.STB_WEAK and s.section == elf.SHN_UNDEF)
        self._found = {name for name in self._weak if self.random.random() < 0.5}
        self.addresses: dict[int, int] = {}
        self._draw_addresses()

    # ------------------------------------------------------------------------------- addresses

    def _draw_addresses(self) -> None:
        chosen = [s for s in self.object.sections if s.alloc]
        self.random.shuffle(chosen)
        code, data = self._code, self._data
        for section in chosen:
            align = max(section.align, 4)
            gap = self.random.randrange(0, 0x4000) + _EXTRA * len(self.object.relocations(section.index))
            if section.flags & elf.SHF_TLS:
                continue
            if section.writable:
                data = self.addresses[section.index] = -(-data // align) * align
                data += section.size + gap
            else:
                code = self.addresses[section.index] = -(-code // align) * align
                code += section.size + gap
        threads = sorted((s for s in chosen if s.flags & elf.SHF_TLS), key=lambda s: s.kind == elf.SHT_NOBITS)
        data = self._threads_start = data // 64 * 64 + 64
        for section in threads:  # one block, what starts as zeros last
            data = self.addresses[section.index] = -(-data // section.align) * section.align
            data += section.size
        head = head_size(max((s.align for s in threads), default=4))
        self._threads_address = -(-data // 4) * 4
        self._thread_offset = self._threads_address - self._threads_start + head
        self._end = -(-code // 4) * 4

    def resolve(self, name: str) -> Known | None:
        """An address for an undefined symbol."""
        known = self.known.get(name)
        if known is None and name in self._thread_names:
            offset = self.thread_offsets[name] = self.random.randrange(0, _THREADS - 4, 4)
            known = self.known[name] = Known(offset + self._thread_offset, function=False, thread=True)
        if known is None:
            function = name in self._functions or self.random.random() < 0.3
            known = self.known[name] = Known(self._draw(function=function), function)
        return known

    def _draw(self, *, function: bool) -> int:
        if not function:
            return self.random.randrange(0x20000000, 0x3FFFFFFF)
        if self.mode == NEAR:
            return self.random.randrange(self._end, self._code + 0x00E00000, 2)
        if self.random.random() < 0.3:  # about as far as a BL reaches
            edge = self.random.choice((self._code - 0x00FFFFFC, self._code + 0x01000002))
            return max(edge + self.random.randrange(-64, 64, 2), 0x40)
        return self.random.randrange(self._code + 0x02000000, self._code + 0x30000000, 2)

    def _place(self, parts: Sequence[Part]) -> list[int]:
        places = []
        for part in parts:
            if part.section is None:
                places.append(self.commons.setdefault(part.name, 0x20F00000 + 0x10000 * len(self.commons)))
            else:
                places.append(self.addresses[part.section.index])
        return places

    # ------------------------------------------------------------------------------------ links

    def ours(self) -> WholeLink:
        return link([self.object], self._resolve_or_weak, self._place, wide=self.wide)

    def _resolve_or_weak(self, name: str) -> Known | None:
        if name not in self._weak:
            return self.resolve(name)
        return self.resolve(name) if name in self._found else None

    def theirs(self) -> dict[int, bytes]:
        """Bytes by section number, behind the section's end those of ld's veneers."""
        copy, symbols, script = self.folder / "copy.o", self.folder / "symbols.o", self.folder / "script.ld"
        out = self.folder / "out.elf"
        copy.write_bytes(plain_copy(self.object))
        for symbol in self.object.symbols:  # those that only R_ARM_NONE asks for
            if symbol.section == elf.SHN_UNDEF and symbol.bind == elf.STB_GLOBAL:
                self.resolve(symbol.name)
        known = {name: symbol for name, symbol in self.known.items() if not symbol.thread}
        known |= {name: Known(address, function=False) for name, address in self.commons.items()}
        symbols.write_bytes(symbol_object(known, self.thread_offsets))
        places = [(address, f"s{index}") for index, address in self.addresses.items()]
        places.append((self._threads_address, "threads"))
        lines = [f"{name} {at:#x} : {{ *({name}) }}" for at, name in sorted(places, key=_first)]
        script.write_text("SECTIONS {\n" + "\n".join(lines) + "\n/DISCARD/ : { *(x*) }\n}\n")
        done = subprocess.run(
            ["arm-none-eabi-ld", "-o", out, "-T", script, "-e", "0", "--no-warn-mismatch", "--no-check-sections",
             "--no-warn-rwx-segments", copy, symbols],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"GNU ld: {done.stderr.strip()}")
        container = self._out = elf.open_container(out.read_bytes(), str(out), (elf.ET_EXEC,))
        return {int(s.name[1:]): s.data for s in container.sections if s.alloc and s.name[:1] == "s"}

    def run(self) -> Figures:
        """Links twice and compares. AssertionError where they differ."""
        linked = self.ours()
        theirs = self.theirs()
        self.figures.objects = 1
        for part in linked.parts:
            if part.section is not None and part.section.data:
                self._compare(part, theirs.get(part.section.index, b""))
        return self.figures

    def _compare(self, part: Part, theirs: bytes) -> None:
        section = part.section
        assert section is not None
        assert part.address is not None
        size = section.size
        where = f"{self.object.name}: {section.name} at {part.address:#x}, seed {self.seed}"
        assert len(theirs) >= size, where
        ours, other = bytearray(part.data[:size]), bytearray(theirs[:size])
        for offset, number, _, _ in self.object.relocations(section.index):
            name = reloc.name_of(number)
            self.figures.relocations[name] += 1
            kind = reloc.KINDS.get(number)
            if number == reloc.TLS_IE32:
                addend = kind.get(section.data, offset) if kind else 0
                here, there = (offset + reloc.get_word(b, offset) - addend for b in (ours, other))
                word = bytes(part.data[here : here + 4])
                reference = self._word((part.address + there) & 0xFFFFFFFF)
                assert word == reference, f"{where}+{offset:#x}: {name} leads to {word!r}, GNU ld's to {reference!r}"
                ours[offset : offset + 4] = other[offset : offset + 4]
                continue
            if kind is None or not kind.branch:
                continue
            direct = not size <= offset + 4 + kind.get(ours, offset) < len(part.data)
            if direct and kind.get(ours, offset) == kind.get(other, offset):
                continue
            mine, through = self._leads(part.data, size, part.address, offset + 4 + kind.get(ours, offset))
            their, _ = self._leads(theirs, size, part.address, offset + 4 + kind.get(other, offset))
            assert mine is not None, f"{where}+{offset:#x}: a branch to something that is no veneer"
            assert their is not None, f"{where}+{offset:#x}: GNU ld's veneer has an unknown shape"
            assert mine & ~1 == their & ~1, f"{where}+{offset:#x}: {name} leads to {mine:#x}, GNU ld's to {their:#x}"
            assert kind.reach is not None
            if not through:  # GNU ld's reach is 2 bytes short: it counts the Thumb bit
                assert kind.get(ours, offset) == kind.reach[1], f"{where}+{offset:#x}: GNU ld needs a veneer"
            ours[offset : offset + kind.width] = other[offset : offset + kind.width]
        if ours != other:
            at = next(i for i in range(size) if ours[i] != other[i])
            near = [(hex(o), reloc.name_of(k), self.object.symbols[s].name) for o, k, s, _ in
                    self.object.relocations(section.index) if o <= at < o + 4]  # fmt: skip
            begin = max(at - 4, 0)
            raise AssertionError(
                f"{where}+{at:#x} {near}: {ours[begin : at + 8].hex(' ')}, GNU ld {other[begin : at + 8].hex(' ')}"
            )
        self.figures.sections += 1
        self.figures.bytes += size

    def _leads(self, data: bytes | bytearray, size: int, address: int, target: int) -> tuple[int | None, bool]:
        """Where a branch to an offset leads in the end, and whether through a veneer behind the section."""
        if not size <= target < len(data):
            return address + target, False
        self.figures.veneers += isinstance(data, bytearray)
        return thumb.veneer_target(bytes(data[target : target + thumb.VENEER_MOST]), address + target), True

    def _word(self, address: int) -> bytes:
        """What GNU ld's program holds at an address."""
        for section in self._out.sections:
            if section.alloc and section.address <= address < section.address + len(section.data):
                return section.data[address - section.address : address - section.address + 4]
        return b""


def _first(pair: tuple[int, str]) -> int:
    return pair[0]
