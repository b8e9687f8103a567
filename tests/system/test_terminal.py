"""`monitor` on a terminal: what it asks when the newest edit has faulted, and what the answers do."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from hotflash.errors import TargetFault
from hotflash.wire.messages import HelloFlag

from .project import Project
from .terminal import Terminal
from .trouble import APP, flags, goes_on, wait_parked

SOURCES = APP
QUIT = "\x1d"
SPARED = "__attribute__((noinline)) void trouble_spared(void)\n{\n"
HELPERS = """\
static __attribute__((noinline)) uint32_t inner(uint32_t n)
{
    divide();
    return repaired + n;
}

static __attribute__((noinline)) uint32_t outer(uint32_t n)
{
    return inner(n) + n;
}

"""


@pytest.fixture
def faulty(board_dut: Any, built: Project, tmp_path: Any) -> Any:
    """The board with an edit that is well, and the object that makes it call, four calls deep, what faults.

    Where it happens is the base image's, its callers are of the generation before: the newest one only calls them.
    """
    board_dut.reset()
    goes_on(board_dut)
    project = Project(tmp_path / "project", built.board, APP)
    calls = HELPERS + SPARED + "    if (repaired == 12345u) {\n        repaired = outer(1);\n    }\n"
    project.edit("trouble.c", (SPARED, calls))
    board_dut.push(project.compile("trouble.c"))
    goes_on(board_dut)
    project.edit("trouble.c", ("== 12345u", "!= 12345u"))
    return board_dut, project.compile("trouble.c")


@pytest.mark.parametrize(("answer", "rolled"), [("y", True), ("n", False), ("x", False)])
def test_asked(faulty: Any, answer: str, rolled: bool) -> None:
    dut, obj = faulty
    with Terminal(dut.folder, "monitor") as terminal:
        terminal.wait("Ctrl-T opens a menu")
        pushed = dut.push(obj)
        assert [change.function for change in pushed.changes] == ["trouble_spared"]
        terminal.wait("(y/n)")
        assert "it is in trouble_spared of the newest generation: roll back" in terminal.text
        before = dut.session.device.refresh()
        assert (before.generation, bool(before.flags & HelloFlag.PARKED)) == (2, True), "done without being asked"
        terminal.type(answer)
        if rolled:
            terminal.wait("rolled back: generation 3 live; `hotflash restart` runs it")
        else:
            terminal.wait("`hotflash rollback` takes it back")
        assert dut.session.device.refresh().generation == (3 if rolled else 2)
        terminal.type(QUIT)
        assert terminal.end() == 134
    report = terminal.text.index("the application faulted: UsageFault, division by zero")
    assert report < terminal.text.index("(y/n)") < terminal.text.rindex("error: the application faulted")
    assert flags(dut) & HelloFlag.PARKED
    with contextlib.nullcontext() if rolled else contextlib.suppress(TargetFault):  # it faults again, at once or soon
        dut.session.restart()
    if rolled:
        goes_on(dut)
    else:
        wait_parked(dut)


def test_done_without_asking(faulty: Any) -> None:
    dut, obj = faulty
    with Terminal(dut.folder, "monitor", "--on-fault", "auto") as terminal:
        terminal.wait("Ctrl-T opens a menu")
        dut.push(obj)
        terminal.wait("rolled back: generation 3 live")
        assert "(y/n)" not in terminal.text
        terminal.type(QUIT)
        assert terminal.end() == 134
    dut.session.restart()
    goes_on(dut)


def test_never(faulty: Any) -> None:
    dut, obj = faulty
    with Terminal(dut.folder, "monitor", "--on-fault", "never") as terminal:
        terminal.wait("Ctrl-T opens a menu")
        dut.push(obj)
        terminal.wait("`hotflash rollback` takes it back")
        assert "(y/n)" not in terminal.text
        terminal.type(QUIT)
        assert terminal.end() == 134
    assert dut.session.device.refresh().generation == 2


def test_not_asked_when_the_newest_edit_is_not_there(faulty: Any, built: Project, tmp_path: Any) -> None:
    """The fault is of the generation before: rolling the newest one back would not help."""
    dut, _ = faulty
    other = Project(tmp_path / "other", built.board, APP)
    other.edit("main.c", ("    kept++;\n", "    kept += 2;\n"))
    assert dut.push(other.compile("main.c")).generation == 2
    with Terminal(dut.folder, "monitor") as terminal:
        terminal.wait("Ctrl-T opens a menu")
        dut.write("repaired", 12345)
        terminal.wait("it stands still, the monitor answers")
        terminal.type(QUIT)
        assert terminal.end() == 134
    assert "trouble_spared+" in terminal.text
    assert "(generation 1)" in terminal.text
    assert "newest generation" not in terminal.text
