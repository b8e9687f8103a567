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

    from hotflash.live import LiveState
    from hotflash.session.core import Session
    from hotflash.session.faults import FaultReport
    from hotflash.session.names import Names
    from hotflash.session.results import Backtrace
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


def explain(session: Session, registers: Registers) -> FaultReport:
    """A record of a parking with all that can be found out about it: names, and the calls if it still stands there."""
    hello = session.hello
    live: LiveState | None = None
    names: Names | None = None
    trace: Backtrace | None = None
    with contextlib.suppress(HotflashError):
        hello = session.device.refresh()
        # What an earlier boot ran cannot be named by the slots of this one.
        if session.runs and registers.boot == hello.boot_count:
            live = session.device.live()
    with contextlib.suppress(HotflashError):
        names = session.names() if any(hello.build_id) else None
    if live is not None and live.hello.flags & HelloFlag.PARKED:
        with contextlib.suppress(HotflashError):
            trace = session.backtrace(live)
    return faults.describe(registers, names, live.slots if live is not None else (), hello, trace)


def _report(session: Session, registers: Registers) -> ParkReport:
    fault = explain(session, registers)
    hello = session.hello
    return ParkReport(
        parked=bool(hello.flags & HelloFlag.PARKED) and registers.boot == hello.boot_count,
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
