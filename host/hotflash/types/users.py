"""Who calls a function, takes its address, or uses a type: in the base image, and in objects that went live on top.

All of this is asked only when something has changed, so it may take its time: the base image's branches are decoded
one by one, and lines are looked up in its debugging information.
"""

from __future__ import annotations

import posixpath
import struct
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from hotflash.debug.code import Code
from hotflash.elf import dwarf
from hotflash.elf import format as elf
from hotflash.elf.dwarf import Dwarf, DwarfError, Unit
from hotflash.elf.layout import Layout
from hotflash.elf.shapes import Shapes
from hotflash.link import reloc, thumb
from hotflash.link.lines import object_lines
from hotflash.link.thumb import VENEER_MOST, veneer_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hotflash.elf.firmware import Firmware, Symbol
    from hotflash.elf.index import DebugLayout
    from hotflash.elf.layout import Shape
    from hotflash.errors import ElfError
    from hotflash.types.objects import ObjectTypes

_AT_DECL_LINE = 0x3B
_NEAR = 32
"""Bytes behind a MOVW in which its MOVT is."""


class User(NamedTuple):
    """Somebody who relies on how something is."""

    name: str
    """Function or variable; empty: somebody in the unit."""
    unit: str
    """Source file."""
    line: int
    """0: not known."""
    address: bool = False
    """It keeps or takes the address of a function, and need not call it."""

    @property
    def text(self) -> str:
        """Name and place, for people."""
        place = posixpath.basename(self.unit.replace("\\", "/")) + (f":{self.line}" if self.line else "")
        if not self.name:
            return f"code in {place}" if place else "code without a name"
        how = ", by its address" if self.address else ""
        return f"{self.name} ({place}{how})" if place else f"{self.name}{' (by its address)' if how else ''}"


class BaseUsers:
    """Looks for users in the base image."""

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware

    @cached_property
    def shapes(self) -> Shapes:
        """The types of the base image."""
        try:
            info = Dwarf(self._firmware.container)
        except DwarfError as error:
            raise self.damaged(error) from None
        info.limit = info.read + 64 * len(info.info) + 1_000_000
        return Shapes(info)

    def damaged(self, error: DwarfError) -> ElfError:
        """What to raise for a DwarfError."""
        return self._firmware.fail(f"its debug information cannot be read ({error})", "build it again with -g")

    def layout(self, known: DebugLayout) -> Layout:
        """The layout that the index knows about."""
        try:
            found = self.shapes.named(self.shapes.dwarf.entry(known.entry), known.name)
        except DwarfError as error:
            raise self.damaged(error) from None
        if not isinstance(found, Layout):
            raise self.damaged(DwarfError(f"{known.name} is not what it was"))
        return found

    def shape(self, entry: int) -> Shape:
        """The type of the variable with that entry."""
        try:
            return self.shapes.shape(self.shapes.dwarf.entry(entry).resolved(dwarf.AT_TYPE))
        except DwarfError as error:
            raise self.damaged(error) from None

    def _unit(self, number: int) -> Unit | None:
        unit = next(islice(self.shapes.dwarf.units(), number, None), None)
        return unit if isinstance(unit, Unit) else None

    # ----------------------------------------------------------------------------- users of types

    def of_type(self, known: DebugLayout) -> list[User]:
        """Who uses a layout in a unit; nobody when only functions do that the link has dropped."""
        try:
            unit = self._unit(known.number)
            return list(self._of_type(unit, known)) if unit is not None else [User("", known.unit, 0)]
        except DwarfError as error:
            raise self.damaged(error) from None

    def _of_type(self, unit: Unit, known: DebugLayout) -> Iterator[User]:
        shapes, explained = self.shapes, False
        mine: set[str] = set()
        for function in shapes.functions(unit):
            near = self._firmware.symbols_near(function.address) if function.address else None
            live = near is not None or not function.address
            if near is not None:
                mine.add(near[0].name)
            use = shapes.use([function.entry])
            if known.name in use.layouts or known.name in use.declared:
                explained = True
                if live:
                    yield User(function.name, known.unit, function.entry.number(_AT_DECL_LINE) or 0)
        for name, entry in shapes.variables(unit):
            target = entry.resolved(dwarf.AT_TYPE)
            found = shapes.reach([target]) if target is not None else ({}, {}, set())
            if known.name not in found[0] and known.name not in found[1]:
                continue
            explained = True
            for variable in self._firmware.debug.named(name):
                if variable.address is None:
                    continue
                users = self._firmware.users(variable.address, shapes.shape(target).size or 4)
                ours = [user for user in users if user.name in mine]
                yield from (User(user.name, known.unit, 0) for user in ours)
                if not ours:
                    yield User(name, known.unit, entry.number(_AT_DECL_LINE) or 0)
        if not explained:
            yield User("", known.unit, 0)  # a cast, or what a call has returned

    # ------------------------------------------------------------------------- users of functions

    def of_functions(self, addresses: Iterable[int]) -> dict[int, list[tuple[int, bool]]]:
        """Places that branch to functions, or hold their addresses (then with True)."""
        found: dict[int, list[tuple[int, bool]]] = {address: [] for address in addresses}
        leads = {address: address for address in found}
        for veneer in self._veneers(found):
            leads[veneer[0]] = veneer[1]
        for segment in self._firmware.segments:
            if segment.executable:
                for place, target in _branches(segment.data, segment.virtual):
                    if target in leads and place not in leads:
                        found[leads[target]].append((place, False))
            for place, value in _addresses(segment.data, segment.virtual, executable=segment.executable):
                if value & 1 and value - 1 in found and place not in self._inside(leads):
                    found[value - 1].append((place, True))
        return found

    def _veneers(self, targets: Iterable[int]) -> Iterator[tuple[int, int]]:
        """GNU ld's long branches: functions called ``__name_veneer``, and what they lead to."""
        wanted = set(targets)
        for symbol in self._firmware.symbols:
            if symbol.name.endswith("_veneer") and symbol.kind == "function":
                behind = veneer_target(self._firmware.read(symbol.address, VENEER_MOST), symbol.address)
                if behind is not None and behind & ~1 in wanted:
                    yield symbol.address, behind & ~1

    @staticmethod
    def _inside(leads: dict[int, int]) -> set[int]:
        """Places of the words in veneers."""
        return {start + at for start, target in leads.items() if start != target for at in range(0, VENEER_MOST, 4)}

    def holder(self, place: int) -> Symbol | None:
        """The function or variable that a place is in."""
        near = self._firmware.symbols_near(place) or self._firmware.object_near(place)
        return near[0] if near is not None else None

    def line(self, place: int) -> tuple[str, int]:
        """Source file and line of a place in code; empty and 0 when nobody knows."""
        found = self._code.place(place)
        return (found.file, found.line) if found is not None else ("", 0)

    @cached_property
    def _code(self) -> Code:
        return Code(self._firmware.container)


def _branches(data: bytes, start: int) -> Iterator[tuple[int, int]]:
    """BL, B T4 and B T3 of code, each with its target; data that looks like one is among them."""
    halves = memoryview(data)[: len(data) & ~1].cast("H")
    for index in range(len(halves) - 1):
        first = halves[index]
        if first & 0xF800 != 0xF000:
            continue
        second = halves[index + 1]
        place = start + 2 * index
        if second & 0x9000 == 0x9000:  # A7.7.18 BL T1, A7.7.12 B T4
            yield place, place + 4 + thumb.get_b24(data, 2 * index)
        elif second & 0xD000 == 0x8000 and first & 0x0380 != 0x0380:  # A7.7.12 B T3
            yield place, place + 4 + thumb.get_b20(data, 2 * index)


def _addresses(data: bytes, start: int, *, executable: bool) -> Iterator[tuple[int, int]]:
    """Words, and in code the numbers that MOVW and MOVT put together, with their places."""
    skip = -start % 4
    whole = (len(data) - skip) // 4 * 4
    for number, (value,) in enumerate(struct.iter_unpack("<I", memoryview(data)[skip : skip + max(whole, 0)])):
        yield start + skip + 4 * number, value
    if not executable:
        return
    halves = memoryview(data)[: len(data) & ~1].cast("H")
    for index in range(len(halves) - 3):
        if halves[index] & 0xFBF0 == 0xF240 and not halves[index + 1] & 0x8000:  # A7.7.76 MOVW T3
            register = halves[index + 1] & 0x0F00
            for other in range(index + 2, min(index + _NEAR // 2, len(halves) - 1)):
                high = halves[other] & 0xFBF0 == 0xF2C0 and not halves[other + 1] & 0x8000  # A7.7.79 MOVT T1
                if high and halves[other + 1] & 0x0F00 == register:
                    low = thumb.get_mov16(data, 2 * index)
                    yield start + 2 * index, thumb.get_mov16(data, 2 * other) << 16 | low
                    break


def object_users(types: ObjectTypes, names: Iterable[str]) -> Iterator[tuple[str, User]]:
    """Who in an object refers to functions called ``names``: the name, and the user."""
    obj, wanted = types.object, set(names)
    numbers = {s.index: s.name for s in obj.symbols if s.name in wanted and s.kind in (elf.STT_FUNC, elf.STT_NOTYPE)}
    for section in obj.sections if numbers else ():
        if not section.alloc or section.kind == elf.SHT_ARM_EXIDX:
            continue
        for offset, kind, symbol, _ in obj.relocations(section.index):
            if symbol not in numbers:
                continue
            branch = kind in reloc.KINDS and reloc.KINDS[kind].branch
            holders = types.names(section.index)
            name = holders[0] if holders else section.name.rpartition(".")[2]
            before = [line for at, line in object_lines(obj, section.index) if at <= offset] if section.code else []
            line = before[-1] if before else 0
            yield numbers[symbol], User(name, types.unit, line, not branch)


def object_type_users(types: ObjectTypes, name: str) -> Iterator[User]:
    """Who in an object uses a type."""
    found = False
    for function in types.functions:
        data = types.referenced(types.sections(function))
        use = types.use([function], data)
        if name in use.layouts or name in use.declared:
            found = True
            line = types.entries(function)[0].number(_AT_DECL_LINE) or 0
            yield User(function, types.unit, line)
    if not found:
        yield User("", types.unit, 0)
