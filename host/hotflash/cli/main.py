"""``hotflash``: finds the command, and shows what went wrong."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click

import hotflash
from hotflash.cli import output
from hotflash.cli.context import app_of, group_options, take_options
from hotflash.errors import HotflashError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Command: module, function, line of the help. Modules are imported when their command runs, not before.
_COMMANDS: dict[str, tuple[str, str, str]] = {
    "sim": ("sim", "sim", "Run an emulated board."),
    "flash": ("flash", "flash", "Program a linked application."),
    "export": ("flash", "export", "Write an application for other programmers."),
    "sdk": ("sdk", "sdk", "Print the flags and paths that a project needs."),
    "push": ("push", "push", "Make changed functions of object files live."),
    "resync": ("push", "resync", "Send the edits again that a reset took."),
    "rollback": ("push", "rollback", "Go back to the generation before."),
    "diff": ("link", "diff", "Say what a push would send, without a board."),
    "types": ("types", "types", "Show layouts and signatures, side by side with an object's."),
    "link": ("link", "link", "Link objects without a board, or write out what a board runs."),
    "confirm": ("control", "confirm", "Keep an edit that is on trial."),
    "monitor": ("monitor", "monitor", "Show the application's log and what happens to it."),
    "status": ("inspect", "status", "Show what the board runs."),
    "slots": ("inspect", "slots", "Show what is in the code heap, and who holds it."),
    "gc": ("inspect", "gc", "Collect constants, stubs and variables that nothing uses."),
    "read": ("memory", "read", "Read a variable or memory."),
    "write": ("memory", "write", "Write a variable or memory."),
    "park": ("control", "park", "Stop the application and show where."),
    "continue": ("control", "resume", "Let the parked application go on where it was."),
    "restart": ("control", "restart", "Call the newest main, all state kept."),
    "reinit": ("control", "reinit", "Give variables their initial values."),
    "reset": ("inspect", "reset", "Reset the board."),
    "doctor": ("doctor", "doctor", "Check tools, project and board."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports them on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the help."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command."""
        del ctx
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, function, _ = entry
        command = getattr(import_module(f"hotflash.cli.{module}"), function)
        assert isinstance(command, click.Command)  # noqa: S101 (a slip in the table above)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Says what is spelt like an unknown command."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            import difflib

            close = difflib.get_close_matches(name, list(_COMMANDS), 1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            ctx.fail(f"No such command '{name}'.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@group_options
@click.version_option(hotflash.__version__, message="hotflash %(version)s")
@click.pass_context
def cli(context: click.Context, /, **values: object) -> None:
    """Hot reloading for Cortex-M firmware: push changed C functions into a running board.

    Without a command it connects to the board and monitors it.
    """
    context.color = output.wants_color()
    take_options(app_of(context), dict(values))
    if context.invoked_subcommand is None:
        from hotflash.cli.monitor import monitor

        context.invoke(monitor)


def run(args: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code. Errors are shown, not raised."""
    arguments = list(sys.argv[1:] if args is None else args)
    debug = os.environ.get("HOTFLASH_DEBUG", "") not in ("", "0")
    try:
        code = cli.main(args=arguments, prog_name="hotflash", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        click.echo(err=True)
        return 130
    except KeyboardInterrupt:
        click.echo(err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except HotflashError as error:
        if debug:
            _traceback()
        if "--json" in arguments:
            _json_error(error)
        output.show_error(error.message, error.hint)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain again while flushing at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if debug:
            _traceback()
        where = f"{error.filename}: " if error.filename else ""
        output.show_error(f"{where}{error.strerror or error}", None)
        return 1
    except Exception as error:  # noqa: BLE001 (the last resort: people get no traceback unless they ask)
        if debug:
            _traceback()
        output.show_error(
            f"internal error: {type(error).__name__}: {error}",
            "this is a defect of hotflash; HOTFLASH_DEBUG=1 shows where, please report it with that",
        )
        return 1
    return code if isinstance(code, int) else 0


def _traceback() -> None:
    import traceback

    traceback.print_exc()


def _json_error(error: HotflashError) -> None:
    with contextlib.suppress(OSError):
        output.data_json(
            "error",
            {
                "error": type(error).__name__,
                "message": error.message,
                "hint": error.hint,
                "exit_code": error.exit_code,
            },
        )


def main() -> NoReturn:
    """Entry point of the command."""
    sys.exit(run())


if __name__ == "__main__":
    main()
