"""A board from a folder outside the tree takes part without any change outside that folder."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from hotflash import sdk

CORE = 20
"""Tests that are marked to run on every board, at least."""
ROOT = Path(__file__).resolve().parents[2]


def test_a_board_of_ones_own_passes_the_suite(tmp_path: Path) -> None:
    folder = tmp_path / "my-own-board"
    shutil.copytree(sdk.sdk_root() / "boards" / "mps2-an385", folder)
    for name in ("board.toml", "board.c", "memory.ld"):
        path = folder / name
        path.write_text(path.read_text(encoding="utf-8").replace('"mps2-an385"', '"my-own-board"'), encoding="utf-8")
    toml = folder / "board.toml"
    text = toml.read_text(encoding="utf-8").replace('machine = "my-own-board"', 'machine = "mps2-an385"')
    toml.write_text(text, encoding="utf-8")
    # A memory map of its own: half the code heap, and the application's RAM elsewhere.
    memory = folder / "memory.ld"
    text = memory.read_text(encoding="utf-8")
    for old, new in (
        ("ORIGIN = 0x20040000, LENGTH = 256K", "ORIGIN = 0x20040000, LENGTH = 128K"),
        ("ORIGIN = 0x20080000, LENGTH = 256K", "ORIGIN = 0x200C0000, LENGTH = 128K"),
    ):
        assert old in text
        text = text.replace(old, new)
    memory.write_text(text, encoding="utf-8")

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            f"--hotflash-board={folder}",
            "-m",
            "every_board",
            "tests/system",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) >= CORE, "the core set is smaller than it was"
