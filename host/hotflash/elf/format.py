"""Bounded reading of 32-bit little-endian Arm ELF files (TIS ELF 1.2; AAELF32 for what is Arm's own).

Nothing here trusts the file: every offset, size and index is checked against what is really there before it is
used, nothing is allocated by a size that the file merely claims, and whatever is wrong ends in an
:class:`~hotflash.errors.ElfError` that names the file and the place.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from hotflash.errors import ElfError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

ET_REL, ET_EXEC = 1, 2
EM_ARM = 40
SHN_UNDEF, SHN_LORESERVE, SHN_ABS, SHN_COMMON, SHN_XINDEX = 0, 0xFF00, 0xFFF1, 0xFFF2, 0xFFFF
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOTE, SHT_NOBITS, SHT_REL = 1, 2, 3, 4, 7, 8, 9
SHT_INIT_ARRAY, SHT_FINI_ARRAY, SHT_PREINIT_ARRAY, SHT_GROUP = 14, 15, 16, 17
SHT_ARM_EXIDX, SHT_ARM_ATTRIBUTES = 0x70000001, 0x70000003
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_MERGE, SHF_STRINGS, SHF_TLS, SHF_COMPRESSED = 1, 2, 4, 0x10, 0x20, 0x400, 0x800
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE, STT_COMMON, STT_TLS, STT_GNU_IFUNC = 0, 1, 2, 3, 4, 5, 6, 10
PT_LOAD = 1
MAX_FILE = 1 << 27
"""Bytes of the largest file that is read."""
CODE = SHF_ALLOC | SHF_EXECINSTR
"""Flags of sections that hold code."""

EHDR = struct.Struct("<16sHHIIIIIHHHHHH")
SHDR = struct.Struct("<10I")
WORD = struct.Struct("<I")
PHDR = struct.Struct("<8I")
SYM = struct.Struct("<IIIBBH")
REL = struct.Struct("<II")
RELA = struct.Struct("<IIi")


class Content(Protocol):
    """The bytes of a file, there already or read piece by piece."""

    def __len__(self) -> int: ...

    def __getitem__(self, where: slice, /) -> bytes: ...


@dataclass(slots=True)
class Section:
    """One section header and, unless it is NOBITS, the way to the section's bytes."""

    index: int
    name: str
    kind: int
    """``sh_type``."""
    flags: int
    address: int
    size: int
    link: int
    info: int
    align: int
    """``sh_addralign``, at least 1."""
    entsize: int
    offset: int
    """``sh_offset``: where its bytes are in the file."""
    file: Content = field(repr=False)
    _data: bytes | None = field(default=None, repr=False)

    @property
    def data(self) -> bytes:
        """Its bytes; empty for NOBITS. Cut out of the file when they are asked for."""
        found = self._data
        if found is None:
            nothing = self.kind in (0, SHT_NOBITS)
            found = self._data = b"" if nothing else self.file[self.offset : self.offset + self.size]
        return found

    @property
    def alloc(self) -> bool:
        """It takes room in the target's memory."""
        return bool(self.flags & SHF_ALLOC)

    @property
    def code(self) -> bool:
        """It holds instructions."""
        return bool(self.flags & SHF_EXECINSTR)

    @property
    def writable(self) -> bool:
        """It is data that the program may change."""
        return bool(self.flags & SHF_WRITE)


@dataclass(slots=True)
class Container:
    """An ELF file taken apart into header fields and sections."""

    name: str
    """What messages call the file."""
    file: Content
    kind: int
    """``e_type``."""
    flags: int
    """``e_flags``."""
    phoff: int
    phentsize: int
    phnum: int
    sections: list[Section]

    @property
    def data(self) -> bytes:
        """All bytes of the file."""
        return self.file[:]

    def fail(self, what: str, hint: str | None = None) -> ElfError:
        """An error about this file, ready to be raised."""
        return ElfError(f"{self.name}: {what}", hint=hint)

    def of_kind(self, kind: int) -> Section | None:
        """First section with that ``sh_type``."""
        return next((s for s in self.sections if s.kind == kind), None)


def string_at(table: bytes, offset: int) -> str:
    """The NUL-terminated string at ``offset`` of a string table; ValueError when there is none."""
    if offset >= len(table):
        if offset == 0:
            return ""
        raise ValueError(offset)
    return table[offset : table.index(b"\0", offset)].decode("utf-8", "replace")


def read_file(path: Path) -> bytes:
    """The bytes of an ELF file. UsageError when it cannot be read, is no file, or is larger than any of ours."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"cannot read {path}: not a regular file")
            if status.st_size > MAX_FILE:
                raise ElfError(f"{path}: has {status.st_size >> 20} MB, more than {MAX_FILE >> 20} are not read")
            return file.read(MAX_FILE)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def open_container(data: Content, name: str, kinds: Sequence[int]) -> Container:
    """Checks the ELF header, reads the section table.

    ``kinds`` are the ``e_type`` values that are welcome. Raises ElfError for everything that is not a complete
    32-bit little-endian Arm ELF file of such a kind.
    """

    def fail(what: str, hint: str | None = None) -> ElfError:
        return ElfError(f"{name}: {what}", hint=hint)

    if data[:4] != b"\x7fELF":
        hint = "LTO bytecode or a source file? pass the compiler's object file" if data[:2] in (b"BC", b"#i") else None
        raise fail("not an ELF file" if data else "the file is empty", hint)
    if len(data) < EHDR.size:
        raise fail(f"cut short inside the ELF header ({len(data)} bytes)")
    ident, kind, machine, _, _, phoff, shoff, flags, _, phentsize, phnum, shentsize, shnum, shstrndx = EHDR.unpack(
        data[: EHDR.size]
    )
    if ident[4] != 1 or ident[5] != 1:
        bits = {1: "32-bit", 2: "64-bit"}.get(ident[4], f"class {ident[4]}")
        order = {1: "little-endian", 2: "big-endian"}.get(ident[5], f"byte order {ident[5]}")
        raise fail(f"{bits} {order} ELF; Cortex-M code is 32-bit little-endian", "compile it for the board's core")
    if machine != EM_ARM:
        raise fail(
            f"made for another machine (e_machine {machine}, Arm is {EM_ARM})",
            "compile it with arm-none-eabi-gcc, or with clang --target=arm-none-eabi",
        )
    if kind not in kinds:
        names = {1: "a relocatable object", 2: "a linked executable", 3: "a shared object", 4: "a core dump"}
        wanted = " or ".join(names[k] for k in kinds)
        raise fail(f"is {names.get(kind, f'of ELF type {kind}')}, but {wanted} is needed")
    sections = _read_sections(data, shoff, shentsize, shnum, shstrndx, fail=fail)
    return Container(name, data, kind, flags, phoff, phentsize, phnum, sections)


def _read_sections(
    data: Content, shoff: int, entsize: int, count: int, strndx: int, *, fail: Callable[..., ElfError]
) -> list[Section]:
    if shoff == 0:
        raise fail("has no section table", "do not strip it completely")
    if entsize != SHDR.size:
        raise fail(f"section headers of {entsize} bytes (expected {SHDR.size})")
    if shoff + SHDR.size > len(data):
        raise fail(f"the section table at offset {shoff:#x} is behind the file's end ({len(data):#x} bytes)")
    if count == 0:  # more than 0xFF00 sections: the number is in the first header (TIS ELF, e_shnum)
        count = SHDR.unpack(data[shoff : shoff + SHDR.size])[5]
    if strndx == SHN_XINDEX:
        strndx = SHDR.unpack(data[shoff : shoff + SHDR.size])[6]
    if shoff + count * SHDR.size > len(data):
        raise fail(f"the section table ({count} sections at offset {shoff:#x}) reaches behind the file's end")
    raw = list(SHDR.iter_unpack(data[shoff : shoff + count * SHDR.size]))
    for index, (_, kind, _, _, offset, size, *_) in enumerate(raw):
        if kind not in (0, SHT_NOBITS) and offset + size > len(data):
            raise fail(f"section {index} ({size:#x} bytes at offset {offset:#x}) reaches behind the file's end")
    if strndx >= count or raw[strndx][1] != SHT_STRTAB:
        raise fail(f"section names: section {strndx} is not a string table")
    if sum(entry[5] for entry in raw if entry[1] not in (0, SHT_NOBITS)) > len(data) + 4096:
        raise fail("its sections overlap in the file")
    names = data[raw[strndx][4] : raw[strndx][4] + raw[strndx][5]]
    sections = []
    known: dict[int, str] = {}
    for index, (name, kind, flags, address, offset, size, link, info, align, ent) in enumerate(raw):
        text = known.get(name)
        if text is None:
            try:
                text = known[name] = string_at(names, name)
            except ValueError:
                raise fail(f"section {index}: its name is outside the string table") from None
        if align & (align - 1):
            raise fail(f"section {text}: alignment {align} is not a power of two")
        sections.append(Section(index, text, kind, flags, address, size, link, info, align or 1, ent, offset, data))
    return sections


@dataclass(slots=True)
class RawSymbol:
    """One entry of a symbol table."""

    name: str
    value: int
    size: int
    bind: int
    kind: int
    """``STT_*``."""
    section: int
    """Section index, or SHN_UNDEF, SHN_ABS, SHN_COMMON."""
    unit: str
    """The STT_FILE name that a local symbol follows, else empty."""
    group: int
    """Number of that STT_FILE entry, counted from 1; 0 for symbols that follow none. Two units may share a name,
    never a group."""
    index: int


class DamagedError(ValueError):
    """What is wrong with a table, to be said together with the file's name: message and hint."""

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.hint = hint


SymbolSource = tuple[bytes, bytes, tuple[int, ...]]
"""All that symbols are made of: their table, their names, and the flags of the file's sections."""


def symbol_source(container: Container) -> SymbolSource:
    """The bytes of the symbol table and of its names, checked as a whole."""
    table = container.of_kind(SHT_SYMTAB)
    if table is None:
        raise container.fail("has no symbol table", "do not strip it")
    sections = container.sections
    if table.link >= len(sections) or sections[table.link].kind != SHT_STRTAB:
        raise container.fail(f"the symbol table's names: section {table.link} is not a string table")
    if table.entsize != SYM.size or table.size % SYM.size:
        raise container.fail(f"symbols of {table.entsize} bytes in {table.size} bytes (expected {SYM.size} each)")
    names = sections[table.link].data
    if names and names[-1] != 0:
        raise container.fail("the symbol table's names are not terminated")
    return table.data, names, tuple([s.flags for s in sections])


def read_symbols(container: Container, *, keep_sections: bool) -> list[RawSymbol]:
    """The symbol table in file order; without ``keep_sections`` section and file symbols are left out."""
    try:
        return parse_symbols(*symbol_source(container), keep_sections=keep_sections)
    except DamagedError as error:
        raise container.fail(str(error), error.hint) from None


def parse_symbols(table: bytes, names: bytes, flags: Sequence[int], *, keep_sections: bool) -> list[RawSymbol]:
    """What :func:`read_symbols` gives; DamagedError for what is no symbol of a file with such sections."""
    limit, found = len(names), len(flags)
    room = 4 * limit + (1 << 20)  # names may share their ends, but not so much that memory runs out
    symbols = []
    unit, group = "", 0
    for index, (name, value, size, info, _, section) in enumerate(SYM.iter_unpack(table)):
        if name >= limit and (name or limit):
            raise DamagedError(f"symbol {index}: its name is outside the string table")
        text = names[name : names.index(0, name)].decode("utf-8", "replace") if name else ""
        room -= len(text)
        if room < 0:
            raise DamagedError(f"symbol {index}: its name overlaps those of other symbols too much")
        kind, bind = info & 15, info >> 4
        if section >= found and section < SHN_LORESERVE:
            raise DamagedError(f"symbol {index} ({text}) is in section {section}; there are only {found}")
        if kind == STT_NOTYPE and size and 0 < section < found and flags[section] & CODE == SHF_ALLOC:
            kind = STT_OBJECT  # GNU as gives `.local`, `.comm` variables no type
        if section >= SHN_LORESERVE and section not in (SHN_ABS, SHN_COMMON):
            raise DamagedError(f"symbol {index} ({text}) has the unknown section index {section:#x}")
        if kind == STT_FILE:
            unit, group = text, group + 1
            if not keep_sections:
                continue
        local = bind == STB_LOCAL
        if kind == STT_SECTION and not keep_sections:
            continue
        symbols.append(
            RawSymbol(text, value, size, bind, kind, section, unit if local else "", group if local else 0, index)
        )
    return symbols
