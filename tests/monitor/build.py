"""Builds the host harness: the monitor's C as it is, on a modelled device.

The result is cached under ``build/monitor`` by the content of everything that goes into it, so that a test run
builds once, whatever the number of its processes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "bootloader" / "src"
HARNESS = Path(__file__).resolve().parent / "harness"
FUZZER = Path(__file__).resolve().parent / "fuzzer"

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wmissing-prototypes", "-Wconversion", "-Wshadow", "-Werror"]
COMMON = ["-std=c11", "-g", "-fno-pie", f"-I{SOURCES}", f"-I{HARNESS}"]
VARIANTS: dict[str, list[str]] = {
    "sanitized": [
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-fno-omit-frame-pointer",
        "-fno-move-loop-stores",
    ],
    "plain": ["-O2", "-fno-move-loop-stores"],
    "replay": ["-O1", "-fno-move-loop-stores", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DREPLAY"],
    "libfuzzer": ["-O2", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"],
}
COMPILERS = {"libfuzzer": "clang-19"}
"""Of variants that want another one than gcc."""
FUZZERS = ("replay", "libfuzzer")
"""Variants whose input is a fuzzer's (fuzzer/target.c) in place of the control channel."""

TARGET_ONLY = {"boot_main.c"}
"""Files of ``bootloader/src`` that only a core can run; the harness has its own order of calls."""


def _sources(variant: str) -> list[Path]:
    monitor = [path for path in sorted(SOURCES.glob("*.c")) if path.name not in TARGET_ONLY]
    harness = sorted(HARNESS.glob("*.c"))
    if variant in FUZZERS:
        return [*monitor, *(path for path in harness if path.name != "main.c"), *sorted(FUZZER.glob("*.c"))]
    return monitor + harness


def _compiler(variant: str) -> str:
    return COMPILERS.get(variant, "gcc")


def _key(variant: str, generated: dict[str, str]) -> str:
    digest = hashlib.sha256()
    version = subprocess.run([_compiler(variant), "--version"], check=True, capture_output=True).stdout
    digest.update(repr((version, WARNINGS, COMMON, VARIANTS[variant], sorted(generated.items()))).encode())
    folders = [SOURCES, HARNESS, *([FUZZER] if variant in FUZZERS else [])]
    for path in [path for folder in folders for path in sorted(folder.glob("*.[ch]"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compile(source: Path, variant: str, folder: Path) -> Path:
    target = folder / f"{source.parent.name}-{source.stem}.o"
    command = [_compiler(variant), *COMMON, *WARNINGS, *VARIANTS[variant], f"-I{folder}", "-c", str(source)]
    command += ["-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return target


def harness(variant: str = "sanitized", generated: dict[str, str] | None = None) -> Path:
    """Path of the harness's executable, built when it is not there.

    :param variant: ``sanitized`` (address and undefined behaviour, any finding aborts), ``plain`` (-O2), or
        the fuzzer's: ``libfuzzer``, and ``replay``, which runs inputs of a file
    :param generated: headers that are written for it, text by name
    """
    generated = generated or {}
    base = ROOT / "build" / "monitor"
    base.mkdir(parents=True, exist_ok=True)
    target = base / f"{variant}-{_key(variant, generated)}"
    if target.exists():
        return target
    with (base / f"{variant}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        folder = base / f"{variant}.d"
        folder.mkdir(exist_ok=True)
        for name, text in generated.items():
            (folder / name).write_text(text, encoding="utf-8")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda source: _compile(source, variant, folder), _sources(variant)))
        made = folder / "harness"
        link = [_compiler(variant), *VARIANTS[variant], "-no-pie", *map(str, objects), "-o", str(made)]
        subprocess.run(link, check=True)
        for old in base.glob(f"{variant}-*"):
            old.unlink()
        made.rename(target)
    return target


if __name__ == "__main__":
    print(harness(sys.argv[1] if len(sys.argv) > 1 else "sanitized"))
