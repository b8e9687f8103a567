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

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wmissing-prototypes", "-Wconversion", "-Wshadow", "-Werror"]
COMMON = ["-std=c11", "-g", "-fno-move-loop-stores", "-fno-pie", f"-I{SOURCES}", f"-I{HARNESS}"]
VARIANTS: dict[str, list[str]] = {
    "sanitized": [
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-fno-omit-frame-pointer",
    ],
    "plain": ["-O2"],
}

TARGET_ONLY = {"boot_main.c"}
"""Files of ``bootloader/src`` that only a core can run; the harness has its own order of calls."""


def _sources() -> list[Path]:
    monitor = [path for path in sorted(SOURCES.glob("*.c")) if path.name not in TARGET_ONLY]
    return monitor + sorted(HARNESS.glob("*.c"))


def _key(variant: str) -> str:
    digest = hashlib.sha256()
    version = subprocess.run(["gcc", "--version"], check=True, capture_output=True).stdout
    digest.update(repr((version, WARNINGS, COMMON, VARIANTS[variant])).encode())
    for path in [*sorted(SOURCES.glob("*.[ch]")), *sorted(HARNESS.glob("*.[ch]"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compile(source: Path, flags: list[str], folder: Path) -> Path:
    target = folder / f"{source.parent.name}-{source.stem}.o"
    command = ["gcc", *COMMON, *WARNINGS, *flags, "-c", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return target


def harness(variant: str = "sanitized") -> Path:
    """Path of the harness's executable, built when it is not there.

    :param variant: ``sanitized`` (address and undefined behaviour, any finding aborts) or ``plain`` (-O2)
    """
    flags = VARIANTS[variant]
    base = ROOT / "build" / "monitor"
    base.mkdir(parents=True, exist_ok=True)
    target = base / f"{variant}-{_key(variant)}"
    if target.exists():
        return target
    with (base / f"{variant}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        folder = base / f"{variant}.d"
        folder.mkdir(exist_ok=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda source: _compile(source, flags, folder), _sources()))
        made = folder / "harness"
        subprocess.run(["gcc", *flags, "-no-pie", *map(str, objects), "-o", str(made)], check=True)
        for old in base.glob(f"{variant}-*"):
            old.unlink()
        made.rename(target)
    return target


if __name__ == "__main__":
    print(harness(sys.argv[1] if len(sys.argv) > 1 else "sanitized"))
