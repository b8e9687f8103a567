"""``types``: layouts, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hotflash.cli import output
from hotflash.cli.context import App, shared_options

if TYPE_CHECKING:
    from hotflash.session.results import LayoutReport


@click.command()
@click.argument("name")
@click.argument("objects", nargs=-1, type=click.Path(dir_okay=False), metavar="[OBJECT...]")
@shared_options(port=False, elf=True)
def types(app: App, name: str, objects: tuple[str, ...]) -> None:
    """Show the layout of a type, or the signature of a function, without a board.

    NAME is a struct, union or enumeration by its tag or typedef, a variable, or a function. With objects their version
    stands beside the application's: offset, size in bytes (b: in bits) and type of each field, and what a migration
    would do with it.

    Example: hotflash types motor build/control.o
    """
    from hotflash.session import layouts

    report = layouts.types(app.settings(), app.store, name, objects)
    app.emit("types", report, "\n".join(line for layout in report.layouts for line in layout_lines(layout)))


def layout_lines(layout: LayoutReport) -> list[str]:
    """A type as a table."""
    sizes = [size for size in (layout.old_size, layout.new_size) if size is not None]
    size = " -> ".join(output.plural(size, "byte") for size in dict.fromkeys(sizes))
    head = layout.name if layout.name.startswith(layout.what) else f"{layout.what} {layout.name}"
    where = f" ({', '.join(layout.units)})" if layout.units else " (not in the application)"
    lines = [f"{head}{where}{f', {size}' if size else ''}"]
    names = max((len(row.name) for row in layout.rows), default=0)
    left = max((len(row.old) for row in layout.rows), default=0)
    right = max((len(row.new) for row in layout.rows), default=0)
    for row in layout.rows:
        columns = [f"{row.name:{names}}", f"{row.old:{left}}" if left else "", f"{row.new:{right}}" if right else "",
                   "" if row.action == "kept" else row.action]  # fmt: skip
        lines.append(("  " + "  ".join(column for column in columns if column)).rstrip())
    return lines
