"""The live log: beside a push, and when more is logged than the monitor can take."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.observe import turns, until
from tests.system.project import Project

LINE_RATE = 115200 // 10
LINE_BYTES = len("line 1234 of the numbered log\r\n")
TABLE = 8192
"""Words of the constant that makes a push large."""


@pytest.fixture(scope="module")
def board_dut(built: Project, dut_factory: Any) -> Iterator[Any]:
    with dut_factory(board=built.board, elf=built.folder / "build" / "app.elf", folder=built.folder) as dut:
        yield dut


@pytest.fixture
def dut(board_dut: Any) -> Any:
    """The board on its base image, logging nothing."""
    board_dut.reset()
    turns(board_dut)
    return board_dut


def monitor(dut: Any, *arguments: str) -> subprocess.Popen[str]:
    """``hotflash monitor`` in another process."""
    dut.session.close()
    return subprocess.Popen(
        [sys.executable, "-m", "hotflash", "monitor", "--timeout", "60", *arguments],
        cwd=dut.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def lines_of(process: subprocess.Popen[str]) -> Iterator[list[str]]:
    """What a process printed so far, in a list that grows."""
    assert process.stdout
    lines: list[str] = []
    reader = threading.Thread(target=lines.extend, args=(process.stdout,))
    reader.start()
    try:
        yield lines
    finally:
        process.send_signal(signal.SIGINT)
        reader.join(30)


def numbers(text: str) -> list[int]:
    """The numbers of the lines; no other text may stand between them."""
    lines = text.splitlines()
    found = [re.fullmatch(r"(?:application started|line (\d+) of the numbered log)", line) for line in lines]
    wrong = [line for line, match in zip(lines, found, strict=True) if match is None]
    assert not wrong, wrong[:3]
    return [int(match[1]) for match in found if match and match[1]]


def test_lines_and_a_large_push_share_the_line(dut: Any, project: Project) -> None:
    """Half the line rate of numbered lines while 32 KiB are pushed from another process: none is missing."""
    words = ", ".join(f"{i * 2654435761 % (1 << 32) | 1:#x}u" for i in range(TABLE))
    project.edit(
        "work.c",
        (
            "__attribute__((noinline)) int value(int x)\n{\n    return x + 1;",
            (
                f"static const unsigned table[{TABLE}] = {{ {words} }};\n"
                "__attribute__((noinline)) int value(int x)\n{\n"
                f"    return x + 99 + (int)(table[x & {TABLE - 1}] & 1u);"
            ),
        ),
    )
    # Let out by the timer interrupt's count of milliseconds.
    pace = 2 * 1000 * LINE_BYTES // LINE_RATE
    project.edit(
        "main.c",
        ("static uint32_t number;\n", "static uint32_t number;\n    static uint32_t last;\n"),
        ("while (lines_wanted > 0) {\n", f"while (lines_wanted > 0 && seen.ticks - last >= {pace}u) {{\n"),
        ("        lines_wanted--;\n", "        last = seen.ticks;\n        lines_wanted--;\n"),
        (
            "number++);\n",
            'number++);\n        if (lines_wanted == 0) {\n            printf("that is all\\n");\n        }\n',
        ),
    )
    dut.push(project.compile("main.c"))
    large = project.compile("work.c")

    with monitor(dut, "--until", "^that is all$") as process:
        assert process.stdout
        dut.write("lines_wanted", 1_000_000)
        first = process.stdout.readline()
        done = dut.run("push", "--json", str(large))
        dut.write("lines_wanted", 10)
        rest, errors = process.communicate(timeout=90)

    assert process.returncode == 0, errors
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["size"] >= 4 * TABLE
    shown = numbers((first + rest).removesuffix("that is all\n"))
    assert shown == list(range(shown[0], shown[0] + len(shown))), errors
    wire_seconds = json.loads(done.stdout)["milliseconds"]["wire"] / 1000
    assert len(shown) > wire_seconds * 1000 / pace / 2, "the log stood still during the push"
    assert "dropped" not in errors
    assert turns(dut)["direct"] == 101


def test_lines_as_fast_as_the_application_can(dut: Any) -> None:
    with monitor(dut, "--lines", "3000") as process:
        dut.write("lines_wanted", 1_000_000)
        out, errors = process.communicate(timeout=60)
    dut.write("lines_wanted", 0)
    assert process.returncode == 0, errors
    shown = numbers(out)
    if "dropped" not in errors:
        assert shown == list(range(shown[0], shown[0] + len(shown)))
    assert shown == sorted(set(shown))


def test_a_flood_from_an_interrupt_drops_whole_lines_and_counts_them(dut: Any, project: Project) -> None:
    """The monitor cannot take anything meanwhile: its handler has the lowest priority."""
    burst = 2000
    project.edit(
        "irq.c",
        ('#include "app.h"\n', '#include "app.h"\n#include "hotflash.h"\n'),
        (
            "    seen.irq = 7;\n",
            (
                "    for (; flood > 0; flood--) {\n"
                '        char text[] = "line 0000 of the numbered log";\n'
                "        uint32_t left = (uint32_t)seen.irq++ - 7u;\n"
                "        for (int i = 8; i >= 5; i--, left /= 10) {\n"
                "            text[i] = (char)('0' + left % 10);\n"
                "        }\n"
                "        hf_log(text);\n"
                "    }\n"
            ),
        ),
    )
    dut.push(project.compile("irq.c"))
    before = dut.session.device.status().log_dropped

    with monitor(dut) as process, lines_of(process) as lines:
        until(lambda: dut.write("flood", 1) and lines, bool, "the monitor to listen")
        dut.write("flood", burst)
        until(lambda: dut.read("flood"), lambda left: left == 0, "the flood to end")
        dropped = dut.session.device.status().log_dropped - before
        assert 0 < dropped < burst
        # What comes after the flood finds room again and is shown behind the notice.
        dut.write("flood", 1)
        until(lambda: dut.read("flood"), lambda left: left == 0, "one more line")
        last = dut.read("seen.irq") - 8
        until(lambda: lines[-1], lambda line: line.startswith(f"line {last:04} "), "the line after the flood")
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read() if process.stderr else ""

    assert process.returncode == 130
    shown = numbers("".join(lines))
    assert shown == sorted(set(shown))
    assert last + 1 - shown[0] - len(shown) == dropped
    said = [int(count.replace(",", "")) for count in re.findall(r"([\d,]+) log lines? dropped", errors)]
    assert sum(said) == dropped, errors
