"""A CMake project becomes hot with the edits that docs/PROJECT.md shows, and with nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hotflash.board import Board
from hotflash.elf.firmware import Firmware
from hotflash.image import builder
from tests.system.sdk_builds import ROOT, apply_page, configure, run, sections, symbols

ORIGINAL = Path(__file__).parent / "cmake_project"
PAGE = ROOT / "docs" / "PROJECT.md"


def build(project: Path, name: str, *settings: str) -> Path:
    configure(project, name, *settings)
    return project / name / "heater.elf"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("original") / "heater"
    shutil.copytree(ORIGINAL, project)
    return build(project, "build")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("converted") / "heater"
    shutil.copytree(ORIGINAL, project)
    apply_page(project, PAGE)
    return project


@pytest.fixture(scope="module")
def hot(converted: Path) -> Path:
    return build(converted, "build")


def test_hot_build_has_patch_points_everywhere(hot: Path) -> None:
    firmware = Firmware.load(hot)
    names = {site.name for site in firmware.sites}
    assert names >= {"main", "control_power", "systick", "reset", "hang", "uart_put", "_sbrk", "_write"}
    assert not {name for name in names if name.startswith(("__wrap_", "printf", "malloc"))}


def test_hot_build_makes_an_image(hot: Path) -> None:
    firmware = Firmware.load(hot)
    image = builder.build(firmware, Board.find("mps2-an386"))
    assert image.header.hook_count >= len(firmware.sites)
    assert image.header.hook_capacity == 1024


def test_printf_goes_to_the_log(hot: Path) -> None:
    names = symbols(hot)
    assert {"__wrap__write", "__wrap__isatty", "__wrap__fstat", "_write"} <= set(names)


def test_initialisation_of_the_uart_is_gone(original: Path, hot: Path) -> None:
    assert "uart_init" in symbols(original)
    assert "uart_init" not in symbols(hot)


def test_release_is_the_original_program(original: Path, converted: Path) -> None:
    release = build(converted, "build-release", "-DHOTFLASH=OFF")
    assert sections(release) == sections(original)
    assert {".text", ".data", ".bss"} <= set(sections(original))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("hotflash_target(heater BOARD mps3)", "no board mps3"),
        ("hotflash_target(heater)", "BOARD is missing"),
        ("hotflash_target(heater BOARD mps2-an386 NOP 4)", "unknown NOP"),
    ],
    ids=["board", "no-board", "argument"],
)
def test_wrong_calls_are_explained(tmp_path: Path, call: str, message: str) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(heater NONE)\n"
        f"include({ROOT}/cmake/hotflash.cmake)\nadd_executable(heater heater.s)\n{call}\n"
    )
    (tmp_path / "heater.s").write_text("")
    output = run("cmake", "-S", ".", "-B", "build", cwd=tmp_path, ok=False)
    assert message in " ".join(output.split())
