"""A bad line: damaged, cut, doubled, swapped and meaningless bytes change nothing and stop nothing."""

from __future__ import annotations

import random

import pytest

from hotflash.wire import messages as m

from . import invariants
from .board import UNLIMITED, Field
from .client import Client, New, cobs, frame, request_frame

SEEDS = range(6)


def _alive(client: Client) -> None:
    """The next Hello is answered, whatever came before: a zero ends what may still be open."""
    client.raw(b"\0")
    client.hello()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_frame_is_dropped_and_counted(client: Client, seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    where = client.board.map
    client.board.poke(where.ram_base, bytes(16))
    clean = request_frame(5, m.PokeRequest(where.ram_base, 1, 0, b"\x01\x02\x00\x03" * 3))
    for _ in range(60):
        damaged = bytearray(clean)
        for _ in range(rng.choice((1, 1, 2, 8))):
            damaged[rng.randrange(len(damaged) - 1)] ^= 1 << rng.randrange(8)
        if damaged == clean:
            continue
        assert client.raw(bytes(damaged)) == []
        client.raw(b"\0")
    assert client.board.peek(where.ram_base, 16) == bytes(16)
    assert client.status().rx_bad >= 50
    _alive(client)


def test_every_single_bit_error_is_caught(client: Client) -> None:
    clean = request_frame(5, m.AbortRequest())
    for bit in range(8 * (len(clean) - 1)):
        damaged = bytearray(clean)
        damaged[bit // 8] ^= 1 << bit % 8
        assert client.raw(bytes(damaged) + b"\0") == [], bit
    assert client.ask(m.AbortRequest()).status is m.Status.OK


def test_a_cut_frame_is_dropped(client: Client) -> None:
    clean = request_frame(5, client.transaction([New(bytes(64), hook=1)], generation=0).begin)
    for length in range(len(clean) - 1):
        assert client.raw(clean[:length] + b"\0") == []
    assert client.hello().heap_free == client.board.map.heap_size


@pytest.mark.parametrize("batch", [1, 7, 0])
def test_frames_too_long_are_dropped(client: Client, batch: int) -> None:
    hello = client.hello()
    client.batch = batch
    for extra in (17, 100, 1000):
        body = bytes([m.Op.WRITE]) + bytes(hello.chunk + extra)
        assert client.raw(frame(m.Channel.CONTROL, 1, body)) == []
        _alive(client)
    assert client.status().rx_bad >= 2 or client.status().rx_overrun > 0


def test_the_longest_frames_are_taken(client: Client) -> None:
    hello = client.hello()
    for fill in (b"\0", b"\x01", b"\xff"):
        (reply,) = client.raw(request_frame(1, m.WriteRequest(0, fill * hello.chunk)))
        assert reply.status is m.Status.E_NOTXN


def test_empty_frames_are_ignored(client: Client) -> None:
    assert client.raw(b"\0" * 50) == []
    assert client.status().rx_bad == 0
    client.hello()


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x01\x05", b"\x01\x05\x02", b"\x00\x00"])
def test_frames_too_short_for_a_request(client: Client, body: bytes) -> None:
    assert client.raw(cobs(body) + b"\0") == []
    _alive(client)


@pytest.mark.parametrize("channel", [0, 2, 3, 4, 5, 255])
def test_other_channels_are_not_answered(client: Client, channel: int) -> None:
    assert client.raw(frame(channel, 1, bytes([m.Op.GC]))) == []
    assert client.raw(frame(channel, 1, b"")) == []
    _alive(client)


def test_a_control_frame_without_operation(client: Client) -> None:
    replies = client.raw(frame(m.Channel.CONTROL, 1, b""))
    assert all(reply.status is not m.Status.OK for reply in replies)
    _alive(client)


@pytest.mark.parametrize("seed", SEEDS)
def test_noise(client: Client, seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    client.push([New(bytes(40), hook=1)])
    before = client.table()
    for _ in range(20):
        client.batch = rng.choice((0, 1, 5, 64))
        client.raw(rng.randbytes(rng.randrange(1, 3000)))
        client.raw(bytes(rng.choice((0, 1, 255)) for _ in range(400)))
    client.batch = 1
    _alive(client)
    assert client.table() == before
    invariants.check(client)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_push_over_a_line_that_doubles_and_swaps(client: Client, seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    for generation in range(8):
        data = rng.randbytes(rng.randrange(20, 900))
        transaction = client.transaction([New(data, hook=rng.randrange(24))], generation=generation)
        client.begin(transaction)
        frames = [request_frame(i, w, quiet=True) for i, w in enumerate(client.writes(transaction.image, 200, rng))]
        frames += rng.sample(frames, len(frames) // 2)
        rng.shuffle(frames)
        for piece in frames:
            assert client.raw(piece) == []
        commit = request_frame(200, transaction.commit)
        first = client.raw(commit)
        assert [reply.status for reply in first] == [m.Status.OK]
        assert client.raw(commit) == first
        assert client.hello().generation == generation + 1
        invariants.check(client)


def test_a_full_ring_loses_bytes_and_says_so(client: Client) -> None:
    client.batch = 0
    client.raw(b"\x05" * 20000)
    client.batch = 1
    _alive(client)
    assert client.status().rx_overrun > 0


def test_bytes_lost_by_the_uart_are_told(client: Client) -> None:
    client.board.set(Field.LOST, 3)
    client.hello()
    assert client.status().rx_overrun == 3


def test_replies_wait_for_a_slow_line(client: Client) -> None:
    """With the line stuffed, requests stay unanswered and are answered when it moves; none is lost."""
    client.board.set(Field.TX_BUDGET, 0)
    assert client.raw(b"".join(request_frame(seq, m.StatusRequest()) for seq in range(6))) == []
    client.board.set(Field.TX_BUDGET, 10)
    client.drain()
    client.board.set(Field.TX_BUDGET, UNLIMITED)
    assert [reply.seq for reply in client.drain()] == list(range(6))
