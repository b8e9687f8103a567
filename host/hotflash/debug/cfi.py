"""Call frame information (DWARF 5, 6.4) by address.

The entries of ``.debug_frame`` are found by a reader of their headers, which are all that has to be looked at in a
large file; the one that is wanted is then decoded by pyelftools.
"""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

LR, PC, SP = 14, 15, 13
_WORD = struct.Struct("<I")
_CIE = 0xFFFFFFFF
_KINDS = {
    "OFFSET": "offset",
    "VAL_OFFSET": "value",
    "REGISTER": "register",
    "SAME_VALUE": "same",
    "UNDEFINED": "undefined",
}
"""pyelftools' names of rules, and ours."""
_MINIMAL = 12
"""Bytes of length, CIE pointer and start, which every description has (6.4.1, 32-bit format)."""


class Rule(NamedTuple):
    """How the caller's value of a register is found (6.4.1)."""

    kind: str
    """``offset``: in memory at CFA + value; ``value``: CFA + value; ``register``: in that register; ``same``;
    ``undefined``; ``unknown``: an expression."""
    value: int = 0


class Row(NamedTuple):
    """The rules at one address."""

    base: int
    """Register that the CFA is counted from; -1: an expression says, which is not evaluated."""
    offset: int
    rules: Mapping[int, Rule]
    returns: int
    """Column of the return address."""


AT_ENTRY = Row(SP, 0, {}, LR)
"""At a function's first instruction, and so in patch points, entry stubs and veneers, which the tables do not know."""


class FrameTable:
    """The call frame information of one file."""

    def __init__(self, section: bytes) -> None:
        self._section = section
        found = []
        at = 0
        while at + 8 <= len(section):
            length, pointer = struct.unpack_from("<II", section, at)
            end = at + 4 + length
            if length >= 0xFFFFFFF0 or end > len(section) or length < 4:
                break  # the 64-bit format, or damaged
            if pointer != _CIE and length >= _MINIMAL:
                low, size = struct.unpack_from("<II", section, at + 8)
                if size and low > 1:  # what the linker dropped lies at 0 or 1
                    found.append((low & ~1, low + size, pointer, at, end))
            at = end
        found.sort()
        self._found = found
        self._starts = [entry[0] for entry in found]

    def row(self, address: int) -> Row | None:
        """The rules at an address; None where nothing is known."""
        number = bisect_right(self._starts, address) - 1
        # Descriptions do not overlap, but those of dropped functions may lie in front.
        if number < 0 or address >= self._found[number][1]:
            return None
        _, _, cie, start, end = self._found[number]
        return self._decode(cie, start, end, address)

    def _decode(self, cie: int, start: int, end: int, address: int) -> Row | None:
        from elftools.dwarf.callframe import FDE, CallFrameInfo
        from elftools.dwarf.structs import DWARFStructs

        section = self._section
        if cie + 4 > len(section):
            return None
        head = section[cie : cie + 4 + _WORD.unpack_from(section, cie)[0]]
        body = bytearray(section[start:end])
        _WORD.pack_into(body, 4, 0)  # its CIE stands at the start of what pyelftools sees
        both = head + bytes(body)
        structs = DWARFStructs(little_endian=True, dwarf_format=32, address_size=4)
        try:
            entries = CallFrameInfo(io.BytesIO(both), len(both), 0, structs).get_entries()
            entry = next(e for e in entries if isinstance(e, FDE))
            table = entry.get_decoded().table
            returns = int(entry.cie["return_address_register"]) if entry.cie is not None else LR
        except damage():
            return None
        rows = [line for line in table if line["pc"] <= address]
        return _row(rows[-1], returns) if rows else None


def _row(line: Mapping[Any, Any], returns: int) -> Row | None:
    cfa = line.get("cfa")
    if cfa is None:
        return None
    rules = {number: _rule(rule) for number, rule in line.items() if isinstance(number, int)}
    if cfa.expr is not None or cfa.reg is None:
        return Row(-1, 0, rules, returns)
    return Row(int(cfa.reg), int(cfa.offset), rules, returns)


def _rule(rule: Any) -> Rule:
    kind = _KINDS.get(rule.type, "unknown")
    return Rule(kind, int(rule.arg) if kind in ("offset", "value", "register") else 0)


def damage() -> tuple[type[Exception], ...]:
    """What pyelftools raises for bytes that do not make sense: its own errors, and what its parser stumbles over."""
    from elftools.common.exceptions import DWARFError, ELFError

    return (
        ELFError, DWARFError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError,
        RecursionError, StopIteration, OverflowError,
    )  # fmt: skip
