"""Safe commits that have to wait: who is in the way, and that they are tried until the deadline."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .observe import turns, until
from .project import Project

CALL = ("    log_lines();\n    seen.turns++;", "    log_lines();\n    (void)slow(1);\n    seen.turns++;")


@pytest.fixture
def held(board_dut: Any, project: Project) -> tuple[Any, Path]:
    """The board inside `slow`, called by `turn`, and an edit of it that has to wait until it returns."""
    board_dut.reset()
    turns(board_dut)
    project.edit("main.c", CALL)
    board_dut.push(project.compile("main.c"))
    turns(board_dut)
    board_dut.write("hold", 1)
    until(lambda: _calls(board_dut), lambda calls: "slow" in calls, "the call of slow")
    project.edit("work.c", ("    return x;\n}", "    counter = 5;\n    return x + 1;\n}"))
    return board_dut, project.compile("work.c")


def _calls(dut: Any) -> list[str]:
    return [call.function for call in dut.session.backtrace().calls]


def test_refused_with_who_is_in_the_way(held: tuple[Any, Path]) -> None:
    dut, obj = held
    before = dut.session.device.live()
    started = time.monotonic()
    refused = dut.run("push", "--mode", "safe", "--deadline", "0.4", str(obj))
    assert time.monotonic() - started >= 0.4, "given up before the deadline"
    assert refused.returncode == 5
    lines = refused.stderr.splitlines()
    assert re.fullmatch(
        r"error: not safe within 0\.4 s: slow \(slow\+0x[0-9a-f]+\S*.*\) is running and would be replaced; "
        r"nothing was changed",
        lines[0],
    ), lines
    places = [re.match(r"\s+#?\d*\s*(?:0x[0-9a-f]+ )?(?:in )?(\w+)", line) for line in lines[1:]]
    named = [place[1] for place in places if place is not None]
    assert [name for name in named if name in ("slow", "turn", "main")] == ["slow", "turn", "main"], refused.stderr
    assert "work.c:" in lines[1], lines
    assert re.search(r"hint: wait longer with --deadline, or .* --mode now", refused.stderr)
    after = dut.session.device.live()
    assert (after.hello.generation, after.hooks, after.slots) == (
        before.hello.generation,
        before.hooks,
        before.slots,
    )
    dut.write("hold", 0)
    turns(dut)


def test_tried_until_the_call_returns(held: tuple[Any, Path]) -> None:
    dut, obj = held
    command = [sys.executable, "-m", "hotflash", "push", "--mode", "safe", "--deadline", "600", str(obj)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=dut.folder, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    ) as pushing:
        # It is at it when its transaction is open; it cannot end while the call is held.
        from hotflash.wire.messages import HelloFlag

        until(
            lambda: dut.session.device.refresh().flags,
            lambda flags: bool(flags & HelloFlag.TXN_OPEN),
            "the transaction",
        )
        assert dut.session.hello.generation == 1
        dut.write("hold", 0)
        out, err = pushing.communicate(timeout=60)
    assert pushing.returncode == 0, err
    assert "generation 2 live" in out
    until(lambda: dut.read("counter"), lambda value: 5 <= value < 1000, "the new version of slow")
