"""``sim``: an emulated board for the project."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotflash.cli import output
from hotflash.cli.context import App, shared_options
from hotflash.errors import HotflashError, UsageError

if TYPE_CHECKING:
    from types import FrameType

    from hotflash.store import SimRecord

_STOP_TIMEOUT = 10.0
"""Seconds that an emulator gets to end by itself."""


@click.command()
@click.argument("elf", required=False, type=click.Path(dir_okay=False))
@click.option("--detach", is_flag=True, help="Run in the background until `hotflash sim --stop`.")
@click.option("--stop", is_flag=True, help="End the emulated board that runs for this project.")
@click.option(
    "--tcp-port", type=click.IntRange(1, 65535), metavar="N", help="TCP port of the UART; default: any free one."
)
@click.option("--icount", type=click.IntRange(0, 10), metavar="SHIFT", help="Exact time: 2**SHIFT ns an instruction.")
@shared_options(port=False, board=True)
def sim(app: App, *, elf: str | None, detach: bool, stop: bool, tcp_port: int | None, icount: int | None) -> None:
    """Run an emulated board; commands of the project then talk to it by themselves.

    With ELF the application is programmed after the start. Runs until Ctrl-C.
    """
    running = app.store.sim()
    if stop:
        _stop(app, running)
        return
    if running is not None:
        raise UsageError(
            f"a simulator of {Path(running.board).name} runs already for this project "
            f"(process {running.pid}, {running.port})",
            hint="end it with `hotflash sim --stop`",
        )
    settings = app.settings()
    if settings.board is None:
        from hotflash.board import board_names

        raise UsageError(
            "no board named",
            hint=f"--board, HOTFLASH_BOARD or `board` in hotflash.toml; there are "
            f"{', '.join(board_names(settings.board_path))}",
        )
    if detach:
        _detach(app, settings.board, elf, tcp_port, icount)
    else:
        _foreground(app, settings.board, elf, tcp_port, icount)


def _foreground(app: App, board_name: str, elf: str | None, tcp_port: int | None, icount: int | None) -> None:
    from hotflash import sim as simulator
    from hotflash.board import Board
    from hotflash.store import SimRecord

    settings = app.settings()
    board = Board.find(board_name, settings.board_path)
    # A polite kill ends the emulator in order, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    if os.getppid() == 1 or os.environ.get("_HOTFLASH_DETACHED"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    boot = simulator.build_bootloader(board, toolchain=settings.toolchain)
    with simulator.Sim(board, boot, port=tcp_port or 0, icount=icount) as emulated:
        record = SimRecord(port=emulated.url, pid=os.getpid(), board=str(board.path))
        app.store.record_sim(record)
        try:
            if elf is not None:
                _program(app, emulated.url, elf, quiet=False)
            _announce(app, record, emulated.pid)
            status = emulated.wait()
        finally:
            app.store.forget_sim(os.getpid())
        raise HotflashError(f"the emulator ended by itself, exit status {status}")


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def _announce(app: App, record: SimRecord, emulator: int | None) -> None:
    name = Path(record.board).name
    fields = {"board": name, "port": record.port, "pid": record.pid, "emulator_pid": emulator}
    app.emit("sim", fields, f"sim  {name} at {record.port}, process {record.pid}")
    sys.stdout.flush()
    if emulator is not None:
        output.say("Ctrl-C ends it; commands in this project find it by themselves", dim=True)


def _program(app: App, url: str, elf: str, *, quiet: bool) -> None:
    from hotflash.session import Session

    with Session.connect(app.settings(), app.store, port=url) as session, output.progress("flash") as update:
        report = session.flash(elf, progress=update)
    if not quiet:
        output.say(
            f"flash  {Path(elf).name}  {output.plural(report.size, 'byte')}   "
            f"{output.milliseconds(report.milliseconds)}"
        )


def _detach(app: App, board: str, elf: str | None, tcp_port: int | None, icount: int | None) -> None:
    """Starts the same command in a session of its own and waits until it has said that it runs."""
    command = [sys.executable, "-m", "hotflash", "sim", "--json", "--board", board]
    command += ["--project", str(app.store.project)]
    command += ["--tcp-port", str(tcp_port)] if tcp_port else []
    command += ["--icount", str(icount)] if icount is not None else []
    command += [elf] if elf is not None else []
    log = app.store.ensure() / "sim.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, "_HOTFLASH_DETACHED": "1"},
        )
    assert process.stdout is not None  # noqa: S101 (asked for above)
    with process.stdout as lines:
        line = lines.readline()  # ends when it runs, or when it died
    record = app.store.sim()
    if record is None or not line.startswith(b'{"version"') or b'"error"' in line:
        code = process.wait()
        said = log.read_text(errors="replace").strip().removeprefix("error: ")
        message, _, hint = said.partition("\nhint: ")
        error = HotflashError(message or f"the simulator did not start, exit status {code}", hint=hint or None)
        error.exit_code = code or 1
        raise error
    process.returncode = 0  # it goes on without us: no complaint that nobody waits for it
    _announce(app, record, None)


def _stop(app: App, running: SimRecord | None) -> None:
    if running is None:
        app.store.forget_sim()
        raise HotflashError("no simulator runs for this project", hint="`hotflash sim --board NAME` starts one")
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT
    while running.running:
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    app.store.forget_sim(running.pid)
    name = Path(running.board).name
    app.emit("sim", {"stopped": running.pid, "board": name}, f"sim  {name} stopped")
