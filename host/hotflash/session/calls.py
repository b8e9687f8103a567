"""Calls of replaced functions that are under way at a commit: who they are, and whether they ever end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotflash.errors import FramesError, HotflashError
from hotflash.link.returns import never_returns
from hotflash.session.names import Names
from hotflash.wire.messages import SlotKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.elf.object import ObjectFile
    from hotflash.session.core import Session
    from hotflash.wire.messages import Slot

_PC = 15
"""Register number of the program counter in a frame's ``where``."""


@dataclass(frozen=True)
class OldCall:
    """A function with frames in a version that a commit has replaced."""

    function: str
    count: int
    endless: bool
    """Its code has no way out: the new version takes effect with a restart alone."""


def old_calls(
    session: Session, frames: Sequence[tuple[int, int]], objects: Sequence[ObjectFile]
) -> tuple[OldCall, ...]:
    """Who the frames of a commit's answer belong to, by the code that they are in."""
    if not frames:
        return ()
    slots = session.device.slots()
    names = Names(session.firmware, session.load_journal(), objects)
    counts: dict[str, int] = {}
    endless: dict[str, bool] = {}
    for address, where in frames:
        # A return address is attributed by the call before it (docs/DESIGN.md); 3: with the Thumb bit.
        code = address & ~1 if where == _PC else address - 3
        function = names.function_at(code, slots) or f"{code:#010x}"
        counts[function] = counts.get(function, 0) + 1
        body = _body(session, code, slots)
        endless[function] = endless.get(function, False) or (body is not None and never_returns(body))
    return tuple(OldCall(function, count, endless[function]) for function, count in counts.items())


def _body(session: Session, address: int, slots: Sequence[Slot]) -> bytes | None:
    """The code of the version that an address lies in."""
    for slot in slots:
        if slot.kind == SlotKind.CODE and slot.address <= address < slot.address + slot.length:
            return session.device.read(slot.address, slot.length)
    near = session.firmware.symbols_near(address)
    if near is None or near[0].kind != "function" or not near[0].size:
        return None
    return session.firmware.read(near[0].address, near[0].size)


def in_the_way(session: Session, error: FramesError, objects: Sequence[ObjectFile], deadline: float) -> FramesError:
    """The error of a safe commit, with names."""
    frames = error.frames
    if not frames:
        return error
    slots = session.device.slots()
    names = Names(session.firmware, session.load_journal(), objects)
    found: dict[str, list[str]] = {}
    for address, stack in frames:
        place = names.address(address, slots) or f"{address:#010x}"
        function = names.function_at(address, slots) or place
        where = _register(stack) if stack <= 16 else f"return address on the stack at {stack:#010x}"
        found.setdefault(function, []).append(f"{place}, {where}")
    who = "; ".join(f"{function} ({' and '.join(places)})" for function, places in found.items())
    many = len(found) > 1
    calls = ""
    with contextlib.suppress(HotflashError):
        trace = session.backtrace()
        if any(call.function in found for call in trace.calls):
            calls = "".join(f"\n  {line}" for line in trace.lines)
    hint = "wait longer with --deadline, or let old calls finish in the old code with --mode now"
    try:
        endless = [call.function for call in old_calls(session, frames, objects) if call.endless]
    except HotflashError:
        endless = []
    if endless:
        never = f"{', '.join(endless)} never {'returns' if len(endless) == 1 else 'return'}"
        hint = f"{never}, so no deadline helps: push with --mode now, then `hotflash restart`"
    return FramesError(
        f"not safe within {deadline:g} s: {who} {'are' if many else 'is'} running and would be replaced; "
        f"nothing was changed{calls}",
        hint=hint,
        frames=frames,
    )


def _register(number: int) -> str:
    return {13: "in sp", 14: "in lr", 15: "now"}.get(number, f"in r{number}")
