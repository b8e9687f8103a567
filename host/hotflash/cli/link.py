"""``link`` and ``diff``: the linker without a push."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotflash.cli import output
from hotflash.cli.context import App, shared_options
from hotflash.cli.push import change_line, helper_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.session.results import DiffReport, LinkReport, TypeChange


def _address(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Reads an address: decimal, or hexadecimal with 0x; 0 to 0xFFFFFFFF."""
    if value is None:
        return None
    try:
        number = int(value, 0)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no address.", context, parameter) from None
    if not 0 <= number < 1 << 32:
        raise click.BadParameter(f"{value} is not in the 32-bit address space.", context, parameter)
    return number


@click.command()
@click.argument("objects", nargs=-1, type=click.Path(dir_okay=False), metavar="[OBJECT...]")
@click.option(
    "--at",
    "address",
    callback=_address,
    metavar="ADDRESS",
    help="Where the code goes: a multiple of 32.",
)
@click.option(
    "--data-at", callback=_address, metavar="ADDRESS", help="Where new variables go; default: behind the code."
)
@click.option("-o", "--output", "target", required=True, type=click.Path(dir_okay=False), help="*.elf, *.hex or *.bin.")
@click.option("--changed", is_flag=True, help="Only what a push to a board on its base image would send.")
@click.option("--live", is_flag=True, help="Write what the board runs on top of its base image, as an ELF.")
@click.option("--explain", is_flag=True, help="Say why each thing goes along.")
@shared_options(elf=True)
def link(
    app: App,
    objects: tuple[str, ...],
    address: int | None,
    data_at: int | None,
    target: str,
    changed: bool,
    live: bool,
    explain: bool,
) -> None:
    """Link objects against an application without a board, or write out what a board runs.

    The result binds to the application's variables and functions as a push does. An ELF has sections, symbols and
    debug information at their addresses: gdb takes it with add-symbol-file beside the application's own.

    Example: hotflash link build/control.o --elf build/app.elf --at 0x20040000 -o control.elf

    Example: hotflash link --live -o live.elf
    """
    from hotflash.session import offline

    if live:
        if objects or address is not None or data_at is not None or changed:
            raise click.UsageError("--live writes what the board runs: no objects and addresses go with it.")
        report = app.session().export_live(Path(target))
    else:
        if not objects:
            raise click.UsageError("Missing argument 'OBJECT...'.")
        if address is None:
            raise click.UsageError("Missing option '--at'.")
        report = offline.link(
            app.settings(), app.store, objects, Path(target), address=address, data_address=data_at, changed=changed
        )
    _show_link(app, report, explain=explain)


def _show_link(app: App, report: LinkReport, *, explain: bool) -> None:
    what = f"generation {report.generation}" if report.generation else output.plural(len(report.slots), "section")
    app.emit(
        "link",
        report,
        f"link  {report.path}  {what}, {output.plural(report.size, 'byte')} at {report.address:#010x}, "
        f"for build {report.build_id.hex()[:12]}",
    )
    for slot in report.slots:
        output.say(f"  {slot.address:#010x}  {slot.size:6}  {slot.section}", dim=True)
    for binding in report.bindings:
        output.say(f"  hook of {binding.function}: {binding.value:#010x} at {binding.address:#010x}", dim=True)
    for line in helper_lines(report.helpers, explain=explain):
        output.say(f"  {line}", dim=True)
    for note in report.notes:
        output.say(f"note: {note}")


def _renames(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Reads ``old=new`` names of fields, with or without the struct in front: ``motor.speed=velocity``."""
    found = {}
    for value in values:
        old, equals, new = value.partition("=")
        if not equals or not old or not new or "." in new:
            raise click.BadParameter(f"{value!r} is not OLD=NEW.", context, parameter)
        found[old] = new
    return found


@click.command()
@click.argument("objects", nargs=-1, required=True, type=click.Path(dir_okay=False), metavar="OBJECT...")
@click.option("--base", is_flag=True, help="Compare with the base image, whatever edits are live.")
@click.option("--rename", "renames", multiple=True, callback=_renames, metavar="OLD=NEW", help="A field's new name.")
@click.option(
    "--reinit", multiple=True, metavar="VAR", help="A variable that starts anew instead of keeping its value."
)
@shared_options(port=False, elf=True)
def diff(app: App, objects: tuple[str, ...], base: bool, renames: dict[str, str], reinit: tuple[str, ...]) -> None:
    """Say what a push would send, and why, without a board.

    Of types that changed it says what would become of each live variable, field by field.

    Compared is with what the journal says is live on top of the application that --elf or the settings name, or that
    was flashed last.

    Example: hotflash diff build/control.o
    """
    from hotflash.session import offline

    report = offline.diff(app.settings(), app.store, objects, base=base, renames=renames, reinit=reinit)
    app.emit("diff", report, diff_text(report))
    for note in report.notes:
        output.say(f"note: {note}")


def diff_text(report: DiffReport) -> str:
    """One line for all, then one for each function and what comes along."""
    what = ", ".join(Path(name).name for name in report.objects)
    head = f"diff  {what}  against {report.against}: "
    if report.refusal:
        lines = [f"{head}refused: {report.refusal}", *([f"  hint: {report.hint}"] if report.hint else [])]
        return "\n".join([*lines, *type_lines(report.types), *(f"  {change_line(c)}" for c in report.changes)])
    if report.state == "unchanged":
        return f"{head}nothing changed ({output.plural(report.unchanged, 'function')} as they are)"
    reverted = sum(change.action == "revert" for change in report.changes)
    parts = []
    if len(report.changes) > reverted:
        parts.append(
            f"{output.plural(len(report.changes) - reverted, 'function')}, {output.plural(report.size, 'byte')}"
        )
    if reverted:
        parts.append(f"{output.plural(reverted, 'function')} back to the base image")
    lines = [head + ", ".join(parts)]
    lines += [f"  {change_line(change)}" for change in report.changes]
    lines += type_lines(report.types)
    lines += [f"  {line}" for line in helper_lines(report.helpers, explain=True)]
    told = {helper.name for helper in report.helpers}
    new = [slot for slot in report.slots if slot.kind == "var" and slot.name not in told]
    lines += [f"  new variable {slot.name}, {output.plural(slot.size, 'byte')}" for slot in new]
    return "\n".join(lines)


def type_lines(changes: Sequence[TypeChange]) -> list[str]:
    """What becomes of types, signatures and live variables."""
    lines = []
    for change in changes:
        if change.kind == "layout":
            lines.append(f"  {change.name} is laid out differently")
        else:
            lines.append(f"  {change.kind} {change.name}: {change.old} -> {change.new}")
        lines += [f"    {step}" for step in change.steps]
    return lines
