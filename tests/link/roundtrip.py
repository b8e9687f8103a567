"""Round trips: a program, edited while it runs, against the edited program flashed anew with the same state.

The state is carried over by what the debug information says (unit, function, name), read by pyelftools: none of the
linker's own matching takes part in what is expected. What is flashed anew is compiled as the patch is, since a
compiler may take a variable that nothing writes to for a constant, and another one not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from elftools.dwarf.dwarf_expr import DWARFExprParser
from elftools.elf.elffile import ELFFile

from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from hotflash.errors import LinkError
from hotflash.link import Plan
from tests.link.machine import Bench, Machine
from tests.link.programs import SUPPORT, Key, Program, Variable
from tests.link.toolchain import CPU, SECTIONS, Workshop, run

LEVELS = ("-O0", "-Og", "-O1", "-O2", "-O3", "-Os", "-Oz")
_COMMON = [*CPU, "-g", "-ffreestanding", "-w", "-std=gnu11", *SECTIONS]
_GCC = [*_COMMON, "-fpatchable-function-entry=4", "-flive-patching=inline-clone"]
_CLANG = ["--target=arm-none-eabi", *_COMMON, "-mno-global-merge", "-fshort-enums"]
_TEXTS = 0x20030000
"""Room for texts that a live pointer refers to and the new firmware does not have."""


@dataclass(frozen=True)
class Tools:
    """What firmware and patches are compiled with."""

    level: str = "-Os"
    patch: str = "gcc"
    patch_level: str = ""
    extra: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"gcc {self.level}, patches {self.patch} {self.patch_level or self.level} {' '.join(self.extra)}".strip()


@dataclass
class Builder:
    """Compiles units once per text and flags."""

    shop: Workshop
    _objects: dict[tuple[str, ...], ObjectFile] = field(default_factory=dict)

    def compile(self, unit: str, text: str, compiler: str, level: str, extra: tuple[str, ...]) -> ObjectFile:
        key = unit, text, compiler, level, *extra
        found = self._objects.get(key)
        if found is None:
            flags = _GCC if compiler == "gcc" else _CLANG
            command = "arm-none-eabi-gcc" if compiler == "gcc" else "clang-19"
            folder = self.shop.path("")
            folder.mkdir()
            (folder / unit).write_text(text)
            target = folder / f"{unit}.o"
            run(command, *flags, level, *extra, f"-ffile-prefix-map={folder}/=", "-c", folder / unit, "-o", target)
            found = self._objects[key] = ObjectFile.load(target)
        return found

    def objects(self, program: Program, compiler: str, level: str, extra: tuple[str, ...] = ()) -> list[ObjectFile]:
        return [self.compile(unit, text, compiler, level, extra) for unit, text in program.sources().items()]

    def firmware(self, program: Program, tools: Tools, *, patched: bool = False) -> Firmware:
        """The program linked: as firmware, or from the patches' objects."""
        plain = "-fno-builtin", "-fno-tree-loop-distribute-patterns"
        support = self.compile("support.c", SUPPORT, "gcc", "-Os", plain)
        objects = self.patches(program, tools) if patched else self.objects(program, "gcc", tools.level, tools.extra)
        return self.shop.firmware(*objects, support)

    def patches(self, program: Program, tools: Tools) -> list[ObjectFile]:
        return self.objects(program, tools.patch, tools.patch_level or tools.level, tools.extra)


Place = list[tuple[int, int | None, int]]
"""Offset in a variable, size or None for all of it, and address: clang keeps parts of variables apart."""


@lru_cache(maxsize=64)
def places(firmware: Firmware) -> dict[Key, Place]:
    """Where the debug information has variables: by unit, function and name; globals without unit."""
    found: dict[Key, Place] = {}
    with Path(firmware.path).open("rb") as stream:
        info = ELFFile(stream).get_dwarf_info()
        for cu in info.iter_CUs():
            top = cu.get_top_DIE()
            unit = PurePath(top.attributes["DW_AT_name"].value.decode()).name
            for owner, name, external, place in _variables(top, ""):
                if owner is None:  # LLVM leaves out which function, when all its calls are inlined
                    symbol = next(s.name for s in firmware.variables if s.address == place[0][2])
                    found[unit, symbol.split(".", 1)[0], name] = place
                else:
                    found["" if external else unit, owner, name] = place
    return found


def _variables(die: Any, owner: str | None) -> Iterator[tuple[str | None, str, bool, Place]]:
    for child in die.iter_children():
        if child.tag == "DW_TAG_variable" and "DW_AT_location" in child.attributes:
            name, external = _named(child)
            place = _place(child)
            if place and name:
                yield owner, name, external, place
        inner = _named(child)[0] or None if child.tag == "DW_TAG_subprogram" else owner
        if child.has_children:
            yield from _variables(child, inner)


def _place(die: Any) -> Place:
    value = die.attributes["DW_AT_location"].value
    if not isinstance(value, list):
        return []
    found: Place = []
    address: int | None = None
    at = 0
    for op in DWARFExprParser(die.dwarfinfo.structs).parse_expr(value):
        match op.op_name:
            case "DW_OP_addr":
                address = op.args[0]
            case "DW_OP_addrx":
                address = die.dwarfinfo.get_addr(die.cu, op.args[0])
            case "DW_OP_piece":
                if address is not None:
                    found.append((at, op.args[0], address))
                at, address = at + op.args[0], None
            case _:
                return []
    return [(0, None, address)] if address is not None else found


def _named(die: Any) -> tuple[str, bool]:
    external = False
    while True:
        external = external or "DW_AT_external" in die.attributes
        if "DW_AT_name" in die.attributes:
            return die.attributes["DW_AT_name"].value.decode(), external
        for link in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if link in die.attributes:
                die = die.get_DIE_from_attribute(link)
                break
        else:
            return "", external


def _width(variable: Variable) -> int:
    return {"u8": 1, "u16": 2, "array": 4 * len(variable.init), "pair": 6}.get(variable.kind, 4)


class State:
    """The values of a program's variables over a chain of edits, by identity."""

    def __init__(self) -> None:
        self._values: dict[Key, tuple[str, Any]] = {}

    def save(self, program: Program, machine: Machine) -> None:
        known = places(machine.firmware)
        for key, variable in program.variables().items():
            if key in known and variable.kind != "table":
                _, before = self._values.get(key, ("", None))
                self._values[key] = variable.kind, _read(variable, machine, known[key], before)

    def restore(self, program: Program, machine: Machine) -> None:
        known = places(machine.firmware)
        room = _TEXTS
        for key, variable in program.variables().items():
            kind, value = self._values.get(key, ("", None))
            if key not in known or kind != variable.kind:
                continue
            address = known[key][0][2]
            if kind == "text":
                machine.write(room, value + b"\0")
                machine.write(address, room.to_bytes(4, "little"))
                room += len(value) + 1
            elif kind == "call":
                unit, names = value
                symbol = next(s for s in machine.firmware.functions if s.name in names and s.unit in ("", unit))
                machine.write(address, symbol.value.to_bytes(4, "little"))
            elif len(value) == _width(variable):
                for offset, size, part in known[key]:
                    machine.write(part, value[offset:] if size is None else value[offset : offset + size])

    def differences(self, program: Program, base: Program, device: Machine) -> list[str]:
        """Variables that the base image has and whose live value is not the saved one."""
        known = places(device.firmware)
        now = program.variables()
        found = []
        for key, variable in base.variables().items():
            if key in known and key in now and key in self._values and variable.kind != "table":
                kind, value = self._values[key]
                live = _read(variable, device, known[key], None)
                if kind == variable.kind == now[key].kind and kind != "call" and live != value:
                    found.append(f"{key}: {live!r}, expected {value!r}")
        return found


def _read(variable: Variable, machine: Machine, place: Place, before: Any) -> Any:
    """A variable's value, what pointers mean instead of addresses; parts that are nowhere stay as before."""
    word = int.from_bytes(machine.read(place[0][2], 4), "little")
    if variable.kind == "text":
        return machine.text(word)
    if variable.kind == "call":
        return variable.unit, {s.name for s in machine.firmware.functions if s.address == word & ~1}
    width = _width(variable)
    raw = bytearray(before if before and len(before) == width else bytes(width))
    for offset, size, address in place:
        end = width if size is None else min(offset + size, width)
        raw[offset:end] = machine.read(address, end - offset)
    return bytes(raw)


@dataclass
class Trip:
    """One edit, compared."""

    edits: list[str]
    plan: Plan | None = None
    expected: list[int] = field(default_factory=list)
    got: list[int] = field(default_factory=list)
    state: list[str] = field(default_factory=list)
    refused: str = ""
    """Why the linker did not take it: clang has changed a variable's form, the only reason that is foreseen."""


def steps(machine: Machine, first: int, count: int) -> list[int]:
    """What a program prints in some steps."""
    machine.output.clear()
    for number in range(first, first + count):
        machine.call("step", number * 7 + 3)
    return list(machine.output)


def travel(builder: Builder, seed: int, tools: Tools, edits: int = 3) -> Iterator[Trip]:
    """Makes a program, runs it, and edits it some times, the last time back to where it was."""
    program = base = Program(seed)
    bench = Bench(builder.firmware(program, tools), seed)
    at = 4
    assert steps(bench.machine, 0, at)
    state = State()
    state.save(program, bench.machine)
    for number in range(edits):
        before, program = program, base if number == edits - 1 and edits > 2 else program.edited()
        try:
            plan = bench.run(*builder.patches(program, tools))
        except LinkError as error:
            if tools.patch != "clang" or "as clang has it" not in error.message:
                raise
            yield Trip(program.edits, refused=error.message)
            program = before
            continue
        fresh = Machine(builder.firmware(program, tools, patched=True))
        state.restore(program, fresh)
        expected, got = steps(fresh, at, 4), steps(bench.machine, at, 4)
        state.save(program, fresh)
        label = program.edits if program is not base else ["back"]
        yield Trip(label, plan, expected, got, state.differences(program, base, bench.machine))
        at += 4
