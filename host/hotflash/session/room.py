"""Making room for a push that does not fit, as far as it is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotflash.errors import FitError
from hotflash.wire.messages import HelloFlag

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotflash.device import PushResult
    from hotflash.session.core import Session
    from hotflash.wire.messages import HelloReply

# Begin's flags (docs/SPEC.md): what the device may do when memory is short.
GIVE_UP_UNDO = 1
COLLECT = 2


def make_room(
    session: Session, send: Callable[[int], PushResult], *, no_undo: bool
) -> tuple[PushResult, tuple[str, ...]]:
    """Calls ``send`` with Begin's flags, allowing more with each attempt that does not fit.

    First nothing, then the collection, then giving up the undo record as well. Returns the result of ``send`` and what
    had to go, in words. Raises :class:`FitError` when all that is allowed does not help.
    """
    collect = COLLECT if _may_collect(session) else 0
    steps = [0, *([collect] if collect else []), *([GIVE_UP_UNDO | collect] if no_undo else [])]
    for flags in steps[:-1]:
        try:
            return send(flags), _told(session, flags)
        except FitError:
            continue
    return send(steps[-1]), _told(session, steps[-1])


def _may_collect(session: Session) -> bool:
    """By the setting; while the application is parked nobody is held up by masked interrupts."""
    return session.settings.collect == "pressure" or bool(session.hello.flags & HelloFlag.PARKED)


def _told(session: Session, flags: int) -> tuple[str, ...]:
    """What an attempt with these flags did to make room."""
    told = []
    if flags & GIVE_UP_UNDO:
        told.append("the generation before the last was given up to make room")
    if flags & COLLECT:
        stall = session.device.status().stall_us
        told.append(f"what nothing used was collected to make room, interrupts masked for {stall:,} us at most so far")
    return tuple(told)


def given_up(session: Session, before: HelloReply) -> str:
    """For the refusal of a push: whether the undo record went without helping."""
    gone = before.flags & HelloFlag.UNDO and not session.device.refresh().flags & HelloFlag.UNDO
    return "; the generation before was given up, and that was not enough" if gone else ""


def what_helps(session: Session, *, no_undo: bool) -> str:
    """What else could make room, for the hint of a refusal."""
    ways = []
    if not _may_collect(session):
        ways.append("`hotflash gc`, or --collect, frees what nothing uses any more, with interrupts masked")
    if not no_undo and session.hello.flags & HelloFlag.UNDO:
        ways.append("--no-undo gives up what `hotflash rollback` would go back to")
    ways.append("`hotflash rollback --base` takes all edits back, the next push --no-undo frees them")
    return "; ".join(ways)
