"""``push``, ``resync`` and ``rollback``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotflash.cli import output
from hotflash.cli.context import App, shared_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from hotflash.link.model import Helper
    from hotflash.session.results import FunctionChange, LostEdit, PushReport

_MODES = click.Choice(["auto", "now", "safe"])


def commit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How a transaction is committed."""
    function = click.option(
        "--no-type-check",
        "unchecked",
        is_flag=True,
        help="Do not compare signatures and layouts with what is live: that they fit is on your word.",
    )(function)
    function = click.option(
        "--deadline", metavar="SECONDS", help="How long a safe commit waits for old calls to return; default 5."
    )(function)
    return click.option(
        "--mode",
        type=_MODES,
        help="now: old calls finish in old code. safe: only when none is running. auto: one function now, more safe.",
    )(function)


def room_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What may go when memory is short."""
    function = click.option(
        "--no-undo", is_flag=True, help="If memory is short, give up the generation that `rollback` would go back to."
    )(function)
    return click.option(
        "--collect",
        is_flag=True,
        help='If memory is short, collect as `hotflash gc` does; always: the setting collect = "pressure".',
    )(function)


_EXPLAIN = click.option("--explain", is_flag=True, help="Say why each thing goes along.")


@click.command()
@click.argument("objects", nargs=-1, required=True, type=click.Path(dir_okay=False), metavar="OBJECT...")
@click.option(
    "--trial",
    type=click.IntRange(1, 1800),
    metavar="SECONDS",
    help="The board takes the edit back by itself unless `hotflash confirm` comes in time.",
)
@_EXPLAIN
@room_options
@commit_options
@shared_options(elf=True)
def push(
    app: App,
    *,
    objects: tuple[str, ...],
    trial: int | None,
    explain: bool,
    collect: bool,
    no_undo: bool,
    mode: str | None,
    deadline: str | None,
    unchecked: bool,
) -> None:
    """Make the functions of object files live that differ from what the board runs.

    Several objects go in one transaction: all of it goes live, or nothing. A changed signature or layout of a struct
    is refused unless all code that relies on it comes along. What these need and the firmware lacks
    comes from the compiler's libgcc, libc and libm.

    Example: hotflash push --explain build/control.o
    """
    session = app.session(
        mode=mode,
        deadline=deadline,
        type_check=False if unchecked else None,
        collect="pressure" if collect else None,
    )
    with output.progress("push") as update:
        report = session.push(objects, trial=trial or 0, no_undo=no_undo, progress=update)
    _show(app, "push", report, explain=explain)


@click.command()
@_EXPLAIN
@room_options
@commit_options
@shared_options(elf=True)
def resync(
    app: App,
    *,
    explain: bool,
    collect: bool,
    no_undo: bool,
    mode: str | None,
    deadline: str | None,
    unchecked: bool,
) -> None:
    """Send the edits again that a reset of the board took, in one transaction."""
    session = app.session(
        mode=mode,
        deadline=deadline,
        type_check=False if unchecked else None,
        collect="pressure" if collect else None,
    )
    with output.progress("resync") as update:
        report = session.resync(no_undo=no_undo, progress=update)
    _show(app, "resync", report, explain=explain)


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
    state = "live"
    if report.waiting:
        never = "never returns" if len(report.waiting) == 1 else "never return"
        state = f"waiting: restart ({', '.join(report.waiting)} {never}; `hotflash restart`)"
    if report.trial:
        state += f" on trial for {report.trial} s (`hotflash confirm` keeps it)"
    return f"{verb}  {what}  {', '.join(parts)} -> generation {report.generation} {state}   {stages}"


def _show(app: App, verb: str, report: PushReport, *, explain: bool) -> None:
    app.emit(verb, report, push_line(verb, report))
    if report.state != "unchanged" and (explain or len(report.changes) <= 20):
        for change in report.changes:
            output.say(f"  {change_line(change)}", dim=True)
    for line in helper_lines(report.helpers, explain=explain):
        output.say(f"  {line}", dim=True)
    for note in report.notes:
        output.say(f"note: {note}")
    warn_lost(report.lost)


def change_line(change: FunctionChange) -> str:
    """What happens to a function, and why."""
    size = f", {output.plural(change.size, 'byte')}" if change.size else ""
    reason = f": {change.reason}" if change.reason else ""
    unit = f" ({change.unit})" if change.unit else ""
    return f"{change.action} {change.function}{unit}{size}{reason}"


def helper_lines(helpers: Sequence[Helper], *, explain: bool) -> list[str]:
    """What comes along from archives: each thing and why, or one line for all."""
    if explain:
        return [_helper_line(helper) for helper in helpers]
    sent = [helper for helper in helpers if helper.state == "sent"]
    if not sent:
        return []
    archives = ", ".join(dict.fromkeys(helper.member.partition("(")[0] for helper in sent))
    size = sum(helper.size for helper in sent)
    many = output.plural(len(sent), "helper")
    return [f"with {many} from {archives}, {output.plural(size, 'byte')} (--explain says why)"]


def _helper_line(helper: Helper) -> str:
    where = f"from {helper.member}, {output.plural(helper.size, 'byte')}"
    if helper.kind == "variable":
        if helper.state == "sent":
            return f"new state {helper.name} {where}: {helper.needed_by} needs it and the firmware has none"
        whose = "the firmware's" if helper.state == "firmware" else "an earlier push's"
        return f"state {helper.name} stays {whose}: {helper.needed_by} uses it"
    if helper.state == "sent":
        return f"with {helper.name} {where}: {helper.needed_by} needs it and the firmware lacks it"
    whose = "in the firmware" if helper.state == "firmware" else "live since an earlier push"
    return f"uses {helper.name} of {helper.member}, {whose}: {helper.needed_by} needs it"


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
