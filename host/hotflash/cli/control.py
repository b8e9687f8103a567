"""``park``, ``continue``, ``restart``, ``reinit`` and ``confirm``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hotflash.cli import output
from hotflash.cli.complete import complete_variable
from hotflash.cli.context import App, shared_options

if TYPE_CHECKING:
    from hotflash.session.results import ParkReport


@click.command()
@shared_options(elf=True)
def park(app: App) -> None:
    """Stop the application between two instructions, and show where.

    The application's on_park runs (motors off), listed interrupts keep running, the monitor answers. Handlers that
    do not return are no obstacle.
    """
    session = app.session(attention=True)
    report = session.park()
    app.emit("park", report, _park_text(report))


def _park_text(report: ParkReport) -> str:
    if report.report.cause:
        return report.report.text
    return "\n".join([report.text, *report.report.text.splitlines()[1:]])


@click.command("continue")
@shared_options(elf=True)
def resume(app: App) -> None:
    """Let the parked application go on exactly where it was.

    After a fault the instruction that faulted is repeated, in the code that it was in.
    """
    session = app.session()
    session.resume()
    app.emit("continue", {"generation": session.hello.generation}, "continue  the application goes on where it was")


@click.command()
@shared_options(elf=True)
def restart(app: App) -> None:
    """Call the newest main on a fresh stack, all state kept.

    Whatever runs is left, also an endless loop and handlers; the cleanups that the application registered run
    before, the last registered first.
    """
    session = app.session(attention=True)
    report = session.restart()
    app.emit("restart", report, f"restart  main runs anew, generation {report.generation}")


@click.command()
@click.argument("variables", nargs=-1, metavar="[VAR...]", shell_complete=complete_variable)
@click.option("--all", "everything", is_flag=True, help="Every variable, those of the C library included.")
@click.option("--restart", "and_restart", is_flag=True, help="Call main afterwards.")
@shared_options(elf=True)
def reinit(app: App, variables: tuple[str, ...], everything: bool, and_restart: bool) -> None:
    """Give variables their initial values, as the newest pushed object or else the firmware has them.

    The application is parked while it is done.
    """
    report = app.session().reinit(*variables, everything=everything, restart=and_restart)
    what = output.plural(len(report.variables), "variable") if everything else ", ".join(report.variables)
    after = "; main runs anew" if report.restarted else "; the application is parked" if report.parked else ""
    app.emit("reinit", report, f"reinit  {what}, {output.plural(report.bytes, 'byte')}{after}")


@click.command()
@shared_options()
def confirm(app: App) -> None:
    """Keep the edit that `push --trial` made live."""
    report = app.session().confirm()
    text = f"generation {report.generation} stays" if report.trial else "no trial is under way"
    app.emit("confirm", report, f"confirm  {text}")
