"""Link time of an object with 100 functions and some 2,000 relocations, against one run of GNU ld.

Every kind is there but those of thread-local variables, of which the firmware has none.

Both get the same object and the same firmware symbols. hotflash's figure is what a watching host does on every
save: read the object from disk, compare it with what is live, and link what changed for granted addresses. The host
is warm: it has linked two earlier versions of the object, and each version that is measured is another one than the
one before, committed to the device: all functions differ from what is live, or one of them does. GNU ld's figure is
one process that links the object with ``--just-symbols``. The functions are generated from a seed.

What a machine that is busy does to the clock it does less to CPU time, which is given as well.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.table import Row, below
from bench.tools import median, spread
from hotflash.elf.object import ObjectFile
from hotflash.link import plan, reloc
from tests.link.device import Device
from tests.link.kinds import every_kind
from tests.link.toolchain import Workshop

SEED = 1
FUNCTIONS = 100


def generate(seed: int, factor: int, count: int = FUNCTIONS) -> str:
    """Functions with calls, globals, statics and strings; ``factor`` makes a changed version of each."""
    draw = random.Random(seed)
    lines = [f"extern int global_{i};" for i in range(40)]
    lines += [f"static int static_{i};" for i in range(40)]
    lines += ["int helper(int, ...); void text(const char *);"]
    lines += [f"int function_{i}(int);" for i in range(count)]
    for i in range(count):
        lines.append(f"int function_{i}(int x) {{ static int calls; calls += x * {factor};")
        for _ in range(6):
            lines.append(
                f"  global_{draw.randrange(40)} += function_{draw.randrange(count)}(x + {draw.randrange(99)});"
            )
        lines.extend(f"  static_{draw.randrange(40)} ^= helper(x, {k});" for k in range(3))
        lines.append(f'  text("function {i} of version {factor}"); return calls; }}')
    # One more in assembly: compilers write few of the kinds that there are.
    text = ".syntax unified\n.pushsection .text\n" + every_kind("every", "helper", "global_1") + ".popsection\n"
    lines.append(f"__asm__({json.dumps(text)}); int every(int);")
    lines.append("int start(void) { return every(1) + " + " + ".join(f"function_{i}(1)" for i in range(count)) + "; }")
    return "\n".join(lines)


def helper() -> str:
    """The other unit."""
    lines = [f"int global_{i};" for i in range(40)]
    return "\n".join([*lines, "int helper(int x, ...) { return x; }", "void text(const char *t) { global_0 += *t; }"])


@dataclass
class Runs:
    """What some runs took, in milliseconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def rows(self, what: str, how: str = "") -> list[Row]:
        """The median, and the least that other work on the machine left of it."""
        lead = f"{how}; " if how else ""
        return [
            Row("link", what, median(self.wall), "ms", how=f"{lead}{spread(self.wall)}"),
            Row("link", f"{what}: CPU time", median(self.cpu), "ms", how=spread(self.cpu)),
        ]


def link(*, quick: bool = False) -> list[Row]:
    """Both, in turns, so that what else the machine does meets both."""
    runs, size = (4, 10) if quick else (36, FUNCTIONS)
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        firmware = shop.firmware(shop.compile(generate(SEED, 1, size)), shop.compile(helper(), "b.c"))
        sources = [generate(SEED, factor, size) for factor in (3, 5, 9)]
        versions = [shop.compile(source) for source in sources]
        edited = [shop.compile(source.replace("calls += x * 3", f"calls += x * {n}", 1))
                  for source, n in ((sources[0], 5), (sources[0], 9))]  # fmt: skip
        changed = versions[0]
        count = sum(len(changed.relocations(s.index)) for s in changed.sections if s.name.startswith(".text."))
        wanted = set(reloc.KINDS) - reloc.THREAD
        missing = wanted - {kind for s in changed.sections for _, kind, _, _ in changed.relocations(s.index)}
        if missing:
            raise ValueError(f"the object has no {', '.join(map(reloc.name_of, sorted(missing)))}")
        functions = sum(1 for s in changed.sections if s.name.startswith(".text.f"))

        def ours(device: Device, version: ObjectFile, number: int, runs: Runs) -> None:
            """One version, planned and linked; then it is live."""
            live = device.live
            wall, cpu = time.perf_counter(), time.process_time()
            made = plan([ObjectFile.load(version.name)], firmware, live)
            spent = time.perf_counter() - wall, time.process_time() - cpu
            grants = device.grant(made)
            wall, cpu = time.perf_counter(), time.process_time()
            linked = made.link(grants)
            spent = spent[0] + time.perf_counter() - wall, spent[1] + time.process_time() - cpu
            if len(linked.pairs) != number:
                raise ValueError(f"{len(linked.pairs)} of {number} functions were linked")
            runs.wall.append(spent[0] * 1e3)
            runs.cpu.append(spent[1] * 1e3)
            device.commit(made)

        out = Path(folder) / "out.elf"
        command = ["arm-none-eabi-ld", "-o", str(out), f"--just-symbols={firmware.path}", "-Ttext=0x20040000"]
        command += ["--allow-multiple-definition", "-e", "0", changed.name]

        def theirs(runs: Runs) -> None:
            before = _children()
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            runs.wall.append((time.perf_counter() - start) * 1e3)
            runs.cpu.append((_children() - before) * 1e3)

        first, every, one, ld = Runs(), Runs(), Runs(), Runs()
        for _ in range(runs // 2):  # a device whose heap is new: nothing is freed on this one
            device = Device(firmware)
            ours(device, versions[0], functions, first)
            ours(device, versions[1], functions, every if len(first.wall) > 1 else Runs())
            theirs(ld)
            ours(device, versions[2], functions, every if len(first.wall) > 1 else Runs())
            theirs(ld)
            device = Device(firmware)
            ours(device, versions[0], functions, Runs())
            ours(device, edited[0], 1, one)
            ours(device, edited[1], 1, one)
    what = f"{functions} functions, {count:,} relocations of {len(wanted)} kinds"
    # Of many runs the fastest says what the work takes; the median, on a busy machine, what else there was to do.
    ratio = min(every.wall) / min(ld.wall)
    how = f"seed {SEED}; fastest against fastest; medians {median(every.wall) / median(ld.wall):.2f}, "
    how += f"CPU time {min(every.cpu) / min(ld.cpu):.2f}"
    return [
        *every.rows("hotflash, warm, all functions changed", what),
        *one.rows("hotflash, warm, one function changed"),
        *ld.rows("one run of GNU ld"),
        below("link", "hotflash against GNU ld, all functions changed", ratio, 1, "times as long", how),
    ]


def _children() -> float:
    """CPU seconds of the processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
