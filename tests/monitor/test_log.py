"""The log: whole lines, in order, dropped and counted when the line cannot keep up, from any interrupt."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from hotflash.wire import messages as m
from hotflash.wire.codec import Reader

from . import invariants
from .board import UNLIMITED, Field
from .client import Client, New


def stream(client: Client) -> tuple[bytes, int]:
    """Text of all log frames so far, and the last count of dropped lines; checks the frames' numbers."""
    client.drain()
    frames = [(seq, body) for channel, seq, body in client.frames if channel == m.Channel.LOG]
    for (a, _), (b, _) in itertools.pairwise(frames):
        assert b == (a + 1) & 0xFF
    text = bytearray()
    dropped = 0
    for _, body in frames:
        r = Reader(body)
        count = r.uv()
        assert count >= dropped
        dropped = count
        text += r.rest()
    return bytes(text), dropped


def test_lines_arrive_as_written(client: Client) -> None:
    lines = [b"one\n", b"two\nthree\n", b"part ", b"of a line\n", b"\n", b"zero \0 byte\n"]
    for line in lines:
        client.board.log(line)
    assert stream(client) == (b"".join(lines), 0)
    assert client.status().log_dropped == 0


def test_long_text_crosses_frames(client: Client) -> None:
    text = b"x" * 700 + b"\n"
    client.board.log(text)
    assert stream(client) == (text, 0)


@pytest.mark.parametrize("seed", range(5))
def test_whole_lines_are_dropped_and_counted(client: Client, seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    written = []
    client.board.set(Field.TX_BUDGET, 0)
    for number in range(300):
        line = b"line %d %s\n" % (number, b"." * rng.randrange(60))
        written.append(line)
        while line:  # in one or several calls
            part = rng.randrange(1, len(line) + 1) if rng.random() < 0.3 else len(line)
            client.board.log(line[:part])
            line = line[part:]
        if rng.random() < 0.5:
            client.board.set(Field.TX_BUDGET, rng.randrange(0, 60))
    client.board.set(Field.TX_BUDGET, UNLIMITED)
    client.drain()
    client.board.log(b"last\n")
    text, dropped = stream(client)
    status = client.status()
    assert status.log_dropped == dropped > 0
    lines = text.split(b"\n")
    assert lines[-1] == b""
    whole = [line + b"\n" for line in lines[:-1]]
    assert whole[-1] == b"last\n"
    assert whole[:-1], "something got through"
    numbers = []
    cut = 0
    for line in whole[:-1]:
        if line in written:
            numbers.append(written.index(line))
        else:
            # The beginning of a line whose rest did not fit: ended, and counted as dropped.
            assert any(entry.startswith(line[:-1]) for entry in written), line
            cut += 1
    assert numbers == sorted(set(numbers))
    assert len(numbers) + dropped == len(written)
    assert cut <= dropped


def test_a_line_longer_than_the_ring_is_dropped(client: Client) -> None:
    client.board.log(b"y" * 5000 + b"\n")
    client.board.log(b"after\n")
    assert stream(client) == (b"after\n", 1)


@pytest.mark.parametrize("at", range(1, 12))
def test_interrupts_log_in_the_middle_of_anything(client: Client, at: int) -> None:
    """An interrupt's line may come between two masked stretches of a log call, or of the handler's work."""
    client.board.inject(b"from interrupt\n", at, every=7, count=60)
    for i in range(20):
        client.board.log(b"line %d\n" % i)
    transaction = client.transaction([New(bytes(300), hook=1)], generation=0)
    client.begin(transaction)
    client.finish(transaction)
    for i in range(20, 40):
        client.board.log(b"line %d\n" % i)
    client.board.inject(b"", 0)
    text, dropped = stream(client)
    injected = client.board.counters().injected
    lines = text.splitlines()
    assert injected > 5
    assert dropped == 0
    assert lines.count(b"from interrupt") == injected
    assert [line for line in lines if line != b"from interrupt"] == [b"line %d" % i for i in range(40)]


@pytest.mark.parametrize("seed", range(3))
def test_interrupts_while_the_ring_is_full(client: Client, seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    client.board.inject(b"from an interrupt of the application\n", 1, every=5, count=150)
    client.board.set(Field.TX_BUDGET, 0)
    count = 200
    for i in range(count):
        client.board.log(b"line %d %s\n" % (i, b"-" * rng.randrange(30)))
        if rng.random() < 0.4:
            client.board.set(Field.TX_BUDGET, rng.randrange(80))
    client.board.inject(b"", 0)
    injected = client.board.counters().injected
    client.board.set(Field.TX_BUDGET, UNLIMITED)
    client.drain()
    client.board.log(b"last\n")
    text, dropped = stream(client)
    lines = text.splitlines()
    for line in lines:
        assert re.fullmatch(rb"from an interrupt of the application|line \d+ -*|last", line), line
    assert len(lines) - 1 + dropped == count + injected


def test_nothing_is_logged_while_no_application_runs(bare: Client) -> None:
    bare.drain()
    bare.frames.clear()
    bare.board.log(b"hello\n")
    assert stream(bare) == (b"", 0)


def test_log_and_push_share_the_line(client: Client) -> None:
    rng = random.Random(4)
    for generation in range(20):
        client.board.set(Field.TX_BUDGET, 40)
        for i in range(5):
            client.board.log(b"%d:%d\n" % (generation, i))
        client.board.set(Field.TX_BUDGET, UNLIMITED)
        client.push([New(rng.randbytes(200), hook=1)], generation=generation)
    text, dropped = stream(client)
    assert dropped == 0
    assert text == b"".join(b"%d:%d\n" % (g, i) for g in range(20) for i in range(5))
    invariants.check(client)
