"""Changed signatures and layouts through the command, on a running board."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hotflash import sdk
from tests.system.observe import code_of, turns
from tests.system.project import Project


@pytest.fixture
def dut(board_dut: Any) -> Iterator[Any]:
    """The running board on its base image again."""
    board_dut.session.rollback(base=True)
    yield board_dut
    turns(board_dut, 1)


def unchanged(dut: Any, *arguments: str) -> str:
    """What a refused command says; nothing may have changed."""
    slots, hooks, hello = code_of(dut)
    done = dut.run(*arguments)
    now = code_of(dut)
    assert done.returncode == 5, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    assert (*now[:2], now[2].generation) == (slots, hooks, hello.generation)
    text: str = done.stderr
    assert "Traceback" not in text
    return text


def test_a_caller_that_stays_is_named_with_its_line(dut: Any, project: Project) -> None:
    project.edit("app.h", ("int tail(int x);", "int tail(int x, int y);"))
    project.edit("work.c", ("int tail(int x)", "int tail(int x, int y)"), ("value(x + 1);", "value(x + y);"))
    target = project.compile("work.c")
    text = unchanged(dut, "push", str(target))
    line = 1 + next(n for n, text in enumerate((project.folder / "main.c").read_text().splitlines()) if "tail(" in text)
    assert "tail (work.c) is called differently, int32(int32, int32) instead of int32(int32)" in text
    assert f"(main.c:{line})" in text
    assert f"hotflash push {target}" in text


def with_its_caller(project: Project) -> list[str]:
    """Objects of a function that takes one more number, and of all who call it."""
    project.edit("app.h", ("int tail(int x);", "int tail(int x, int y);"))
    project.edit("work.c", ("int tail(int x)", "int tail(int x, int y)"), ("value(x + 1);", "value(x + y);"))
    project.edit("main.c", ("tail(1)", "tail(1, 50)"))
    return [str(project.compile(name)) for name in ("work.c", "main.c")]


def test_a_signature_goes_live_with_its_callers_at_a_safe_point(dut: Any, project: Project) -> None:
    done = dut.run("push", "--json", *with_its_caller(project))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["mode"] == "safe"
    assert {change["function"] for change in report["changes"]} == {"tail", "turn"}
    assert any("tail is called differently" in note for note in report["notes"])
    assert turns(dut, 2)["tail"] == 52
    # From then on the new caller is who would be left out.
    fresh = Project(project.folder.parent / "fresh", project.board)
    fresh.edit("work.c", ("return value(x + 1);", "return value(x + 3);"))
    assert "turn (main.c" in unchanged(dut, "push", str(fresh.compile("work.c")))


def test_a_commit_that_must_be_safe_is_not_made_now(dut: Any, project: Project) -> None:
    text = unchanged(dut, "push", "--mode", "now", *with_its_caller(project))
    assert "tail is called differently" in text
    assert "--mode safe" in text


def test_a_layout_that_others_know_is_refused(dut: Any, project: Project) -> None:
    project.edit("app.h", ("uint32_t turns;", "uint32_t more;\n    uint32_t turns;"))
    project.edit("irq.c", ("seen.irq", "seen.more += 1; seen.irq"))
    text = unchanged(dut, "push", str(project.compile("irq.c")))
    assert "struct seen is laid out differently, and not all that use it come along" in text
    assert "turn (main.c" in text


def test_without_debug_information(dut: Any, project: Project) -> None:
    project.edit("work.c", ("return value(x + 1);", "return value(x + 2);"))
    flags = [flag for flag in sdk.cflags(project.board) if flag != "-g"]
    target = project.compile("work.c", flags=[*flags, "-g0"])
    text = unchanged(dut, "push", str(target))
    assert "no debug information" in text
    assert "--no-type-check" in text
    done = dut.run("push", "--no-type-check", str(target))
    assert done.returncode == 0, done.stderr
    assert "types were not checked: callers may pass other arguments" in done.stderr
    assert turns(dut, 1)["tail"] == 4


def test_types_and_diff_show_both_sides(dut: Any, project: Project) -> None:
    project.edit("app.h", ("uint32_t turns;", "uint16_t more;\n    uint32_t turns;"))
    project.edit("irq.c", ("seen.irq", "seen.more += 1; seen.irq"))
    target = str(project.compile("irq.c"))
    elf = str(dut.elf) if hasattr(dut, "elf") else str(project.folder / "build" / "app.elf")
    shown = dut.run("types", "seen", target, "--elf", elf)
    assert shown.returncode == 0, shown.stderr
    rows = {line.split()[0]: line.split()[1:] for line in shown.stdout.splitlines()[1:]}
    assert rows["turns"] == ["0", "4", "uint32", "4", "4", "uint32", "moved"]
    assert rows["more"] == ["0", "2", "uint16", "added"]
    compared = dut.run("diff", target, "--elf", elf)
    assert compared.returncode == 0, compared.stderr
    assert "refused: struct seen is laid out differently" in compared.stdout
    assert "turns: moved, uint32 at +0 -> +4" in compared.stdout
    nothing = dut.run("types", "nothing_of_that_name", "--elf", elf)
    assert nothing.returncode == 2
    assert "nothing_of_that_name" in nothing.stderr
