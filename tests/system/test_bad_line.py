"""A line that is cut, noisy or slow, and hosts that die: the old code or the new code, and the next command works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.system.observe import turns
from tests.system.project import Project
from tests.system.proxy import Proxy

BIG = "".join(f"    r = (r * 5 + (r >> {i % 7 + 1})) ^ {i * 7919 + 1};\n" for i in range(2200))


@pytest.fixture(scope="module")
def board_dut(built: Project, dut_factory: Any) -> Iterator[Any]:
    with dut_factory(board=built.board, elf=built.folder / "build" / "app.elf", folder=built.folder) as dut:
        yield dut


@pytest.fixture(scope="module")
def versions(built: Project, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Objects whose ``value`` gives 101, 201, ... for 1; the code between is large."""
    objects = []
    for number in range(1, 5):
        project = Project(tmp_path_factory.mktemp("version"), built.board)
        project.edit(
            "work.c",
            (
                "__attribute__((noinline)) int value(int x)\n{\n    return x + 1;",
                (
                    "extern volatile unsigned sink;\nvolatile unsigned sink;\n"
                    "__attribute__((noinline)) int value(int x)\n{\n"
                    f"    unsigned r = sink + {number}u;\n{BIG}    sink = r;\n    return x + {number}00;"
                ),
            ),
        )
        objects.append(project.compile("work.c"))
    return objects


@pytest.fixture
def dut(board_dut: Any) -> Any:
    board_dut.session.close()  # the test's commands own the port
    return board_dut


def target(dut: Any) -> tuple[str, int]:
    host, port = dut.url.removeprefix("socket://").split(":")
    return host, int(port)


def command(dut: Any, port: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hotflash", "--port", port, *arguments],
        cwd=dut.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def direct(dut: Any) -> int:
    result: int = turns(dut)["direct"]
    return result


def test_host_killed_anywhere_in_a_push(dut: Any, versions: list[Path]) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    expected = {direct(dut)}
    dut.session.close()
    for turn in range(6):
        number = turn % len(versions)
        with Proxy(target(dut)) as proxy:
            cut = rng.randrange(60, 14000)
            process = command(dut, proxy.url, "push", str(versions[number]))
            proxy.cut(cut, partial(os.kill, process.pid, signal.SIGKILL))
            process.communicate(timeout=60)
        before, expected = expected, {*expected, (number + 1) * 100 + 1}
        now = direct(dut)
        assert now in expected, f"cut at {cut}: {now}, not one of {expected}"
        expected = {now}
        dut.session.close()
        del before
    done = dut.run("push", str(versions[3]))
    assert done.returncode == 0, done.stderr
    assert direct(dut) == 401


@pytest.mark.parametrize(("bit_error", "drop", "duplicate"), [(1e-4, 0.0, 0.0), (1e-3, 0.0, 0.0), (0.0, 0.01, 0.01)])
def test_noisy_line(dut: Any, versions: list[Path], bit_error: float, drop: float, duplicate: float) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    current = direct(dut)
    number = (current // 100) % len(versions)
    dut.session.close()
    with Proxy(target(dut), seed=seed, bit_error=bit_error, drop=drop, duplicate=duplicate) as proxy:
        process = command(dut, proxy.url, "push", str(versions[number]))
        out, err = process.communicate(timeout=120)
        assert proxy.damaged > 0, "the line was not noisy"
    new = (number + 1) * 100 + 1
    now = direct(dut)
    assert "Traceback" not in err
    if process.returncode == 0:
        assert now == new, out + err
    else:
        assert now in (current, new), out + err
    if bit_error <= 1e-4:
        assert process.returncode == 0, err
    dut.session.close()
    assert dut.run("status").returncode == 0


def test_port_closed_and_opened_again(dut: Any) -> None:
    for _ in range(3):
        assert dut.run("status").returncode == 0
        assert direct(dut) > 0
        dut.session.close()
