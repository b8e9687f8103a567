"""A patch needs what the firmware does not hold: it comes from the toolchain's archives, runs, and goes again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.system.observe import turns, until
from tests.system.project import Project

BODY = "return x + 1;\n}\n\n__attribute__((noinline)) int same_unit"
REST = "\n}\n\n__attribute__((noinline)) int same_unit"
DIVIDE = (BODY, f"volatile long long by = 1000000007LL;\n    return (int)(x * 7000000049LL / by);{REST}")
PARSE = (BODY, f'errno = 0;\n    return (int)strtol(x == 1 ? "99999999999" : "12", 0, 10) / 10 + errno;{REST}')
INCLUDE = ('#include "app.h"', '#include "app.h"\n#include <errno.h>\n#include <stdlib.h>')
ERANGE = 34


@pytest.fixture
def dut(board_dut: Any) -> Any:
    """The board on its base image, its loop running."""
    board_dut.reset()
    turns(board_dut)
    return board_dut


def test_a_division_runs_is_shared_and_is_collected(dut: Any, project: Project) -> None:
    project.edit("work.c", DIVIDE)
    done = dut.run("push", "--explain", str(project.compile("work.c")), check=True)
    assert "with __aeabi_ldivmod from libgcc.a(_aeabi_ldivmod.o), " in done.stderr
    assert ": value needs it and the firmware lacks it" in done.stderr
    assert turns(dut)["direct"] == 7
    assert turns(dut)["same_unit"] == 70
    code = [slot for slot in dut.session.slots().slots if slot.kind == "code"]
    assert len(code) == 1 + 3
    named = {slot.function: slot.unit for slot in code}
    assert named["__udivmoddi4"] == "libgcc.a(_udivmoddi4.o)"
    assert "__udivmoddi4 (libgcc.a(_udivmoddi4.o))" in dut.run("slots", check=True).stdout

    again = json.loads(dut.run("push", str(project.compile("work.c")), "--json", check=True).stdout)
    assert again["state"] == "unchanged"

    project.edit("work.c", ("return 2 * x;", "volatile long long by = x;\n    return (int)(8000000000LL / by);"))
    report = dut.push(project.compile("work.c"))
    assert [(h.name, h.state) for h in report.helpers] == [("__aeabi_ldivmod", "live")]
    assert [c.function for c in report.changes] == ["twice"]
    assert turns(dut)["table"] == 8000000000 - 2**33

    dut.run("rollback", "--base", check=True)
    project.restore("work.c")
    project.edit("work.c", ("return 2 + local(n - 1);", "return 3 + local(n - 1);"))
    dut.push(project.compile("work.c"))
    project.edit("work.c", ("return 3 + local(n - 1);", "return 4 + local(n - 1);"))
    dut.push(project.compile("work.c"))  # the undo record has let go of the base image's generation
    assert turns(dut)["direct"] == 2

    def collected() -> set[str]:
        dut.write("lines_wanted", 1)  # deep calls overwrite what old ones left on the stack
        dut.wait_log(r"line \d+ of the numbered log")
        dut.session.gc()
        return {slot.function for slot in dut.session.slots().slots if slot.kind == "code"}

    until(collected, lambda kept: kept == {"local"}, "slots")


def test_state_is_the_firmwares(dut: Any, project: Project) -> None:
    """``errno`` is in newlib's state, which the firmware's own ``printf`` uses too."""
    project.edit("work.c", INCLUDE, PARSE)
    report = dut.push(project.compile("work.c"))
    states = {helper.name: helper.state for helper in report.helpers}
    assert states["strtol"] == "sent"
    assert states["_impure_ptr"] == "firmware"
    assert not [slot for slot in dut.session.slots().slots if slot.kind == "var"]
    seen = turns(dut)
    assert seen["direct"] == 0x7FFFFFFF // 10 + ERANGE
    assert seen["tail"] == 1
    dut.write("lines_wanted", 1)
    dut.wait_log(r"line \d+ of the numbered log")
