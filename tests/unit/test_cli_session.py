"""Pushing, resets and rollbacks through the command line, over a board in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hotflash.cli import main as command
from hotflash.cli.context import App
from hotflash.errors import FitError, FramesError
from hotflash.settings import Settings
from hotflash.wire import events
from hotflash.wire.messages import CommitMode, HelloFlag
from tests.unit import fakes


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """a.c as the firmware has it, and edited: f, f and g, with a new function."""
    base = {"f": "return x + 1;", "static g": "return x * 3;"}
    versions = {
        "base": base,
        "f2": {**base, "f": "return x + 2;"},
        "f3": {**base, "f": "return x + 3;"},
        "f2g2": {"f": "return x + 2;", "static g": "return x * 5;"},
        "new": {**base, "fresh": "return x ^ 7;"},
    }
    found = {}
    for name, functions in versions.items():
        folder = tmp_path_factory.mktemp(name)
        found[name] = fakes.compile_object(folder, "a", functions)
    return found


@pytest.fixture
def board(objects: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fakes.FakeDevice:
    from hotflash import link
    from hotflash.elf.object import ObjectFile

    device = fakes.FakeDevice()
    base = ObjectFile.load(objects["base"])
    for section in base.sections:
        if section.name.startswith(".text."):
            monkeypatch.setitem(fakes.BASE, section.name.removeprefix(".text."), bytes(section.data))
    monkeypatch.setattr(link, "plan", fakes.fake_plan)
    monkeypatch.setattr(App, "session", lambda app, **flags: _open(app, device, flags))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hotflash.toml").touch()
    return device


def _open(app: App, device: fakes.FakeDevice, flags: dict[str, object]) -> object:
    flags.pop("attention", None)
    settings: Settings = app.settings(**flags)
    return fakes.open_session(device, app.store.project, settings)


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> tuple[str, str]:
    status = command.run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert status == code, out + err
    return out, err


def test_push_says_what_went_live_and_how_long_each_stage_took(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = run(capsys, "push", objects["f2"])
    assert out.startswith("push  a.o  1 function, ")
    assert "-> generation 1 live   link " in out
    assert "wire 3.5 ms  commit 0.8 ms" in out
    assert out.count("\n") == 1
    assert "replace f (a.c)" in err
    assert board.hello.generation == 1


def test_pushing_again_changes_nothing(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "push", objects["f2"])
    out, _ = run(capsys, "push", objects["f2"])
    assert "nothing changed" in out
    assert len(board.pushes) == 1


def test_the_source_taken_back_takes_effect(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "push", objects["f2"])
    out, err = run(capsys, "push", objects["base"])
    assert "1 function back to the base image -> generation 2 live" in out
    assert "revert f" in err
    assert board.bound == {}
    assert "the base image runs" in run(capsys, "status")[0]


@pytest.mark.parametrize(
    ("version", "arguments", "mode"),
    [
        ("f2", (), CommitMode.NOW),
        ("f2g2", (), CommitMode.SAFE),
        ("new", (), CommitMode.NOW),
        ("f2", ("--mode", "safe"), CommitMode.SAFE),
        ("f2g2", ("--mode", "now"), CommitMode.NOW),
    ],
)
def test_one_function_is_committed_now_and_more_safely(
    board: fakes.FakeDevice,
    objects: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    *,
    version: str,
    arguments: tuple[str, ...],
    mode: CommitMode,
) -> None:
    run(capsys, "push", "--deadline", "0.5", *arguments, objects[version])
    assert board.pushes == [(mode, 0.5)]


def test_json_has_a_version_and_all_that_the_text_says(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    del board
    answer = json.loads(run(capsys, "push", "--json", objects["f2g2"])[0])
    assert answer["version"] == 1
    assert answer["kind"] == "push"
    assert answer["state"] == "live"
    assert [change["function"] for change in answer["changes"]] == ["f", "g"] or [
        change["function"] for change in answer["changes"]
    ] == ["g", "f"]
    assert set(answer["milliseconds"]) == {"read", "link", "wire", "commit"}
    for name in ("status", "slots", "gc"):
        answer = json.loads(run(capsys, "--json", name)[0])
        assert (answer["version"], answer["kind"]) == (1, name)


def test_reset_and_resync(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "push", objects["f2"])
    run(capsys, "push", objects["f2g2"])
    board.reset()
    sentence = "2 edits are not live any more (board was reset): f, g. `hotflash resync` sends them again"
    assert sentence in run(capsys, "status")[0]
    assert sentence in run(capsys, "monitor", "--timeout", "0")[1]
    out, err = run(capsys, "resync")
    assert "resync  a.o  2 functions" in out
    assert "not live" not in err
    assert len(board.bound) == 2
    assert "not live" not in run(capsys, "status")[0]
    assert "nothing changed" in run(capsys, "resync")[0]


def test_push_after_a_reset_says_what_is_still_not_live(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run(capsys, "push", objects["f2"])
    board.reset()
    other = fakes.compile_object(tmp_path, "b", {"h": "return x - 1;"})
    err = run(capsys, "push", other)[1]
    assert "1 edit is not live any more (board was reset): f. `hotflash resync` sends it again" in err
    run(capsys, "push", objects["base"])
    assert "not live" not in run(capsys, "status")[0], "the object said that f is to be as in the base image"


def test_reset_command_tells_what_went(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "push", objects["f2"])
    out, err = run(capsys, "reset")
    assert "the application runs" in out
    assert "1 edit is not live any more" in err
    assert "the bootloader waits" in run(capsys, "reset", "--wait")[0]
    assert not board.hello.flags & HelloFlag.APP_RUNS
    assert "waits in the bootloader" in run(capsys, "push", objects["f2"], code=5)[1]


def test_rollback_redo_and_base(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "push", objects["f2"])
    run(capsys, "push", objects["f3"])
    assert "generation 3 live   edits: f" in run(capsys, "rollback")[0]
    assert "generation 4 live" in run(capsys, "rollback")[0]
    assert "the base image runs" in run(capsys, "rollback", "--base")[0]
    board.reset()
    assert "not live" not in run(capsys, "status")[0], "nobody misses what was taken back"


def test_resync_after_a_rollback_sends_what_was_live(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "push", objects["f2"])
    wanted = {(slot.ident, slot.hash) for slot in board.bound.values()}
    run(capsys, "push", objects["f3"])
    run(capsys, "rollback")
    board.reset()
    run(capsys, "resync")
    assert {(slot.ident, slot.hash) for slot in board.bound.values()} == wanted


def test_no_generation_to_go_back_to(board: fakes.FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    del board
    assert "no generation to go back to" in run(capsys, "rollback", code=5)[1]


def test_frames_in_the_way_are_named(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "push", objects["f2"])
    slot = next(iter(board.bound.values()))
    board.fail = FramesError("…", frames=[(0x8147, 0x200FFFF0), (slot.address + 2, 15)])
    err = run(capsys, "push", "--mode", "safe", objects["f3"], code=5)[1]
    assert "f+0x2 (generation 1), now" in err
    assert "g+0x6 (a.c), return address on the stack at 0x200ffff0" in err
    assert "--mode now" in err
    assert board.hello.generation == 1


def test_what_fills_the_heap_is_listed(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "push", objects["f2"])
    board.fail = FitError("does not fit the board's memory: code heap, 9000 bytes")
    err = run(capsys, "push", objects["f3"], code=5)[1]
    assert "9000 bytes" in err
    assert "of 4096 bytes are used: f " in err
    assert "(hook of f)" in err


def test_damaged_journal_is_rebuilt_from_the_objects(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run(capsys, "push", objects["f2"])
    path = tmp_path / ".hotflash" / "builds" / fakes.BUILD_ID.hex() / "journal.json"
    path.write_text('{"version": 1, "live"')
    out = run(capsys, "status")[0]
    assert "1 edit live (f)" in out
    board.reset()
    assert "1 edit is not live any more (board was reset): f" in run(capsys, "status")[0]


def test_slots_say_who_holds_them(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "slots")[0] == "no slots in use\n"
    run(capsys, "push", objects["f2"])
    run(capsys, "push", objects["f3"])
    lines = run(capsys, "slots")[0].splitlines()
    assert lines[0].split() == ["slot", "kind", "function", "address", "bytes", "generation", "held", "by"]
    assert len(lines) == 3
    assert any("hook of f" in line for line in lines)
    assert any("undo record" in line for line in lines)
    assert len(board.slots()) == 2


def test_heap_and_warnings_of_status(board: fakes.FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    flags = fakes.RUNNING | HelloFlag.PRIO_ZERO | HelloFlag.PENDSV_ZERO | HelloFlag.TXN_OPEN
    board.hello = replace(board.hello, flags=int(flags), heap_free=1024)
    board.counters = replace(board.counters, drift=2, rx_bad=3)
    out = run(capsys, "status")[0]
    assert "3,072 of 4,096 bytes (75.0 %)" in out
    assert "Cortex-M4 r0p1" in out
    for text in ("priority 0", "PendSV", "transaction is open", "2 reference counts", "no MPU", "3 bad frames"):
        assert text in out


@pytest.mark.parametrize(
    ("protection", "shown", "warned"),
    [
        (31, "code heap, hook table, flash read-only; other memory not executable; main stack guarded", ""),
        (7, "code heap, hook table, flash read-only\n", ""),
        (63, "main stack guarded", "settings of its own in the MPU\n"),
        (33, "code heap read-only\n", "in the MPU: nothing keeps stray writes from hook table, flash\n"),
        (32, "protected    nothing\n", "nothing keeps stray writes from code heap, hook table, flash\n"),
    ],
)
def test_status_says_what_is_protected(
    board: fakes.FakeDevice, capsys: pytest.CaptureFixture[str], *, protection: int, shown: str, warned: str
) -> None:
    board.hello = replace(board.hello, flags=int(fakes.RUNNING | HelloFlag.MPU))
    board.counters = replace(board.counters, protection=protection)
    out = run(capsys, "status")[0]
    assert shown in out
    assert warned in out
    assert ("MPU" in out) == bool(warned)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (HelloFlag(0), "flash APP.elf"),
        (HelloFlag.APP_VALID, "hotflash reset"),
        (HelloFlag.APP_VALID | HelloFlag.APP_RUNS, "plain ELF"),
        (fakes.RUNNING | HelloFlag.STATE_LOST, "hotflash reset"),
    ],
)
def test_push_without_a_hot_application_is_refused(
    board: fakes.FakeDevice,
    objects: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    *,
    flags: HelloFlag,
    text: str,
) -> None:
    board.hello = replace(board.hello, flags=int(flags))
    assert text in run(capsys, "push", objects["f2"], code=5)[1]
    assert board.pushes == []
    run(capsys, "status")


# ---- read and write by address; types have tests of their own


def test_read_and_write_by_address(board: fakes.FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    board.memory.update({0x20080000 + n: n for n in range(64)})
    assert run(capsys, "read", "0x20080000")[0] == "0x03020100\n"
    assert run(capsys, "read", "0x20080004", "--width", "2")[0] == "0x0504\n"
    dump = run(capsys, "read", "0x20080000", "--length", "20")[0].splitlines()
    assert dump[0].startswith("0x20080000  00 01 02")
    assert dump[1].startswith("0x20080010  10 11 12 13 ")
    assert json.loads(run(capsys, "read", "--json", "0x20080000", "--count", "2")[0])["value"] == [
        0x03020100,
        0x07060504,
    ]
    assert run(capsys, "write", "0x20080000", "-1", "--width", "1")[0] == "0x20080000: 0x00 -> 0xff\n"
    assert board.memory[0x20080000] == 0xFF


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("read", "0x70000000"), 5),
        (("read", "0x100000000"), 2),
        (("read", "0xFFFFFFF0", "--length", "32"), 2),
        (("read", "0x20080001", "--width", "4"), 2),
        (("read", "0x20080000", "--length", "4", "--count", "1"), 2),
        (("write", "0x20080000", "lots"), 2),
        (("write", "0x20080000", "256", "--width", "1"), 2),
        (("write", "0x20080002", "1"), 2),
        (("read", "007"), 2),
    ],
)
def test_bad_addresses_and_values(
    board: fakes.FakeDevice, capsys: pytest.CaptureFixture[str], *, arguments: tuple[str, ...], code: int
) -> None:
    del board
    out, err = run(capsys, *arguments, code=code)
    assert out == ""
    assert err.startswith("error: ")


# ---- monitor


def test_monitor_stops_at_a_line_and_shows_nothing_behind_it(
    board: fakes.FakeDevice, capsys: pytest.CaptureFixture[str]
) -> None:
    board.script = [events.LogText("one\ntw"), events.LogText("o 2\r\nthree\nfour\n")]
    assert run(capsys, "monitor", "--until", r"^two \d$")[0] == "one\ntwo 2\n"
    assert run(capsys, "monitor", "--lines", "3")[0] == "one\ntwo 2\nthree\n"
    assert run(capsys, "monitor", "--timeout", "0.05")[0] == "one\ntwo 2\nthree\nfour\n"


def test_bare_command_monitors(board: fakes.FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    board.script = [events.LogText("hello\n"), events.Fault(None, "cut")]
    assert run(capsys, code=134)[0] == "hello\n"


def test_monitor_says_when_what_was_waited_for_did_not_come(
    board: fakes.FakeDevice, capsys: pytest.CaptureFixture[str]
) -> None:
    board.script = [events.LogText("one\nhalf")]
    out, err = run(capsys, "monitor", "--until", "never", "--timeout", "0.05", code=1)
    assert out == "one\nhalf"
    assert "no line matched 'never'" in err
    assert "only 1 of 5 lines" in run(capsys, "monitor", "--lines", "5", "--timeout", "0.05", code=1)[1]
    assert "not a regular expression" in run(capsys, "monitor", "--until", "(", code=2)[1]


def test_notices_go_to_stderr_and_data_to_stdout(board: fakes.FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    board.script = [
        events.LogText("a\x00b\x1b[1m\n"),
        events.LogDropped(1),
        events.FramesLost(3),
        events.Boot("no valid application"),
        events.LinkDown("unplugged"),
        events.LinkUp(),
        events.Plain(""),
        events.LogText("end\n"),
    ]
    out, err = run(capsys, "monitor", "--lines", "2")
    assert out == "a\\x00b\x1b[1m\nend\n"
    for text in ("1 log line dropped", "3 frames lost", "was reset: no valid", "unplugged", "is back", "plain ELF"):
        assert text in err
    lines = [json.loads(line) for line in run(capsys, "monitor", "--json", "--lines", "2")[0].splitlines()]
    assert [line["kind"] for line in lines] == [
        "log",
        "dropped",
        "lost",
        "reset",
        "link-down",
        "link-up",
        "plain",
        "log",
    ]
    assert all(line["version"] == 1 for line in lines)


def test_a_fault_is_decoded_through_patched_code_and_ends_with_134(
    board: fakes.FakeDevice, objects: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "push", objects["f2"])
    slot = next(iter(board.bound.values()))
    registers = events.Registers(
        (*range(13), 0x200FFF00, 0x8207, slot.address + 2), 0x21000000, 0x8200, 0, 0, 0x70000000
    )
    registers = replace(registers, boot=board.hello.boot_count)
    board.script = [events.LogText("last words\n"), events.Fault(registers)]
    out, err = run(capsys, "monitor", code=134)
    assert out == "last words\n"
    assert "BusFault, data access to memory that is not there; address 0x70000000" in err
    assert "f+0x2 (generation 1)" in err
    assert "lr: 0x00008204 main+0x4" in err


def test_an_object_that_another_host_dropped_meanwhile_is_kept(
    board: fakes.FakeDevice,
    objects: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its push prepares a journal that does not name what this one is about to make live."""
    whole = fakes.FakeDevice.push

    def push(self: fakes.FakeDevice, *args: Any, **keywords: Any) -> Any:
        for path in tmp_path.rglob("objects/*.o"):
            path.unlink()
        return whole(self, *args, **keywords)

    monkeypatch.setattr(fakes.FakeDevice, "push", push)
    run(capsys, "push", objects["f2"])
    assert len(list(tmp_path.rglob("objects/*.o"))) == 1
    assert board.hello.generation == 1
