"""One changed function goes live on a running board: what the product is for, on every board."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.system.observe import turns, until
from tests.system.project import Project

pytestmark = pytest.mark.every_board

EDIT_VALUE = (
    "return x + 1;\n}\n\n__attribute__((noinline)) int same_unit",
    "return x + 100;\n}\n\n__attribute__((noinline)) int same_unit",
)


@pytest.fixture
def dut(board_dut: Any) -> Any:
    """The board on its base image, its loop running."""
    board_dut.reset()
    turns(board_dut)
    return board_dut


def test_every_route_reaches_the_new_version(dut: Any, project: Project) -> None:
    before = turns(dut)
    assert (before["direct"], before["same_unit"], before["tail"]) == (2, 20, 3)
    project.edit("work.c", EDIT_VALUE)

    result = dut.push(project.compile("work.c"))

    assert [change.function for change in result.changes] == ["value"]
    assert result.generation == 1
    after = turns(dut)
    assert after["direct"] == 101
    assert after["same_unit"] == 1010
    assert after["tail"] == 102
    assert after["pointer"] == 101
    assert before["equal"] == after["equal"] == 1
    assert after["turns"] > before["turns"]


def test_callback_in_a_flash_table(dut: Any, project: Project) -> None:
    project.edit("work.c", ("return 2 * x;", "return 9 * x;"))
    assert turns(dut)["table"] == 2
    dut.push(project.compile("work.c"))
    assert turns(dut)["table"] == 9


def test_interrupt_handler(dut: Any, project: Project) -> None:
    project.edit("irq.c", ("seen.irq = 7;", "seen.irq = 8;"))
    ticks = dut.read("seen.ticks")
    dut.push(project.compile("irq.c"))
    until(lambda: dut.read("seen.irq"), lambda value: value == 8, "the new handler")
    assert dut.read("seen.ticks") > ticks


def test_recursion_goes_through_the_hook(dut: Any, project: Project) -> None:
    project.edit(
        "work.c",
        ("return 1 + depth(n - 1) + 0 * n;", "return 101 + depth(n - 1) + 0 * n;"),
        ("return 2 + local(n - 1);", "return 102 + local(n - 1);"),
    )
    dut.push(project.compile("work.c"))
    after = turns(dut)
    assert after["recursion"] == 505
    assert after["local_recursion"] == 510


def test_state_keeps_its_values(dut: Any, project: Project) -> None:
    """The sums fit only when the new version goes on counting where the old one stopped, in all three variables."""
    before = turns(dut, 20)
    heap = dut.read("on_heap")
    project.edit("work.c", ("    counter++;\n    file_counter++;", "    counter += 3;\n    file_counter += 2;"))
    dut.push(project.compile("work.c"))

    after = turns(dut)

    # Each turn adds 3 - 2 + 1 now, and 1 to what malloc gave. Both together were 2000 apart.
    assert before["state"] - before["heap"] in (2000, 2001)
    new_turns = after["state"] - after["heap"] - 2000
    assert 0 < new_turns <= after["turns"] - before["turns"] + 1
    assert after["heap"] >= after["turns"]
    assert dut.read("on_heap") == heap


@pytest.mark.parametrize("name", ["counter", "file_counter", "calls"])
def test_state_keeps_its_address(dut: Any, project: Project, name: str) -> None:
    """The new version says itself where its variable is."""
    place = {"file_counter": "work.c:file_counter", "calls": "state_step.calls"}.get(name, name)
    project.edit("work.c", ("return counter - file_counter + calls;", f"return (int)&{name};"))
    dut.push(project.compile("work.c"))
    assert turns(dut)["state"] == dut.session.read(place).address
    assert dut.read(place) > dut.read("seen.turns"), "it began again"


def test_pushing_again_says_nothing_changed(dut: Any, project: Project) -> None:
    assert dut.push(project.compile("work.c")).changes == ()
    project.edit("work.c", EDIT_VALUE)
    dut.push(project.compile("work.c"))

    again = dut.run("push", str(project.compile("work.c")))

    assert again.returncode == 0
    assert "nothing changed" in again.stdout + again.stderr
    assert dut.session.device.refresh().generation == 1


def test_reverting_the_source_takes_effect(dut: Any, project: Project) -> None:
    project.edit("work.c", EDIT_VALUE)
    dut.push(project.compile("work.c"))
    assert turns(dut)["direct"] == 101
    project.restore("work.c")

    result = dut.push(project.compile("work.c"))

    assert [change.action for change in result.changes] == ["revert"]
    assert turns(dut)["direct"] == 2


def test_new_functions_that_call_each_other(dut: Any, project: Project) -> None:
    project.edit(
        "work.c",
        (
            "__attribute__((noinline)) int value(int x)\n{\n    return x + 1;",
            (
                "int even(int n);\nint odd(int n);\nstatic int visits = 5000;\n"
                "__attribute__((noinline)) int even(int n)\n{\n    visits++;\n    return n == 0 ? 1 : odd(n - 1);\n}\n"
                "__attribute__((noinline)) int odd(int n)\n{\n    return n == 0 ? 0 : even(n - 1);\n}\n"
                "__attribute__((noinline)) int value(int x)\n{\n    return even(x + 5) ? 4000 : visits;"
            ),
        ),
    )
    result = dut.push(project.compile("work.c"))
    assert {change.function: change.action for change in result.changes} == {
        "value": "replace",
        "even": "new",
        "odd": "new",
    }
    after = turns(dut)
    assert after["direct"] == 4000  # even(6)
    assert after["tail"] > 5000  # odd: the new static, initialised and counting


def test_several_objects_in_one_transaction(dut: Any, project: Project) -> None:
    project.edit("pair.c", ("return 1;", "return 50;"), ("return -1;", "return -50;"))
    project.edit("work.c", EDIT_VALUE)
    objects = [str(project.compile("pair.c")), str(project.compile("work.c"))]

    done = dut.run("push", "--json", *objects)

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["version"] == 1
    assert answer["generation"] == 1
    assert turns(dut)["direct"] == 101
    ticks = dut.read("seen.ticks")
    until(lambda: dut.read("seen.ticks"), lambda now: now > ticks + 2, "timer interrupts")
    assert dut.read("pair_broken") == 0


def test_one_bad_object_keeps_all_out(dut: Any, project: Project) -> None:
    project.edit("pair.c", ("return 1;", "return 50;"), ("return -1;", "return missing_function();"))
    project.edit("pair.c", ('#include "app.h"', '#include "app.h"\nint missing_function(void);'))
    project.edit("work.c", EDIT_VALUE)
    done = dut.run("push", str(project.compile("pair.c")), str(project.compile("work.c")))
    assert done.returncode == 5
    assert "missing_function" in done.stderr
    assert "pair_right" in done.stderr
    assert dut.session.device.refresh().generation == 0
    assert turns(dut)["direct"] == 2


def test_rollback_and_redo_and_base(dut: Any, project: Project) -> None:
    project.edit("work.c", EDIT_VALUE)
    dut.push(project.compile("work.c"))
    assert turns(dut)["direct"] == 101
    assert dut.run("rollback").returncode == 0
    assert turns(dut)["direct"] == 2
    assert dut.run("rollback").returncode == 0
    assert turns(dut)["direct"] == 101
    assert dut.run("rollback", "--base").returncode == 0
    assert turns(dut)["direct"] == 2
    assert dut.session.device.refresh().generation == 4


def test_strings_and_libc_calls_in_new_code(dut: Any, project: Project) -> None:
    project.edit(
        "main.c",
        (
            'printf("line %lu of the numbered log\\n", (unsigned long)number++);',
            'printf("edited %s %lu\\n", "text", (unsigned long)number++);',
        ),
    )
    dut.write("lines_wanted", 2)
    dut.wait_log(r"line 1 of the numbered log", timeout=30)
    dut.push(project.compile("main.c"))
    dut.write("lines_wanted", 1)
    dut.wait_log(r"edited text 2$", timeout=30)


def test_safe_commit_names_who_is_in_the_way(dut: Any, project: Project) -> None:
    project.edit("main.c", ("for (;;) {\n        turn();\n", "for (;;) {\n        turn();\n        turn();\n"))
    done = dut.run("push", "--mode", "safe", "--deadline", "0.3", str(project.compile("main.c")))
    assert done.returncode == 5
    assert "main" in done.stderr
    assert dut.session.device.refresh().generation == 0


def test_reset_loses_edits_and_resync_brings_them_back(dut: Any, project: Project) -> None:
    project.edit("work.c", EDIT_VALUE)
    project.edit("pair.c", ("return 1;", "return 50;"), ("return -1;", "return -50;"))
    work, pair = project.compile("work.c"), project.compile("pair.c")
    dut.push(work, pair)
    dut.hardware_reset()
    assert turns(dut)["direct"] == 2

    said = {
        "status": dut.run("status").stdout,
        "monitor": dut.run("monitor", "--timeout", "0.1").stderr,
        "status --json": str([edit["function"] for edit in json.loads(dut.run("status", "--json").stdout)["lost"]]),
    }
    for command, text in said.items():
        for function in ("value", "pair_left", "pair_right"):
            assert function in text, f"{command}: {text}"
    assert "resync" in said["status"]
    assert "resync" in said["monitor"]

    # A push makes its own functions live and names those that still are not.
    pushed = dut.run("push", str(work))
    assert pushed.returncode == 0
    assert "not live any more" in pushed.stderr
    assert "pair_left, pair_right" in pushed.stderr

    assert dut.run("resync").returncode == 0

    assert turns(dut)["direct"] == 101
    assert {edit.function for edit in dut.status().edits} == {"value", "pair_left", "pair_right"}
    assert "resync" not in dut.run("status").stdout
