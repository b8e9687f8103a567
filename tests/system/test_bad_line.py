"""A line that is cut, noisy or slow, and hosts that die: the old code or the new code, and the next command works."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hotflash import link
from hotflash.elf.object import ObjectFile
from hotflash.wire.channel import ask
from hotflash.wire.messages import BeginReply, BeginRequest, Op, SlotFlag, SlotKind
from tests.system.observe import turns
from tests.system.project import Project
from tests.system.proxy import Proxy

PUSH_BYTES = 5000
"""What a push of one of the versions takes on the wire, at least."""


def filling(statements: int) -> str:
    """Statements that compute ``r``, of some 16 bytes of code each."""
    return "".join(f"    r = (r * 5 + (r >> {i % 7 + 1})) ^ {i * 7919 + 1};\n" for i in range(statements))


@pytest.fixture(scope="module")
def versions(built: Project, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Objects whose ``value`` gives 101, 201, ... for 1, of 4.8 KB, with a new variable; the last is small."""
    objects = []
    for number, statements in ((1, 300), (2, 300), (3, 300), (4, 300), (5, 40)):
        project = Project(tmp_path_factory.mktemp("version"), built.board)
        project.edit(
            "work.c",
            (
                "__attribute__((noinline)) int value(int x)\n{\n    return x + 1;",
                (
                    "extern volatile unsigned sink;\nvolatile unsigned sink;\n"
                    "__attribute__((noinline)) int value(int x)\n{\n"
                    f"    unsigned r = sink + {number}u;\n{filling(statements)}    sink = r;\n"
                    f"    return x + {number}00;"
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


def command(dut: Any, *arguments: str) -> subprocess.Popen[str]:
    """The command line beside the test; its port is found by itself unless it is named."""
    return subprocess.Popen(
        [sys.executable, "-m", "hotflash", *arguments],
        cwd=dut.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def direct(dut: Any) -> int:
    result: int = turns(dut)["direct"]
    return result


def number_of(value: int) -> int:
    return value // 100


def test_host_killed_anywhere_in_a_push(dut: Any, versions: list[Path]) -> None:
    """Old code or new code runs after each kill, and the next command works."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    # From the first bytes of Hello to the last ones: Begin, Writes, Commit.
    cuts = [0, rng.randrange(1, 300), PUSH_BYTES - 40, *(rng.randrange(PUSH_BYTES) for _ in range(3))]
    for cut in cuts:
        old = direct(dut)
        generation = dut.session.device.hello.generation
        new = number_of(old) % len(versions[:-1])
        dut.session.close()
        with Proxy(target(dut)) as proxy, command(dut, "--port", proxy.url, "push", str(versions[new])) as process:
            proxy.cut(cut, partial(os.kill, process.pid, signal.SIGKILL))
            process.communicate(timeout=60)
            assert process.returncode == -signal.SIGKILL, f"cut at {cut}"
        now = direct(dut)
        assert now in (old, (new + 1) * 100 + 1), f"cut at {cut}"
        assert dut.session.device.refresh().generation == generation + (now != old)
        # A transaction that nobody ends is given up by the board after a while; here at once, but for the last.
        if cut != cuts[-1]:
            dut.session.device.channel.submit(Op.ABORT, b"").reply()
    new = number_of(direct(dut)) % len(versions[:-1])
    done = dut.run("push", str(versions[new]))
    assert done.returncode == 0, done.stderr
    assert direct(dut) == (new + 1) * 100 + 1
    status = dut.session.device.status()
    assert status.drift == 0
    slots = dut.session.device.slots()
    assert not [slot for slot in slots if slot.flags & SlotFlag.OPEN]
    assert sum(slot.kind == SlotKind.CODE for slot in slots) <= 2, "a transaction that was cut left slots"


@pytest.mark.parametrize(
    ("noise", "small"),
    [
        ({"bit_error": 1e-4}, False),
        ({"drop": 0.01, "duplicate": 0.02, "stall": 0.02}, False),
        ({"bit_error": 1e-3}, True),
    ],
    ids=["bits", "chunks", "many-bits"],
)
def test_noisy_line(dut: Any, versions: list[Path], noise: dict[str, float], small: bool) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    with Proxy(target(dut), seed=seed, **noise) as proxy:
        while proxy.damaged == 0:  # a push of 5 KB may be lucky
            old = direct(dut)
            new = len(versions) - 1 if small else number_of(old) % len(versions[:-1])
            dut.session.close()
            push = ("--port", proxy.url, "--connect-timeout", "10", "push", str(versions[new]))
            with command(dut, *push) as process:
                out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    now = direct(dut)
    if process.returncode == 0:
        assert now == (new + 1) * 100 + 1, out + err
    else:
        assert small, err  # of ten bytes one is damaged then: even Hello may not get through in time
        assert err.startswith("error: ")
        assert now in (old, (new + 1) * 100 + 1), out + err
    dut.session.close()
    assert dut.run("status").returncode == 0


def test_port_closed_and_opened_again(dut: Any) -> None:
    for _ in range(3):
        assert dut.run("status").returncode == 0
        before = direct(dut)
        dut.session.close()
        assert direct(dut) == before


def test_two_hosts_push_at_the_same_time(dut: Any, built: Project, versions: list[Path], tmp_path: Path) -> None:
    """Each links against what it finds; the one that comes second links anew, and both are live."""
    pair = Project(tmp_path / "pair", built.board)
    pair.edit("pair.c", ("return 1;", "return 50;"), ("return -1;", "return -50;"))
    new = number_of(direct(dut)) % len(versions[:-1])
    objects = [versions[new], pair.compile("pair.c")]
    with contextlib.ExitStack() as stack:
        pushes = [stack.enter_context(command(dut, "push", str(path))) for path in objects]
        for push in pushes:
            _, err = push.communicate(timeout=60)
            assert push.returncode == 0, err
    assert direct(dut) == (new + 1) * 100 + 1
    live = {edit.function for edit in dut.status().edits}
    assert {"value", "pair_left", "pair_right"} <= live


def test_board_that_changes_while_a_push_is_linked(
    dut: Any, built: Project, versions: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is linked anew, against what the other host made of the board."""
    dut.reset()
    pair = Project(tmp_path / "pair", built.board)
    pair.edit("pair.c", ("return 1;", "return 50;"), ("return -1;", "return -50;"))
    other = pair.compile("pair.c")
    plans: list[link.Plan] = []

    def plan(*arguments: Any) -> link.Plan:
        plans.append(make_plan(*arguments))
        if len(plans) == 1:
            done = dut.run("push", str(other))
            assert done.returncode == 0, done.stderr
        return plans[-1]

    make_plan = link.plan
    monkeypatch.setattr(link, "plan", plan)
    assert dut.push(versions[0]).generation == 2
    assert len(plans) == 2
    assert {edit.function for edit in dut.status().edits} == {"value", "pair_left", "pair_right"}


def test_slots_of_an_open_transaction_are_not_linked_to(dut: Any, versions: list[Path]) -> None:
    """A new variable is asked for again: that of a transaction which was cut goes with it."""
    dut.reset()
    device = dut.session.device
    objects = [ObjectFile.load(versions[0])]
    first = link.plan(objects, dut.session.firmware, device.live())
    assert SlotKind.VAR in {request.kind & 0x7F for request in first.requests}
    tag = int.from_bytes(device.hello.build_id[:4], "little")
    begin = BeginRequest(0, tag, 0, first.pair_count, tuple(first.requests))
    ask(device.channel, begin, BeginReply)
    try:
        again = link.plan(objects, dut.session.firmware, device.live())
        assert again.requests == first.requests
    finally:
        device.channel.submit(Op.ABORT, b"").reply()
    assert device.slots() == ()
