"""Link time of a generated object with 100 functions and some 2,000 relocations, against one run of GNU ld.

Both get the same object and the same firmware symbols. hotflash's figure is what a watching host does on every
save: read the object from disk, compare it with what is live, and link what changed (here: everything) for granted
addresses. GNU ld's figure is one process that links the object with ``--just-symbols``. Prints the median of each
and their ratio as a table row. The functions are generated from a printed seed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hotflash.elf.object import ObjectFile
from hotflash.link import plan
from tests.link.device import Device
from tests.link.toolchain import Workshop


def generate(seed: int, factor: int) -> str:
    """A hundred functions with calls, globals, statics and strings; ``factor`` makes a changed version of each."""
    draw = random.Random(seed)
    lines = [f"extern int global_{i};" for i in range(40)]
    lines += [f"static int static_{i};" for i in range(40)]
    lines += ["int helper(int, ...); void text(const char *);"]
    lines += [f"int function_{i}(int);" for i in range(100)]
    for i in range(100):
        lines.append(f"int function_{i}(int x) {{ static int calls; calls += x * {factor};")
        for _ in range(6):
            lines.append(f"  global_{draw.randrange(40)} += function_{draw.randrange(100)}(x + {draw.randrange(99)});")
        lines.extend(f"  static_{draw.randrange(40)} ^= helper(x, {k});" for k in range(3))
        lines.append(f'  text("function {i} of version {factor}"); return calls; }}')
    lines.append("int start(void) { return " + " + ".join(f"function_{i}(1)" for i in range(100)) + "; }")
    return "\n".join(lines)


def helper() -> str:
    """The other unit."""
    lines = [f"int global_{i};" for i in range(40)]
    return "\n".join([*lines, "int helper(int x, ...) { return x; }", "void text(const char *t) { global_0 += *t; }"])


def main() -> None:
    """Measures and prints the row."""
    parser = argparse.ArgumentParser(description="host link time against GNU ld")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        firmware = shop.firmware(shop.compile(generate(args.seed, 1)), shop.compile(helper(), "b.c"))
        changed = shop.compile(generate(args.seed, 3))
        device = Device(firmware)
        count = sum(len(changed.relocations(s.index)) for s in changed.sections if s.name.startswith(".text."))
        functions = sum(1 for s in changed.sections if s.name.startswith(".text.f"))
        live = device.live

        def ours() -> float:
            start = time.perf_counter()
            made = plan([ObjectFile.load(changed.name)], firmware, live)
            grants = device.grant(made)
            linked = made.link(grants)
            spent = time.perf_counter() - start
            assert len(linked.pairs) >= functions
            return spent

        def theirs() -> float:
            start = time.perf_counter()
            subprocess.run(
                ["arm-none-eabi-ld", "-o", f"{folder}/out.elf", f"--just-symbols={firmware.path}", "-Ttext=0x20040000",
                 "--allow-multiple-definition", "-e", "0", changed.name],
                check=True, capture_output=True,
            )  # fmt: skip
            return time.perf_counter() - start

        ours(), theirs()  # warm: the firmware's tables, the disk's cache
        rounds = [(ours(), theirs()) for _ in range(args.runs)]
        mine = statistics.median(r[0] for r in rounds)
        ld = statistics.median(r[1] for r in rounds)
    print(f"seed {args.seed}", file=sys.stderr)
    print("| host link, warm | functions | relocations | hotflash ms | GNU ld ms | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(f"| one object | {functions} | {count} | {mine * 1e3:.1f} | {ld * 1e3:.1f} | {mine / ld:.2f} |")


if __name__ == "__main__":
    main()
