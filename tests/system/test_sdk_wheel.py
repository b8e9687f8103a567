"""The installed package carries what projects need: bootloader sources, boards, fragments, glue."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.system.sdk_builds import ROOT, run

FILES = [
    "bootloader/include/hotflash.h",
    "bootloader/app/hf_app.c",
    "bootloader/app/hot.cflags",
    "bootloader/ld/hotflash.ld",
    "bootloader/ld/hot.ld",
    "bootloader/ld/release/hotflash.ld",
    "bootloader/protocol.toml",
    "bootloader/src/hf_board.h",
    "boards/mps2-an386/board.toml",
    "boards/mps2-an386/memory.ld",
    "cmake/hotflash.cmake",
    "hotflash.mk",
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contents of the wheel, as pip would unpack them."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check"]
    run(*pip, "--no-deps", "--no-build-isolation", "-w", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.parametrize("name", FILES)
def test_wheel_has(installed: Path, name: str) -> None:
    assert (installed / "hotflash" / "_sdk" / name).read_bytes() == (ROOT / name).read_bytes()


def test_wheel_has_nothing_that_was_built(installed: Path) -> None:
    made = [path for path in installed.rglob("*") if path.suffix in {".o", ".elf", ".d", ".pyc"}]
    assert made == []


def test_installed_package_finds_its_own_sdk(installed: Path, tmp_path: Path) -> None:
    code = "import hotflash.board, hotflash.sdk as s; print(s.sdk_root(), hotflash.board.Board.find('mps2-an386').path)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    root = installed / "hotflash" / "_sdk"
    assert done.stdout.split() == [str(root), str(root / "boards" / "mps2-an386")]
