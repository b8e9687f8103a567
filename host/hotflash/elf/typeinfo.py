"""What is read of types in debugging information in the same way, whoever asks: counts, offsets, bits, enumerators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotflash.elf import dwarf

if TYPE_CHECKING:
    from hotflash.elf.dwarf import Entry

MODIFIERS = {
    dwarf.TAG_CONST: "const ",
    dwarf.TAG_VOLATILE: "volatile ",
    dwarf.TAG_RESTRICT: "",
    dwarf.TAG_ATOMIC: "_Atomic ",
    dwarf.TAG_PACKED: "",
}
RECORDS = {dwarf.TAG_STRUCTURE: "struct ", dwarf.TAG_CLASS: "class ", dwarf.TAG_UNION: "union "}
POINTERS = {
    dwarf.TAG_POINTER: "*",
    dwarf.TAG_REFERENCE: "&",
    dwarf.TAG_RVALUE: "&&",
    dwarf.TAG_PTR_TO_MEMBER: "::*",
}
_DIMENSIONS = 16


def counts(entry: Entry) -> list[int]:
    """Elements of an array by dimension; 0 where it does not say, as in a flexible array member."""
    found = []
    for item in entry:
        if item.tag != dwarf.TAG_SUBRANGE:
            continue
        count = item.number(dwarf.AT_COUNT)
        if count is None:
            bound = item.number(dwarf.AT_UPPER_BOUND)
            # Without a bound it is a flexible array member; GCC gives `[0]` an upper bound of -1.
            count = 0 if bound is None else (bound + 1) % (1 << 32)
        found.append(count)
    if len(found) > _DIMENSIONS:
        raise dwarf.DwarfError(f"an array has {len(found)} dimensions")
    return found


def member_offset(entry: Entry) -> int:
    """Bytes from a record's start to a member."""
    location = entry.attributes.get(dwarf.AT_MEMBER_LOCATION)
    if location is None:
        return 0
    value = location[1]
    if isinstance(value, int):
        return value
    if value[:1] == bytes([dwarf.OP_PLUS_UCONST]):
        return dwarf.uleb(value, 1)[0]
    return 0


def bit_range(entry: Entry, type_size: int) -> tuple[int, int]:
    """First bit and number of bits of a bit-field member (DWARF 5, 5.7.6), counted from the record's start.

    So does DW_AT_data_bit_offset; before DWARF 4 DW_AT_bit_offset counted from the most significant bit of a storage
    unit at the member's place.
    """
    offset, size = member_offset(entry), number(entry, dwarf.AT_BIT_SIZE, 0)
    start = entry.number(dwarf.AT_DATA_BIT_OFFSET)
    if start is None:
        storage = 8 * number(entry, dwarf.AT_BYTE_SIZE, type_size)
        start = 8 * offset + storage - number(entry, dwarf.AT_BIT_OFFSET, 0) - size
    else:
        start += 8 * offset
    if not 0 <= size <= 8 * type_size:
        raise dwarf.DwarfError(f"the bit-field {entry.name} has {size} bits")
    return start, size


def enumerators(entry: Entry) -> list[tuple[str, int]]:
    """Names and values of an enumeration in order of declaration; some forms of a value have lost its sign."""
    return [(item.name, item.number(dwarf.AT_CONST_VALUE) or 0) for item in entry if item.tag == dwarf.TAG_ENUMERATOR]


def number(entry: Entry, attribute: int, default: int) -> int:
    """A constant attribute, or what it is when it is missing."""
    value = entry.number(attribute)
    return default if value is None else value
