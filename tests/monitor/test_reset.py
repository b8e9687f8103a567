"""Power that fails at any step, and hosts that die at any byte: the old generation or the new one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from hotflash.wire import messages as m

from . import invariants
from .board import Step
from .client import Client, New, Transaction, request_frame

OLD = New(b"\x11" * 90, hook=3)
PUSH = [New(b"\x22" * 120, hook=3, deps=(4,)), New(b"\x33" * 61, hook=7), New(b"shared", m.SlotKind.CONST)]


def _frames(client: Client, transaction: Transaction) -> list[bytes]:
    writes = client.writes(transaction.image, 100)
    return [
        request_frame(1, transaction.begin),
        *(request_frame(2 + i, write) for i, write in enumerate(writes)),
        request_frame(90, transaction.commit),
    ]


def _steps(client: Client, kind: Step) -> int:
    """How many steps of a kind the push takes."""
    client.board.reset(power=True)
    client.drain()
    client.push([OLD])
    before = client.board.counters().steps[kind]
    for piece in _frames(client, client.transaction(PUSH, generation=1)):
        client.raw(piece)
    return client.board.counters().steps[kind] - before


@pytest.mark.parametrize("kind", [Step.HEAP_WRITE, Step.SWAP, Step.MASK, Step.HANDLER, Step.TX, Step.RX])
def test_power_fails_at_every_step_of_a_push(client: Client, kind: Step) -> None:
    assert client.app is not None
    steps = _steps(client, kind)
    assert steps > 0
    # Between two bytes nothing happens but a byte being put away: a tenth of those is enough.
    for at in range(1, steps + 1, 11 if kind in (Step.RX, Step.TX) else 1):
        client.board.reset(power=True)
        client.drain()
        client.push([OLD])
        frames = _frames(client, client.transaction(PUSH, generation=1))
        resets = client.board.resets
        client.board.cut(at, kind)
        for piece in frames:
            client.raw(piece)
            if client.board.resets != resets:
                break
        assert client.board.resets == resets + 1, f"{kind.name} {at} of {steps} was not reached"
        client.frames.clear()
        client.bad = 0  # the frame that the cut left half sent
        client.raw(b"\0")
        hello = client.hello()
        assert (hello.generation, hello.heap_free) == (0, hello.heap_size)
        assert client.table()[: len(client.app.initial)] == client.app.initial
        client.bad = 0
        invariants.check(client)
    client.push(PUSH)
    invariants.check(client)


def _cut(client: Client, length: int) -> tuple[list[bytes], tuple[int, ...]]:
    """The board on its first generation, and the first `length` bytes of a push; its frames, and the old hooks."""
    client.board.reset()
    client.drain()
    client.push([OLD])
    frames = _frames(client, client.transaction(PUSH, generation=1))
    old = client.table()
    client.raw(b"".join(frames)[:length])
    return frames, old


def _every_byte(client: Client) -> range:
    return range(len(b"".join(_frames(client, client.transaction(PUSH, generation=1)))) + 1)


def _after_cut(client: Client, old: tuple[int, ...], *, whole: bool) -> None:
    """The new generation if the commit's last byte was there, else the old one, nothing in between."""
    generation = client.hello().generation
    table = client.table()
    assert generation == (2 if whole else 1)
    assert (table == old) != whole
    assert {hook for hook, (now, before) in enumerate(zip(table, old, strict=True)) if now != before} <= {3, 7}
    client.bad = 0
    invariants.check(client)


def test_the_host_is_gone_at_any_byte(client: Client) -> None:
    """Another host comes along, with no idea of what was."""
    positions = _every_byte(client)
    for length in positions:
        _, old = _cut(client, length)
        client.raw(b"\0")
        _after_cut(client, old, whole=length >= positions[-1] - 1)  # the zero that it starts with ends a frame
        client.board.advance(5_100_000)  # the transaction has been silent for long enough
        client.push([replace(OLD, data=b"\x44" * 50)])
        client.bad = 0
    invariants.check(client)


def test_the_line_is_silent_at_any_byte(client: Client) -> None:
    """The same host repeats what was not answered, in order, with the numbers that it had."""
    positions = _every_byte(client)
    for length in positions:
        frames, old = _cut(client, length)
        ends = [len(b"".join(frames[: i + 1])) for i in range(len(frames))]
        client.raw(b"\0")
        assert client.table() == old or length >= positions[-1] - 1
        client.board.advance(4_000_000)
        for frame, end in zip(frames, ends, strict=True):
            if end > length or frame is frames[-1]:  # else answered: done twice it would be a second push
                (reply,) = client.raw(frame)
                assert reply.status is m.Status.OK, (length, reply)
        client.bad = 0
        _after_cut(client, old, whole=True)


def test_the_board_is_reset_at_any_byte(client: Client) -> None:
    """It begins with its base image, whatever was under way."""
    assert client.app is not None
    for length in _every_byte(client):
        _cut(client, length)
        client.board.reset()
        client.drain()
        client.raw(b"\0")
        hello = client.hello()
        assert (hello.generation, hello.heap_free) == (0, hello.heap_size)
        assert client.table()[: len(client.app.initial)] == client.app.initial
        client.push(PUSH)
        client.bad = 0
    invariants.check(client)


@pytest.mark.parametrize("seed", range(4))
def test_lost_frames_are_sent_again(client: Client, seed: int) -> None:
    """Any frame may be lost: repeating it with its seq brings the push to its end, once."""
    print("seed", seed)
    rng = random.Random(seed)
    for generation in range(12):
        news = [replace(new, data=rng.randbytes(len(new.data))) for new in PUSH]
        transaction = client.transaction(news, generation=generation)
        for piece in _frames(client, transaction):
            while True:
                fate = rng.random()
                if fate < 0.2:  # the request is lost
                    damaged = bytearray(piece)
                    damaged[len(piece) // 2] ^= 0x40
                    assert client.raw(bytes(damaged)) == []
                    continue
                (reply,) = client.raw(piece)
                if fate < 0.4:  # the reply is lost
                    continue
                assert reply.status is m.Status.OK, reply
                break
        assert client.hello().generation == generation + 1
        invariants.check(client)


def test_boots_are_counted_while_power_lasts(client: Client) -> None:
    first = client.hello().boot_count
    client.board.reset()
    client.drain()
    assert client.hello().boot_count == first + 1
    client.board.reset(power=True)
    client.drain()
    assert client.hello().boot_count <= 1
