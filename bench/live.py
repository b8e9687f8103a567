"""From a saved file to the live function, compile time left out: from a cold shell, and in an open session.

The board is emulated, so the wire has no speed of its own; its round trips are included. What is pushed is a real edit
of ``examples/blink``, there and back, compiled before the clock starts.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench.table import Row, at_most
from bench.tools import ROOT, command, hotflash, median, run, spread
from hotflash.session import Session
from hotflash.settings import load
from hotflash.store import Store

BOARD = "mps2-an386"
EXAMPLE = ROOT / "examples" / "blink"
OLD, NEW = "(position + 1)", "(position + 3)"


def _compiled(project: Path) -> list[Path]:
    """The application as it is, and two versions of one object: edited, and as it was."""
    make: list[str | Path] = ["make", "-s", "-C", project, f"BOARD={BOARD}", f"HOTFLASH_SDK={ROOT}"]
    made = project / "build" / BOARD / "pattern.o"
    source = project / "pattern.c"
    text = source.read_text()
    if text.count(OLD) != 1:
        raise ValueError(f"{source.name} does not have {OLD} once")
    run(make)
    objects = []
    for name, version in (("edited", text.replace(OLD, NEW)), ("first", text)):
        source.write_text(version)
        run([*make, "-W", "pattern.c", f"build/{BOARD}/pattern.o"])
        kept = project / name / "pattern.o"
        kept.parent.mkdir()
        shutil.copy(made, kept)
        objects.append(kept)
    return objects


def live(*, quick: bool = False) -> list[Row]:
    """Milliseconds of whole pushes, each of which changes the running function."""
    colds, warms = (2, 2) if quick else (20, 60)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "blink"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("build", "plain", ".hotflash"))
        (project / ".hotflash").mkdir()
        objects = _compiled(project)
        hotflash(project, "sim", "--detach", "--board", BOARD)
        try:
            hotflash(project, "flash", f"build/{BOARD}/blink.elf")
            # The first run keeps the byte code of hotflash's modules; what it pushes is what runs.
            hotflash(project, "push", objects[1])
            before = _processor_ms()
            cold = [_cold(project, objects[number % 2]) for number in range(colds)]
            processor = (_processor_ms() - before) / colds
            with Session.connect(load(project=project), Store(project)) as session:
                warm = [_warm(session, objects[number % 2]) for number in range(warms)]
        finally:
            hotflash(project, "sim", "--stop")
        python = []
        for _ in range(colds):
            start = time.perf_counter()
            run([sys.executable, "-c", "pass"])
            python.append((time.perf_counter() - start) * 1e3)
    return [
        at_most("save to live", "push from a cold shell", median(cold), 150, "ms", spread(cold)),
        Row(
            "save to live",
            "of it processor time",
            processor,
            "ms",
            how="mean; the rest is waiting, on a busy machine for others",
        ),
        Row("save to live", "of it Python's own start", median(python), "ms", how=spread(python)),
        at_most("save to live", "push in an open session", median(warm[1:]), 15, "ms", spread(warm[1:])),
    ]


def _processor_ms() -> float:
    """Of all commands that have ended; the emulator is none of them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e3


def _cold(project: Path, made: Path) -> float:
    start = time.perf_counter()
    output = run([command(), "push", "--json", made], project)
    spent = (time.perf_counter() - start) * 1e3
    _changed(json.loads(output)["state"])
    return spent


def _warm(session: Session, made: Path) -> float:
    start = time.perf_counter()
    report = session.push([made])
    spent = (time.perf_counter() - start) * 1e3
    _changed(report.state)
    return spent


def _changed(state: str) -> None:
    if state != "live":
        raise ValueError(f"the push changed nothing: {state}")
