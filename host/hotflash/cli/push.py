"""``push``, ``resync`` and ``rollback``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotflash.cli import output
from hotflash.cli.context import App, shared_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from hotflash.session.results import LostEdit, PushReport

_MODES = click.Choice(["auto", "now", "safe"])


def commit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How a transaction is committed."""
    function = click.option(
        "--deadline", metavar="SECONDS", help="How long a safe commit waits for old calls to return."
    )(function)
    return click.option(
        "--mode",
        type=_MODES,
        help="now: old calls finish in old code. safe: only when none is running. auto: one function now, more safe.",
    )(function)


@click.command()
@click.argument("objects", nargs=-1, required=True, type=click.Path(dir_okay=False), metavar="OBJECT...")
@commit_options
@shared_options(elf=True)
def push(app: App, objects: tuple[str, ...], mode: str | None, deadline: str | None) -> None:
    """Make the functions of object files live that differ from what the board runs.

    Several objects go in one transaction: all of it goes live, or nothing.
    """
    session = app.session(mode=mode, deadline=deadline)
    with output.progress("push") as update:
        report = session.push(objects, progress=update)
    _show(app, "push", report)


@click.command()
@commit_options
@shared_options(elf=True)
def resync(app: App, mode: str | None, deadline: str | None) -> None:
    """Send the edits again that a reset of the board took, in one transaction."""
    session = app.session(mode=mode, deadline=deadline)
    with output.progress("resync") as update:
        report = session.resync(progress=update)
    _show(app, "resync", report)


def push_line(verb: str, report: PushReport) -> str:
    """What a push did, in one line."""
    what = ", ".join(Path(name).name for name in report.objects)
    if report.state == "unchanged":
        one = report.unchanged == 1
        live = "is live as it is" if one else "are live as they are"
        rest = f" ({output.plural(report.unchanged, 'function')} {live})" if report.unchanged else ""
        return f"{verb}  {what + '  ' if what else ''}nothing changed{rest}, generation {report.generation}"
    reverted = sum(change.action == "revert" for change in report.changes)
    sent = len(report.changes) - reverted
    parts = []
    if sent:
        parts.append(f"{output.plural(sent, 'function')}, {output.plural(report.size, 'byte')}")
    if reverted:
        parts.append(f"{output.plural(reverted, 'function')} back to the base image")
    if not parts:
        parts.append(output.plural(report.size, "byte"))
    ms = report.milliseconds
    stages = "  ".join(
        f"{name} {output.milliseconds(value)}"
        for name, value in (("link", ms.link), ("wire", ms.wire), ("commit", ms.commit))
    )
    return f"{verb}  {what}  {', '.join(parts)} -> generation {report.generation} live   {stages}"


def _show(app: App, verb: str, report: PushReport) -> None:
    app.emit(verb, report, push_line(verb, report))
    for change in report.changes:
        if report.state == "live" and len(report.changes) <= 20:
            size = f", {output.plural(change.size, 'byte')}" if change.size else ""
            reason = f": {change.reason}" if change.reason else ""
            unit = f" ({change.unit})" if change.unit else ""
            output.say(f"  {change.action} {change.function}{unit}{size}{reason}", dim=True)
    for note in report.notes:
        output.say(f"note: {note}")
    warn_lost(report.lost)


def warn_lost(lost: tuple[LostEdit, ...]) -> None:
    """Says which edits are not live any more."""
    sentence = output.lost_edits(lost)
    if sentence:
        output.warn(sentence)


@click.command()
@click.option("--base", is_flag=True, help="Take all edits back: run the base image.")
@shared_options(elf=True)
def rollback(app: App, base: bool) -> None:
    """Go back to the generation before, without sending anything. A second time redoes."""
    report = app.session().rollback(base=base)
    names = ", ".join(edit.function for edit in report.edits)
    app.emit(
        "rollback",
        report,
        f"rollback -> generation {report.generation} live   {f'edits: {names}' if names else 'the base image runs'}",
    )
