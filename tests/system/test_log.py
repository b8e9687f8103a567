"""The live log beside a push."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.observe import turns, until
from tests.system.project import Project
from tests.system.test_bad_line import BIG

LINE_RATE = 115200 // 10
LINE_BYTES = len("line 1234 of the numbered log\n")


@pytest.fixture(scope="module")
def dut(built: Project, dut_factory: Any) -> Iterator[Any]:
    with dut_factory(board=built.board, elf=built.folder / "build" / "app.elf", folder=built.folder) as dut:
        yield dut


def test_lines_and_a_large_push_share_the_line(dut: Any, built: Project, tmp_path: Path) -> None:
    """Half the line rate of numbered lines while 32 KiB are pushed from another process: none is missing."""
    project = Project(tmp_path / "p", built.board)
    functions = "".join(
        f"int big{n}(int x);\n__attribute__((noinline)) int big{n}(int x)\n{{\n"
        f"    unsigned r = (unsigned)x + {n}u;\n{BIG}    return (int)r;\n}}\n"
        for n in range(2)
    )
    project.edit(
        "work.c",
        (
            "__attribute__((noinline)) int value(int x)\n{\n    return x + 1;",
            (
                f"{functions}__attribute__((noinline)) int value(int x)\n{{\n"
                "    return big0(x) - big0(x) + big1(x) - big1(x) + x + 100;"
            ),
        ),
    )
    # Half of 115200 baud in lines, let out by the timer interrupt's count of milliseconds.
    project.edit(
        "main.c",
        (
            "while (lines_wanted > 0) {",
            (
                "static uint32_t last;\n"
                f"    while (lines_wanted > 0 && seen.ticks - last >= {2 * 1000 * LINE_BYTES // LINE_RATE}u) {{\n"
                "        last = seen.ticks;"
            ),
        ),
    )
    assert dut.run("push", str(project.compile("main.c"))).returncode == 0
    monitor = subprocess.Popen(
        [sys.executable, "-m", "hotflash", "--port", dut.url, "monitor", "--lines", "600", "--timeout", "60"],
        cwd=dut.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert monitor.stdout
    dut.session.close()
    dut.write("lines_wanted", 100000)
    first = monitor.stdout.readline()
    assert first, monitor.stderr.read() if monitor.stderr else ""

    done = dut.run("push", "--json", str(project.compile("work.c")))

    assert done.returncode == 0, done.stderr
    rest, errors = monitor.communicate(timeout=90)
    dut.write("lines_wanted", 0)
    numbers = [int(number) for number in re.findall(r"^line (\d+) of the numbered log$", first + rest, re.MULTILINE)]
    assert len(numbers) >= 599
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), errors
    assert turns(dut)["direct"] == 101
    assert int(__import__("json").loads(done.stdout)["size"]) > 30_000


def test_a_flood_drops_whole_lines_and_says_so(dut: Any) -> None:
    monitor = subprocess.Popen(
        [sys.executable, "-m", "hotflash", "--port", dut.url, "monitor", "--lines", "3000", "--timeout", "30"],
        cwd=dut.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    dut.session.close()
    turns_before = dut.read("seen.turns")
    dut.write("lines_wanted", 1000000)
    out, err = monitor.communicate(timeout=60)
    dut.write("lines_wanted", 0)
    until(lambda: dut.read("seen.turns"), lambda now: now > turns_before, "turns of the loop")
    lines = out.splitlines()
    assert len(lines) >= 3000
    wrong = [
        line for line in lines if not re.fullmatch(r"line \d+ of the numbered log|edited .*|application started", line)
    ]
    assert not wrong, wrong[:3]
    numbers = [int(line.split()[1]) for line in lines if line.startswith("line ")]
    gaps = sum(1 for a, b in itertools.pairwise(numbers) if b != a + 1)
    if gaps:
        assert "dropped" in err
