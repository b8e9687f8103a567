"""What debug information says, read with pyelftools as a second opinion."""

from __future__ import annotations

import io
from pathlib import Path

from elftools.elf.elffile import ELFFile

_DW_OP_ADDR = 3


def open_elf(path: Path) -> ELFFile:
    """An ELF, read as a whole."""
    return ELFFile(io.BytesIO(path.read_bytes()))


def variables(image: ELFFile) -> dict[str, int]:
    """Addresses of variables by name."""
    found = {}
    for unit in image.get_dwarf_info().iter_CUs():
        for die in unit.iter_DIEs():
            where = die.attributes.get("DW_AT_location")
            if die.tag != "DW_TAG_variable" or where is None or not isinstance(where.value, list):
                continue
            if where.value[:1] == [_DW_OP_ADDR]:
                named = "DW_AT_name" in die.attributes
                origin = die if named else die.get_DIE_from_attribute("DW_AT_specification")
                found[origin.attributes["DW_AT_name"].value.decode()] = int.from_bytes(where.value[1:5], "little")
    return found
