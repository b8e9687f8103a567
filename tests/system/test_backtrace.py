"""Where the application is, call by call, through the base image and through every version that was pushed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.observe import turns, until
from tests.system.project import Project


@pytest.fixture
def dut(built: Project, dut_factory: Any) -> Iterator[Any]:
    with dut_factory(board=built.board, elf=built.folder / "build" / "app.elf", folder=built.folder) as dut:
        yield dut


def line_of(project: Project, source: str, text: str) -> int:
    lines = (project.folder / source).read_text().splitlines()
    (number,) = [n for n, line in enumerate(lines, 1) if text in line]
    return number


def held(dut: Any) -> Any:
    """The calls under way once ``slow`` waits for ``hold``."""
    dut.write("hold", 1)
    return until(
        dut.session.backtrace, lambda trace: bool(trace.calls) and trace.calls[0].function == "slow", "slow is held"
    )


def test_through_base_image_and_slots(dut: Any, built: Project, tmp_path: Path) -> None:
    caller = Project(tmp_path / "caller", built.board)
    caller.edit("main.c", ("seen.direct = value(1);", "seen.direct = value(0);\n    seen.direct = slow(1);"))
    dut.push(caller.compile("main.c"))
    trace = held(dut)
    assert [call.function for call in trace.calls] == ["slow", "turn", "main", "Reset_Handler"]
    assert trace.end == ""
    slow, turn, main, _ = trace.calls
    assert (slow.generation, turn.generation, main.generation) == (0, 1, 0)
    assert Path(slow.file).name == "work.c"
    wait = line_of(built, "work.c", "} while (hold != 0);")
    assert wait - 3 <= slow.line <= wait
    assert Path(turn.file) == caller.folder / "main.c"
    assert turn.line == line_of(caller, "main.c", "slow(1)")


def test_a_version_that_was_replaced_long_ago(dut: Any, built: Project, tmp_path: Path) -> None:
    """Neither live nor to be rolled back to, but running: it has its name and its line."""
    caller = Project(tmp_path / "caller", built.board)
    caller.edit("main.c", ("seen.direct = value(1);", "seen.direct = slow(1);"))
    dut.push(caller.compile("main.c"))
    versions = []
    for number in range(1, 5):
        project = Project(tmp_path / f"v{number}", built.board)
        project.edit("work.c", ("return x;", f"return x + {number};"), ("    do {\n", "\n" * number + "    do {\n"))
        versions.append(project)
    dut.push(versions[0].compile("work.c"))
    dut.write("hold", 1)
    first = until(
        dut.session.backtrace, lambda t: bool(t.calls) and t.calls[0].generation == 2, "the first version is held"
    )
    for project in versions[1:]:
        dut.push(project.compile("work.c"), mode="now")
    trace = dut.session.backtrace()
    print(*trace.lines, sep="\n")
    assert [call.function for call in trace.calls] == ["slow", "turn", "main", "Reset_Handler"]
    assert trace.calls[0].generation == 2
    assert trace.calls[0].slot == first.calls[0].slot
    assert Path(trace.calls[0].file) == versions[0].folder / "work.c"
    wait = line_of(versions[0], "work.c", "} while (hold != 0);")
    assert wait - 3 <= trace.calls[0].line <= wait
    report = {slot.handle: slot for slot in dut.session.slots().slots}
    assert "frame #0 of the main stack" in report[trace.calls[0].slot].held_by
    assert report[trace.calls[1].slot].held_by == ("hook of turn", "frame #1 of the main stack")
    dut.write("hold", 0)


def test_slots_tells_who_uses_a_constant(dut: Any, built: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "p", built.board)
    project.edit(
        "work.c",
        ("return x + 1;", 'extern const char *volatile said; said = "held by value"; return x + 1;'),
        ("int counter = 1000;", "const char *volatile said;\nint counter = 1000;"),
    )
    dut.push(project.compile("work.c"))
    slots = dut.session.slots().slots
    (value,) = [slot for slot in slots if slot.function == "value"]
    (text,) = [slot for slot in slots if slot.kind == "const"]
    (said,) = [slot for slot in slots if slot.kind == "var"]
    assert text.held_by == said.held_by == (f"slot {value.handle}, value",)
    dut.session.device.pin(text.handle)
    assert "pin" in next(s for s in dut.session.slots().slots if s.handle == text.handle).held_by


def test_a_fault_below_the_newest_edit(dut: Any, built: Project, tmp_path: Path) -> None:
    """The edit is not where it faulted, but among those who called; the report is what monitor shows."""
    project = Project(tmp_path / "p", built.board)
    project.edit("main.c", ("seen.direct = value(1);", "seen.direct = (*(int (*volatile *)(int))&broken)(1);"))
    project.edit(
        "main.c",
        (
            "__attribute__((noinline)) void turn(",
            "static void *volatile broken = (void *)0x60000001;\n__attribute__((noinline)) void turn(",
        ),
    )
    dut.push(project.compile("main.c"))
    done = dut.run("monitor", "--timeout", "60")
    assert done.returncode == 134
    report = dut.session.record().report
    assert report.suspects == ("turn",)
    functions = [call.function for call in report.backtrace.calls]
    assert functions == ["", "turn", "main", "Reset_Handler"]
    turn = report.backtrace.calls[1]
    assert (turn.generation, Path(turn.file).name) == (1, "main.c")
    assert turn.line == line_of(project, "main.c", "&broken)(1)")
    for line in report.backtrace.lines:
        assert line in done.stdout + done.stderr
    dut.session.rollback()
    dut.session.restart()
    turns(dut)
