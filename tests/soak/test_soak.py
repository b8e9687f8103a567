"""The suite's part of the soak, and proof that it sees what it looks for; ``make soak`` and ``make soak-mutants`` are
the long runs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.soak import cut, run
from tests.soak.firmware import MUTANTS, Firmware, Mutant, build

PUSHES = 1000
"""For each of the two ways."""
IN_THE_SUITE = {"stacks", "ram", "pc", "stacked-pc"}


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return build(tmp_path_factory.mktemp("soak"), versions=4)


@pytest.fixture
def seed() -> int:
    number = random.SystemRandom().randrange(1, 1 << 24)
    print(f"seed {number}: make soak SEED={number}")
    return number


@pytest.mark.parametrize("told", [False, True], ids=["untold", "told"])
def test_pushes_into_an_application_that_is_in_the_way(
    firmware: Firmware, tmp_path: Path, seed: int, told: bool
) -> None:
    """No trap, no wrong result, a plateau, and every slot accounted for."""
    figures = run.run(firmware, tmp_path / "project", seed, PUSHES, told=told)
    print(figures)
    assert figures.pushes == PUSHES
    assert figures.refused > 0, "no safe commit found the functions running"
    assert min(figures.aged) > 0, "a kind of scenario never saw itself replaced"
    # Flat: what comes later is no more than what was there at the beginning, within what the threads hold by chance.
    assert max(figures.peaks[len(figures.peaks) // 2 :]) <= max(figures.peaks[: len(figures.peaks) // 2]) + run.CHANCE


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name in IN_THE_SUITE], ids=lambda mutant: mutant.name)
def test_a_missing_check_is_seen(firmware: Firmware, tmp_path: Path, seed: int, mutant: Mutant) -> None:
    print(run.catch(firmware, tmp_path, seed, mutant))


def test_a_push_is_cut(firmware: Firmware, tmp_path: Path) -> None:
    """At a few bytes of its stream; ``make cut-all`` does it at every one."""
    assert cut.run(firmware, tmp_path, step=251) > 6
