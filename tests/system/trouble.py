"""The application of ``park_app/`` and what its numbers mean."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Any

from hotflash.wire.messages import HelloFlag

from .observe import rises, until

APP = Path(__file__).parent / "park_app"


class Trouble(IntEnum):
    """``enum trouble`` of trouble.h."""

    UNDEFINED = 1
    DIVIDE = 2
    UNALIGNED = 3
    BUS = 4
    FETCH = 5
    HARD = 6
    SPIN = 7
    OVERFLOW = 8
    MASKED = 9
    DEEP = 10
    CHECK = 11
    WORDS = 12
    SPEAK = 13


class Place(IntEnum):
    """Where it happens."""

    THREAD = 0
    HANDLER = 1
    NESTED = 2


SYSTICK, OUTER, INNER = 15, 16 + 20, 16 + 21
"""Exception numbers: the timer's, which preempts all, and those of the handlers that call each other."""


def cause(dut: Any, trouble: Trouble, place: Place = Place.THREAD) -> None:
    """Has the application get into trouble at its next turn."""
    dut.write("place", int(place))
    dut.write("trouble", int(trouble))


def flags(dut: Any) -> HelloFlag:
    return HelloFlag(dut.session.device.refresh().flags)


def wait_parked(dut: Any) -> None:
    until(lambda: flags(dut), lambda now: bool(now & HelloFlag.PARKED), "parking")


def goes_on(dut: Any, turns: int = 3) -> None:
    """The application's loop turns."""
    rises(lambda: dut.read("turns"), turns, "turns of the loop")


def park_in(dut: Any, function: str, exception: int | None = None) -> Any:
    """Parks until that is in the function, and in the exception's handler; it gets there within a turn."""
    places = []
    for _ in range(30):
        report = dut.session.park()
        if function in report.report.place and exception in (None, dut.session.device.record().exception):
            return report
        places.append(report.report.place)
        dut.session.resume()
    raise AssertionError(f"never in {function}: {places}")
