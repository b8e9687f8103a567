"""Edits on trial, and edits of what never returns."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from hotflash.device import TrialOver
from hotflash.wire.events import Event, EventDecoder
from hotflash.wire.frame import FrameReader
from hotflash.wire.messages import HelloFlag

from .observe import PATIENCE, turns, until
from .project import Project
from .terminal import Terminal
from .test_push import EDIT_VALUE
from .trouble import park_in


@pytest.fixture(scope="module")
def board_dut(built: Project, dut_factory: Any) -> Iterator[Any]:
    with dut_factory(board=built.board, elf=built.folder / "build" / "app.elf", folder=built.folder) as dut:
        yield dut


@pytest.fixture
def dut(board_dut: Any) -> Any:
    """The board on its base image, its loop running."""
    board_dut.reset()
    turns(board_dut)
    return board_dut


def edited(project: Project) -> tuple[str]:
    """An edit of `value`, which answers 101 then; the source to compile."""
    project.edit("work.c", EDIT_VALUE)
    return ("work.c",)


def test_the_board_takes_it_back_when_the_host_has_gone(dut: Any, project: Project) -> None:
    """The process that pushed is over; whoever listens sends nothing, so that the board's own clock ends the trial."""
    project.edit("work.c", EDIT_VALUE)
    with dut.session.device.events() as events:
        pushed = dut.run("push", "--trial", "1", str(project.compile("work.c")))
        assert pushed.returncode == 0, pushed.stderr
        assert "generation 1 live on trial for 1 s (`hotflash confirm` keeps it)" in pushed.stdout
        while not isinstance(event := events.get(timeout=PATIENCE), TrialOver):
            assert event is not None, "the trial never ended"
    assert turns(dut)["direct"] == 2
    hello = dut.session.device.refresh()
    assert hello.generation == 2
    assert not hello.flags & HelloFlag.TRIAL
    assert dut.session.status().edits == ()


def test_taken_back_when_all_hosts_were_killed(dut: Any, project: Project) -> None:
    """The process that had the port is gone without a word, in the middle of the trial; nobody says anything after it.

    Who listens to the line sends no byte, so the board is not woken by one.
    """
    obj = str(project.compile(*edited(project)))
    dut.session.close()
    with Terminal(dut.folder, "monitor") as owner:
        owner.wait("Ctrl-T opens a menu")
        pushed = dut.run("push", "--trial", "5", obj)
        assert pushed.returncode == 0, pushed.stderr
        owner.kill()
    host, _, port = dut.url.removeprefix("socket://").partition(":")
    reader, decoder = FrameReader(), EventDecoder()
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as line:
        told: list[Event] = []
        while not any(isinstance(event, TrialOver) for event in told):
            data = line.recv(4096)
            assert data, "the line was closed"
            told = [event for frame in reader.feed(data) for event in decoder.decode(frame)]
    assert dut.session.device.refresh().generation == 2
    assert turns(dut)["direct"] == 2
    assert dut.session.status().edits == ()
    assert not dut.session.hello.flags & HelloFlag.TRIAL


@pytest.mark.parametrize("button", [False, True], ids=["asked", "button"])
def test_a_reset_ends_the_trial(dut: Any, project: Project, button: bool) -> None:
    """On the base image, with nothing left that could be taken back or confirmed."""
    obj = project.compile(*edited(project))
    dut.push(obj, trial=600)
    boots = dut.session.hello.boot_count
    dut.hardware_reset() if button else dut.session.reset()
    until(lambda: dut.session.device.refresh().boot_count, lambda now: now > boots, "the boot")
    assert turns(dut)["direct"] == 2
    status = dut.session.status()
    assert (status.generation, status.trial, status.edits) == (0, 0, ())
    assert not dut.session.hello.flags & HelloFlag.TRIAL
    assert "no trial is under way" in dut.run("confirm").stdout
    dut.push(obj)  # would be refused during a trial
    assert turns(dut)["direct"] == 101


def test_what_is_left_is_told(dut: Any, project: Project) -> None:
    assert dut.status().trial == 0
    dut.push(project.compile(*edited(project)), trial=600)
    first = dut.status().trial
    assert 0 < first <= 600
    told = re.search(r"on trial: .* else the board takes it back in (\d+) s", dut.run("status").stdout)
    assert told
    assert 0 < int(told[1]) <= 600
    until(lambda: dut.status().trial, lambda left: 0 < left < first, "less time")
    with Terminal(dut.folder, "monitor") as monitor:
        monitor.wait("`hotflash confirm` keeps it")
        assert re.search(r"generation 1 is on trial for \d+ s more", monitor.text)
        monitor.type("\x1d")
        assert monitor.end() == 0
    assert dut.run("confirm").returncode == 0
    assert dut.status().trial == 0


def test_confirmed(dut: Any, project: Project) -> None:
    project.edit("work.c", EDIT_VALUE)
    dut.push(project.compile("work.c"), trial=600)
    assert turns(dut)["direct"] == 101
    assert "on trial" in dut.run("status").stdout
    other = Project(project.folder / "other", project.board)
    other.edit("irq.c", ("seen.irq = 7;", "seen.irq = 8;"))
    refused = dut.run("push", str(other.compile("irq.c")))
    assert refused.returncode == 5
    assert "on trial" in refused.stderr
    confirmed = dut.run("confirm")
    assert confirmed.returncode == 0
    assert "generation 1 stays" in confirmed.stdout
    assert "no trial is under way" in dut.run("confirm").stdout
    dut.push(other.compile("irq.c"))
    assert turns(dut)["direct"] == 101


def test_a_change_of_main_waits_for_the_restart(dut: Any, project: Project) -> None:
    project.edit("main.c", ('printf("application started\\n");', 'printf("application started anew\\n");'))
    state = dut.read("counter")
    pushed = dut.run("push", str(project.compile("main.c")))
    assert pushed.returncode == 0, pushed.stderr
    assert "waiting: restart (main never returns; `hotflash restart`)" in pushed.stdout
    restarted = dut.run("restart")
    assert restarted.returncode == 0, restarted.stderr
    dut.wait_log("application started anew")
    turns(dut)
    assert dut.read("counter") > state, "the state began anew"


def test_a_safe_change_of_main_is_refused(dut: Any, project: Project) -> None:
    project.edit("main.c", ('printf("application started\\n");', 'printf("application started anew\\n");'))
    refused = dut.run("push", "--mode", "safe", "--deadline", "0.1", str(project.compile("main.c")))
    assert refused.returncode == 5
    assert "main (" in refused.stderr
    assert "main never returns" in refused.stderr
    assert dut.session.device.refresh().generation == 0


def test_old_calls_that_end_are_told(dut: Any, project: Project) -> None:
    """`slow` is called by the application when the test asks for it, and found running."""
    project.edit(
        "main.c", ("    log_lines();\n    seen.turns++;", "    log_lines();\n    (void)slow(1);\n    seen.turns++;")
    )
    dut.push(project.compile("main.c"), mode="now")
    other = Project(project.folder / "other", project.board)
    other.edit("work.c", ("    return x;\n}", "    return x + 1;\n}"))
    park_in(dut, "slow")
    done = dut.run("push", "--mode", "now", str(other.compile("work.c")))
    dut.session.resume()
    assert done.returncode == 0, done.stderr
    assert "generation 2 live" in done.stdout
    assert re.search(r"\d old calls? of slow finish(es)? in the old code", done.stderr), done.stderr
    turns(dut)
