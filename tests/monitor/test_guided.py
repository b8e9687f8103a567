"""What coverage-guided fuzzing has found worth keeping; ``make fuzz-monitor`` looks for more."""

from __future__ import annotations

from . import guided


def test_the_corpus() -> None:
    inputs = [*guided.seeds(), *guided.load()]
    assert guided.replay(inputs) == len(inputs)
