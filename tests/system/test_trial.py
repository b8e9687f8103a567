"""Edits on trial, and edits of what never returns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from hotflash.device import TrialOver
from hotflash.wire.messages import HelloFlag

from .observe import PATIENCE, turns
from .project import Project
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
