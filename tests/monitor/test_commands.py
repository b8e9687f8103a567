"""Each operation: accepted when it is right, one clear refusal when it is not, and done once only."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from hotflash.wire import messages as m
from hotflash.wire.codec import Reader

from . import image, invariants
from .board import Board, Context, Field
from .client import Client, New, Reply, Request, frame, packed, request_frame

FUNCTION = New(bytes(range(40)), hook=3)


def examples(client: Client) -> list[Request]:
    """One well-formed request of each operation."""
    assert client.app is not None
    where = client.board.map
    transaction = client.transaction([FUNCTION], generation=0)
    return [
        m.HelloRequest(1, 1, 7),
        m.StatusRequest(),
        m.SlotsRequest(),
        m.HooksRequest(),
        transaction.begin,
        m.WriteRequest(0, transaction.image),
        transaction.commit,
        m.AbortRequest(),
        m.RollbackRequest(0, 0),
        m.GcRequest(),
        m.PinRequest(0, 1),
        m.ReadRequest(where.ram_base, 16),
        m.PokeRequest(where.ram_base, 0, 0, bytes(8)),
        m.FlashBeginRequest(4096, client.app.mark),
        m.FlashEraseRequest(1, 1),
        m.FlashWriteRequest(0, bytes(16)),
        m.FlashEndRequest(4096, 0),
        m.RecordRequest(),
        m.ConfirmRequest(0),
        m.ContinueRequest(),
        m.ParkRequest(),
        m.RestartRequest(client.app.initial[0]),
    ]


def test_hello_describes_the_board(client: Client) -> None:
    where = client.board.map
    hello = client.hello()
    assert client.app is not None
    assert hello.version == m.VERSION
    assert hello.board == "host"
    assert hello.build_id == client.app.build_id
    assert hello.flags == m.HelloFlag.APP_VALID | m.HelloFlag.APP_HOT | m.HelloFlag.APP_RUNS | m.HelloFlag.TICK
    assert (hello.heap_base, hello.heap_size, hello.heap_free) == (where.heap_base, where.heap_size, where.heap_size)
    assert (hello.data_base, hello.data_size, hello.data_free) == (where.data_base, where.data_size, where.data_size)
    assert (hello.hook_base, hello.hook_capacity, hello.hook_count) == (where.hook_base, 32, 24)
    assert (hello.flash_base, hello.flash_size, hello.flash_page) == (
        where.flash_base,
        where.flash_size,
        where.flash_page,
    )
    assert hello.chunk >= 128
    assert hello.credits >= 2
    assert hello.core >> 4 & 0xFFF == 0xC24
    assert hello.generation == 0


@pytest.mark.parametrize(
    ("low", "high", "spoken"),
    [(1, 1, 1), (1, 2, 1), (0, 1, 1), (0, 255, 1), (2, 2, 0), (2, 255, 0), (0, 0, 0), (2, 1, 0)],
)
def test_hello_negotiates_the_version(client: Client, low: int, high: int, spoken: int) -> None:
    assert client.hello(low, high).version == spoken
    assert client.hello().version == m.VERSION


def test_unknown_operations_are_refused(client: Client) -> None:
    known = {op.value for op in m.Op}
    for op in set(range(128)) - known:
        (reply,) = client.raw(frame(m.Channel.CONTROL, client.next_seq(), bytes([op])))
        assert reply.status is m.Status.E_OP, op
    invariants.check(client)


def test_quiet_bit_is_only_for_writes(client: Client) -> None:
    for message in (m.StatusRequest(), m.AbortRequest(), m.SlotsRequest()):
        assert client.ask(message, quiet=True).status is m.Status.E_OP


@pytest.mark.parametrize("index", range(17))
def test_cut_and_padded_messages_are_refused(client: Client, index: int) -> None:
    message = examples(client)[index]
    whole = bytes([message.OP]) + packed(message)
    before = client.table(), client.board.peek(client.board.map.ram_base, 64)
    ends_in_bytes = isinstance(message, m.WriteRequest | m.PokeRequest | m.FlashWriteRequest)
    for length in range(1, len(whole)):
        client.hello()
        (reply,) = client.raw(frame(m.Channel.CONTROL, client.next_seq(), whole[:length]))
        assert reply.status is not m.Status.OK or (ends_in_bytes and isinstance(message, m.PokeRequest)), length
        if reply.status is m.Status.OK:
            continue
        assert (client.table(), client.board.peek(client.board.map.ram_base, 64)) == before
    if not ends_in_bytes:
        (reply,) = client.raw(frame(m.Channel.CONTROL, client.next_seq(), whole + b"\0"))
        assert reply.status in (m.Status.E_FORMAT, m.Status.E_OP, m.Status.E_NOTXN)
    invariants.check(client)


def test_begin_is_refused_for_another_build_or_generation(client: Client) -> None:
    assert client.app is not None
    wrong = client.transaction([FUNCTION], generation=0, tag=client.app.build_tag ^ 1)
    assert client.ask(wrong.begin).status is m.Status.E_BUILD
    wrong = client.transaction([FUNCTION], generation=1)
    assert client.ask(wrong.begin).status is m.Status.E_GEN
    assert invariants.check(client) == {}


def test_nothing_works_without_begin(client: Client) -> None:
    transaction = client.transaction([FUNCTION], generation=0)
    assert client.ask(m.WriteRequest(0, b"x")).status is m.Status.E_NOTXN
    assert client.ask(transaction.commit).status is m.Status.E_NOTXN
    assert client.ask(m.AbortRequest()).status is m.Status.OK
    assert client.ask(m.RollbackRequest(0, 0)).status is m.Status.E_NOUNDO
    invariants.check(client)


def test_nothing_is_pushed_without_an_application(bare: Client) -> None:
    hello = bare.hello()
    assert hello.flags == m.HelloFlag.TICK
    assert hello.build_id == bytes(20)
    bare.app = image.make(bare.board.map)
    assert bare.ask(bare.transaction([FUNCTION], generation=0).begin).status is m.Status.E_NOAPP
    assert bare.ask(m.RollbackRequest(0, 0)).status in (m.Status.E_NOAPP, m.Status.E_NOUNDO)


def test_a_second_begin_is_busy_until_the_first_is_silent(client: Client) -> None:
    first = client.transaction([FUNCTION], generation=0)
    client.begin(first)
    other = client.transaction([replace(FUNCTION, hook=4)], generation=0)
    assert client.hello().flags & m.HelloFlag.TXN_OPEN
    assert client.ask(other.begin).status is m.Status.E_BUSY
    client.board.advance(4_900_000)
    assert client.ask(other.begin).status is m.Status.E_BUSY
    client.board.advance(5_100_000)
    client.begin(other)
    assert client.finish(other).status is m.Status.OK
    assert client.table()[3] == client.app.initial[3]  # type: ignore[union-attr]
    invariants.check(client)


def test_writes_keep_a_transaction_alive(client: Client) -> None:
    first = client.transaction([FUNCTION], generation=0)
    client.begin(first)
    for _ in range(3):
        client.board.advance(4_000_000)
        client.do(m.WriteRequest(0, first.image))
        assert client.ask(first.begin).status is m.Status.E_BUSY
    assert client.ask(first.commit).status is m.Status.OK


def test_abort_frees_everything(client: Client) -> None:
    transaction = client.transaction([FUNCTION, New(b"constant", m.SlotKind.CONST)], generation=0)
    client.begin(transaction)
    client.do(m.AbortRequest())
    client.do(m.AbortRequest())
    assert invariants.check(client) == {}
    assert client.hello().generation == 0


def test_seal_keeps_the_transaction_open(client: Client) -> None:
    transaction = client.transaction([FUNCTION], generation=0)
    client.begin(transaction)
    damaged = bytearray(transaction.image)
    damaged[7] ^= 0x10
    client.do(m.WriteRequest(0, bytes(damaged)))
    before = client.table()
    assert client.ask(transaction.commit).status is m.Status.E_SEAL
    assert client.table() == before
    client.do(m.WriteRequest(0, transaction.image))
    assert client.ask(transaction.commit).status is m.Status.OK
    assert client.hello().generation == 1


def test_seal_covers_pairs_and_begin(client: Client) -> None:
    transaction = client.transaction([FUNCTION], generation=0)
    client.begin(transaction)
    client.do(m.WriteRequest(0, transaction.image))
    elsewhere = replace(transaction.commit, pairs=(m.Pair(5, 1, 8),))
    assert client.ask(elsewhere).status is m.Status.E_SEAL
    assert client.ask(transaction.commit).status is m.Status.OK


@pytest.mark.parametrize(
    "pair",
    [
        m.Pair(32, 1, 8),
        m.Pair(0xFFFFFFFF, 1, 8),
        m.Pair(3, 2, 8),
        m.Pair(3, 0xFFFFFFFF, 8),
        m.Pair(3, 1, 41),
        m.Pair(3, 1, 255),
    ],
)
def test_pairs_out_of_range_are_refused(client: Client, pair: m.Pair) -> None:
    transaction = client.transaction([replace(FUNCTION, hook=None)], generation=0, pairs=[pair])
    client.begin(transaction)
    assert client.finish(transaction).status in (m.Status.E_RANGE, m.Status.E_FORMAT)
    assert invariants.check(client) == {}
    assert client.hello().generation == 0


@pytest.mark.parametrize("offset", ["hooks", "heap", "flash", "monitor", "unmapped", "odd", "past", "uart"])
def test_words_out_of_range_are_refused(client: Client, offset: str) -> None:
    where = client.board.map
    address = {
        "hooks": where.hook_base,
        "heap": where.heap_base,
        "flash": where.flash_base,
        "monitor": where.monitor_base,
        "unmapped": 0x60000000,
        "odd": where.ram_base + 2,
        "past": where.ram_base + where.ram_size,
        "uart": 0x40004000,
    }[offset]
    transaction = client.transaction([FUNCTION], generation=0, words=[m.Word(address, 1)])
    client.begin(transaction)
    assert client.finish(transaction).status is m.Status.E_RANGE
    assert invariants.check(client) == {}


def test_words_and_hooks_are_swapped_together_and_back(client: Client) -> None:
    where = client.board.map
    client.board.poke(where.ram_base + 64, bytes.fromhex("11111111 22222222"))
    client.push([FUNCTION], words=[m.Word(where.ram_base + 64, 0xAAAA), m.Word(where.ram_base + 68, 0xBBBB)])
    assert client.board.words(where.ram_base + 64, 2) == (0xAAAA, 0xBBBB)
    client.do(m.RollbackRequest(1, 0))
    assert client.board.words(where.ram_base + 64, 2) == (0x11111111, 0x22222222)
    client.do(m.RollbackRequest(2, 0))
    assert client.board.words(where.ram_base + 64, 2) == (0xAAAA, 0xBBBB)
    assert client.board.counters().swaps == 3
    invariants.check(client)


@pytest.mark.parametrize("count", [0, 2, 7])
def test_more_or_fewer_pairs_than_announced(client: Client, count: int) -> None:
    transaction = client.transaction([FUNCTION], generation=0)
    transaction.begin = replace(transaction.begin, pairs=count)
    client.begin(transaction)
    status = client.finish(transaction).status
    assert status is not m.Status.OK  # the seal covers the announcement
    client.do(m.AbortRequest())
    assert invariants.check(client) == {}


def test_rollback_guards_its_generation(client: Client) -> None:
    client.push([FUNCTION])
    assert client.ask(m.RollbackRequest(0, 0)).status is m.Status.E_GEN
    assert client.hello().generation == 1


@pytest.mark.parametrize("operation", ["begin", "commit", "rollback", "gc", "pin", "poke"])
def test_a_repeated_request_is_answered_alike_and_done_once(client: Client, operation: str) -> None:
    where = client.board.map
    transaction = client.transaction([FUNCTION], generation=0)
    repeated: Request
    if operation == "begin":
        repeated = transaction.begin
    elif operation == "commit":
        client.begin(transaction)
        client.do(m.WriteRequest(0, transaction.image))
        repeated = transaction.commit
    else:
        client.push([FUNCTION])
        slot = next(slot for slot in client.slots() if slot.kind == m.SlotKind.CODE)
        choices: dict[str, Request] = {
            "rollback": m.RollbackRequest(1, 0),
            "gc": m.GcRequest(),
            "pin": m.PinRequest(slot.handle, 1),
            "poke": m.PokeRequest(where.ram_base, 4, 0, b"once"),
        }
        repeated = choices[operation]
    seq = client.next_seq()
    first = client.ask(repeated, seq=seq)
    assert first.status is m.Status.OK
    state = client.table(), client.board.peek(where.heap_base, where.heap_size)
    client.board.poke(where.ram_base, b"else")
    swaps = client.board.counters().swaps
    for _ in range(3):
        assert client.ask(repeated, seq=seq) == first
        assert client.ask(m.StatusRequest()).status is m.Status.OK  # leaves the cached reply alone
    assert (client.table(), client.board.peek(where.heap_base, where.heap_size)) == state
    assert client.board.peek(where.ram_base, 4) == b"else"
    assert client.board.counters().swaps == swaps


def test_hello_forgets_the_cached_reply(client: Client) -> None:
    transaction = client.transaction([FUNCTION], generation=0)
    seq = client.next_seq()
    assert client.ask(transaction.begin, seq=seq).status is m.Status.OK
    client.hello()
    assert client.ask(transaction.begin, seq=seq).status is m.Status.E_BUSY


def test_the_same_seq_with_another_request_is_done(client: Client) -> None:
    client.push([FUNCTION])
    assert client.ask(m.RollbackRequest(1, 0), seq=9).status is m.Status.OK
    assert client.ask(m.RollbackRequest(2, 0), seq=9).status is m.Status.OK
    assert client.hello().generation == 3


def test_quiet_writes_answer_only_when_refused(client: Client) -> None:
    transaction = client.transaction([FUNCTION], generation=0)
    assert client.ask(m.WriteRequest(0, b"x"), quiet=True).status is m.Status.E_NOTXN
    client.begin(transaction)
    assert client.raw(request_frame(1, m.WriteRequest(0, transaction.image), quiet=True)) == []
    assert client.ask(m.WriteRequest(len(transaction.image), b"x"), quiet=True).status is m.Status.E_RANGE
    assert client.ask(m.WriteRequest(0xFFFFFFFF, b"x"), quiet=True).status is m.Status.E_RANGE
    assert client.ask(transaction.commit).status is m.Status.OK


def test_requests_in_a_row_are_answered_in_order(client: Client) -> None:
    client.batch = 0
    data = b"".join(request_frame(seq, m.StatusRequest()) for seq in range(40, 43))
    replies = client.raw(data)
    assert [reply.seq for reply in replies] == [40, 41, 42]


def test_a_whole_push_in_one_burst_with_credits(client: Client) -> None:
    """Begin, then Writes and Commit without waiting in between, as docs/SPEC.md, Conversation, has it."""
    hello = client.hello()
    data = random.Random(5).randbytes(hello.chunk * 2)
    transaction = client.transaction([New(data, hook=1)], generation=0)
    client.begin(transaction)
    burst = b"".join(
        request_frame(client.next_seq(), write, quiet=True) for write in client.writes(data, hello.chunk)
    ) + request_frame(99, transaction.commit)
    client.batch = 0
    (reply,) = client.raw(burst)
    assert reply.seq == 99
    assert reply.status is m.Status.OK
    assert client.status().rx_overrun == 0


def test_base_hook_is_bound_by_target_zero(client: Client) -> None:
    client.push([FUNCTION, replace(FUNCTION, hook=4)])
    client.push([], pairs=[m.Pair(3, 0, 0)])
    assert client.app is not None
    assert client.table()[3] == client.app.initial[3]
    assert client.table()[4] != client.app.initial[4]
    client.do(m.RollbackRequest(2, 1))
    assert client.table()[:24] == client.app.initial
    assert client.hooks() == {}
    invariants.check(client)


def test_rollback_to_base_can_be_undone(client: Client) -> None:
    client.push([FUNCTION])
    live = client.table()
    client.do(m.RollbackRequest(1, 1))
    client.do(m.RollbackRequest(2, 0))
    assert client.table() == live
    invariants.check(client)


def test_generation_counts_and_boot_starts_again(client: Client) -> None:
    for expected in range(1, 4):
        _, reply = client.push([FUNCTION])
        assert reply.generation == expected
    boots = client.hello().boot_count
    client.board.reset()
    client.drain()
    hello = client.hello()
    assert (hello.generation, hello.boot_count) == (0, boots + 1)
    assert invariants.check(client) == {}


def test_reset_answers_first_and_waits_when_asked(client: Client) -> None:
    assert client.ask(m.ResetRequest(1)).status is m.Status.OK
    assert client.board.counters().reset_requested == 1
    assert not client.hello().flags & m.HelloFlag.APP_RUNS
    assert client.hello().flags & m.HelloFlag.APP_VALID
    client.do(m.ResetRequest(0))
    assert client.hello().flags & m.HelloFlag.APP_RUNS


def test_priority_flags_are_told(client: Client) -> None:
    client.board.set(Field.PRIORITY_FLAGS, m.HelloFlag.PRIO_ZERO | m.HelloFlag.PENDSV_ZERO)
    flags = client.hello().flags
    assert flags & m.HelloFlag.PRIO_ZERO
    assert flags & m.HelloFlag.PENDSV_ZERO


def test_protection_is_told(client: Client) -> None:
    client.board.set(Field.PROTECTION, m.ProtectFlag.HEAP | m.ProtectFlag.TAKEN)
    assert client.status().protection == m.ProtectFlag.HEAP | m.ProtectFlag.TAKEN


def test_pins_keep_a_slot_and_are_counted(client: Client) -> None:
    pinned = replace(FUNCTION, data=b"pinned" * 9)
    (grant,), _ = client.push([pinned])
    for pin, refs in ((0, 1), (1, 2), (1, 2), (0, 1), (1, 2)):
        client.do(m.PinRequest(grant.handle, pin))
        assert invariants.check(client)[grant.handle].refs == refs
    for _ in range(3):
        client.push([FUNCTION])
    assert invariants.check(client)[grant.handle].data == pinned.data
    client.do(m.PinRequest(grant.handle, 0))
    slots = invariants.check(client)
    assert grant.handle not in slots or slots[grant.handle].data != pinned.data
    for handle in (0xFFFF, 0xFFFFFFFF, client.board.map.heap_size // 32):
        assert client.ask(m.PinRequest(handle, 1)).status is m.Status.E_RANGE


def test_safe_commit_without_frames(client: Client) -> None:
    client.board.context(Context({"pc": client.app.initial[0] & ~1}))  # type: ignore[union-attr]
    _, reply = client.push([FUNCTION, replace(FUNCTION, hook=4)], mode=m.CommitMode.SAFE)
    assert reply.generation == 1
    assert reply.masked > 0


def test_commit_mode_out_of_range(client: Client) -> None:
    transaction = client.transaction([FUNCTION], generation=0, mode=2)
    client.begin(transaction)
    assert client.finish(transaction).status is m.Status.E_FORMAT


def _statuses(replies: list[Reply]) -> list[m.Status]:
    return [reply.status for reply in replies]


def test_credits_of_full_size_fit_the_ring() -> None:
    with Board(chunk=128, credits=3) as board:
        client = Client(board)
        client.install(image.make(board.map))
        hello = client.hello()
        data = bytes(hello.chunk * hello.credits)
        transaction = client.transaction([New(data, hook=1)], generation=0)
        client.begin(transaction)
        client.batch = 0
        burst = b"".join(request_frame(i, w) for i, w in enumerate(client.writes(data, hello.chunk)))
        assert _statuses(client.raw(burst)) == [m.Status.OK] * hello.credits
        assert client.status().rx_overrun == 0
        reply = client.ask(transaction.commit)
        assert m.CommitReply.unpack(Reader(reply.body)).generation == 1
