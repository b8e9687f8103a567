"""Compiles and links small firmware for the linker's tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile

ROOT = Path(__file__).resolve().parents[2]
CPU = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft"]
PLAIN = [*CPU, "-g", "-Os", "-ffreestanding"]
SECTIONS = ["-ffunction-sections", "-fdata-sections"]
HOT = [*PLAIN, *SECTIONS, "-fpatchable-function-entry=4", "-flive-patching=inline-clone"]

SCRIPT = """
INCLUDE memory.ld
ENTRY(start)
SECTIONS
{
    .vectors : { KEEP(*(.vectors)) INCLUDE hotflash.ld } > FLASH
    .text : { *(.text .text.*) *(.rodata .rodata.*) . = ALIGN(4); } > FLASH
    .data : { *(.data .data.*) . = ALIGN(4); } > RAM AT > FLASH
    .bss (NOLOAD) : { *(.bss .bss.* COMMON) } > RAM
    _end = .;
    /DISCARD/ : { *(.ARM.exidx* .ARM.extab*) }
}
"""

STARTUP = """
extern char _end; int start(void);
__attribute__((section(".vectors"), used)) void *const vectors[2] = { &_end, (void *)start };
"""


def run(*command: str | Path) -> str:
    """Runs a tool; its complaint is the assertion's message."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stderr}"
    return done.stdout


class Workshop:
    """A folder to compile in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def path(self, suffix: str) -> Path:
        self._count += 1
        return self.folder / f"{self._count:03d}{suffix}"

    def compile(
        self, source: str, unit: str = "a.c", flags: list[str] | None = None, compiler: str = "arm-none-eabi-gcc"
    ) -> ObjectFile:
        """An object of ``source``, whose STT_FILE name is ``unit``."""
        folder = self.path("")
        folder.mkdir()
        (folder / unit).write_text(source)
        target = folder / f"{unit}.o"
        name = f"-ffile-prefix-map={folder}/="
        run(compiler, name, *(HOT if flags is None else flags), "-c", folder / unit, "-o", target)
        return ObjectFile.load(target)

    def assemble(self, source: str, unit: str = "a.S", flags: list[str] | None = None) -> ObjectFile:
        head = "\t.syntax unified\n\t.thumb\n"
        return self.compile(head + source, unit, CPU if flags is None else flags)

    def firmware(
        self,
        *objects: ObjectFile,
        flags: list[str] | None = None,
        cpu: list[str] = CPU,
        libraries: list[str] | None = None,
    ) -> Firmware:
        """The objects and parts of ``libraries``, linked behind a vector table."""
        startup = self.compile(STARTUP, "startup.c", [*PLAIN, *cpu])
        script = self.path(".ld")
        script.write_text(SCRIPT)
        target = self.path(".elf")
        ld = ROOT / "bootloader" / "ld"
        board = ROOT / "boards" / "mps2-an386"
        run(
            "arm-none-eabi-gcc", *cpu, "-nostartfiles", "-nostdlib", "-T", script, "-T", ld / "hot.ld", "-L", ld,
            "-L", board, "-Wl,--build-id=sha1", *(flags or []), startup.name, *(o.name for o in objects),
            *(libraries or []), "-lgcc", "-o", target,
        )  # fmt: skip
        return Firmware.load(target)
