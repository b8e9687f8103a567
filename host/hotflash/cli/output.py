"""What goes to the terminal: data to stdout, talk to stderr, colours only where they are wanted."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hotflash.session.results import LostEdit

PROGRESS_AFTER = 0.2
"""Seconds of work that need no progress bar."""
JSON_VERSION = 1
"""Version of what ``--json`` prints; grows when a field changes its meaning or goes."""


def wants_color() -> bool | None:
    """False with ``NO_COLOR`` (no-color.org), else None: as the stream is a terminal or not."""
    return False if os.environ.get("NO_COLOR") else None


def say(text: str, **style: Any) -> None:
    """Talk: one line to stderr."""
    click.echo(click.style(text, **style) if style else text, err=True, color=wants_color())


def warn(text: str) -> None:
    """A warning to stderr."""
    click.echo(f"{click.style('warning:', fg='yellow', bold=True)} {text}", err=True, color=wants_color())


def data(text: str, *, newline: bool = True) -> None:
    """Data: to stdout."""
    click.echo(text, nl=newline, color=wants_color())


def data_json(kind: str, value: Any) -> None:
    """A versioned JSON object to stdout, in one line."""
    import json

    from hotflash.session.results import to_json

    fields = to_json(value)
    if not isinstance(fields, dict):
        fields = {"value": fields}
    click.echo(json.dumps({"version": JSON_VERSION, "kind": kind, **fields}, ensure_ascii=False))


def show_error(message: str, hint: str | None) -> None:
    """``error: …`` and ``hint: …`` to stderr."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True, color=wants_color())
    if hint:
        click.echo(f"{click.style('hint:', fg='cyan')} {hint}", err=True, color=wants_color())


def lost_edits(lost: Sequence[LostEdit]) -> str:
    """The sentence about edits that a reset took; empty for none."""
    if not lost:
        return ""
    names = ", ".join(dict.fromkeys(edit.function for edit in lost))
    one = len(lost) == 1
    return (
        f"{len(lost)} {'edit is' if one else 'edits are'} not live any more (board was reset): {names}. "
        f"`hotflash resync` sends {'it' if one else 'them'} again"
    )


def number(value: int) -> str:
    """With thousands separators."""
    return f"{value:,}"


def plural(count: int, noun: str) -> str:
    """``1 function``, ``2 functions``."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def milliseconds(value: float) -> str:
    """As people read it: one digit below 100 ms."""
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def bar(used: int, size: int, width: int = 24) -> str:
    """A usage bar; anything in use shows."""
    filled = 0 if size <= 0 else min(width, -(-used * width // size))
    return f"[{'#' * filled}{'-' * (width - filled)}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns, those named in ``right`` flush right."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    lines = []
    for row in (header, *rows):
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar for work that calls back with (done, total); None when stderr is no terminal.

    It shows when the work takes more than ``PROGRESS_AFTER`` seconds, and leaves nothing behind.
    """
    if not sys.stderr.isatty():
        yield None
        return
    started = time.monotonic()
    width = 0

    def update(done: int, total: int) -> None:
        nonlocal width
        if time.monotonic() - started < PROGRESS_AFTER:
            return
        text = f"{label}  {bar(done, total)} {100 * min(done, total) // max(total, 1):3} %"
        sys.stderr.write(f"\r{text}")
        sys.stderr.flush()
        width = len(text)

    try:
        yield update
    finally:
        if width:
            sys.stderr.write(f"\r{'':{width}}\r")
            sys.stderr.flush()
