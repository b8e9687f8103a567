"""The compiler that a project is built with, as far as the linker needs it: where its own archives are.

The compiler is asked, with the options that the firmware's build attributes stand for, so that the multilib fits;
of the C libraries that it has, the linker chooses the one that the firmware holds parts of.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from hotflash.elf import attributes as attrs
from hotflash.elf.archive import Archive
from hotflash.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ARCH = {
    10: "armv7-m", 11: "armv6s-m", 12: "armv6s-m", 13: "armv7e-m", 16: "armv8-m.base", 17: "armv8-m.main",
    21: "armv8.1-m.main",
}  # fmt: skip
"""``-march`` by Tag_CPU_arch (Arm IHI 0045, 3.3.5.2)."""
_TIMEOUT = 20
"""Seconds that the compiler may take to answer."""

LIBRARIES = {
    "nano": ((), ("libm.a", "libgcc.a", "libc_nano.a")),
    "newlib": ((), ("libm.a", "libgcc.a", "libc.a")),
    "picolibc": (("--specs=picolibc.specs",), ("libm.a", "libgcc.a", "libc.a")),
}
"""The C libraries that are looked for: options that choose one, and archives in the order that they are searched."""


def multilib_flags(attributes: Mapping[int, int | str]) -> tuple[str, ...]:
    """Compiler options for code with these build attributes; empty for none."""
    arch = _ARCH.get(int(attributes.get(attrs.CPU_ARCH, 0)))
    if arch is None:
        return ()
    unit = int(attributes.get(attrs.FP_ARCH, 0))
    if int(attributes.get(attrs.MVE_ARCH, 0)):
        arch += "+mve"
    if unit:
        arch += "+fp" if int(attributes.get(attrs.HARD_FP_USE, 0)) == 1 else "+fp.dp"
    hard = int(attributes.get(attrs.VFP_ARGS, 0)) == 1
    return "-mthumb", f"-march={arch}", f"-mfloat-abi={'hard' if hard else 'softfp' if unit else 'soft'}"


@lru_cache(maxsize=64)
def _folders(compiler: str, flags: tuple[str, ...]) -> tuple[Path, ...]:
    """Where the compiler's linker would look for archives; empty when it does not know the options."""
    import shlex
    import subprocess

    command = [compiler, *flags, "-###", "-x", "c", "/dev/null"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"{compiler} does not answer: {error}", hint="the setting `toolchain` names the compiler's prefix"
        ) from None
    found: list[Path] = []
    for line in done.stderr.splitlines():
        if "collect2" in line or "-L" in line:
            try:
                words = shlex.split(line)
            except ValueError:
                continue
            found += [Path(word[2:]) for word in words if word.startswith("-L") and len(word) > 2]
    return tuple(dict.fromkeys(found)) if done.returncode == 0 else ()


class Archives:
    """The archives that helpers may come from: a project's own, and those of its compiler.

    Nothing is looked for before it is needed.
    """

    def __init__(self, toolchain: str = "arm-none-eabi-", libc: str = "auto", own: Sequence[Path] = ()) -> None:
        self.compiler = f"{toolchain}gcc"
        self.libc = libc
        self._own = tuple(own)
        self._open: dict[Path, Archive] = {}
        self._stamps: dict[Path, tuple[int, int]] = {}

    def own(self) -> tuple[Archive, ...]:
        """The project's own archives, which are searched first; read anew when they have changed."""
        return tuple(self._read(path) for path in self._own)

    def libraries(self, attributes: Mapping[int, int | str]) -> dict[str, tuple[Archive, ...]]:
        """The compiler's archives for code with these build attributes, by C library.

        UsageError when the compiler is not there, does not answer, or has no such C library as the settings say.
        """
        import shutil

        if shutil.which(self.compiler) is None:
            raise UsageError(
                f"{self.compiler} is not installed, so its libgcc.a, libc.a and libm.a cannot be searched",
                hint="install it, or name its prefix with the setting `toolchain`",
            )
        flags = multilib_flags(attributes)
        found: dict[str, tuple[Archive, ...]] = {}
        for libc, (options, names) in LIBRARIES.items():
            if self.libc not in ("auto", libc):
                continue
            folders = _folders(self.compiler, (*flags, *options))
            paths = [next((f / name for f in folders if (f / name).is_file()), None) for name in names]
            if paths[-1] is not None or (libc == "newlib" and not found):
                found[libc] = tuple(self._archive(path) for path in paths if path is not None)
        if not found:
            raise UsageError(
                f"{self.compiler} has no {self.libc} for {' '.join(flags) or 'this core'}",
                hint=f"the setting `libc` is auto or one of {', '.join(LIBRARIES)}",
            )
        return found

    def _read(self, path: Path) -> Archive:
        # Not mapped: a build may shorten the file while this process watches the project.
        try:
            facts = path.stat()
            data = None if self._stamps.get(path) == (facts.st_mtime_ns, facts.st_size) else path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
        if data is not None:
            self._open[path] = Archive(path, data)
            self._stamps[path] = facts.st_mtime_ns, facts.st_size
        return self._open[path]

    def _archive(self, path: Path) -> Archive:
        archive = self._open.get(path)
        if archive is None:
            archive = self._open[path] = Archive.open(path)
        return archive
