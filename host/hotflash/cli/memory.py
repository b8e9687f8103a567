"""``read`` and ``write``."""

from __future__ import annotations

import click

from hotflash.cli.complete import complete_variable
from hotflash.cli.context import App, shared_options

_WIDTH = click.Choice(["1", "2", "4"])


@click.command()
@click.argument("what", metavar="NAME|ADDRESS", shell_complete=complete_variable)
@click.option("--length", type=click.IntRange(1), metavar="BYTES", help="Dump that many bytes.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="That many numbers of the width.")
@click.option("--width", type=_WIDTH, help="Bytes per access.")
@click.option("--peripheral", is_flag=True, help="The address may be a peripheral's; reading it may change it.")
@shared_options(elf=True)
def read(app: App, *, what: str, length: int | None, count: int | None, width: str | None, peripheral: bool) -> None:
    """Read a variable as its type says, or memory.

    NAME may be a global or static variable, `file.c:name`, `function.name` for a static in a
    function, and go into structs and arrays: `motor[1].speed`.
    """
    report = app.session().read(what, length=length, count=count, width=int(width or 0), peripheral=peripheral)
    text = report.text if not report.type else f"{report.name} = {report.text}"
    app.emit("read", report, text)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("what", metavar="NAME|ADDRESS", shell_complete=complete_variable)
@click.argument("value")
@click.option("--width", type=_WIDTH, help="Bytes to write at an address; 4 unless told.")
@click.option("--peripheral", is_flag=True, help="The address may be a peripheral's.")
@shared_options(elf=True)
def write(app: App, what: str, value: str, width: str | None, peripheral: bool) -> None:
    """Write a variable as its type says, or a number to an address; shows what was there before."""
    report = app.session().write(what, value, width=int(width or 0), peripheral=peripheral)
    app.emit("write", report, f"{report.name}: {report.old} -> {report.new}")
