"""``monitor``: the application's log as it comes, and what happens to the board."""

from __future__ import annotations

import contextlib
import queue
import re
import sys
import time
from typing import TYPE_CHECKING

import click

from hotflash.cli import output
from hotflash.cli.context import App, shared_options
from hotflash.errors import HotflashError, TargetFault, UsageError
from hotflash.wire import events
from hotflash.wire.messages import HelloFlag, ParkReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hotflash.cli.keyboard import Key
    from hotflash.session import Session
    from hotflash.wire.record import Registers

_POLL = 0.5
"""Seconds between looks at whether somebody wants to stop us; nothing waits for it."""
_NEXT = "`hotflash restart` calls main anew, `hotflash reset` starts the board anew; `hotflash read` still works"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")
_MENU = (
    "Ctrl-T: r reset  m restart main  p park  c continue  s status  e edits not live  y resync  b rollback  q quit  "
    "any other key: go on"
)


@click.command()
@click.option("--until", metavar="REGEX", help="Stop with success when a line matches.")
@click.option(
    "--on-fault",
    type=click.Choice(["ask", "auto", "never"]),
    help="Take the newest edit back when the application faults in it; ask is for terminals.",
)
@click.option("--lines", type=click.IntRange(1), metavar="N", help="Stop after that many lines.")
@click.option("--timeout", type=click.FloatRange(0, 1e6), metavar="SECONDS", help="Stop after that time.")
@shared_options(elf=True)
def monitor(
    app: App,
    *,
    until: str | None = None,
    on_fault: str | None = None,
    lines: int | None = None,
    timeout: float | None = None,
) -> None:
    """Show the application's log, resets, faults and what was lost.

    On a terminal Ctrl-] quits and Ctrl-T opens a menu. A fault ends it with exit code 134; on a
    terminal it stays and says so on quitting.
    """
    try:
        pattern = re.compile(until) if until is not None else None
    except re.error as error:
        raise UsageError(f"--until {until!r}: not a regular expression: {error}") from None
    Monitor(app, app.session(on_fault=on_fault), pattern, lines, timeout).run()


class Monitor:
    """The loop of ``monitor``."""

    def __init__(
        self, app: App, session: Session, until: re.Pattern[str] | None, lines: int | None, timeout: float | None
    ) -> None:
        self.app = app
        self.session = session
        self.until = until
        self.lines = lines
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.interactive = sys.stdin.isatty() and sys.stderr.isatty() and not app.json
        self.queue: queue.SimpleQueue[events.Event | Key] = queue.SimpleQueue()
        self.line = ""
        """What came of the line that is not complete."""
        self.shown = 0
        """Complete lines so far."""
        self.fault: str | None = None
        self.told: Registers | None = None
        """The parking that was shown last: one from before we came may come as an event, too."""

    def run(self) -> None:
        """Shows what comes until somebody or something ends it."""
        unsubscribe = self.session.subscribe(self.queue.put)
        try:
            with self._keyboard():
                self._greet()
                if self.fault is None or self.interactive:
                    self._loop()
        finally:
            unsubscribe()
        if self.line:
            self._end_line()
        if self.fault is not None:
            raise TargetFault(self.fault, hint=_NEXT)

    @contextlib.contextmanager
    def _keyboard(self) -> Iterator[None]:
        if not self.interactive:
            yield
            return
        from hotflash.cli.keyboard import keys

        with keys(self.queue.put):
            yield

    def _greet(self) -> None:
        hello = self.session.hello
        if self.interactive:
            output.say(f"{hello.board} at {self.session.port}; Ctrl-] quits, Ctrl-T opens a menu", dim=True)
        if not self.session.runs:
            try:
                self.session.require_application()
            except HotflashError as error:
                self._notice("state", error.message + (f"; {error.hint}" if error.hint else ""))
        elif self.session.hello.flags & HelloFlag.PARKED:
            with contextlib.suppress(HotflashError):
                registers = self.session.device.record()
                if registers is not None:
                    fault = registers.reason == ParkReason.FAULT
                    self.queue.put(events.Fault(registers) if fault else events.Parked(registers))
        if self.session.runs and hello.flags & HelloFlag.TRIAL:
            with contextlib.suppress(HotflashError):
                left = self.session.device.status().trial_us / 1e6
                self._notice(
                    "trial",
                    f"generation {hello.generation} is on trial for {left:.0f} s more: `hotflash confirm` keeps it",
                )
        self._lost()

    def _drain(self) -> None:
        """Takes in what the application had logged before it faulted: the report overtakes it on the line.

        A standing application logs nothing more, and between two replies the board sends a frame of what waits.
        """
        others: list[events.Event | Key] = []
        quiet = 0
        with contextlib.suppress(HotflashError):
            while quiet < 2:
                self.session.device.status()
                quiet += 1
                with contextlib.suppress(queue.Empty):
                    while True:
                        item = self.queue.get_nowait()
                        if isinstance(item, events.LogText):
                            self._log(item.text)
                            quiet = 0
                        else:
                            others.append(item)
        for item in others:
            self.queue.put(item)

    def _loop(self) -> None:
        while True:
            wait = _POLL
            if self.deadline is not None:
                wait = min(wait, self.deadline - time.monotonic())
                if wait <= 0:
                    self._timed_out()
                    return
            try:
                item = self.queue.get(timeout=wait)
            except queue.Empty:
                continue
            if self._take(item):
                return

    def _timed_out(self) -> None:
        if self.until is not None:
            raise HotflashError(f"no line matched {self.until.pattern!r} in time", hint=self._last_lines())
        if self.lines is not None:
            raise HotflashError(f"only {self.shown} of {self.lines} lines came in time", hint=self._last_lines())

    def _last_lines(self) -> str | None:
        return None if self.shown or self.line else "the application logged nothing meanwhile"

    def _take(self, item: events.Event | Key) -> bool:
        """Handles one event; true: that is all."""
        match item:
            case events.LogText(text=text):
                return self._log(text)
            case events.LogDropped(count=count):
                self._notice(
                    "dropped", f"{output.plural(count, 'log line')} dropped: the line could not keep up", count
                )
            case events.FramesLost(count=count):
                self._notice("lost", f"{output.plural(count, 'frame')} lost on the way", count)
            case events.Boot(reason=reason):
                self._notice("reset", f"the board was reset{f': {reason}' if reason else ''}")
                with contextlib.suppress(HotflashError):
                    self.session.device.refresh()
                self._lost()
            case events.Plain(text=text):
                self._notice(
                    "plain", f"a plain ELF was started; nobody answers from now on{f': {text}' if text else ''}"
                )
            case events.Fault(registers=registers) | events.Parked(registers=registers):
                if registers is not None and registers == self.told:
                    return False
                self.told = registers
                if isinstance(item, events.Fault):
                    self._fault(item)
                    return not self.interactive
                self._parked(item)
            case events.TrialOver():
                self._notice("trial", "nobody confirmed the trial: the device went back to the generation before")
                with contextlib.suppress(HotflashError):
                    self.session.device.refresh()
            case events.LinkDown(reason=reason):
                self._notice("link-down", f"the port went away ({reason}); waiting for it")
            case events.LinkUp():
                self._notice("link-up", "the port is back")
            case _:
                return self._key(item.character)
        return False

    # ---- the log

    def _log(self, text: str) -> bool:
        text = text.replace("\r\n", "\n")
        while text:
            part, newline, text = text.partition("\n")
            self._text(part)
            if newline:
                line = self.line.rstrip("\r")
                self._end_line()
                if self.until is not None and self.until.search(line):
                    return True
                self.shown += 1
                if self.lines is not None and self.shown >= self.lines:
                    return True
        sys.stdout.flush()
        return False

    def _text(self, part: str) -> None:
        shown = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", part)
        self.line += shown
        if not self.app.json:
            sys.stdout.write(shown)

    def _end_line(self) -> None:
        if self.app.json:
            output.data_json("log", {"line": self.line.rstrip("\r")})
        else:
            sys.stdout.write("\n")
        sys.stdout.flush()
        self.line = ""

    # ---- notices

    def _notice(self, kind: str, text: str, count: int | None = None, *, style: str = "yellow") -> None:
        if self.app.json:
            output.data_json(kind, {"text": text, **({} if count is None else {"count": count})})
            sys.stdout.flush()
            return
        if self.line and sys.stdout.isatty() and sys.stderr.isatty():
            sys.stdout.write("\n")  # only for the eye: a notice does not end the application's line
            sys.stdout.flush()
        output.say(f"--- {text}", fg=style)

    def _lost(self) -> None:
        try:
            lost = self.session.lost()
        except HotflashError as error:
            self._notice("edits", f"which edits are live is not known: {error.message}")
            return
        sentence = output.lost_edits(lost)
        if sentence:
            self._notice("edits", sentence)

    def _fault(self, fault: events.Fault) -> None:
        from hotflash.session import faults

        self._drain()
        report = faults.decode(fault, self.session.explain)
        if self.app.json:
            output.data_json("fault", report)
        else:
            self._notice("fault", report.text, style="red")
        self.fault = f"the application faulted: {report.cause}, at {report.place}"
        if self.interactive:
            output.say("--- it stands still, the monitor answers; Ctrl-T opens the menu", fg="red")
        if report.suspects:
            self._offer_rollback(report.suspects)

    def _parked(self, parked: events.Parked) -> None:
        from hotflash.session.faults import parked_text

        self._notice("parked", parked_text(parked.registers))

    def _offer_rollback(self, suspects: Sequence[str]) -> None:
        """The newest edit is where it happened."""
        who = f"{', '.join(suspects)} of the newest generation"
        policy = self.session.settings.on_fault
        wanted = policy == "auto"
        if policy == "ask" and self.interactive:
            output.say(f"--- it is in {who}: roll back to the generation before? (y/n)", fg="red")
            wanted = self._next_key() in "yY"
        if not wanted:
            self._notice("rollback", f"it is in {who}: `hotflash rollback` takes it back")
            return
        try:
            generation = self.session.rollback().generation
        except HotflashError as error:
            output.show_error(error.message, error.hint)
            return
        self._notice("rollback", f"rolled back: generation {generation} live; `hotflash restart` runs it")

    # ---- the menu

    def _key(self, character: str) -> bool:
        if character == "\x1d":  # Ctrl-]
            return True
        if character == "\x14":  # Ctrl-T
            output.say(_MENU, fg="cyan")
            try:
                return self._menu(self._next_key())
            except HotflashError as error:
                output.show_error(error.message, error.hint)
        return False

    def _next_key(self) -> str:
        held: list[events.Event] = []
        try:
            while True:
                item = self.queue.get()
                character = getattr(item, "character", None)
                if isinstance(character, str):
                    return character
                held.append(item)  # type: ignore[arg-type] # what is no key is an event
        finally:
            for event in held:
                self._take(event)

    def _menu(self, choice: str) -> bool:
        from hotflash.cli.push import push_line

        if choice == "r":
            self.session.reset()
            self.fault = None
        elif choice == "m":
            self.session.restart()
            self.fault = None
        elif choice == "p":
            self.session.park()
        elif choice == "c":
            self.session.resume()
            self.fault = None
        elif choice == "s":
            report = self.session.status()
            output.say(
                f"--- {report.board}, {report.application}, generation {report.generation}, "
                f"edits: {', '.join(edit.function for edit in report.edits) or 'none'}",
                fg="cyan",
            )
        elif choice == "e":
            sentence = output.lost_edits(self.session.lost())
            output.say(f"--- {sentence or 'all edits are live'}", fg="cyan")
        elif choice == "y":
            output.say(f"--- {push_line('resync', self.session.resync())}", fg="cyan")
        elif choice == "b":
            output.say(f"--- generation {self.session.rollback().generation} live", fg="cyan")
        return choice in ("q", "\x1d")
