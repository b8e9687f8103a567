"""Reads debugging information entries of .debug_info, DWARF 2 to 5 (DWARF 5, chapter 7), in 32- and 64-bit format.

Made to skip: of an abbreviation whose attributes all have fixed sizes an entry is stepped over in one go, and with a
sibling reference its children are, too. What is asked for is read entry by entry, nothing is kept but abbreviations.
The bytes may be anything: whatever does not fit together raises :class:`DwarfError`, and the work done for damaged
tables is bounded by the size of the sections.
"""

from __future__ import annotations

import struct
import sys
import zlib
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from hotflash.elf import format as elf

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hotflash.elf.format import Container, Section

# Tags (DWARF 5, table 7.3).
TAG_ARRAY, TAG_CLASS, TAG_ENUMERATION, TAG_PARAMETER, TAG_LEXICAL_BLOCK = 0x01, 0x02, 0x04, 0x05, 0x0B
TAG_MEMBER, TAG_POINTER, TAG_REFERENCE, TAG_STRUCTURE, TAG_SUBROUTINE = 0x0D, 0x0F, 0x10, 0x13, 0x15
TAG_TYPEDEF, TAG_UNION, TAG_INHERITANCE, TAG_INLINED, TAG_PTR_TO_MEMBER = 0x16, 0x17, 0x1C, 0x1D, 0x1F
TAG_SUBRANGE, TAG_BASE, TAG_CONST, TAG_ENUMERATOR, TAG_PACKED, TAG_SUBPROGRAM = 0x21, 0x24, 0x26, 0x28, 0x2D, 0x2E
TAG_VARIABLE, TAG_VOLATILE, TAG_RESTRICT, TAG_NAMESPACE, TAG_RVALUE, TAG_ATOMIC = 0x34, 0x35, 0x37, 0x39, 0x42, 0x47
TAG_UNSPECIFIED, TAG_UNSPECIFIED_TYPE, TAG_CALL_SITE, TAG_GNU_CALL_SITE = 0x18, 0x3B, 0x48, 0x4109

# Attributes (table 7.5).
AT_SIBLING, AT_LOCATION, AT_NAME, AT_BYTE_SIZE, AT_BIT_OFFSET, AT_BIT_SIZE = 0x01, 0x02, 0x03, 0x0B, 0x0C, 0x0D
AT_CONST_VALUE, AT_UPPER_BOUND, AT_ABSTRACT_ORIGIN, AT_COUNT, AT_MEMBER_LOCATION = 0x1C, 0x2F, 0x31, 0x37, 0x38
AT_DECLARATION, AT_ENCODING, AT_EXTERNAL, AT_SPECIFICATION, AT_TYPE, AT_DATA_BIT_OFFSET = (
    0x3C, 0x3E, 0x3F, 0x47, 0x49, 0x6B,
)  # fmt: skip
AT_STR_OFFSETS_BASE, AT_ADDR_BASE = 0x72, 0x73
AT_LOW_PC, AT_LANGUAGE, AT_PROTOTYPED, AT_INLINE, AT_ARTIFICIAL, AT_DECL_FILE = 0x11, 0x13, 0x27, 0x20, 0x34, 0x3A
AT_RANGES, AT_VIRTUALITY, AT_VTABLE_ELEMENT, AT_CONTAINING_TYPE = 0x55, 0x4C, 0x4D, 0x1D
AT_SIGNATURE, AT_LINKAGE_NAME, AT_MIPS_LINKAGE_NAME, AT_CALL_ORIGIN = 0x69, 0x6E, 0x2007, 0x7F

# Forms (table 7.6).
FORM_ADDR, FORM_BLOCK2, FORM_BLOCK4, FORM_STRING, FORM_BLOCK, FORM_BLOCK1 = 0x01, 0x03, 0x04, 0x08, 0x09, 0x0A
FORM_SDATA, FORM_STRP, FORM_UDATA, FORM_REF_ADDR, FORM_REF_UDATA, FORM_INDIRECT = 0x0D, 0x0E, 0x0F, 0x10, 0x15, 0x16
FORM_EXPRLOC, FORM_FLAG_PRESENT, FORM_LINE_STRP, FORM_REF_SIG8, FORM_IMPLICIT_CONST = 0x18, 0x19, 0x1F, 0x20, 0x21
_FIXED = {
    0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x19: 0, 0x1C: 4, 0x1E: 16,
    0x20: 8, 0x21: 0, 0x24: 8, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4,
}  # fmt: skip
"""Bytes of forms that always have as many."""
_OFFSETS = {FORM_STRP, 0x17, 0x1D, FORM_LINE_STRP, 0x1F20, 0x1F21}
"""Forms that are an offset: 4 bytes, or 8 in the 64-bit format."""
_ULEB = {FORM_UDATA, FORM_REF_UDATA, 0x1A, 0x1B, 0x22, 0x23, 0x1F01, 0x1F02}
_LOCATIONS = {FORM_EXPRLOC, FORM_BLOCK1, FORM_BLOCK2, FORM_BLOCK4, FORM_BLOCK, FORM_INDIRECT}
"""Forms of a location that is an expression, not a list."""
_BLOCKS = {FORM_BLOCK1: 1, FORM_BLOCK2: 2, FORM_BLOCK4: 4}
_REFERENCES = {0x11, 0x12, 0x13, 0x14, FORM_REF_UDATA}
_STRX = {0x1A, 0x25, 0x26, 0x27, 0x28, 0x1F02}

OP_ADDR, OP_PLUS_UCONST, OP_PIECE, OP_ADDRX, OP_GNU_ADDR_INDEX = 0x03, 0x23, 0x93, 0xA1, 0xFB  # DWARF 5, table 7.9; GNU
_UT_TYPE, _UT_SPLIT_TYPE = 0x02, 0x06
_MAX_TEXT = 1 << 16
"""Bytes of the longest name."""
_MAX_SECTION = 1 << 27
"""Bytes of the largest section after decompression."""
_MAX_DEPTH = 1024
"""Nesting of entries."""
_HOPS = 8
"""Origins and specifications that are followed for a name."""
_SCOPES = {TAG_SUBPROGRAM, TAG_LEXICAL_BLOCK, TAG_INLINED, TAG_NAMESPACE}
_SKIPPED = -1
_U32 = struct.Struct("<I")


class DwarfError(Exception):
    """The debugging information does not make sense; the message says how."""


class Abbreviation(NamedTuple):
    """What entries of one code have in common (DWARF 5, 7.5.3)."""

    tag: int
    children: bool
    attributes: tuple[tuple[int, int, int], ...]
    """Attribute, form, and the value of an implicit constant."""
    size: int
    """Bytes of all attributes, -1 where that differs from entry to entry."""
    fixed: bool
    """It has a location that is an expression, or a constant value."""
    sibling: int
    """Offset of a 4-byte sibling reference in the attributes when all before it have fixed sizes, else -1."""


Value = tuple[int, int | bytes]
"""A form and what it holds: a number, the bytes of a block, or those of an inline string."""


class Unit:
    """One unit of .debug_info."""

    __slots__ = (
        "_bases",
        "abbreviations",
        "address_size",
        "dwarf",
        "end",
        "first",
        "kind",
        "offset",
        "offset_size",
        "type",
        "version",
    )  # fmt: skip

    def __init__(self, dwarf: Dwarf, offset: int) -> None:
        info = dwarf.info
        self.dwarf = dwarf
        self.offset = offset
        """Of its header in .debug_info."""
        at, self.offset_size = offset + 4, 4
        length = dwarf.number(offset, 4)
        if length == 0xFFFFFFFF:
            length, at, self.offset_size = dwarf.number(at, 8), at + 8, 8
        self.end = at + length
        """Offset behind its last byte."""
        if self.end > len(info):
            raise DwarfError(f"the unit at {offset:#x} reaches behind .debug_info")
        self.version = dwarf.number(at, 2)
        at += 2
        self.kind = 1
        """``DW_UT_*``; before DWARF 5 it is 1 (compile), or 2 (type) for units of .debug_types."""
        self.type: tuple[int, int] | None = None
        """Of a type unit: the type's signature and the offset of its entry."""
        if self.version >= 5:
            self.kind, self.address_size = dwarf.number(at, 1), dwarf.number(at + 1, 1)
            table, at = dwarf.number(at + 2, self.offset_size), at + 2 + self.offset_size
            if self.kind in (_UT_TYPE, _UT_SPLIT_TYPE):
                at = self._signature(at)
            elif self.kind in (4, 5):  # skeleton and split compile units have an ID
                at += 8
        else:
            table = dwarf.number(at, self.offset_size)
            self.address_size, at = dwarf.number(at + self.offset_size, 1), at + self.offset_size + 1
            if offset >= dwarf.types_from:
                self.kind, at = _UT_TYPE, self._signature(at)
        if not 2 <= self.version <= 5 or self.address_size != 4:
            raise DwarfError(f"the unit at {offset:#x} has version {self.version}, {self.address_size}-byte addresses")
        self.first = at
        """Offset of its first entry."""
        self.abbreviations = dwarf.abbreviations(table, self)
        self._bases: tuple[int, int] | None = None

    def _signature(self, at: int) -> int:
        """Reads what the header of a type unit has more (DWARF 5, 7.5.1.3); the offset behind it."""
        number = self.dwarf.number
        self.type = number(at, 8), self.offset + number(at + 8, self.offset_size)
        return at + 8 + self.offset_size

    @property
    def top(self) -> Entry:
        """The entry that holds all others."""
        return Entry(self, self.first)

    @property
    def bases(self) -> tuple[int, int]:
        """Where the unit's part of .debug_str_offsets and of .debug_addr starts."""
        if self._bases is None:
            self._bases = (8, 8) if self.offset_size == 4 else (16, 16)  # behind the sections' headers
            top = self.top.attributes
            found = [top.get(AT_STR_OFFSETS_BASE), top.get(AT_ADDR_BASE)]
            values = [v[1] if v is not None else d for v, d in zip(found, self._bases, strict=True)]
            self._bases = (_whole(values[0]), _whole(values[1]))
        return self._bases


def _whole(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise DwarfError("a block stands where a number belongs")
    return value


class Dwarf:
    """The sections that entries are made of."""

    def __init__(self, container: Container, patched: Mapping[int, bytes] | None = None) -> None:
        """``patched`` replaces the contents of sections, by index: those that relocations were applied to."""
        self._patched = patched or {}
        by_name: dict[str, Section] = {}
        for section in container.sections:
            by_name.setdefault(section.name, section)
        self._sections = by_name
        self.read = 0
        """Entries, attributes and pieces of text that were looked at: how much work was done."""
        self.limit = sys.maxsize
        """How much of it may be done before the file counts as damaged."""
        self._tables: dict[tuple[int, int], dict[int, Abbreviation]] = {}
        self._spent = 0
        self._known: dict[int, Unit] = {}
        self._starts: list[int] | None = None
        self._types: dict[int, int] | None = None
        self.types_from = 0
        self.parts: dict[int, int] = {}
        """Where a section's bytes start in :attr:`info`, by the section's index: with type units there are many."""
        self.info = self._joined(container, ".debug_info")
        self.types_from = len(self.info)
        """Offset in :attr:`info` from which on the units are those of .debug_types (DWARF 4, 7.5.1.2)."""
        if ".debug_types" in by_name:
            self.info += self._joined(container, ".debug_types")
        self._abbrev = self._section(".debug_abbrev") if self.info else b""
        self._contents: dict[str, bytes] = {}

    @property
    def present(self) -> bool:
        """There is debugging information."""
        return bool(self.info)

    def _joined(self, container: Container, name: str) -> bytes:
        """All sections of a name: compilers put each type unit into one of its own."""
        found = [section for section in container.sections if section.name == name]
        if len(found) < 2:
            self.parts.update((section.index, self.types_from) for section in found)
            return self._section(name)
        joined = bytearray()
        for section in found:
            self.parts[section.index] = self.types_from + len(joined)
            joined += self._unpacked(section)
            if len(joined) > _MAX_SECTION:
                raise DwarfError(f"{name} has more bytes than any firmware's")
        return bytes(joined)

    def _section(self, name: str) -> bytes:
        section = self._sections.get(name)
        if section is None:
            section = self._sections.get(f".z{name[1:]}")  # the older GNU way: "ZLIB" and a big-endian size
            if section is None:
                return b""
            if section.data[:4] != b"ZLIB":
                raise DwarfError(f"{section.name} is not compressed as its name says")
            return _inflate(section.data[12:], int.from_bytes(section.data[4:12], "big"), section.name)
        return self._unpacked(section)

    def _unpacked(self, section: Section) -> bytes:
        if section.index in self._patched:
            return self._patched[section.index]
        if section.flags & elf.SHF_COMPRESSED:
            if len(section.data) < 12 or _U32.unpack_from(section.data)[0] != 1:
                raise DwarfError(f"{section.name} is compressed in a way that is not ELFCOMPRESS_ZLIB")
            return _inflate(section.data[12:], _U32.unpack_from(section.data, 4)[0], section.name)
        return section.data

    def spend(self, work: int) -> None:
        """Counts work. DwarfError when it is more than what well-formed information could need."""
        self.read += work
        if self.read > self.limit:
            raise DwarfError("it refers to itself in too many ways")

    def section(self, name: str) -> bytes:
        """The contents of a section, decompressed; empty when there is none."""
        found = self._contents.get(name)
        if found is None:
            found = self._contents[name] = self._section(name)
        return found

    def number(self, at: int, size: int) -> int:
        """A little-endian number of .debug_info."""
        if at + size > len(self.info):
            raise DwarfError(".debug_info is cut short")
        return int.from_bytes(self.info[at : at + size], "little")

    def units(self) -> Iterator[Unit | DwarfError]:
        """All units in order; an error in the place of one that cannot be read."""
        for at in self._offsets():
            try:
                yield self.unit(at)
            except DwarfError as error:
                yield error

    def _offsets(self) -> Iterator[int]:
        at, end = 0, len(self.info)
        while at < end:
            length = int.from_bytes(self.info[at : at + 4], "little")
            if length:  # alignment padding is none
                yield at
            if length == 0xFFFFFFFF:
                length = 8 + int.from_bytes(self.info[at + 4 : at + 12], "little")
            at += 4 + length

    def unit(self, offset: int) -> Unit:
        """The unit whose header is there."""
        unit = self._known.get(offset)
        if unit is None:
            unit = Unit(self, offset)
            if len(self._known) >= 4096:
                self._known.clear()
            self._known[offset] = unit
        return unit

    def unit_of(self, offset: int) -> Unit:
        """The unit that an offset of .debug_info is in."""
        if self._starts is None:
            self._starts = list(self._offsets())
        at = bisect_right(self._starts, offset) - 1
        if at < 0:
            raise DwarfError(f"there is no entry at {offset:#x}")
        return self.unit(self._starts[at])

    @property
    def has_type_units(self) -> bool:
        """Whether types may be in units of their own."""
        return len(self.parts) > 1 or self.types_from < len(self.info) or bool(self._type_units)

    @property
    def _type_units(self) -> dict[int, int]:
        if self._types is None:
            self._types = {}
            for unit in self.units():
                if isinstance(unit, Unit) and unit.type is not None:
                    self._types.setdefault(*unit.type)
        return self._types

    def type_entry(self, signature: int) -> Entry:
        """The type of a type unit by its signature (DWARF 5, 7.32)."""
        offset = self._type_units.get(signature)
        if offset is None:
            raise DwarfError(f"there is no type with the signature {signature:#018x}")
        return self.entry(offset)

    def entry(self, offset: int) -> Entry:
        """The entry at an offset of .debug_info."""
        return Entry(self.unit_of(offset), offset)

    def abbreviations(self, offset: int, unit: Unit) -> dict[int, Abbreviation]:
        """A unit's abbreviations by code."""
        found = self._tables.get((offset, unit.offset_size))
        if found is None:
            # Each table is there once. Units that start all over the section are damaged, and would take forever.
            if self._spent > 2 * len(self._abbrev):
                raise DwarfError(".debug_abbrev is used over and over")
            found = self._tables[offset, unit.offset_size] = self._read_abbreviations(offset, unit)
        return found

    def _read_abbreviations(self, offset: int, unit: Unit) -> dict[int, Abbreviation]:
        data, at, found = self._abbrev, offset, {}
        if at > len(data):
            raise DwarfError(f"abbreviations at {offset:#x} are behind .debug_abbrev")
        while True:
            code, at = uleb(data, at)
            if code == 0:
                break
            tag, at = uleb(data, at)
            if at >= len(data):
                raise DwarfError(".debug_abbrev is cut short")
            children, at = data[at] != 0, at + 1
            attributes, size, sibling, fixed = [], 0, -1, False
            while True:
                attribute, at = uleb(data, at)
                form, at = uleb(data, at)
                constant = 0
                if form == FORM_IMPLICIT_CONST:
                    constant, at = sleb(data, at)
                if not attribute and not form:
                    break
                if attribute == AT_SIBLING and size >= 0 and form == 0x13:
                    sibling = size
                fixed = fixed or attribute == AT_CONST_VALUE or (attribute == AT_LOCATION and form in _LOCATIONS)
                attributes.append((attribute, form, constant))
                width = _width(form, unit)
                size = size + width if size >= 0 and width >= 0 else -1
            found[code] = Abbreviation(tag, children, tuple(attributes), size, fixed, sibling)
        self._spent += at - offset
        return found

    def text(self, value: Value | None, unit: Unit) -> str:
        """A string attribute."""
        if value is None:
            return ""
        form, content = value
        if isinstance(content, bytes):
            return content.decode("utf-8", "replace")
        if form == FORM_STRP:
            data = self.section(".debug_str")
        elif form == FORM_LINE_STRP:
            data = self.section(".debug_line_str")
        elif form in _STRX:
            table, data = self.section(".debug_str_offsets"), self.section(".debug_str")
            at, size = unit.bases[0] + content * unit.offset_size, unit.offset_size
            if at + size > len(table):
                raise DwarfError(f"string {content} is behind .debug_str_offsets")
            content = int.from_bytes(table[at : at + size], "little")
        else:
            raise DwarfError(f"form {form:#x} is no string")
        end = data.find(b"\0", content, content + _MAX_TEXT)
        if end < 0:
            raise DwarfError(f"there is no string at {content:#x}")
        self.spend((end - content) // 64)
        return data[content:end].decode("utf-8", "replace")

    def address(self, index: int, unit: Unit) -> int:
        """An address of .debug_addr by its index in the unit's part."""
        data, at = self.section(".debug_addr"), unit.bases[1] + index * 4
        if at + 4 > len(data):
            raise DwarfError(f"address {index} is behind .debug_addr")
        return int(_U32.unpack_from(data, at)[0])


def _width(form: int, unit: Unit) -> int:
    """Bytes of a form in a unit; -1: it differs."""
    if form == FORM_ADDR:
        return unit.address_size
    if form in _OFFSETS:
        return unit.offset_size
    if form == FORM_REF_ADDR:
        return unit.offset_size if unit.version > 2 else unit.address_size
    return _FIXED.get(form, -1)


def _inflate(data: bytes, size: int, name: str) -> bytes:
    if size > _MAX_SECTION:
        raise DwarfError(f"{name} would have {size} bytes decompressed, more than any firmware's")
    try:
        found = zlib.decompressobj().decompress(data, size + 1)
    except zlib.error as error:
        raise DwarfError(f"{name} cannot be decompressed: {error}") from None
    if len(found) != size:
        raise DwarfError(f"{name} has not the size it says when decompressed")
    return found


def uleb(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number of at most 64 bits (DWARF 5, 7.6) and the offset behind it."""
    try:
        byte = data[at]
        at += 1
        if byte < 0x80:
            return byte, at
        value, shift = byte & 0x7F, 7
        while shift < 70:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
    except IndexError:
        raise DwarfError("a number is cut short") from None
    raise DwarfError("a number has more than 64 bits")


def sleb(data: bytes, at: int) -> tuple[int, int]:
    """A signed LEB128 number and the offset behind it."""
    value, end = uleb(data, at)
    bits = 7 * (end - at)
    return (value - (1 << bits) if value >> (bits - 1) & 1 else value), end


class Entry:
    """One debugging information entry with all its attributes."""

    __slots__ = ("_end", "attributes", "children", "offset", "tag", "unit", "where")

    def __init__(self, unit: Unit, offset: int) -> None:
        self.unit = unit
        self.offset = offset
        """In .debug_info."""
        self.attributes: dict[int, Value] = {}
        """By ``DW_AT_*``."""
        self.where: dict[int, int] = {}
        """Offset of each attribute's block in .debug_info, without the block's length."""
        dwarf = unit.dwarf
        dwarf.spend(1)
        if not unit.first <= offset < unit.end:
            raise DwarfError(f"there is no entry at {offset:#x}")
        code, at = uleb(dwarf.info, offset)
        self.tag = 0
        """``DW_TAG_*``; 0 for the null entry behind the last child."""
        self.children = False
        if code:
            abbreviation = unit.abbreviations.get(code)
            if abbreviation is None:
                raise DwarfError(f"the entry at {offset:#x} has the unknown abbreviation {code}")
            self.tag, self.children = abbreviation.tag, abbreviation.children
            for attribute, form, constant in abbreviation.attributes:
                at = self._read(attribute, form, constant, at)
            dwarf.spend(len(abbreviation.attributes))
        if at > unit.end:
            raise DwarfError(f"the entry at {offset:#x} reaches behind its unit")
        self._end = at

    def _read(self, attribute: int, form: int, constant: int, at: int) -> int:
        unit, info = self.unit, self.unit.dwarf.info
        value: int | bytes
        if form == FORM_INDIRECT:
            form, at = uleb(info, at)
        width = _width(form, unit)
        if form in (FORM_FLAG_PRESENT, FORM_IMPLICIT_CONST):
            value = constant if form == FORM_IMPLICIT_CONST else 1
        elif width >= 0:
            value, at = unit.dwarf.number(at, width), at + width
            if form in _REFERENCES:
                value += unit.offset
        elif form in _ULEB:
            value, at = uleb(info, at)
            if form == FORM_REF_UDATA:
                value += unit.offset
        elif form == FORM_SDATA:
            value, at = sleb(info, at)
        elif form == FORM_STRING:
            end = info.find(b"\0", at, min(at + _MAX_TEXT, unit.end))
            if end < 0:
                raise DwarfError(f"the string at {at:#x} does not end")
            value, at = info[at:end], end + 1
        elif form in _BLOCKS:
            size = _BLOCKS[form]
            length, at = unit.dwarf.number(at, size), at + size
            value, self.where[attribute], at = info[at : at + length], at, at + length
        elif form in (FORM_EXPRLOC, FORM_BLOCK):
            length, at = uleb(info, at)
            value, self.where[attribute], at = info[at : at + length], at, at + length
        else:
            raise DwarfError(f"form {form:#x} is unknown")
        self.attributes[attribute] = form, value
        return at

    def __iter__(self) -> Iterator[Entry]:
        """Its children."""
        if not self.children:
            return
        at = self._end
        while True:
            child = Entry(self.unit, at)
            if not child.tag:
                return
            yield child
            at = child.behind()

    def behind(self) -> int:
        """The offset behind it and its children."""
        if not self.children:
            return self._end
        sibling = self.attributes.get(AT_SIBLING)
        if sibling is not None and isinstance(sibling[1], int):
            if not self._end <= sibling[1] <= self.unit.end:
                raise DwarfError(f"the entry at {self.offset:#x} has a sibling outside of its unit")
            return sibling[1]
        at, depth = self._end, 1
        while depth:
            at, abbreviation = step(self.unit, at)
            depth += -1 if abbreviation is None else abbreviation.children
        return at

    def number(self, attribute: int) -> int | None:
        """A constant, None when it is missing or no plain number."""
        found = self.attributes.get(attribute)
        return found[1] if found is not None and isinstance(found[1], int) else None

    def reference(self, attribute: int) -> Entry | None:
        """The entry that an attribute refers to."""
        found = self.attributes.get(attribute)
        if found is None:
            return None
        form, offset = found
        if form == FORM_REF_SIG8 and isinstance(offset, int):
            return self.unit.dwarf.type_entry(offset)
        if not isinstance(offset, int) or (form not in _REFERENCES and form != FORM_REF_ADDR):
            raise DwarfError(f"form {form:#x} is no reference to an entry of this file")
        unit = self.unit
        if not unit.first <= offset < unit.end:
            unit = unit.dwarf.unit_of(offset)
        return Entry(unit, offset)

    def origins(self) -> Iterator[Entry]:
        """The entry itself, then those that it completes (DWARF 5, 3.3.8.2 and 2.13.2)."""
        entry = self
        for _ in range(_HOPS):
            yield entry
            link = next((a for a in (AT_ABSTRACT_ORIGIN, AT_SPECIFICATION) if a in entry.attributes), None)
            found = entry.reference(link) if link is not None else None
            if found is None:
                return
            entry = found

    def find(self, attribute: int) -> tuple[Entry, Value] | None:
        """An attribute of it or of what it completes, and the entry that has it."""
        for entry in self.origins():
            if attribute in entry.attributes:
                return entry, entry.attributes[attribute]
        return None

    def resolved(self, attribute: int) -> Entry | None:
        """The entry that an attribute of it, or of what it completes, refers to."""
        found = self.find(attribute)
        return found[0].reference(attribute) if found is not None else None

    @property
    def name(self) -> str:
        """The source's name, or empty."""
        found = self.find(AT_NAME)
        return self.unit.dwarf.text(found[1], found[0].unit) if found is not None else ""

    def flag(self, attribute: int) -> bool:
        """A flag of it or of what it completes."""
        found = self.find(attribute)
        return found is not None and bool(found[1][1])


def step(unit: Unit, at: int) -> tuple[int, Abbreviation | None]:
    """Steps over the attributes of one entry: the offset behind, and its abbreviation, None for a null entry."""
    info = unit.dwarf.info
    if not unit.first <= at < unit.end:
        raise DwarfError(f"there is no entry at {at:#x}")
    code, at = uleb(info, at)
    if not code:
        return at, None
    abbreviation = unit.abbreviations.get(code)
    if abbreviation is None:
        raise DwarfError(f"an entry before {at:#x} has the unknown abbreviation {code}")
    return _behind(unit, abbreviation, at), abbreviation


def children(unit: Unit, offset: int) -> Iterator[tuple[int, int]]:
    """Offsets and tags of an entry's children, which are stepped over unread."""
    info, end, table = unit.dwarf.info, unit.end, unit.abbreviations
    at, parent = step(unit, offset)
    if parent is None or not parent.children:
        return
    while True:
        if at >= end:
            raise DwarfError(f"the entries of the unit at {unit.offset:#x} do not end")
        start, code = at, info[at]
        at += 1
        if code >= 0x80:
            code, at = uleb(info, start)
        if not code:
            return
        abbreviation = table.get(code)
        if abbreviation is None:
            raise DwarfError(f"the entry at {start:#x} has the unknown abbreviation {code}")
        tag, nested, _, size, _, sibling = abbreviation
        yield start, tag
        if not nested:
            at = at + size if size >= 0 else _behind(unit, abbreviation, at)
        elif sibling >= 0 and at + sibling + 4 <= end:
            following = _U32.unpack_from(info, at + sibling)[0] + unit.offset
            if not at < following <= end:
                raise DwarfError(f"the entry at {start:#x} has a sibling outside of its unit")
            at = following
        else:
            at = Entry(unit, start).behind()


def _behind(unit: Unit, abbreviation: Abbreviation, at: int) -> int:
    """The offset behind the attributes that start at ``at``."""
    if abbreviation.size >= 0:
        at += abbreviation.size
    else:
        info = unit.dwarf.info
        unit.dwarf.spend(len(abbreviation.attributes))
        for _, form, _ in abbreviation.attributes:
            if form == FORM_INDIRECT:
                form, at = uleb(info, at)  # noqa: PLW2901 - the form proper
            width = _width(form, unit)
            if width >= 0:
                at += width
            elif form in _ULEB or form == FORM_SDATA:
                at = uleb(info, at)[1]
            elif form in _BLOCKS:
                at += _BLOCKS[form] + unit.dwarf.number(at, _BLOCKS[form])
            elif form in (FORM_EXPRLOC, FORM_BLOCK):
                length, at = uleb(info, at)
                at += length
            elif form == FORM_STRING:
                at = info.find(b"\0", at, unit.end) + 1 or unit.end + 1
            else:
                raise DwarfError(f"form {form:#x} is unknown")
    if at > unit.end:
        raise DwarfError(f"an entry before {at:#x} reaches behind its unit")
    return at


def variables(unit: Unit) -> Iterator[tuple[int, Entry]]:
    """The variables of a unit that may have a fixed place, each with the offset of the function that it is local to.

    That is 0 outside of functions, and the inlined subroutine for what came with one. Types are stepped over, and
    so are variables on the stack and in registers as far as their abbreviation tells.
    """
    info, end, table = unit.dwarf.info, unit.end, unit.abbreviations
    sibling_of = _U32.unpack_from
    at, top = step(unit, unit.first)
    owners = [0] if top is not None and top.children else []
    while owners:
        if at >= end:
            raise DwarfError(f"the entries of the unit at {unit.offset:#x} do not end")
        start, code = at, info[at]
        at += 1
        if code >= 0x80:
            code, at = uleb(info, start)
        if not code:
            owners.pop()
            continue
        abbreviation = table.get(code)
        if abbreviation is None:
            raise DwarfError(f"the entry at {start:#x} has the unknown abbreviation {code}")
        tag, children, _, size, fixed, sibling = abbreviation
        owner = owners[-1]
        scope = tag in _SCOPES and owner != _SKIPPED
        if tag == TAG_VARIABLE and owner != _SKIPPED and (fixed or not owner):
            yield owner, Entry(unit, start)
        if children and not scope and sibling >= 0 and at + sibling + 4 <= end:
            following = sibling_of(info, at + sibling)[0] + unit.offset
            if not at < following <= end:
                raise DwarfError(f"the entry at {start:#x} has a sibling outside of its unit")
            at = following
            continue
        at = at + size if size >= 0 else _behind(unit, abbreviation, at)
        if children:
            if len(owners) > _MAX_DEPTH:
                raise DwarfError(f"the entries at {start:#x} are nested too deep")
            if not scope:
                owners.append(_SKIPPED)
            elif tag in (TAG_SUBPROGRAM, TAG_INLINED):
                owners.append(start)
            else:
                owners.append(owner)


def place(entry: Entry) -> int | None:
    """The address of a variable whose location is just that (DWARF 5, 2.6.1.1.2), else None."""
    found = entry.attributes.get(AT_LOCATION)
    if found is None or not isinstance(found[1], bytes) or not found[1]:
        return None
    code = found[1]
    if code[0] == OP_ADDR and len(code) == 5:
        return int.from_bytes(code[1:], "little")
    if code[0] in (OP_ADDRX, OP_GNU_ADDR_INDEX):
        return entry.unit.dwarf.address(uleb(code, 1)[0], entry.unit)
    return None
