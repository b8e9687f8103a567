"""The corpus, compiled by GCC and clang for every core, level and code model that Cortex-M firmware is built with."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hotflash.elf.object import ObjectFile

CORPUS = Path(__file__).parent / "corpus"

CORES = {
    "v6-m": ("-mcpu=cortex-m0",),
    "v7-m": ("-mcpu=cortex-m3",),
    "v7e-m soft": ("-mcpu=cortex-m4", "-mfloat-abi=soft"),
    "v7e-m softfp": ("-mcpu=cortex-m4", "-mfloat-abi=softfp", "-mfpu=fpv4-sp-d16"),
    "v7e-m hard": ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "v7e-m double": ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
    "v8-m.base": ("-mcpu=cortex-m23",),
    "v8-m.main soft": ("-mcpu=cortex-m33", "-mfloat-abi=soft"),
    "v8-m.main hard": ("-mcpu=cortex-m33", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
}
LEVELS = ("-O0", "-Og", "-O1", "-O2", "-O3", "-Os", "-Oz")
MODELS = {
    "plain": (),
    "sections": ("-ffunction-sections", "-fdata-sections"),
    "long calls": ("-mlong-calls",),
    "slow flash": ("-mslow-flash-data", "-ffunction-sections"),
    "pure code": ("-mpure-code",),
    "unwind": ("-funwind-tables", "-fno-omit-frame-pointer"),
}
_CLANG = {"-mslow-flash-data": "-mno-movt", "-mpure-code": "-mexecute-only"}
"""clang's option where it has another or none: its nearest code model."""

EMITTED = {
    "R_ARM_NONE", "R_ARM_ABS32", "R_ARM_PREL31", "R_ARM_TARGET1", "R_ARM_TARGET2", "R_ARM_THM_CALL",
    "R_ARM_THM_JUMP24", "R_ARM_THM_MOVW_ABS_NC", "R_ARM_THM_MOVT_ABS", "R_ARM_THM_ALU_ABS_G0_NC",
    "R_ARM_THM_ALU_ABS_G1_NC", "R_ARM_THM_ALU_ABS_G2_NC", "R_ARM_THM_ALU_ABS_G3", "R_ARM_TLS_IE32", "R_ARM_TLS_LE32",
}  # fmt: skip
"""The relocations in memory sections of all of these; the long run shows that these are all, and that all occur."""


@dataclass(frozen=True)
class Build:
    """One way to compile one file of the corpus."""

    compiler: str
    core: str
    level: str
    model: str
    source: str

    def __str__(self) -> str:
        return f"{self.source}, {self.compiler} {self.level}, {self.core}, {self.model}"

    def command(self) -> list[str]:
        options = [*CORES[self.core], self.level, *MODELS[self.model]]
        if self.compiler == "clang":
            first = ["clang-19", "--target=arm-none-eabi"]
            options = [_CLANG.get(option, option) for option in options]
        else:
            first = ["arm-none-eabi-gcc"]
        return [*first, "-mthumb", "-ffreestanding", "-w", "-g", *options, "-c", str(CORPUS / self.source)]

    def compile(self, folder: Path) -> ObjectFile:
        """The object. AssertionError when it does not compile."""
        target = folder / "corpus.o"
        done = subprocess.run([*self.command(), "-o", str(target)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{self}: {done.stderr}"
        return ObjectFile.parse(target.read_bytes(), str(self))


def builds() -> Iterator[Build]:
    """All that the compilers can do."""
    for compiler in ("gcc", "clang"):
        for core in CORES:
            for model in MODELS:
                if compiler == "gcc" and core == "v6-m" and model == "slow flash":
                    continue  # "only supports ... targets with the MOVT instruction"
                for level in LEVELS:
                    for source in ("plain.c", "threads.c", "plain.cpp"):
                        if compiler == "gcc" and model in ("slow flash", "pure code") and source == "threads.c":
                            continue  # "sorry, unimplemented: accessing thread-local storage"
                        yield Build(compiler, core, level, model, source)
