"""Restarting an application whose thread runs on the process stack, as under an RTOS: with its consent alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hotflash.board import Board

from .observe import until
from .project import Project
from .trouble import APP, Place, Trouble, cause, goes_on, park_in, wait_parked

ON_PROCESS_STACK = """\
volatile uint32_t consent, ended, cleaned_then, psp_at_start = 1, control_at_start = 1;
static uint64_t process_stack[128];

/* As an RTOS would end its scheduler. */
static void on_restart(uint32_t unused)
{
    (void)unused;
    ended++;
    cleaned_then = cleaned;
    __asm volatile("msr psp, %0" ::"r"(0));
}

static const struct hf_parking consenting = {
    .on_park = on_park, .on_continue = on_continue, .on_restart = on_restart, .keep = keep, .keep_count = 1};

void call_on(uint64_t *top, void (*function)(void));
__asm(".pushsection .text.call_on, \\"ax\\"\\n"
      ".thumb_func\\n.type call_on, %function\\n.global call_on\\n"
      "call_on: msr psp, r0\\n movs r0, #2\\n msr control, r0\\n isb\\n bx r1\\n"
      ".popsection\\n");

static void loop(void);

int main(void)
{
"""
START = """\
    __asm volatile("mrs %0, psp" : "=r"(psp_at_start));
    __asm volatile("mrs %0, control" : "=r"(control_at_start));
    starts++;
"""
LOOP = """\
    call_on(process_stack + 128, loop);
}

__attribute__((noinline)) static void loop(void)
{
    for (;;) {
        hf_on_parking(consent != 0 ? &consenting : &parking);
        turns++;
"""


@pytest.fixture(scope="module")
def board_dut(board: Board, tmp_path_factory: pytest.TempPathFactory, dut_factory: Any) -> Iterator[Any]:
    project = Project(tmp_path_factory.mktemp("process"), board, APP)
    project.edit(
        "main.c",
        ("int main(void)\n{\n", ON_PROCESS_STACK),
        ("    starts++;\n", START),
        ("    for (;;) {\n        turns++;\n", LOOP),
    )
    with dut_factory(board=board, elf=project.link(), folder=project.folder) as dut:
        yield dut


@pytest.fixture
def dut(board_dut: Any) -> Any:
    board_dut.reset()
    goes_on(board_dut)
    assert (board_dut.read("starts"), board_dut.read("control_at_start")) == (1, 0)
    return board_dut


def started(dut: Any, count: int) -> None:
    """Main has been called that many times."""
    until(lambda: dut.read("starts"), lambda now: now == count, "main")


def test_refused_without_consent(dut: Any) -> None:
    refused = dut.run("restart")
    assert refused.returncode == 5
    assert "the process stack is in use, as by an RTOS, and the application registered no on_restart" in refused.stderr
    goes_on(dut)
    dut.session.park()
    assert dut.session.device.record().exc_return & 4
    assert dut.run("restart").returncode == 5
    assert dut.run("continue").returncode == 0
    goes_on(dut)
    assert (dut.read("starts"), dut.read("cleaned"), dut.read("ended")) == (1, 0, 0)


FROM = [(None, Place.THREAD), *((trouble, place) for trouble in (Trouble.SPIN, Trouble.DIVIDE) for place in Place)]


@pytest.mark.parametrize(
    ("trouble", "place"),
    FROM,
    ids=[f"{trouble.name if trouble else 'loop'}-{place.name}".lower() for trouble, place in FROM],
)
def test_with_consent(dut: Any, trouble: Trouble | None, place: Place) -> None:
    """From the loop, an endless loop and a fault, in the thread and in handlers: main begins on the main stack."""
    dut.write("consent", 1)
    dut.write("kept_value", 77)
    goes_on(dut)
    for count in (2, 3):
        if trouble is not None:
            cause(dut, trouble, place)
            park_in(dut, "spin") if trouble == Trouble.SPIN else wait_parked(dut)
            dut.write("trouble", 0)
        done = dut.run("restart")
        assert done.returncode == 0, done.stderr
        started(dut, count)
        assert dut.read("ended") == count - 1
        assert dut.read("cleaned_then") == dut.read("cleaned") == count - 1, "the cleanups run before on_restart"
        assert (dut.read("control_at_start"), dut.read("psp_at_start")) == (0, 0)
        goes_on(dut)
    assert dut.read("kept_value") == 77
    ticks = dut.read("ticks")
    until(lambda: dut.read("ticks"), lambda now: now > ticks, "interrupts after the restart")
    assert (dut.read("broken"), dut.read("fp_broken")) == (0, 0)
