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


def cflags(*, nops: int = 4) -> list[str]:
    """Return what the C compiler needs for a hot build, besides the project's own flags.

    ``-flive-patching`` keeps GCC's interprocedural passes from letting a caller rely on its callee's body;
    without it a replaced function can break its callers.
    """
    if nops not in NOPS:
        raise ValueError(f"a patch point has {' or '.join(map(str, NOPS))} nops, not {nops}")
    return [
        "-g",
        "-ffunction-sections",
        "-fdata-sections",
        f"-fpatchable-function-entry={nops}",
        "-flive-patching=inline-clone",
        f"-I{include_dir()}",
    ]


def ldflags(board: Board) -> list[str]:
    """Return what the link of a hot build needs: a build ID, the log's glue, and where the fragments are.

    The board's folder comes first, so that ``INCLUDE memory.ld`` means that board's.
    """
    return ["-Wl,--build-id=sha1", "-Wl,--wrap=_write", f"-L{board.path}", f"-L{ld_dir()}"]
