"""What the tests of the application side share: running builds and looking into ELF files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

ROOT = Path(__file__).parents[2]
BLINK = ROOT / "examples" / "blink"


def run(*command: str | Path, cwd: Path, ok: bool = True) -> str:
    """Runs a command with the tree's ``hotflash`` on PATH and returns what it printed on both outputs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, "PATH": path, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode == 0) == ok, f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}"
    return done.stdout


def run_json(*command: str | Path, cwd: Path) -> Any:
    """Runs a command that prints one JSON object in a line, beside what it says to people."""
    (line,) = (line for line in run(*command, cwd=cwd).splitlines() if line.startswith("{"))
    return json.loads(line)


def sections(elf: Path) -> dict[str, tuple[int, bytes]]:
    """Returns address and bytes of every allocated section; of NOBITS sections as many zeros."""
    with elf.open("rb") as file:
        return {
            section.name: (
                section["sh_addr"],
                bytes(section["sh_size"]) if section["sh_type"] == "SHT_NOBITS" else section.data(),
            )
            for section in ELFFile(file).iter_sections()
            if section["sh_flags"] & 2  # SHF_ALLOC
        }


def symbols(elf: Path) -> dict[str, int]:
    """Returns the values of all named symbols."""
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        return {symbol.name: symbol["st_value"] for symbol in table.iter_symbols() if symbol.name}


def apply_page(project: Path, page: Path) -> None:
    """Applies the patches that a documentation page shows to a project in a folder outside of any repository."""
    patches = re.findall(r"^```diff\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    assert len(patches) == 4
    (project / "page.diff").write_text("".join(patches))
    output = run("git", "apply", "--verbose", "page.diff", cwd=project)
    assert output.count("Applied patch") == 4, output


def configure(project: Path, name: str, *settings: str) -> None:
    """Configures and builds a CMake project with its own toolchain file in the folder ``name``."""
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={project / 'arm.cmake'}"
    run("cmake", "-S", project, "-B", project / name, toolchain, *settings, cwd=project)
    run("cmake", "--build", project / name, cwd=project)
