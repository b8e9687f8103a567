"""Pushes that fit only when something goes, and what is told of that."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import pytest

from hotflash.board import Board

from .observe import code_of, turns, until
from .project import Project

BODY = "    return x + 1;\n"


@pytest.fixture(scope="module")
def board(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """The board with a small code heap, which is soon full."""
    given = Board.find(request.param)
    folder = tmp_path_factory.mktemp("boards") / given.name
    shutil.copytree(given.path, folder)
    memory = folder / "memory.ld"
    text, changed = re.subn(r"(HF_HEAP .*LENGTH = )\w+", r"\g<1>16K", memory.read_text(encoding="utf-8"))
    assert changed == 1
    memory.write_text(text, encoding="utf-8")
    return Board.find(str(folder))


@pytest.fixture
def dut(board_dut: Any) -> Any:
    """The board on its base image, its loop running."""
    board_dut.reset()
    turns(board_dut)
    return board_dut


def wipe(size: int) -> str:
    """What calls and interrupts have left on the stack counts as a use; ``size`` bytes of it are written over."""
    return f"    volatile char room[{size}];\n\n    for (int i = 0; i < {size}; i++) {{\n        room[i] = 0;\n    }}\n"


def filled(project: Project, size: int, mark: int) -> str:
    """Has `value` bring ``size`` bytes of constants, which are a slot of their own."""
    project.restore("work.c")
    table = f"static const unsigned char table[{size}] = {{ [5] = {mark}, [77] = 9 }};\n"
    where = "__attribute__((noinline)) int value(int x)\n{\n"
    # The higher the mark the deeper, so that a later version writes over what an interrupt left below an earlier one.
    body = f"    int result = x + table[x & 4095] + {mark};\n{wipe(32 * mark)}    return result + room[0];\n"
    project.edit("work.c", (where + BODY, table + where + body))
    return str(project.compile("work.c"))


def long(project: Project, size: int, mark: int) -> str:
    """Has `value` be ``size`` bytes of code."""
    project.restore("work.c")
    nops = f'    __asm__ volatile(".rept {size // 2}; nop; .endr");\n'
    project.edit("work.c", (BODY, nops + BODY.replace("1", str(mark))))
    return str(project.compile("work.c"))


def live(dut: Any) -> Any:
    """What a refused push must leave alone."""
    slots, hooks, hello = code_of(dut)
    return slots, hooks, hello.generation, hello.flags, hello.heap_free


def kinds(dut: Any) -> list[str]:
    return [slot["kind"] for slot in json.loads(dut.run("slots", "--json").stdout)["slots"]]


def pushed(dut: Any, *arguments: str) -> Any:
    """A push that fits, once what an interrupt has left on the stack names no old version any more."""

    def push() -> Any:
        turns(dut)
        return dut.run("push", *arguments)

    return until(push, lambda done: done.returncode == 0, "room")


def leave_a_constant(dut: Any, project: Project, size: int) -> None:
    """A constant of that size that neither a function nor the undo record uses any more."""
    pushed(dut, filled(project, size, 3))
    assert "const" in kinds(dut)
    turns(dut)
    for number in (40, 41):
        project.restore("work.c")
        project.edit("work.c", (BODY, wipe(1024) + BODY.replace("1", f"{number} + room[0]")))
        pushed(dut, str(project.compile("work.c")))
        turns(dut)
    assert "const" in kinds(dut)


def test_fits_only_after_collecting(dut: Any, project: Project) -> None:
    size = dut.session.device.hello.heap_size * 6 // 10
    leave_a_constant(dut, project, size)
    assert dut.status().counters["stall_us"] == 0
    obj = filled(project, size, 50)
    before = live(dut)
    refused = dut.run("push", obj)
    assert refused.returncode == 5
    assert "code heap" in refused.stderr
    assert re.search(r"hint:.*`hotflash gc`, or --collect.*--no-undo", refused.stderr), refused.stderr
    assert live(dut) == before

    done = pushed(dut, "--collect", obj)
    told = re.search(r"note: what nothing used was collected .* masked for ([\d,]+) us at most", done.stderr)
    assert told, done.stderr
    stall = dut.status().counters["stall_us"]
    assert 0 < int(told[1].replace(",", "")) <= stall
    assert f"interrupts masked for {stall:,} us in the longest collection" in dut.run("status").stdout
    assert turns(dut)["direct"] == 51
    assert dut.run("rollback").returncode == 0, "the generation before was given up without need"


def test_gc_makes_room_and_tells_its_stall(dut: Any, project: Project) -> None:
    size = dut.session.device.hello.heap_size * 6 // 10
    leave_a_constant(dut, project, size)

    def collect() -> Any:
        turns(dut)
        return json.loads(dut.run("gc", "--json").stdout)

    done = until(collect, lambda done: done["freed"] == 1, "nothing names the constant any more")
    assert done["bytes"] >= size
    assert 0 < done["stall_us"] <= done["longest_us"] == dut.status().counters["stall_us"]
    text = dut.run("gc").stdout
    assert re.match(r"gc  0 slots, 0 bytes freed, interrupts masked for [\d,]+ us; [\d,]+ us in the longest", text)
    pushed(dut, filled(project, size, 50))
    assert turns(dut)["direct"] == 51


def test_the_setting_and_a_parked_application_allow_it(dut: Any, project: Project) -> None:
    size = dut.session.device.hello.heap_size * 6 // 10
    leave_a_constant(dut, project, size)
    (dut.folder / "hotflash.toml").write_text('collect = "pressure"\n')
    try:
        pushed(dut, filled(project, size, 50))
    finally:
        (dut.folder / "hotflash.toml").unlink()
    assert turns(dut)["direct"] == 51

    dut.reset()
    turns(dut)
    leave_a_constant(dut, project, size)
    obj = filled(project, size, 50)

    def push_parked() -> Any:
        turns(dut)
        dut.session.park()
        done = dut.run("push", obj)
        dut.session.resume()
        return done

    until(push_parked, lambda done: done.returncode == 0, "room")
    assert turns(dut)["direct"] == 51


def test_fits_only_without_undo(dut: Any, project: Project) -> None:
    size = dut.session.device.hello.heap_size * 4 // 10
    for mark in (20, 30):
        pushed(dut, long(project, size, mark))
    obj = long(project, size, 50)
    before = live(dut)
    refused = dut.run("push", "--collect", obj)
    assert refused.returncode == 5
    assert re.search(r"hint:.*--no-undo", refused.stderr), refused.stderr
    assert "--collect" not in refused.stderr
    assert live(dut) == before

    done = pushed(dut, "--no-undo", obj)
    assert "note: the generation before the last was given up to make room" in done.stderr
    assert turns(dut)["direct"] == 51
    assert dut.run("rollback").returncode == 0
    assert turns(dut)["direct"] == 31


def test_constants_of_what_was_given_up_have_to_be_collected(dut: Any, project: Project) -> None:
    size = dut.session.device.hello.heap_size * 4 // 10
    for mark in (20, 30):
        pushed(dut, filled(project, size, mark))
        turns(dut)
    obj = filled(project, size, 50)
    refused = dut.run("push", "--no-undo", obj)
    assert refused.returncode == 5
    assert "the generation before was given up, and that was not enough" in refused.stderr
    assert re.search(r"hint:.*--collect", refused.stderr), refused.stderr
    assert turns(dut)["direct"] == 31
    pushed(dut, "--no-undo", "--collect", obj)
    assert turns(dut)["direct"] == 51


def test_room_that_is_there_costs_nothing(dut: Any, project: Project) -> None:
    for number in (40, 41):
        project.restore("work.c")
        project.edit("work.c", (BODY, BODY.replace("1", str(number))))
        done = pushed(dut, "--no-undo", "--collect", str(project.compile("work.c")))
        assert "note:" not in done.stderr
    assert dut.status().counters["stall_us"] == 0
    assert dut.run("rollback").returncode == 0
    assert turns(dut)["direct"] == 41


def test_nothing_that_may_go_is_enough(dut: Any, project: Project) -> None:
    """What was given up for it is said, and what is live stays."""
    for number in (40, 41):
        project.restore("work.c")
        project.edit("work.c", (BODY, BODY.replace("1", str(number))))
        pushed(dut, str(project.compile("work.c")))
    obj = filled(project, dut.session.device.hello.heap_size, 50)
    refused = dut.run("push", "--no-undo", "--collect", obj)
    assert refused.returncode == 5
    assert "the generation before was given up, and that was not enough" in refused.stderr
    assert dut.session.device.refresh().generation == 2
    assert turns(dut)["direct"] == 42
