"""Which function a static belongs to, from DWARF: for the rare cases that symbols and code leave open.

Read through pyelftools, which takes its time; nothing here is needed for a push where names are unambiguous.
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotflash.elf.firmware import Firmware
    from hotflash.elf.object import ObjectFile

_DW_OP_ADDR = 0x03  # DWARF 5, 2.5.1.1


def _name(die: Any) -> str:
    """The source name of an entry, its origin's when it has none of its own (DWARF 5, 3.3.8.2)."""
    for _ in range(4):
        if "DW_AT_name" in die.attributes:
            return str(die.attributes["DW_AT_name"].value.decode("utf-8", "replace"))
        for link in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if link in die.attributes:
                die = die.get_DIE_from_attribute(link)
                break
        else:
            break
    return ""


def _statics(data: bytes, unit: str) -> Iterator[tuple[str, int, int]]:
    """Function statics of a unit: owner, address in the location, offset of that address in .debug_info."""
    from elftools.common.exceptions import DWARFError, ELFError
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(io.BytesIO(data))
        if not elf.has_dwarf_info():
            return
        info = elf.get_dwarf_info(relocate_dwarf_sections=False)  # REL: the fields hold their offsets already
        for cu in info.iter_CUs():
            top = cu.get_top_DIE()
            if PurePath(_name(top)).name != unit:
                continue
            stack = [(child, "") for child in top.iter_children()]
            while stack:
                die, owner = stack.pop()
                if die.tag == "DW_TAG_subprogram":
                    owner = _name(die)
                elif die.tag == "DW_TAG_variable" and owner and "DW_AT_location" in die.attributes:
                    where = die.attributes["DW_AT_location"]
                    if isinstance(where.value, list) and len(where.value) == 5 and where.value[0] == _DW_OP_ADDR:
                        yield owner, int.from_bytes(bytes(where.value[1:]), "little"), where.offset + 2
                if die.has_children:
                    stack += [(child, owner) for child in die.iter_children()]
    except (ELFError, DWARFError, AssertionError, KeyError, ValueError, AttributeError):
        return  # damaged debug information settles nothing


@lru_cache(maxsize=64)
def firmware_owners(firmware: Firmware, unit: str) -> dict[int, str]:
    """Owners of the function statics of a firmware's unit, by address."""
    return {address: owner for owner, address, _ in _statics(firmware.container.data, unit)}


@lru_cache(maxsize=64)
def object_owners(obj: ObjectFile, unit: str) -> dict[tuple[int, int], str]:
    """Owners of the function statics of an object, by section and offset."""
    section = next((s for s in obj.sections if s.name == ".debug_info"), None)
    if section is None:
        return {}
    places = {offset: symbol for offset, _, symbol, _ in obj.relocations(section.index)}
    found = {}
    for owner, addend, offset in _statics(obj.container.data, unit):
        if offset in places:
            symbol = obj.symbols[places[offset]]
            found[symbol.section, symbol.value + addend] = owner
    return found
