"""Bounded memory: what does not fit is refused whole, what is not needed comes back, and nothing leaks."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from hotflash.wire import messages as m
from hotflash.wire.codec import Reader

from . import image, invariants
from .board import Board
from .client import Client, New

FUNCTION = New(bytes(range(100)), hook=3)


def _alive(client: Client, grant: m.Grant, new: New) -> bool:
    """Whether the slot is still there: its block may have been given to another."""
    block = invariants.check(client).get(grant.handle)
    return block is not None and block.kind == new.kind and block.data == new.data


def _gc(client: Client) -> m.GcReply:
    client.slots()  # the code that nothing holds goes now, so that only what is collected is counted
    return m.GcReply.unpack(client.do(m.GcRequest()))


def test_a_push_that_does_not_fit_changes_nothing(client: Client) -> None:
    size = client.board.map.heap_size
    client.push([FUNCTION])
    before = invariants.check(client)
    table = client.table()
    for news in (
        [New(bytes(10), hook=1), replace(FUNCTION, data=bytes(size))],
        [New(bytes(size // 2), hook=1), New(bytes(size // 2), hook=2)],
    ):
        reply = client.ask(client.transaction(news, generation=1).begin)
        assert reply.status is m.Status.E_NOMEM
        assert reply.shortage.memory == m.Memory.CODE_HEAP
        assert invariants.check(client) == before
        assert client.table() == table
        assert not client.hello().flags & m.HelloFlag.TXN_OPEN


@pytest.mark.parametrize("length", [0x7FFFFFE0, 0xFFFFFFE0, 0xFFFFFFFF, 0xFFFFFFBF])
def test_sizes_near_the_end_of_arithmetic(client: Client, length: int) -> None:
    for kind in (m.SlotKind.CODE, m.SlotKind.VAR | 0x80):
        begin = m.BeginRequest(
            0,
            client.app.build_tag if client.app else 0,
            0,
            0,
            (m.SlotRequest(kind, length, 0, 1, 1), m.SlotRequest(1, 8)),
        )
        assert client.ask(begin).status in (m.Status.E_NOMEM, m.Status.E_FORMAT, m.Status.E_RANGE)
    begin = m.BeginRequest(0, client.app.build_tag if client.app else 0, 0, length, (m.SlotRequest(1, 8),))
    assert client.ask(begin).status in (m.Status.E_NOMEM, m.Status.E_FORMAT, m.Status.E_RANGE)
    assert invariants.check(client) == {}


@pytest.mark.parametrize("kind", [0, 5, 6, 0x7F, 0x80, 0x81, 0x82, 0x83, 0xFF])
def test_kinds_that_cannot_be_asked_for(client: Client, kind: int) -> None:
    begin = m.BeginRequest(0, client.app.build_tag if client.app else 0, 0, 0, (m.SlotRequest(kind, 16),))
    assert client.ask(begin).status in (m.Status.E_FORMAT, m.Status.E_RANGE)
    assert invariants.check(client) == {}


@pytest.mark.parametrize("ref", [2, 3, 4, 5, 1001, 0xFFFFFFFF, 0xFFFFFFFE])
def test_deps_that_do_not_exist(client: Client, ref: int) -> None:
    reply = client.ask(client.transaction([replace(FUNCTION, deps=(ref,))], generation=0).begin)
    assert reply.status in (m.Status.E_RANGE, m.Status.E_FORMAT)
    assert invariants.check(client) == {}


@pytest.mark.parametrize("align", [6, 31, 32, 255])
def test_alignment_out_of_range(client: Client, align: int) -> None:
    reply = client.ask(client.transaction([New(bytes(4), m.SlotKind.VAR, align=align)], generation=0).begin)
    assert reply.status in (m.Status.E_RANGE, m.Status.E_FORMAT)


def test_payloads_are_what_was_written(client: Client) -> None:
    rng = random.Random(1)
    news = [New(rng.randbytes(n), hook=i) for i, n in enumerate((1, 2, 3, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 500))]
    grants, _ = client.push([replace(new, skip=0) for new in news], rng=rng)
    slots = invariants.check(client)
    for new, grant in zip(news, grants, strict=True):
        assert grant.address % 32 == 0
        assert slots[grant.handle].data == new.data
        assert client.table()[new.hook or 0] == grant.address | 1


def test_code_is_freed_when_nothing_leads_to_it(client: Client) -> None:
    handles = []
    for _ in range(5):
        (grant,), _ = client.push([FUNCTION])
        handles.append(grant.handle)
        slots = invariants.check(client)
        code = [slot for slot in slots.values() if slot.kind == m.SlotKind.CODE]
        assert len(code) <= 2  # live, and the undo record's
        assert handles[-1] in slots
    assert len(set(handles)) <= 4


def test_a_thousand_pushes_stay_on_a_plateau(client: Client) -> None:
    rng = random.Random(2)
    most = 0
    functions: set[int] = set()
    for generation in range(1000):
        hook = rng.randrange(6)
        functions.add(hook)
        client.push([New(rng.randbytes(rng.randrange(16, 400)), hook=hook)], generation=generation)
        if generation % 10 == 0:
            kinds = [slot.kind for slot in client.slots()]
            most = max(most, len(kinds) - len(functions))
    assert most <= 3, f"{most} slots above the live functions"
    slots = invariants.check(client)
    assert len(slots) <= 6 + 3
    assert client.hello().generation == 1000


def test_fragmentation_heals(client: Client) -> None:
    """After everything is unbound the whole heap is one block again."""
    rng = random.Random(3)
    generation = 0
    for _ in range(60):
        news = [
            New(rng.randbytes(rng.randrange(8, 900)), hook=hook) for hook in rng.sample(range(24), rng.randrange(1, 5))
        ]
        client.push(news, generation=generation)
        generation += 1
    client.push([], pairs=[m.Pair(hook, 0, 0) for hook in range(24)], generation=generation)
    client.push([], pairs=[m.Pair(0, 0, 0)], generation=generation + 1)
    client.slots()
    _gc(client)
    slots = invariants.check(client)
    assert all(slot.kind == m.SlotKind.LIST for slot in slots.values())
    free = [block for block in invariants.walk(client) if block.kind == m.SlotKind.FREE]
    assert len(free) <= 2


def test_the_heap_can_be_filled_to_the_last_block() -> None:
    with Board(heap_size=0x1000) as board:
        client = Client(board)
        client.install(image.make(board.map))
        # LIST of one pair and two code slots that take the rest: 4,096 bytes in all.
        generation = 0
        sizes = [n for n in range(3900, 4096, 4) if _fits(client, n, generation)]
        assert sizes
        largest = max(sizes)
        assert sizes == list(range(3900, largest + 4, 4))
        assert largest >= 4096 - 32 - 4 - 64 - 32


def _fits(client: Client, length: int, generation: int) -> bool:
    reply = client.ask(client.transaction([New(bytes(length), hook=1)], generation=generation).begin)
    if reply.status is m.Status.OK:
        client.do(m.AbortRequest())
        return True
    assert reply.status is m.Status.E_NOMEM
    return False


def test_undo_is_given_up_only_when_asked(client: Client) -> None:
    half = client.board.map.heap_size // 2 - 512
    client.push([New(bytes(half), hook=1)])
    client.push([New(b"\1" * half, hook=1)])
    third = client.transaction([New(b"\2" * half, hook=1)], generation=2)
    assert client.ask(third.begin).status is m.Status.E_NOMEM
    assert client.hello().flags & m.HelloFlag.UNDO
    third = client.transaction([New(b"\2" * half, hook=1)], generation=2, flags=1)
    client.begin(third)
    assert client.finish(third).status is m.Status.OK
    assert invariants.check(client)
    client.do(m.RollbackRequest(3, 0))
    invariants.check(client)


def test_undo_is_kept_when_there_is_room(client: Client) -> None:
    client.push([FUNCTION])
    live = client.table()
    client.push([replace(FUNCTION, data=bytes(50))], flags=1)
    client.do(m.RollbackRequest(2, 0))
    assert client.table() == live


def test_constants_are_only_collected_when_asked(client: Client) -> None:
    constant = New(b"hello, world\0", m.SlotKind.CONST)
    user = replace(FUNCTION, data=b"u" * 60, deps=(2,))
    (function, held), _ = client.push([user, constant])
    for _ in range(3):
        client.push([FUNCTION])
    assert not _alive(client, function, user)
    assert _alive(client, held, constant)
    assert invariants.check(client)[held.handle].refs == 0
    reply = _gc(client)
    assert reply.freed == 1
    assert reply.bytes >= 32 + len(constant.data)
    assert not _alive(client, held, constant)
    assert _gc(client).freed == 0


def test_shared_constants_live_as_long_as_one_user(client: Client) -> None:
    constant = New(b"shared\0", m.SlotKind.CONST)
    (_, held), _ = client.push([replace(FUNCTION, deps=(2,)), constant])
    client.push([New(bytes(30), hook=5, deps=(held.handle * 2 + 1,))])
    for _ in range(3):
        client.push([FUNCTION])
    _gc(client)
    assert _alive(client, held, constant)
    assert invariants.check(client)[held.handle].refs == 1
    for _ in range(3):
        client.push([New(bytes(30), hook=5)])
    assert _gc(client).freed == 1
    assert not _alive(client, held, constant)


def test_a_chain_of_users_goes_together(client: Client) -> None:
    news = [
        replace(FUNCTION, deps=(2,)),
        New(bytes(20), deps=(4,)),
        New(bytes(24), deps=(6,)),
        New(b"end", m.SlotKind.CONST),
    ]
    client.push(news)
    assert len(invariants.check(client)) == 5
    for _ in range(3):
        client.push([FUNCTION])
    client.slots()
    _gc(client)
    kinds = sorted(slot.kind for slot in invariants.check(client).values())
    assert kinds == [m.SlotKind.CODE, m.SlotKind.CODE, m.SlotKind.LIST]


def test_a_constant_that_data_points_to_is_kept(client: Client) -> None:
    where = client.board.map
    (_, held), _ = client.push([replace(FUNCTION, deps=(2,)), New(b"text\0", m.SlotKind.CONST)])
    client.board.poke(where.ram_base + 512, (held.address + 2).to_bytes(4, "little"))
    for _ in range(3):
        client.push([FUNCTION])
    assert _gc(client).freed == 0
    assert held.handle in invariants.check(client)
    client.board.poke(where.ram_base + 512, bytes(4))
    assert _gc(client).freed == 1


def test_collection_in_begin_when_asked(client: Client) -> None:
    big = New(bytes(client.board.map.heap_size // 2), m.SlotKind.CONST)
    client.push([replace(FUNCTION, deps=(2,)), big])
    for _ in range(3):
        client.push([FUNCTION])
    generation = client.hello().generation
    news = [New(bytes(len(big.data)), hook=2)]
    assert client.ask(client.transaction(news, generation=generation).begin).status is m.Status.E_NOMEM
    transaction = client.transaction(news, generation=generation, flags=2)
    client.begin(transaction)
    assert client.finish(transaction).status is m.Status.OK
    invariants.check(client)


def test_variables_are_placed_and_initialised(client: Client) -> None:
    where = client.board.map
    client.board.poke(where.data_base, b"\xaa" * where.data_size)
    news = [
        New(b"abc", m.SlotKind.VAR, align=0, ident=1),
        New(bytes(64), m.SlotKind.VAR, zero=True, align=5, ident=2),
        New(b"8 bytes!", m.SlotKind.VAR, align=3, ident=3),
        replace(FUNCTION, deps=(0, 2, 4)),
    ]
    grants, _ = client.push(news)
    for new, grant in zip(news[:3], grants[:3], strict=True):
        assert grant.address % (1 << new.align) == 0
        assert client.board.peek(grant.address, len(new.data)) == new.data
    invariants.check(client)
    assert client.hello().data_free <= where.data_size - 75


def test_the_data_heap_is_bounded(client: Client) -> None:
    size = client.board.map.data_size
    begin = client.transaction([New(bytes(size + 1), m.SlotKind.VAR, zero=True)], generation=0).begin
    reply = client.ask(begin)
    assert reply.status is m.Status.E_NOMEM
    assert reply.shortage.memory == m.Memory.DATA_HEAP
    fitting = client.transaction([New(bytes(size), m.SlotKind.VAR, zero=True, align=5)], generation=0)
    client.begin(fitting)
    client.do(m.AbortRequest())
    assert client.hello().data_free == size


def test_variables_go_with_the_masked_collection(client: Client) -> None:
    where = client.board.map
    variable = New(bytes(40), m.SlotKind.VAR, zero=True)
    client.push([replace(FUNCTION, deps=(2,)), variable])
    for _ in range(3):
        client.push([FUNCTION])
    assert any(slot.kind == m.SlotKind.VAR for slot in invariants.check(client).values())
    assert _gc(client).freed == 1
    assert client.hello().data_free == where.data_size


def test_stubs_own_spare_hooks(client: Client) -> None:
    assert client.app is not None
    news = []
    for i in range(8):
        news += [New(bytes(12), m.SlotKind.STUB, ident=100 + i), New(bytes(40), ident=100 + i)]
    grants = client.begin(client.transaction(news, generation=0))
    spares = [grant.hook - 1 for grant in grants[::2]]
    assert sorted(spares) == list(range(24, 32))
    assert [grant.hook for grant in grants[1::2]] == [0] * 8
    client.do(m.AbortRequest())
    again = client.transaction([New(bytes(12), m.SlotKind.STUB)] * 9, generation=0)
    reply = client.ask(again.begin)
    assert reply.status is m.Status.E_NOMEM
    assert reply.shortage == m.Shortage(m.Memory.SPARE_HOOKS, 1, 0)
    assert invariants.check(client) == {}


def test_a_new_function_is_reached_through_its_stub(client: Client) -> None:
    news = [New(bytes(12), m.SlotKind.STUB, ident=7), New(bytes(40), ident=7)]
    transaction = client.transaction(news, generation=0)
    stub, body = client.begin(transaction)
    client.do(m.AbortRequest())
    transaction = client.transaction(news, generation=0, pairs=[m.Pair(stub.hook - 1, 2, 8)])
    assert client.begin(transaction) == (stub, body)
    reply = client.finish(transaction)
    assert reply.status is m.Status.OK
    assert m.CommitReply.unpack(Reader(reply.body)).generation == 1
    assert client.table()[stub.hook - 1] == body.address + 8 | 1
    invariants.check(client)
    # Old frames may still call it, so no rollback takes a new function away; the masked collection does, when
    # nothing leads to its stub any more.
    client.push([FUNCTION])
    client.do(m.RollbackRequest(2, 1))
    assert client.table()[stub.hook - 1] == body.address + 8 | 1
    pointer = client.board.map.ram_base + 64
    client.board.poke(pointer, (stub.address | 1).to_bytes(4, "little"))
    client.push([FUNCTION])
    _gc(client)
    assert client.table()[stub.hook - 1] == body.address + 8 | 1
    client.board.poke(pointer, bytes(4))
    _gc(client)
    assert client.table()[stub.hook - 1] == invariants.SPARE_TRAP
    slots = invariants.check(client)
    assert not any(slot.kind == m.SlotKind.STUB for slot in slots.values())
