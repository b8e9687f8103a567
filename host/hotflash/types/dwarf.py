"""Finds variables and their types in the firmware's debug information (DWARF 2 to 5), reading little of it.

Where the variables are is in the firmware's index; of .debug_info only the entries of the types that are asked for
are read. What was read is kept as long as the :class:`Firmware` lives.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary, ref

from hotflash.elf import dwarf
from hotflash.elf.typeinfo import MODIFIERS, POINTERS, RECORDS, bit_range, counts, enumerators, member_offset, number
from hotflash.errors import ElfError
from hotflash.types.model import Array, Base, Bits, Enum, Field, Kind, Pointer, Record, Type, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotflash.elf.dwarf import Entry
    from hotflash.elf.firmware import Firmware
    from hotflash.elf.index import DebugVariable

# DWARF 5, 7.8, table 7.11: base type attribute encodings.
_ENCODINGS: dict[int, Kind] = {2: "bool", 4: "float", 5: "int", 6: "int", 7: "uint", 8: "uint", 0x10: "uint"}
_DEPTH = 64  # nesting of types; deeper is a damaged file
_WORK = 500_000  # entries and attributes that one type may take; more is a damaged file
_FIELDS = 65_536  # members that one record may have, those of anonymous members counted
_PARTS = 4_000_000  # numbers that a value may consist of


class DebugInfo:
    """The debug information of one firmware."""

    _cache: ClassVar[WeakKeyDictionary[Firmware, DebugInfo]] = WeakKeyDictionary()

    def __init__(self, firmware: Firmware) -> None:
        self._index = firmware.debug
        self._firmware = ref(firmware)  # the cache's key; it must not live by its value
        self._name = firmware.name
        self._types: dict[int, Type] = {}

    @classmethod
    def of(cls, firmware: Firmware) -> DebugInfo:
        """The debug information of ``firmware``, the same object each time."""
        info = cls._cache.get(firmware)
        if info is None:
            info = cls._cache[firmware] = cls(firmware)
        return info

    @cached_property
    def dwarf(self) -> dwarf.Dwarf:
        """The sections."""
        firmware = self._firmware()
        assert firmware is not None  # noqa: S101 - who asks has it
        return dwarf.Dwarf(firmware.container)

    def _damaged(self, problem: str) -> ElfError:
        return ElfError(
            f"{self._name}: its debug information cannot be read ({problem})", hint="compile it again with -g"
        )

    def find(self, name: str, function: str | None = None) -> list[DebugVariable]:
        """All variables of that name outside of functions, or in functions named ``function``.

        ``function`` is ``*`` for any function. Raises :class:`ElfError` when none is found and a part of the debug
        information is damaged.
        """
        named = self._index.named(name)
        found = [v for v in named if (v.function and function in ("*", v.function)) or (v.function or None) == function]
        if not found and self._index.problem:
            raise self._damaged(self._index.problem)
        return found

    def type_of(self, found: DebugVariable) -> Type:
        """The type of a variable that :meth:`find` has found."""
        try:
            self.dwarf.limit = self.dwarf.read + _WORK
            type_ = self._type_at(self.dwarf.entry(found.entry).resolved(dwarf.AT_TYPE), 0)
            _weigh(type_, 0, {})
        except dwarf.DwarfError as error:
            raise self._damaged(str(error)) from None
        return type_

    def _type_at(self, entry: Entry | None, depth: int) -> Type:
        if entry is None:
            return raw(0)  # void
        known = self._types.get(entry.offset)
        if known is None:
            if depth > _DEPTH:
                raise dwarf.DwarfError("types are nested too deep")
            known = self._types[entry.offset] = self._read_type(entry, depth + 1)
        return known

    def _read_type(self, entry: Entry, depth: int) -> Type:
        tag = entry.tag
        if tag == dwarf.TAG_TYPEDEF:
            target = self._type_at(entry.resolved(dwarf.AT_TYPE), depth)
            return target if isinstance(target, Array | Bits) else dataclasses.replace(target, name=entry.name)
        if tag in MODIFIERS:
            return self._type_at(entry.resolved(dwarf.AT_TYPE), depth)
        if tag in POINTERS:
            return Pointer(type_name(entry), number(entry, dwarf.AT_BYTE_SIZE, 4))
        if tag == dwarf.TAG_BASE:
            return _base(entry)
        if tag == dwarf.TAG_ENUMERATION:
            return self._enum(entry, depth)
        if tag == dwarf.TAG_ARRAY:
            return self._array(entry, depth)
        if tag in RECORDS:
            fields = tuple(islice(self._fields(entry, depth), _FIELDS + 1))
            if len(fields) > _FIELDS:
                raise dwarf.DwarfError(f"{type_name(entry)} has more than {_FIELDS} members")
            size = number(entry, dwarf.AT_BYTE_SIZE, 0)
            for field in fields:
                if field.offset < 0 or field.offset + field.type.size > size:
                    raise dwarf.DwarfError(f"{type_name(entry)} is smaller than its member {field.name}")
            return Record(type_name(entry), size, tag == dwarf.TAG_UNION, fields)
        return raw(number(entry, dwarf.AT_BYTE_SIZE, 0))

    def _enum(self, entry: Entry, depth: int) -> Type:
        values = enumerators(entry)
        size = number(entry, dwarf.AT_BYTE_SIZE, 4)
        if size not in (1, 2, 4, 8):
            return raw(size)
        underlying = self._type_at(entry.resolved(dwarf.AT_TYPE), depth)
        # Some forms of a constant have no sign (DWARF 5, 7.5.5, class constant): it comes from the type.
        signed = isinstance(underlying, Base) and underlying.kind == "int"
        signed = signed or any(value < 0 for _, value in values)
        wrap = 1 << 8 * size
        fitted = tuple(
            (name, value % wrap - wrap if signed and value % wrap >= wrap >> 1 else value % wrap)
            for name, value in values
        )
        return Enum(type_name(entry), size, signed, fitted)

    def _array(self, entry: Entry, depth: int) -> Type:
        result = self._type_at(entry.resolved(dwarf.AT_TYPE), depth)
        for count in reversed(counts(entry)):
            result = Array(result, count if result.size else 0)
        return result

    def _fields(self, entry: Entry, depth: int) -> Iterator[Field]:
        for item in entry:
            if item.tag not in (dwarf.TAG_MEMBER, dwarf.TAG_INHERITANCE) or item.flag(dwarf.AT_EXTERNAL):
                continue
            target = item.resolved(dwarf.AT_TYPE)
            field_type = self._type_at(target, depth)
            offset = member_offset(item)
            if dwarf.AT_BIT_SIZE in item.attributes and isinstance(field_type, Base | Enum):
                start, size = bit_range(item, field_type.size)
                yield Field(item.name, start // 8, Bits(field_type, start % 8, size))
                continue
            name = item.name
            if not name and item.tag == dwarf.TAG_INHERITANCE:
                name = field_type.name
            if name:
                yield Field(name, offset, field_type)
            elif isinstance(field_type, Record):
                for inner in field_type.fields:
                    yield Field(inner.name, inner.offset + offset, inner.type)


def _weigh(type_: Type, depth: int, known: dict[int, int]) -> int:
    """How many numbers a value of a type consists of; DwarfError when nothing real is like that."""
    found = known.get(id(type_))
    if found is None:
        found = 1
        if depth > 2 * _DEPTH:
            raise dwarf.DwarfError("types are nested too deep")
        if isinstance(type_, Array):
            found = _weigh(type_.element, depth + 1, known) * (1 if type_.text else type_.count)
        elif isinstance(type_, Record):
            found = sum(_weigh(field.type, depth + 1, known) for field in type_.fields)
        if found > _PARTS:
            raise dwarf.DwarfError(f"{type_} has more than {_PARTS} parts")
        known[id(type_)] = found
    return found


def _base(entry: Entry) -> Type:
    name, size = entry.name, number(entry, dwarf.AT_BYTE_SIZE, 0)
    kind = _ENCODINGS.get(number(entry, dwarf.AT_ENCODING, 0))
    if kind is None or size not in ((2, 4, 8) if kind == "float" else (1, 2, 4, 8)):
        return raw(size)
    if size == 1 and name in ("char", "char8_t"):
        kind = "char"
    return Base(name, size, kind)


def type_name(entry: Entry | None, depth: int = 0) -> str:
    """A type's name as C writes it."""
    if entry is None:
        return "void"
    if depth > _DEPTH:
        return "..."
    tag = entry.tag
    if tag in POINTERS:
        target = entry.resolved(dwarf.AT_TYPE)
        if target is not None and target.tag == dwarf.TAG_SUBROUTINE:
            return _signature(target, depth)
        inner = type_name(target, depth + 1)
        return f"{inner}{POINTERS[tag]}" if inner.endswith("*") else f"{inner} {POINTERS[tag]}"
    if tag in MODIFIERS:
        target = entry.resolved(dwarf.AT_TYPE)
        inner = type_name(target, depth + 1)
        if target is not None and target.tag in POINTERS:
            return f"{inner} {MODIFIERS[tag]}".rstrip()
        return MODIFIERS[tag] + inner
    name = entry.name
    if tag in RECORDS:
        return RECORDS[tag] + (name or "{...}")
    if tag == dwarf.TAG_ENUMERATION:
        return f"enum {name or '{...}'}"
    if tag == dwarf.TAG_ARRAY:
        return f"{type_name(entry.resolved(dwarf.AT_TYPE), depth + 1)}[]"
    return name or "?"


def _signature(entry: Entry, depth: int) -> str:
    parameters = [
        type_name(item.resolved(dwarf.AT_TYPE), depth + 1) for item in entry if item.tag == dwarf.TAG_PARAMETER
    ]
    return f"{type_name(entry.resolved(dwarf.AT_TYPE), depth + 1)} (*)({', '.join(parameters) or 'void'})"
