"""Tells functions that differ from the base image by their place in the source alone.

An assert passes ``__LINE__`` and ``__FILE__``: a line more at the top of a file changes the code of all that assert
something below. Such functions have to go all the same, since the number they pass is a result, but people are told.
What counts as a line number is an immediate that has moved together with a line of the function, and is that line.
"""

from __future__ import annotations

import io
import posixpath
from functools import lru_cache
from typing import TYPE_CHECKING

from hotflash.debug.code import Code
from hotflash.link import reloc, thumb
from hotflash.link.model import Piece

if TYPE_CHECKING:
    from hotflash.elf.firmware import Firmware
    from hotflash.elf.object import ObjectFile
    from hotflash.link.content import Base
    from hotflash.link.model import Function

_SET_ADDRESS = 2  # DW_LNE_set_address (DWARF 5, 6.2.5.3)
_SPAN = 4
"""Lines that a macro's call may span: the instruction has the first, ``__LINE__`` the last."""


class LineNumbers:
    """Compares functions with the base image, line numbers and file names apart."""

    def __init__(self, firmware: Firmware, base: Base) -> None:
        self._firmware = firmware
        self._base = base

    def only(self, function: Function) -> str:
        """What a replaced function differs by: ``line numbers``, ``the file's name``, or both; else empty."""
        site, piece = function.site, function.piece
        if site is None or site.size != piece.size:
            return ""
        code = self._firmware.read(site.address, piece.size)
        masked = piece.view.scan(piece).masked
        if masked is None or len(code) != piece.size:
            return ""
        named = self._names(function, code, site.address)
        if named is None:
            return ""
        numbers = self._numbers(function, code, masked, site.address)
        if numbers is None:
            return ""
        found = ["line numbers"] * numbers + ["the file's name"] * named
        return " and ".join(found)

    def _names(self, function: Function, code: bytes, address: int) -> bool | None:
        """Whether references differ by the name of the file, None when by anything else."""
        differ = False
        for ref in function.piece.refs:
            if self._base.same_reference(ref, code, address):
                continue
            target = ref[2]
            if ref[1] != reloc.ABS32 or type(target) is not Piece or target.code or target.symbol is not None:
                return None
            there = self._base.pointed_at(ref, code)
            before = self._firmware.read(there, 4096).split(b"\0", 1)[0]
            after = target.data.split(b"\0", 1)[0]
            unit = function.unit.encode()
            if not unit or {posixpath.basename(before), posixpath.basename(after)} != {unit}:
                return None
            differ = True
        return differ

    def _numbers(self, function: Function, code: bytes, masked: bytes, address: int) -> bool | None:
        """Whether immediates differ by line numbers, None when anything else differs."""
        piece = function.piece
        fields: set[int] = set()
        for at, number, _, _ in piece.refs:
            kind = reloc.KINDS[number]
            around = int.from_bytes(code[at : at + kind.width], "little") & kind.mask
            if around != int.from_bytes(masked[at : at + kind.width], "little"):
                return None
            fields.update(range(at, at + kind.width))
        places = [at for at in range(piece.size) if code[at] != masked[at] and at not in fields]
        if not places:
            return False
        starts = _instructions(piece)
        moves = sorted({starts.get(place & ~1, -1) for place in places})
        if moves[0] < 0:
            return None
        rows = dict(object_lines(piece.view.object, piece.section))
        values = []
        for at in moves:
            old, new = thumb.get_move(code, at), thumb.get_move(masked, at)
            if old is None or new is None or old[0] != new[0]:
                return None
            if not any(0 <= new[1] - line < _SPAN for line in rows.values()):
                return None
            values.append((old[1], new[1]))
        # Only now, since most changed numbers have failed: the firmware's own lines take longer.
        lines = {(self._line(address + at), line) for at, line in rows.items()}
        for old_value, new_value in values:
            if not any(old_value - old == new_value - new and 0 <= new_value - new < _SPAN for old, new in lines):
                return None
        return True

    def _line(self, address: int) -> int:
        found = _source(self._firmware).place(address)
        return found.line if found is not None else -_SPAN


@lru_cache(maxsize=4)
def _source(firmware: Firmware) -> Code:
    return Code(firmware.container)


def _instructions(piece: Piece) -> dict[int, int]:
    """The start of the instruction that each halfword of a function belongs to; data has none."""
    obj, found = piece.view.object, {}
    at = 0
    while at + 2 <= piece.size:
        if obj.nature(piece.section, at) == "d":
            at += 2
            continue
        wide = piece.data[at + 1] >= 0xE8  # the first halfword is 0xE800 or above (A5.1)
        found[at] = at
        if wide:
            found[at + 2] = at
        at += 4 if wide else 2
    return found


@lru_cache(maxsize=64)
def object_lines(obj: ObjectFile, section: int) -> tuple[tuple[int, int], ...]:
    """Offsets in a section of an object and the lines that the code from there comes from, in order.

    Addresses in an object's line program are relocations (DWARF 5, 6.2.5.3, DW_LNE_set_address).
    """
    from elftools.common.exceptions import DWARFError, ELFError
    from elftools.elf.elffile import ELFFile

    index = next((s.index for s in obj.sections if s.name == ".debug_line"), None)
    if index is None:
        return ()
    places = [obj.symbols[symbol] for _, kind, symbol, _ in obj.relocations(index) if kind == reloc.ABS32]
    sections = iter([symbol.section for symbol in places if 0 < symbol.section < len(obj.sections)])
    found = []
    try:
        info = ELFFile(io.BytesIO(obj.container.data)).get_dwarf_info(relocate_dwarf_sections=False)
        for cu in info.iter_CUs():
            program = info.line_program_for_CU(cu)
            here = 0
            for entry in program.get_entries() if program is not None else ():
                if entry.state is None:
                    if entry.is_extended and entry.command == _SET_ADDRESS:
                        here = next(sections, 0)
                elif here == section:
                    found.append((int(entry.state.address), int(entry.state.line)))
    except (ELFError, DWARFError, AssertionError, KeyError, ValueError, AttributeError):
        return ()  # damaged debug information settles nothing
    return tuple(found)
