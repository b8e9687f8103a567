"""Hostile input ends in success or in a documented error; a sample here, the long run by ``make fuzz``."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from hotflash import types
from hotflash.elf import format as elf
from hotflash.elf.dwarf import AT_TYPE, Dwarf, DwarfError, Unit, variables
from hotflash.elf.firmware import Firmware
from hotflash.elf.layout import Array, Field, Layout, Scalar, contains
from hotflash.elf.object import ObjectFile
from hotflash.elf.shapes import Shapes
from hotflash.errors import ElfError, RefusedError, UsageError
from hotflash.link import plan
from hotflash.settings import load
from tests.hostile import bombs, seeds
from tests.hostile.fuzz import Readers, limited, outcome
from tests.hostile.guided import corpus
from tests.link.device import Device
from tests.link.toolchain import ROOT, Workshop

INPUTS = 2500


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


def test_a_sample(tmp_path: Path) -> None:
    """Other inputs each day, of a seed that is printed."""
    seed = os.environ.get("HOSTILE_SEED", "20260101")
    done = _python("-m", "tests.hostile.fuzz", f"--count={INPUTS}", f"--seed={seed}", f"--keep={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{INPUTS} inputs" in done.stdout


def test_corpus_and_bombs() -> None:
    """In a process with little memory, each with little time; see ``_replay``."""
    done = _python("-c", "import tests.hostile.test_hostile as t; t._replay()")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n") == len(bombs.OBJECTS) + len(bombs.DWARF) + len(corpus()), done.stdout


def _replay() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        readers = Readers(Path(folder))
        limited()
        inputs = [("object", name, make()) for name, make in bombs.OBJECTS.items()]
        inputs += [("firmware", name, with_dwarf(readers.base.data, *make())) for name, make in bombs.DWARF.items()]
        inputs += corpus()
        failed = []
        for kind, name, data in inputs:
            said, allowed = outcome(readers.targets[kind], data)
            print(f"{name}: {said.splitlines()[0]}")
            if not allowed:
                failed.append(f"{name}: {said}")
        if failed:
            sys.exit("\n".join(failed))


def with_dwarf(firmware: bytes, info: bytes, abbreviations: bytes) -> bytes:
    """A firmware with other debug information, appended and pointed to."""
    data = bytearray(firmware)
    (start,) = struct.unpack_from("<I", data, 32)
    count, names = struct.unpack_from("<HH", data, 48)
    (strings,) = struct.unpack_from("<I", data, start + 40 * names + 16)
    for index in range(count):
        at = start + 40 * index
        (name,) = struct.unpack_from("<I", data, at)
        text = bytes(data[strings + name : data.index(0, strings + name)])
        for wanted, content in ((b".debug_info", info), (b".debug_abbrev", abbreviations)):
            if text == wanted:
                if content.startswith(bombs.COMPRESSED):
                    struct.pack_into("<I", data, at + 8, elf.SHF_COMPRESSED)
                struct.pack_into("<II", data, at + 16, len(data), len(content))
                data += content
    return bytes(data)


def test_what_the_bombs_are_refused_for() -> None:
    with pytest.raises(ElfError, match="sections overlap in the file"):
        ObjectFile.parse(bombs.overlapping_sections(), "a.o")
    with pytest.raises(ElfError, match="overlaps those of other symbols"):
        ObjectFile.parse(bombs.shared_names(), "a.o")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("tables_all_over", "used over and over"),
        ("deep_types", "more than 4000000 parts"),
        ("deep_nameless_types", "more than 4000000 parts"),
        ("nested_blocks", "nested too deep"),
        ("sibling_loop", "sibling outside of its unit"),
        ("small_record", "smaller than its member m"),
        ("compressed", "more than any firmware's"),
    ],
)
def test_what_debug_information_is_refused_for(base: Firmware, tmp_path: Path, name: str, problem: str) -> None:
    path = tmp_path / "app.elf"
    path.write_bytes(with_dwarf(base.data, *bombs.DWARF[name]()))
    firmware = Firmware.load(path)
    with pytest.raises(ElfError, match=problem):
        types.variable(firmware, "thing")
    assert firmware.sites, "the rest of it can be used"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return seeds.firmware(Workshop(tmp_path_factory.mktemp("base")))


def test_what_objects_are_refused_for(base: Firmware) -> None:
    for name, problem in (("wide_text", "4294967295-byte characters"), ("far_mark", "mapping symbol"),
                          ("zeros_without_end", "more than any board's memory")):  # fmt: skip
        with pytest.raises(RefusedError, match=problem):
            plan([ObjectFile.parse(bombs.OBJECTS[name](), "a.o")], base, Device(base).live)


@pytest.mark.parametrize("name", ["deep_nameless_types", "deep_signatures"])
def test_what_types_are_not_written_down(base: Firmware, name: str) -> None:
    info = Dwarf(elf.open_container(with_dwarf(base.data, *bombs.DWARF[name]()), "app.elf", (elf.ET_EXEC,)))
    unit = next(info.units())
    assert isinstance(unit, Unit)
    ((_, variable),) = variables(unit)
    with pytest.raises(DwarfError, match="more than 65536 characters"):
        Shapes(info).text(variable.resolved(AT_TYPE))


def test_a_layout_is_looked_for_in_each_once() -> None:
    shape = Layout("struct inner", "struct", 4, (Field("value", 0, Scalar("int", 4)),))
    for level in range(60):
        shape = Layout(f"struct s{level}", "struct", 8, (Field("a", 0, shape), Field("b", 32, Array(shape, 2))))
    assert not contains(shape, {"struct other"})
    assert contains(shape, {"struct other", "struct inner"})


def test_segments_end_with_the_address_space(base: Firmware, tmp_path: Path) -> None:
    data = bytearray(base.data)
    (start,) = struct.unpack_from("<I", data, 28)
    struct.pack_into("<I", data, start + 8, 0xFFFFFF00)
    path = tmp_path / "app.elf"
    path.write_bytes(data)
    with pytest.raises(ElfError, match="behind the last address"):
        Firmware.load(path)


@pytest.mark.parametrize(
    "text", ["baud = " + "9" * 5000, "port = " + "[" * 100_000, 'elf = "~nobody-of-that-name/app.elf"']
)
def test_settings_without_end(tmp_path: Path, text: str) -> None:
    (tmp_path / "hotflash.toml").write_text(text)
    with pytest.raises(UsageError, match=r"hotflash\.toml"):
        load(project=tmp_path, env={"HOME": str(tmp_path)})


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.o"
    os.mkfifo(fifo)
    holder = os.open(fifo, os.O_RDWR)  # or opening it would wait for a writer
    try:
        for path in (fifo, Path("/dev/zero"), tmp_path):
            with pytest.raises(UsageError, match="cannot read"):
                ObjectFile.load(path)
    finally:
        os.close(holder)
    large = tmp_path / "large.o"
    with large.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ElfError, match="1024 MB"):
        ObjectFile.load(large)
