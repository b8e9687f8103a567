"""Which function a static belongs to, from DWARF: for the cases that symbols and code leave open."""

from __future__ import annotations

import posixpath
from functools import lru_cache
from typing import TYPE_CHECKING

from hotflash.elf import dwarf

if TYPE_CHECKING:
    from hotflash.elf.firmware import Firmware
    from hotflash.elf.object import ObjectFile


@lru_cache(maxsize=64)
def firmware_owners(firmware: Firmware, unit: str) -> dict[int, str]:
    """Owners of the function statics of a firmware's unit, by address."""
    return {v.address: v.function for v in firmware.debug.of_unit(unit) if v.function and v.address is not None}


@lru_cache(maxsize=64)
def object_owners(obj: ObjectFile, unit: str) -> dict[tuple[int, int], str]:
    """Owners of the function statics of an object, by section and offset."""
    section = next((s for s in obj.sections if s.name == ".debug_info"), None)
    if section is None:
        return {}
    places = {offset: symbol for offset, _, symbol, _ in obj.relocations(section.index)}
    found = {}
    try:
        info = dwarf.Dwarf(obj.container)  # REL: the fields hold their offsets already
        for cu in info.units():
            if isinstance(cu, dwarf.DwarfError) or posixpath.basename(cu.top.name) != unit:
                continue
            for owner, entry in dwarf.variables(cu):
                addend = dwarf.place(entry) if owner else None
                at = entry.where.get(dwarf.AT_LOCATION, 0) + 1  # behind DW_OP_addr
                if addend is not None and at in places:
                    symbol = obj.symbols[places[at]]
                    found[symbol.section, symbol.value + addend] = info.entry(owner).name
    except dwarf.DwarfError:
        pass  # damaged debug information settles nothing
    return found
