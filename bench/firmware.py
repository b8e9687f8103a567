"""What the size of the firmware costs the host: loading a large ELF, and pushing to it.

A firmware of 5,000 functions with 20 MB of debug information and one of 50 functions run on emulated boards, each with
the same unit of 50 functions in it. Versions of one of these are pushed to both in turns. What is compared is the
host's processor time, which other work on the machine disturbs least: of whole commands from a cold shell, and of
pushes in an open session.
"""

from __future__ import annotations

import json
import resource
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.table import Row, at_most
from bench.tools import ROOT, command, hotflash, median, run, spread
from hotflash import types
from hotflash.board import Board
from hotflash.elf.firmware import Firmware
from hotflash.session import Session
from hotflash.settings import load
from hotflash.store import Store
from tests.link import large

BOARD = "mps2-an386"
EXAMPLE = ROOT / "examples" / "blink"
FEW, MANY = large.PER_UNIT, 5000
TYPES = 850
"""Record types that each unit describes: 20 MB in all with 100 units."""
MAIN = """
void SysTick_Handler(void); void SysTick_Handler(void) {}
int function_0(int, const char *); int main(void); volatile int seen;
int main(void) { for (;;) { seen = function_0(2, "text"); } }
"""


class Application:
    """A firmware project of so many functions, and two versions of its first unit."""

    def __init__(self, folder: Path, functions: int, types_: int) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / ".hotflash").mkdir()
        board = Board.find(BOARD)
        hot = (ROOT / "bootloader" / "app" / "hot.cflags").read_text().split()
        self._compiler: list[str | Path] = [
            "arm-none-eabi-gcc",
            *board.cflags,
            "-Os",
            "-g",
            "-DCORE_HZ=25000000u",
            *hot,
        ]
        self._compiler += [f"-I{ROOT / 'bootloader' / 'include'}", "-fno-eliminate-unused-debug-types", "-I."]
        self._compiler += [f"-fpatchable-function-entry={large.NOPS}"]
        (folder / "vendor.h").write_text(large.header(types_))
        (folder / "main.c").write_text(MAIN)
        units = range(functions // large.PER_UNIT)
        objects = [self._compile(f"unit_{number}.c", large.unit(number, large.PER_UNIT)) for number in units]
        others = [EXAMPLE / "startup.c", EXAMPLE / "syscalls.c", ROOT / "bootloader" / "app" / "hf_app.c"]
        for path in [folder / "main.c", *others]:
            objects.append(f"{path.stem}.o")
            run([*self._compiler, "-c", path, "-o", objects[-1]], folder)
        self.elf = folder / "app.elf"
        link: list[str | Path] = ["-nostartfiles", "--specs=nano.specs", "-T", EXAMPLE / "app.ld"]
        link += [*(ROOT / "bootloader" / "app" / "hot.ldflags").read_text().split()]
        link += ["-Wl,-T," + str(ROOT / "bootloader" / "ld" / "hot.ld"), f"-L{board.path}"]
        link += [f"-L{ROOT / 'bootloader' / 'ld'}", f"-Wl,--defsym=__hf_vectors={board.vectors}"]
        link += [f"-Wl,--defsym=__hf_nops={large.NOPS}", f"-Wl,--defsym=__hf_hook_capacity={functions + 200}"]
        run(["arm-none-eabi-gcc", *board.cflags, *link, *objects, "-o", self.elf], folder)
        self.versions = []
        for factor in (3, 5):
            made = self._compile("unit_0.c", large.unit(0, large.PER_UNIT, factor))
            self.versions.append(folder / f"version{factor}" / made)
            self.versions[-1].parent.mkdir()
            shutil.move(folder / made, self.versions[-1])
        self.cold: list[float] = []
        self.warm: list[float] = []

    def _compile(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        target = f"{Path(name).stem}.o"
        run([*self._compiler, "-c", name, "-o", target], self.folder)
        return target

    def push_cold(self, number: int) -> None:
        """One push from a shell; its processor time."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = run([command(), "push", "--json", self.versions[number % 2]], self.folder)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        _one_change(json.loads(said)["state"], len(json.loads(said)["changes"]))
        self.cold.append((after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1e3)

    def push_warm(self, session: Session, number: int) -> None:
        """One push in an open session; the processor time of all threads."""
        start = time.process_time()
        report = session.push([self.versions[number % 2]])
        self.warm.append((time.process_time() - start) * 1e3)
        _one_change(report.state, len(report.changes))


def _one_change(state: str, changes: int) -> None:
    if state != "live" or changes != 1:
        raise ValueError(f"the push is {state} with {changes} changes, not live with one")


def firmware(*, quick: bool = False) -> list[Row]:
    """Loading the large one, and pushes to both in turns."""
    functions, types_, colds, warms = (4 * FEW, 20, 2, 2) if quick else (MANY, TYPES, 15, 40)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = Application(folder / "few", FEW, 20)
        many = Application(folder / "many", functions, types_)
        rows = _loads(many, 2 if quick else 15)
        both = few, many
        with ExitStack() as boards:
            for app in both:
                hotflash(app.folder, "sim", "--detach", "--board", BOARD)
                boards.callback(hotflash, app.folder, "sim", "--stop")
                hotflash(app.folder, "flash", app.elf)
            for number in range(colds):
                for app in both:
                    app.push_cold(number)
            for app in both:
                with Session.connect(load(project=app.folder), Store(app.folder)) as session:
                    session.push([app.versions[0]])
                    for number in range(1, warms + 1):
                        app.push_warm(session, number)
    how = f"processor time of the host, least of {colds}: {min(many.cold):.0f} to {min(few.cold):.0f} ms"
    rows.append(_ratio("push from a cold shell", min(many.cold) / min(few.cold), functions, how))
    how = f"processor time of the host, median of {warms}: {median(many.warm):.1f} to {median(few.warm):.1f} ms"
    rows.append(_ratio("push in an open session", median(many.warm) / median(few.warm), functions, how))
    return rows


def _ratio(what: str, value: float, functions: int, how: str) -> Row:
    return at_most("firmware", f"{what}, {functions:,} functions against {FEW}", value, 1.2, "times as long", how)


def _loads(app: Application, runs: int) -> list[Row]:
    index = app.folder / "app.idx"
    megabytes = app.elf.stat().st_size / 1e6
    start = time.perf_counter()
    first = Firmware.load(app.elf, index=index)
    before = (time.perf_counter() - start) * 1e3
    later, read = [], []
    for _ in range(runs):
        start = time.perf_counter()
        kept = Firmware.load(app.elf, index=index)
        later.append((time.perf_counter() - start) * 1e3)
        found = types.variable(kept, "shared_0")
        read.append((time.perf_counter() - start) * 1e3)
        if kept.build_id != first.build_id or found.size != 4:
            raise ValueError("the index says something else than the ELF")
    what = f"ELF of {megabytes:.1f} MB with DWARF, {first.site_count:,} functions"
    return [
        Row("firmware", "first load, which makes the index", before, "ms", how=what),
        at_most("firmware", "later loads", median(later), 100, "ms", spread(later)),
        at_most("firmware", "later loads, and a variable's type", median(read), 100, "ms", spread(read)),
    ]
