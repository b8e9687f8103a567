"""Link time of an object with 100 functions and some 2,000 relocations, against one run of GNU ld.

Every kind is there but those of thread-local variables, of which the firmware has none.

Both get the same object and the same firmware symbols. hotflash's figure is what a watching host does on every
save: read the object from disk, compare it with what is live, and link what changed (here: everything) for granted
addresses. GNU ld's figure is one process that links the object with ``--just-symbols``. The functions are
generated from a seed.
"""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
import time
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


def link(*, quick: bool = False) -> list[Row]:
    """Both, in turns, so that what else the machine does meets both."""
    runs, size = (1, 10) if quick else (25, FUNCTIONS)
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        firmware = shop.firmware(shop.compile(generate(SEED, 1, size)), shop.compile(helper(), "b.c"))
        changed = shop.compile(generate(SEED, 3, size))
        device = Device(firmware)
        count = sum(len(changed.relocations(s.index)) for s in changed.sections if s.name.startswith(".text."))
        wanted = set(reloc.KINDS) - reloc.THREAD
        missing = wanted - {kind for s in changed.sections for _, kind, _, _ in changed.relocations(s.index)}
        if missing:
            raise ValueError(f"the object has no {', '.join(map(reloc.name_of, sorted(missing)))}")
        functions = sum(1 for s in changed.sections if s.name.startswith(".text.f"))
        live = device.live

        def ours() -> float:
            start = time.perf_counter()
            made = plan([ObjectFile.load(changed.name)], firmware, live)
            grants = device.grant(made)
            linked = made.link(grants)
            spent = time.perf_counter() - start
            if len(linked.pairs) < functions:
                raise ValueError(f"{len(linked.pairs)} of {functions} functions were linked")
            return spent * 1e3

        out = Path(folder) / "out.elf"
        command = ["arm-none-eabi-ld", "-o", str(out), f"--just-symbols={firmware.path}", "-Ttext=0x20040000"]
        command += ["--allow-multiple-definition", "-e", "0", changed.name]

        def theirs() -> float:
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            return (time.perf_counter() - start) * 1e3

        ours(), theirs()  # warm: the firmware's tables, the disk's cache
        rounds = [(ours(), theirs()) for _ in range(runs)]
    mine, ld = [r[0] for r in rounds], [r[1] for r in rounds]
    what = f"{functions} functions, {count:,} relocations of {len(wanted)} kinds, all changed"
    return [
        Row("link", "hotflash, warm", median(mine), "ms", how=f"{what}; {spread(mine)}"),
        Row("link", "one run of GNU ld", median(ld), "ms", how=spread(ld)),
        below("link", "hotflash against GNU ld", median(mine) / median(ld), 1, "times as long", f"seed {SEED}"),
    ]
