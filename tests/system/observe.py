"""Waiting for what the board does, never for time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hotflash.wire.messages import SlotFlag

PATIENCE = 30.0
"""Seconds after which something that should happen counts as not happening."""


def until(read: Callable[[], Any], accept: Callable[[Any], bool], what: str) -> Any:
    """Reads again and again until ``accept`` is content; returns what was read."""
    end = time.monotonic() + PATIENCE
    while True:
        value = read()
        if accept(value):
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: still {value!r} after {PATIENCE:.0f} s")


def rises(read: Callable[[], int], by: int, what: str) -> None:
    """Waits until a count is ``by`` above its lowest: right after a reset it may be that of before for a moment."""
    lowest = read()

    def accept(now: int) -> bool:
        nonlocal lowest
        lowest = min(lowest, now)
        return now >= lowest + by

    until(read, accept, what)


def turns(dut: Any, more: int = 2) -> dict[str, Any]:
    """The application's notes after ``more`` whole turns of its loop from now."""
    rises(lambda: dut.read("seen.turns"), more, "turns of the loop")
    return dict(dut.read("seen"))


def code_of(dut: Any) -> tuple[Any, ...]:
    """What runs: slots, hooks, and the Hello; whether a slot has a frame is of the moment."""
    state = dut.session.device.live()
    return [replace(slot, flags=slot.flags & ~SlotFlag.FRAME) for slot in state.slots], state.hooks, state.hello
