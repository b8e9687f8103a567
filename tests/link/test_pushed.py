"""Pushed code refers to the right things: every reference of every pushed function, read back with pyelftools' help.

The firmware and the objects are the corpus, compiled at different levels and by different compilers, so that most
functions are pushed. What a reference should lead to is derived from symbol tables alone, not from the linker's own.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from hotflash.elf.firmware import Firmware
from hotflash.link import reloc, thumb
from tests.link.device import Device
from tests.link.matrix import CORES, CORPUS
from tests.link.toolchain import HOT, PLAIN, SECTIONS, Workshop

SEED = os.environ.get("HOTFLASH_TEST_SEED") or str(random.randrange(1 << 32))
REST = """
int ext = 1; int f1(int a) { return a; } int f2(const char *a, ...) { return *a; } const int cext = 7; double wide = 1;
float narrow = 2; struct big { int x[40]; } outside; void cold(int a) { ext = a; }
int start(void) { return f1(1) + f2("a"); }
void *memcpy(void *to, const void *from, unsigned n) { return n ? to : (void *)from; }
void __aeabi_memclr4(void *to, unsigned n) { memcpy(to, to, n); }
void __aeabi_memclr(void *to, unsigned n) { memcpy(to, to, n); }
void __aeabi_memcpy4(void *to, const void *from, unsigned n) { memcpy(to, from, n); }
void __aeabi_memcpy(void *to, const void *from, unsigned n) { memcpy(to, from, n); }
void __aeabi_memset(void *to, unsigned n, int value) { memcpy(to, to, n + value); }
void *memset(void *to, int value, unsigned n) { return n ? to : (void *)value; }
"""
FLAGS = {
    "gcc": [*HOT, "-fno-section-anchors"],
    "clang": ["--target=arm-none-eabi", *PLAIN, "-fshort-enums", "-mno-global-merge", *SECTIONS],
}
TARGETS = {
    "v6-m": "v6-m",
    "v7-m": "v7-m",
    "v7e-m": "v7e-m soft",
    "v8-m.base": "v8-m.base",
    "v8-m.main": "v8-m.main soft",
}


def defined(elf: Any) -> dict[tuple[str, str], int]:
    """Values of functions and variables by name and type."""
    table = elf.get_section_by_name(".symtab")
    return {
        (s.name, s["st_info"]["type"]): s["st_value"]
        for s in table.iter_symbols()
        if s.name and s["st_shndx"] != "SHN_UNDEF" and s["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT")
    }


def plain(name: str) -> str:
    """A variable's name in the source: GCC says ``count.0``, clang ``function.count``."""
    return next(part for part in reversed(name.split(".")) if not part.isdigit())


class Reader:
    """What one push made of an object."""

    def __init__(self, path: str, firmware: Firmware, device: Device, symbols: dict[str, int]) -> None:
        self.file = Path(path).open("rb")  # noqa: SIM115 - closed by the test
        self.elf: Any = ELFFile(self.file)
        with firmware.path.open("rb") as file:
            self.base = defined(ELFFile(file))
        self.device = device
        self.placed = symbols
        self.count = 0

    def read(self, address: int, length: int) -> bytes:
        """Bytes of pushed slots, else of the firmware; fewer at the end of either."""
        own = self.device.memory
        if address not in own:
            return self.device.read(address, length)
        return bytes(own[address + i] for i in range(length) if address + i in own)

    def check(self, name: str) -> None:
        """Every reference of a pushed function."""
        section = self.elf.get_section_by_name(f".text.{name}")
        relocations = self.elf.get_section_by_name(f".rel.text.{name}")
        if relocations is None:
            return
        start = self.placed[name]
        table = self.elf.get_section_by_name(".symtab")
        memory = self.read(start, section["sh_size"])
        pairs: dict[str, int] = {}
        for entry in relocations.iter_relocations():
            kind = reloc.KINDS.get(entry["r_info_type"])
            if kind is None:
                assert entry["r_info_type"] in reloc.IGNORED
                continue
            at = entry["r_offset"]
            symbol = table.get_symbol(entry["r_info_sym"])
            where = f"{name}+{at:#x}: {kind.name} against {symbol.name or symbol['st_shndx']}"
            addend = kind.get(section.data(), at)
            value = kind.get(memory, at)
            self.count += 1
            if kind.branch:
                if symbol["st_shndx"] == "SHN_UNDEF" and symbol["st_info"]["bind"] == "STB_WEAK":
                    assert memory[at : at + 4] in thumb.NO_BRANCHES, where
                    continue
                leads = start + at + 4 + value
                leads = thumb.veneer_target(self.read(leads, 16) if start <= leads else b"", leads) or leads
                self.same(symbol, leads & ~1, addend + 4, where)
            elif kind.part in ("low", "high"):
                key = f"{entry['r_info_sym']} {addend}"
                if kind.part == "low":
                    pairs[key] = value & 0xFFFF
                elif key in pairs:
                    self.same(symbol, (value & 0xFFFF) << 16 | pairs[key], addend, where)
            elif kind.number in (reloc.ABS32, reloc.TARGET1):
                self.same(symbol, value & 0xFFFFFFFF, addend, where)
            elif kind.number == reloc.REL32:
                self.same(symbol, (value + start + at) & 0xFFFFFFFF, addend, where)

    def same(self, symbol: Any, value: int, addend: int, where: str) -> None:
        """Whether a value is the address of symbol + addend."""
        info, index, name = symbol["st_info"], symbol["st_shndx"], symbol.name
        if index == "SHN_UNDEF" and info["bind"] == "STB_WEAK":
            assert value == addend, where
            return
        kinds = ("STT_FUNC", "STT_OBJECT") if index == "SHN_UNDEF" else (info["type"],)
        for kind in kinds:
            if (name, kind) not in self.base or (kind == "STT_OBJECT" and "." in name):  # the number says nothing
                continue
            address = self.base[name, kind]
            wanted = (address | 1) + addend if kind == "STT_FUNC" else address + addend
            if "CALL" in where or "JUMP" in where:
                value |= 1
            assert value == wanted, f"{where} is {value:#x}, not {wanted:#x}; placed: {self.placed.get(name)}"
            return
        section = self.elf.get_section(index)
        offset = addend + (symbol["st_value"] & (~1 if info["type"] == "STT_FUNC" else ~0))
        if section["sh_flags"] & 4 and section.name.startswith(".text."):
            own = section.name.removeprefix(".text.")
            slot = self.placed.get(own)
            assert slot is not None, where
            assert value & ~1 in (slot + (offset & ~1), self.base.get((own, "STT_FUNC"), 0) & ~1), where
        elif section["sh_flags"] & 1:
            variables = [s for s in self.elf.get_section_by_name(".symtab").iter_symbols() if s["st_shndx"] == index
                         and s["st_info"]["type"] == "STT_OBJECT"]  # fmt: skip
            assert variables, where
            first = variables[0]
            address = next(at for (n, kind), at in self.base.items() if plain(n) == plain(first.name) and "OBJ" in kind)
            assert value == address + offset - first["st_value"], where
        else:
            content = section.data()[offset:]
            if section["sh_flags"] & 0x20 or section.name == ".rodata":  # a string; without optimisation beside others
                content = content[: content.index(b"\0") + 1]
            if self.elf.get_section_by_name(f".rel{section.name}") is None:
                assert self.read(value, len(content)) == content, where


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("core", list(TARGETS))
def test_references_of_pushed_functions_lead_to_the_firmwares_things(shop: Workshop, core: str, compiler: str) -> None:
    draw = random.Random(f"{SEED}/{core}/{compiler}")
    cpu = ["-mthumb", *CORES[TARGETS[core]]]
    source = (CORPUS / "plain.c").read_text()
    firmware = shop.firmware(
        shop.compile(source, "plain.c", [*HOT, *cpu, "-Os"]), shop.compile(REST, "rest.c", [*HOT, *cpu]), cpu=cpu
    )
    level = draw.choice(("-O0", "-O1", "-O2", "-O3", "-Og"))
    # clang's far calls of local functions are refused, since they look like uses of their addresses.
    extra = draw.choice(([], ["-fno-jump-tables"], *([["-mlong-calls"]] if compiler == "gcc" else [])))
    flags = [*FLAGS[compiler], *cpu, level, *extra]
    compilers = {"gcc": "arm-none-eabi-gcc", "clang": "clang-19"}
    obj = shop.compile(source, "plain.c", flags, compilers[compiler])
    device = Device(firmware, seed=draw.randrange(1 << 30))
    plan, linked = device.push(obj)
    pushed = [change.function for change in plan.changes if change.action == "replace"]
    assert len(pushed) > 5
    reader = Reader(obj.name, firmware, device, dict(linked.symbols))
    with reader.file:
        for name in pushed:
            try:
                reader.check(name)
            except AssertionError as error:
                raise AssertionError(
                    f"{compiler} {level} {extra}, {core}, HOTFLASH_TEST_SEED={SEED}: {error}"
                ) from None
    assert reader.count > 40
