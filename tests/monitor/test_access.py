"""Read and Poke: widths, bus errors, and what is nobody's business."""

from __future__ import annotations

import pytest

from hotflash.wire import messages as m
from hotflash.wire.codec import Reader

from . import invariants
from .client import Client, New

UART = 0x40004000
PERIPHERAL = 0x40010000


def read(client: Client, address: int, length: int, width: int = 0, flags: int = 0) -> m.Status | bytes:
    reply = client.ask(m.ReadRequest(address, length, width, flags))
    if reply.status is not m.Status.OK:
        return reply.status
    return m.ReadReply.unpack(Reader(reply.body)).data


def poke(client: Client, address: int, data: bytes, width: int = 0, flags: int = 0) -> m.Status:
    return client.ask(m.PokeRequest(address, width, flags, data)).status


@pytest.mark.parametrize("width", [0, 1, 2, 4])
def test_ram_in_any_width(client: Client, width: int) -> None:
    for offset in range(4):
        for length in (1, 2, 3, 4, 7, 8, 33, 256):
            _ram(client, width, offset, length)


def _ram(client: Client, width: int, offset: int, length: int) -> None:
    ram = client.board.map.ram_base
    data = bytes(range(7, 7 + length)) if length < 249 else bytes(i & 0xFF for i in range(length))
    client.board.poke(ram, b"\xee" * 300)
    fits = width in (0, 1) or (offset % width == 0 and length % width == 0)
    status = poke(client, ram + offset, data, width)
    if not fits:
        assert status in (m.Status.E_FORMAT, m.Status.E_RANGE)
        assert read(client, ram + offset, length, width) in (m.Status.E_FORMAT, m.Status.E_RANGE)
        assert client.board.peek(ram, 300) == b"\xee" * 300
        return
    assert status is m.Status.OK
    assert read(client, ram + offset, length, width) == data
    assert client.board.peek(ram, 300) == (b"\xee" * offset + data).ljust(300, b"\xee")


@pytest.mark.parametrize("width", [3, 5, 8, 255])
def test_no_such_width(client: Client, width: int) -> None:
    assert read(client, client.board.map.ram_base, 24, width) is m.Status.E_FORMAT
    assert poke(client, client.board.map.ram_base, bytes(24), width) is m.Status.E_FORMAT


@pytest.mark.parametrize("length", [0, 257, 100000, 0xFFFFFFFF])
def test_no_such_length(client: Client, length: int) -> None:
    assert read(client, client.board.map.ram_base, length) in (m.Status.E_FORMAT, m.Status.E_RANGE)


def test_empty_poke(client: Client) -> None:
    assert poke(client, client.board.map.ram_base, b"") is m.Status.E_FORMAT


@pytest.mark.parametrize("address", [0x0, 0x08000000, 0x30000000, 0x60000000, 0xFFFFFFFC, 0x20084000])
def test_bus_errors_are_survived(client: Client, address: int) -> None:
    assert read(client, address, 4, flags=m.ReadFlag.PERIPHERAL) in (
        m.Status.E_FAULT,
        m.Status.E_DENIED,
        m.Status.E_RANGE,
    )
    assert poke(client, address, b"1234", flags=m.ReadFlag.PERIPHERAL) in (
        m.Status.E_FAULT,
        m.Status.E_DENIED,
        m.Status.E_RANGE,
    )
    invariants.check(client)


def test_a_hole_in_ram_is_a_bus_error(client: Client) -> None:
    ram = client.board.map.ram_base
    client.board.bus_error(ram + 0x800, 16)
    assert read(client, ram + 0x7F8, 8) == client.board.peek(ram + 0x7F8, 8)
    assert read(client, ram + 0x7F8, 12) is m.Status.E_FAULT
    assert poke(client, ram + 0x7FC, bytes(8)) is m.Status.E_FAULT
    assert read(client, ram + 0x810, 4) == client.board.peek(ram + 0x810, 4)
    client.hello()


def test_everything_but_the_monitor_can_be_read(client: Client) -> None:
    where = client.board.map
    client.push([New(bytes(range(40)), hook=1)])
    for base in (where.flash_base, where.hook_base, where.data_base, where.heap_base, where.ram_base, 0x10000000):
        assert read(client, base, 64) == client.board.peek(base, 64), hex(base)


@pytest.mark.parametrize("region", ["flash", "hook", "heap"])
def test_code_and_hooks_are_not_poked(client: Client, region: str) -> None:
    where = client.board.map
    client.push([New(bytes(range(40)), hook=1)])
    base = int(getattr(where, region + "_base"))
    before = client.board.peek(base, 64)
    for address in (base, base + 4, base - 4):
        for flags in (0, m.ReadFlag.PERIPHERAL):
            assert poke(client, address, bytes(8), flags=flags) in (
                m.Status.E_DENIED,
                m.Status.E_RANGE,
                m.Status.E_FAULT,
            )
    assert client.board.peek(base, 64) == before
    invariants.check(client)


def test_the_monitors_memory_is_its_own(client: Client) -> None:
    where = client.board.map
    for address in (where.monitor_base, where.monitor_base + where.monitor_size - 8, where.monitor_base - 4):
        for flags in (0, m.ReadFlag.PERIPHERAL):
            assert poke(client, address, bytes(8), flags=flags) is m.Status.E_DENIED, hex(address)


@pytest.mark.parametrize("address", [UART, UART + 0xFF8, UART - 4, UART + 2])
def test_the_monitors_uart_is_refused(client: Client, address: int) -> None:
    for flags in (0, m.ReadFlag.PERIPHERAL):
        assert read(client, address, 8, 1, flags) is m.Status.E_DENIED
        assert poke(client, address, bytes(8), 1, flags) is m.Status.E_DENIED


def test_a_range_that_wraps_is_refused(client: Client) -> None:
    for flags in (0, m.ReadFlag.PERIPHERAL):
        assert read(client, 0xFFFFFFF8, 64, flags=flags) in (m.Status.E_RANGE, m.Status.E_DENIED, m.Status.E_FORMAT)
        assert poke(client, 0xFFFFFFF8, bytes(64), flags=flags) in (
            m.Status.E_RANGE,
            m.Status.E_DENIED,
            m.Status.E_FORMAT,
        )


def test_peripherals_only_when_asked(client: Client) -> None:
    assert read(client, PERIPHERAL, 4) is m.Status.E_DENIED
    assert poke(client, PERIPHERAL, b"abcd") is m.Status.E_DENIED
    assert poke(client, PERIPHERAL + 8, b"abcd", 4, m.ReadFlag.PERIPHERAL) is m.Status.OK
    assert read(client, PERIPHERAL + 8, 4, 4, m.ReadFlag.PERIPHERAL) == b"abcd"
    assert read(client, PERIPHERAL + 8, 4, 1, m.ReadFlag.PERIPHERAL) is m.Status.E_FAULT


def test_data_heap_can_be_written(client: Client) -> None:
    base = client.board.map.data_base
    assert poke(client, base + 16, b"data") is m.Status.OK
    assert client.board.peek(base + 16, 4) == b"data"
