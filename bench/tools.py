"""What measurements share: running tools, and what a number of runs amounts to."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    """Variables of this process, without what make and the user's settings would add, and with byte code kept."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MFLAGS", "HOTFLASH", "PYTHONDONTWRITE"))
    }


def run(command: Sequence[str | Path], folder: Path = ROOT) -> str:
    """Runs a tool; returns its stdout, or raises RuntimeError with what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def command() -> Path:
    """The installed ``hotflash``, as a shell would run it."""
    found = Path(sys.executable).parent / "hotflash"
    if not found.exists():
        raise RuntimeError(f"{found} is not installed: run `make setup`")
    return found


def hotflash(project: Path, *arguments: str | Path) -> str:
    """Runs the command in a project's folder."""
    return run([command(), *arguments], project)


def spread(values: Sequence[float]) -> str:
    """Number of runs with their extremes, for the last column."""
    return f"median of {len(values)}, {min(values):.1f} to {max(values):.1f}"


median = statistics.median
