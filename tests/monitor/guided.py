"""Coverage-guided fuzzing of the monitor (fuzzer/target.c, clang's libFuzzer): ``make fuzz-monitor``, or
``python -m tests.monitor.guided --runs 10000000 --seconds 3600``.

What it found worth keeping is in ``fuzzer/corpus.txt``, an input a line in Base64, and is run by the suite.
``--keep`` minimises what this run has found into it. A finding's input is left beside the message; ``--input FILE``
runs it again.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import fields
from enum import IntEnum
from pathlib import Path

from hotflash.wire import messages as m

from . import build, image
from .board import Map
from .client import Request, packed

CORPUS = build.FUZZER / "corpus.txt"
HEAP = 0x20040000


class What(IntEnum):
    """Kinds of records, as in ``fuzzer/target.c``."""

    RAW = 0
    FRAME = 1
    CONTROL = 2
    AGAIN = 3
    DAMAGED = 4
    LOG = 5
    EVENT = 6
    WORDS = 7
    STORE = 8


FIX_SEAL = 0x10
FIX_GENERATION = 0x20


class Event(IntEnum):
    """Events, as in ``fuzzer/target.c``."""

    RESET = 0
    POWER = 1
    TICK = 2
    PARK = 3
    FAULT = 4
    TX = 5
    STUCK = 6
    TIME = 7
    CUT = 8
    FLASH_FAILS = 9
    INJECT = 10
    PROCESS_STACK = 11
    TELL = 12


def app() -> image.App:
    """The application that the fuzzed board starts with; where it lies is ``DEV_FLASH_BASE`` and so on of
    ``harness/device.h``."""
    unknown = dict.fromkeys((field.name for field in fields(Map)), 0)
    places = {"flash_base": 0x10008000, "hook_base": 0x20000000, "ram_base": 0x20080000, "ram_size": 0x1000}
    return image.make(Map(**{**unknown, **places}), hooks=6, spare=3)


def harness(variant: str) -> Path:
    """``replay`` or ``libfuzzer`` (see :mod:`build`)."""
    data = app().valid
    rows = (", ".join(f"{byte:#04x}" for byte in data[at : at + 24]) for at in range(0, len(data), 24))
    header = "static const unsigned char app_image[] = {\n" + ",\n".join(rows) + "};\n"
    return build.harness(variant, {"app_image.h": header})


# ----------------------------------------------------------------------------------------- seeds


def record(what: int, data: bytes) -> bytes:
    """One record."""
    assert len(data) < 256
    return bytes([what, len(data)]) + data


def ask(message: Request, *, what: int = What.CONTROL, quiet: bool = False) -> bytes:
    """A request, its generation and seal put right on the device's side."""
    flags = FIX_SEAL | FIX_GENERATION
    return record(what | flags, bytes([message.OP | (0x80 if quiet else 0)]) + packed(message))


def event(which: Event, number: int = 0) -> bytes:
    """An event."""
    return record(What.EVENT, bytes([which, number]))


def words(*values: int) -> bytes:
    """Words of the application, as offsets in the code heap."""
    return record(What.WORDS, struct.pack(f"<{len(values)}H", *values))


def slot(kind: int, length: int, *deps: int) -> m.SlotRequest:
    """An allocation."""
    return m.SlotRequest(kind, length, 2 if kind & 0x7F == m.SlotKind.VAR else 0, 1, 2, tuple(map(m.Dep, deps)))


def push(*slots: m.SlotRequest, pairs: tuple[m.Pair, ...] = (), mode: int = 0, trial: int = 0) -> bytes:
    """A whole push."""
    length = sum(entry.length for entry in slots if not entry.kind & 0x80)
    data = bytes(range(256))[:120] * 3
    out = ask(m.BeginRequest(0, app().build_tag, 3, len(pairs), slots))
    for at in range(0, length, 120):
        out += ask(m.WriteRequest(at, data[: min(120, length - at)]), quiet=True)
    return out + ask(m.CommitRequest(mode, 0, trial, pairs, (), ()))


def seeds() -> list[bytes]:
    """Conversations of every kind, from which the fuzzer starts."""
    code, const, stub, var = m.SlotKind.CODE, m.SlotKind.CONST, m.SlotKind.STUB, m.SlotKind.VAR
    one = push(slot(code, 60), pairs=(m.Pair(3, 1, 8),))
    two = push(slot(code, 200, 2, 4), slot(const, 9), slot(stub, 16), slot(code, 30), pairs=(m.Pair(1, 1, 8),))
    new = push(slot(stub, 16), slot(code, 80, 0), pairs=(m.Pair(6, 2, 8), m.Pair(2, 2, 8)))
    data = push(slot(code, 24, 2), slot(var, 40), slot(var | 0x80, 100), pairs=(m.Pair(0, 1, 8),))
    hello, slots, gc = ask(m.HelloRequest(1, m.VERSION, 7)), ask(m.SlotsRequest(0)), ask(m.GcRequest())
    ram, base = 0x20080000, app()
    flash = ask(m.ResetRequest(1)) + ask(m.FlashBeginRequest(len(base.data), base.mark))
    flash += ask(m.FlashEraseRequest(0, -(-len(base.data) // 1024)))
    for at in range(0, len(base.data), 120):
        flash += ask(m.FlashWriteRequest(at, base.data[at : at + 120]), quiet=at % 240 == 0)
    flash += ask(m.FlashEndRequest(len(base.data), base.crc)) + ask(m.ResetRequest(0))
    undo = ask(m.RollbackRequest(0, 0))
    safe = m.CommitRequest(1, 0, 0, (m.Pair(3, 0, 0),), (m.Word(ram + 8, 5),), (m.Range(0x10008180, 64),))
    revert = ask(m.BeginRequest(0, base.build_tag, 0, 2, ())) + ask(safe) + ask(safe, what=What.AGAIN)
    stack = struct.pack("<H5I", 32, ram + 64, ram + 0x400, 256, ram + 80, 0) + struct.pack("<I", ram + 0x4C0)
    cleanup = struct.pack("<H3I", 16, base.initial[0], 5, 0)
    parking = struct.pack("<H5I", 64, base.initial[0], base.initial[1], 0, ram + 8, 3)
    task = record(What.STORE, stack) + event(Event.TELL, 2 | 2 << 5)
    told = task + record(What.STORE, cleanup) + event(Event.TELL, 1 | 1 << 5)
    told += record(What.STORE, parking) + event(Event.TELL, 4)
    return [
        told + one + one + ask(safe) + ask(m.ParkRequest()) + ask(m.RestartRequest(base.initial[1])) + one,
        task + event(Event.TELL, 3 << 5) + event(Event.TELL, 2 | 2 << 5 | 128) + one + ask(m.StackRequest()),
        hello + ask(m.StatusRequest()) + slots + ask(m.HooksRequest(0)) + ask(m.RecordRequest()),
        one + slots + ask(m.HooksRequest(0)) + undo + slots + undo + ask(m.RollbackRequest(0, 1)) + slots,
        two + one + one + gc + slots,
        new + one + slots + gc + data + gc + ask(m.PinRequest(0, 1)) + one + one + ask(m.PinRequest(0, 0)) + slots,
        words(0x40, 0x61, 0x80) + one * 4 + slots + words(0) + slots + gc,
        one + words(*range(0x21, 0x61, 4)) + revert + words(0) + revert,
        two * 3 + event(Event.TIME, 23) + ask(m.BeginRequest(0, base.build_tag, 0, 1, (slot(code, 600),))) + two,
        ask(m.BeginRequest(0, base.build_tag, 0, 1, (slot(code, 90),))) + ask(m.AbortRequest()) + gc,
        ask(m.ReadRequest(ram, 64, 4, 0)) + ask(m.PokeRequest(ram + 4, 4, 0, b"1234")) + ask(m.ReadRequest(7, 9, 0, 1)),
        event(Event.PARK)
        + hello
        + one
        + ask(m.ContinueRequest())
        + ask(m.ParkRequest())
        + ask(m.RestartRequest(base.initial[0])),
        event(Event.FAULT, 9) + ask(m.RecordRequest()) + undo + ask(m.ContinueRequest()) + event(Event.STUCK, 1),
        event(Event.STUCK, 1) + record(What.RAW, bytes(20)) + ask(m.ContinueRequest()),
        push(slot(code, 40), pairs=(m.Pair(3, 1, 8),), trial=2) + ask(m.ConfirmRequest(1)) + one,
        push(slot(code, 40), pairs=(m.Pair(3, 1, 8),), trial=2) + event(Event.TIME, 22) + event(Event.TICK) + slots,
        flash + hello,
        event(Event.CUT, 40) + one + event(Event.RESET) + one + event(Event.POWER) + one,
        event(Event.INJECT, 9)
        + record(What.LOG, b"a line\nand more")
        + one
        + event(Event.TX, 9)
        + slots
        + event(Event.TX, 255),
        ask(m.SlotsRequest(0), what=What.DAMAGED)
        + record(What.FRAME, b"\x02\x05abc")
        + record(What.RAW, b"\3\1\2\0\5ab"),
        event(Event.PROCESS_STACK, 1) + ask(m.RestartRequest(base.initial[1])) + event(Event.FLASH_FAILS, 2) + flash,
    ]


# ---------------------------------------------------------------------------------------- corpus


def load() -> list[bytes]:
    """The inputs that are kept."""
    return [base64.b64decode(line) for line in CORPUS.read_text(encoding="ascii").splitlines()]


def save(inputs: Iterable[bytes]) -> None:
    """Keeps inputs, the shortest first."""
    lines = sorted({base64.b64encode(entry).decode() for entry in inputs}, key=lambda line: (len(line), line))
    CORPUS.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def replay(inputs: Iterable[bytes]) -> int:
    """Runs inputs with gcc's sanitizers; returns their number.

    :raises AssertionError: a finding, with its input
    """
    inputs = list(inputs)
    with tempfile.NamedTemporaryFile() as file:
        for entry in inputs:
            file.write(struct.pack("<I", len(entry)) + entry)
        file.flush()
        done = subprocess.run(
            [harness("replay"), file.name],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
        )
    begun = [int(line) for line in done.stdout.split()]
    if done.returncode != 0:
        raise AssertionError(f"input {inputs[begun[-1]].hex() if begun else 'none'}:\n{done.stderr}")
    return len(begun)


def _write(folder: Path, inputs: Iterable[bytes]) -> None:
    folder.mkdir()
    for number, entry in enumerate(inputs):
        (folder / f"{number:05}").write_bytes(entry)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="fuzz the monitor, guided by coverage")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 31))
    parser.add_argument("--runs", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="minimise what was found into the corpus")
    parser.add_argument("--input", type=Path, help="run this input alone")
    parser.add_argument("--also", type=Path, help="a folder of inputs to start from, besides")
    options = parser.parse_args()
    target = str(harness("libfuzzer"))
    if options.input is not None:
        return subprocess.run([target, str(options.input)], check=False).returncode
    print(f"seed {options.seed}", flush=True)
    work = Path(tempfile.mkdtemp(prefix="fuzz-monitor-"))
    also = [path.read_bytes() for path in options.also.iterdir()] if options.also is not None else []
    _write(work / "start", [*seeds(), *load(), *also])
    (work / "found").mkdir()
    common = ["-max_len=1024", "-len_control=20", "-timeout=20", "-rss_limit_mb=2048", f"-artifact_prefix={work}/"]
    command = [target, f"-seed={options.seed}", f"-runs={options.runs}", f"-max_total_time={options.seconds}"]
    folders = [str(work / "found"), str(work / "start")]
    if options.jobs > 1:
        command += [f"-fork={options.jobs}"]
    done = subprocess.run([*command, *common, "-print_final_stats=1", *folders], check=False)
    if done.returncode != 0:
        print(f"a finding; its input is in {work}", file=sys.stderr)
        return 1
    if options.keep:
        (work / "kept").mkdir()
        # The fewest that reach every edge; how often each is passed would make it a megabyte.
        merge = [target, "-set_cover_merge=1", "-use_counters=0", *common, str(work / "kept"), *folders]
        subprocess.run(merge, check=True, stderr=subprocess.DEVNULL)
        save(path.read_bytes() for path in (work / "kept").iterdir())
        print(f"{len(load())} inputs, {CORPUS.stat().st_size} bytes in {CORPUS}")
    with contextlib.suppress(OSError):
        shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
