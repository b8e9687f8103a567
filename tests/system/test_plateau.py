"""A thousand pushes of one function leave the heap on a plateau."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hotflash.wire.messages import SlotFlag, SlotKind
from tests.system.observe import turns, until
from tests.system.project import Project

PUSHES = 1000
VERSIONS = 8
ABOVE_LIVE = 3
HELD = 10


@pytest.fixture(scope="module")
def dut(built: Project, dut_factory: Any) -> Iterator[Any]:
    with dut_factory(board=built.board, elf=built.folder / "build" / "app.elf", folder=built.folder) as dut:
        yield dut


@pytest.fixture(scope="module")
def versions(built: Project, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Versions of ``slow``, each running as long as ``hold`` says."""
    objects = []
    for number in range(VERSIONS):
        project = Project(tmp_path_factory.mktemp("version"), built.board)
        project.edit("work.c", ("return x;", f"return x + {number + 1};"))
        objects.append(project.compile("work.c"))
    return objects


def code_slots(dut: Any) -> list[Any]:
    return [slot for slot in dut.session.device.slots() if slot.kind == SlotKind.CODE]


def test_plateau(dut: Any, built: Project, versions: list[Path], tmp_path: Path) -> None:
    caller = Project(tmp_path / "caller", built.board)
    caller.edit("main.c", ("seen.direct = value(1);", "seen.direct = slow(1);"))
    dut.push(caller.compile("main.c"))
    live = 2  # turn and slow
    held = 0
    running = dut.read("seen.turns")
    for push in range(PUSHES):
        if push % HELD == 0:  # every other stretch passes with one old version still running
            dut.write("hold", push // HELD % 2)
        result = dut.push(versions[push % VERSIONS])
        assert result.generation == push + 2
        slots = code_slots(dut)
        held += any(slot.refs == 0 and slot.flags & SlotFlag.FRAME for slot in slots)
        assert len(slots) <= live + ABOVE_LIVE, [(slot.handle, slot.refs, slot.flags) for slot in slots]
    dut.write("hold", 0)
    assert dut.session.device.status().drift == 0
    # Live and undo versions are held anyway; then the running one shows, until it is let go.
    assert held >= PUSHES // HELD // 2 * (HELD - 4), "versions were not found running"
    assert dut.read("seen.turns") > running
    assert turns(dut)["direct"] == 2 + (PUSHES - 1) % VERSIONS
    # With no frame left of the old versions, one live and one to go back to remain for `slow`.
    until(lambda: len(code_slots(dut)), lambda count: count <= live + 1, "old versions to be freed")
