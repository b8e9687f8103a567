"""Fixtures of the monitor's tests: a board on the host with an application that runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import build, image
from .board import Board
from .client import Client


@pytest.fixture(scope="session", autouse=True)
def _built() -> None:
    """Builds the harness once; other processes of the run wait for it and find it."""
    build.harness()


@pytest.fixture
def bare() -> Iterator[Client]:
    """A board whose flash is empty."""
    with Board() as board:
        yield Client(board)


@pytest.fixture
def client(bare: Client) -> Client:
    """A board with a running application of 24 functions and 8 spare hooks."""
    bare.install(image.make(bare.board.map))
    return bare
