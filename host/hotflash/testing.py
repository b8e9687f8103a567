"""Boards under test: what the pytest fixture ``dut`` is made of, usable without pytest."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hotflash.errors import HotflashError, TargetFault, UsageError
from hotflash.session import Session
from hotflash.settings import Settings, find_project, load
from hotflash.store import SimRecord, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from hotflash.board import Board
    from hotflash.device import Events
    from hotflash.session.results import FlashReport, PushReport, StatusReport, WriteReport
    from hotflash.sim import Sim

_BACKLOG = 1000
"""Log lines that are kept for messages."""


class Dut:
    """A board under test with a project folder of its own."""

    def __init__(self, board: Board, url: str, folder: Path, elf: Path | None, sim: Sim | None) -> None:
        self.board = board
        """The board's facts."""
        self.url = url
        """pyserial URL of its port."""
        self.folder = folder
        """The project's folder; its ``.hotflash/`` knows the port."""
        self.elf = elf
        """The application that was flashed, if any."""
        self.sim = sim
        """The emulator; None for a real board."""
        self.log: list[str] = []
        """The latest complete log lines that were taken in by :meth:`wait_log`."""
        self._partial = ""
        self._session: Session | None = None
        self._events: Events | None = None

    @property
    def settings(self) -> Settings:
        """What its session goes by."""
        return load({"port": self.url, "board": str(self.board.path)}, project=self.folder)

    @property
    def session(self) -> Session:
        """The open session; opened again when it was closed."""
        if self._session is None or self._session.closed:
            self._session = Session.connect(self.settings, Store(self.folder))
            self._events = self._session.device.events()
        return self._session

    def close(self) -> None:
        """Lets go of the port and ends the emulator."""
        if self._session is not None and not self._session.closed:
            self._session.close()
        if self.sim is not None:
            with contextlib.suppress(HotflashError):
                Store(self.folder).forget_sim(self.sim.pid)
            self.sim.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- what a test does

    def flash(self, elf: str | Path | None = None) -> FlashReport:
        """Programs an application, that of the options unless named, and starts it."""
        chosen = Path(elf) if elf is not None else self.elf
        if chosen is None:
            raise UsageError("no application to flash", hint="name it with --hotflash-elf")
        report = self.session.flash(chosen)
        self.elf = chosen
        return report

    def push(
        self, *objects: str | Path, mode: str | None = None, deadline: float | None = None, trial: int = 0
    ) -> PushReport:
        """Pushes object files in one transaction."""
        return self.session.push(objects, mode=mode, deadline=deadline, trial=trial)

    def read(self, name: str) -> Any:
        """A variable's value: number, text, list, or dict by field."""
        return self.session.read(name).value

    def write(self, name: str, value: object) -> WriteReport:
        """Writes a variable; ``value`` is a number or what one would type on the command line."""
        return self.session.write(name, str(int(value) if isinstance(value, bool) else value))

    def status(self) -> StatusReport:
        """What the board says of itself."""
        return self.session.status()

    def reset(self) -> None:
        """Resets the board over its port and waits until the application runs again.

        Edits that were live are gone then, and `resync` would bring them back; those that an earlier reset took
        are forgotten, so that tests do not see each other's.
        """
        self.session.forget_lost()
        self.session.reset()
        self.clear_log()

    def hardware_reset(self) -> None:
        """Presses the reset button: the emulator's, no help of the monitor needed. Returns when it was pressed."""
        if self.sim is None:
            raise UsageError("a real board's reset button cannot be pressed from here", hint="use reset()")
        self.sim.reset()

    def clear_log(self) -> None:
        """Forgets the log so far."""
        self.log.clear()
        self._partial = ""
        if self._events is not None:
            while self._events.get(timeout=0) is not None:
                pass

    def wait_log(self, regex: str, timeout: float = 10.0) -> re.Match[str]:
        """Waits for a log line that ``regex`` is found in; returns the match.

        Lines before it are consumed. Raises AssertionError with the latest lines after ``timeout`` seconds,
        :class:`~hotflash.errors.TargetFault` when the application faults.
        """
        from hotflash.wire import events

        pattern = re.compile(regex)
        _ = self.session
        source = self._events
        assert source is not None  # noqa: S101 (opened with the session)
        end = time.monotonic() + timeout
        while True:
            while "\n" in self._partial:
                line, _, self._partial = self._partial.partition("\n")
                line = line.rstrip("\r")
                self.log.append(line)
                del self.log[:-_BACKLOG]
                match = pattern.search(line)
                if match:
                    return match
            event = source.get(timeout=max(0.0, end - time.monotonic()))
            if isinstance(event, events.LogText):
                self._partial += event.text
            elif isinstance(event, events.Fault):
                from hotflash.session import faults

                raise TargetFault(faults.decode(event, self.session.explain).text)
            elif event is None and time.monotonic() >= end:
                tail = "\n".join(self.log[-20:]) or "(nothing was logged)"
                raise AssertionError(f"no log line matches {regex!r} within {timeout:g} s; the latest:\n{tail}")

    def run(self, *arguments: str, timeout: float = 120.0, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Runs the real command line in the project's folder, as a user would, against this board.

        The port is found by itself, as for any command in the folder; the test's own session shares it.
        """
        env = {name: value for name, value in os.environ.items() if not name.startswith("HOTFLASH_")}
        if self.sim is None:
            env["HOTFLASH_PORT"] = self.url
        return subprocess.run(
            [sys.executable, "-m", "hotflash", *arguments],
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
        )


class DutFactory:
    """Makes boards under test; those still open are closed at its end."""

    def __init__(
        self,
        *,
        board: str | None,
        port: str | None,
        elf: str | None,
        project: Path,
        make_folder: Callable[[], Path],
    ) -> None:
        self._board = board
        self._port = port
        self._elf = elf
        self._project = find_project(project)
        self._make_folder = make_folder
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def __call__(
        self,
        *,
        board: Board | str | Path | None = None,
        port: str | None = None,
        elf: str | Path | None = None,
        folder: Path | None = None,
        icount: int | None = None,
        qemu_args: Sequence[str] = (),
    ) -> Dut:
        """A board that runs; with an ELF that is flashed and started. A context manager."""
        from hotflash.board import Board
        from hotflash.sim import Sim, build_bootloader

        settings = load({"board": self._board, "port": self._port, "elf": self._elf}, project=self._project)
        url = port or settings.port
        chosen = board if board is not None else settings.board
        application = Path(elf) if elf is not None else settings.elf
        store = Store(folder if folder is not None else self._make_folder())
        store.ensure()
        if url is not None and board is None:
            facts = self._ask(url, settings, store)
        elif chosen is None:
            raise UsageError(
                "no board to test on", hint="name it with --hotflash-board, or a port with --hotflash-port"
            )
        else:
            facts = chosen if isinstance(chosen, Board) else Board.find(chosen, settings.board_path)
        with contextlib.ExitStack() as stack:
            sim = None
            if url is None:
                boot = build_bootloader(facts, toolchain=settings.toolchain)
                sim = stack.enter_context(Sim(facts, boot, icount=icount, args=qemu_args))
                url = sim.url
                store.record_sim(SimRecord(port=url, pid=sim.pid, board=str(facts.path)))
            dut = Dut(facts, url, store.project, application, sim)
            stack.callback(dut.close)
            if application is not None:
                dut.flash()
            kept = stack.pop_all()
        self._open.push(kept)
        return dut

    def _ask(self, url: str, settings: Settings, store: Store) -> Board:
        from hotflash.board import Board

        with Session.connect(settings, store, port=url) as session:
            return Board.find(settings.board or session.hello.board, settings.board_path)
