from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hotflash.journal import Edit, Journal, UnitEdits
from hotflash.store import KEEP_BUILDS, SimRecord, Store, StoreError, atomic_write, process_start

BUILD = bytes(range(20))
_WRITER = """
import sys
from pathlib import Path
from hotflash.store import atomic_write
while True:
    for byte in b'xyz':
        atomic_write(Path(sys.argv[1]), bytes([byte]) * 300000)
"""
_HOLDER = """
import sys
from pathlib import Path
from hotflash.store import Store
with Store(Path(sys.argv[1])).locked():
    print('held', flush=True)
    sys.stdin.read()
"""


def entry(number: int, store: Store | None = None) -> UnitEdits:
    name = store.add_object(BUILD, str(number).encode()) if store is not None else f"{number:064x}"
    return UnitEdits(f"u{number}.c", name, f"u{number}.o", number, (Edit(f"f{number}", number, number),))


def test_build_is_found_by_id_with_what_was_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.build(BUILD) is None
    assert not store.root.exists(), "looking creates nothing"
    store.add_build(BUILD, b"elf", b"image", board="mps2-an386", source="/x/app.elf")
    build = store.build(BUILD)
    assert build is not None
    assert (build.elf.read_bytes(), build.image.read_bytes()) == (b"elf", b"image")
    assert (build.board, build.source) == ("mps2-an386", "/x/app.elf")
    assert [found.build_id for found in store.builds()] == [BUILD]
    assert (store.root / ".gitignore").read_text() == "*\n"


def test_flashing_again_keeps_the_journal_until_it_is_reset(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_build(BUILD, b"elf", b"image", board="b", source="s")
    with store.locked():
        store.save_journal(BUILD, Journal(live=[entry(1, store)]))
    store.add_build(BUILD, b"elf", b"image", board="b", source="s")
    assert store.journal(BUILD).live
    store.reset_journal(BUILD)
    assert store.journal(BUILD) == Journal()
    assert store.objects(BUILD) == []


def test_old_builds_go_and_the_new_one_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ids = [bytes([number]) * 20 for number in range(KEEP_BUILDS + 3)]
    for age, build_id in enumerate(ids):
        build = store.add_build(build_id, b"elf", b"image", board="b", source="s")
        os.utime(build.folder / "build.json", (age, age))
    assert store.build(ids[-1]) is not None
    assert store.build(ids[0]) is None
    assert len(store.builds()) == KEEP_BUILDS


def test_damaged_facts_do_not_hide_the_elf(tmp_path: Path) -> None:
    store = Store(tmp_path)
    build = store.add_build(BUILD, b"elf", b"image", board="b", source="s")
    for damage in (b"", b"{", b"[]", b'{"board": 3}', b"\xff\xfe"):
        (build.folder / "build.json").write_bytes(damage)
        found = store.build(BUILD)
        assert found is not None
        assert found.source == ""
        assert found.elf.read_bytes() == b"elf"


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}", b"[1]", b'{"version": 2}', b"\xff", b"null", b"[" * 100000],
    ids=["empty", "nothing", "list", "version", "bytes", "null", "deep"],
)
def test_damaged_journal_is_a_value_error_and_can_be_set_aside(tmp_path: Path, damage: bytes) -> None:
    store = Store(tmp_path)
    store.add_build(BUILD, b"elf", b"image", board="b", source="s")
    path = store.build_folder(BUILD) / "journal.json"
    path.write_bytes(damage)
    with pytest.raises(ValueError, match=r"\w"):
        store.journal(BUILD)
    aside = store.set_journal_aside(BUILD)
    assert aside.read_bytes() == damage
    assert store.journal(BUILD) == Journal()


def test_every_damaged_field_is_found(tmp_path: Path) -> None:
    del tmp_path
    good = json.loads(Journal(live=[entry(1)], lost=[entry(2)], boot_count=3, generation=4).dump())
    assert Journal.parse(json.dumps(good).encode()).generation == 4
    changes: tuple[dict[str, object], ...] = (
        {"generation": "4"},
        {"generation": -1},
        {"boot_count": "x"},
        {"live": [{}]},
        {"live": [{**good["live"][0], "object": "../../etc/passwd"}]},
        {"live": [{**good["live"][0], "unit": 3}]},
        {"lost": [{**good["lost"][0], "edits": [{"function": "f", "ident": None, "hash": 0}]}]},
    )
    for change in changes:
        with pytest.raises(ValueError, match=r"\w"):
            Journal.parse(json.dumps({**good, **change}).encode())


def test_objects_that_nobody_needs_go(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept, gone = store.add_object(BUILD, b"kept"), store.add_object(BUILD, b"gone")
    assert store.add_object(BUILD, b"kept") == kept
    with store.locked():
        store.save_journal(BUILD, Journal(previous=[UnitEdits("u.c", kept, "u.o", 1, (Edit("f", 1, 1),))]))
    assert store.object_path(BUILD, kept).read_bytes() == b"kept"
    assert not store.object_path(BUILD, gone).exists()


def _count_up(project: str, times: int) -> None:
    store = Store(Path(project))
    for _ in range(times):
        with store.locked():
            journal = store.journal(BUILD)
            journal.generation += 1
            store.save_journal(BUILD, journal)


def test_processes_do_not_lose_each_others_changes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_count_up, args=(str(tmp_path), 40)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert Store(tmp_path).journal(BUILD).generation == 160
    leftovers = [path.name for path in tmp_path.rglob(".*.json.*")]
    assert leftovers == []


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """One process writes large journals in turn, this one reads: every read is one of them."""
    store = Store(tmp_path)
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _WRITER,
            str(store.ensure() / "file"),
        ],
    )
    path = store.root / "file"
    try:
        while not path.exists():
            assert writer.poll() is None
        seen = set()
        for _ in range(300):
            data = path.read_bytes()
            assert len(data) == 300000
            assert len(set(data)) == 1
            seen.add(data[0])
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    store = Store(tmp_path)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _HOLDER,
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.wait()
    with store.locked():
        pass
    holder.stdout.close()
    holder.stdin.close()


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / ".hotflash").write_text("a file where the folder should be")
    store = Store(tmp_path)
    with pytest.raises(StoreError) as caught, store.locked():
        pass
    assert ".hotflash" in caught.value.message
    with pytest.raises(StoreError, match="cannot write"):
        atomic_write(tmp_path / "missing" / "file", b"")


# ---- the running simulator


def test_sim_record_lives_as_long_as_the_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.sim() is None
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    store.record_sim(SimRecord(port="socket://127.0.0.1:5", pid=process.pid, board="/b/mps2-an386"))
    found = store.sim()
    assert found is not None
    assert (found.port, found.pid) == ("socket://127.0.0.1:5", process.pid)
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
    assert store.sim() is None


def test_a_later_process_with_the_same_number_is_another(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.record_sim(SimRecord(port="p", pid=os.getpid(), board="b"))
    assert store.sim() is not None
    record = json.loads((store.root / "sim.json").read_bytes())
    record["start"] = str(int(record["start"]) - 1)
    (store.root / "sim.json").write_text(json.dumps(record))
    assert store.sim() is None


def test_damaged_sim_record_counts_as_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.ensure()
    for damage in ("", "{}", "[]", '{"port": 1, "pid": "x", "board": 2, "start": 3}'):
        (store.root / "sim.json").write_text(damage)
        assert store.sim() is None


def test_only_the_own_record_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.record_sim(SimRecord(port="p", pid=os.getpid(), board="b"))
    store.forget_sim(os.getpid() + 1)
    assert store.sim() is not None
    store.forget_sim(os.getpid())
    assert store.sim() is None
    store.forget_sim(os.getpid())


def test_process_start_tells_the_living_from_the_dead() -> None:
    assert process_start(os.getpid()) == process_start(os.getpid())
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert process_start(process.pid) is None
