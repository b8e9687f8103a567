"""Hostile input: whatever is read from files ends in success or in a documented error.

``python -m tests.hostile.fuzz --count 100000`` makes inputs of objects, firmware, index, journal and settings files
(:mod:`tests.hostile.mutate`) and reads each as a push, a read by symbol or a flash would. What is not allowed: an
exception that is none of :mod:`hotflash.errors`, more than 10 seconds of processor time, more than 512 MB of
memory. Every input follows from the seed, which is printed, and its number; an input that ends in a way not seen
before, by the place and wording of the outcome, becomes a seed of its own. Failures are reduced and kept in a folder.
This needs nothing that has to be installed, and the suite runs it; :mod:`tests.hostile.guided` goes by coverage.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from hotflash import types
from hotflash.board import Board
from hotflash.elf import index as tables
from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from hotflash.errors import HotflashError
from hotflash.image.builder import build
from hotflash.journal import Journal
from hotflash.link import debug, plan
from hotflash.settings import load
from tests.hostile import seeds
from tests.hostile.mutate import Elf, Patch, apply, mutate_bytes, mutate_text, reduce
from tests.link.device import Device
from tests.link.toolchain import Workshop

MEMORY = 512 << 20
"""Bytes of address space."""
SECONDS = 10
"""Processor time for one input."""
MAX_SEEDS = 400
SHARES = {"object": 60, "firmware": 25, "index": 5, "journal": 5, "settings": 5}
"""Per hundred inputs."""


class TooSlowError(Exception):
    """An input took too much processor time."""


@dataclass
class Failure:
    """An input that ended in none of the ways that are allowed."""

    kind: str
    number: int
    seed: str
    patches: list[Patch]
    data: bytes
    said: str


@dataclass
class Target:
    """What reads one kind of file."""

    read: Callable[[bytes], None]
    mutate: Callable[[bytes, random.Random], list[Patch]]
    seeds: list[tuple[str, bytes]]
    allowed: tuple[type[Exception], ...] = (HotflashError,)
    known: dict[str, int] = field(default_factory=dict)
    """Outcomes and how often they came out."""
    first: int = 0
    """Seeds that are well-formed."""


class Readers:
    """Reads inputs as the commands do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shop = Workshop(folder / "shop")
        shop.folder.mkdir()
        self.base = seeds.firmware(shop)
        self.live = Device(self.base).live
        self.object = seeds.edited(shop)
        self.board = Board.find("mps2-an386", ())
        self.objects = seeds.objects(shop)
        self.index = folder / "app.idx"
        Firmware.load(self.base.path, index=self.index)
        self.targets = {
            "object": Target(self.read_object, _mutate_elf, self.objects),
            "firmware": Target(self.read_firmware, _mutate_elf, [("firmware", self.base.data)]),
            "index": Target(self.read_index, mutate_bytes, [("index", self.index.read_bytes())]),
            "journal": Target(self.read_journal, mutate_text, [("journal", seeds.JOURNAL)], (ValueError,)),
            "settings": Target(self.read_settings, mutate_text, [("settings", seeds.SETTINGS)]),
        }
        for target in self.targets.values():
            target.first = len(target.seeds)

    def read_object(self, data: bytes) -> None:
        """As a push and the debug information's reader do."""
        obj = ObjectFile.parse(data, "hostile.o")
        debug.object_parts.__wrapped__(obj, obj.unit)
        made = plan([obj], self.base, self.live)
        made.link(Device(self.base).grant(made))

    def read_firmware(self, data: bytes) -> None:
        """As flash, push, and read by symbol do."""
        path = self.folder / "hostile.elf"
        path.write_bytes(data)
        firmware = Firmware.load(path)
        _questions(firmware)
        for step in (
            lambda: build(firmware, self.board),
            lambda: plan([self.object], firmware, Device(firmware).live),
        ):
            with suppress(HotflashError):
                step()

    def read_index(self, data: bytes) -> None:
        """With its checksum as it comes out, and made right."""
        body = data[tables._HEAD.size :]
        check = zlib.crc32(body, len(data) & 0xFFFFFFFF)
        for content in (data, tables._HEAD.pack(tables._MAGIC, check, len(data)) + body):
            self.index.write_bytes(content)
            firmware = Firmware.load(self.base.path, index=self.index)
            _questions(firmware)
            plan([self.object], firmware, self.live)

    def read_journal(self, data: bytes) -> None:
        """As the store does; a ValueError is what sets a journal aside."""
        journal = Journal.parse(data)
        journal.observe(2, 1, [(1, 2)])
        journal.prepare([])
        assert Journal.parse(journal.dump()).objects == journal.objects

    def read_settings(self, data: bytes) -> None:
        """As every command does."""
        problem = None
        for name in ("hotflash.toml", "pyproject.toml"):
            folder = self.folder / f"with-{name}"
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(data if name == "hotflash.toml" else b"[tool.hotflash]\n" + data)
            try:
                load(project=folder, env={"HOME": str(self.folder)})
            except HotflashError as error:
                problem = error
        if problem is not None:
            raise problem


def _mutate_elf(data: bytes, draw: random.Random) -> list[Patch]:
    parsed = _parsed(data)
    return mutate_bytes(data, draw) if parsed is None else parsed.mutate(draw)


@lru_cache(maxsize=MAX_SEEDS)
def _parsed(data: bytes) -> Elf | None:
    try:
        return Elf(data)
    except (struct.error, ValueError, IndexError):  # an input that became a seed, and is no ELF any more
        return None


def _questions(firmware: Firmware) -> None:
    """What the commands ask of a firmware."""
    with suppress(HotflashError):
        _ = firmware.attributes
        _ = firmware.sites
    firmware.symbols_near(0x8100)
    firmware.site_of_hook(1)
    _ = firmware.units.get("app.c"), firmware.split
    debug.firmware_owners.__wrapped__(firmware, "app.c")
    for name in seeds.VARIABLES:
        with suppress(HotflashError):
            found = types.variable(firmware, name)
            if 0 < found.size <= 1 << 16:
                types.format_value(found.type, bytes(found.size), types.symbolizer(firmware))
                types.to_json(found.type, bytes(found.size))


def outcome(target: Target, data: bytes) -> tuple[str, bool]:
    """How an input ends, in words without numbers and names; and whether that is allowed."""

    def too_slow(*_: object) -> None:
        raise TooSlowError(f"more than {SECONDS} s of processor time")

    signal.signal(signal.SIGVTALRM, too_slow)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        target.read(data)
    except target.allowed as error:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = re.sub(r"[\w.$@-]*\d[\w.$@-]*|'[^']*'|\([^)]*\)", "#", str(error)[:300])[:60]
        return f"{type(error).__name__} {frame.name}: {text}", True
    except BaseException as error:  # noqa: BLE001 - that is what is looked for
        where = "".join(traceback.format_exception(error)[-4:])
        return f"{type(error).__name__}\n{where}", False
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return "success", True


def pick(targets: dict[str, Target], seed: int, number: int) -> tuple[str, str, bytes, list[Patch]]:
    """The input of a number: its kind, the name and bytes of its seed, and the patches."""
    draw = random.Random(f"{seed}:{number}")
    kind = draw.choices(list(SHARES), list(SHARES.values()))[0]
    target = targets[kind]
    usable = target.seeds if draw.random() < 0.5 else target.seeds[: target.first]
    name, data = draw.choice(usable)
    return kind, name, data, target.mutate(data, draw)


def fuzz(readers: Readers, seed: int, first: int, count: int, note: Callable[[int], None]) -> list[Failure]:
    """Reads ``count`` inputs; returns those that failed, reduced."""
    failures: list[Failure] = []
    seen: set[str] = set()
    for number in range(first, first + count):
        note(number)
        kind, name, data, patches = pick(readers.targets, seed, number)
        target = readers.targets[kind]
        mutated = apply(data, patches)
        what, allowed = outcome(target, mutated)
        if allowed:
            target.known[what] = target.known.get(what, 0) + 1
            if target.known[what] == 1 and len(target.seeds) < MAX_SEEDS and len(mutated) >= 64:
                target.seeds.append((f"{number}", mutated))
        elif what not in seen:
            seen.add(what)
            kept = reduce(data, patches, lambda tried, what=what, target=target: outcome(target, tried)[0] == what)
            failures.append(Failure(kind, number, name, kept, apply(data, kept), what))
    return failures


def limited() -> None:
    """Limits the memory of this process, and lets nothing dump core."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(arguments: list[str] | None = None) -> int:
    """Runs batches in limited processes; 1 when an input failed."""
    parser = argparse.ArgumentParser(description="reads hostile input")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--batch", type=int, default=5000, help="inputs of one process")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for inputs that failed")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        return _work(options)
    print(f"seed {options.seed}", flush=True)
    started, failed, done = time.monotonic(), 0, 0
    while done < options.count:
        count = min(options.batch, options.count - done)
        first = options.first + done
        command = [sys.executable, "-m", "tests.hostile.fuzz", "--worker", f"--seed={options.seed}",
                   f"--first={first}", f"--count={count}", f"--keep={options.keep}"]  # fmt: skip
        worker = subprocess.run(command, check=False)
        done += count
        if worker.returncode < 0 or worker.returncode > 1:
            print(f"inputs {first} to {first + count - 1}: the process ended with {worker.returncode}", flush=True)
        failed += worker.returncode != 0
        print(f"{done} inputs, {time.monotonic() - started:.0f} s, {failed} batches with failures", flush=True)
    return int(failed > 0)


def _work(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        readers = Readers(Path(folder))
        limited()
        place = Path(folder) / "number"

        def note(number: int) -> None:
            if number % 500 == 0:
                place.write_text(str(number))

        failures = fuzz(readers, options.seed, options.first, options.count, note)
        for failure in failures:
            options.keep.mkdir(parents=True, exist_ok=True)
            path = options.keep / f"{failure.kind}-{options.seed}-{failure.number}"
            path.write_bytes(failure.data)
            print(f"{path}: of {failure.seed}, {str(failure.patches)[:300]}\n{failure.said}", flush=True)
        for kind, target in readers.targets.items():
            total = sum(target.known.values())
            print(
                f"  {kind}: {total} allowed, {len(target.known)} outcomes, {target.known.get('success', 0)} successes"
            )
        usage = resource.getrusage(resource.RUSAGE_SELF)
        print(f"  {usage.ru_utime:.0f} s of processor time, {usage.ru_maxrss >> 10} MB at most", flush=True)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
