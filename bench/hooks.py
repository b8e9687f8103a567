"""How many functions can be hooked: firmware with that many is built, flashed and patched at its far end."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.table import Row, at_least
from bench.tools import ROOT, run
from hotflash.board import Board
from hotflash.testing import DutFactory

BOARD = "mps2-an386"
EXAMPLE = ROOT / "examples" / "blink"
HOOKS, NOPS = 8192, 6
"""All that the board's hook table holds, and the patch points for so many."""
SPARE = 160
"""Hooks left for new functions and for those of start-up code."""
UNIT = 500
"""Functions a unit."""


def _unit(numbers: range, step: int) -> str:
    return "\n".join(f"int f{n}(int x); int f{n}(int x) {{ return x + {n * step}; }}" for n in numbers)


def _main(count: int) -> str:
    """Keeps all of them in the link, and goes on calling the first, the middle and the last."""
    watched = (0, count // 2, count - 1)
    lines = ["#include <stdint.h>", "void SysTick_Handler(void); void SysTick_Handler(void) {}", "int main(void);"]
    lines += [f"int f{n}(int);" for n in range(count)]
    lines += [f"int (*const all[])(int) = {{{', '.join(f'f{n}' for n in range(count))}}};"]
    lines += ["volatile uint32_t number = 0; volatile int seen[3];"]
    calls = " ".join(f"seen[{i}] = all[number + {n}u](1);" for i, n in enumerate(watched))
    lines += [f"int main(void) {{ for (;;) {{ {calls} }} }}"]
    return "\n".join(lines)


def hooks(*, quick: bool = False) -> list[Row]:
    """Patch points of a firmware that runs, and of which the first, the middle and the last were replaced."""
    count = 60 if quick else HOOKS - SPARE
    units = [range(at, min(at + UNIT, count)) for at in range(0, count, UNIT)]
    board = Board.find(BOARD)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flags = (ROOT / "bootloader" / "app" / "hot.cflags").read_text().split()
        compiler: list[str | Path] = ["arm-none-eabi-gcc", *board.cflags, "-Os", "-DCORE_HZ=25000000u", *flags]
        compiler += [f"-I{ROOT / 'bootloader' / 'include'}", f"-fpatchable-function-entry={NOPS}"]
        sources = {"main.c": _main(count)} | {f"unit{i}.c": _unit(unit, 1) for i, unit in enumerate(units)}
        for source, text in sources.items():
            (folder / source).write_text(text)
        others = [EXAMPLE / "startup.c", EXAMPLE / "syscalls.c", ROOT / "bootloader" / "app" / "hf_app.c"]
        for number, path in enumerate([*map(Path, sources), *others]):
            run([*compiler, "-c", path, "-o", f"{number}.o"], folder)
        elf = folder / "app.elf"
        link: list[str | Path] = ["-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-T", EXAMPLE / "app.ld"]
        link += [*(ROOT / "bootloader" / "app" / "hot.ldflags").read_text().split()]
        link += ["-Wl,-T," + str(ROOT / "bootloader" / "ld" / "hot.ld"), f"-L{board.path}"]
        link += [f"-L{ROOT / 'bootloader' / 'ld'}", f"-Wl,--defsym=__hf_vectors={board.vectors}"]
        link += [f"-Wl,--defsym=__hf_nops={NOPS}", f"-Wl,--defsym=__hf_hook_capacity={HOOKS}"]
        objects = [f"{number}.o" for number in range(len(sources) + len(others))]
        run(["arm-none-eabi-gcc", *board.cflags, *link, *objects, "-o", elf], folder)
        patched = []
        for number in sorted({0, len(units) // 2, len(units) - 1}):
            (folder / "new").mkdir(exist_ok=True)
            source = f"unit{number}.c"
            wanted = [n for n in (0, count // 2, count - 1) if n in units[number]]
            body = "\n".join(_unit(range(n, n + 1), 1 if n not in wanted else 3) for n in units[number])
            (folder / "new" / source).write_text(body.replace("+ 0;", "+ 7;"))
            run([*compiler, "-c", source, "-o", f"{source}.o"], folder / "new")
            patched.append(folder / "new" / f"{source}.o")
        with DutFactory(board=BOARD, port=None, elf=None, project=folder, make_folder=lambda: folder / "dut") as boards:
            dut = boards(board=board)
            flashed = dut.flash(elf)
            report = dut.push(*patched, mode="now")
            if len(report.changes) != 3:
                raise ValueError(f"{len(report.changes)} functions were replaced, not 3")
            wanted_values = [8, 1 + 3 * (count // 2), 1 + 3 * (count - 1)]
            for _ in range(1000):
                seen = dut.read("seen")
                if seen == wanted_values:
                    break
            else:
                raise ValueError(f"the application sees {seen}, not {wanted_values}")
    how = "flashed, running; first, middle and last replaced in one push"
    return [at_least("hooks", f"patch points of {NOPS} nops in one image", flashed.hooks, 8000, "hooks", how)]
