"""Where the SDK's files are, and the flags that a project needs to take part.

The SDK is the bootloader's sources, the linker script fragments, the boards and the build system glue. An
installed package carries them in ``_sdk``; in a source tree they are the tree's own folders.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hotflash.errors import HotflashError

if TYPE_CHECKING:
    from hotflash.board import Board

NOPS = (4, 6)
"""Patch point sizes in 16-bit nops: 4 up to 1,024 hooks per encodable table base, 6 for any number."""


def sdk_root() -> Path:
    """Return the folder that holds ``bootloader``, ``boards`` and ``cmake``.

    Raises :class:`HotflashError` when the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for root in (package / "_sdk", package.parents[1]):
        if (root / "bootloader" / "protocol.toml").is_file():
            return root
    raise HotflashError(
        f"the bootloader's sources are missing: neither {package / '_sdk'} nor a source tree around {package}",
        hint="install hotflash again (pip install --force-reinstall hotflash)",
    )


def boards_dir() -> Path:
    """Return the folder of the boards that come with hotflash."""
    return sdk_root() / "boards"


def bootloader_dir() -> Path:
    """Return the folder of the bootloader's sources."""
    return sdk_root() / "bootloader"


def include_dir() -> Path:
    """Return the folder of ``hotflash.h``."""
    return bootloader_dir() / "include"


def ld_dir() -> Path:
    """Return the folder of the linker script fragment ``hotflash.ld``."""
    return bootloader_dir() / "ld"


def app_sources() -> tuple[Path, ...]:
    """Return the sources that a hot application compiles in: the glue of ``printf`` to the log."""
    return (bootloader_dir() / "app" / "hf_app.c",)


def make_fragment() -> Path:
    """Return ``hotflash.mk``, for a Makefile to include."""
    return sdk_root() / "hotflash.mk"


def cmake_fragment() -> Path:
    """Return ``hotflash.cmake``, for a CMakeLists.txt to include."""
    return sdk_root() / "cmake" / "hotflash.cmake"


def cflags(board: Board | None = None, *, hot: bool = True, nops: int = 4) -> list[str]:
    """Return what the C compiler needs for a hot build or a release.

    With ``board`` its core and ABI come first, for projects that have no such flags of their own.
    ``-flive-patching`` keeps GCC's interprocedural passes from letting a caller rely on its callee's body;
    without it a replaced function can break its callers. The same flags reach Makefiles through hotflash.mk.
    """
    core = [] if board is None else [*board.cflags]
    if not hot:
        return [*core, "-DHOTFLASH=0", f"-I{include_dir()}"]
    flags = [*core, *_flags("hot.cflags"), f"-I{include_dir()}"]
    if _wide(nops):
        flags.append(f"-fpatchable-function-entry={nops}")  # the last one counts
    return flags


def ldflags(board: Board, *, hot: bool = True, nops: int = 4, hooks: int | None = None) -> list[str]:
    """Return what the link needs, with the compiler as the driver.

    The board's folder comes first, so that ``INCLUDE memory.ld`` means that board's. ``hooks`` is the hook
    table's capacity where the default does not fit.
    """
    if not hot:
        return [f"-L{board.path}", f"-L{ld_dir() / 'release'}"]
    flags = [
        *_flags("hot.ldflags"),
        f"-Wl,-T,{ld_dir() / 'hot.ld'}",
        f"-L{board.path}",
        f"-L{ld_dir()}",
        f"-Wl,--defsym=__hf_vectors={board.vectors}",
    ]
    if _wide(nops):
        flags.append(f"-Wl,--defsym=__hf_nops={nops}")
    if hooks is not None:
        flags.append(f"-Wl,--defsym=__hf_hook_capacity={hooks}")
    return flags


def _wide(nops: int) -> bool:
    if nops not in NOPS:
        raise ValueError(f"a patch point has {' or '.join(map(str, NOPS))} nops, not {nops}")
    return nops != NOPS[0]


def _flags(name: str) -> list[str]:
    file = bootloader_dir() / "app" / name
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError as error:
        raise HotflashError(f"{file}: {error.strerror}", hint="the SDK is incomplete; install hotflash again") from None
