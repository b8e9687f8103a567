"""The converted CMake project runs: it boots, prints to the log, and takes an edit while it runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.sdk_builds import ROOT, apply_page, configure, run, run_json

ORIGINAL = Path(__file__).parent / "cmake_project"
LINE = re.compile(r"^(\d+): temperature (\d+)\.(\d), power (\d+) %$")
CONTROL = "build/CMakeFiles/control.dir/src/control.c.obj"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """The converted project on an emulated board of its own."""
    folder = tmp_path / "heater"
    shutil.copytree(ORIGINAL, folder)
    apply_page(folder, ROOT / "docs" / "PROJECT.md")
    configure(folder, "build")
    (folder / ".hotflash").mkdir()
    run("hotflash", "sim", "--detach", "--board", "mps2-an386", cwd=folder)
    try:
        yield folder
    finally:
        run("hotflash", "sim", "--stop", cwd=folder)


def lines(output: str) -> list[tuple[int, ...]]:
    found = [LINE.match(line) for line in output.splitlines()]
    return [tuple(map(int, match.groups())) for match in found if match]


def test_project_runs_alone_before_it_is_converted(tmp_path: Path) -> None:
    folder = tmp_path / "heater"
    shutil.copytree(ORIGINAL, folder)
    configure(folder, "build")
    qemu = ["qemu-system-arm", "-machine", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "stdio"]
    command = [*qemu, "-kernel", "build/heater.elf"]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            output = [process.stdout.readline() for _ in range(3)]
        finally:
            process.kill()
    assert [line[0] for line in lines("".join(output))] == [1, 2, 3]


def test_an_edit_goes_live(project: Path) -> None:
    run("hotflash", "flash", "build/heater.elf", cwd=project)
    output = run("hotflash", "monitor", "--lines", "4", "--timeout", "60", cwd=project)
    before = lines(output)
    assert len(before) >= 3, output
    numbers = [line[0] for line in before]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    source = project / "src" / "control.c"
    text = source.read_text()
    assert text.count("power > 100 ? 100 : power") == 1
    source.write_text(text.replace("power > 100 ? 100 : power", "power * 0 + 7"))
    run("cmake", "--build", "build", "--target", "control", cwd=project)
    report = run_json("hotflash", "push", "--json", CONTROL, cwd=project)
    assert report["state"] == "live"
    assert [change["function"] for change in report["changes"]] == ["control_power"]

    output = run("hotflash", "monitor", "--until", "power 7 %", "--timeout", "60", cwd=project)
    after = lines(output)
    assert after[-1][3] == 7, output
    assert after[-1][0] > before[-1][0]  # the count of lines, a static, goes on
    assert after[-1][1] > 20  # so does the temperature


def test_linked_firmware_says_which_build_it_is(project: Path) -> None:
    run("hotflash", "flash", "build/heater.elf", cwd=project)
    status = run_json("hotflash", "status", "--json", cwd=project)
    note = run("arm-none-eabi-nm", "build/heater.elf", cwd=project)
    assert "__hf_build_id" in note
    assert status["application"] == "running"
    assert status["build_id"] in (project / "build" / "heater.elf").read_bytes().hex()
