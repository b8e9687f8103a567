"""The index of a firmware: the same answers as the whole ELF, made once, and never believed when in doubt."""

from __future__ import annotations

import contextlib
import io
import os
import random
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from hotflash import types
from hotflash.elf import index as tables
from hotflash.elf.firmware import Firmware
from hotflash.errors import HotflashError
from hotflash.link import plan
from hotflash.session.names import global_ident, local_ident
from hotflash.store import KEEP_BUILDS, Store
from hotflash.types.dwarf import DebugInfo
from tests.link import large
from tests.link.device import Device
from tests.link.toolchain import Workshop

FEW, MANY = large.PER_UNIT, 500


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Workshop]:
    return {count: Workshop(tmp_path_factory.mktemp(f"of{count}")) for count in (FEW, MANY)}


@pytest.fixture(scope="module")
def built(shops: dict[int, Workshop]) -> dict[int, Firmware]:
    return {count: large.build(shop, count) for count, shop in shops.items()}


@pytest.fixture
def elf(built: dict[int, Firmware], tmp_path: Path) -> Path:
    """A copy that may be changed, old enough that its time stamps can be trusted."""
    path = tmp_path / "app.elf"
    path.write_bytes(built[FEW].data)
    _age(path)
    return path


def _age(path: Path, seconds: int = 60) -> None:
    then = path.stat().st_mtime_ns - seconds * 10**9
    os.utime(path, ns=(then, then))


def _answers(firmware: Firmware) -> object:
    return (
        firmware.build_id, firmware.header, firmware.symbols, firmware.sites, firmware.attributes,
        [firmware.debug.named(s.name) for s in firmware.variables], types.variable(firmware, "shared_0").type,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------- the answers


def test_symbols_are_those_of_the_table(built: dict[int, Firmware]) -> None:
    firmware = built[MANY]
    every = firmware.symbols
    stream = ELFFile(io.BytesIO(firmware.data))
    table = stream.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    kinds = ("STT_FUNC", "STT_OBJECT")
    theirs = sorted(
        (s.name, s["st_value"] & ~1 if s["st_info"]["type"] == "STT_FUNC" else s["st_value"], s["st_size"])
        for s in table.iter_symbols() if s["st_info"]["type"] in kinds and s["st_shndx"] != "SHN_UNDEF"
    )  # fmt: skip
    assert sorted((s.name, s.address, s.size) for s in every if s.kind != "notype") == theirs
    assert len(theirs) > 3 * MANY
    for symbol in random.Random(1).sample(every, 200):
        assert symbol in firmware.named(symbol.name)
        if symbol.bind != "local":
            assert firmware.globals[symbol.name] == symbol
        elif symbol.kind != "notype":
            assert firmware.units[symbol.unit][symbol.group][symbol.name] == symbol
        if symbol.kind == "function":
            assert firmware.symbols_near(symbol.address + 6) == (symbol, 6)
        if symbol.kind == "object":
            assert firmware.object_near(symbol.address + symbol.size - 1) == (symbol, symbol.size - 1)
        ident = local_ident(symbol.unit, symbol.name) if symbol.bind == "local" else global_ident(symbol.name)
        if symbol.kind != "notype":
            assert firmware.by_ident(ident) == symbol
    assert "not there" not in firmware.globals
    assert "nowhere.c" not in firmware.units
    assert firmware.symbols_near(0) is None
    assert [s.address for s in firmware.sites] == sorted(s.address for s in every if s.nops >= firmware.header.nops)
    for site in firmware.sites[:50]:
        assert firmware.site_of_hook(site.hook) == site == firmware.site_at[site.address]
    assert firmware.site_of_hook(firmware.site_count) is None


def test_variables_are_those_of_the_debug_information(built: dict[int, Firmware]) -> None:
    """Against pyelftools, which reads every entry."""
    firmware = built[FEW]
    dwarf = ELFFile(io.BytesIO(firmware.data)).get_dwarf_info()
    theirs = set()
    for unit in dwarf.iter_CUs():
        for die in unit.iter_DIEs():
            where = die.attributes.get("DW_AT_location")
            if (
                die.tag == "DW_TAG_variable"
                and where is not None
                and isinstance(where.value, list)
                and where.value[0] == 3
            ):
                theirs.add(
                    (die.attributes["DW_AT_name"].value.decode(), int.from_bytes(bytes(where.value[1:]), "little"))
                )
    names = {name for name, _ in theirs}
    ours = {(v.name, v.address) for name in names for v in firmware.debug.named(name) if v.address is not None}
    assert ours == theirs
    assert len(theirs) > 2 * FEW


def test_users_of_a_variable_are_found(built: dict[int, Firmware]) -> None:
    firmware = built[FEW]
    for number in (1, 7, 30):
        static = firmware.named(f"deep_{number}.{_suffix(firmware, f'deep_{number}')}")[0]
        assert [s.name for s in firmware.users(static.address, static.size)] == [f"function_{number}"]
    shared = firmware.globals["shared_0"]
    assert len(firmware.users(shared.address, shared.size)) >= FEW


def _suffix(firmware: Firmware, name: str) -> str:
    return next(s.name for s in firmware.variables if s.name.startswith(f"{name}.")).rpartition(".")[2]


# ---------------------------------------------------------------------------------------- made once


def test_only_loaded_bytes_and_records_are_read(elf: Path, tmp_path: Path) -> None:
    index = tmp_path / "kept" / "app.idx"
    heard: list[tuple[int, int]] = []
    first = Firmware.load(elf, index=index, progress=lambda done, total: heard.append((done, total)))
    assert not first.indexed
    assert heard[-1][0] == heard[-1][1] > 0
    heard.clear()
    again = Firmware.load(elf, index=index, progress=lambda done, total: heard.append((done, total)))
    assert again.indexed
    assert not heard
    loaded = sum(len(s.data) for s in again.segments)
    assert again.bytes_read <= loaded + 200, "headers and segments, no section"
    assert again.debug.named("shared_0")
    assert again.bytes_read <= loaded + 200
    assert _answers(again) == _answers(first)


def test_work_does_not_grow_with_the_firmware(
    shops: dict[int, Workshop], built: dict[int, Firmware], tmp_path: Path
) -> None:
    """Records that a push of one changed function touches, and a read of one variable."""
    touched = {}
    for count, firmware in built.items():
        index = tmp_path / f"{count}.idx"
        Firmware.load(firmware.path, index=index)
        kept = Firmware.load(firmware.path, index=index)
        assert kept.indexed
        live = Device(firmware).live
        made = plan([large.compile_unit(shops[count], 0, large.PER_UNIT, factor=3)], kept, live)
        assert [c.function for c in made.changes] == ["function_0"]
        push = kept.table.touched
        types.variable(kept, "shared_0")
        touched[count] = push, kept.table.touched, DebugInfo.of(kept).dwarf.read, kept.debug.touched
    assert touched[MANY] == touched[FEW]
    assert touched[FEW][0] <= 6 * FEW, "the object's own names"


# ---------------------------------------------------------------------------------------- in doubt


def test_a_changed_file_is_read_again(elf: Path, built: dict[int, Firmware], tmp_path: Path) -> None:
    index = tmp_path / "app.idx"
    Firmware.load(elf, index=index)
    elf.write_bytes(built[MANY].data)
    assert not Firmware.load(elf, index=index).indexed
    assert Firmware.load(elf, index=index).build_id == built[MANY].build_id


def test_a_change_within_the_time_stamps_resolution_is_seen(elf: Path, tmp_path: Path) -> None:
    index = tmp_path / "app.idx"
    now = elf.stat()
    os.utime(elf, ns=(now.st_atime_ns, now.st_mtime_ns + 60 * 10**9))  # as if it was just written
    Firmware.load(elf, index=index)
    stamp = elf.stat().st_mtime_ns
    data = bytearray(elf.read_bytes())
    at = data.rindex(b"function_7\0")
    data[at : at + 8] = b"FUNCTION"
    elf.write_bytes(data)
    os.utime(elf, ns=(stamp, stamp))
    changed = Firmware.load(elf, index=index)
    assert not changed.indexed
    assert changed.named("FUNCTION_7")


def test_a_touched_file_is_known_by_its_content(elf: Path, tmp_path: Path) -> None:
    index = tmp_path / "app.idx"
    Firmware.load(elf, index=index)
    _age(elf)
    looked = Firmware.load(elf, index=index)
    assert looked.indexed
    assert looked.bytes_read >= looked.size
    assert Firmware.load(elf, index=index).bytes_read < looked.size, "the new time stamp is remembered"


def test_a_damaged_index_is_made_again(elf: Path, tmp_path: Path) -> None:
    index = tmp_path / "app.idx"
    expected = _answers(Firmware.load(elf, index=index))
    whole = index.read_bytes()
    draw = random.Random(5)
    damaged = [whole[: draw.randrange(len(whole))] for _ in range(15)] + [b"", b"\0" * len(whole), whole + b"x"]
    for _ in range(40):
        flipped = bytearray(whole)
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
        damaged.append(bytes(flipped))
    for data in damaged:
        index.write_bytes(data)
        firmware = Firmware.load(elf, index=index)
        assert not firmware.indexed
        assert _answers(firmware) == expected
        assert Firmware.load(elf, index=index).indexed


def test_another_versions_index_is_made_again(elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "app.idx"
    Firmware.load(elf, index=index)
    monkeypatch.setattr(tables, "_MAGIC", b"HFIX\xfe" + tables._MAGIC[5:])
    assert not Firmware.load(elf, index=index).indexed
    assert Firmware.load(elf, index=index).indexed


def test_a_lying_index_is_refused_or_harmless(elf: Path, tmp_path: Path) -> None:
    """Tables that contradict themselves under a right checksum: no hang, no crash, one error at most."""
    index = tmp_path / "app.idx"
    Firmware.load(elf, index=index)
    whole = index.read_bytes()
    draw = random.Random(6)
    for _ in range(60):
        body = bytearray(whole[tables._HEAD.size :])
        for _ in range(draw.choice((1, 20))):
            at = draw.randrange(tables._STAMP.size, len(body) - 4)
            body[at : at + 4] = draw.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", draw.randbytes(4)))
        check = zlib.crc32(body, len(whole) & 0xFFFFFFFF)
        index.write_bytes(tables._HEAD.pack(tables._MAGIC, check, len(whole)) + body)
        with contextlib.suppress(HotflashError):  # anything else fails the test
            _answers(Firmware.load(elf, index=index))


def test_a_place_that_cannot_be_written_to(elf: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    firmware = Firmware.load(elf, index=tmp_path / "file" / "app.idx")
    assert not firmware.indexed
    assert firmware.debug.named("shared_0")


def test_processes_that_race(elf: Path, tmp_path: Path) -> None:
    """All get the right answers, however often the index goes, and what is left is whole."""
    index = tmp_path / "app.idx"
    program = (
        "import sys; from pathlib import Path; from hotflash.elf.firmware import Firmware\n"
        "for _ in range(15):\n"
        "    f = Firmware.load(sys.argv[1], index=Path(sys.argv[2]))\n"
        "    assert len(f.debug.named('shared_0')) == 1 and f.site_count == 50, f.site_count\n"
        "    Path(sys.argv[2]).unlink(missing_ok=True)\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(elf), str(index)]
    racers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for racer in racers:
        _, said = racer.communicate(timeout=120)
        assert racer.returncode == 0, said
    Firmware.load(elf, index=index)
    assert Firmware.load(elf, index=index).indexed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["app.elf", "app.idx"], "nothing half written is left"


def test_threads_that_race(elf: Path, tmp_path: Path) -> None:
    index = tmp_path / "app.idx"
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(Firmware.load(elf, index=index).build_id)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 6
    assert len(set(found)) == 1


def test_what_replaces_the_file_changes_nothing_that_was_loaded(
    elf: Path, built: dict[int, Firmware], tmp_path: Path
) -> None:
    index = tmp_path / "app.idx"
    Firmware.load(elf, index=index)
    firmware = Firmware.load(elf, index=index)
    other = tmp_path / "other.elf"
    other.write_bytes(built[MANY].data)
    other.replace(elf)
    assert str(types.variable(firmware, "shared_0").type) == "int"
    assert firmware.data == built[FEW].data


def test_indexes_of_other_elfs_are_few(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(KEEP_BUILDS + 5):
        path = store.index_for(tmp_path / f"app{number}.elf")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        assert path == store.index_for(tmp_path / f"app{number}.elf")
    assert len(list((store.root / "index").iterdir())) == KEEP_BUILDS
