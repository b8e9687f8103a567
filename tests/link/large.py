"""Writes and builds firmware of any size: many units with functions, statics and DWARF, as vendors' libraries have it.

The text follows from the numbers alone, so that two builds of the same numbers are the same firmware. Every unit
includes one header of record types that it does not use, and is compiled to describe them all the same: that is
what makes real firmware's debug information large.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from tests.link.toolchain import CPU, SECTIONS, Workshop

PER_UNIT = 50
"""Functions of a unit."""
NOPS = 6
FLAGS = [
    *CPU, "-g", "-Os", "-ffreestanding", "-fno-eliminate-unused-debug-types", *SECTIONS,
    f"-fpatchable-function-entry={NOPS}", "-flive-patching=inline-clone",
]  # fmt: skip


def header(types: int) -> str:
    """A vendor's header: ``types`` registers-like records that refer to each other, and enumerations."""
    draw = random.Random(7)
    lines = ["typedef unsigned int u32; typedef unsigned short u16; typedef unsigned char u8;"]
    for i in range(types):
        fields = "".join(
            f" {draw.choice(('u32', 'u16', 'u8', 'int'))} register_{i}_{k}{draw.choice(('', '', '[4]'))};"
            for k in range(8)
        )
        link = f" struct block_{draw.randrange(i)} *link;" if i else ""
        lines.append(f"typedef struct block_{i} {{{fields}{link} enum mode_{i} {{ OFF_{i}, ON_{i} }} mode; }} B{i};")
    return "\n".join(lines)


def unit(number: int, functions: int, factor: int = 1) -> str:
    """Unit ``number`` with ``functions`` functions; another ``factor`` makes another version of the first of them."""
    first = number * PER_UNIT
    lines = ['#include "vendor.h"', f"static u32 state_{number}[4]; int shared_{number}; extern int shared_0;"]
    lines += [f"int function_{first + i}(int, const char *);" for i in range(functions)]
    for i in range(functions):
        name, follower = first + i, first + (i + 1) % functions
        scale = factor if i == 0 else 1
        lines.append(
            f"int function_{name}(int x, const char *text) {{\n"
            f"  static int calls; int local = (x + {scale}) * {name + 3};\n"
            f"  if (x > {i}) {{ static u16 deep_{name}; deep_{name} += local; calls += deep_{name}; }}\n"
            f"  state_{number}[x & 3] += calls++; shared_{number} ^= local; shared_0 += *text;\n"
            f'  return x < 0 ? local : function_{follower}(x - 1, "text of {name}"); }}'
        )
    return "\n".join(lines)


def build(shop: Workshop, functions: int, types: int = 20) -> Firmware:
    """Links a firmware with that many functions; each unit describes ``types`` record types more than it needs."""
    (shop.folder / "vendor.h").write_text(header(types))
    counts = [min(PER_UNIT, functions - first) for first in range(0, functions, PER_UNIT)]
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(lambda number: compile_unit(shop, number, counts[number]), range(len(counts))))
    start = shop.compile("int function_0(int, const char *); int start(void) { return function_0(1, 0); }", "start.c")
    capacity = functions + functions // 8 + 16
    return shop.firmware(
        start, *objects, flags=[f"-Wl,--defsym=__hf_nops={NOPS},--defsym=__hf_hook_capacity={capacity}"]
    )


def compile_unit(shop: Workshop, number: int, functions: int, factor: int = 1) -> ObjectFile:
    """The object of one unit."""
    flags = [*FLAGS, f"-I{shop.folder}"]
    return shop.compile(unit(number, functions, factor), f"unit_{number}.c", flags)


def size(firmware: Firmware) -> int:
    """Bytes of its ELF."""
    return Path(firmware.path).stat().st_size
