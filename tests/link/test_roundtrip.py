"""Generated programs: edited while they run, they do what the edited program does when it is flashed anew.

The suite takes a few seeds of each level. ``make test-roundtrip-all`` takes hundreds; HOTFLASH_SEED and
HOTFLASH_ROUNDTRIPS say where it starts and how many programs it makes. The summary says how many edits were compared
and refused (``conftest.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.link.roundtrip import LEVELS, Builder, Tools, travel
from tests.link.toolchain import Workshop

SEED = int(os.environ.get("HOTFLASH_SEED", "1"))
ALL = int(os.environ.get("HOTFLASH_ROUNDTRIPS", "0"))

KINDS = [
    *(Tools(level) for level in LEVELS),
    *(Tools(level, "clang") for level in LEVELS),
    Tools("-Os", "gcc", "-O2"),
    Tools("-O2", "clang", "-Oz"),
    Tools("-O2", extra=("-fcommon", "-fno-section-anchors", "-mslow-flash-data")),
    Tools("-Os", extra=("-mlong-calls",)),
    Tools("-O3", extra=("-fno-jump-tables", "-fno-inline")),
]
"""Firmware's level, and compiler, level and more flags of the patches."""


def check(shop: Workshop, tools: Tools, seed: int, edits: int, note: Callable[[str, object], None]) -> int:
    count = refused = 0
    for number, trip in enumerate(travel(Builder(shop), seed, tools, edits)):
        where = f"seed {seed}, {tools}, edit {number} ({'; '.join(trip.edits)}) in {shop.folder}"
        if trip.refused:
            refused += 1
            continue
        assert trip.got == trip.expected, where
        assert trip.got, where
        assert not trip.state, f"{where}: {trip.state}"
        count += 1
    assert count + refused == edits
    note("edits compared", count)
    note("edits refused", refused)
    return count


@pytest.mark.parametrize("tools", KINDS, ids=str)
def test_round_trip(tmp_path: Path, tools: Tools, record_property: Callable[[str, object], None]) -> None:
    assert check(Workshop(tmp_path), tools, SEED + 97 * KINDS.index(tools), 3, record_property) > 0


@pytest.mark.skipif(not ALL, reason="the long run: make test-roundtrip-all")
@pytest.mark.parametrize("number", range(ALL))
def test_round_trip_long(tmp_path: Path, number: int, record_property: Callable[[str, object], None]) -> None:
    tools = KINDS[number % len(KINDS)]
    check(Workshop(tmp_path), tools, 10_000 * SEED + number, 4, record_property)
