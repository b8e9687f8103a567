"""Compiles and links small hot applications for the tests of images and types."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hotflash import sdk
from hotflash.board import Board
from hotflash.elf.firmware import Firmware

BOARD = Board.find("mps2-an386")

STARTUP = """
extern unsigned __stack[];
int main(void);
void Reset_Handler(void);
void Reset_Handler(void) { main(); for (;;) {} }
void HardFault_Handler(void);
void HardFault_Handler(void) { for (;;) {} }
__attribute__((section(".vectors"), used)) const void *const vectors[] = {
    __stack, Reset_Handler, 0, HardFault_Handler, 0, 0, 0 };
"""

SCRIPT = """
INCLUDE memory.ld
ENTRY(Reset_Handler)
SECTIONS
{
    .vectors : { KEEP(*(.vectors)) INCLUDE hotflash.ld } > FLASH
    .text : { *(.text*) *(.rodata*) . = ALIGN(4); } > FLASH
    .data : { *(.data*) } > RAM AT> FLASH
    .bss (NOLOAD) : { *(.bss*) *(COMMON) } > RAM
    __stack = ORIGIN(RAM) + LENGTH(RAM);
}
"""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Runs a tool; its output is the assertion's message when it fails."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compile_c(folder: Path, name: str, source: str, *flags: str, hot: bool = True) -> Path:
    """Compiles ``source`` as ``name`` in ``folder``; the object lies beside it."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(source, encoding="utf-8")
    used = sdk.cflags(BOARD) if hot else [*BOARD.cflags, "-g"]
    target = name.replace("/", "_") + ".o"
    run("arm-none-eabi-gcc", *used, "-O1", *flags, "-c", name, "-o", target, cwd=folder)
    return folder / target


def link(
    folder: Path,
    objects: list[Path],
    *flags: str,
    script: str = SCRIPT,
    ldflags: list[str] | None = None,
    name: str = "app.elf",
) -> Path:
    """Links objects into ``name`` in ``folder``."""
    (folder / "app.ld").write_text(script, encoding="utf-8")
    used = sdk.ldflags(BOARD) if ldflags is None else ldflags
    command: list[str | Path] = ["arm-none-eabi-gcc", *BOARD.cflags, "-nostdlib", *used, *flags, "-T", "app.ld"]
    run(*command, *objects, "-lgcc", "-o", name, cwd=folder)
    return folder / name


def application(folder: Path, source: str, *flags: str, **options: bool) -> Firmware:
    """Builds one source and the startup code into a firmware."""
    objects = [compile_c(folder, "app.c", source, *flags, **options), compile_c(folder, "startup.c", STARTUP)]
    return Firmware.load(link(folder, objects))
