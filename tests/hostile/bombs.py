"""Files made by hand to cost more than their size: memory or time that grows with the square, or without end."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

SHF_ALLOC, SHF_EXEC, SHF_MERGE, SHF_STRINGS = 2, 4, 0x10, 0x20
FUNC, OBJECT, GLOBAL = 2, 1, 0x10


class Made(NamedTuple):
    """A section to be."""

    name: str
    kind: int
    data: bytes
    flags: int = 0
    link: int = 0
    info: int = 0
    entsize: int = 0
    size: int | None = None
    """What the header says; None: the truth."""


class Sym(NamedTuple):
    """A symbol to be; a number for a name is an offset in the string table."""

    name: str | int
    value: int
    size: int
    info: int
    section: int


def elf(sections: list[Made], symbols: list[Sym], kind: int = 1, segments: bytes = b"") -> bytes:
    """An Arm ELF file; section numbers count from 1, the symbol table and its names come last."""
    names, strings = bytearray(b"\0"), bytearray(b"\0")
    table = bytearray(16)
    for symbol in symbols:
        at = symbol.name
        if isinstance(at, str):
            strings += at.encode() + b"\0"
            at = len(strings) - len(at) - 1
        table += struct.pack("<IIIBBH", at, symbol.value, symbol.size, symbol.info, 0, symbol.section)
    count = len(sections)
    every = [
        *sections, Made(".strtab", 3, bytes(strings)),
        Made(".symtab", 2, bytes(table), link=count + 1, info=1, entsize=16), Made(".shstrtab", 3, b""),
    ]  # fmt: skip
    for section in every:
        names += section.name.encode() + b"\0"
    every[-1] = every[-1]._replace(data=bytes(names))
    out = bytearray(52) + segments
    headers, at = bytearray(40), 1
    for section in every:
        size = len(section.data) if section.size is None else section.size
        headers += struct.pack("<10I", at, section.kind, section.flags, 0, len(out), size, section.link, section.info,
                               4, section.entsize)  # fmt: skip
        at += len(section.name) + 1
        out += section.data
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    out[:52] = struct.pack("<16sHHIIIIIHHHHHH", ident, kind, 40, 1, 0, 52 if segments else 0, len(out), 0x5000000, 52,
                           32, len(segments) // 32, 40, len(every) + 1, len(every))  # fmt: skip
    return bytes(out + headers)


CODE = b"\x00\xbf" * 4 + b"\x70\x47" * 4


def function(name: str, section: int) -> Sym:
    """A global function in a section of its own."""
    return Sym(name, 1, len(CODE), GLOBAL | FUNC, section)


def overlapping_sections(count: int = 3000) -> bytes:
    """Each of many code sections is most of the file."""
    sections = [Made(f".text.f{i}", 1, CODE, SHF_ALLOC | SHF_EXEC) for i in range(count)]
    data = bytearray(elf(sections, [function(f"f{i}", i + 1) for i in range(count)]))
    (start,) = struct.unpack_from("<I", data, 32)
    for i in range(count):
        struct.pack_into("<II", data, start + 40 * (i + 1) + 16, 52, len(data) // 2)
    return bytes(data)


def shared_names(count: int = 20000) -> bytes:
    """Every symbol's name is the rest of a string table without an end in between."""
    sections = [Made(".text.f", 1, CODE, SHF_ALLOC | SHF_EXEC)]
    return elf(
        sections, [Sym("x" * 1_000_000, 1, 16, GLOBAL | FUNC, 1), *(Sym(i + 1, 0, 0, 0x10, 0) for i in range(count))]
    )


def zeros_without_end(count: int = 60) -> bytes:
    """Constants of 16 MB each that have no bytes in the file, all referred to by one function."""
    references = struct.pack(f"<{count}I", *[0] * count)
    sections = [Made(".text.work", 1, CODE + references, SHF_ALLOC | SHF_EXEC)]
    symbols = [function("work", 1)]
    relocations = b""
    for i in range(count):
        sections.append(Made(f".rodata.c{i}", 8, b"", SHF_ALLOC, size=(1 << 24) - i))
        symbols.append(Sym(f"c{i}", 0, (1 << 24) - i, OBJECT, i + 2))
        relocations += struct.pack("<II", len(CODE) + 4 * i, (i + 2) << 8 | 2)
    sections.append(Made(".rel.text.work", 9, relocations, link=count + 4, info=1, entsize=8))
    return elf(sections, symbols)


def strings_without_end(count: int = 60000) -> bytes:
    """Many references into one string that does not end."""
    relocations = b"".join(struct.pack("<II", len(CODE) + 4 * i, 3 << 8 | 2) for i in range(count))
    words = b"".join(struct.pack("<I", i * 8) for i in range(count))
    sections = [
        Made(".text.work", 1, CODE + words, SHF_ALLOC | SHF_EXEC),
        Made(".rodata.str4.4", 1, b"wide" * (2 * count), SHF_ALLOC | SHF_MERGE | SHF_STRINGS, entsize=4),
        Made(".rel.text.work", 9, relocations, link=5, info=1, entsize=8),
    ]
    return elf(sections, [function("work", 1), Sym("", 0, 0, OBJECT, 2), Sym("", 0, 0, 3, 2)])


def statics_without_end(count: int = 4000) -> bytes:
    """Function statics, each of another name."""
    relocations = b"".join(struct.pack("<II", len(CODE) + 4 * i, (i + 3) << 8 | 2) for i in range(count))
    sections = [
        Made(".text.work", 1, CODE + bytes(4 * count), SHF_ALLOC | SHF_EXEC),
        Made(".data", 1, bytes(4 * count), SHF_ALLOC | 1),
        Made(".rel.text.work", 9, relocations, link=5, info=1, entsize=8),
    ]
    statics = [Sym(f"s{i}.{i}", 4 * i, 4, OBJECT, 2) for i in range(count)]
    return elf(sections, [Sym("app.c", 0, 0, 4, 0xFFF1), function("work", 1), *statics])


def long_names() -> bytes:
    """An undefined name that is like others, all of them long."""
    sections = [
        Made(".text.work", 1, CODE + bytes(4), SHF_ALLOC | SHF_EXEC),
        Made(".rel.text.work", 9, struct.pack("<II", len(CODE), 2 << 8 | 2), link=5, info=1, entsize=8),
        Made(".data", 1, bytes(4), SHF_ALLOC | 1),
    ]
    others = [Sym("ab" * 20000 + str(i), 0, 4, GLOBAL | OBJECT, 3) for i in range(8)]
    return elf(sections, [function("work", 1), Sym("ba" * 20000, 0, 0, GLOBAL, 0), *others])


def chain(count: int = 6000) -> bytes:
    """Functions that refer into each other's bodies, in one long chain."""
    sections, symbols = [], []
    for i in range(count):
        sections.append(Made(f".text.l{i}", 1, CODE + bytes(4), SHF_ALLOC | SHF_EXEC))
        symbols.append(Sym(f"l{i}.part.0", 1, len(CODE), FUNC, i + 1))
    sections += [
        Made(f".rel{i}", 9, struct.pack("<II", len(CODE), (i + 2) << 8 | 2), info=i + 1, entsize=8)
        for i in range(count - 1)
    ]
    sections.append(Made(".text.work", 1, CODE + bytes(4), SHF_ALLOC | SHF_EXEC))
    sections.append(Made(".rel.work", 9, struct.pack("<II", len(CODE), 1 << 8 | 2), info=2 * count, entsize=8))
    return elf(sections, [*symbols, function("work", 2 * count)])


def wide_text() -> bytes:
    """Text whose characters have 4 GB each."""
    sections = [
        Made(".text.work", 1, CODE + bytes(4), SHF_ALLOC | SHF_EXEC),
        Made(".rodata.str", 1, b"text\0", SHF_ALLOC | SHF_MERGE | SHF_STRINGS, entsize=0xFFFFFFFF),
        Made(".rel.text.work", 9, struct.pack("<II", len(CODE), 2 << 8 | 2), link=5, info=1, entsize=8),
    ]
    return elf(sections, [function("work", 1), Sym("", 0, 0, 3, 2)])


def far_mark() -> bytes:
    """A mapping symbol behind the end of its section."""
    sections = [Made(".text.work", 1, CODE, SHF_ALLOC | SHF_EXEC)]
    return elf(sections, [Sym("$t", 0, 0, 0, 1), Sym("$d", 0xFFFFFFFF, 0, 0, 1), function("work", 1)])


OBJECTS = {f.__name__: f for f in (overlapping_sections, shared_names, zeros_without_end, strings_without_end,
                                   statics_without_end, long_names, chain, wide_text, far_mark)}  # fmt: skip


# ------------------------------------------------------------------------------------------------- DWARF


def _uleb(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _unit(entries: bytes, abbreviations: int = 0) -> bytes:
    head = struct.pack("<HBBI", 5, 1, 4, abbreviations)
    return struct.pack("<I", len(head) + len(entries)) + head + entries


def _abbreviation(code: int, tag: int, children: int, *pairs: tuple[int, int]) -> bytes:
    return _uleb(code) + _uleb(tag) + bytes([children]) + b"".join(_uleb(a) + _uleb(f) for a, f in pairs) + b"\0\0"


COMPRESSED = struct.pack("<III", 1, 0xF0000000, 1)
"""What a compressed section starts with: ELFCOMPRESS_ZLIB and its size (gABI, Elf32_Chdr)."""
HEADER = 12
"""Bytes of a unit's header."""


def wide_entries() -> tuple[bytes, bytes]:
    """Entries of one byte with thousands of attributes that take none."""
    flags = [(0x3C, 0x19)] * 20000
    table = _abbreviation(1, 0x11, 1) + _abbreviation(2, 0x34, 0, *flags, (0x1C, 0x19)) + b"\0"
    return _unit(b"\x01" + b"\x02" * 20_000 + b"\0"), table


def tables_all_over() -> tuple[bytes, bytes]:
    """Units that share one large table of abbreviations, each from another offset on."""
    table = _abbreviation(1, 0x11, 0) * 20000 + b"\0"
    return b"".join(_unit(b"\x01", 5 * i) for i in range(4000)), table


def _deep(*, named: bool) -> tuple[bytes, bytes]:
    """A variable whose type has twice as many members at every level."""
    table = (
        _abbreviation(1, 0x11, 1) + _abbreviation(2, 0x34, 0, (3, 8), (2, 0x18), (0x49, 0x13))
        + _abbreviation(3, 0x13, 1, (3, 8), (0x0B, 0x0B)) + _abbreviation(4, 0x0D, 0, (3, 8), (0x49, 0x13))
        + _abbreviation(5, 0x24, 0, (3, 8), (0x0B, 0x0B), (0x3E, 0x0B)) + b"\0"
    )  # fmt: skip
    variable = b"\x02thing\0\x05\x03" + struct.pack("<I", 0x20080000)
    start = HEADER + 1 + len(variable) + 4
    names = [f"s{level:02}".encode() if named else b"" for level in range(50)]
    body, size = b"", 4 + 7 * 2 + len(names[0])
    for level, name in enumerate(names):
        member = b"\x04m\0" + struct.pack("<I", start + size * (level + 1))
        body += b"\x03" + name + b"\0\x04" + member * 2 + b"\0"
    return _unit(b"\x01" + variable + struct.pack("<I", start) + body + b"\x05int\0\x04\x05\0"), table


def deep_types() -> tuple[bytes, bytes]:
    """Types by name: whoever follows them."""
    return _deep(named=True)


def deep_nameless_types() -> tuple[bytes, bytes]:
    """Types without names: whoever writes them down, too."""
    return _deep(named=False)


def deep_signatures() -> tuple[bytes, bytes]:
    """A variable that points to a function whose type takes another twice, and so on."""
    table = (
        _abbreviation(1, 0x11, 1) + _abbreviation(2, 0x34, 0, (3, 8), (2, 0x18), (0x49, 0x13))
        + _abbreviation(3, 0x15, 1) + _abbreviation(4, 0x05, 0, (0x49, 0x13))
        + _abbreviation(5, 0x24, 0, (3, 8), (0x0B, 0x0B), (0x3E, 0x0B)) + b"\0"
    )  # fmt: skip
    variable = b"\x02thing\0\x05\x03" + struct.pack("<I", 0x20080000)
    start = HEADER + 1 + len(variable) + 4
    body, size = b"", 2 + 2 * 5
    for level in range(1, 51):
        body += b"\x03" + (b"\x04" + struct.pack("<I", start + size * level)) * 2 + b"\0"
    return _unit(b"\x01" + variable + struct.pack("<I", start) + body + b"\x05int\0\x04\x05\0"), table


def signatures() -> tuple[bytes, bytes]:
    """A pointer to a function whose parameters are pointers to functions, and so on."""
    table = (
        _abbreviation(1, 0x11, 1) + _abbreviation(2, 0x34, 0, (3, 8), (2, 0x18), (0x49, 0x13))
        + _abbreviation(3, 0x0F, 0, (0x49, 0x13)) + _abbreviation(4, 0x15, 1) + _abbreviation(5, 0x05, 0, (0x49, 0x13))
        + b"\0"
    )  # fmt: skip
    variable = b"\x02thing\0\x05\x03" + struct.pack("<I", 0x20080000)
    start = HEADER + 1 + len(variable) + 4
    body, size = b"", 5 + 1 + 3 * 5 + 1
    for level in range(60):
        body += b"\x03" + struct.pack("<I", start + size * level + 5) + b"\x04"
        body += (b"\x05" + struct.pack("<I", start + size * (level + 1))) * 3 + b"\0"
    return _unit(
        b"\x01" + variable + struct.pack("<I", start) + body + b"\x03" + struct.pack("<I", start) + b"\0"
    ), table


def nested_blocks() -> tuple[bytes, bytes]:
    """Lexical blocks in lexical blocks."""
    table = _abbreviation(1, 0x11, 1) + _abbreviation(2, 0x0B, 1) + b"\0"
    return _unit(b"\x01" + b"\x02" * 500_000 + b"\0" * 500_001), table


def small_record() -> tuple[bytes, bytes]:
    """A record of one byte with a member of four."""
    table = (
        _abbreviation(1, 0x11, 1) + _abbreviation(2, 0x34, 0, (3, 8), (2, 0x18), (0x49, 0x13))
        + _abbreviation(3, 0x13, 1, (0x0B, 0x0B)) + _abbreviation(4, 0x0D, 0, (3, 8), (0x49, 0x13))
        + _abbreviation(5, 0x24, 0, (3, 8), (0x0B, 0x0B), (0x3E, 0x0B)) + b"\0"
    )  # fmt: skip
    variable = b"\x02thing\0\x05\x03" + struct.pack("<I", 0x20080000)
    start = HEADER + 1 + len(variable) + 4
    record = b"\x03\x01\x04m\0" + struct.pack("<I", start + 10) + b"\0"
    return _unit(b"\x01" + variable + struct.pack("<I", start) + record + b"\x05int\0\x04\x05\0"), table


def sibling_loop() -> tuple[bytes, bytes]:
    """An entry that is its own sibling."""
    table = _abbreviation(1, 0x11, 1) + _abbreviation(2, 0x13, 1, (1, 0x13)) + b"\0"
    return _unit(b"\x01\x02" + struct.pack("<I", HEADER + 1) + b"\0\0"), table


def compressed() -> tuple[bytes, bytes]:
    """A section that would be very large when decompressed."""
    return COMPRESSED + zlib.compress(bytes(1 << 24)), b"\0"


DWARF = {f.__name__: f for f in (wide_entries, tables_all_over, deep_types, deep_nameless_types, deep_signatures,
                                 signatures, nested_blocks, sibling_loop, small_record, compressed)}  # fmt: skip
