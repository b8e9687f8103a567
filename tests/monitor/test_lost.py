"""An application without memory protection writes over the monitor: the answer is that the state is lost."""

from __future__ import annotations

import random

import pytest

from hotflash.wire import messages as m

from . import invariants
from .client import Client, New
from .test_commands import examples

ALLOWED = (m.Op.HELLO, m.Op.STATUS, m.Op.RESET, m.Op.RECORD)


def test_only_hello_status_and_reset_are_left(client: Client) -> None:
    client.push([New(bytes(40), hook=1)])
    table = client.table()
    ram = client.board.peek(client.board.map.ram_base, 64)
    client.board.trample(client.board.map.state_size // 2)
    assert client.hello().flags & m.HelloFlag.STATE_LOST
    for message in examples(client):
        reply = client.ask(message)
        if message.OP in ALLOWED:
            assert reply.status is m.Status.OK
        else:
            assert reply.status is m.Status.E_LOST, message
    assert client.table() == table
    assert client.board.peek(client.board.map.ram_base, 64) == ram
    client.do(m.ResetRequest(0))
    client.drain()
    assert not client.hello().flags & m.HelloFlag.STATE_LOST
    client.push([New(bytes(40), hook=1)])
    invariants.check(client)


@pytest.mark.parametrize("seed", range(2))
def test_any_byte_of_the_state(client: Client, seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    for offset in range(seed, client.board.map.state_size, 2):
        client.board.reset()
        client.drain()
        client.push([New(bytes(40), hook=1)])
        table = client.table()
        client.board.trample(offset, rng.randrange(1, 256))
        reply = client.ask(m.RollbackRequest(1, 0))
        assert reply.status is m.Status.E_LOST, offset
        assert client.table() == table
        assert client.hello().flags & m.HelloFlag.STATE_LOST


@pytest.mark.parametrize("seed", range(6))
def test_the_heap_written_over(client: Client, seed: int) -> None:
    """Links of the heap are checked where they are followed: never a wild access, and then `state lost`."""
    print("seed", seed)
    rng = random.Random(seed)
    where = client.board.map
    for _ in range(25):
        client.board.reset()
        client.drain()
        client.push([New(bytes(40), hook=1, deps=(2,)), New(b"text", m.SlotKind.CONST)])
        client.push([New(bytes(80), hook=2)])
        blocks = invariants.walk(client)
        for _ in range(rng.choice((1, 1, 4, 30))):
            block = rng.choice(blocks)
            at = where.heap_base + block.handle * 32 + rng.randrange(32 if rng.random() < 0.8 else block.size)
            client.board.poke(at, bytes([rng.choice((0, 1, 0xFF, rng.randrange(256)))]))
        for message in (
            m.SlotsRequest(),
            m.GcRequest(),
            client.transaction([New(bytes(64), hook=3)], generation=2).begin,
            m.AbortRequest(),
            m.RollbackRequest(2, 0),
            m.HooksRequest(),
            m.StatusRequest(),
        ):
            client.ask(message)
        client.hello()
    client.board.reset()
    client.drain()
    assert client.hello().generation == 0
