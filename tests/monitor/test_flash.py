"""Programming the application over the wire: NOR rules, and power that fails at any step of it."""

from __future__ import annotations

import contextlib
import random
import struct

import pytest

from hotflash.wire import messages as m

from . import image, invariants
from .board import Board, Field, HarnessError, Step
from .client import Client, New, RefusedByDevice


def _waits(client: Client) -> m.HelloReply:
    hello = client.hello()
    assert not hello.flags & m.HelloFlag.APP_RUNS
    return hello


def _check_flash(client: Client, app: image.App) -> None:
    assert client.board.peek(app.base, len(app.valid)) == app.valid


def test_an_empty_board_waits_and_says_why(bare: Client) -> None:
    bare.drain()
    ((channel, _, body),) = bare.frames
    assert (channel, body[0]) == (m.Channel.FAULT, 1)
    assert body[1:] == bytes([m.Reason.NO_HEADER])
    assert _waits(bare).flags == m.HelloFlag.TICK


@pytest.mark.parametrize("unit", [1, 4, 8, 16])
@pytest.mark.parametrize("page", [256, 1024, 4096])
def test_flash_and_run(unit: int, page: int) -> None:
    with Board(flash_write=unit, flash_page=page) as board:
        client = Client(board)
        app = image.make(board.map)
        client.flash(app)
        assert client.hello().flags & m.HelloFlag.APP_RUNS
        assert client.hello().build_id == app.build_id
        assert client.table()[: len(app.initial)] == app.initial
        _check_flash(client, app)
        client.push([New(bytes(40), hook=1)])
        invariants.check(client)
        again = image.make(board.map, name=b"second", hooks=30, spare=2, size=9000)
        client.flash(again)
        assert client.hello().build_id == again.build_id
        assert client.hello().generation == 0
        _check_flash(client, again)


def test_nothing_is_programmed_while_the_application_runs(client: Client) -> None:
    app = client.app
    assert app is not None
    for message in (
        m.FlashBeginRequest(len(app.data), app.mark),
        m.FlashEraseRequest(0, 1),
        m.FlashWriteRequest(len(app.data) + 64, b"\0" * 16),
        m.FlashEndRequest(len(app.data), app.crc),
    ):
        assert client.ask(message).status is m.Status.E_OP
    _check_flash(client, app)
    assert client.board.counters().erases == 0


def test_programming_rules(client: Client) -> None:
    app = client.app
    assert app is not None
    page = client.board.map.flash_page
    size = client.board.map.flash_size
    client.do(m.ResetRequest(1))
    client.drain()
    for message in (m.FlashEraseRequest(0, 1), m.FlashWriteRequest(0, b"x"), m.FlashEndRequest(len(app.data), app.crc)):
        assert client.ask(message).status is not m.Status.OK, "nothing before FlashBegin"
    for length, mark in (
        (0, 0),
        (size + 1, app.mark),
        (len(app.data), size),
        (len(app.data), 0xFFFFFFFF),
        (8, app.mark),
    ):
        assert client.ask(m.FlashBeginRequest(length, mark)).status in (m.Status.E_RANGE, m.Status.E_FORMAT)
    _check_flash(client, app)
    client.do(m.FlashBeginRequest(len(app.data), app.mark))
    for first, count in ((size // page, 1), (0, 17), (size // page - 1, 2), (0xFFFFFFFF, 2), (0, 0xFFFFFFFF)):
        assert client.ask(m.FlashEraseRequest(first, count)).status in (m.Status.E_RANGE, m.Status.E_FORMAT)
    client.do(m.FlashEraseRequest(0, 8))
    client.do(m.FlashWriteRequest(0, app.data[:64]))
    client.do(m.FlashWriteRequest(0, app.data[:64]))  # the same again
    assert client.ask(m.FlashWriteRequest(0, b"\xff" * 64)).status is m.Status.E_FLASH
    assert client.ask(m.FlashWriteRequest(size - 4, bytes(8))).status is m.Status.E_RANGE
    assert client.ask(m.FlashWriteRequest(0xFFFFFFF0, bytes(32))).status is m.Status.E_RANGE
    assert client.ask(m.FlashWriteRequest(app.mark, app.valid[app.mark :][:16])).status is not m.Status.OK
    assert client.ask(m.FlashWriteRequest(app.mark + 12, bytes(8))).status is not m.Status.OK
    assert client.board.peek(app.base + app.mark, 16) == b"\xff" * 16
    assert client.board.peek(app.base, 64) == app.data[:64]


def test_a_wrong_crc_is_never_valid(bare: Client) -> None:
    app = image.make(bare.board.map)
    damaged = image.App(**{**app.__dict__, "data": app.data[:600] + b"\x99" + app.data[601:]})
    with pytest.raises(RefusedByDevice) as refused:
        bare.flash(damaged)
    assert (refused.value.reply.status, refused.value.reply.body) == (m.Status.E_CRC, bytes([m.Reason.CRC]))
    bare.board.reset()
    bare.drain()
    assert not _waits(bare).flags & m.HelloFlag.APP_VALID
    bare.flash(app)
    assert bare.hello().flags & m.HelloFlag.APP_RUNS


@pytest.mark.parametrize("at", [1, 2, 5, 40, 200])
def test_a_failing_controller_is_reported(bare: Client, at: int) -> None:
    app = image.make(bare.board.map)
    bare.board.set(Field.FLASH_FAIL_AT, at)
    with pytest.raises(RefusedByDevice) as refused:
        bare.flash(app)
    assert refused.value.reply.status is m.Status.E_FLASH
    bare.board.set(Field.FLASH_FAIL_AT, 0)
    bare.flash(app)
    _check_flash(bare, app)


@pytest.mark.parametrize("seed", range(3))
def test_power_fails_while_programming(client: Client, seed: int) -> None:
    """Cut at each erase, and at units all over the image and all of the last ones (the mark's): the board runs an
    image that is whole, or waits; and takes the next one."""
    print("seed", seed)
    rng = random.Random(seed)
    board = client.board
    first, second = image.make(board.map), image.make(board.map, name=b"second", hooks=20)
    assert client.app == first
    before = board.counters().steps
    client.flash(second)
    erases, programs = (board.counters().steps[kind] - before[kind] for kind in (Step.ERASE, Step.PROGRAM))
    points = [(Step.ERASE, at) for at in range(1, erases + 1)]
    points += [(Step.PROGRAM, at) for at in [1, 2, *range(programs - 6, programs + 1)]]
    points += [(Step.PROGRAM, rng.randrange(3, programs - 6)) for _ in range(10)]
    for kind, at in points:
        client.install(first)
        board.set(Field.SEED, rng.randrange(1, 1 << 32))
        resets = board.resets
        board.cut(at, kind)
        with contextlib.suppress(AssertionError, RefusedByDevice):
            client.flash(second)
        board.cut(0)
        assert board.resets > resets
        client.drain()
        client.bad = 0
        hello = client.hello()
        runs = bool(hello.flags & m.HelloFlag.APP_RUNS)
        content = board.peek(first.base, max(len(first.valid), len(second.valid)))
        whole = [app for app in (first, second) if content.startswith(app.valid)]
        assert runs == bool(whole), (kind.name, at, hello.flags)
        if runs:
            assert hello.build_id == whole[0].build_id
        client.flash(second)
        _check_flash(client, second)
        client.bad = 0


def test_host_that_dies_while_programming(client: Client) -> None:
    first = client.app
    second = image.make(client.board.map, name=b"second")
    assert first is not None
    client.do(m.ResetRequest(1))
    client.drain()
    client.do(m.FlashBeginRequest(len(second.data), second.mark))
    client.do(m.FlashEraseRequest(0, 2))
    client.do(m.FlashWriteRequest(0, second.data[:128]))
    # Another host starts over, without a reset in between.
    client.flash(second)
    _check_flash(client, second)


HEADER_FIELDS: list[dict[str, int]] = [
    {"magic": 0},
    {"version_size": 2 | 192 << 16},
    {"version_size": 1 | 188 << 16},
    {"self": 0},
    {"base": 0x10000000},
    {"length": 0},
    {"length": 100},
    {"length": 0x20001},
    {"length": 0xFFFFFFFF},
    {"abi": 0x20000},
    {"abi": 0x10002},
    {"hook_base": 0x20000004},
    {"hook_base": 0x20080000},
    {"hook_base": 0x1FFFFFFC},
    {"hook_capacity": 8193},
    {"hook_capacity": 0xFFFFFFFF},
    {"hook_capacity": 0x40000001},
    {"hook_capacity": 3},
    {"hook_count": 33},
    {"hook_count": 0xFFFFFFFF},
    {"hook_init": 0},
    {"hook_init": 0x10008001},
    {"hook_init": 0x20080000},
    {"hook_init": 0x10028000},
    {"hook_init": 0xFFFFFFFC},
    {"ram_start": 0},
    {"ram_end": 0},
    {"ram_end": 0xFFFFFFFF},
]


@pytest.mark.parametrize("change", HEADER_FIELDS, ids=lambda change: "-".join(f"{k}={v:#x}" for k, v in change.items()))
def test_a_header_that_makes_no_sense_is_not_started(bare: Client, change: dict[str, int]) -> None:
    app = image.make(bare.board.map, changes=change)
    good = image.make(bare.board.map)
    bare.install(app)
    hello = _waits(bare)
    assert not hello.flags & m.HelloFlag.APP_VALID
    bare.flash(good)
    assert bare.hello().flags & m.HelloFlag.APP_RUNS


@pytest.mark.parametrize("seed", range(4))
def test_any_header_at_all(bare: Client, seed: int) -> None:
    """Headers of noise with a right CRC and a mark: the bootloader survives them, or runs what they say."""
    print("seed", seed)
    rng = random.Random(seed)
    where = bare.board.map
    good = image.make(where)
    for _ in range(40):
        app = image.make(where, hooks=rng.randrange(1, 40), spare=rng.randrange(9))
        fields = bytearray(app.valid)
        for _ in range(rng.choice((1, 2, 6))):
            at = app.header + 4 * rng.randrange(16)
            value = rng.choice((0, 1, 0xFFFFFFFF, rng.randrange(1 << 32), rng.randrange(1 << 16), where.flash_base, 3))
            struct.pack_into("<I", fields, at, value)
        try:
            bare.install(image.App(**{**app.__dict__, "data": bytes(fields)}))
            bare.hello()
        except HarnessError as error:
            raise AssertionError(f"header {fields[app.header :][:84].hex()}") from error
    bare.board.poke(where.flash_base, b"\xff" * 8192)
    bare.board.reset()
    bare.drain()
    bare.flash(good)


def test_a_plain_image_is_announced_and_started(bare: Client) -> None:
    app = image.make(bare.board.map, hot=False)
    bare.board.poke(app.base, app.data)
    bare.app = app
    bare.board.reset()
    bare.drain()
    kinds = [body[0] for channel, _, body in bare.frames if channel == m.Channel.FAULT]
    assert 2 in kinds
    bare.board.advance(300_000)
    assert bare.board.counters().app_started == app.base


def test_a_hello_in_time_keeps_a_plain_image_waiting(bare: Client) -> None:
    app = image.make(bare.board.map, hot=False)
    bare.board.poke(app.base, app.data)
    bare.board.reset()
    bare.drain()
    assert not bare.hello().flags & m.HelloFlag.APP_HOT
    bare.board.advance(1_000_000)
    assert bare.board.counters().app_started == 0
    bare.flash(image.make(bare.board.map))
    assert bare.hello().flags & m.HelloFlag.APP_HOT
