"""Rows of measurements, and how they are printed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Row:
    """One measured figure."""

    topic: str
    what: str
    value: float
    unit: str
    target: str = ""
    """What is to be reached, in the same unit; empty: a figure for comparison."""
    met: bool | None = None
    """Whether the target is reached; None: there is none."""
    how: str = ""
    """What was measured, where that is not plain."""


@dataclass(frozen=True)
class NotMeasured:
    """A figure that could not be measured here, and why. It counts as unmet."""

    topic: str
    reason: str
    what: str = "all of it"


def at_most(topic: str, what: str, value: float, limit: float, unit: str, how: str = "") -> Row:
    """A row whose value should not be above ``limit``."""
    return Row(topic, what, value, unit, f"<= {_number(limit)}", value <= limit, how)


def below(topic: str, what: str, value: float, limit: float, unit: str, how: str = "") -> Row:
    """A row whose value should be below ``limit``."""
    return Row(topic, what, value, unit, f"< {_number(limit)}", value < limit, how)


def at_least(topic: str, what: str, value: float, limit: float, unit: str, how: str = "") -> Row:
    """A row whose value should not be below ``limit``."""
    return Row(topic, what, value, unit, f">= {_number(limit)}", value >= limit, how)


def _number(value: float) -> str:
    """As many digits as a reader needs; never so few that a missed target looks met."""
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def render(rows: Iterable[Row | NotMeasured]) -> str:
    """The table, in Markdown, and a line that sums it up."""
    head = ("topic", "what", "measured", "target", "verdict", "how")
    body: list[tuple[str, ...]] = []
    met, judged, missing = 0, 0, 0
    for row in rows:
        if isinstance(row, NotMeasured):
            body.append((row.topic, row.what, f"not measured: {row.reason}", "", "NOT met", ""))
            missing += 1
            continue
        verdict = {True: "met", False: "NOT met", None: ""}[row.met]
        judged += row.met is not None
        met += row.met is True
        body.append((row.topic, row.what, f"{_number(row.value)} {row.unit}", row.target, verdict, row.how))
    cells = [tuple(" ".join(cell.replace("|", "\\|").split()) for cell in line) for line in body]
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(len(head))]
    lines = [_line(head, widths), "| " + " | ".join("-" * width for width in widths) + " |"]
    lines += [_line(line, widths) for line in cells]
    summary = f"{met} of {judged} targets met"
    return "\n".join([*lines, "", summary + (f"; {missing} not measured" if missing else "")])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


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
