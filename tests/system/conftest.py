"""Boards and firmware for the system tests.

``--hotflash-board`` (the plugin's own option) runs everything on one board, named or by its folder; without
it the core set runs on every board of the tree and the rest on one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hotflash.board import Board
from tests.system.project import APP, Project

MAIN_BOARD = "mps2-an386"
ALL_BOARDS = ["mps2-an386", "mps2-an385"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "board" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--hotflash-board")
        core = metafunc.definition.get_closest_marker("every_board") is not None
        names = [chosen] if chosen else ALL_BOARDS if core else [MAIN_BOARD]
        metafunc.parametrize("board", names, indirect=True, scope="module", ids=[Path(n).name for n in names])


@pytest.fixture(scope="module")
def board(request: pytest.FixtureRequest) -> Board:
    return Board.find(request.param)


@pytest.fixture(scope="module")
def built(request: pytest.FixtureRequest, board: Board, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The test application, or the one that the module names ``SOURCES``, compiled and linked once per module."""
    sources = getattr(request.module, "SOURCES", APP)
    project = Project(tmp_path_factory.mktemp("built"), board, sources)
    project.link()
    return project


@pytest.fixture(scope="module")
def board_dut(built: Project, dut_factory: Any) -> Iterator[Any]:
    """A board with the test application on it, one per module: reset it before use."""
    with dut_factory(board=built.board, elf=built.folder / "build" / "app.elf", folder=built.folder) as dut:
        yield dut


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """A fresh copy of the sources beside the firmware that was built from them."""
    copy = Project(tmp_path / "project", built.board, built.source)
    (copy.folder / "build" / "app.elf").write_bytes((built.folder / "build" / "app.elf").read_bytes())
    return copy


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "every_board: runs on every board of the tree, not on one alone")
