"""The example builds for every board, and its release is the program that never heard of hotflash."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from hotflash.board import Board, board_names
from hotflash.elf.firmware import Firmware
from hotflash.image import builder
from tests.system.sdk_builds import BLINK, ROOT, run, sections

if TYPE_CHECKING:
    from pathlib import Path

CODE = re.compile(r"hotflash|\bhf_|HF_", re.IGNORECASE)


@pytest.fixture
def blink(tmp_path: Path) -> Path:
    copy = tmp_path / "blink"
    shutil.copytree(BLINK, copy, ignore=shutil.ignore_patterns("build", ".hotflash"))
    return copy


def make(folder: Path, *settings: str) -> str:
    return run("make", f"HOTFLASH_SDK={ROOT}", *settings, cwd=folder)


@pytest.mark.parametrize("name", board_names())
def test_hot_image_can_be_built(blink: Path, name: str) -> None:
    board = Board.find(name)
    make(blink, f"BOARD={board.name}")
    firmware = Firmware.load(blink / "build" / board.name / "blink.elf")
    names = {site.name for site in firmware.sites}
    assert names >= {"run", "bounce", "strip_advance", "SysTick_Handler", "main", "Reset_Handler"}
    image = builder.build(firmware, board)
    assert image.header.hook_count >= len(firmware.sites)
    assert image.build_id == firmware.build_id


def test_board_outside_of_the_tree(blink: Path, tmp_path: Path) -> None:
    folder = tmp_path / "boards" / "elsewhere"
    shutil.copytree(ROOT / "boards" / "mps2-an386", folder)
    description = folder / "board.toml"
    text = description.read_text().replace('name = "mps2-an386"', 'name = "elsewhere"')
    # One flag a line is as good as all in one.
    text = re.sub(r'"-mcpu=cortex-m4", *', '\n  "-mcpu=cortex-m4",\n  ', text).replace("vectors = 48", "vectors = 56")
    description.write_text(text)
    make(blink, f"BOARD={folder}")
    firmware = Firmware.load(blink / "build" / "elsewhere" / "blink.elf")
    assert firmware.header.vector_count == 56
    assert firmware.header.self_address == firmware.header.base + 56 * 4
    builder.build(firmware, Board.find(folder))


def test_unknown_board_is_named(blink: Path) -> None:
    output = run("make", f"HOTFLASH_SDK={ROOT}", "BOARD=mps3", cwd=blink, ok=False)
    assert "no board mps3" in output
    assert "mps2-an386" in output


@pytest.mark.parametrize(("name", "cpu"), [("mps2-an386", "cortex-m4"), ("mps2-an385", "cortex-m3")])
def test_release_is_the_plain_program(blink: Path, name: str, cpu: str) -> None:
    make(blink, f"BOARD={name}", "HOTFLASH=0")
    run("make", f"CPU={cpu}", cwd=blink / "plain")
    release = sections(blink / "build" / f"{name}-release" / "blink.elf")
    plain = sections(blink / "plain" / "build" / cpu / "blink.elf")
    assert {".vectors", ".text", ".rodata", ".data", ".bss"} <= set(plain)
    assert release == plain  # every allocated section: names, addresses, bytes


def test_plain_copy_has_nothing_of_hotflash() -> None:
    files = [path for path in (BLINK / "plain").iterdir() if path.is_file()]
    assert len(files) >= 9
    for path in files:
        assert not CODE.search(path.read_text()), path


def test_plain_copy_has_the_example_code() -> None:
    """The copies differ in comments and in lines that name hotflash, and in nothing else."""

    def code(path: Path) -> list[str]:
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        return [line for line in text.splitlines() if line.strip() and not CODE.search(line)]

    for path in sorted(BLINK.glob("*.[ch]")):
        assert code(path) == code(BLINK / "plain" / path.name), path.name
