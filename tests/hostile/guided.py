"""Hostile input, guided by coverage: ``make fuzz``, or ``python -m tests.hostile.guided --count 100000 --seed 1``.

Atheris, which is libFuzzer for Python, reports each branch that an input takes in the readers and the linker; an
input that takes a new one becomes a seed of others. Mutations are those of :mod:`tests.hostile.mutate`, which know
what the fields are, and in one of eight libFuzzer's own, which know what bytes were compared with. What reads the
inputs, and what is not allowed, are as in :mod:`tests.hostile.fuzz`. An input that fails does not end the run: it is
reduced and kept in a folder, one for each way to fail.

``--keep`` adds to the corpus what reaches branches that neither the well-formed files nor the corpus do; the suite
reads the corpus. ``--input FILE`` reads one file again, its name beginning with its kind.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import random
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:  # instrumented when they are imported, which is in the worker
    from tests.hostile.fuzz import Readers
    from tests.hostile.mutate import Patch

PACKAGES = ("hotflash.elf", "hotflash.link", "hotflash.types", "hotflash.image", "hotflash.journal",
            "hotflash.settings")  # fmt: skip
"""What is instrumented: all that reads the files."""
KINDS = ("object", "firmware", "index", "journal", "settings")
"""An input's first byte is the index of its kind."""
CORPUS = Path(__file__).parent / "corpus"
LONGEST = 1 << 17
"""Bytes of an input."""
TELL = 10_000
"""Executions between two lines that say what was run."""


def tagged(kind: str, data: bytes) -> bytes:
    """An input for the fuzzer."""
    return bytes([KINDS.index(kind)]) + data


def untagged(data: bytes) -> tuple[str, bytes]:
    """Kind and contents of an input."""
    return KINDS[data[0] % len(KINDS)], data[1:]


def corpus() -> list[tuple[str, str, bytes]]:
    """Kind, name and contents of what is kept; ``.z`` is compressed, by zlib."""
    found = []
    for path in sorted(CORPUS.iterdir()):
        data = path.read_bytes()
        found.append((path.name.split("-")[0], path.name, zlib.decompress(data) if path.suffix == ".z" else data))
    return found


class Guided:
    """What the fuzzer calls: a mutator, and one execution."""

    def __init__(self, readers: Readers, keep: Path) -> None:
        self.readers = readers
        self.keep = keep
        self.seen: set[str] = set()
        """Ways to fail."""
        self.runs: Counter[str] = Counter()
        """Executions by kind."""
        self._last: tuple[bytes, list[Patch]] = (b"", [])
        """Seed and patches of the last mutation."""

    def mutate(self, data: bytes, longest: int, seed: int) -> bytes:
        """Another input of the same kind, of at most ``longest`` bytes."""
        from tests.hostile.mutate import apply

        draw = random.Random(seed)
        kind, body = untagged(data)
        patches = self.readers.targets[kind].mutate(body, draw)
        self._last = body, patches
        return tagged(kind, apply(body, patches)[: longest - 1])

    def execute(self, data: bytes) -> None:
        """Reads an input; keeps one that fails in a way not seen before."""
        from tests.hostile.fuzz import outcome
        from tests.hostile.mutate import apply, reduce

        if not data:
            return
        kind, body = untagged(data)
        self.runs[kind] += 1
        if self.runs.total() % TELL == 0:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.runs.most_common())
            spent = f"{usage.ru_utime:.0f} s of processor time, {usage.ru_maxrss >> 10} MB at most"
            print(f"{kinds}; {spent}", flush=True)
        target = self.readers.targets[kind]
        what, allowed = outcome(target, body)
        if allowed or what in self.seen:
            return
        self.seen.add(what)
        seed, patches = self._last
        if apply(seed, patches) == body:  # else it is one of libFuzzer's
            body = apply(seed, reduce(seed, patches, lambda tried: outcome(target, tried)[0] == what))
        self.keep.mkdir(parents=True, exist_ok=True)
        path = self.keep / f"{kind}-{zlib.crc32(what.encode()):08x}"
        path.write_bytes(body)
        print(f"failed: {path}\n{what}", flush=True)


def work(keep: Path, folder: Path, arguments: list[str]) -> NoReturn:
    """The process that runs inputs: ``arguments`` are libFuzzer's, beginning with the program's name."""
    import atheris

    with atheris.instrument_imports(include=list(PACKAGES)):
        for name in PACKAGES:
            package = importlib.import_module(name)
            for module in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{name}."):
                importlib.import_module(module.name)
    from tests.hostile.fuzz import Readers, limited

    guided = Guided(Readers(folder), keep)

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        if len(data) < 3 or seed % 8 == 0:
            return bytes(atheris.Mutate(data, longest))
        return guided.mutate(data, longest, seed)

    limited()
    atheris.Setup(arguments, guided.execute, custom_mutator=mutate)
    atheris.Fuzz()
    raise AssertionError("the fuzzer ends the process")


def start(folder: Path) -> list[Path]:
    """Writes the well-formed files and the corpus as inputs; returns them."""
    from tests.hostile.fuzz import Readers

    with tempfile.TemporaryDirectory() as shop:
        targets = Readers(Path(shop)).targets
        inputs = [tagged(kind, data) for kind in KINDS for _, data in targets[kind].seeds]
    inputs += [tagged(kind, data) for kind, _, data in corpus()]
    folder.mkdir()
    paths = [folder / f"{number:05}" for number in range(len(inputs))]
    for path, data in zip(paths, inputs, strict=True):
        path.write_bytes(data)
    return paths


def figures(said: str) -> tuple[int, int, int, int]:
    """Executions, inputs in the corpus, branches taken and features (branches by how often), of libFuzzer's lines.

    :raises ValueError: it has no such line
    """
    lines = re.findall(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/", said, re.MULTILINE)
    if not lines:
        raise ValueError("the fuzzer printed no figures")
    runs, branches, features, corpus = map(int, lines[-1])
    return runs, corpus, branches, features


def main(arguments: list[str] | None = None) -> int:
    """Command line; 1 when an input failed."""
    parser = argparse.ArgumentParser(description="reads hostile input, guided by coverage")
    parser.add_argument("--count", type=int, default=100_000, help="executions")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big") or 1)
    parser.add_argument("--seconds", type=int, default=0, help="end after these, whatever the count")
    parser.add_argument("--failures", type=Path, default=Path("build/fuzz"), help="folder for inputs that failed")
    parser.add_argument("--keep", action="store_true", help="add to the corpus what reaches more")
    parser.add_argument("--input", type=Path, help="read this file alone")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            work(options.failures, Path(folder), options.worker)
    if options.input is not None:
        return _again(options.input)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        failures = options.failures.resolve()
        # libFuzzer starts its first argument again to merge, so that has to be a program.
        program = folder / "program"
        command = [sys.executable, "-m", "tests.hostile.guided", f"--failures={failures}", f"--folder={folder}",
                   "--worker", str(program)]  # fmt: skip
        program.write_text(f'#!/bin/sh\nPYTHONHASHSEED=0 exec {shlex.join(command)} "$@"\n')
        program.chmod(0o755)
        limits = [f"-max_len={LONGEST}", "-len_control=0", "-timeout=600", "-rss_limit_mb=0", "-use_value_profile=0",
                  f"-artifact_prefix={folder}/"]  # fmt: skip
        start(folder / "start")
        (folder / "found").mkdir()
        run = [str(program), f"-seed={options.seed or 1}", f"-runs={options.count}",
               f"-max_total_time={options.seconds}",
               *limits, str(folder / "found"), str(folder / "start")]  # fmt: skip
        said, failed = _follow(run, folder / "said")
        try:
            runs, corpus, branches, features = figures(said)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 1
        print(f"{runs} executions, {corpus} inputs in the fuzzer's corpus, {branches} branches, {features} features, "
              f"{failed} failures")  # fmt: skip
        if options.keep and not failed:
            _keep([str(program), "-merge=1", "-use_counters=0", *limits], folder)
    return int(failed > 0)


def _follow(command: list[str], path: Path) -> tuple[str, int]:
    """Runs the fuzzer and repeats what it says of failures and itself; returns all it said, and the failures."""
    failed = 0
    with path.open("w+") as file, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as fuzzer:  # fmt: skip
        assert fuzzer.stdout is not None
        for line in fuzzer.stdout:
            file.write(line)
            failed += line.startswith("failed: ")
            if not re.match(r"#\d+\s+(NEW|REDUCE|RELOAD)|INFO: Instrumenting", line):
                print(line, end="", flush=True)
        file.seek(0)
        said = file.read()
    if fuzzer.returncode:
        print(f"the fuzzer ended with {fuzzer.returncode}", file=sys.stderr)
    return said, failed + (fuzzer.returncode != 0)


def _keep(merge: list[str], folder: Path) -> None:
    """Adds to the corpus what reaches branches that nothing there does, the smallest first."""
    kept = folder / "kept"
    known = {path.name for path in start(kept)}
    subprocess.run([*merge, str(kept), str(folder / "found")], check=True, capture_output=True)
    added = 0
    for path in sorted(kept.iterdir()):
        if path.name not in known:
            kind, data = untagged(path.read_bytes())
            packed = zlib.compress(data, 9)
            (CORPUS / f"{kind}-{zlib.crc32(data):08x}.z").write_bytes(packed)
            added += len(packed)
    entries = list(CORPUS.iterdir())
    size = sum(path.stat().st_size for path in entries)
    print(f"{added} bytes added to {CORPUS}: {len(entries)} inputs, {size} bytes")


def _again(path: Path) -> int:
    from tests.hostile.fuzz import Readers, limited, outcome

    with tempfile.TemporaryDirectory() as folder:
        readers = Readers(Path(folder))
        limited()
        what, allowed = outcome(readers.targets[path.name.split("-")[0]], path.read_bytes())
    print(what)
    return int(not allowed)


if __name__ == "__main__":
    sys.exit(main())
