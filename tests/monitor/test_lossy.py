"""A thousand pushes of the package's own host side over bad lines, into the monitor's own C: none goes wrong.

What the board holds is read past the line, from its memory. A push that fails says so, and leaves the old generation
or the new one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hotflash.device import Device
from hotflash.errors import HotflashError
from hotflash.transport import open_port
from hotflash.transport.lossy import LineModel, LossyTransport
from hotflash.wire import messages as m
from hotflash.wire.link import Link

from . import image
from .board import Board
from .client import Client
from .invariants import parse, used

PUSHES = int(os.environ.get("HOTFLASH_LOSSY", "400")) // 4
"""For each of the four lines; ``make lossy`` runs a thousand in all. They take time, for the line stands still, and
hardly any work."""
HOOKS = 8


@pytest.fixture
def board() -> Iterator[Board]:
    with Board(listen=0, realtime=True) as board:
        yield board


@dataclass
class Patch:
    """New versions of some functions, which a linker would hand over."""

    parts: dict[int, bytes]
    """By hook."""
    words: tuple[m.Word, ...] = ()
    ranges: tuple[m.Range, ...] = ()

    @property
    def image(self) -> bytes:
        return b"".join(self.parts.values())

    @property
    def pairs(self) -> tuple[m.Pair, ...]:
        return tuple(m.Pair(hook, number + 1, 8) for number, hook in enumerate(self.parts))

    def begin(self, generation: int, build_tag: int) -> m.BeginRequest:
        slots = tuple(m.SlotRequest(m.SlotKind.CODE, len(part), 0, hook, 1) for hook, part in self.parts.items())
        return m.BeginRequest(generation, build_tag, 0, len(slots), slots)


def _runs(board: Board, app: image.App) -> dict[int, bytes]:
    """The bytes that each bound hook leads to."""
    where = board.map
    blocks = used(parse(where.heap_base, board.peek(where.heap_base, where.heap_size)))
    table = board.words(app.hook_base, HOOKS)
    found = {}
    for hook, value in enumerate(table):
        for block in blocks.values():
            if block.payload <= value & ~1 < block.payload + block.length:
                found[hook] = block.data
    return found


@pytest.mark.parametrize(
    ("noise", "largest"),
    [
        ({"bit_errors": 1e-4}, 600),
        ({"bit_errors": 1e-3}, 120),
        ({"drops": 1e-3, "stalls": 1e-3, "stall": 0.005}, 600),
        ({"duplicates": 1e-3, "frame_duplicates": 0.05, "frame_loss": 0.02}, 600),
    ],
    ids=["bits-1e-4", "bits-1e-3", "drops", "duplicates"],
)
def test_pushes_over_a_bad_line(board: Board, noise: dict[str, Any], largest: int) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    app = image.make(board.map, hooks=HOOKS)
    Client(board).install(app)
    url = f"socket://127.0.0.1:{board.port}"
    model = LineModel(**noise)
    live: dict[int, bytes] = {}
    failed = 0
    with Device.over(Link(LossyTransport(open_port(url), tx=model, rx=model, seed=seed)), timeout=30.0) as device:
        generation = device.hello.generation
        for _ in range(PUSHES):
            hooks = rng.sample(range(HOOKS), rng.randint(1, 3))
            patch = Patch({hook: rng.randbytes(rng.randint(20, largest)) for hook in hooks})
            try:
                done = device.push(patch.begin(generation, app.build_tag), lambda _, patch=patch: patch)  # type: ignore[misc]
                assert done.generation == generation + 1
                live |= patch.parts
                generation += 1
            except HotflashError:
                failed += 1
                # The line is all that was wrong: ask again until an answer comes through.
                now = _generation(device)
                if now != generation:
                    assert now == generation + 1
                    live |= patch.parts
                generation = now
            assert _runs(board, app) == live
    with Device.over(Link(open_port(url))) as device:
        assert device.hello.generation == generation
        assert device.status().drift == 0
        assert device.status().rx_bad > 0, "the line was not bad"
        assert not [slot for slot in device.slots() if slot.flags & m.SlotFlag.OPEN]
    print(f"generation {generation}, {failed} pushes failed")
    assert failed <= PUSHES // 10
    assert generation >= PUSHES - failed


def _generation(device: Device) -> int:
    for _ in range(20):
        try:
            return device.refresh(5.0).generation
        except HotflashError:
            continue
    raise AssertionError("the board does not answer any more")
