"""Code and RAM of the bootloader by module, read from the linker's map of the image that boards get."""

from __future__ import annotations

import re
import tempfile

from bench.table import Row, at_most
from bench.tools import ROOT, run

BOARD = "mps2-an386"


def table(text: str) -> dict[str, tuple[int, int]]:
    """Code and RAM in bytes by module, from what ``make sizes`` prints."""
    found = re.findall(r"^(\S.*?) +(\d+) +(\d+)$", text, re.MULTILINE)
    return {name: (int(code), int(ram)) for name, code, ram in found}


def sizes(*, quick: bool = False) -> list[Row]:
    """A row per module, and the sums that have a target."""
    del quick  # it takes a few seconds at most
    with tempfile.TemporaryDirectory() as out:
        made = table(
            run(["make", "-s", "-C", ROOT / "bootloader", f"BOARD={ROOT / 'boards' / BOARD}", f"OUT={out}", "sizes"])
        )
    modules = {name: size for name, size in made.items() if re.fullmatch(r"(core|arch|board)/\S+", name)}
    core, core_ram = made["core"]
    whole, _ = made["without the board"]
    if core != sum(code for name, (code, _) in modules.items() if name.startswith("core/")):
        raise ValueError("the sum of the core's modules is not the core")
    topic = "size"
    return [
        at_most(topic, "monitor core, code", core, 8192, "B", f"-Os, {BOARD}, constants included"),
        at_most(topic, "monitor core, RAM", core_ram, 1024, "B", "besides the board's buffers and the stack"),
        at_most(topic, "bootloader without the board, code", whole, 12288, "B", "core, arch and vector table"),
        *(
            Row(topic, name.removesuffix(".o"), code, "B", how=f"and {ram} B of RAM")
            for name, (code, ram) in modules.items()
        ),
        Row(topic, "vector table", made["vector table"][0], "B"),
    ]
