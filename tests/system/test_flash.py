"""Programming an application over the wire, and what does not look like one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
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


def test_cut_while_programming_leaves_a_board_that_waits(dut: Any, built: Project) -> None:
    elf = built.folder / "build" / "app.elf"
    host, port = dut.url.removeprefix("socket://").split(":")
    for cut in (200, 3000, 9000):
        dut.session.close()
        with Proxy((host, int(port))) as proxy:
            process = subprocess.Popen(
                [sys.executable, "-m", "hotflash", "--port", proxy.url, "flash", str(elf)],
                cwd=dut.folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

            def kill(total: int, cut: int = cut, process: subprocess.Popen[bytes] = process) -> None:
                if total >= cut:
                    os.kill(process.pid, signal.SIGKILL)

            proxy.on_bytes = kill
            assert process.wait(60) == -signal.SIGKILL
        dut.hardware_reset()
        status = dut.run("status")
        assert status.returncode == 0, status.stderr
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


def test_images_that_cannot_be_built_are_refused(dut: Any, built: Project, tmp_path: Path) -> None:
    plain = Project(tmp_path / "plain", built.board)
    text = (plain.folder / "app.ld").read_text()
    (plain.folder / "app.ld").write_text(text.replace(" INCLUDE hotflash.ld", ""))
    elf = plain.folder / "build" / "app.elf"
    done = subprocess.run(["true"], check=False)
    try:
        plain.link()
    except AssertionError as error:  # the glue misses the fragment's symbols: said at link time already
        assert "__hf_services" in str(error)
    else:
        done = dut.run("flash", str(elf))
        assert done.returncode == 5
        assert "hotflash.ld" in done.stderr
    assert turns(dut)["direct"] == 2
