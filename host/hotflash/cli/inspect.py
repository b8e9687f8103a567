"""``status``, ``slots``, ``gc`` and ``reset``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hotflash.cli import output
from hotflash.cli.context import App, shared_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.session.results import Heap, StatusReport

_WARNING = click.style(f"{'warning':<12}", fg="yellow")
_APPLICATION = {
    "running": "running",
    "plain": "running as a plain ELF: no patch points in use",
    "parked": "parked: it stands still, the monitor answers",
    "waiting": "not started: the board waits in the bootloader",
    "none": "none: the bootloader waits for `hotflash flash`",
}


@click.command()
@shared_options(elf=True)
def status(app: App) -> None:
    """Show what the board runs, which edits are live, and how full its heaps are."""
    report = app.session().status()
    if app.json:
        output.data_json("status", report)
        return
    for label, text in _rows(report):
        output.data(f"{click.style(f'{label:<12}', dim=True)} {text}")
    for warning in report.warnings:
        output.data(f"{_WARNING} {warning}")
    sentence = output.lost_edits(report.lost)
    if sentence:
        output.data(f"{_WARNING} {sentence}")


def _rows(report: StatusReport) -> list[tuple[str, str]]:
    build = report.build_id.hex()
    source = f", from {report.elf}" if report.elf else ""
    application = _APPLICATION[report.application]
    if report.application != "none":
        application += f", build {build[:12]}{source}"
    edits = ", ".join(edit.function for edit in report.edits)
    undo = ", `hotflash rollback` goes back" if report.undo else ""
    if report.edits:
        generation = f"{report.generation}: {output.plural(len(report.edits), 'edit')} live ({edits}){undo}"
    elif report.hooks_bound:
        generation = f"{report.generation}: {output.plural(report.hooks_bound, 'edit')} live, not made from here{undo}"
    else:
        generation = f"{report.generation}: the base image runs{undo}"
    counters = report.counters
    lost = [
        f"{output.number(counters[key])} {text}"
        for key, text in (
            ("log_dropped", "log lines dropped"),
            ("rx_overrun", "bytes overrun"),
            ("rx_bad", "bad frames"),
        )
        if counters[key]
    ]
    rows = [
        ("board", f"{report.board} ({report.core}), bootloader {report.monitor}, wire {report.wire}, ABI {report.abi}"),
        ("port", report.port),
        ("application", application),
    ]
    if report.application in ("running", "parked"):
        hooks = f"{output.number(report.hooks_bound)} of {output.number(report.hooks)} lead to edits"
        masked = f"{counters['masked_last']} instructions masked by the last, {counters['masked_max']} at most"
        longest = f"{output.number(counters['scan_us'])} us in the longest"
        stall = f"interrupts masked for {output.number(counters['stall_us'])} us in the longest collection"
        rows += [
            ("generation", generation),
            *((f"{heap.name} heap", _heap(heap)) for heap in report.heaps),
            ("hooks", f"{hooks}; table of {output.number(report.hook_capacity)}"),
            ("commits", f"{output.number(counters['commits'])}; {masked}"),
            ("protected", _protection(report.protection)),
            ("reaper", f"{output.number(counters['scan_words'])} words in the last scan, {longest}; {stall}"),
        ]
    return [
        *rows,
        ("monitor", f"{output.number(counters['stack_free'])} bytes of its stack unused"),
        ("line", ", ".join(lost) if lost else "nothing lost"),
        ("up", f"{report.uptime:.1f} s, boot {report.boot_count}"),
    ]


def _protection(kept: Sequence[str]) -> str:
    """What the MPU keeps from the application."""
    read_only = [
        text for key, text in (("heap", "code heap"), ("hooks", "hook table"), ("flash", "flash")) if key in kept
    ]
    parts = [f"{', '.join(read_only)} read-only"] if read_only else []
    if "ram" in kept:
        parts.append("other memory not executable")
    if "stack" in kept:
        parts.append("main stack guarded")
    return "; ".join(parts) or "nothing"


def _heap(heap: Heap) -> str:
    share = f" ({100 * heap.used / heap.size:.1f} %)" if heap.size else ""
    return (
        f"{output.bar(heap.used, heap.size)} {output.number(heap.used)} of {output.number(heap.size)} bytes{share} "
        f"at {heap.base:#010x}"
    )


@click.command()
@shared_options(elf=True)
def slots(app: App) -> None:
    """Show the code heap slot by slot: what it holds, from which generation, and who holds it."""
    report = app.session().slots()
    if app.json:
        output.data_json("slots", report)
        return
    if not report.slots:
        output.data("no slots in use")
        return
    rows = [
        (
            str(slot.handle),
            slot.kind,
            slot.function + (f" ({slot.unit})" if slot.unit else "") or "-",
            f"{slot.address:#010x}",
            output.number(slot.size),
            str(slot.generation),
            ", ".join(slot.held_by) or "nothing",
        )
        for slot in report.slots
    ]
    header = ("slot", "kind", "function", "address", "bytes", "generation", "held by")
    output.data(output.table(header, rows, right=(0, 4, 5)))
    output.say(f"code heap {_heap(report.heap)}, generation {report.generation}")


@click.command()
@shared_options()
def gc(app: App) -> None:
    """Collect constants, stubs and variables that nothing uses, with interrupts masked."""
    report = app.session().gc()
    app.emit(
        "gc",
        report,
        f"gc  {output.plural(report.freed, 'slot')}, {output.plural(report.bytes, 'byte')} freed, "
        f"interrupts masked for {output.number(report.stall_us)} us; "
        f"{output.number(report.longest_us)} us in the longest collection so far",
    )


@click.command()
@click.option("--wait", is_flag=True, help="Stay in the bootloader instead of starting the application.")
@shared_options()
def reset(app: App, wait: bool) -> None:
    """Reset the board. Edits go with it; `hotflash resync` sends them again."""
    session = app.session(attention=True)
    hello = session.reset(wait=wait)
    lost = session.lost()
    runs = "the application runs" if session.runs else "the bootloader waits"
    app.emit("reset", {"running": session.runs, "boot_count": hello.boot_count, "lost": lost}, f"reset  {runs}")
    sentence = output.lost_edits(lost)
    if sentence:
        output.warn(sentence)
