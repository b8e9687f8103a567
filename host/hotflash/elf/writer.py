"""Writing a linked ELF: sections at their addresses, symbols, debug information (TIS ELF 1.2, AAELF32)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotflash.elf import format as elf

if TYPE_CHECKING:
    from collections.abc import Sequence

EF_ARM_EABI_VER5 = 0x05000000
PF_X, PF_W, PF_R = 1, 2, 4


@dataclass(slots=True)
class OutSection:
    """A section to write."""

    name: str
    address: int
    data: bytes
    """Empty for memory without contents (NOBITS) and for nothing at all."""
    size: int
    """Bytes in memory: those of ``data``, or more for NOBITS."""
    flags: int = 0
    kind: int = elf.SHT_PROGBITS
    align: int = 1
    entsize: int = 0

    @property
    def end(self) -> int:
        """One past its last byte."""
        return self.address + self.size


@dataclass(slots=True)
class OutSymbol:
    """A symbol to write."""

    name: str
    value: int
    """As in the symbol table: with the Thumb bit for functions."""
    size: int
    bind: int
    kind: int
    section: int | None
    """Which of the sections to write; None for an absolute value."""


class _Strings:
    """A string table."""

    def __init__(self) -> None:
        self.data = bytearray(1)
        self._known = {"": 0}

    def add(self, text: str) -> int:
        offset = self._known.get(text)
        if offset is None:
            offset = self._known[text] = len(self.data)
            self.data += text.encode("utf-8", "surrogateescape") + b"\0"
        return offset


def executable(sections: Sequence[OutSection], symbols: Sequence[OutSymbol], flags: int = EF_ARM_EABI_VER5) -> bytes:
    """The file's bytes: an ET_EXEC with a segment per section that takes memory.

    ``symbols`` may come in any order of binding; local ones are written first, as the format wants it. Of equal
    binding the order stays, so that a file's name precedes its symbols.
    """
    loaded = [s for s in sections if s.flags & elf.SHF_ALLOC and s.size]
    strings, names = _Strings(), _Strings()
    ordered = sorted(symbols, key=lambda s: s.bind != elf.STB_LOCAL)
    table = bytearray(elf.SYM.size)
    for symbol in ordered:
        index = elf.SHN_ABS if symbol.section is None else symbol.section + 1
        info = symbol.bind << 4 | symbol.kind
        table += elf.SYM.pack(strings.add(symbol.name), symbol.value & 0xFFFFFFFF, symbol.size, info, 0, index)
    locals_ = 1 + sum(s.bind == elf.STB_LOCAL for s in ordered)

    body = bytearray(elf.EHDR.size + elf.PHDR.size * len(loaded))
    headers = [elf.SHDR.pack(*[0] * 10)]
    offsets: dict[int, int] = {}

    def put(section: OutSection, link: int = 0, info: int = 0) -> None:
        # A segment's offset and address are equal modulo its alignment.
        align = max(section.align, 4)
        body.extend(bytes(-(len(body) - section.address % align) % align))
        offsets[id(section)] = len(body)
        headers.append(
            elf.SHDR.pack(
                names.add(section.name), section.kind, section.flags, section.address, len(body), section.size, link,
                info, section.align, section.entsize,
            )
        )  # fmt: skip
        body.extend(section.data)

    for section in sections:
        put(section)
    at = len(sections) + 1
    symtab = OutSection(".symtab", 0, bytes(table), len(table), 0, elf.SHT_SYMTAB, 4, elf.SYM.size)
    put(symtab, link=at + 1, info=locals_)
    put(OutSection(".strtab", 0, bytes(strings.data), len(strings.data), 0, elf.SHT_STRTAB))
    names.add(".shstrtab")
    put(OutSection(".shstrtab", 0, bytes(names.data), len(names.data), 0, elf.SHT_STRTAB))

    body.extend(bytes(-len(body) % 4))
    shoff = len(body)
    for header in headers:
        body.extend(header)
    phoff = elf.EHDR.size if loaded else 0
    ident = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    body[: elf.EHDR.size] = elf.EHDR.pack(
        ident, elf.ET_EXEC, elf.EM_ARM, 1, 0, phoff, shoff, flags, elf.EHDR.size, elf.PHDR.size, len(loaded),
        elf.SHDR.size, len(headers), len(headers) - 1,
    )  # fmt: skip
    for number, section in enumerate(loaded):
        access = PF_R | (PF_W if section.flags & elf.SHF_WRITE else 0)
        access |= PF_X if section.flags & elf.SHF_EXECINSTR else 0
        struct.pack_into(
            "<8I", body, elf.EHDR.size + elf.PHDR.size * number, elf.PT_LOAD, offsets[id(section)], section.address,
            section.address, len(section.data), section.size, access, max(section.align, 4),
        )  # fmt: skip
    return bytes(body)
