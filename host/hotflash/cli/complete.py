"""Shell completion of ports, boards and variables. Whatever fails completes nothing, silently."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def complete_port(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Serial ports of this machine and the running simulator."""
    del context, parameter
    from click.shell_completion import CompletionItem

    items: list[CompletionItem] = []
    with contextlib.suppress(Exception):
        from hotflash.session.ports import candidates
        from hotflash.store import Store

        sim = Store.find().sim()
        if sim is not None:
            items.append(CompletionItem(sim.port, help=f"simulator of {sim.board}"))
        items += [CompletionItem(entry.device, help=entry.description) for entry in candidates()]
    return [item for item in items if item.value.startswith(incomplete)]


def complete_board(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Boards that are found by name."""
    del context, parameter
    from click.shell_completion import CompletionItem

    with contextlib.suppress(Exception):
        from hotflash.board import board_names
        from hotflash.settings import load

        return [CompletionItem(name) for name in board_names(load().board_path) if name.startswith(incomplete)]
    return []


def complete_variable(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Variables of the build that was flashed last."""
    del context, parameter
    from click.shell_completion import CompletionItem

    with contextlib.suppress(Exception):
        from hotflash.elf.firmware import Firmware
        from hotflash.store import Store

        builds = Store.find().builds()
        if builds:
            names = {symbol.name for symbol in Firmware.load(builds[0].elf).variables}
            return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]
    return []
