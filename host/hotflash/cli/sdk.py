"""``sdk``: what a project's build needs."""

from __future__ import annotations

import shlex

import click

from hotflash.cli.context import App, shared_options
from hotflash.errors import UsageError


@click.command()
@click.option("--path", "what", flag_value="path", help="Folder of the SDK.")
@click.option("--cflags", "what", flag_value="cflags", help="Compiler flags; with --board also the core's.")
@click.option("--ldflags", "what", flag_value="ldflags", help="Flags of the link through the compiler; need --board.")
@click.option("--sources", "what", flag_value="sources", help="Sources to compile into the application.")
@click.option("--boards", "what", flag_value="boards", help="Boards that are found by name.")
@click.option("--release", is_flag=True, help="Flags of the release: nothing of hotflash in it.")
@click.option("--nops", type=click.Choice(["4", "6"]), default="4", help="16-bit nops per patch point.")
@click.option("--hooks", type=click.IntRange(1), metavar="N", help="Entries of the hook table.")
@shared_options(port=False, board=True)
def sdk(app: App, what: str | None, release: bool, nops: str, hooks: int | None) -> None:
    """Print the flags and paths that a project needs to take part, for any build system."""
    from hotflash import sdk as kit
    from hotflash.board import Board, board_names

    settings = app.settings()
    board = Board.find(settings.board, settings.board_path) if settings.board is not None else None
    if what == "path":
        app.emit("sdk", {"path": str(kit.sdk_root())}, str(kit.sdk_root()))
    elif what == "cflags":
        flags = [*(board.cflags if board is not None else ()), *kit.cflags(hot=not release, nops=int(nops))]
        app.emit("sdk", {"cflags": flags}, shlex.join(flags))
    elif what == "ldflags":
        if board is None:
            raise UsageError(
                "--ldflags needs a board", hint=f"--board with one of {', '.join(board_names(settings.board_path))}"
            )
        flags = kit.ldflags(board, hot=not release, nops=int(nops), hooks=hooks)
        app.emit("sdk", {"ldflags": flags}, shlex.join(flags))
    elif what == "sources":
        sources = [] if release else [str(path) for path in kit.app_sources()]
        app.emit("sdk", {"sources": sources}, shlex.join(sources))
    elif what == "boards":
        names = board_names(settings.board_path)
        app.emit("sdk", {"boards": names}, "\n".join(names))
    else:
        raise UsageError(
            "nothing asked for", hint="one of --path, --cflags, --ldflags, --sources, --boards; see docs/PROJECT.md"
        )
