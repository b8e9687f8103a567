"""Pushing, sending again, and rolling back."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hotflash.elf import format as elf
from hotflash.elf.object import ObjectFile
from hotflash.errors import FitError, FramesError, HotflashError, StaleError, TypesError, UsageError
from hotflash.journal import Edit, Journal, Pushed, UnitEdits
from hotflash.live import slot_key
from hotflash.session import room
from hotflash.session.calls import in_the_way, old_calls
from hotflash.session.core import edits_of, heap_listing
from hotflash.session.names import defined_functions, global_ident, local_ident
from hotflash.session.offline import stored_objects
from hotflash.session.results import FunctionChange, PushReport, RollbackReport, Stages
from hotflash.settings import MODES
from hotflash.wire.messages import BeginRequest, CommitMode, SlotFlag, SlotKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hotflash.device import PushResult
    from hotflash.link import Change, Linked, Plan
    from hotflash.live import LiveState
    from hotflash.session.core import Session
    from hotflash.types.verdict import Verdict
    from hotflash.wire.messages import Grant

MAX_TRIAL = 1800
"""Seconds: the device counts them with half the range of a 32-bit clock of microseconds."""
_KIND = 0x7F
"""Bits of a request's kind that are the kind (docs/SPEC.md, SlotRequest)."""

_ATTEMPTS = 3


class _How(NamedTuple):
    """How a transaction is made; see :meth:`Session.push`."""

    mode: str | None
    deadline: float | None
    type_check: bool | None
    progress: Callable[[int, int], None] | None
    trial: int = 0
    no_undo: bool = False


def push(
    session: Session,
    objects: Sequence[str | Path],
    *,
    mode: str | None,
    deadline: float | None,
    trial: int,
    type_check: bool | None,
    no_undo: bool,
    progress: Callable[[int, int], None] | None,
) -> PushReport:
    """See :meth:`Session.push`."""
    if not objects:
        raise UsageError("no object files to push")
    session.require_application()
    if not 0 <= trial <= MAX_TRIAL:
        raise UsageError(f"a trial of {trial} seconds: 1 to {MAX_TRIAL} are possible")
    contents = {path: elf.read_file(path) for path in dict.fromkeys(Path(entry) for entry in objects)}
    loaded = [(ObjectFile.parse(data, str(path)), data) for path, data in contents.items()]
    return _transact(session, loaded, _How(mode, deadline, type_check, progress, trial, no_undo))


def resync(
    session: Session,
    *,
    mode: str | None,
    deadline: float | None,
    type_check: bool | None,
    no_undo: bool,
    progress: Callable[[int, int], None] | None,
) -> PushReport:
    """See :meth:`Session.resync`."""
    session.require_application()
    slots = session.device.slots()
    journal = session.observe(slots)
    entries = {entry.object: entry for entry in (*journal.live, *journal.lost)}
    loaded = []
    for name, entry in entries.items():
        path = session.store.object_path(session.hello.build_id, name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise HotflashError(
                f"{path}: the stored copy of {entry.source} cannot be read: {error.strerror or error}",
                hint=f"push it again: `hotflash push {entry.source}`",
            ) from None
        loaded.append((ObjectFile.parse(data, entry.source), data))
    if not loaded:
        hello = session.hello
        return PushReport(
            state="unchanged",
            objects=(),
            changes=(),
            unchanged=0,
            size=0,
            generation=hello.generation,
            mode=_mode(session, mode, 0),
            masked=0,
            wire_tx=0,
            wire_rx=0,
            milliseconds=Stages(),
            notes=("no edits are known for this build",),
            lost=(),
        )
    return _transact(session, loaded, _How(mode, deadline, type_check, progress, no_undo=no_undo))


def _mode(session: Session, mode: str | None, replaced: int) -> str:
    mode = mode or session.settings.mode
    if mode not in MODES:
        raise UsageError(f"commit mode '{mode}' is none of {', '.join(MODES)}")
    if mode == "auto":
        return "safe" if replaced > 1 else "now"
    return mode


def _transact(session: Session, loaded: Sequence[tuple[ObjectFile, bytes]], how: _How) -> PushReport:
    """Links and commits; anew when the board's code changed in between, by another host's push for example."""
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(StaleError):
            return _attempt(session, loaded, how)
    return _attempt(session, loaded, how)


def _attempt(session: Session, loaded: Sequence[tuple[ObjectFile, bytes]], how: _How) -> PushReport:
    objects = [obj for obj, _ in loaded]
    started = time.perf_counter()
    live = session.device.live()
    session.firmware  # noqa: B018 - read now: it counts as reading
    read_ms = (time.perf_counter() - started) * 1e3

    started = time.perf_counter()
    check = session.settings.type_check if how.type_check is None else how.type_check
    plan, verdict = _plan(session, objects, live) if check else (_unchecked(session, objects, live), None)
    link_ms = (time.perf_counter() - started) * 1e3
    changes = tuple(_change(change) for change in plan.changes)
    replaced = sum(change.action != "new" for change in changes)
    chosen = _mode(session, how.mode, replaced)
    notes = list(plan.notes)
    if verdict is None:
        from hotflash.types.verdict import UNCHECKED

        notes.append(UNCHECKED)
    elif verdict.safe:
        if (how.mode or session.settings.mode) == "now":
            raise TypesError(
                f"{verdict.summary}: old and new code must not run side by side, which --mode now allows",
                hint="leave the mode out, or choose --mode safe",
            )
        chosen = "safe"
        notes.append(f"{verdict.summary}: all that use it come along, committed when none of it runs")
    store, build_id = session.store, live.hello.build_id
    report = PushReport(
        state="unchanged",
        objects=tuple(obj.name for obj in objects),
        changes=changes,
        unchanged=plan.unchanged,
        size=0,
        generation=live.hello.generation,
        mode=chosen,
        masked=0,
        wire_tx=0,
        wire_rx=0,
        milliseconds=Stages(read=read_ms, link=link_ms),
        notes=tuple(notes),
        helpers=plan.helpers,
        lost=(),
    )
    with store.locked():
        journal, _ = session.observed(live.slots)
        pushed = [_pushed(obj, store.add_object(build_id, data), plan) for obj, data in loaded]
        if plan.empty:
            # That an object is what runs is an answer, too: it settles edits that a reset took.
            journal.settle(pushed)
        else:
            journal.prepare(pushed)
            journal.label(plan.labels, {slot_key(slot.ident, slot.hash) for slot in live.slots})
        store.save_journal(build_id, journal)
    if plan.empty:
        return replace(report, lost=edits_of(journal.lost))

    linked: list[Linked] = []
    spent = 0.0

    def link(grants: Sequence[Grant]) -> Linked:
        nonlocal spent
        begin = time.perf_counter()
        linked[:] = [plan.link(grants)]
        spent += (time.perf_counter() - begin) * 1e3
        return linked[0]

    begin = BeginRequest(
        generation=live.hello.generation,
        build_tag=int.from_bytes(build_id[:4], "little"),
        flags=0,
        pairs=plan.pair_count,
        slots=tuple(plan.requests),
    )
    limit = session.settings.deadline if how.deadline is None else how.deadline

    def send(flags: int) -> PushResult:
        return session.device.push(
            replace(begin, flags=flags),
            link,
            mode=CommitMode.SAFE if chosen == "safe" else CommitMode.NOW,
            deadline=limit,
            trial=how.trial,
            progress=how.progress,
        )

    try:
        result, made_room = room.make_room(session, send, no_undo=how.no_undo)
    except FramesError as error:
        raise in_the_way(session, error, objects, limit) from error
    except FitError as error:
        brought = sum(helper.size for helper in plan.helpers if helper.state == "sent")
        share = f", {brought:,} bytes of it helpers from archives" if brought else ""
        share += room.given_up(session, live.hello)
        listing = heap_listing(session)
        raise FitError(
            f"{error.message}{share}; {listing}" if listing else f"{error.message}{share}",
            hint=error.hint or room.what_helps(session, no_undo=how.no_undo),
        ) from error
    with store.locked():
        journal = session.load_journal()
        for _, data in loaded:  # another host's push may have dropped it as nobody's meanwhile
            store.add_object(build_id, data)
        journal.commit(pushed, result.generation)
        store.save_journal(build_id, journal)
    stages = result.milliseconds
    calls = old_calls(session, [(frame.address, frame.where) for frame in result.frames], objects)
    endless = tuple(call.function for call in calls if call.endless)
    finishing = tuple(
        f"{call.count} old {'call' if call.count == 1 else 'calls'} of {call.function} "
        f"{'finishes' if call.count == 1 else 'finish'} in the old code"
        for call in calls
        if not call.endless
    )
    return replace(
        report,
        state="waiting" if endless else "live",
        waiting=endless,
        trial=how.trial,
        notes=report.notes + made_room + finishing,
        size=len(linked[0].image),
        generation=result.generation,
        masked=result.masked,
        wire_tx=result.wire_tx,
        wire_rx=result.wire_rx,
        milliseconds=Stages(
            read=read_ms,
            link=link_ms + spent,
            wire=stages.get("begin", 0.0) + stages.get("wire", 0.0),
            commit=stages.get("commit", 0.0),
        ),
        lost=edits_of(journal.lost),
    )


def _unchecked(session: Session, objects: Sequence[ObjectFile], live: LiveState) -> Plan:
    from hotflash.link import plan as make_plan

    return make_plan(objects, session.firmware, live, session.archives)


def _plan(session: Session, objects: Sequence[ObjectFile], live: LiveState) -> tuple[Plan, Verdict]:
    """A plan whose types fit; raises TypesError when they do not."""
    from hotflash.session.checked import checked_plan

    def edits() -> list[ObjectFile]:
        with session.store.locked():
            journal, _ = session.observed(live.slots)
            # Under the lock: another host's push drops what the journal does not name any more.
            return stored_objects(session.store, live.hello.build_id, journal.live)

    plan, verdict = checked_plan(objects, session.firmware, live, session.archives, edits)
    if verdict.refusal is not None:
        raise verdict.refusal
    assert plan is not None  # noqa: S101 - without one there is a refusal
    return plan, verdict


def _change(change: Change) -> FunctionChange:
    return FunctionChange(change.function, change.unit, change.action, change.size, change.reason)


def _idents(function: str, unit: str) -> tuple[int, int]:
    return local_ident(unit, function), global_ident(function)


def _pushed(obj: ObjectFile, name: str, plan: Plan) -> Pushed:
    """What the plan does with one object's unit, for the journal."""
    defined = defined_functions(obj)
    by_ident = {request.ident: request for request in plan.requests if request.kind & _KIND == SlotKind.CODE}
    edits, reverted = [], set()
    for change in plan.changes:
        for ident in _idents(change.function, change.unit or obj.unit):
            if ident not in defined:
                continue
            if change.action == "revert":
                reverted.add(ident)
            elif ident in by_ident:
                edits.append(Edit(change.function, ident, by_ident[ident].hash))
            break
    return Pushed(obj.unit, name, obj.name, frozenset(defined), tuple(edits), frozenset(reverted))


def rollback(session: Session, *, base: bool) -> RollbackReport:
    """See :meth:`Session.rollback`."""
    session.require_application()
    slots = session.device.slots()
    session.observe(slots)
    if base and not any(slot.flags & SlotFlag.BOUND for slot in slots):
        session.forget_lost()
        return RollbackReport(generation=session.hello.generation, masked=0, edits=())
    result = session.device.rollback(base=base)
    session.device.refresh()
    journal = session.observe(session.device.slots())
    if base:
        # The base image was asked for: what a reset took earlier is not missed any more.
        session.forget_lost()
    return RollbackReport(generation=result.generation, masked=result.masked, edits=edits_of(journal.live))


def rebuild_journal(session: Session) -> tuple[Journal, int]:
    """Finds the edits of a damaged journal again by planning the stored objects against the base image.

    Returns the journal, everything in it still to be observed, and the number of edits.
    """
    from hotflash.link import plan as make_plan
    from hotflash.live import LiveState

    journal = Journal()
    hello = session.hello
    firmware = session.firmware_or_none
    if firmware is None:
        return journal, 0
    for path in session.store.objects(hello.build_id):
        try:
            obj = ObjectFile.parse(path.read_bytes(), path.name)
            plan = make_plan([obj], firmware, LiveState(hello), session.archives)
        except (HotflashError, OSError):
            continue
        entry = _pushed(obj, path.stem, plan)
        if entry.edits:
            journal.pending.append(UnitEdits(obj.unit, path.stem, obj.name, 0, entry.edits))
    return journal, sum(len(entry.edits) for entry in journal.pending)
