"""Parking, faults and restarts on the real core: every way into the monitor, and every way back."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hotflash.board import Board
from hotflash.errors import RefusedError, TargetFault
from hotflash.wire import messages as m
from hotflash.wire.messages import HelloFlag, ParkReason

from .observe import until
from .project import Project
from .trouble import APP, INNER, OUTER, SYSTICK, Place, Trouble, cause, flags, goes_on, park_in, wait_parked

ICSR = 0xE000ED04
"""SCB's Interrupt Control and State Register (ARMv7-M ARM B3.2.4): bit 31 pends the NMI."""
TICK_US = 250_000
"""HF_TICK_US."""

pytestmark = pytest.mark.every_board


@pytest.fixture(scope="module")
def park_project(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("park"), board, APP)
    project.link()
    return project


@pytest.fixture(scope="module")
def board_dut(park_project: Project, dut_factory: Any) -> Iterator[Any]:
    project = park_project
    with dut_factory(board=project.board, elf=project.folder / "build" / "app.elf", folder=project.folder) as dut:
        yield dut


@pytest.fixture
def dut(board_dut: Any) -> Any:
    """The board freshly started, its loop running."""
    board_dut.reset()
    goes_on(board_dut)
    return board_dut


def intact(dut: Any) -> None:
    """No register, flag or floating-point register was ever found changed, and they were looked at."""
    assert dut.read("checks") > 0
    assert dut.read("broken") == 0
    assert dut.read("fp_broken") == 0


FAULTS = [
    (Trouble.UNDEFINED, 1 << 16, "undefined instruction", "undefined"),
    (Trouble.DIVIDE, 1 << 25, "division by zero", "divide"),
    (Trouble.UNALIGNED, 1 << 24, "unaligned access", "unaligned"),
    (Trouble.BUS, 1 << 9, "data access to memory that is not there; address 0x70000000", "bus"),
    (Trouble.FETCH, 1, "not executable", "0x40000000"),
    (Trouble.HARD, 1 << 9, "data access", "bus"),
]
HANDLERS = {Place.THREAD: [], Place.HANDLER: ["interrupt 20"], Place.NESTED: ["interrupt 21", "interrupt 20"]}
ACTIVE = {Place.THREAD: set(), Place.HANDLER: {OUTER}, Place.NESTED: {OUTER, INNER}}


@pytest.mark.parametrize("place", list(Place), ids=lambda place: place.name.lower())
@pytest.mark.parametrize(("trouble", "bits", "words", "where"), FAULTS, ids=[row[0].name.lower() for row in FAULTS])
def test_fault(dut: Any, trouble: Trouble, bits: int, words: str, where: str, place: Place) -> None:
    dut.write("kept_value", 77)
    cause(dut, trouble, place)
    wait_parked(dut)

    registers = dut.session.device.record()
    assert registers.reason == ParkReason.FAULT
    assert registers.cfsr & bits
    assert set(registers.active) - {3, 4, 5, 6} == ACTIVE[place]
    assert registers.exception == {Place.THREAD: 0, Place.HANDLER: OUTER, Place.NESTED: INNER}[place]
    assert bool(registers.hfsr & 1 << 30) == (trouble == Trouble.HARD)
    report = dut.session.record()
    assert words in report.text
    assert where in report.report.place
    calls = report.report.backtrace.calls
    assert [call.function for call in calls[-2:]] == ["main", "Reset_Handler"]
    assert calls[0].function == ("" if trouble == Trouble.FETCH else where)
    assert [call.exception for call in calls if call.exception] == HANDLERS[place]
    assert Path(calls[-2].file).name == "main.c"
    assert report.report.backtrace.end == ""
    assert (dut.read("parks"), dut.read("last_why"), dut.read("park_ipsr")) == (1, ParkReason.FAULT, 0)
    assert dut.read("turns") == dut.read("turns"), "it does not stand still"
    # Masked where it was masked, and below handlers of its own priority: kept interrupts are let in everywhere else.
    assert dut.read("kept") == (trouble != Trouble.HARD)

    dut.write("trouble", 0)
    dut.session.restart()
    started(dut, 2)
    goes_on(dut)
    assert dut.read("kept_value") == 77
    assert dut.read("cleaned") == 1
    ticks = dut.read("ticks")
    until(lambda: dut.read("ticks"), lambda now: now > ticks, "interrupts after the restart")
    intact(dut)


def test_continue_repeats_the_faulting_instruction(dut: Any) -> None:
    cause(dut, Trouble.DIVIDE)
    wait_parked(dut)
    with pytest.raises(TargetFault, match="division by zero"):
        dut.session.resume()
    assert dut.read("parks") == 2
    # A cause that is repaired: division by zero does not trap any more.
    ccr = dut.session.device.read(0xE000ED14, 4, peripheral=True)
    assert dut.session.device.record().final is False
    dut.session.device.write(0xE000ED14, (int.from_bytes(ccr, "little") & ~0x10).to_bytes(4, "little"), peripheral=True)
    dut.write("trouble", 0)
    dut.session.resume()
    goes_on(dut)
    assert dut.read("starts") == 1


def started(dut: Any, count: int) -> None:
    """Main has been called that many times."""
    until(lambda: dut.read("starts"), lambda now: now == count, "main")


@pytest.mark.parametrize("place", list(Place), ids=lambda place: place.name.lower())
def test_endless_loop(dut: Any, place: Place) -> None:
    """Out of a thread by a plain request, out of handlers by the attention sequence; on, and out for good."""
    cause(dut, Trouble.SPIN, place)
    report = park_in(dut, "spin")
    assert report.reason == ("asked" if place == Place.THREAD else "attention")
    assert dut.read("spinning") == dut.read("spinning"), "it does not stand still"
    dut.write("trouble", 0)
    before = dut.read("continues")
    dut.session.resume()
    goes_on(dut)
    assert dut.read("continues") == before + 1
    assert dut.read("starts") == 1

    cause(dut, Trouble.SPIN, place)
    park_in(dut, "spin")
    dut.write("trouble", 0)
    dut.session.restart()
    started(dut, 2)
    goes_on(dut)
    intact(dut)


def test_restart_runs_the_cleanups_innermost_first(dut: Any) -> None:
    cause(dut, Trouble.DEEP, Place.NESTED)
    park_in(dut, "spin")
    dut.write("trouble", 0)
    dut.session.restart()
    started(dut, 2)
    assert dut.read("cleaned") == 11
    assert dut.read("order")[:11] == [*range(10, 0, -1), 100]
    goes_on(dut)
    intact(dut)


def test_restart_without_parking_first(dut: Any) -> None:
    for count in range(2, 6):
        dut.session.restart()
        started(dut, count)
    assert dut.read("parks") == 0
    assert dut.read("cleaned") == 4
    goes_on(dut)
    intact(dut)


@pytest.mark.parametrize("place", [Place.THREAD, Place.NESTED], ids=["thread", "nested"])
def test_a_park_changes_nothing(park_project: Project, dut_factory: Any, tmp_path: Path, place: Place) -> None:
    """Random parks over code that checks every register, flag, IT block, LDM and floating-point register.

    The emulator takes interrupts between blocks of code alone, unless it steps through single instructions.
    """
    elf = park_project.folder / "build" / "app.elf"
    with dut_factory(board=park_project.board, elf=elf, folder=tmp_path, qemu_args=("-singlestep",)) as dut:
        goes_on(dut)
        if place == Place.NESTED:
            cause(dut, Trouble.CHECK, place)
            park_in(dut, "check_", INNER)
        seen: set[int] = set()
        # Out of a handler each takes a while: that nobody answers has to be waited for.
        for _ in range(60 if place == Place.THREAD else 3):
            dut.session.device.park()
            registers = dut.session.device.record()
            seen.add(registers.r[15])
            assert registers.exception in ((0,) if place == Place.THREAD else (INNER, SYSTICK))
            dut.session.device.channel.submit(m.Op.CONTINUE, b"").reply()
        assert len(seen) > (10 if place == Place.THREAD else 0)
        dut.session.park()
        dut.write("trouble", 0)
        dut.session.resume()
        goes_on(dut)
        intact(dut)


def test_interrupts_masked_for_ever(dut: Any) -> None:
    from hotflash.device import Parked

    with dut.session.device.events() as events:
        cause(dut, Trouble.MASKED)
        while not isinstance(event := events.get(timeout=60), Parked):
            assert event is not None, "the watchdog never came"
    assert event.registers.reason == ParkReason.WATCHDOG
    assert event.registers.masks & 1
    assert "spin" in dut.session.record().report.place
    assert dut.read("kept") == 0
    dut.write("trouble", 0)
    dut.session.resume()
    goes_on(dut)
    assert dut.read("starts") == 1


def test_a_late_watchdog_interrupt_parks_nobody(dut: Any) -> None:
    """Each of these NMIs, pended by hand, is one of a core that was held up: a tick comes before the next."""
    for _ in range(3):
        dut.session.device.write(ICSR, (1 << 31).to_bytes(4, "little"), peripheral=True)
        start = dut.session.device.status().uptime
        until(
            lambda: dut.session.device.status().uptime,
            lambda now, start=start: (now - start) % (1 << 32) > TICK_US + 10_000,  # type: ignore[misc]
            "a tick",
        )
    assert not flags(dut) & HelloFlag.PARKED
    assert (dut.read("parks"), dut.read("starts")) == (0, 1)
    goes_on(dut)


def test_stack_overflow_is_answered(dut: Any) -> None:
    """Without memory protection it runs over the monitor's state; what is left is to say so, and to reset."""
    cause(dut, Trouble.OVERFLOW)
    until(
        lambda: flags(dut),
        lambda now: bool(now & (HelloFlag.STATE_LOST | HelloFlag.PARKED)),
        "the answer",
    )
    registers = dut.session.device.record()
    assert registers.reason == ParkReason.FAULT
    assert registers.final
    with pytest.raises(RefusedError):
        dut.session.resume()
    dut.reset()
    goes_on(dut)


def test_push_while_parked(dut: Any, park_project: Project, tmp_path: Path) -> None:
    cause(dut, Trouble.DIVIDE)
    wait_parked(dut)
    copy = Project(tmp_path / "copy", park_project.board, APP)
    copy.edit("trouble.c", ("repaired = (uint32_t)(7 / zero);", "repaired = 7u + (uint32_t)zero;"))
    dut.push(copy.compile("trouble.c"))
    dut.session.restart()
    until(lambda: dut.read("repaired"), lambda value: value == 7, "the new code, with the same request")
    goes_on(dut)


def test_commands(dut: Any) -> None:
    parked = dut.run("park")
    assert parked.returncode == 0, parked.stderr
    assert parked.stdout.startswith("the application is parked: somebody asked for it\n  #0  0x")
    assert "parked" in dut.run("status").stdout
    assert json.loads(dut.run("status", "--json").stdout)["application"] == "parked"
    assert dut.run("continue").returncode == 0
    again = dut.run("continue")
    assert again.returncode == 5
    assert "not parked" in again.stderr
    assert dut.run("restart").returncode == 0
    started(dut, 2)
    cause(dut, Trouble.UNDEFINED, Place.HANDLER)
    wait_parked(dut)
    repeated = dut.run("continue")
    assert repeated.returncode == 134
    assert "undefined instruction" in repeated.stderr
    assert "the handler of interrupt 20" in repeated.stderr
    assert dut.run("reset").returncode == 0
    goes_on(dut)


def test_monitor_tells_a_fault_after_the_last_words(dut: Any) -> None:
    """Exit status 134 with all output printed: the report must not overtake what was logged before the fault."""
    command = [sys.executable, "-m", "hotflash", "monitor"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=dut.folder, stdout=pipe, stderr=pipe, stdin=subprocess.DEVNULL, text=True
    ) as seen:
        assert seen.stdout is not None
        watching = threading.Thread(target=seen.stdout.readline)
        watching.start()
        # Asked again until it shows, for the monitor sees nothing of what was logged before it came.
        while watching.is_alive():
            cause(dut, Trouble.SPEAK)
            goes_on(dut)
        cause(dut, Trouble.WORDS)
        out, err = seen.communicate(timeout=60)
    assert seen.returncode == 134, err
    assert out.endswith("a line of the log before the fault\nlast words\n")
    assert "division by zero" in err
    late = dut.run("monitor")
    assert late.returncode == 134
    assert "division by zero" in late.stderr


def test_monitor_rolls_the_newest_edit_back(dut: Any, park_project: Project, tmp_path: Path) -> None:
    copy = Project(tmp_path / "copy", park_project.board, APP)
    copy.edit("trouble.c", ("trouble_spared(void)\n{", "trouble_spared(void)\n{\n    undefined();"))
    pushed = dut.push(copy.compile("trouble.c"))
    assert [change.function for change in pushed.changes] == ["trouble_spared"]
    wait_parked(dut)
    asked = dut.run("monitor")
    assert asked.returncode == 134
    assert "trouble_spared of the newest generation: `hotflash rollback` takes it back" in asked.stderr
    done = dut.run("monitor", "--on-fault", "auto")
    assert done.returncode == 134
    assert "rolled back: generation 2 live" in done.stderr
    dut.session.restart()
    goes_on(dut)


def test_reinit(dut: Any) -> None:
    rng = random.Random(7)
    for name in ("kept_value", "order[3]", "turns"):
        dut.write(name, rng.randrange(1000, 2000))
    done = dut.run("reinit", "kept_value", "order[3]")
    assert done.returncode == 0, done.stderr
    assert (dut.read("kept_value"), dut.read("order[3]")) == (41, 0)
    assert dut.read("turns") >= 1000
    assert not flags(dut) & HelloFlag.PARKED
    assert dut.run("reinit").returncode == 2
    assert dut.run("reinit", "keep").returncode == 5
    dut.run("park")
    done = dut.run("reinit", "--all")
    assert done.returncode == 0, done.stderr
    assert flags(dut) & HelloFlag.PARKED
    assert dut.read("turns") == 0
    assert dut.run("restart").returncode == 0
    until(lambda: dut.read("starts"), lambda count: count == 1, "main, counting anew")
    goes_on(dut)
