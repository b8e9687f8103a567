"""The measurements of ``make bench``: how they are printed, and that each one still measures."""

from __future__ import annotations

import subprocess

import pytest

from bench import __main__ as bench
from bench import calls, sizes
from bench.table import NotMeasured, Row, at_least, at_most, below, render


def _fields(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line[:1] == "|"]


def test_verdicts() -> None:
    rows = [
        at_most("a", "equal", 3, 3, "B"),
        at_most("a", "over", 3.001, 3, "B"),
        at_least("a", "under", 94.999, 95, "%"),
        at_least("a", "equal", 95, 95, "%"),
        below("a", "equal", 250, 250, "B"),
        Row("a", "for comparison", 1, "B"),
    ]
    printed = _fields(render(rows))
    assert [line[4] for line in printed[2:]] == ["met", "NOT met", "NOT met", "met", "NOT met", ""]
    assert "2 of 5 targets met" in render(rows).splitlines()[-1]
    assert printed[0] == ["topic", "what", "measured", "target", "verdict", "how"]
    assert {len(line) for line in printed} == {6}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (14555, "14,555 B"),
        (1.0219, "1.02 B"),
        (0.0334, "0.033 B"),
        (6094.91, "6,094.9 B"),
        (2.0, "2 B"),
        (-0.5, "-0.500 B"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert _fields(render([Row("a", "b", value, "B")]))[2][2] == text


def test_what_breaks_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*, quick: bool) -> list[Row]:
        raise subprocess.CalledProcessError(2, ["ld"], stderr=f"a | b\nquick {quick}")

    monkeypatch.setattr(bench, "measurement", lambda _: broken)
    rows = bench.measure("link")
    assert [type(row) for row in rows] == [NotMeasured]
    printed = _fields(render(rows))[2]
    assert printed[:2] == ["link", "all of it"]
    assert printed[2].startswith("not measured: CalledProcessError:")
    assert "a \\" in "".join(printed), "a pipe would end the cell"
    assert "NOT met" in render(rows)
    assert "1 not measured" in render(rows)


def test_no_figures_are_not_a_success(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench, "measurement", lambda _: lambda quick: [])  # noqa: ARG005
    assert bench.main(["link"]) == 1
    assert "not measured: no figures came out" in capsys.readouterr().out


def test_unknown_topic(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        bench.main(["speed"])
    assert end.value.code == 2
    assert "no topic 'speed'" in capsys.readouterr().err


def test_masked_stretches_are_counted() -> None:
    code = {0x10: "cpsid\ti", 0x12: "str\tr3, [r2]", 0x14: "msr\tPRIMASK, r5", 0x18: "isb\tsy"}
    executed = [0x10, 0x12, 0x14, 0x18, 0x12, 0x10, 0x12, 0x12, 0x12, 0x14]
    trace = "\n".join(f"Trace 0: 0x7f00 [00000000/{at:08x}/00000110/00000201] f" for at in executed)
    assert calls.stretches(trace, code) == [2, 4]


def test_straight_code_only() -> None:
    with pytest.raises(ValueError, match="disassembly has 7"):
        calls._agree("release", 7.1, 7)
    calls._agree("release", 7.002, 7)


def test_sizes_are_read() -> None:
    text = "  CC  a.c\nmodule                 code    ram\ncore/a.o   12      3\nwithout the board  1036  3\n"
    assert sizes.table(text) == {"core/a.o": (12, 3), "without the board": (1036, 3)}


@pytest.mark.parametrize("topic", bench.MEASUREMENTS)
def test_each_measures(topic: str) -> None:
    """In its reduced mode: figures, of the right sign; what they are is for a quiet machine and the full run."""
    rows = bench.measure(topic, quick=True)
    figures = [row for row in rows if isinstance(row, Row)]
    assert figures == rows, rows
    assert all(row.value > 0 for row in figures if row.target or "RAM" not in row.what)
    if topic in ("call", "masked"):  # instructions are counted, whatever the machine's load
        assert all(row.met for row in figures if row.met is not None), figures
