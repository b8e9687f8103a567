"""What a patch point costs, in instructions: per call, and masked by a commit. Counted by an emulated core.

QEMU's ``-icount shift=0`` lets one instruction take one nanosecond of emulated time, and SysTick counts 25 MHz of
that: 40 instructions a tick, over 200,000 calls. Emulators count instructions, not cycles.

Release and plain ELF are compared with their disassembly, and a figure that differs is not reported.

What a commit masks is counted by QEMU too: every instruction executed in the functions that mask is logged, and those
between ``cpsid`` and the end of masking are counted. The board's own figure has to be the same.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.table import Row, at_most
from bench.tools import ROOT, hotflash, run
from hotflash.board import Board
from hotflash.sim import Sim, build_bootloader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER = Path(__file__).resolve().parent / "calls"
BOARD = "mps2-an386"
CALLS = 200_000
LOOP = 4
"""Instructions of the measuring loop around the function: mov, bl, subs, bne."""
RESULT = 3 * 5 + 1
"""What work_0(5) returns as flashed; one more when it is patched."""
NANOSECONDS_PER_TICK = 40
PATIENCE = 30.0


def _build(where: Path, name: str, *settings: str) -> Path:
    out = where / name
    run(["make", "-s", "-C", FOLDER, f"BUILD={out}", f"BOARD={BOARD}", f"HOTFLASH_SDK={ROOT}", *settings])
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


def _per_call(lines: Iterator[tuple[int, int]], result: int, runs: int) -> float:
    """Instructions per turn of the loop: the least of some measurements, for interrupts only ever add."""
    ticks = []
    for count, said in lines:
        if said == result:
            ticks.append(count)
        if len(ticks) == runs:
            return min(ticks) * NANOSECONDS_PER_TICK / CALLS
    raise TimeoutError


def _straight(elf: Path, function: str) -> list[str]:
    """Mnemonics of a function without branches but its return, as the disassembler has them."""
    text = run(["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", f"--disassemble={function}", elf])
    code = re.findall(r"^\s*[0-9a-f]+:\s+([a-z][\w.]*)", text, re.MULTILINE)
    while code and code[-1] == "nop":
        code.pop()  # padding
    if not code or code[-1] != "bx" or any(name.startswith(("b", "cb")) for name in code[:-1]):
        raise ValueError(f"{function} is not what is measured here: {' '.join(code)}")
    return code


def _agree(what: str, counted: float, expected: int) -> None:
    """Emulator and disassembler have to tell the same, or neither figure is worth printing."""
    if abs(counted - expected) > 0.05:
        raise ValueError(f"{what}: {counted:.3f} instructions were counted, the disassembly has {expected}")


def _figure(elf: Path | None, where: Path, runs: int, *, args: Sequence[str] = (), image: Path | None = None) -> float:
    log = where / f"{(elf or image or where).stem}-{len(args)}.log"
    log.unlink(missing_ok=True)
    with Sim(Board.find(BOARD), elf, image=image, icount=0, args=[*_semihosting(log), *args]):
        return _per_call(_lines(log), RESULT, runs)


def _export(where: Path, elf: Path) -> tuple[Path, Path]:
    """A project folder, and the hex file of bootloader and hot image."""
    project = where / "project"
    project.mkdir(exist_ok=True)
    image = where / "hooked.hex"
    hotflash(project, "export", elf, "--board", BOARD, "--with-bootloader", "-o", image)
    return project, image


def calls(*, quick: bool = False) -> list[Row]:
    """Instructions of a call in four builds."""
    runs = 2 if quick else 5  # of the patched ones the first may contain the push
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        alone = _build(where, "release", "HOTFLASH=0")
        flags = [*Board.find(BOARD).cflags, "-O2", "-c"]
        run(["arm-none-eabi-gcc", *flags, FOLDER / "work.c", "-o", where / "work.o"])
        body = len(_straight(where / "work.o", "work_0"))  # compiled without anything of hotflash
        release = _figure(alone, where, runs)
        _agree("release", release, LOOP + body)

        elf = _build(where, "hot")
        nops = len(_straight(elf, "work_0")) - body
        plain = _figure(None, where, runs, args=["-device", f"loader,file={elf}"])
        _agree("plain ELF", plain, LOOP + body + nops)

        project, image = _export(where, elf)
        patch = _build(where, "patch", "CPPFLAGS=-DSTEP=2")
        log = where / "hooked.log"
        with Sim(Board.find(BOARD), image=image, icount=0, args=_semihosting(log)) as sim:
            idle = _per_call(_lines(log), RESULT, runs)
            hotflash(project, "push", "--port", sim.url, "--elf", elf, patch.parent / "work.o")
            patched = _per_call(_lines(log), RESULT + 1, runs)
        wide = _build(where, "wide", "HOTFLASH_NOPS=6")
        _, image = _export(where, wide)
        six = _figure(None, where, runs, image=image)
    topic = "call"
    rate = round(release, 2)
    return [
        at_most(
            topic, "release (HOTFLASH=0)", rate, LOOP + body, "instructions", f"loop of {LOOP}, function of {body}"
        ),
        at_most(topic, "plain ELF, on top", round(plain - release, 2), 4, "instructions", f"{nops} nops"),
        at_most(topic, "hooked and idle, on top", round(idle - release, 2), 2, "instructions", "mov.w, ldr.w pc"),
        at_most(topic, "hooked and patched, on top", round(patched - release, 2), 2, "instructions", "runs in a slot"),
        at_most(
            topic, "hooked with 6 nops, on top", round(six - release, 2), 3, "instructions", "movw, movt, ldr.w pc"
        ),
    ]


def _masked_code(boot: Path) -> tuple[str, dict[int, str]]:
    """Where the commit and the writing of slots mask interrupts: QEMU's filter, and instructions by address."""
    code: dict[int, str] = {}
    ranges = []
    for function in ("hf_arch_swap", "hf_arch_heap_write"):
        text = run(["arm-none-eabi-objdump", "-d", "--no-show-raw-insn", f"--disassemble={function}", boot])
        found = {int(at, 16): name for at, name in re.findall(r"^\s*([0-9a-f]+):\s+(.*)$", text, re.MULTILINE)}
        if not any(name.startswith("cpsid") for name in found.values()):
            raise ValueError(f"{function} does not mask interrupts; another function must do it now")
        code |= found
        ranges.append(f"{min(found):#x}..{max(found) + 3:#x}")
    return ",".join(ranges), code


def stretches(trace: str, code: dict[int, str]) -> list[int]:
    """Instructions of each stretch with interrupts masked: behind ``cpsid``, up to the one that ends it."""
    found: list[int] = []
    counting = False
    for at in re.findall(r"\[[0-9a-f]+/([0-9a-f]+)/", trace):
        name = " ".join(code.get(int(at, 16), "").lower().split())
        if counting:
            found[-1] += 1
        if name.startswith("cpsid"):
            found.append(0)
            counting = True
        elif name.startswith(("msr primask", "cpsie")):
            counting = False
    return found


def masked(*, quick: bool = False) -> list[Row]:
    """Instructions that a commit executes with interrupts masked, of one function and of eleven."""
    many = 3 if quick else 11
    board = Board.find(BOARD)
    span, code = _masked_code(build_bootloader(board))
    counted: list[int] = []
    said: list[int] = []
    longest = 0
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        elf = _build(where, "hot")
        project, image = _export(where, elf)
        trace, log = where / "masked.trace", where / "masked.log"
        options = ["-singlestep", "-d", "exec,nochain", "-D", str(trace), "-dfilter", span]
        with Sim(board, image=image, icount=0, args=[*_semihosting(log), *options]) as sim:
            for count in (1, many):
                made = where / f"some{count}" / "work.o"
                made.parent.mkdir()
                lines = [f"int work_{i}(int x); int work_{i}(int x) {{ return x + {count}; }}" for i in range(count)]
                (made.parent / "work.c").write_text("\n".join(lines))
                flags = (ROOT / "bootloader" / "app" / "hot.cflags").read_text().split()
                run(["arm-none-eabi-gcc", *board.cflags, "-O2", *flags, "-c", "work.c", "-o", made], made.parent)
                options = ["--mode", "now", "--json", "--port", sim.url, "--elf", str(elf)]
                report = json.loads(hotflash(project, "push", *options, made))
                if len(report["changes"]) != count:
                    raise ValueError(f"{len(report['changes'])} functions were replaced, not {count}")
                said.append(report["masked"])
        found = stretches(trace.read_text(), code)
    # A commit's stretch is long, of a heap write's there are many short ones.
    counted = sorted(found)[-2:]
    longest = sorted(found)[-3] if len(found) > 2 else 0
    if counted != sorted(said):
        raise ValueError(f"the emulator counted stretches of {counted} instructions, the board says {said}")
    how = "counted in the emulator's trace; the board says the same"
    return [
        at_most("masked", "commit of one function", counted[0], 32, "instructions", how),
        at_most(
            "masked", "each further function", (counted[1] - counted[0]) / (many - 1), 10, "instructions", f"of {many}"
        ),
        Row("masked", "longest, writing a slot", longest, "instructions", how=f"{len(found) - 2} stretches"),
    ]
