"""Programming an application over the wire, and what does not look like one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hotflash.sim import Sim
from tests.system.observe import turns
from tests.system.project import Project
from tests.system.proxy import Proxy

pytestmark = pytest.mark.every_board


@pytest.fixture(scope="module")
def dut(built: Project, dut_factory: Any) -> Iterator[Any]:
    with dut_factory(board=built.board, elf=built.folder / "build" / "app.elf", folder=built.folder) as dut:
        yield dut


def flash_through(dut: Any, elf: Path, *, cut: int | None = None) -> int:
    """Flashes over a relay and returns the bytes sent to the board.

    With ``cut`` host and power are lost when so many bytes have arrived.
    """
    dut.session.close()
    host, port = dut.url.removeprefix("socket://").split(":")
    with Proxy((host, int(port))) as proxy:
        process = subprocess.Popen(
            [sys.executable, "-m", "hotflash", "--port", proxy.url, "flash", "--board", str(dut.board.path), str(elf)],
            cwd=dut.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if cut is not None:
            proxy.cut(cut, partial(os.kill, process.pid, signal.SIGKILL))
        assert process.wait(60) == (0 if cut is None else -signal.SIGKILL), f"cut at {cut}"
        if cut is not None:
            dut.hardware_reset()
        return proxy.to_board


def application(dut: Any) -> str:
    status = dut.run("status", "--json")
    assert status.returncode == 0, status.stderr
    return str(json.loads(status.stdout)["application"])


def test_cut_while_programming_leaves_a_board_that_waits(dut: Any, built: Project) -> None:
    elf = built.folder / "build" / "app.elf"
    flash_through(dut, elf, cut=3000)
    assert application(dut) == "none"
    whole = flash_through(dut, elf)
    assert application(dut) == "running"
    # A board that runs is asked into its bootloader first: so many bytes more. The mark's frame is one of the last.
    for before_end, allowed in ((whole // 2, {"none"}), (200, {"none"}), (20, {"none", "running"})):
        flash_through(dut, elf, cut=whole - before_end)
        assert application(dut) in allowed, f"{before_end} bytes before the end"
    done = dut.run("flash", str(elf))
    assert done.returncode == 0, done.stderr
    assert turns(dut)["direct"] == 2


def test_export_with_bootloader_boots(dut: Any, built: Project, tmp_path: Path) -> None:
    """The HEX for other programmers is loaded by QEMU itself, as a programmer would put it on a part."""
    elf = built.folder / "build" / "app.elf"
    hexfile = tmp_path / "app.hex"
    done = dut.run("export", "--with-bootloader", "--board", str(built.board.path), str(elf), "-o", str(hexfile))
    assert done.returncode == 0, done.stderr
    with Sim(built.board, image=hexfile) as sim:
        answer = subprocess.run(
            [sys.executable, "-m", "hotflash", "--port", sim.url, "read", "seen.direct"],
            cwd=dut.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.strip().endswith("2")


def test_a_release_build_is_refused(dut: Any, project: Project) -> None:
    done = dut.run("flash", str(project.link(hot=False)))
    assert done.returncode == 5, done.stdout + done.stderr
    assert "has no hotflash image header" in done.stderr
    assert "INCLUDE hotflash.ld" in done.stderr
    assert turns(dut)["direct"] == 2
