"""A small project of two units and a header, compiled as it is and with changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from hotflash.session.checked import checked_plan
from hotflash.types.verdict import Verdict
from tests.link.device import Device
from tests.link.toolchain import CPU, SECTIONS, Workshop, run

HOT = [*CPU, "-ffreestanding", *SECTIONS, "-fpatchable-function-entry=4", "-flive-patching=inline-clone"]
CLANG = ["--target=arm-none-eabi", *CPU, "-ffreestanding", *SECTIONS, "-fshort-enums"]


@dataclass(frozen=True)
class Build:
    """How the objects that are pushed are compiled."""

    compiler: str = "gcc"
    level: str = "-Og"
    dwarf: str = "-gdwarf-5"
    more: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "".join((self.compiler, self.level, self.dwarf[2:], *self.more))

    def command(self, *, cpp: bool = False) -> list[str]:
        """The compiler and its flags."""
        if self.compiler == "clang":
            program = "clang++-19" if cpp else "clang-19"
            return [program, *CLANG, self.level, self.dwarf, *self.more]
        program = "arm-none-eabi-g++" if cpp else "arm-none-eabi-gcc"
        return [program, *HOT, self.level, self.dwarf, *self.more]


BASE = Build(dwarf="-gdwarf-5")
Edit = tuple[str, str, str]
"""File, what stands there, and what takes its place."""


class Project:
    """Sources by file name, and the firmware that they make."""

    def __init__(self, shop: Workshop, files: dict[str, str], base: Build = BASE) -> None:
        self.shop = shop
        self.files = files
        self.base = base
        self._known: dict[tuple[Build, str], ObjectFile] = {}

    @property
    def units(self) -> list[str]:
        """Source files that are compiled."""
        return [name for name in self.files if not name.endswith(".h")]

    def folder(self, edits: list[Edit]) -> Path:
        """The sources with changes."""
        files = dict(self.files)
        for name, old, new in edits:
            assert old in files[name], f"{name} has no {old!r}"
            files[name] = files[name].replace(old, new)
        folder = self.shop.path("")
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        return folder

    def compile(self, folder: Path, unit: str, build: Build) -> ObjectFile:
        """One object."""
        target = folder / f"{Path(unit).stem}.o"
        name = f"-ffile-prefix-map={folder}/="
        run(*build.command(cpp=unit.endswith(".cpp")), name, "-I", folder, "-c", folder / unit, "-o", target)
        return ObjectFile.load(target)

    @cached_property
    def firmware(self) -> Firmware:
        """What the sources make as they are."""
        folder = self.folder([])
        loaded = self.shop.firmware(*(self.compile(folder, unit, self.base) for unit in self.units))
        index = self.shop.path(".idx")
        return Firmware.load(loaded.path, index=index)

    def objects(self, edits: list[Edit], units: list[str], build: Build) -> list[ObjectFile]:
        """Objects of the changed sources."""
        folder = self.folder(edits)
        return [self.compile(folder, unit, build) for unit in units]

    def judge(self, objects: list[ObjectFile], live: list[list[ObjectFile]] | None = None) -> Verdict:
        """What is said about pushing objects after others."""
        device = Device(self.firmware)
        for group in live or []:
            device.push(*group)
        edits = {obj.unit: obj for group in live or [] for obj in group}
        return checked_plan(objects, self.firmware, device.live, None, lambda: list(edits.values()))[1]
