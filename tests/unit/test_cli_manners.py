"""What people meet before anything is connected: help, errors, exit codes, ports, speed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import hotflash
from hotflash import errors
from hotflash.cli import main as command
from hotflash.cli import output
from hotflash.cli.context import App
from hotflash.session import ports
from hotflash.settings import Settings


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in list(os.environ):
        if name.startswith("HOTFLASH_"):
            monkeypatch.delenv(name)
    (tmp_path / "hotflash.toml").touch()
    monkeypatch.setattr(ports, "candidates", list)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    status = command.run(list(arguments))
    out, err = capsys.readouterr()
    assert status == code, out + err
    return out, err


def every_error() -> list[type[errors.HotflashError]]:
    found = [errors.HotflashError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == "hotflash.errors"]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_each_error_is_one_line_a_hint_and_its_exit_code(
    kind: type[errors.HotflashError], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_app: App, **_flags: object) -> None:
        raise kind("f at 0x1234: it is so", hint="do this")

    monkeypatch.setattr(App, "session", fail)
    out, err = run(capsys, "status", code=kind.exit_code)
    assert out == ""
    assert err == "error: f at 0x1234: it is so\nhint: do this\n"
    answer = json.loads(run(capsys, "status", "--json", code=kind.exit_code)[0])
    assert answer["version"] == 1
    assert answer["error"] == kind.__name__
    assert answer["exit_code"] == kind.exit_code


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (KeyboardInterrupt(), 130, ""),
        (click.exceptions.Abort(), 130, ""),
        (BrokenPipeError(), 1, ""),
        (PermissionError(13, "Permission denied", "x.o"), 1, "x.o: Permission denied"),
        (ZeroDivisionError("division by zero"), 1, "internal error: ZeroDivisionError"),
    ],
)
def test_other_ends(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    raised: BaseException,
    code: int,
    text: str,
) -> None:
    def fail(_app: App, **_flags: object) -> None:
        raise raised

    monkeypatch.setattr(App, "session", fail)
    # Where nobody reads any more is given up for good: a process of its own has to try that.
    if not isinstance(raised, BrokenPipeError):
        assert command.run(["status"]) == code
        err = capfd.readouterr().err
        assert text in err
        assert "Traceback" not in err


def test_nobody_reading_is_quiet() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hotflash", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() in (0, 1)


def test_debug_shows_where(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTFLASH_DEBUG", "1")
    assert "Traceback" in run(capsys, "status", code=3)[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("push",),
        ("push", "--mode", "later", "x.o"),
        ("monitor", "--lines", "0"),
        ("read",),
        ("status", "--frobnicate"),
        ("--baud", "fast", "status"),
        ("sdk",),
        ("sdk", "--ldflags"),
        ("sim",),
        ("flash", "--baud", "0", "x.elf"),
        ("export", "x.elf"),
    ],
)
def test_usage_errors_are_2(capsys: pytest.CaptureFixture[str], *, arguments: tuple[str, ...]) -> None:
    out, err = run(capsys, *arguments, code=2)
    assert out == ""
    assert "rror" in err


def test_misspelt_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'status'?" in run(capsys, "stauts", code=2)[1]


def test_help_names_every_command_and_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    overview = run(capsys, "--help")[0]
    for name, (module, _, _) in command._COMMANDS.items():
        assert f"  {name} " in overview
        text = run(capsys, name, "--help")[0]
        assert "--json" in text, module
        options = [word for word in text.split() if word.startswith("--")]
        assert not [option for option in options if "_" in option]


def test_help_says_the_defaults_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(run(capsys, "push", "--help")[0].split())
    assert f"return; default {Settings().deadline:g}." in text
    assert f"waited for; default {Settings().connect_timeout:g}." in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[0] == f"hotflash {hotflash.__version__}\n"


# ---- ports


def test_no_port_is_an_error_that_lists_what_there_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no port chosen and no serial port found" in run(capsys, "status", code=3)[1]
    probe = ports.Candidate("/dev/ttyACM0", "ST-Link", "0483:374b", 0)
    monkeypatch.setattr(ports, "candidates", lambda: [probe])
    out, err = run(capsys, "status", code=3)
    assert out == ""
    assert "/dev/ttyACM0 (ST-Link)" in err
    assert "--port" in err


def test_candidates_are_ranked_by_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    from types import SimpleNamespace

    from serial.tools import list_ports

    def port(device: str, vid: int | None, pid: int | None, description: str = "n/a") -> SimpleNamespace:
        return SimpleNamespace(device=device, vid=vid, pid=pid, description=description)

    monkeypatch.setattr(
        list_ports,
        "comports",
        lambda: [
            port("/dev/ttyS0", None, None),
            port("/dev/ttyS4", None, None, "16550A"),
            port("/dev/ttyUSB7", 0x9999, 1, "thing"),
            port("/dev/ttyUSB0", 0x0403, 0x6001, "FT232R"),
            port("/dev/ttyACM0", 0x0483, 0x374B, "STM32 STLink"),
        ],
    )
    found = ports.candidates()
    assert [entry.device for entry in found] == ["/dev/ttyACM0", "/dev/ttyUSB0", "/dev/ttyUSB7", "/dev/ttyS4"]
    assert found[0].description == "ST-Link, STM32 STLink"


def test_a_running_simulator_counts_as_chosen_unless_somebody_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hotflash.settings import load
    from hotflash.store import SimRecord, Store

    store = Store(tmp_path)
    store.record_sim(SimRecord(port="socket://127.0.0.1:7", pid=os.getpid(), board="mps2-an386"))
    assert ports.choose(load(), store).url == "socket://127.0.0.1:7"
    monkeypatch.setenv("HOTFLASH_PORT", "/dev/ttyX")
    assert ports.choose(load(), store) == ports.Choice("/dev/ttyX", "HOTFLASH_PORT")
    assert ports.choose(load({"port": "/dev/ttyY"}), store).url == "/dev/ttyY"


def test_flags_may_stand_before_or_behind_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def note(app: App, **flags: object) -> None:
        seen.append(app.settings(**flags).port)
        raise errors.PortError("as far as this test goes")

    monkeypatch.setattr(App, "session", note)
    run(capsys, "--port", "/dev/a", "status", code=3)
    run(capsys, "status", "--port", "/dev/b", code=3)
    run(capsys, "--port", "/dev/a", "status", "--port", "/dev/b", code=3)
    assert seen == ["/dev/a", "/dev/b", "/dev/b"]


def test_stop_without_a_simulator(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no simulator runs" in run(capsys, "sim", "--stop", code=1)[1]


def test_doctor_lists_checks_and_fails_for_a_reason(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "not.elf").write_text("no ELF")
    out, _ = run(capsys, "doctor", "not.elf", code=1)
    lines = out.splitlines()
    assert any(line.startswith("fail  elf") and "not.elf" in line for line in lines)
    assert any(line.startswith("warn  port") for line in lines)
    assert any(line.startswith("ok    compiler") for line in lines)
    answer = json.loads(run(capsys, "doctor", "--json")[0])
    assert answer["failed"] is False
    assert {check["state"] for check in answer["checks"]} <= {"ok", "warn"}
    (tmp_path / "hotflash.toml").write_text("boad = 'x'")
    assert "did you mean 'board'" in run(capsys, "doctor", code=1)[0]


def test_sdk_prints_what_a_build_needs(capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(run(capsys, "sdk", "--path")[0].strip())
    assert (root / "hotflash.mk").is_file()
    flags = run(capsys, "sdk", "--cflags", "--board", "mps2-an386")[0]
    assert "-fpatchable-function-entry=4" in flags
    assert "-mcpu=cortex-m4" in flags
    assert "--build-id=sha1" in run(capsys, "sdk", "--ldflags", "--board", "mps2-an386")[0]
    assert "mps2-an386" in run(capsys, "sdk", "--boards")[0].splitlines()
    assert Path(run(capsys, "sdk", "--sources")[0].strip()).is_file()


# ---- colours, numbers, tables


def test_no_color_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert output.wants_color() is None
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.wants_color() is False
    monkeypatch.setenv("NO_COLOR", "")
    assert output.wants_color() is None


def test_table_and_bar() -> None:
    assert output.table(("a", "bb"), [("1", "2"), ("333", "4")], right=(0,)) == "  a  bb\n  1  2\n333  4"
    assert output.bar(0, 100, 10) == "[----------]"
    assert output.bar(1, 100, 10) == "[#---------]"
    assert output.bar(100, 100, 10) == "[##########]"
    assert output.bar(5, 0, 4) == "[----]"


def test_no_progress_without_a_terminal() -> None:
    with output.progress("x") as update:
        assert update is None


def test_progress_shows_when_it_takes_long_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    now = 100.0
    monkeypatch.setattr("hotflash.cli.output.time.monotonic", lambda: now)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with output.progress("push") as update:
        assert update is not None
        update(1, 4)
        assert terminal.getvalue() == ""
        now += output.PROGRESS_AFTER
        update(2, 4)
        assert terminal.getvalue() == f"\rpush  [{'#' * 12}{'-' * 12}]  50 %"
        update(4, 4)
    last = terminal.getvalue().rsplit("\r", 2)
    assert last[-1] == ""
    assert last[-2] == " " * len(f"push  {output.bar(4, 4)} 100 %")


# ---- the package itself


def test_exported_names_are_these() -> None:
    assert hotflash.__all__ == [
        "__version__",
        "AccessError",
        "Board",
        "BuildIdError",
        "BusyError",
        "Device",
        "ElfError",
        "Firmware",
        "FitError",
        "FramesError",
        "HotflashError",
        "LinkError",
        "ObjectFile",
        "PortError",
        "RefusedError",
        "Session",
        "StaleError",
        "Settings",
        "Sim",
        "Store",
        "TargetFault",
        "UsageError",
        "WireError",
    ]
    for name in hotflash.__all__:
        assert getattr(hotflash, name) is not None
    assert set(hotflash.__all__) <= set(dir(hotflash))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = hotflash.nonsense


@pytest.mark.parametrize(
    ("statement", "foreign"),
    [
        ("import hotflash.pytest_plugin", ("hotflash.session", "hotflash.device", "elftools", "serial", "click")),
        (
            "from hotflash.cli.main import cli; cli.main(['--help'], standalone_mode=False)",
            ("hotflash.session", "hotflash.device", "hotflash.cli.push", "tomllib", "elftools", "serial", "json"),
        ),
        (
            "import hotflash.cli.push, hotflash.session.push, hotflash.link, hotflash.device",
            ("elftools", "intelhex", "tomllib", "subprocess", "multiprocessing", "asyncio"),
        ),
    ],
    ids=["plugin", "help", "push"],
)
def test_nothing_heavy_is_imported(statement: str, foreign: tuple[str, ...]) -> None:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not [name for name in foreign if name in loaded]
