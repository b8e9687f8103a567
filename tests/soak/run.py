"""Thousands of pushes into an application that does all it can to be in the way: ``make soak PUSHES=100000 SEED=1``,
``make soak-mutants``.

What may go wrong shows at once: freed slots hold traps, results are checked by the application, and slots are
accounted for here. The pushes follow from the seed; when they arrive does not, so a failure need not come again at
the same push.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hotflash.errors import FramesError, HotflashError
from hotflash.session import Session, faults
from hotflash.settings import load
from hotflash.sim import Sim
from hotflash.store import Store
from hotflash.wire import events
from hotflash.wire.messages import Slot, SlotFlag, SlotKind
from tests.soak import accounts
from tests.soak.firmware import LOCK, MUTANTS, RAM, UNITS, VERSIONS, Firmware, Mutant, build, build_mutant
from tests.system.observe import until

CHECK = 250
"""Pushes between two checks of the accounts."""
COUNTED = 0.15
"""Part of the pushes after which the slots are counted."""
PLATEAU = 48
"""K: slots of old versions at most, besides those that are bound and those of the undo record. Five threads of control
(main, three tasks, the coroutine) stand in several functions each, in a recursion in two versions of one, and a task's
bottom function for as long as it lives."""
UNLOCKED = 0xFFFFFFFF
"""As in app/lock.c."""
CHANCE = 8
"""Slots that one stretch of pushes may peak above another: five threads stand where they happen to."""
PATIENCE = 0.02
"""Seconds that a safe commit is tried."""


class CaughtError(AssertionError):
    """The application faulted, or the accounts are wrong."""


@dataclass
class Figures:
    """What a run did."""

    pushes: int = 0
    refused: int = 0
    """Safe commits that found frames."""
    rollbacks: int = 0
    collections: int = 0
    most: int = 0
    """Slots of old versions, at most."""
    peaks: list[int] = field(default_factory=list)
    """The same, for each stretch between two checks."""
    seconds: float = 0.0
    ran: list[int] = field(default_factory=list)
    aged: list[int] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)


class Soak:
    """A board with the application, and a host that pushes to it."""

    def __init__(self, firmware: Firmware, session: Session, seed: int, *, told: bool) -> None:
        self.firmware = firmware
        self.session = session
        self.rng = random.Random(seed)
        self.figures = Figures()
        self._live: dict[str, int] = {}
        self._undoable = False
        self._fault: events.Fault | None = None
        self._lock = 0
        self._stop = session.subscribe(self._listen)
        session.write("told_wanted", str(int(told)))
        session.write("seed", str(seed & 0xFFFFFF | 1))

    def _listen(self, event: events.Event) -> None:
        if isinstance(event, events.Fault):
            self._fault = event

    def alive(self) -> None:
        """Raises :class:`CaughtError` with the report when the application has faulted."""
        fault = self._fault
        if fault is not None:
            report = faults.decode(fault, self.session.explain).text
            failed = self.session.read("failed").value
            raise CaughtError(f"after {self.figures.pushes} pushes (failed {failed:#x}):\n{report}")

    def step(self) -> None:
        """One push, and now and then something else."""
        rng, figures = self.rng, self.figures
        pick = rng.random()
        try:
            if pick < 0.06:
                self._rollback()
            if 0.06 < pick < 0.09:
                self.session.gc()
                figures.collections += 1
            if 0.1 < pick < 0.18:
                self._push([LOCK], "safe")
            else:
                self._push(rng.sample(UNITS, rng.choice((1, 1, 1, 2, 4))), "now")
        except HotflashError as error:
            self.alive()
            raise CaughtError(f"after {figures.pushes} pushes: {error.message}") from error
        self.alive()
        if rng.random() < COUNTED:
            self._count(self.session.device.slots())

    def _push(self, units: list[str], mode: str) -> None:
        objects = []
        for unit in units:
            versions = self.firmware.objects[unit]
            number = self.rng.choice([n for n in range(len(versions)) if n != self._live.get(unit)])
            self._live[unit] = number
            objects.append(versions[number])
        try:
            report = self.session.push(objects, mode=mode, deadline=PATIENCE)
        except FramesError:
            self.figures.refused += 1
            self._live.pop(units[0], None)
            return
        if report.state == "live":
            self.figures.pushes += 1
            self._undoable = units != [LOCK]

    def _rollback(self) -> None:
        """To the generation before, or to the base image; what is live is not known afterwards."""
        base = self.rng.random() < 0.1
        if base:
            self._lock += 1
            self.session.write("lock_epoch", str(UNLOCKED))
        elif not self._undoable:
            return
        self.session.rollback(base=base)
        if base:
            self.session.write("lock_epoch", str(self._lock))
        # A second one would redo, and after a base rollback undo that: of the lock's functions, too.
        self._undoable = False
        self._live.clear()
        self.figures.rollbacks += 1

    def _count(self, slots: tuple[Slot, ...]) -> None:
        old = [slot for slot in slots if not slot.flags & (SlotFlag.BOUND | SlotFlag.UNDO)]
        above = len(old)
        figures = self.figures
        figures.most = max(figures.most, above)
        if not figures.peaks or figures.pushes // CHECK >= len(figures.peaks):
            figures.peaks.append(0)
        figures.peaks[-1] = max(figures.peaks[-1], above)
        if above > PLATEAU:
            raise CaughtError(f"after {figures.pushes} pushes: {above} slots besides what runs and undo: {old}")
        for slot in old:
            if slot.refs == 0 and not slot.flags & SlotFlag.FRAME and slot.kind == SlotKind.CODE:
                raise CaughtError(f"after {figures.pushes} pushes: nothing explains slot {slot}")

    def audit(self) -> None:
        """Everything stands still, and every slot is explained from memory, not from the board's word."""
        device = self.session.device
        try:
            device.park()
            accounts.audit(device, RAM * 1024)
            device.resume()
            ticks = self.session.read("nested[0]").value
            until(lambda: self.session.read("nested[0]").value, lambda now: now != ticks, "the application to go on")
        except AssertionError as error:
            raise CaughtError(f"after {self.figures.pushes} pushes: {error}") from error

    def run(self, pushes: int, seconds: float | None = None) -> Figures:
        """So many pushes, or as many as the time allows."""
        started = time.monotonic()
        audited = 0
        while self.figures.pushes < pushes and (seconds is None or time.monotonic() - started < seconds):
            self.step()
            if self.figures.pushes - audited >= CHECK:
                audited = self.figures.pushes
                self.audit()
        self.figures.seconds = time.monotonic() - started
        self.settle()
        return self.figures

    def settle(self) -> None:
        """All waiting ends; then every kind of scenario must have seen old versions run."""
        self.audit()
        self.session.write("calm", "1")
        rounds = self.session.read("rounds").value
        until(lambda: self.session.read("rounds").value, lambda now: now >= rounds + 2, "all to come to their end")
        self.alive()
        figures = self.figures
        figures.ran = list(self.session.read("ran").value)
        figures.aged = list(self.session.read("aged").value)
        figures.kinds = Counter(SlotKind(slot.kind).name for slot in self.session.device.slots())
        drift = self.session.device.status().drift
        if drift:
            raise CaughtError(f"{drift} reference counts had drifted")
        self._stop()


@contextlib.contextmanager
def soak(firmware: Firmware, folder: Path, seed: int, *, told: bool, bootloader: Path | None = None) -> Iterator[Soak]:
    """A board in QEMU with a warm session."""
    store = Store(folder)
    store.ensure()
    with Sim(firmware.board, bootloader) as sim:
        settings = load({"port": sim.url, "board": str(firmware.board.path)}, project=folder)
        with Session.connect(settings, store) as session:
            session.flash(firmware.elf)
            yield Soak(firmware, session, seed, told=told)


def run(
    firmware: Firmware,
    folder: Path,
    seed: int,
    pushes: int,
    *,
    told: bool,
    bootloader: Path | None = None,
    seconds: float | None = None,
) -> Figures:
    """One run; :class:`CaughtError` when something is wrong."""
    folder.mkdir(parents=True)
    with soak(firmware, folder, seed, told=told, bootloader=bootloader) as board:
        return board.run(pushes, seconds)


def catch(firmware: Firmware, folder: Path, seed: int, mutant: Mutant) -> str:
    """Runs the mutant until it is caught; returns how.

    :raises AssertionError: it was not
    """
    bootloader = build_mutant(mutant, firmware.board, folder / "source")
    try:
        run(firmware, folder / "project", seed, mutant.pushes, told=mutant.told, bootloader=bootloader)
    except CaughtError as caught:
        return str(caught)
    raise AssertionError(f"mutant {mutant.name} was not caught in {mutant.pushes} pushes, seed {seed}")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="push for a long time into an application that is in the way")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 24))
    parser.add_argument("--seeds", type=int, default=4, help="runs, each with the next seed; every second one tells")
    parser.add_argument("--pushes", type=int, default=100_000, help="in all")
    parser.add_argument("--seconds", type=float, help="for each seed, at most")
    parser.add_argument("--versions", type=int, default=VERSIONS)
    parser.add_argument("--mutants", action="store_true", help="see the checks' absence caught, for each seed")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="soak-"))
    firmware = build(work / "firmware", options.versions)
    for number in range(options.seeds):
        seed = options.seed + number
        if options.mutants:
            for mutant in MUTANTS:
                print(f"seed {seed}, mutant {mutant.name}: ", end="", flush=True)
                print(catch(firmware, work / f"{seed}-{mutant.name}", seed, mutant), flush=True)
            continue
        told = number % 2 == 1
        print(f"seed {seed}, stacks {'told' if told else 'not told'}", flush=True)
        pushes = options.pushes // options.seeds
        figures = run(firmware, work / str(seed), seed, pushes, told=told, seconds=options.seconds)
        print(figures, flush=True)
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"processor time: {sum(u.ru_utime + u.ru_stime for u in usage):.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
