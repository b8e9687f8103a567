"""The toolchain's own libraries, as a large set of real objects: which there are, and their members."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hotflash.elf.archive import Archive

MULTILIBS = {
    "v6-m": ("-mcpu=cortex-m0",),
    "v7-m": ("-mcpu=cortex-m3",),
    "v7e-m+fp/hard": ("-mcpu=cortex-m4", "-mfloat-abi=hard"),
    "v7e-m+dp/hard": ("-mcpu=cortex-m7", "-mfloat-abi=hard"),
    "v8-m.base": ("-mcpu=cortex-m23",),
    "v8-m.main+fp/hard": ("-mcpu=cortex-m33", "-mfloat-abi=hard"),
}
"""GCC's options for each multilib that is compared."""

NAMES = ("libc.a", "libc_nano.a", "libm.a", "libgcc.a", "libstdc++.a", "libstdc++_nano.a", "picolibc.a")


@cache
def archive(multilib: str, name: str) -> Path:
    """Where a library is; ``picolibc.a`` is picolibc's ``libc.a``, which holds its mathematics too."""
    options = MULTILIBS[multilib]
    if name == "picolibc.a":
        folder = _ask(*options, "-print-multi-directory")
        return Path("/usr/lib/picolibc/arm-none-eabi/lib") / folder / "libc.a"
    return Path(_ask(*options, f"-print-file-name={name}")).resolve()


def _ask(*options: str) -> str:
    command = ["arm-none-eabi-gcc", "-mthumb", *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of an archive's members."""
    opened = Archive.open(path)
    for member in opened:
        yield member.name, opened.read(member)
