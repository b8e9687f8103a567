r"""The pytest fixture ``dut``: a board under test.

::

    def test_blink(dut):
        dut.wait_log(r"counter \d+")
        dut.push("build/blink.o")
        assert dut.read("counter") > 0

Without ``--hotflash-port`` an emulated board is started. The options have ini settings of the same names
(``hotflash_board``, ``hotflash_port``, ``hotflash_elf``); the project's ``hotflash.toml`` and ``HOTFLASH_*``
count when neither is given. Importing this module must stay cheap: every pytest run of an environment that
has hotflash installed does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotflash.testing import Dut, DutFactory


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options."""
    group = parser.getgroup("hotflash", "boards under test")
    for name, text in (
        ("board", "board to test on: its name, or the path of its folder"),
        ("port", "serial device or URL of a real board; default: an emulated one"),
        ("elf", "application that is flashed before the tests"),
    ):
        group.addoption(f"--hotflash-{name}", default=None, metavar=name.upper(), help=text)
        parser.addini(f"hotflash_{name}", text, default=None)


def _chosen(config: pytest.Config, name: str) -> str | None:
    value = config.getoption(f"--hotflash-{name}")
    if value:
        return str(value)
    ini = config.getini(f"hotflash_{name}")
    if not ini:
        return None
    # A path in an ini file counts from the file's folder.
    base = config.inipath.parent if config.inipath is not None else config.rootpath
    return str(base / ini) if name == "elf" or (name == "board" and "/" in ini) else str(ini)


@pytest.fixture(scope="session")
def dut_factory(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DutFactory]:
    """Makes boards under test, for fixtures of any scope.

    ``with dut_factory(elf="build/app.elf") as dut:`` is what a fixture of module scope does.

    Keyword arguments ``board`` (a Board, name or path), ``port``, ``elf`` and ``folder`` (the project's
    folder; a fresh one) override the options. Boards that are still open end with the test run.
    """
    from hotflash.testing import DutFactory

    with DutFactory(
        board=_chosen(pytestconfig, "board"),
        port=_chosen(pytestconfig, "port"),
        elf=_chosen(pytestconfig, "elf"),
        project=pytestconfig.rootpath,
        make_folder=lambda: tmp_path_factory.mktemp("dut"),
    ) as factory:
        yield factory


@pytest.fixture(scope="session")
def _hotflash_board(request: pytest.FixtureRequest) -> Iterator[Dut]:
    factory: DutFactory = request.getfixturevalue("dut_factory")
    with factory() as board:
        yield board


@pytest.fixture
def dut(_hotflash_board: Dut) -> Iterator[Dut]:
    """The board under test, on its base image and freshly reset, with the application running."""
    _hotflash_board.reset()
    yield _hotflash_board
    _hotflash_board.clear_log()
