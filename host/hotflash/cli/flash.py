"""``flash`` and ``export``."""

from __future__ import annotations

from pathlib import Path

import click

from hotflash.cli import output
from hotflash.cli.context import App, shared_options


@click.command()
@click.argument("elf", required=False, type=click.Path(dir_okay=False))
@shared_options(board=True)
def flash(app: App, elf: str | None) -> None:
    """Program a linked application and start it.

    ELF is what the linker wrote; without it, the `elf` of the settings. It is kept with its image in
    .hotflash/, so that later pushes know what the board runs.
    """
    session = app.session()
    with output.progress("flash") as update:
        report = session.flash(elf, progress=update)
    rate = report.size / report.milliseconds if report.milliseconds else 0.0
    app.emit(
        "flash",
        report,
        f"flash  {Path(report.elf).name}  {output.plural(report.size, 'byte')}, "
        f"{output.plural(report.hooks, 'patch point')} -> {report.board} runs build {report.build_id.hex()[:12]}   "
        f"{output.milliseconds(report.milliseconds)} ({rate:.1f} kB/s)",
    )
    if report.dropped_edits:
        names = ", ".join(edit.function for edit in report.dropped_edits)
        output.say(f"note: edits of the build before are gone: {names}")


@click.command()
@click.argument("elf", required=False, type=click.Path(dir_okay=False))
@click.option("-o", "--output", "target", required=True, type=click.Path(dir_okay=False), help="File to write.")
@click.option("--format", "file_format", type=click.Choice(["hex", "bin"]), help="Default: as the file's name ends.")
@click.option("--with-bootloader", is_flag=True, help="Include the bootloader: for the first programming.")
@shared_options(port=False, board=True)
def export(app: App, elf: str | None, target: str, file_format: str | None, with_bootloader: bool) -> None:
    """Write an application as Intel HEX or binary for OpenOCD or a vendor's tool."""
    from hotflash.session.core import export as write

    report = write(
        app.settings(), app.store, elf, Path(target), file_format=file_format, with_bootloader=with_bootloader
    )
    extra = " with bootloader" if with_bootloader else ""
    app.emit(
        "export",
        report,
        f"export  {report.path}  {output.plural(report.size, 'byte')} at {report.base:#010x}{extra}, "
        f"build {report.build_id.hex()[:12]} for {report.board}",
    )
