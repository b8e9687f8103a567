"""Which variable a place in memory is, from DWARF: for the cases that symbols and code leave open."""

from __future__ import annotations

import posixpath
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from hotflash.elf import dwarf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotflash.elf.firmware import Firmware
    from hotflash.elf.object import ObjectFile


class Part(NamedTuple):
    """A variable, or a part of one that has a place in memory of its own."""

    owner: str
    """The function that the variable is a static of, or empty."""
    name: str
    size: int | None
    """Of the whole variable in bytes; None when the debug information does not say."""
    offset: int
    """Of the part in the variable."""
    whole: bool
    """It is all of the variable."""


@lru_cache(maxsize=64)
def firmware_owners(firmware: Firmware, unit: str) -> dict[int, str]:
    """Owners of the function statics of a firmware's unit, by address."""
    return {v.address: v.function for v in firmware.debug.of_unit(unit) if v.function and v.address is not None}


@lru_cache(maxsize=64)
def object_parts(obj: ObjectFile, unit: str) -> dict[tuple[int, int], Part]:
    """What a unit's debug information has at a section and offset of an object: variables and parts of them."""
    sections = {s.name: s.index for s in obj.sections if s.name in (".debug_info", ".debug_addr")}
    if ".debug_info" not in sections:
        return {}
    places = {
        (name, offset): symbol for name, index in sections.items() for offset, _, symbol, _ in obj.relocations(index)
    }
    found = {}
    try:
        info = dwarf.Dwarf(obj.container)  # REL: the fields hold their offsets already
        for cu in info.units():
            if isinstance(cu, dwarf.DwarfError) or posixpath.basename(cu.top.name) != unit:
                continue
            for owner, entry in dwarf.variables(cu):
                pieces = list(_pieces(entry))
                if not pieces:
                    continue
                function = info.entry(owner).name if owner else ""
                size = _size(entry)
                for offset, width, addend, place in pieces:
                    if place in places:
                        symbol = obj.symbols[places[place]]
                        part = Part(function, entry.name, size, offset, width is None)
                        found[symbol.section, symbol.value + addend] = part
    except dwarf.DwarfError:
        pass  # damaged debug information settles nothing
    return found


@lru_cache(maxsize=64)
def has_inlining(obj: ObjectFile) -> bool:
    """Whether a function may be part of another; the abbreviations tell, and without them it is taken as so."""
    try:
        info = dwarf.Dwarf(obj.container)
        return not info.present or any(
            isinstance(cu, dwarf.DwarfError) or any(a.tag == dwarf.TAG_INLINED for a in cu.abbreviations.values())
            for cu in info.units()
        )
    except dwarf.DwarfError:
        return True


def _pieces(entry: dwarf.Entry) -> Iterator[tuple[int, int | None, int, tuple[str, int]]]:
    """Where a variable is: offset in it, bytes (None: all), the address, and where the address stands.

    Nothing for a location that is not made of addresses alone (DWARF 5, 2.6.1).
    """
    location = entry.attributes.get(dwarf.AT_LOCATION)
    code = location[1] if location is not None else b""
    if not isinstance(code, bytes):
        return
    found: list[tuple[int, int, int, tuple[str, int]]] = []
    pending: tuple[int, tuple[str, int]] | None = None
    at = offset = 0
    while at < len(code):
        operation = code[at]
        if operation == dwarf.OP_PIECE:
            size, at = dwarf.uleb(code, at + 1)
            if pending is not None:
                found.append((offset, size, *pending))
            offset, pending = offset + size, None
        elif pending is not None:
            return
        elif operation == dwarf.OP_ADDR:
            address = int.from_bytes(code[at + 1 : at + 5], "little")
            pending = address, (".debug_info", entry.where.get(dwarf.AT_LOCATION, 0) + at + 1)
            at += 5
        elif operation in (dwarf.OP_ADDRX, dwarf.OP_GNU_ADDR_INDEX):
            index, at = dwarf.uleb(code, at + 1)
            place = entry.unit.bases[1] + 4 * index
            pending = entry.unit.dwarf.address(index, entry.unit), (".debug_addr", place)
        else:
            return
    if pending is not None and not offset:
        yield 0, None, *pending
    else:
        yield from found


def _size(entry: dwarf.Entry) -> int | None:
    """Bytes of a variable's type."""
    count = 1
    kind = entry.resolved(dwarf.AT_TYPE)
    for _ in range(16):
        if kind is None:
            return None
        size = kind.number(dwarf.AT_BYTE_SIZE)
        if size is not None:
            return count * size
        if kind.tag == dwarf.TAG_POINTER:
            return 4 * count
        for child in kind if kind.tag == dwarf.TAG_ARRAY else ():
            length, last = child.number(dwarf.AT_COUNT), child.number(dwarf.AT_UPPER_BOUND)
            if length is None and last is None:
                return None
            count *= length if length is not None else (last or 0) + 1
        kind = kind.reference(dwarf.AT_TYPE)
    return None
