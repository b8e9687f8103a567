"""Options that commands share, and the way from them to a session."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hotflash.cli import output
from hotflash.cli.complete import complete_board, complete_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hotflash.session import Session
    from hotflash.settings import Settings
    from hotflash.store import Store


@dataclass
class App:
    """The invocation: flags given so far, on the group or on the command."""

    flags: dict[str, object] = field(default_factory=dict)
    project: Path | None = None
    json: bool = False
    _store: Store | None = None

    @property
    def store(self) -> Store:
        """The project's store."""
        if self._store is None:
            from hotflash.settings import find_project
            from hotflash.store import Store

            self._store = Store(self.project.resolve() if self.project is not None else find_project())
        return self._store

    def settings(self, **flags: object) -> Settings:
        """All settings; ``flags`` that are not None are as if given on the command line."""
        from hotflash.settings import load

        given = {**self.flags, **{name: value for name, value in flags.items() if value is not None}}
        return load(given, project=self.store.project)

    def session(self, *, attention: bool = False, **flags: object) -> Session:
        """Connects; on a terminal a menu asks which port when nobody chose one.

        ``attention`` gets the monitor out of a handler of the application that does not return.
        """
        from hotflash.session import Session
        from hotflash.session.ports import NoPortError

        settings = self.settings(**flags)
        try:
            session = Session.connect(settings, self.store, attention=attention)
        except NoPortError as error:
            if not error.candidates or self.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            session = Session.connect(settings, self.store, port=_menu(error), attention=attention)
        session.progress = output.progress
        click.get_current_context().call_on_close(lambda: _finish(session))
        return session

    def emit(self, kind: str, value: Any, text: str | None) -> None:
        """Prints a result: as JSON when asked, else ``text`` (None: nothing)."""
        if self.json:
            output.data_json(kind, value)
        elif text is not None:
            output.data(text)


def _finish(session: Session) -> None:
    for warning in session.warnings:
        output.warn(warning)
    session.warnings.clear()
    session.close()


def _menu(error: Any) -> str:
    output.say("No port chosen. Which one?")
    for index, entry in enumerate(error.candidates, 1):
        output.say(f"  {index}  {entry.device}  {entry.description} {entry.usb}".rstrip())
    index = click.prompt("Number", type=click.IntRange(1, len(error.candidates)), err=True)
    device: str = error.candidates[index - 1].device
    output.say(f'(set `port = "{device}"` in hotflash.toml, or HOTFLASH_PORT, to be asked no more)')
    return device


def app_of(context: click.Context) -> App:
    """The invocation's App, made on first use so that commands can be tested alone."""
    return context.ensure_object(App)


_PORT = (
    click.option("--port", metavar="URL", shell_complete=complete_port, help="Serial device or pyserial URL."),
    click.option("--baud", metavar="RATE", help="Line rate in bits per second."),
    click.option("--connect-timeout", metavar="SECONDS", help="How long a silent port is waited for; default 2."),
)
_BOARD = (click.option("--board", metavar="NAME", shell_complete=complete_board, help="Board, or path of its folder."),)
_ELF = (click.option("--elf", type=click.Path(dir_okay=False), help="ELF of the application that the board runs."),)
_COMMON = (
    click.option("--project", type=click.Path(file_okay=False, exists=True), help="Project folder."),
    click.option("--json", "as_json", is_flag=True, help="Print a JSON object."),
)
_PORT_NAMES = ("port", "baud", "connect_timeout")


def shared_options(*, port: bool = True, board: bool = False, elf: bool = False) -> Callable[..., Any]:
    """Adds the shared options and passes the :class:`App` that they were put into as first argument."""
    chosen = (*(_PORT if port else ()), *(_BOARD if board else ()), *(_ELF if elf else ()), *_COMMON)
    taken = (*(_PORT_NAMES if port else ()), *(("board",) if board else ()), *(("elf",) if elf else ()))

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.pass_context
        @functools.wraps(function)
        def wrapper(context: click.Context, /, **values: Any) -> Any:
            app = app_of(context)
            take_options(app, values, taken)
            return function(app, **values)

        decorated: Callable[..., Any] = wrapper
        for option in reversed(chosen):
            decorated = option(decorated)
        return decorated

    return decorate


def take_options(app: App, values: dict[str, Any], taken: Sequence[str] = _PORT_NAMES) -> None:
    """Moves shared options out of ``values`` into the App; those on the command win over the group's."""
    for name in taken:
        value = values.pop(name, None)
        if value is not None:
            app.flags[name] = value
    project = values.pop("project", None)
    if project is not None:
        app.project = Path(project)
    if values.pop("as_json", False):
        app.json = True


def group_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The shared options on the group itself."""
    for option in reversed((*_PORT, *_COMMON)):
        function = option(function)
    return function
