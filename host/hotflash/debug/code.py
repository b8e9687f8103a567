"""Code with its debug information: a linked ELF, or what was placed in the code heap and written as one."""

from __future__ import annotations

import io
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from hotflash.debug.cfi import FrameTable, damage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotflash.debug.cfi import Row
    from hotflash.elf.format import Container


class Place(NamedTuple):
    """A line of source."""

    file: str
    """As the compiler was given it, its folder in front unless the name is absolute."""
    line: int


class Code:
    """One file's code: rules for unwinding and source lines by address."""

    def __init__(self, container: Container) -> None:
        self._container = container

    @cached_property
    def _dwarf(self) -> Any:
        """What pyelftools sees of it; None where there is nothing to see."""
        from elftools.elf.elffile import ELFFile

        try:
            elf = ELFFile(io.BytesIO(self._container.data))
            if elf.get_section_by_name(".debug_line") is None:
                return None
            return elf.get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)
        except damage():
            return None

    @cached_property
    def _frames(self) -> FrameTable:
        from elftools.elf.elffile import ELFFile

        try:
            section = ELFFile(io.BytesIO(self._container.data)).get_section_by_name(".debug_frame")
            return FrameTable(section.data() if section is not None else b"")
        except damage():
            return FrameTable(b"")

    def row(self, address: int) -> Row | None:
        """The rules at an address; None where nothing is known."""
        return self._frames.row(address)

    def place(self, address: int) -> Place | None:
        """The line that the code at an address was compiled from; None where nobody knows."""
        if self._dwarf is None:
            return None
        try:
            unit = self._unit_at(address)
            return None if unit is None else self._line(unit, address)
        except damage():
            return None

    @cached_property
    def _aranges(self) -> Any:
        return self._dwarf.get_aranges()

    def _unit_at(self, address: int) -> Any:
        aranges = self._aranges
        if aranges is not None:
            offset = aranges.cu_offset_at_addr(address)
            if offset is not None:
                unit = self._dwarf.get_CU_at(offset)
                if self._covers(unit, address) is not False:
                    return unit
        # clang writes no .debug_aranges.
        return next((unit for unit in self._dwarf.iter_CUs() if self._covers(unit, address)), None)

    def _covers(self, unit: Any, address: int) -> bool | None:
        """Whether a unit has code at an address; None when it does not say."""
        attributes = unit.get_top_DIE().attributes
        if "DW_AT_ranges" in attributes:
            return any(low <= address < high for low, high in self._ranges(unit, attributes))
        low, high = attributes.get("DW_AT_low_pc"), attributes.get("DW_AT_high_pc")
        if low is None or high is None:
            return None
        end = high.value if high.form == "DW_FORM_addr" else low.value + high.value
        return bool(low.value <= address < end)

    def _ranges(self, unit: Any, attributes: Any) -> Iterator[tuple[int, int]]:
        lists = self._dwarf.range_lists()
        if lists is None:
            return
        base = attributes["DW_AT_low_pc"].value if "DW_AT_low_pc" in attributes else 0
        for item in lists.get_range_list_at_offset(attributes["DW_AT_ranges"].value, cu=unit):
            if hasattr(item, "base_address"):
                base = item.base_address
            else:
                start = 0 if getattr(item, "is_absolute", False) else base
                yield start + item.begin_offset, start + item.end_offset

    def _line(self, unit: Any, address: int) -> Place | None:
        program = self._dwarf.line_program_for_CU(unit)
        if program is None:
            return None
        before = None
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            # Sequences of dropped functions start at 0 or 1 and could reach up to here.
            if before is not None and 1 < before.address <= address < state.address and not before.end_sequence:
                return _place(unit, program, before)
            before = state
        return None


def _place(unit: Any, program: Any, state: Any) -> Place | None:
    header = program.header
    five = header["version"] >= 5
    index = state.file if five else state.file - 1
    if not 0 <= index < len(header["file_entry"]):
        return None
    entry = header["file_entry"][index]
    name = PurePosixPath(_text(entry.name))
    folders = [_text(item) for item in header["include_directory"]]
    number = entry.dir_index if five else entry.dir_index - 1
    home = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
    if 0 <= number < len(folders):
        name = PurePosixPath(folders[number]) / name
    if home is not None and not name.is_absolute():
        name = PurePosixPath(_text(home.value)) / name
    return Place(str(name), int(state.line))


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
