"""A short, seeded part of the fuzzing; ``python -m tests.monitor.fuzz`` is the long one."""

from __future__ import annotations

import pytest

from . import fuzz


@pytest.mark.parametrize("seed", range(0, 80, 10))
def test_fuzz(seed: int) -> None:
    print("seed", seed)
    assert fuzz.run(seed, rounds=10, steps=60) == 10
