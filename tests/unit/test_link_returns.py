"""Which functions can return, told from what the compiler makes of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from hotflash.link.returns import never_returns

SOURCE = """
extern volatile int flag; extern void work(int); extern int (*hook)(int);
extern void stop(void) __attribute__((noreturn));
void endless(void) { for (;;) { work(flag); } }
int endless_main(void) { work(1); while (1) { if (flag) work(2); else work(3); } }
void endless_deep(int n) { for (;;) for (int i = 0; i < n; i++) { if (flag == i) work(i); work(-i); } }
void gives_up(void) { work(1); stop(); }
void spin(void) { for (;;) { } }
void plain(void) { work(1); work(2); }
int leaf(int a) { return a + 1; }
void tail(int a) { work(a); work(a + 1); }
int pointer(int a) { return hook(a + 1); }
void breaks(void) { for (;;) { work(1); if (flag) break; } }
int early(int a) { if (a) return 3; for (;;) work(a); }
int conditional(int a) { if (a > 3) return a; return flag; }
int many(int a) { switch (a) { case 0: return flag; case 1: work(1); return 2; case 2: work(9); return 7;
    case 3: work(3); return 11; case 4: work(12); return 1; case 5: work(4); return 5; default: return 0; } }
int wide(double d, int n) { double s = 0; for (int i = 0; i < n; i++) { s += d; work(i); } return (int)s; }
"""
MAIN = """
volatile int flag; int (*hook)(int); void work(int a) { flag = a; }
void stop(void) { for (;;) { } } int main(void) { return 0; }
"""
FUNCTIONS = set(re.findall(r"^(?:int|void) (\w+)\(", SOURCE, re.MULTILINE))
ENDLESS = {"endless", "endless_main", "endless_deep", "spin"}
"""Not `gives_up`: that a function it calls never returns is not in its own code."""


@pytest.mark.parametrize("flags", [("-O0",), ("-Os",), ("-O2",), ("-O3",), ("-Os", "-mcpu=cortex-m0")], ids="".join)
def test_never_returns(tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "a.c").write_text(SOURCE)
    (tmp_path / "main.c").write_text(MAIN)
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-ffunction-sections", *flags]
    command += ["-fpatchable-function-entry=4", "-nostartfiles", "-Wl,-e,main", "a.c", "main.c", "-o", "a.elf"]
    subprocess.run(command, cwd=tmp_path, check=True)
    with (tmp_path / "a.elf").open("rb") as file:
        linked: Any = ELFFile(file)
        text = linked.get_section_by_name(".text")
        code, base = text.data(), text["sh_addr"]
        seen = {}
        for symbol in linked.get_section_by_name(".symtab").iter_symbols():
            if symbol.name in FUNCTIONS:
                start = (symbol["st_value"] & ~1) - base
                seen[symbol.name] = never_returns(code[start : start + symbol["st_size"]])
    assert {name for name, endless in seen.items() if endless} == ENDLESS
    assert len(seen) == len(FUNCTIONS)


@pytest.mark.parametrize("code", ["", "00", "0047", "00bd", "df f8 00 f0", "fff7fe"])
def test_what_cannot_be_told_may_return(code: str) -> None:
    """Cut short, or out of the function: nothing is promised."""
    assert not never_returns(bytes.fromhex(code))
