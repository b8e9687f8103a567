"""The adversarial application, many versions of its functions, and bootloaders with one check taken out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hotflash import sdk
from hotflash.board import Board
from tests.system.project import Project

APP = Path(__file__).parent / "app"
UNITS = ("leaf", "deep", "ping", "pong", "tail", "visit", "jump", "coro", "worker", "irq", "sched")
"""Units that any commit may replace."""
LOCK = "lock"
"""The unit that only safe commits may replace."""
VERSIONS = 8
RAM, HEAP = 32, 64
"""KiB: little, so that freed slots are taken again soon, and a scan takes no time."""
MAIN = "mps2-an386"


def make_board(folder: Path) -> Board:
    """The board, with less memory."""
    source = sdk.boards_dir() / MAIN
    shutil.copytree(source, folder)
    memory = folder / "memory.ld"
    text = memory.read_text(encoding="utf-8")
    for name, size in (("HF_HEAP", HEAP), ("HF_RAM", RAM)):
        text, changed = re.subn(rf"({name} .*LENGTH = )256K", rf"\g<1>{size}K", text)
        assert changed == 1
    memory.write_text(text, encoding="utf-8")
    return Board.find(str(folder))


@dataclass(frozen=True)
class Firmware:
    """What a run needs."""

    board: Board
    elf: Path
    objects: dict[str, list[Path]]
    """Versions by unit, the flashed one not among them."""


def build(folder: Path, versions: int = VERSIONS) -> Firmware:
    """Compiles and links; the base image is version 0."""
    board = make_board(folder / MAIN)
    project = Project(folder / "project", board, APP)
    elf = project.link()
    names = [(unit, number) for unit in (*UNITS, LOCK) for number in range(1, versions + 1)]

    def compile_one(name: tuple[str, int]) -> Path:
        unit, number = name
        flags = [*sdk.cflags(board), f"-DVERSION={number}"]
        return project.compile(f"{unit}.c", name=f"{unit}-{number}", flags=flags)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = dict(zip(names, pool.map(compile_one, names), strict=True))
    return Firmware(board, elf, {unit: [path for (of, _), path in made.items() if of == unit] for unit, _ in names})


@dataclass(frozen=True)
class Mutant:
    """A bootloader that lacks one check; the soak must fail on it."""

    name: str
    edits: tuple[tuple[str, str], ...]
    """Texts of ``src/reaper.c``, each standing there once, and what takes their place."""
    told: bool
    """Whether the application tells of its stacks."""
    pushes: int
    """Within so many it has to be caught."""


_SCAN = "static void scan_area(void (*mark)(uint32_t), uint32_t low, uint32_t high)\n{\n"
_MARK_WORD = "            mark(word);\n"
_ON_A_STACK = """static bool on_a_stack(uint32_t at)
{
    struct hf_context context;
    struct hf_told told = {0};

    hf_arch_context(&context);
    for (uint32_t next = 0; hf_task_stack(&next, &context, &told);) {
        if (at - told.live.low < told.live.high - told.live.low) {
            return true;
        }
    }
    for (uint32_t i = 0; i < HF_CONTEXT_STACKS; i++) {
        if (at - context.stack[i].low < context.stack[i].high - context.stack[i].low) {
            return true;
        }
    }
    return false;
}

"""

MUTANTS = (
    Mutant(
        "stacks",
        ((_SCAN, _ON_A_STACK + _SCAN), (_MARK_WORD, "            if (!on_a_stack(at)) {\n    mark(word);\n }\n")),
        told=True,
        pushes=300,
    ),
    Mutant(
        "ram",
        ((_SCAN, _ON_A_STACK + _SCAN), (_MARK_WORD, "            if (on_a_stack(at)) {\n    mark(word);\n }\n")),
        told=False,
        pushes=300,
    ),
    Mutant(
        "ram-told",  # all stacks are seen: what is left are jmp_bufs
        ((_SCAN, _ON_A_STACK + _SCAN), (_MARK_WORD, "            if (on_a_stack(at)) {\n    mark(word);\n }\n")),
        told=True,
        pushes=1000,
    ),
    Mutant(
        "pc",  # of the thread that the monitor has interrupted
        (("        mark(context.reg[i]);\n", "        if (i != 15u) {\n   mark(context.reg[i]);\n }\n"),),
        told=True,
        pushes=1000,
    ),
    Mutant(
        "stacked-pc",  # of threads that an exception has put aside
        ((_MARK_WORD, "            if ((word & 1u) != 0) {\n    mark(word);\n }\n"),),
        told=True,
        pushes=300,
    ),
    Mutant(
        "safe-pc",  # the same, as far as safe commits wait for it
        (
            (
                "        if ((returns || (at + 8u <= stack->high &&",
                "        if ((returns || (false && at + 8u <= stack->high &&",
            ),
        ),
        told=False,
        pushes=300,
    ),
)
"""On ARMv7-M a site loads the hook and jumps in one instruction, so nothing hangs on a program counter inside a base
site; the check of the program counter that matters is that inside slots."""


def build_mutant(mutant: Mutant, board: Board, folder: Path) -> Path:
    """The bootloader's sources with the mutant's change, built; returns its ``boot.elf``."""
    shutil.copytree(sdk.bootloader_dir(), folder / "bootloader", ignore=shutil.ignore_patterns("build"))
    shutil.copytree(sdk.boards_dir() / "common", folder / "boards" / "common")
    source = folder / "bootloader" / "src" / "reaper.c"
    text = source.read_text(encoding="utf-8")
    for old, new in mutant.edits:
        assert text.count(old) == 1, f"mutant {mutant.name}: the source has changed, {old!r} is not there once"
        text = text.replace(old, new)
    source.write_text(text, encoding="utf-8")
    command = ["make", "--no-print-directory", "-j2", "-C", str(folder / "bootloader"), f"BOARD={board.path}"]
    env = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run([*command, f"OUT={folder / 'out'}"], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out" / "boot.elf"
