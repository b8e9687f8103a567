"""W^X: strays fault with a report that says where and who, on boards with an MPU; without one, it is told."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hotflash import sdk
from hotflash.board import Board
from hotflash.errors import HotflashError, TargetFault
from hotflash.sim import build_bootloader
from tests.system.observe import until
from tests.system.project import Project

SOURCES = Path(__file__).parent / "mpu_app"
WRITE, CALL, OVERFLOW, CALL_RAM, OWN_REGION, MPU_OFF, UNPRIVILEGED = range(1, 8)
EDIT = ("return x + 1u;", "return x + 100u;")


def turns(dut: Any) -> None:
    start = dut.read("turns")
    until(lambda: dut.read("turns"), lambda now: now > start + 1, "turns of the loop")


@pytest.fixture
def dut(board_dut: Any) -> Any:
    board_dut.reset()
    turns(board_dut)
    return board_dut


def astray(dut: Any, how: int, target: int = 0) -> str:
    """What is reported when the application does that."""
    dut.write("target", target)
    dut.write("trouble", how)
    with pytest.raises(TargetFault) as caught:
        dut.wait_log("nothing is logged", timeout=30)
    return str(caught.value)


def pushed(dut: Any, project: Project, *edits: tuple[str, str]) -> Any:
    project.restore("main.c")
    project.edit("main.c", *edits)
    return dut.push(project.compile("main.c"))


def still_takes_pushes(dut: Any, project: Project, how: int) -> None:
    dut.write("trouble", how)
    turns(dut)
    pushed(dut, project, EDIT)
    until(lambda: dut.read("answer"), lambda value: value == 101, "the new version")


def slot_of(dut: Any, function: str) -> Any:
    return next(slot for slot in dut.session.slots().slots if slot.function == function)


@pytest.mark.every_board
def test_status_says_what_is_protected(dut: Any) -> None:
    out = dut.run("status").stdout
    assert "code heap, hook table, flash read-only; other memory not executable; main stack guarded" in out
    assert "MPU" not in out
    assert set(dut.status().protection) == {"heap", "hooks", "flash", "ram", "stack"}


@pytest.mark.every_board
def test_stray_write_into_a_slot(dut: Any, project: Project) -> None:
    pushed(dut, project, EDIT)
    slot = slot_of(dut, "value")
    before = dut.session.device.read(slot.address, 16)
    for address in (slot.address + 8, slot.address - 32):
        report = astray(dut, WRITE, address)
        assert "MemManage, data access that the memory protection forbids" in report
        assert f"address {address:#010x}, in slot {slot.handle} of the code heap: value (generation 1)" in report
        assert re.search(r"#0  0x\w{8} stray_write\+", report)
        assert dut.session.device.read(slot.address, 16) == before
        dut.reset()
        turns(dut)
        pushed(dut, project, EDIT)


def test_stray_write_into_the_hook_table_from_a_pushed_function(dut: Any, project: Project) -> None:
    pushed(
        dut,
        project,
        EDIT,
        ("*(volatile uint32_t *)target ^= 0x01010101u;", "*(volatile uint32_t *)target = 1u;"),
    )
    hello = dut.session.device.hello
    address = next(hello.hook_base + 4 * hook for hook in dut.session.device.hooks())
    hooks = dut.session.device.hooks()
    report = astray(dut, WRITE, address)
    assert re.search(rf"address {address:#010x}, in the hook table: the hook of \w+", report)
    assert re.search(r"#0  0x\w{8} stray_write\+0x\w+ \(generation 1\)", report)
    assert dut.session.device.hooks() == hooks
    # What did it can be taken back while the application is parked.
    assert dut.run("rollback").returncode == 0
    assert dut.session.device.hooks() == {}


def test_stray_write_between_the_slots(dut: Any) -> None:
    hello = dut.session.device.hello
    address = hello.heap_base + hello.heap_size - 4
    assert f"address {address:#010x}, in the code heap, where no slot is" in astray(dut, WRITE, address)


def test_stray_write_into_flash(dut: Any) -> None:
    address = dut.session.device.hello.flash_base + 0x1000
    before = dut.session.device.read(address, 4)
    assert f"address {address:#010x}, in flash" in astray(dut, WRITE, address)
    assert dut.session.device.read(address, 4) == before


def test_the_bootloader_is_not_writable(dut: Any, board: Board) -> None:
    address = board.regions["HF_BOOT"].origin + 0x800
    assert f"address {address:#010x}" in astray(dut, WRITE, address)


@pytest.mark.every_board
def test_ram_is_not_executable(dut: Any) -> None:
    address = dut.session.firmware.symbol("ram_function").address & ~1
    report = astray(dut, CALL_RAM)
    assert "MemManage, instruction fetch from a place that is not executable" in report
    assert re.search(rf"#0  {address:#010x} ram_function", report)
    assert re.search(r"#1  0x\w{8} (go_astray|main)", report)
    assert dut.read("called") == 0


@pytest.mark.parametrize("name", ["HF_DATA", "HF_HOOKS", "HF_MONITOR"])
def test_no_other_memory_is_executable(dut: Any, board: Board, name: str) -> None:
    report = astray(dut, CALL, board.regions[name].origin)
    assert "instruction fetch from a place that is not executable" in report
    assert re.search(r"#1  0x\w{8} stray_call", report)


def test_stack_guard(dut: Any, board: Board) -> None:
    report = astray(dut, OVERFLOW)
    assert "MemManage" in report
    assert "the stack has overflowed" in report or "in the guard of the main stack, which has overflowed" in report
    # Nothing below the guard was touched.
    limit = board.regions["HF_RAM"].end - 4096
    assert dut.session.device.read(limit - 64, 64) == bytes(64)


def test_writing_to_the_guard_over_the_line_is_refused(dut: Any, board: Board) -> None:
    limit = board.regions["HF_RAM"].end - 4096
    for address in (limit, limit + 124):
        done = dut.run("write", hex(address), "0x55", "--width", "4")
        assert done.returncode == 5, done.stdout
    assert dut.session.device.read(limit, 128) == bytes(128)
    for address in (limit - 4, limit + 128):
        dut.session.device.write(address, bytes(4))
    turns(dut)


def test_unprivileged_threads_run_as_without(dut: Any, project: Project) -> None:
    still_takes_pushes(dut, project, UNPRIVILEGED)
    assert "MemManage" in astray(dut, WRITE, slot_of(dut, "value").address)


def test_an_application_with_mpu_settings_of_its_own(dut: Any, project: Project) -> None:
    """It uses a free region, and asks for protection in fault handlers, where the monitor writes code."""
    still_takes_pushes(dut, project, OWN_REGION)
    status = dut.status()
    assert set(status.protection) == {"heap", "hooks", "flash", "ram", "stack", "taken"}
    assert any("settings of its own" in warning for warning in status.warnings)
    assert not any("nothing keeps" in warning for warning in status.warnings)
    assert "address 0x" in astray(dut, WRITE, slot_of(dut, "value").address)


def test_an_application_that_turns_the_mpu_off(dut: Any, project: Project) -> None:
    still_takes_pushes(dut, project, MPU_OFF)
    out = dut.run("status").stdout
    assert "settings of its own in the MPU: nothing keeps stray writes from code heap, hook table, flash" in out


def test_the_monitors_state_written_over(dut: Any, board: Board) -> None:
    """The monitor runs with the application's privilege: its own RAM is not protected but checksummed."""
    boot = build_bootloader(board)
    symbols = subprocess.run(["arm-none-eabi-nm", boot], capture_output=True, text=True, check=True).stdout
    state = int(re.search(r"^(\w+) \w hf_state$", symbols, re.MULTILINE)[1], 16)  # type: ignore[index]
    dut.write("target", state + 8)
    dut.write("trouble", WRITE)
    lost(dut)


def lost(dut: Any) -> None:
    """The state is lost: that is said, nothing is accepted but a reset, and that helps."""
    until(
        lambda: dut.session.status().warnings,
        lambda warnings: any("only `hotflash reset`" in w for w in warnings),
        "loss",
    )
    for command in (("read", "turns"), ("rollback",), ("slots",), ("gc",)):
        done = dut.run(*command)
        assert done.returncode != 0, command
        assert "only a reset" in done.stderr or "reset" in done.stderr, done.stderr
    assert dut.run("reset").returncode == 0
    turns(dut)
    assert not any("overwritten" in warning for warning in dut.session.status().warnings)


# ---- boards that leave protection out


def variant(folder: Path, name: str, *changes: tuple[str, str, str]) -> Board:
    """A copy of a board, with changes: file, what stands there once, and what instead."""
    folder = folder / name
    shutil.copytree(sdk.sdk_root() / "boards" / "mps2-an386", folder)
    for file, old, new in (
        ("board.toml", 'name = "mps2-an386"', f'name = "{name}"'),
        ("board.c", '"mps2-an386"', f'"{name}"'),
        *changes,
    ):
        text = (folder / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    return Board.load(folder)


def started(board: Board, dut_factory: Any, folder: Path) -> Any:
    project = Project(folder, board, SOURCES)
    return dut_factory(board=board, elf=project.link(), folder=folder)


def test_code_in_ram_where_the_board_says_so(dut_factory: Any, tmp_path: Path) -> None:
    """On a board whose hook table and flash are some eighths of a region."""
    board = variant(
        tmp_path,
        "runs-ram",
        ("board.toml", "baud =", "execute_ram = true\nbaud ="),
        ("memory.ld", "ORIGIN = 0x20000000, LENGTH = 32K", "ORIGIN = 0x20000000, LENGTH = 24K"),
        ("memory.ld", "LENGTH = 992K", "LENGTH = 860K"),
    )
    with started(board, dut_factory, tmp_path / "p") as dut:
        assert set(dut.status().protection) == {"heap", "hooks", "flash", "stack"}
        dut.write("trouble", CALL_RAM)
        turns(dut)
        assert dut.read("called") == 1
        places = (
            (0x20005FFC, 0, 0),
            (0x20006000, 1, 1),
            (0x00008000 + 860 * 1024 - 4, 0, 1),
            (0x000E0000, 1, 1),
            (board.regions["HF_HEAP"].origin, 0, 1),
            (board.regions["HF_RAM"].origin, 1, 1),
        )
        for i, (address, writes, executes) in enumerate(places):
            dut.write(f"expected[{i}]", f"{{{address}, {writes}, {executes}}}")
        until(lambda: dut.read("walked"), lambda walked: min(walked) > 8, "walks")
        assert dut.read("wrong") == 0, hex(dut.read("wrong_address"))
        hook = dut.session.device.hello.hook_base
        assert f"address {hook:#010x}, in the hook table" in astray(dut, WRITE, hook)


def test_a_board_without_mpu(dut_factory: Any, tmp_path: Path) -> None:
    board = variant(tmp_path, "no-mpu", ("board.toml", '"break"]', '"break", "mpu"]'))
    with started(board, dut_factory, tmp_path / "p") as dut:
        status = dut.status()
        assert status.protection == ()
        assert any(warning.startswith("no MPU") for warning in status.warnings)
        dut.write("trouble", CALL_RAM)
        turns(dut)
        assert dut.read("called") == 1
        # A stray write into the heap is not noticed when it happens, but before the heap is used again.
        dut.write("target", dut.session.device.hello.heap_base)
        dut.write("trouble", WRITE)
        turns(dut)
        with pytest.raises(HotflashError, match="overwritten the monitor's state"):
            pushed(dut, Project(tmp_path / "q", board, SOURCES), EDIT)
        lost(dut)
