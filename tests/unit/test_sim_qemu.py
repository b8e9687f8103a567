"""The simulator with a program that echoes, and the cache of bootloaders with a make of our own."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hotflash import sdk, sim
from hotflash.board import Board, Qemu
from hotflash.errors import HotflashError, PortError, UsageError
from hotflash.sim import Sim
from tests.unit.hotapp import BOARD, run

# Says how often it was started since power-on, then echoes each byte plus one. The counter lies in RAM.
ECHO = """
#define UART ((volatile unsigned *)0x40004000)
#define STARTS (*(volatile unsigned *)0x20000800)
static void put(unsigned c) { while (UART[1] & 1) {} UART[0] = c; }
void reset(void) {
    UART[4] = 16; UART[2] = 3;
    STARTS++;
    for (;;) if (UART[1] & 2) { unsigned c = UART[0]; put(c == '?' ? '0' + STARTS : c + 1); }
}
__attribute__((section(".vectors"), used)) const void *const vectors[] = { (void *)0x20000400, reset };
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo.c").write_text(ECHO)
    flags = ["-nostdlib", "-Wl,--section-start=.vectors=0", "-Wl,-Ttext=0x100", "-Wl,-e,reset"]
    run("arm-none-eabi-gcc", *BOARD.cflags, "-Os", *flags, "echo.c", "-o", "echo.elf", cwd=folder)
    return folder / "echo.elf"


def _ask(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    answer = b""
    while len(answer) < len(text):
        part = connection.recv(64)
        assert part, "QEMU closed the line"
        answer += part
    return answer


def _connect(running: Sim) -> socket.socket:
    assert running.url == f"socket://127.0.0.1:{running.port}"
    return socket.create_connection(("127.0.0.1", running.port), timeout=10)


def _gone(pidfd: int) -> bool:
    ready, _, _ = select.select([pidfd], [], [], 10)
    return bool(ready)


def test_runs_resets_pauses_and_stops(echo: Path) -> None:
    with Sim(BOARD, echo) as running, _connect(running) as line:
        assert _ask(line, b"ABC") == b"BCD"
        assert _ask(line, b"?") == b"1"
        running.reset()
        assert _ask(line, b"?") == b"2"  # RAM keeps its contents
        running.pause()
        line.sendall(b"x")
        assert select.select([line], [], [], 0.05)[0] == []
        running.resume()
        assert line.recv(1) == b"y"
        assert running.running
        pidfd = os.pidfd_open(running.pid)
    assert _gone(pidfd)
    os.close(pidfd)
    assert not running.running
    running.stop()  # harmless


def test_two_run_side_by_side_and_the_line_can_be_reopened(echo: Path) -> None:
    with Sim(BOARD, echo, icount=0) as first, Sim(BOARD, echo) as second:
        assert first.port != second.port
        for running in (first, second, first):
            with _connect(running) as line:
                assert _ask(line, b"A") == b"B"


def test_paused_until_resumed(echo: Path) -> None:
    with Sim(BOARD, echo, paused=True) as running, _connect(running) as line:
        line.sendall(b"A")
        assert select.select([line], [], [], 0.05)[0] == []
        running.resume()
        assert line.recv(1) == b"B"


def test_another_serial_of_the_machine(echo: Path) -> None:
    board = replace(BOARD, qemu=Qemu("mps2-an386", serial=1))
    with Sim(board, echo) as running, _connect(running) as line:
        line.sendall(b"A")  # UART 1 has no program that listens
        assert select.select([line], [], [], 0.05)[0] == []


def test_boots_an_exported_image(echo: Path, tmp_path: Path) -> None:
    image = tmp_path / "with,comma.hex"
    run("arm-none-eabi-objcopy", "-O", "ihex", echo, image)
    with Sim(BOARD, image=image) as running, _connect(running) as line:
        assert _ask(line, b"A") == b"B"


def test_a_port_that_is_taken(echo: Path) -> None:
    with (
        Sim(BOARD, echo) as running,
        pytest.raises(PortError, match=r"TCP port \d+: Address already in use"),
    ):
        Sim(BOARD, echo, port=running.port)
    with Sim(BOARD, echo, port=running.port) as again, _connect(again) as line:  # free again
        assert _ask(line, b"A") == b"B"
    with pytest.raises(PortError, match="TCP port 70000"):
        Sim(BOARD, echo, port=70000)


def test_what_qemu_says_is_told(echo: Path) -> None:
    with (
        pytest.raises(HotflashError, match=r"(?s)does not start, exit status 1:.*-nonsense"),
        Sim(BOARD, echo, args=["-nonsense"]),
    ):
        pass
    with (
        pytest.raises(HotflashError, match="unsupported machine type"),
        Sim(replace(BOARD, qemu=Qemu("no-such-machine", 0)), echo),
    ):
        pass


def test_a_dead_emulator_is_reported(echo: Path) -> None:
    with Sim(BOARD, echo) as running:
        os.kill(running.pid, signal.SIGKILL)
        assert running.wait(10) == -signal.SIGKILL
        with pytest.raises(HotflashError, match="exit status -9"):
            running.reset()


def test_refused(echo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="has no emulation"):
        Sim(replace(BOARD, qemu=None), echo)
    with pytest.raises(UsageError, match="icount"):
        Sim(BOARD, echo, icount=11)
    with pytest.raises(UsageError, match="no such file"):
        Sim(BOARD, tmp_path / "none.elf")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="qemu-system-arm is not installed") as error:
        Sim(BOARD, echo)
    assert error.value.hint == "sudo apt install qemu-system-arm"
    with pytest.raises(UsageError, match="arm-none-eabi-gcc is not installed") as error:
        sim.build_bootloader(BOARD, tmp_path)
    assert error.value.hint == "sudo apt install gcc-arm-none-eabi"


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "sys.exit()", "raise RuntimeError"])
def test_no_emulator_is_left_behind(echo: Path, end: str) -> None:
    code = (
        "import os, pathlib, sys\nfrom hotflash.board import Board\nfrom hotflash.sim import Sim\n"
        f"running = Sim(Board.find({BOARD.name!r}), pathlib.Path({str(echo)!r})).wait_ready()\n"
        f"print(running.pid, flush=True)\nsys.stdin.read(1)\n{end}\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        pidfd = os.pidfd_open(int(owner.stdout.readline()))
        owner.stdin.write(b"x")
        owner.stdin.flush()
        assert _gone(pidfd)
        os.close(pidfd)


# ----------------------------------------------------------------------------------------- bootloader


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for the bootloader's folder: its makefile notes each build."""
    folder = tmp_path / "bootloader"
    folder.mkdir()
    (folder / "Makefile").write_text(
        "all:\n\techo built $(BOARD) >> $(dir $(OUT))/log\n\tcat $(CURDIR)/main.c > $(OUT)/boot.elf\n"
    )
    (folder / "main.c").write_text("one")
    monkeypatch.setattr(sdk, "bootloader_dir", lambda: folder)
    return folder


def _builds(out: Path) -> int:
    return len((out / "log").read_text().splitlines())


def test_builds_once_for_the_same_sources(sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "cache"
    first = sim.build_bootloader(BOARD, out)
    assert first.name == "boot.elf"
    assert first.read_text() == "one"
    assert sim.build_bootloader(BOARD, out) == first
    assert _builds(out) == 1
    (sources / "main.c").write_text("two")
    second = sim.build_bootloader(BOARD, out)
    assert second.read_text() == "two"
    assert first.read_text() == "one"  # who still uses it keeps it
    (sources / "main.c").write_text("one")
    assert sim.build_bootloader(BOARD, out) == first
    assert sim.build_bootloader(Board.find("mps2-an385"), out) not in (first, second)
    assert _builds(out) == 3
    assert [path for path in out.iterdir() if path.name.startswith(".")] == []


def test_two_at_a_time(sources: Path, tmp_path: Path) -> None:
    """Both makes are under way before either ends: each waits for the other's mark."""
    out = tmp_path / "cache"
    fifo = tmp_path / "meet"
    os.mkfifo(fifo)
    # Opening a FIFO for writing waits for a reader and the other way round: mkdir decides who is which.
    (sources / "Makefile").write_text(
        f"all:\n\tif mkdir {tmp_path}/first 2>/dev/null; then echo > {fifo}; else cat {fifo}; fi\n"
        "\techo elf > $(OUT)/boot.elf\n"
    )
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(sim.build_bootloader(BOARD, out))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 2
    assert found[0] == found[1]
    assert found[0].read_text() == "elf\n"
    assert [path.name for path in out.iterdir()] == [found[0].parent.name]


def test_a_build_that_fails_shows_the_compiler(sources: Path, tmp_path: Path) -> None:
    (sources / "Makefile").write_text("all:\n\t@echo main.c:1: error: nonsense; exit 1\n")
    with pytest.raises(HotflashError, match=r"(?s)does not build:.*main\.c:1: error: nonsense") as error:
        sim.build_bootloader(BOARD, tmp_path / "cache")
    assert "make" in str(error.value.hint)
    assert list((tmp_path / "cache").iterdir()) == []
    (sources / "Makefile").write_text("all:\n")
    with pytest.raises(HotflashError, match="does not build"):
        sim.build_bootloader(BOARD, tmp_path / "cache")


def test_a_cache_that_cannot_be_written(sources: Path, tmp_path: Path) -> None:
    assert sources.is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot build the bootloader in"):
        sim.build_bootloader(BOARD, tmp_path / "file" / "cache")


def test_default_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert sim.default_cache() == Path("/some/where/hotflash/bootloader")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert sim.default_cache() == Path.home() / ".cache/hotflash/bootloader"
