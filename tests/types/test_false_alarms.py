"""What is compiled from unchanged sources is never refused for types, whatever the compiler makes of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hotflash.board import Board
from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from hotflash.session.checked import checked_plan
from hotflash.toolchain import Archives
from tests.link.device import Device
from tests.link.toolchain import ROOT, Workshop
from tests.system.project import Project as SystemProject
from tests.types.project import Build, Project
from tests.types.table import FILES

EXAMPLE = ROOT / "examples" / "blink"
LEVELS = ["-O0", "-Og", "-O2", "-O3"]


def make(folder: Path, level: str) -> Path:
    """Builds the example at a level; the folder that its objects are in."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("build", ".hotflash"))
    rules = folder / "Makefile"
    text = rules.read_text()
    assert " -Os " in text
    rules.write_text(text.replace(" -Os ", f" {level} ").replace("-Werror ", ""))
    done = subprocess.run(["make", "-C", folder, f"HOTFLASH_SDK={ROOT}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("build/*"))


def agree(firmware: Firmware, objects: list[ObjectFile]) -> int:
    """Nothing of the objects is refused, alone or together; how many functions would go."""
    sent = 0
    archives = Archives("arm-none-eabi-", "auto", ())
    for group in [*([obj] for obj in objects), objects]:
        plan, verdict = checked_plan(group, firmware, Device(firmware).live, archives, list)
        assert verdict.refusal is None, verdict.refusal.message
        assert not verdict.safe, verdict.summary
        assert plan is not None
        sent += len(plan.changes)
    return sent


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    elf = next(make(tmp_path_factory.mktemp("example") / "blink", "-Os").glob("*.elf"))
    return Firmware.load(elf, index=elf.with_suffix(".idx"))


@pytest.mark.parametrize("level", LEVELS)
def test_the_example_at_another_level(example: Firmware, tmp_path: Path, level: str) -> None:
    objects = [
        ObjectFile.load(path) for path in sorted(make(tmp_path / "blink", level).glob("*.o")) if path.name != "hf_app.o"
    ]  # hotflash's own, which has no patch points
    assert len(objects) > 4
    assert agree(example, objects) > 10


@pytest.mark.parametrize("level", LEVELS)
def test_the_tests_application_at_another_level(tmp_path: Path, level: str) -> None:
    project = SystemProject(tmp_path / "app", Board.find("mps2-an386"))
    elf = project.link()
    names = sorted(path.name for path in project.folder.glob("*.c"))
    from hotflash import sdk

    flags = [*sdk.cflags(project.board), level]
    objects = []
    for name in names:
        target = project.folder / f"{name}.other.o"
        command = ["arm-none-eabi-gcc", *flags, "-c", name, "-o", str(target)]
        subprocess.run(command, cwd=project.folder, check=True)
        objects.append(ObjectFile.load(target))
    agree(Firmware.load(elf, index=tmp_path / "app.idx"), objects)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_declarations_in_another_order(shop: Workshop, compiler: str) -> None:
    head, *rest = FILES["types.h"].split("typedef int (*callback_t)(int);")
    lines = [line for line in head.splitlines() if line.startswith("struct")]
    assert len(lines) > 6
    depends = [line for line in lines if "struct inner in" in line]
    moved = [line for line in reversed(lines) if line not in depends]
    others = [line for line in head.splitlines() if line not in lines]
    header = "\n".join([*moved, *depends, *others, "typedef int (*callback_t)(int);", *rest])
    project = Project(shop, FILES)
    project.firmware  # noqa: B018 - of the sources as they are
    project.files = FILES | {"types.h": header}
    for level in ("-Os", "-O0"):
        verdict = project.judge(project.objects([], ["core.c", "user.c"], Build(compiler, level)))
        assert verdict.refusal is None, verdict.refusal.message
        assert not verdict.safe, verdict.summary
