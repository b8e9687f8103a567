"""The toolchain's own libraries, as a large set of real objects: which there are, and their members."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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
    """Names and contents of an archive's members (ar(5), with GNU's long names)."""
    data = path.read_bytes()
    assert data[:8] == b"!<arch>\n", path
    names, at = b"", 8
    while at + 60 <= len(data):
        header = data[at : at + 60]
        name, size = header[:16].rstrip(), int(header[48:58])
        content = data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
        if name == b"//":
            names = content
        elif name not in (b"/", b"/SYM64/"):
            if name[:1] == b"/":
                start = int(name[1:])
                name = names[start : names.index(b"\n", start)]
            yield name.rstrip(b"/").decode(), content
