"""``read`` and ``write``: by symbol with types, and addresses that bite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.observe import turns, until
from tests.system.project import Project


@pytest.fixture(scope="module")
def dut(built: Project, dut_factory: Any) -> Iterator[Any]:
    with dut_factory(board=built.board, elf=built.folder / "build" / "app.elf", folder=built.folder) as dut:
        yield dut


def test_structs_are_printed_by_field(dut: Any) -> None:
    turns(dut)
    done = dut.run("read", "seen")
    assert done.returncode == 0, done.stderr
    for field in ("turns", "direct", "same_unit", "irq"):
        assert field in done.stdout
    assert dut.run("read", "seen.same_unit").stdout.strip().endswith("20")


def test_arrays_of_pointers_name_their_functions(dut: Any) -> None:
    done = dut.run("read", "actions")
    assert done.returncode == 0, done.stderr
    assert "value" in done.stdout
    assert "twice" in done.stdout


def test_json(dut: Any) -> None:
    answer = json.loads(dut.run("read", "--json", "counter").stdout)
    assert answer["version"] == 1
    assert answer["value"] >= 1000


def test_write_by_symbol(dut: Any) -> None:
    assert dut.run("write", "counter", "-70000").returncode == 0
    until(lambda: dut.read("counter"), lambda value: -70000 <= value < 0, "the counter to go on from what was written")
    assert dut.run("write", "state_step.calls", "0x100").returncode == 0
    until(lambda: dut.read("state_step.calls"), lambda value: 0x100 <= value < 3000, "the static to go on")


def test_by_address(dut: Any) -> None:
    address = dut.session.read("lines_wanted").address
    assert dut.run("write", hex(address), "0x0").returncode == 0
    assert dut.run("read", hex(address), "--length", "4").returncode == 0


def test_protected_memory_is_refused_and_the_board_lives(dut: Any) -> None:
    hello = dut.session.device.hello
    for address in (hello.hook_base, hello.heap_base, hello.flash_base):
        done = dut.run("write", hex(address), "0")
        assert done.returncode == 5, done.stdout + done.stderr
    assert turns(dut)["direct"] == 2


def test_bus_errors_at_the_edge_of_memory(dut: Any) -> None:
    for _ in range(3):
        assert dut.run("read", "0x90000000", "--length", "16").returncode == 5
    # System control space, asked for: CPUID says which core it is (ARMv7-M ARM B3.2.3).
    done = dut.run("read", "0xE000ED00", "--length", "4", "--peripheral")
    assert done.returncode == 0, done.stderr
    assert f"{dut.session.device.hello.core:08x}" in done.stdout.lower().replace(" ", "") or "0x" in done.stdout
    turns(dut)
