"""What the debugging information of an object says about its functions, read as far as it is asked for.

In an object, offsets into other sections are relocations. Compilers write them against sections, with the offset in
the place itself (AAELF32, 5.6.1: REL), so that nothing is left to do; where they name a symbol with a value, that
value is added first.
"""

from __future__ import annotations

import posixpath
from functools import cached_property
from typing import TYPE_CHECKING

from hotflash.elf import dwarf
from hotflash.elf import format as elf
from hotflash.elf.dwarf import Dwarf, DwarfError, Unit
from hotflash.elf.shapes import FunctionEntry, Instance, Known, Shapes, Use
from hotflash.errors import ElfError
from hotflash.link import reloc
from hotflash.link.identity import function_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hotflash.elf.dwarf import Entry
    from hotflash.elf.layout import Shape
    from hotflash.elf.object import ObjectFile

_PATCHED = (".debug_info", ".debug_types", ".debug_str_offsets")


def relocated(obj: ObjectFile) -> Dwarf:
    """An object's debugging information with the relocations applied that lead to other debugging sections."""
    sections = obj.sections
    moved = {s.index for s in obj.symbols
             if s.value and 0 < s.section < elf.SHN_LORESERVE and not sections[s.section].alloc}  # fmt: skip
    patched: dict[int, bytes] = {}
    for section in sections if moved else ():
        if section.name not in _PATCHED:
            continue
        data = bytearray(obj.contents(section))
        for offset, kind, symbol, _ in obj.relocations(section.index):
            if symbol in moved and kind == reloc.ABS32 and offset + 4 <= len(data):
                value = int.from_bytes(data[offset : offset + 4], "little") + obj.symbols[symbol].value
                data[offset : offset + 4] = (value & 0xFFFFFFFF).to_bytes(4, "little")
        patched[section.index] = bytes(data)
    return Dwarf(obj.container, patched)


class ObjectTypes:
    """Functions, variables and types of an object. ElfError where its debugging information is damaged."""

    def __init__(self, obj: ObjectFile) -> None:
        self.object = obj
        self.name = obj.name
        self.unit = obj.unit

    @cached_property
    def shapes(self) -> Shapes:
        """Its types."""
        try:
            info = relocated(self.object)
        except DwarfError as error:
            raise self.damaged(error) from None
        info.limit = info.read + 64 * len(info.info) + 1_000_000
        return Shapes(info)

    def damaged(self, error: DwarfError) -> ElfError:
        """What to raise for a DwarfError."""
        return ElfError(f"{self.name}: its debug information cannot be read ({error})", hint="compile it again with -g")

    @cached_property
    def units(self) -> list[Unit]:
        """Its compile units."""
        found = []
        for unit in self.shapes.dwarf.units():
            if isinstance(unit, DwarfError):
                raise self.damaged(unit)
            if unit.type is None:
                found.append(unit)
        return found

    @cached_property
    def functions(self) -> dict[str, list[FunctionEntry]]:
        """The functions that have code, by the names of their symbols; clones by what they are clones of."""
        found: dict[str, list[FunctionEntry]] = {}
        try:
            for unit in self.units:
                for function in self.shapes.functions(unit):
                    found.setdefault(function.name, []).append(function)
        except DwarfError as error:
            raise self.damaged(error) from None
        return found

    @cached_property
    def variables(self) -> dict[str, Entry]:
        """Variables outside of functions, a definition before a declaration."""
        found: dict[str, Entry] = {}
        try:
            for unit in self.units:
                for name, entry in self.shapes.variables(unit):
                    if name not in found or found[name].flag(dwarf.AT_DECLARATION):
                        found[name] = entry
        except DwarfError as error:
            raise self.damaged(error) from None
        return found

    @cached_property
    def declared(self) -> dict[str, Entry]:
        """Functions that are declared with a prototype and defined elsewhere, as far as the compiler mentions them."""
        try:
            return {name: entry for unit in self.units for name, entry in self.shapes.declarations(unit)}
        except DwarfError as error:
            raise self.damaged(error) from None

    @cached_property
    def layouts(self) -> dict[str, Known]:
        """All complete structs, unions and enumerations."""
        found: dict[str, Known] = {}
        try:
            for unit in self.units:
                found |= self.shapes.layouts(unit, list(self.shapes.functions(unit)))
        except DwarfError as error:
            raise self.damaged(error) from None
        return found

    def names(self, section: int) -> list[str]:
        """The functions in a code section."""
        return [s.name for s in self._in_section.get(section, ()) if s.kind == elf.STT_FUNC]

    @cached_property
    def _in_section(self) -> dict[int, list[elf.RawSymbol]]:
        found: dict[int, list[elf.RawSymbol]] = {}
        for symbol in self.object.symbols:
            if symbol.kind in (elf.STT_FUNC, elf.STT_OBJECT):
                found.setdefault(symbol.section, []).append(symbol)
        return found

    def sections(self, name: str) -> list[int]:
        """The code sections of a function."""
        return [s.section for s in self.object.symbols if s.name == name and s.kind == elf.STT_FUNC and s.section]

    def every_automatic(self) -> list[Instance]:
        """What all functions may keep on their stacks."""
        return self.use(self.functions).automatic

    def entries(self, name: str) -> list[Entry]:
        """What describes a function or a clone; empty: nothing does."""
        found = self.functions.get(name) or self.functions.get(function_name(name), [])
        return [function.entry for function in found]

    def signature(self, name: str) -> str | None:
        """How a function is called; None: nothing says."""
        found = self.entries(name)
        try:
            return self.shapes.signature(found[0]) if found else None
        except DwarfError as error:
            raise self.damaged(error) from None

    def variable(self, name: str) -> Shape:
        """The type of a variable outside of functions."""
        try:
            return self.shapes.shape(self.variables[name].resolved(dwarf.AT_TYPE))
        except DwarfError as error:
            raise self.damaged(error) from None

    def referenced(self, sections: Iterable[int]) -> dict[str, int]:
        """Names of symbols that code sections refer to, and the first place of each in its section."""
        found: dict[str, int] = {}
        for index in sections:
            for offset, _, number, _ in self.object.relocations(index):
                symbol = self.object.symbols[number]
                if symbol.kind == elf.STT_SECTION:
                    for other in self._in_section.get(symbol.section, ()):
                        found.setdefault(other.name, offset)
                elif symbol.name:
                    found.setdefault(symbol.name, offset)
        return found

    def use(self, names: Iterable[str], data: Iterable[str] = ()) -> Use:
        """What functions use, with the variables called ``data``."""
        try:
            types = [self.variables[name].resolved(dwarf.AT_TYPE) for name in data if name in self.variables]
            entries = [entry for name in names for entry in self.entries(name)]
            return self.shapes.use(entries, [entry for entry in types if entry is not None])
        except DwarfError as error:
            raise self.damaged(error) from None


def same_file(one: str, other: str) -> bool:
    """Whether two names of source files are of the same one, whatever folders they are in."""
    return posixpath.basename(one.replace("\\", "/")) == posixpath.basename(other.replace("\\", "/"))
