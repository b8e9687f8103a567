"""Parking, continuing, restarting, and initialising variables again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hotflash.errors import HotflashError, RefusedError, TargetFault, UsageError
from hotflash.session import faults
from hotflash.session.results import ConfirmReport, ParkReport, ReinitReport, RestartReport
from hotflash.wire.messages import HelloFlag, ParkReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.session.core import Session
    from hotflash.wire.record import Registers

_AGAIN = "`hotflash restart` calls main anew, `hotflash reset` starts the board anew; `hotflash read` still works"


def parked(session: Session) -> bool:
    """Whether the application stands still, as the last Hello says."""
    return bool(session.hello.flags & HelloFlag.PARKED)


def park(session: Session) -> ParkReport:
    """See :meth:`Session.park`."""
    session.require_application()
    session.device.park()
    report = record(session)
    if report is None:
        raise HotflashError("the board is parked but does not say where", hint="`hotflash reset`")
    return report


def record(session: Session) -> ParkReport | None:
    """See :meth:`Session.record`."""
    registers = session.device.record()
    if registers is None:
        return None
    return _report(session, registers)


def _report(session: Session, registers: Registers) -> ParkReport:
    hello = session.device.refresh()
    now = bool(hello.flags & HelloFlag.PARKED) and registers.boot == hello.boot_count
    # What an earlier boot ran cannot be named by the slots of this one.
    slots = session.device.slots() if session.runs and registers.boot == hello.boot_count else ()
    names = session.names() if any(hello.build_id) else None
    fault = faults.describe(registers, names, slots, hello)
    return ParkReport(
        parked=now,
        reason=ParkReason(registers.reason).name.lower(),
        final=registers.final,
        generation=registers.generation,
        boot=registers.boot,
        text=faults.parked_text(registers) if registers.reason != ParkReason.FAULT else fault.headline,
        report=fault,
    )


def resume(session: Session) -> ParkReport | None:
    """See :meth:`Session.resume`."""
    session.require_application()
    if session.hello.flags & HelloFlag.FINAL:
        raise RefusedError("where the application was is lost, so it cannot go on", hint=_AGAIN)
    session.device.resume()
    if parked(session):
        _again(session)
    return None


def restart(session: Session) -> RestartReport:
    """See :meth:`Session.restart`."""
    session.require_application()
    main = session.firmware.symbol("main")
    if main is None or main.kind != "function":
        raise RefusedError("the firmware has no function `main` to restart", hint="`hotflash reset` starts the board")
    session.device.restart(main.value)
    if parked(session):
        _again(session)
    return RestartReport(generation=session.hello.generation, main=main.address)


def _again(session: Session) -> None:
    report = record(session)
    if report is not None and report.reason == "fault":
        raise TargetFault(f"the application faulted again\n{report.report.text}", hint=_AGAIN)


def confirm(session: Session) -> ConfirmReport:
    """See :meth:`Session.confirm`."""
    session.require_application()
    hello = session.device.refresh()
    trial = bool(hello.flags & HelloFlag.TRIAL)
    session.device.confirm()
    return ConfirmReport(generation=session.hello.generation, trial=trial)


def reinit(session: Session, names: Sequence[str], *, everything: bool, and_restart: bool) -> ReinitReport:
    """See :meth:`Session.reinit`."""
    from hotflash.session import initial

    if bool(names) == everything:
        raise UsageError("name the variables to initialise, or say --all for every one; not both, not neither")
    session.require_application()
    values = initial.everything(session) if everything else [initial.value(session, name) for name in names]
    before = parked(session)
    if not before:
        # The application must not see half of it, and nothing but its standing still is safe for any size.
        session.device.park()
    try:
        for item in values:
            session.device.write(item.address, item.data)
    finally:
        if not before and not and_restart:
            with contextlib.suppress(HotflashError):
                session.device.resume()
    if and_restart:
        restart(session)
    return ReinitReport(
        variables=tuple(item.name for item in values),
        bytes=sum(len(item.data) for item in values),
        parked=parked(session),
        restarted=and_restart,
    )
