"""Rows of measurements, and how they are printed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Row:
    """One measured figure."""

    topic: str
    what: str
    value: float
    unit: str
    target: str = ""
    """The reach of the design brief's table of numbers; empty: a figure for comparison."""
    met: bool | None = None
    """Whether the target is reached; None: there is none."""
    how: str = ""
    """What was measured, where that is not plain."""


@dataclass(frozen=True)
class NotMeasured:
    """A topic that could not be measured here, and why. It counts as unmet."""

    topic: str
    reason: str


def at_most(topic: str, what: str, value: float, limit: float, unit: str, how: str = "") -> Row:
    """A row whose value should not be above ``limit``."""
    return Row(topic, what, value, unit, f"<= {limit:g}", value <= limit, how)


def at_least(topic: str, what: str, value: float, limit: float, unit: str, how: str = "") -> Row:
    """A row whose value should not be below ``limit``."""
    return Row(topic, what, value, unit, f">= {limit:g}", value >= limit, how)


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def render(rows: Sequence[Row | NotMeasured]) -> str:
    """The table, in Markdown."""
    lines = ["| topic | what | measured | target | met | how |", "| --- | --- | ---: | --- | --- | --- |"]
    for row in rows:
        if isinstance(row, NotMeasured):
            lines.append(f"| {row.topic} | not measured | | | no | {row.reason} |")
            continue
        met = {True: "yes", False: "NO", None: ""}[row.met]
        lines.append(
            f"| {row.topic} | {row.what} | {_number(row.value)} {row.unit} | {row.target} | {met} | {row.how} |"
        )
    judged = [row for row in rows if isinstance(row, Row) and row.met is not None]
    missing = sum(isinstance(row, NotMeasured) for row in rows)
    lines.append("")
    summary = f"{sum(bool(row.met) for row in judged)} of {len(judged)} targets met"
    lines.append(summary + (f"; {missing} topics not measured" if missing else ""))
    return "\n".join(lines)


def as_json(rows: Sequence[Row | NotMeasured]) -> str:
    """The same for machines."""
    return json.dumps(
        {
            "version": 1,
            "rows": [asdict(row) for row in rows if isinstance(row, Row)],
            "not_measured": [asdict(row) for row in rows if isinstance(row, NotMeasured)],
        },
        indent=2,
    )
