"""Interrupts during uploads and commits: what they see of the MPU, that they nest, and that they are on time.

Emulated with ``-icount shift=0``: an instruction takes a nanosecond of emulated time, so the application's timer, of 25
MHz, counts 40 instructions a tick whatever the machine does besides.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hotflash.board import Board
from hotflash.sim import build_bootloader
from tests.system.observe import until
from tests.system.project import Project

SOURCES = Path(__file__).parent / "mpu_app"
PER_TICK = 40
"""Instructions."""
RECEIVE = 1_200
"""Instructions of one receive interrupt, 16 bytes at most, with a margin. The monitor itself, which is handling
frames and writing slots meanwhile, may add no more than its masked stretches. (On a line with a baud rate there
is a byte in such an interrupt, seldom two; the emulated one has none.)"""
BIG = 16_000
"""Instructions of two bytes in the big function: 32 KB to upload."""
EDIT_BIG = (
    "return x + 1u;",
    f'__asm__ volatile(".rept {BIG}\\n\\tadds %0, #1\\n\\t.endr" : "+r"(x)::"cc");\n    return x;',
)


@pytest.fixture(scope="module")
def board_dut(built: Project, dut_factory: Any) -> Iterator[Any]:
    elf = built.folder / "build" / "app.elf"
    with dut_factory(board=built.board, elf=elf, folder=built.folder, icount=0) as dut:
        yield dut


@pytest.fixture
def dut(board_dut: Any) -> Any:
    board_dut.reset()
    until(lambda: board_dut.read("turns"), lambda turns: turns > 0, "turns of the loop")
    return board_dut


def push(dut: Any, project: Project, *edits: tuple[str, str]) -> Any:
    project.restore("main.c")
    project.edit("main.c", *edits)
    return dut.push(project.compile("main.c"))


def function(board: Board, name: str) -> tuple[int, int]:
    """First address of a function of the bootloader, and one past its end."""
    text = subprocess.run(
        ["arm-none-eabi-nm", "-S", build_bootloader(board)], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(rf"^(\w+) (\w+) [tT] {name}$", text, re.MULTILINE)
    assert found is not None
    start = int(found[1], 16) & ~1
    return start, start + int(found[2], 16)


def test_nothing_is_writable_and_executable_while_slots_are_written(dut: Any, project: Project, board: Board) -> None:
    """The application's timer walks the MPU's registers wherever it hits, also in the middle of the monitor's writing.

    By then the timer's handler runs in a slot itself, as do three others: one that is preempted by the second
    and followed by the third.
    """
    regions = board.regions
    for i, (name, writes, executes) in enumerate(
        (
            ("HF_HEAP", 0, 1),
            ("HF_HOOKS", 0, 0),
            ("HF_APP", 0, 1),
            ("HF_RAM", 1, 0),
            ("HF_DATA", 1, 0),
            ("HF_HEAP", 0, 1),
        )
    ):
        address = regions[name].origin + (0x1234 if i < 5 else regions[name].length - 4)
        dut.write(f"expected[{i}]", f"{{{address}, {writes}, {executes}}}")
    low, high = function(board, "hf_arch_heap_write")
    dut.write("write_low", low)
    dut.write("write_high", high)
    push(
        dut,
        project,
        ("new_in_write += 0;", "new_in_write += 1;"),
        *((f"runs[0][{i}]++", f"runs[1][{i}]++") for i in range(3)),
    )
    dut.write("period", 31)
    until(lambda: dut.read("runs")[1], lambda runs: min(runs) > 0, "the new handlers")
    old = dut.read("runs")[0]

    push(
        dut,
        project,
        EDIT_BIG,
        ("new_in_write += 0;", "new_in_write += 1;"),
        *((f"runs[0][{i}]++", f"runs[1][{i}]++") for i in range(3)),
    )

    dut.write("period", 25_000)
    until(lambda: dut.read("answer"), lambda answer: answer == 1 + BIG, "the big function")
    seen = {name: dut.read(name) for name in ("timers", "in_monitor", "in_write", "new_in_write", "wrong")}
    print(seen)
    assert seen["wrong"] == 0, [hex(dut.read(f"wrong_{name}")) for name in ("address", "attributes", "control")]
    assert seen["in_write"] >= seen["new_in_write"] > 3, "the timer hardly hit while slots were written"
    assert dut.read("order_broken") == 0
    assert min(old) > 0
    assert dut.read("runs")[0] == old, "an old handler ran after the commit"
    assert dut.status().counters["drift"] == 0
    assert dut.status().counters["masked_max"] <= 32


def late(dut: Any) -> tuple[int, int, int]:
    """Timer interrupts since the last call, how late all of them and the latest were, in ticks."""
    count, total, most = (dut.read(name) for name in ("timers", "late_sum", "late_max"))
    for name in ("timers", "late_sum", "late_max"):
        dut.write(name, 0)
    return count, total, most


def test_higher_interrupts_keep_their_latency_during_an_upload(dut: Any, project: Project) -> None:
    """The timer is at priority 0, so that only interrupts that are at work already, and masking, can hold it up."""
    dut.write("awake", 1)  # while the core sleeps, emulated time is the machine's
    dut.write("period", 211)
    late(dut)
    until(lambda: dut.read("timers"), lambda timers: timers > 2000, "timer interrupts")
    idle = late(dut)
    push(dut, project, EDIT_BIG)
    busy = late(dut)
    dut.write("period", 25_000)
    dut.write("awake", 0)
    for name, (count, total, most) in (("idle", idle), ("upload", busy)):
        print(
            f"{name}: {count} interrupts, {total * PER_TICK / count:.1f} instructions late, {most * PER_TICK} at most"
        )
        assert count > 1000
        assert total * PER_TICK / count < 20
        assert most * PER_TICK <= RECEIVE
