"""``read`` and ``write``: by symbol with types, and addresses that bite."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from hotflash.errors import UsageError
from tests.system.observe import turns
from tests.system.project import Project


@pytest.fixture(scope="module")
def dut(built: Project, dut_factory: Any) -> Iterator[Any]:
    with dut_factory(board=built.board, elf=built.folder / "build" / "app.elf", folder=built.folder) as dut:
        yield dut


@pytest.fixture(scope="module")
def record(dut: Any) -> dict[str, Any]:
    """What ``record`` starts as."""
    value: dict[str, Any] = json.loads(dut.run("read", "--json", "record").stdout)["value"]
    return value


RECORD = """record = {{
  small = 200,
  wide = -5000000000,
  ratio = 0.25,
  on = true,
  mode = MODE_RUN,
  name = "first",
  path = {{{{x = 1, y = -2}}, {{x = 3, y = -4}}, {{x = 5, y = -6}}}},
  low = 5,
  high = -9,
  call = 0x{call:08x} <value>,
}}
"""


def test_structs_and_arrays_are_printed_by_field(dut: Any, record: dict[str, Any]) -> None:
    done = dut.run("read", "record")
    assert done.returncode == 0, done.stderr
    assert done.stdout == RECORD.format(call=record["call"])
    assert dut.run("read", "record.path[1].y").stdout == "record.path[1].y = -4\n"
    turns(dut)
    assert dut.run("read", "seen.same_unit").stdout == "seen.same_unit = 20\n"


def test_arrays_of_pointers_name_their_functions(dut: Any) -> None:
    done = dut.run("read", "actions")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"actions = \{0x\w{8} <value>, 0x\w{8} <twice>, 0x\w{8} <local_depth>\}\n", done.stdout)


def test_json(dut: Any) -> None:
    answer = json.loads(dut.run("read", "--json", "counter").stdout)
    assert answer["version"] == 1
    assert answer["value"] >= 1000


def test_write_by_symbol(dut: Any) -> None:
    """What is written is what the running program works on."""
    assert turns(dut)["typed"] == 2 - 4
    done = dut.run("write", "record.path[1].y", "-700")
    assert (done.returncode, done.stdout) == (0, "record.path[1].y: -4 -> -700\n"), done.stderr
    assert turns(dut)["typed"] == 2 - 700
    assert dut.run("write", "counter", "-2000000000").returncode == 0
    assert dut.run("write", "state_step.calls", "-0x70000000").returncode == 0
    after = turns(dut)
    assert -2_000_000_000 < dut.read("counter") < 0
    assert -0x70000000 < dut.read("state_step.calls") < 0
    assert after["typed"] == 2 - 700


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("small", "0b11", 3),
        ("wide", "0x7fffffffffffffff", (1 << 63) - 1),
        ("ratio", "-1.5", -1.5),
        ("on", "true", True),
        ("mode", "MODE_STOP", "MODE_STOP"),
        ("name", '"two"', "two"),
        ("path", "{{9, 8}, {7, 6}, {5, -4}}", [{"x": 9, "y": 8}, {"x": 7, "y": 6}, {"x": 5, "y": -4}]),
        ("low", "6", 6),
        ("high", "-16", -16),
        ("call", "&value", None),
    ],
)
def test_write_knows_the_type(dut: Any, record: dict[str, Any], field: str, text: str, value: object) -> None:
    before = dut.read("record")
    dut.write(f"record.{field}", text)
    assert dut.read("record") == {**before, field: record["call"] if value is None else value}
    assert turns(dut)["direct"] == 2


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("record.small", "256", "0 to 255"),
        ("record.small", "1.5", "not a whole number"),
        ("record.low", "8", "0 to 7"),
        ("record.on", "2", "0 to 1"),
        ("record.mode", "MODE_WALK", "MODE_IDLE, MODE_RUN, MODE_STOP"),
        ("record.name", '"far too long for it"', "does not fit char[12]"),
        ("record.path[3].x", "1", "0 to 2"),
        ("record.path", "{{1, 2, 3}}", "more values"),
        ("record.call", "&no_such_function", "no_such_function"),
    ],
)
def test_values_that_the_type_does_not_take(dut: Any, name: str, text: str, reason: str) -> None:
    before = dut.read("record")
    with pytest.raises(UsageError, match=re.escape(reason)):
        dut.write(name, text)
    assert dut.read("record") == before


def test_by_address(dut: Any) -> None:
    address = dut.session.read("record").address
    assert dut.run("write", hex(address), "0x7e", "--width", "1").returncode == 0
    assert dut.read("record.small") == 0x7E
    done = dut.run("read", hex(address), "--length", "4")
    assert done.stdout.startswith(f"0x{address:08x}  7e 00 00 00"), done.stdout + done.stderr


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
    core = dut.session.device.hello.core.to_bytes(4, "little").hex(" ")
    assert done.stdout.startswith(f"0xe000ed00  {core}"), done.stdout
    turns(dut)
