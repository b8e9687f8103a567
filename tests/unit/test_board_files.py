"""Board folders: the two that come along, the memory map's syntax, and every mistake one can make."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotflash import sdk
from hotflash.board import REGIONS, Board, board_names, mpu_cover, read_memory_map
from hotflash.errors import HotflashError, UsageError
from tests.unit.hotapp import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a board that may be spoilt."""
    return Path(shutil.copytree(sdk.boards_dir() / "mps2-an386", tmp_path / "mine" / "mps2-an386"))


def _change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(("name", "cpu"), [("mps2-an385", "cortex-m3"), ("mps2-an386", "cortex-m4")])
def test_the_boards_that_come_along(name: str, cpu: str) -> None:
    board = Board.find(name)
    assert (board.name, board.cpu, board.arch) == (name, cpu, "armv7m")
    assert f"-mcpu={cpu}" in board.cflags
    assert board.qemu is not None
    assert board.qemu.machine == name
    assert set(REGIONS) <= set(board.regions)
    assert board.regions["FLASH"] is board.regions["HF_APP"]
    assert board.regions["RAM"] is board.regions["HF_RAM"]
    assert board.services == board.regions["HF_BOOT"].origin + 0x400


def test_regions_know_what_they_hold() -> None:
    region = Board.find("mps2-an386").regions["HF_APP"]
    assert (region.origin, region.length, region.end) == (0x8000, 992 * 1024, 0x100000)
    assert region.holds(0x8000, region.length)
    assert not region.holds(0x8000, region.length + 1)
    assert not region.holds(0x7FFF)


def test_found_by_path_by_file_and_by_board_path(folder: Path) -> None:
    assert Board.find(folder).path == folder
    assert Board.find(str(folder / "board.toml")).path == folder
    assert Board.find("mps2-an386", [folder.parent]).path == folder  # before those that come along
    assert Board.find("mps2-an386").path == sdk.boards_dir() / "mps2-an386"
    other = folder.rename(folder.with_name("other"))
    _change(other / "board.toml", 'name = "mps2-an386"', 'name = "other"')
    assert "other" in board_names([other.parent])
    assert "other" not in board_names()
    assert Board.find("other", [other.parent]).name == "other"


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("mps2-an368", "no board 'mps2-an368'", "did you mean 'mps2-an386'"),
        ("zzz", "no board 'zzz'", "mps2-an385, mps2-an386"),
        ("", "no board named", "mps2-an385"),
        ("/nowhere/at/all", "has no board.toml", "board.c"),
    ],
)
def test_not_found(name: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        Board.find(name)
    assert hint in str(error.value.hint)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "mps2-an386"', 'name = "another"', "name is 'another' but the folder is called 'mps2-an386'"),
        ('name = "mps2-an386"', "", "board.toml: name: missing"),
        ("baud = 115200", "bawd = 115200", "board.toml: baud: missing"),
        ("baud = 115200", "baud = 115200\nbawd = 1", "board.toml: bawd: no such key"),
        ("baud = 115200", 'baud = "fast"', "baud: 'fast' is not a whole number from 300"),
        ("baud = 115200", "baud = true", "baud: True is not a whole number"),
        ("baud = 115200", "baud = 1", "baud: 1 is not a whole number from 300"),
        ('arch = "armv7m"', 'arch = "armv9"', "arch: 'armv9' is not one of armv6m, armv7m, armv8m"),
        ('cpu = "cortex-m4"', 'cpu = ""', "cpu: empty"),
        ('["flash", "break"]', '["flash", "bread"]', "lacks: 'bread' is not one of mpu, vtor"),
        ('["flash", "break"]', '"flash"', "lacks: 'flash' is not a list of texts"),
        ('["flash", "break"]', "[1]", "lacks: 1 is not a text"),
        ("[irq] ", "[interrupts] ", r"irq: missing; a table \[irq\]"),
        ("baud = 115200", "baud = 115200\nexecute_ram = 1", "execute_ram: 1 is not true or false"),
        ("soft = 31", "soft = 31\nhard = 1", "irq.hard: no such key"),
        ("soft = 31", "soft = 32", "irq.soft = 32 is outside of the vector table, which has 48 words"),
        ("soft = 31", "soft = 1", "irq.soft = 1 is the UART's"),
        ("vectors = 48", "vectors = 513 #", "vectors: 513 is not a whole number"),
        ("serial = 0", "serial = 8 #", "qemu.serial: 8 is not"),
        ("serial = 0", "sreial = 0 #", "qemu.sreial: no such key"),
        ('machine = "mps2-an386"', "", "qemu.machine: missing"),
        ("baud = 115200", "baud = ", "board.toml: "),
    ],
)
def test_mistakes_in_board_toml(folder: Path, old: str, new: str, message: str) -> None:
    _change(folder / "board.toml", old, new)
    with pytest.raises(UsageError, match=message) as error:
        Board.load(folder)
    assert str(folder / "board.toml") in str(error.value)


def test_a_board_without_emulation_is_a_board(folder: Path) -> None:
    file = folder / "board.toml"
    file.write_text(file.read_text().split("[qemu]")[0])
    assert Board.load(folder).qemu is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HF_DATA ", "HF_DADA ", "no region HF_DATA"),
        ('REGION_ALIAS("RAM", HF_RAM)', "", "RAM is not HF_RAM"),
        ('REGION_ALIAS("RAM", HF_RAM)', 'REGION_ALIAS("RAM", HF_HEAP)', "RAM is not HF_RAM"),
        ('REGION_ALIAS("RAM", HF_RAM)', 'REGION_ALIAS("RAM", RAM2)', "no region RAM2"),
        ("ORIGIN = 0x20008000", "ORIGIN = 0x20007000", "HF_HOOKS .* overlaps HF_MONITOR"),
        ("ORIGIN = 0x00008000, LENGTH = 992K", "ORIGIN = 0x00008080, LENGTH = 900K", "aligned to 256 bytes"),
        ("ORIGIN = 0x20040000, LENGTH = 256K", "ORIGIN = 0x20040000, LENGTH = 200K", "HF_HEAP .* one MPU region"),
        ("ORIGIN = 0x20040000, LENGTH = 256K", "ORIGIN = 0x20060000, LENGTH = 256K", "overlaps|one MPU region"),
        ("ORIGIN = 0x20040000, LENGTH = 256K", "ORIGIN = 0x20030000, LENGTH = 128K", "HF_HEAP .* one MPU region"),
        (
            "LENGTH = 32K   /* hook table, up to 8,192 entries */\n    HF_MONITOR (rw)  : ORIGIN = 0x20008000,",
            "LENGTH = 29K\n    HF_MONITOR (rw)  : ORIGIN = 0x20007800,",
            "HF_HOOKS needs .* HF_MONITOR read-only",
        ),
        (
            "ORIGIN = 0x00008000, LENGTH = 992K",
            "ORIGIN = 0x20100000, LENGTH = 32K",
            "HF_APP needs .* HF_HOOKS read-only",
        ),
        ("ORIGIN = 0x00000000", "ORIGIN = 0x01000000", "HF_BOOT lies behind HF_APP"),
        ("LENGTH = 992K", "LENGTH = 0", "HF_APP is empty"),
        ("LENGTH = 992K", "LENGTH = 0xFFFFFFFF", "outside of the 32-bit"),
        ("LENGTH = 992K", "LENGTH = 992X", "cannot compute '992X'"),
        ("LENGTH = 992K", "LENGTH = 1K / 0", "cannot compute"),
        ("LENGTH = 992K", "LENGTH = (1K", "cannot compute"),
        ("LENGTH = 992K", "LENGTH = LENGTH(NONE)", r"LENGTH\(NONE\): no such region"),
        ("LENGTH = 992K", "LANGTH = 992K", "cannot (read|compute)"),
        ("MEMORY\n", "MEMO\n", "no MEMORY block"),
        ("HF_DATA ", "HF_HEAP ", "region HF_HEAP is there twice"),
    ],
)
def test_mistakes_in_memory_ld(folder: Path, old: str, new: str, message: str) -> None:
    _change(folder / "memory.ld", old, new)
    with pytest.raises(UsageError, match=message) as error:
        Board.load(folder)
    assert str(folder / "memory.ld") in str(error.value)


def test_a_board_without_mpu_may_have_any_heap(folder: Path) -> None:
    _change(folder / "memory.ld", "ORIGIN = 0x20040000, LENGTH = 256K", "ORIGIN = 0x20040000, LENGTH = 200K")
    _change(folder / "board.toml", '["flash", "break"]', '["flash", "break", "mpu"]')
    assert Board.load(folder).regions["HF_HEAP"].length == 200 * 1024


@pytest.mark.parametrize(
    ("first", "length", "low", "high"),
    [
        (0, 1 << 20, 0, 1 << 20),
        (0x20000000, 0x8000, 0x20000000, 0x20008000),
        (0x08000000, 0xE0000, 0x08000000, 0x080E0000),  # seven eighths
        (0x08004000, 0x100, 0x08004000, 0x08004100),
        (0x08004010, 0xF0, 0x08004000, 0x08004100),
        (0x0803FFE0, 0x40, 0x08030000, 0x08050000),  # across a boundary: an eighth on each side
        (0x20000004, 4, 0x20000000, 0x20000020),
        (0x20000060, 64, 0x20000060, 0x200000A0),
    ],
)
def test_what_an_mpu_region_covers(first: int, length: int, low: int, high: int) -> None:
    covered = mpu_cover(first, length)
    assert (covered.origin, covered.end) == (low, high)


def test_files_that_cannot_be_read(folder: Path) -> None:
    (folder / "memory.ld").unlink()
    with pytest.raises(UsageError, match=r"memory\.ld: No such file"):
        Board.load(folder)
    (folder / "board.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"board\.toml"):
        Board.load(folder)
    with pytest.raises(UsageError, match="No such file"):
        Board.load(folder / "deeper")


NUMBERS = st.one_of(
    st.integers(0, 0xFFFF).map(hex),
    st.integers(0, 0xFFFF).map(str),
    st.integers(1, 0xFFF).map(lambda value: f"0{value:o}"),
    st.integers(1, 63).map(lambda value: f"{value}K"),
    st.integers(1, 15).map(lambda value: f"{value}M"),
)
EXPRESSIONS = st.recursive(
    st.one_of(NUMBERS, st.sampled_from(["ORIGIN(FIRST)", "LENGTH ( FIRST )"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", " - ", "*"]), inner).map("".join), inner.map(lambda text: f"( {text} )")
    ),
    max_leaves=5,
)


def test_expressions_are_those_of_the_linker(tmp_path: Path) -> None:
    """GNU ld computes the same regions; one link for many generated expressions."""
    collected: list[str] = []

    @given(EXPRESSIONS)
    def collect(text: str) -> None:
        collected.append(text)

    collect()
    kept: list[tuple[str, int]] = []
    for text in dict.fromkeys(collected):
        (tmp_path / "one.ld").write_text(
            f"MEMORY {{ FIRST (rx) : ORIGIN = 0x100, LENGTH = 0x1000\n X (rw!x) : org = {text}, len = 0x10 }}"
        )
        try:
            kept.append((text, read_memory_map(tmp_path / "one.ld")["X"].origin))
        except UsageError as error:
            assert "reaches outside of the 32-bit address space" in str(error)  # noqa: PT017 - some are below zero
    assert len(kept) > 20
    lines = [f"  R{number} : o = {text}, l = 16" for number, (text, _) in enumerate(kept)]
    script = "MEMORY {\n FIRST : ORIGIN = 0x100, LENGTH = 0x1000\n" + "\n".join(lines) + "\n}\n"
    script += "".join(f"r{number} = ORIGIN(R{number});\n" for number in range(len(kept)))
    (tmp_path / "all.ld").write_text(script + "SECTIONS { }\n")
    (tmp_path / "empty.s").write_text("")
    run("arm-none-eabi-as", "empty.s", "-o", "empty.o", cwd=tmp_path)
    run("arm-none-eabi-ld", "empty.o", "-T", "all.ld", "-o", "all.elf", cwd=tmp_path)
    symbols = dict(line.split()[::-2] for line in run("arm-none-eabi-nm", tmp_path / "all.elf").splitlines())
    for number, (text, origin) in enumerate(kept):
        assert int(symbols[f"r{number}"], 16) == origin, text
    whole = read_memory_map(tmp_path / "all.ld")
    assert [whole[f"R{number}"].origin for number in range(len(kept))] == [origin for _, origin in kept]


def test_sdk_files_are_there() -> None:
    assert (sdk.include_dir() / "hotflash.h").is_file()
    assert (sdk.ld_dir() / "hotflash.ld").is_file()
    assert all(path.is_file() for path in (*sdk.app_sources(), sdk.make_fragment(), sdk.cmake_fragment()))
    board = Board.find("mps2-an386")
    assert sdk.cflags(board)[: len(board.cflags)] == list(board.cflags)
    assert "-fpatchable-function-entry=6" in sdk.cflags(nops=6)
    with pytest.raises(ValueError, match="4 or 6"):
        sdk.cflags(nops=5)
    assert not [flag for flag in sdk.cflags(hot=False) if "patchable" in flag]


def test_sdk_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hotflash" / "_sdk" / "bootloader").mkdir(parents=True)
    (tmp_path / "hotflash" / "_sdk" / "bootloader" / "protocol.toml").write_text("")
    monkeypatch.setattr(sdk, "__file__", str(tmp_path / "hotflash" / "sdk.py"))
    assert sdk.sdk_root() == tmp_path / "hotflash" / "_sdk"
    shutil.rmtree(tmp_path / "hotflash" / "_sdk")
    with pytest.raises(HotflashError, match="sources are missing"):
        sdk.sdk_root()
