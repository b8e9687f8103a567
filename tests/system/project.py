"""A firmware project of the tests: a copy of ``app/`` that can be edited and compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from hotflash import sdk
from hotflash.board import Board

APP = Path(__file__).parent / "app"
COMMON = Path(__file__).parent / "common"
"""Linker script and start-up code of all applications; one that needs others has files of the same name."""
OPTIMISE = "-O2"
CXX = ["-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


class Project:
    """Sources in a folder of their own, built with the flags that ``hotflash sdk`` gives."""

    def __init__(self, folder: Path, board: Board, source: Path = APP) -> None:
        self.folder = folder
        self.board = board
        self.source = source
        shutil.copytree(COMMON, folder, dirs_exist_ok=True)
        shutil.copytree(source, folder, dirs_exist_ok=True)
        (folder / "build").mkdir(exist_ok=True)
        (folder / ".hotflash").mkdir(exist_ok=True)

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"

    def compile(self, source: str, *, name: str | None = None, flags: list[str] | None = None) -> Path:
        """Compiles one source; the object is named as the source unless ``name`` says otherwise."""
        target = self.folder / "build" / f"{name or Path(source).stem}.o"
        used = sdk.cflags(self.board) if flags is None else flags
        compiler = ["arm-none-eabi-g++", *CXX] if source.endswith(".cpp") else ["arm-none-eabi-gcc"]
        self._run(*compiler, *used, OPTIMISE, *WARNINGS, "-c", source, "-o", str(target))
        return target

    def link(self, *, hot: bool = True) -> Path:
        """Compiles everything and links the firmware, the release without ``hot``."""
        flags = sdk.cflags(self.board, hot=hot)
        objects = [
            str(self.compile(source.name, flags=flags))
            for source in sorted((*self.folder.glob("*.[cS]"), *self.folder.glob("*.cpp")))
        ]
        glue = [str(self._compile_glue(path)) for path in sdk.app_sources()] if hot else []
        elf = self.folder / "build" / "app.elf"
        self._run(
            "arm-none-eabi-gcc",
            *flags,
            *objects,
            *glue,
            "-T",
            "app.ld",
            *sdk.ldflags(self.board, hot=hot),
            "--specs=nano.specs",
            "-nostartfiles",
            "-Wl,--gc-sections",
            "-o",
            str(elf),
        )
        return elf

    def _compile_glue(self, path: Path) -> Path:
        target = self.folder / "build" / f"{path.stem}.glue.o"
        self._run("arm-none-eabi-gcc", *sdk.cflags(self.board), "-Os", "-c", os.fspath(path), "-o", str(target))
        return target

    def edit(self, source: str, *changes: tuple[str, str]) -> None:
        """Replaces text that must be there, once."""
        path = self.folder / source
        text = path.read_text(encoding="utf-8")
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {source}"
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")

    def restore(self, source: str) -> None:
        """Takes back all edits of a source."""
        shutil.copy(self.source / source, self.folder / source)
