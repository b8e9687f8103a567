"""``python -m bench``: measures what hotflash costs, here and now, and prints one Markdown table."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from bench.table import NotMeasured, Row, as_json, render

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MEASUREMENTS = {
    "wire bytes": "bench.wire:wire_bytes",
    "throughput": "bench.wire:throughput",
    "reflash": "bench.wire:reflash",
    "live": "bench.live:live",
    "call": "bench.calls:calls",
    "masked": "bench.calls:masked",
    "size": "bench.sizes:sizes",
    "link": "bench.link:link",
    "hooks": "bench.hooks:hooks",
    "firmware": "bench.firmware:firmware",
}
"""Topic: ``module:function``, which takes ``quick`` and returns the topic's rows."""


def measurement(topic: str) -> Callable[..., list[Row]]:
    """The function that measures a topic; imported only then, so that one that cannot be imported spoils no other."""
    module, _, name = MEASUREMENTS[topic].partition(":")
    found: Callable[..., list[Row]] = getattr(importlib.import_module(module), name)
    return found


def measure(topic: str, *, quick: bool = False) -> list[Row | NotMeasured]:
    """A topic's rows. Whatever keeps it from being measured is a row that says so, never a figure."""
    try:
        rows = measurement(topic)(quick=quick)
    except Exception as error:  # noqa: BLE001 - a measurement that breaks is reported beside those that do not
        return [NotMeasured(topic, _reason(error))]
    return list(rows) if rows else [NotMeasured(topic, "no figures came out")]


def _reason(error: Exception) -> str:
    text = str(error)
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        said = error.stderr if isinstance(error.stderr, str) else error.stderr.decode(errors="replace")
        text = f"{text} {said.strip()}"
    return f"{type(error).__name__}: {text}"[:400]


def circumstances(*, quick: bool) -> str:
    """Where and when, and what that says about the figures."""
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    host = f"{platform.system()} {platform.machine()}, {cores} cores, Python {platform.python_version()}"
    lines = [f"Measured on {host}, load {load:.1f} at the end."]
    if load > 1.5 * cores:
        lines.append("The machine was busy with other things: times are longer than they would be on a quiet one.")
    if quick:
        lines.append("Quick run: not for figures.")
    return " ".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 when something could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="the numbers of hotflash, measured here and now"
    )
    parser.add_argument("topics", nargs="*", metavar="topic", help=f"any of: {', '.join(MEASUREMENTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer runs: to see that it works, not for figures")
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args(arguments)
    unknown = [topic for topic in options.topics if topic not in MEASUREMENTS]
    if unknown:
        parser.error(f"no topic {unknown[0]!r}; there are: {', '.join(MEASUREMENTS)}")
    rows: list[Row | NotMeasured] = []
    for topic in options.topics or MEASUREMENTS:
        started = time.perf_counter()
        print(f"measuring: {topic} ...", end="", file=sys.stderr, flush=True)
        rows += measure(topic, quick=options.quick)
        print(f" {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    if options.json:
        print(as_json(rows))
    else:
        print(f"{render(rows)}\n\n{circumstances(quick=options.quick)}")
    return int(any(isinstance(row, NotMeasured) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
