"""Parking, continuing, restarts and trials as far as the monitor's portable part decides about them."""

from __future__ import annotations

import random
import struct

import pytest

from hotflash.wire import messages as m
from hotflash.wire import record
from hotflash.wire.codec import Reader
from hotflash.wire.messages import HelloFlag, ParkReason, Status

from . import invariants
from .board import Context, Field
from .client import Client, New, request_frame

CONTINUED = 2
ATTENTION = bytes(16)


def function(fill: int = 0xBF) -> New:
    return New(bytes([fill]) * 40, hook=3)


def flags(client: Client) -> HelloFlag:
    return HelloFlag(client.hello().flags)


def read_record(client: Client) -> record.Registers | None:
    return record.unpack(m.RecordReply.unpack(client.do(m.RecordRequest())).words)


def reports(client: Client, kind: int) -> list[bytes]:
    """Bodies of the fault channel's frames of one kind."""
    return [body[1:] for channel, _, body in client.frames if channel == m.Channel.FAULT and body[0] == kind]


def entry(client: Client, index: int = 0) -> int:
    """Some function of the application, as its static entry."""
    assert client.app is not None
    return client.app.initial[index]


def cleanup(client: Client, place: int, run: int, argument: int) -> int:
    """Lays a ``struct hf_cleanup`` down and registers it."""
    address = client.board.map.ram_base + place
    client.board.poke(address, struct.pack("<III", run, argument, 0xDEADBEEF))
    client.board.register(address, 1)
    return address


def parking(client: Client, on_park: int = 0, on_continue: int = 0, on_restart: int = 0) -> None:
    address = client.board.map.ram_base + 0x100
    client.board.poke(address, struct.pack("<5I", on_park, on_continue, on_restart, 0, 0))
    client.board.register(address, 2)


def test_a_fault_is_reported_and_the_monitor_answers_on(client: Client) -> None:
    words = tuple(0x11110000 + i for i in range(21))
    assert read_record(client) is None
    assert not flags(client) & HelloFlag.RECORD
    client.push([function(0x01)])
    client.board.fault(words)
    client.drain()
    (body,) = reports(client, 3)
    told = record.unpack(body)
    assert told is not None
    assert told.r == words[:16]
    assert (told.xpsr, told.cfsr, told.hfsr, told.mmfar, told.bfar) == words[16:]
    assert (told.reason, told.final, told.generation) == (ParkReason.FAULT, False, 1)
    assert told.boot == client.hello().boot_count
    assert (
        flags(client) & (HelloFlag.PARKED | HelloFlag.FINAL | HelloFlag.RECORD) == HelloFlag.PARKED | HelloFlag.RECORD
    )
    assert read_record(client) == told, "a host that comes later is told the same"
    client.push([function()])
    invariants.check(client)


def test_the_record_survives_a_reset_but_not_the_power(client: Client) -> None:
    client.board.fault(tuple(range(21)))
    before = read_record(client)
    client.do(m.ResetRequest(0))
    client.drain()
    assert not flags(client) & HelloFlag.PARKED
    assert read_record(client) == before
    assert before is not None
    assert before.boot != client.hello().boot_count
    client.board.reset(power=True)
    client.drain()
    assert read_record(client) is None


def test_park_and_continue(client: Client) -> None:
    parking(client, on_park=entry(client, 1), on_continue=entry(client, 2))
    assert client.ask(m.ContinueRequest()).status is Status.E_STATE
    client.do(m.ParkRequest())
    assert flags(client) & HelloFlag.PARKED
    assert client.board.calls() == [(entry(client, 1), ParkReason.ASKED)]
    told = read_record(client)
    assert told is not None
    assert told.reason == ParkReason.ASKED
    client.do(m.ParkRequest())
    assert len(reports(client, 3)) == 1, "it was parked already"
    client.push([function()])
    client.do(m.ContinueRequest())
    client.drain()
    assert not flags(client) & HelloFlag.PARKED
    assert client.board.counters().left_by == CONTINUED
    assert client.board.calls() == [(entry(client, 1), ParkReason.ASKED), (entry(client, 2), ParkReason.ASKED)]
    assert client.hello().generation == 1
    invariants.check(client)


def test_a_repeated_continue_is_not_done_twice(client: Client) -> None:
    client.do(m.ParkRequest())
    frame = request_frame(client.next_seq(), m.ContinueRequest())
    (first,) = client.raw(frame)
    client.drain()
    (again,) = client.raw(frame)
    assert first == again
    assert first.status is Status.OK
    assert client.board.counters().parked == 0


def test_what_cannot_go_on_can_restart(client: Client) -> None:
    client.board.park(ParkReason.FAULT, final=True)
    client.drain()
    assert flags(client) & HelloFlag.FINAL
    refused = client.ask(m.ContinueRequest())
    assert refused.status is Status.E_STATE
    assert refused.body == bytes([m.Reason.CONTEXT_LOST])
    client.do(m.RestartRequest(entry(client)))
    client.drain()
    assert client.board.counters().left_by == entry(client)
    assert not flags(client) & (HelloFlag.PARKED | HelloFlag.FINAL)


@pytest.mark.parametrize("parked", [False, True])
def test_cleanups_run_innermost_first_and_once(client: Client, parked: bool) -> None:
    run = [entry(client, index) for index in range(5)]
    parking(client, on_park=run[3], on_restart=run[4])
    places = [cleanup(client, 0x10 * index, run[index % 3], index) for index in range(1, 6)]
    client.board.register(places[1], 0)
    client.board.register(places[1], 0)
    client.board.register(places[0], 1)  # again: it is the last one now
    if parked:
        client.do(m.ParkRequest())
    client.do(m.RestartRequest(run[0]))
    client.drain()
    told = [(run[3], ParkReason.ASKED)] if parked else []
    want = [*told, *((run[index % 3], index) for index in (1, 5, 4, 3)), (run[4], 0)]
    assert client.board.calls() == want
    assert client.board.counters().left_by == run[0]
    assert not reports(client, 3) or parked, "a restart alone is no parking"
    client.do(m.RestartRequest(run[0]))
    client.drain()
    assert client.board.calls() == want, "the new main registers anew"


def test_what_the_application_registered_is_checked(client: Client) -> None:
    """Wild addresses end the list, and are not called."""
    rng = random.Random(4)
    where = client.board.map
    wild = [0, 2, 3, 0xFFFFFFFF, where.monitor_base, where.ram_base + where.ram_size - 4, where.hook_base, 0x40004000]
    for address in wild:
        client.board.register(address, 1)
        client.board.register(address, 2)
        client.board.register(address, 0)
    good = cleanup(client, 0x20, entry(client), 1)
    cleanup(client, 0x40, where.ram_base + 1, 2)  # code where none may be
    cleanup(client, 0x60, entry(client) & ~1, 3)  # not Thumb
    loop = cleanup(client, 0x80, entry(client), 4)
    client.do(m.RestartRequest(entry(client)))
    client.drain()
    assert client.board.calls() == [(entry(client), 4), (entry(client), 1)]
    for address in (good, loop):
        client.board.register(address, 1)
    for next_address in (loop, rng.choice(wild), 0x20000001):
        client.board.poke(loop + 8, next_address.to_bytes(4, "little"))
        client.do(m.RestartRequest(entry(client)))
        client.drain()
        assert client.board.counters().parked == 0
        client.board.register(loop, 1)
    for main in (0, 2, where.ram_base + 1, 0xFFFFFFFF, entry(client) & ~1):
        assert client.ask(m.RestartRequest(main)).status is Status.E_RANGE


def test_a_restart_under_an_rtos_wants_its_consent(client: Client) -> None:
    client.board.set(Field.PROCESS_STACK, 1)
    refused = client.ask(m.RestartRequest(entry(client)))
    assert refused.status is Status.E_STATE
    assert refused.body == bytes([m.Reason.NO_CONSENT])
    assert not flags(client) & HelloFlag.PARKED
    parking(client, on_restart=entry(client, 1))
    client.do(m.RestartRequest(entry(client)))
    client.drain()
    assert client.board.calls() == [(entry(client, 1), 0)]


def test_attention_gets_the_monitor_out_of_a_handler(client: Client) -> None:
    client.board.set(Field.STUCK, 1)
    assert not client.raw(request_frame(client.next_seq(), m.HelloRequest(1, 1, 5)))
    assert not client.raw(ATTENTION[:-2] + b"\x01" + ATTENTION[:-1])  # a frame's end counts, too
    assert client.board.counters().parked == 0
    client.raw(b"\x01" + ATTENTION)
    assert client.board.counters().parked == 1
    told = read_record(client)
    assert told is not None
    assert told.reason == ParkReason.ATTENTION
    assert flags(client) & HelloFlag.PARKED


def test_attention_of_a_monitor_that_listens(client: Client) -> None:
    client.raw(ATTENTION)
    assert flags(client) & HelloFlag.PARKED
    client.raw(ATTENTION)
    client.do(m.ContinueRequest())
    client.drain()
    assert not flags(client) & HelloFlag.PARKED


def on_trial(client: Client, seconds: int, fill: int = 0xBF) -> m.CommitReply:
    transaction = client.transaction([function(fill)], generation=client.hello().generation, trial=seconds)
    client.begin(transaction)
    reply = client.finish(transaction)
    assert reply.status is Status.OK, reply
    return m.CommitReply.unpack(Reader(reply.body))


@pytest.mark.parametrize("parked", [False, True])
def test_a_trial_ends_by_itself(client: Client, parked: bool) -> None:
    client.push([function(0x01)])
    before = client.table()
    assert on_trial(client, 10).generation == 2
    live = client.table()
    assert live != before
    if parked:
        client.board.fault(tuple(range(21)))
    client.board.advance(9_900_000)
    client.board.tick()
    assert client.table() == live
    assert flags(client) & HelloFlag.TRIAL
    client.board.advance(200_000)
    client.board.tick()
    client.drain()
    assert client.table() == before, "no host had to say anything"
    assert len(reports(client, 4)) == 1
    hello = client.hello()
    assert hello.generation == 3
    assert not hello.flags & HelloFlag.TRIAL
    invariants.check(client)
    client.push([function(0x02)])


def test_a_confirmed_trial_stays(client: Client) -> None:
    on_trial(client, 10)
    live = client.table()
    assert client.ask(m.ConfirmRequest(0)).status is Status.E_GEN
    client.do(m.ConfirmRequest(1))
    client.do(m.ConfirmRequest(1))
    client.board.advance(20_000_000)
    client.board.tick()
    client.drain()
    assert client.table() == live
    assert not reports(client, 4)


def test_nothing_is_pushed_onto_a_trial(client: Client) -> None:
    on_trial(client, 10)
    transaction = client.transaction([function(0x07)], generation=1)
    assert client.ask(transaction.begin).status is Status.E_TRIAL
    client.do(m.RollbackRequest(1, 0))
    client.board.advance(20_000_000)
    client.board.tick()
    client.drain()
    assert client.hello().generation == 2, "the rollback had ended it"
    client.push([function(0x07)])
    invariants.check(client)


def test_a_trial_is_at_most_half_an_hour(client: Client) -> None:
    for seconds, status in ((1800, Status.OK), (1801, Status.E_FORMAT)):
        generation = client.hello().generation
        transaction = client.transaction([function()], generation=generation, trial=seconds)
        client.begin(transaction)
        assert client.finish(transaction).status is status
        client.ask(m.ConfirmRequest(generation + 1))


def test_a_now_commit_tells_who_finishes_in_old_code(client: Client) -> None:
    (grant,), _ = client.push([function(0x01)])
    client.board.context(Context({"pc": grant.address + 12}))
    _, reply = client.push([function(0x02)])
    assert [(frame.address, frame.where) for frame in reply.frames] == [(grant.address + 12, 15)]
    _, reply = client.push([New(bytes(40), hook=7)])
    assert reply.frames == ()
