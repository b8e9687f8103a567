"""What a patch point costs, in instructions: per call, and masked by a commit. Counted by an emulated core.

QEMU's ``-icount shift=0`` lets one instruction take one nanosecond of emulated time, and SysTick counts 25 MHz of
that: 40 instructions a tick, over 200,000 calls. Emulators count instructions, not cycles.

What a commit masks is counted by QEMU too: every instruction of hf_arch_swap that is executed is logged, and those
between ``cpsid`` and the end of masking are counted.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.table import NotMeasured, Row, at_most
from hotflash.board import Board
from hotflash.sim import Sim, build_bootloader

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parent / "calls"
ROOT = FOLDER.parents[1]
BOARD = "mps2-an386"
CALLS = 200_000
NANOSECONDS_PER_TICK = 40
PATIENCE = 30.0


def _hotflash(project: Path, *arguments: str) -> str:
    done = subprocess.run(["hotflash", *arguments], cwd=project, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"hotflash {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _build(where: Path, name: str, *settings: str) -> Path:
    out = where / name
    command = ["make", "-s", "-C", str(FOLDER), f"BUILD={out}", f"BOARD={BOARD}", f"HOTFLASH_SDK={ROOT}", *settings]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    subprocess.run(command, check=True, env=environment)
    return out / "calls.elf"


def _lines(log: Path, after: int = 0) -> Iterator[tuple[int, int]]:
    """(ticks, result) as the application says them, from the ``after``-th on."""
    end = time.monotonic() + PATIENCE
    seen = after
    while time.monotonic() < end:
        text = log.read_text().splitlines() if log.exists() else []
        for line in text[seen:]:
            if re.fullmatch(r"[0-9a-f]{8} [0-9a-f]{8}", line):
                yield int(line[:8], 16), int(line[9:], 16)
                seen += 1
        time.sleep(0.01)  # polls a file that another process writes
    raise TimeoutError("the application says nothing")


def _semihosting(log: Path) -> list[str]:
    return ["-semihosting-config", "enable=on,target=native,chardev=said", "-chardev", f"file,id=said,path={log}"]


def _per_call(lines: Iterator[tuple[int, int]], result: int) -> float:
    """Instructions per turn of the loop: the least of some measurements, for interrupts only ever add."""
    ticks = []
    for count, said in lines:
        if said == result:
            ticks.append(count)
        if len(ticks) == 5:
            return min(ticks) * NANOSECONDS_PER_TICK / CALLS
    raise TimeoutError


def _alone(where: Path, board: Board) -> float:
    elf = _build(where, "release", "HOTFLASH=0")
    log = where / "release.log"
    with Sim(board, elf, icount=0, args=_semihosting(log)):
        return _per_call(_lines(log), 3 * 5 + 1)


def _plain(where: Path, board: Board, elf: Path) -> float:
    log = where / "plain.log"
    load = ["-device", f"loader,file={elf}"]
    with Sim(board, icount=0, args=[*_semihosting(log), *load]):
        return _per_call(_lines(log), 3 * 5 + 1)


def _hooked(where: Path, board: Board, elf: Path) -> tuple[float, float]:
    """Idle and patched."""
    log = where / "hooked.log"
    project = where / "project"
    project.mkdir()
    image = where / "hooked.hex"
    _hotflash(project, "export", str(elf), "--board", BOARD, "--with-bootloader", "-o", str(image))
    with Sim(board, image=image, icount=0, args=_semihosting(log)) as sim:
        idle = _per_call(_lines(log), 3 * 5 + 1)
        patch = _build(where, "patch", "CPPFLAGS=", "HF_BOARD_CFLAGS=-mcpu=cortex-m4 -mthumb -mfloat-abi=soft -DSTEP=2")
        _hotflash(project, "push", "--port", sim.url, "--elf", str(elf), str(patch.parent / "work.o"))
        return idle, _per_call(_lines(log), 3 * 5 + 2)


def _masked(where: Path, board: Board, elf: Path) -> tuple[int, int]:
    """Instructions that a commit of one and of eleven functions executes with interrupts masked."""
    boot = build_bootloader(board)
    listing = subprocess.run(
        ["arm-none-eabi-objdump", "-d", "--disassemble=hf_arch_swap", str(boot)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    code = re.findall(r"^\s*([0-9a-f]+):\s+(?:[0-9a-f]{4} ?)+\s+(\S+)\s*(.*)$", listing, re.MULTILINE)
    first, last = int(code[0][0], 16), int(code[-1][0], 16)
    on = next(int(at, 16) for at, name, _ in code if name == "cpsid")
    off = next(int(at, 16) for at, name, _ in code if int(at, 16) > on and name in ("msr", "cpsie"))
    trace = where / "swap.log"
    project = where / "masked"
    project.mkdir()
    image = where / "masked.hex"
    _hotflash(project, "export", str(elf), "--board", BOARD, "--with-bootloader", "-o", str(image))
    spans = []
    options = ["-singlestep", "-d", "exec,nochain", "-D", str(trace), "-dfilter", f"{first:#x}..{last + 3:#x}"]
    log = where / "masked.log"
    with Sim(board, image=image, icount=0, args=[*_semihosting(log), *options]) as sim:
        for count in (1, 11):
            source = where / f"some{count}.c"
            body = "\n".join(
                f"int work_{i}(int x); int work_{i}(int x) {{ return x + {count}; }}" for i in range(count)
            )
            source.write_text(body)
            flags = (ROOT / "bootloader/app/hot.cflags").read_text().split()
            made = where / f"some{count}" / "work.o"
            made.parent.mkdir()
            shutil.copy(source, made.parent / "work.c")
            subprocess.run(
                ["arm-none-eabi-gcc", *board.cflags, "-O2", *flags, "-c", "work.c", "-o", str(made)],
                cwd=made.parent,
                check=True,
            )
            _hotflash(project, "push", "--mode", "now", "--port", sim.url, "--elf", str(elf), str(made))
    executed = [int(at, 16) for at in re.findall(r"\[[0-9a-f]+/([0-9a-f]+)/", trace.read_text())]
    for at in executed:
        if at == on:
            spans.append(0)
        if spans and on < at <= off:
            spans[-1] += 1
    if len(spans) != 2:
        raise RuntimeError(f"{len(spans)} swaps were seen, not 2")
    return spans[0], spans[1]


def rows() -> list[Row | NotMeasured]:
    """Cost of calls and commits."""
    board = Board.find(BOARD)
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        release = _alone(where, board)
        elf = _build(where, "hot")
        plain = _plain(where, board, elf)
        idle, patched = _hooked(where, board, elf)
        one, eleven = _masked(where, board, elf)
    how = "per turn of the measuring loop, the function's body included"
    topic = "call"
    return [
        Row(topic, "release (HOTFLASH=0)", release, "instructions", how=how),
        Row(topic, "plain ELF, on top", plain - release, "instructions", "4 nops", round(plain - release, 2) <= 4),
        at_most(topic, "hooked and idle, on top", round(idle - release, 3), 2, "instructions"),
        at_most(topic, "hooked and patched, on top", round(patched - release, 3), 2, "instructions"),
        at_most("masked", "commit of one function", one, 32, "instructions", "counted in the emulator's trace"),
        at_most("masked", "each further function", (eleven - one) / 10, 10, "instructions", "of eleven in one commit"),
    ]
