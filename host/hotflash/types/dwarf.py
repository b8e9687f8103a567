"""Finds variables and their types in the firmware's debug information (DWARF 4 and 5), reading little of it.

Reading every entry takes seconds on real firmware. A name's place in the string section is searched for instead in
the raw bytes of ``.debug_info``; only the units where it occurs are parsed, and of those only the top level, one
function, and the types that are asked for. What was read is kept as long as the :class:`Firmware` lives.
"""

from __future__ import annotations

import dataclasses
import io
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from hotflash.types.model import Array, Base, Bits, Enum, Field, Kind, Pointer, Record, Type, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotflash.elf.firmware import Firmware
    from hotflash.errors import ElfError

_OP_ADDR, _OP_PLUS_UCONST, _OP_ADDRX = 0x03, 0x23, 0xA1  # DWARF 5, 7.7.1
_MODIFIERS = {
    "DW_TAG_const_type": "const ",
    "DW_TAG_volatile_type": "volatile ",
    "DW_TAG_restrict_type": "",
    "DW_TAG_atomic_type": "_Atomic ",
    "DW_TAG_packed_type": "",
}
_RECORDS = {
    "DW_TAG_structure_type": "struct ",
    "DW_TAG_class_type": "class ",
    "DW_TAG_union_type": "union ",
}
_POINTERS = {
    "DW_TAG_pointer_type": "*",
    "DW_TAG_reference_type": "&",
    "DW_TAG_rvalue_reference_type": "&&",
    "DW_TAG_ptr_to_member_type": "::*",
}
# DWARF 5, 7.8, table 7.11: base type attribute encodings.
_ENCODINGS: dict[int, Kind] = {2: "bool", 4: "float", 5: "int", 6: "int", 7: "uint", 8: "uint", 0x10: "uint"}
_DEPTH = 64  # nesting of types; deeper is a damaged file


@dataclass(frozen=True)
class Found:
    """A variable's definition."""

    name: str
    unit: str
    """Name of its compile unit as the compiler was given it."""
    function: str
    """The function that it is a static of, or empty."""
    address: int | None
    """None: it has no place in memory."""
    external: bool
    """Global, not static."""
    entry: Any
    """Its DIE."""


class DebugInfo:
    """The debug information of one firmware."""

    _cache: ClassVar[WeakKeyDictionary[Firmware, DebugInfo]] = WeakKeyDictionary()

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware.container
        self._types: dict[int, Type] = {}

    @classmethod
    def of(cls, firmware: Firmware) -> DebugInfo:
        """The debug information of ``firmware``, the same object each time."""
        info = cls._cache.get(firmware)
        if info is None:
            info = cls._cache[firmware] = cls(firmware)
        return info

    @cached_property
    def _dwarf(self) -> Any:
        from elftools.common.exceptions import DWARFError, ELFError
        from elftools.elf.elffile import ELFFile

        try:
            elf = ELFFile(io.BytesIO(self._firmware.data))
            # has_dwarf_info() also counts unwind tables.
            if elf.get_section_by_name(".debug_info") is None and elf.get_section_by_name(".zdebug_info") is None:
                return None
            return elf.get_dwarf_info(relocate_dwarf_sections=False)
        except (ELFError, DWARFError, *_DAMAGE) as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> ElfError:
        return self._firmware.fail(
            f"its debug information cannot be read ({type(error).__name__}: {error})", "compile it again with -g"
        )

    @cached_property
    def _units(self) -> list[Any]:
        return [] if self._dwarf is None else list(self._dwarf.iter_CUs())

    @property
    def present(self) -> bool:
        """Whether there is any."""
        return self._dwarf is not None

    def find(self, name: str, function: str | None = None) -> list[Found]:
        """All variables of that name outside of functions, or in functions named ``function``.

        ``function`` is ``*`` for any function. Raises :class:`ElfError` when the debug information is damaged.
        """
        from elftools.common.exceptions import DWARFError, ELFError

        try:
            return [found for unit in self._units_with(name) for found in self._in_unit(unit, name, function)]
        except (ELFError, DWARFError, *_DAMAGE) as error:
            raise self._damaged(error) from None

    def type_of(self, found: Found) -> Type:
        """The type of a variable that :meth:`find` has found."""
        from elftools.common.exceptions import DWARFError, ELFError

        try:
            return self._type_at(_resolved(found.entry, "DW_AT_type"), 0)
        except (ELFError, DWARFError, *_DAMAGE) as error:
            raise self._damaged(error) from None

    # ------------------------------------------------------------------------------------- variables

    def _units_with(self, name: str) -> list[Any]:
        """The compile units in whose bytes the name, or its offset in the string section, occurs."""
        units, dwarf = self._units, self._dwarf
        if not units:
            return []
        if dwarf.debug_str_offsets_sec is not None:
            return units  # strings go by index there (DWARF 5, 7.5.5, DW_FORM_strx), which nothing tells apart
        raw_name = name.encode() + b"\0"
        info = _section(dwarf.debug_info_sec)
        needles = [raw_name]
        if dwarf.debug_str_sec is not None:
            # Also behind other text: linkers let a string share the end of a longer one.
            needles += [at.to_bytes(4, "little") for at in _occurrences(_section(dwarf.debug_str_sec), raw_name)]
        starts = [unit.cu_offset for unit in units]
        hits = {bisect_right(starts, at) - 1 for needle in needles for at in _occurrences(info, needle)}
        return [units[index] for index in sorted(hits) if index >= 0]

    def _in_unit(self, unit: Any, name: str, function: str | None) -> Iterator[Found]:
        top = unit.get_top_DIE()
        unit_name = _text(top.attributes.get("DW_AT_name"))
        for entry in top.iter_children():
            if function is None:
                if entry.tag == "DW_TAG_variable":
                    yield from self._variable(entry, name, unit_name, "")
            elif entry.tag == "DW_TAG_subprogram":
                owner = _name(entry)
                if function in ("*", owner):
                    for inner in _statics(entry):
                        yield from self._variable(inner, name, unit_name, owner)

    def _variable(self, entry: Any, name: str, unit: str, function: str) -> Iterator[Found]:
        if _name(entry) != name:
            return
        location = entry.attributes.get("DW_AT_location")
        if location is None:
            if "DW_AT_declaration" in entry.attributes or (function and "DW_AT_const_value" not in entry.attributes):
                return  # declared here, defined elsewhere; or a function's plain local
            address = None
        else:
            address = self._address(entry, location)
            if address is None and function:
                return  # in a register or on the stack
        external = bool(_flag(entry, "DW_AT_external"))
        yield Found(name, unit, function, address, external, entry)

    def _address(self, entry: Any, location: Any) -> int | None:
        value = location.value
        if not isinstance(value, (list, bytes)) or not value:
            return None
        if value[0] == _OP_ADDR and len(value) == 5:
            return int.from_bytes(bytes(value[1:]), "little")
        if value[0] == _OP_ADDRX:
            return int(self._dwarf.get_addr(entry.cu, _uleb(value[1:])))
        return None

    # ----------------------------------------------------------------------------------------- types

    def _type_at(self, entry: Any, depth: int) -> Type:
        if entry is None:
            return raw(0)  # void
        known = self._types.get(entry.offset)
        if known is None:
            if depth > _DEPTH:
                raise ValueError("types are nested too deep")
            known = self._types[entry.offset] = self._read_type(entry, depth + 1)
        return known

    def _read_type(self, entry: Any, depth: int) -> Type:
        tag = entry.tag
        if tag == "DW_TAG_typedef":
            target = self._type_at(_resolved(entry, "DW_AT_type"), depth)
            return target if isinstance(target, Array | Bits) else dataclasses.replace(target, name=_name(entry))
        if tag in _MODIFIERS:
            return self._type_at(_resolved(entry, "DW_AT_type"), depth)
        if tag in _POINTERS:
            return Pointer(type_name(entry), _number(entry, "DW_AT_byte_size", 4))
        if tag == "DW_TAG_base_type":
            return _base(entry)
        if tag == "DW_TAG_enumeration_type":
            return self._enum(entry, depth)
        if tag == "DW_TAG_array_type":
            return self._array(entry, depth)
        if tag in _RECORDS:
            fields = tuple(self._fields(entry, depth))
            return Record(type_name(entry), _number(entry, "DW_AT_byte_size", 0), tag == "DW_TAG_union_type", fields)
        return raw(_number(entry, "DW_AT_byte_size", 0))

    def _enum(self, entry: Any, depth: int) -> Type:
        values = tuple(
            (_name(item), int(item.attributes["DW_AT_const_value"].value))
            for item in entry.iter_children()
            if item.tag == "DW_TAG_enumerator"
        )
        size = _number(entry, "DW_AT_byte_size", 4)
        underlying = self._type_at(_resolved(entry, "DW_AT_type"), depth)
        # Some forms of a constant have no sign (DWARF 5, 7.5.5, class constant): it comes from the type.
        signed = isinstance(underlying, Base) and underlying.kind == "int"
        signed = signed or any(value < 0 for _, value in values)
        wrap = 1 << 8 * size
        fitted = tuple(
            (name, value % wrap - wrap if signed and value % wrap >= wrap >> 1 else value % wrap)
            for name, value in values
        )
        return Enum(type_name(entry), size, signed, fitted)

    def _array(self, entry: Any, depth: int) -> Type:
        element = self._type_at(_resolved(entry, "DW_AT_type"), depth)
        counts = []
        for item in entry.iter_children():
            if item.tag != "DW_TAG_subrange_type":
                continue
            count = _constant(item, "DW_AT_count")
            if count is None:
                bound = _constant(item, "DW_AT_upper_bound")
                # Without a bound it is a flexible array member; GCC gives `[0]` an upper bound of -1.
                count = 0 if bound is None else (bound + 1) % (1 << 32)
            counts.append(count)
        result = element
        for count in reversed(counts):
            result = Array(result, count)
        return result

    def _fields(self, entry: Any, depth: int) -> Iterator[Field]:
        for item in entry.iter_children():
            if item.tag not in ("DW_TAG_member", "DW_TAG_inheritance") or _flag(item, "DW_AT_external"):
                continue
            target = _resolved(item, "DW_AT_type")
            field_type = self._type_at(target, depth)
            offset = _member_offset(item)
            if "DW_AT_bit_size" in item.attributes and isinstance(field_type, Base | Enum):
                yield _bit_field(item, field_type, offset)
                continue
            name = _name(item)
            if not name and item.tag == "DW_TAG_inheritance":
                name = field_type.name
            if name:
                yield Field(name, offset, field_type)
            elif isinstance(field_type, Record):
                for inner in field_type.fields:
                    yield dataclasses.replace(inner, offset=inner.offset + offset)


# What pyelftools lets through of damaged input: its parser works on whatever the bytes say.
_DAMAGE = (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError, RecursionError, OverflowError)


def _section(descriptor: Any) -> bytes:
    stream = descriptor.stream
    stream.seek(0)
    data: bytes = stream.read()
    return data


def _occurrences(data: bytes, needle: bytes) -> Iterator[int]:
    at = data.find(needle)
    while at >= 0:
        yield at
        at = data.find(needle, at + 1)


def _text(attribute: Any) -> str:
    if attribute is None:
        return ""
    value = attribute.value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _resolved(entry: Any, attribute: str) -> Any:
    """The entry that an attribute refers to, the attribute looked up through origins and specifications."""
    for _ in range(8):
        if attribute in entry.attributes:
            return entry.get_DIE_from_attribute(attribute)
        for link in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if link in entry.attributes:
                entry = entry.get_DIE_from_attribute(link)
                break
        else:
            return None
    return None


def _attribute(entry: Any, attribute: str) -> Any:
    for _ in range(8):
        if attribute in entry.attributes:
            return entry.attributes[attribute]
        for link in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if link in entry.attributes:
                entry = entry.get_DIE_from_attribute(link)
                break
        else:
            return None
    return None


def _name(entry: Any) -> str:
    return _text(_attribute(entry, "DW_AT_name"))


def _flag(entry: Any, attribute: str) -> bool:
    found = _attribute(entry, attribute)
    return found is not None and bool(found.value)


def _constant(entry: Any, attribute: str) -> int | None:
    found = entry.attributes.get(attribute)
    return found.value if found is not None and isinstance(found.value, int) else None


def _number(entry: Any, attribute: str, default: int) -> int:
    value = _constant(entry, attribute)
    return default if value is None else value


def _uleb(data: list[int] | bytes) -> int:
    value = 0
    for index, byte in enumerate(data):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            break
    return value


def _statics(entry: Any) -> Iterator[Any]:
    """The variables of a function and of the blocks in it; not those of functions that were inlined into it."""
    for inner in entry.iter_children():
        if inner.tag == "DW_TAG_variable":
            yield inner
        elif inner.tag == "DW_TAG_lexical_block":
            yield from _statics(inner)


def _base(entry: Any) -> Type:
    name, size = _name(entry), _number(entry, "DW_AT_byte_size", 0)
    kind = _ENCODINGS.get(_number(entry, "DW_AT_encoding", 0))
    if kind is None or size not in ((2, 4, 8) if kind == "float" else (1, 2, 4, 8)):
        return raw(size)
    if size == 1 and name in ("char", "char8_t"):
        kind = "char"
    return Base(name, size, kind)


def _member_offset(entry: Any) -> int:
    location = entry.attributes.get("DW_AT_data_member_location")
    if location is None:
        return 0
    if isinstance(location.value, int):
        return location.value
    if location.value and location.value[0] == _OP_PLUS_UCONST:
        return _uleb(location.value[1:])
    return 0


def _bit_field(entry: Any, field_type: Base | Enum, offset: int) -> Field:
    """A bit-field member (DWARF 5, 5.7.6).

    DW_AT_data_bit_offset counts from the record's start; before DWARF 4 DW_AT_bit_offset counted from the most
    significant bit of a storage unit at the member's place.
    """
    size = _number(entry, "DW_AT_bit_size", 0)
    start = _constant(entry, "DW_AT_data_bit_offset")
    if start is None:
        storage = 8 * _number(entry, "DW_AT_byte_size", field_type.size)
        start = 8 * offset + storage - _number(entry, "DW_AT_bit_offset", 0) - size
    else:
        start += 8 * offset
    return Field(_name(entry), start // 8, Bits(field_type, start % 8, size))


def type_name(entry: Any, depth: int = 0) -> str:
    """A type's name as C writes it."""
    if entry is None:
        return "void"
    if depth > _DEPTH:
        return "..."
    tag = entry.tag
    if tag in _POINTERS:
        target = _resolved(entry, "DW_AT_type")
        if target is not None and target.tag == "DW_TAG_subroutine_type":
            return _signature(target, depth)
        inner = type_name(target, depth + 1)
        return f"{inner}{_POINTERS[tag]}" if inner.endswith("*") else f"{inner} {_POINTERS[tag]}"
    if tag in _MODIFIERS:
        target = _resolved(entry, "DW_AT_type")
        inner = type_name(target, depth + 1)
        if target is not None and target.tag in _POINTERS:
            return f"{inner} {_MODIFIERS[tag]}".rstrip()
        return _MODIFIERS[tag] + inner
    name = _name(entry)
    if tag in _RECORDS:
        return _RECORDS[tag] + (name or "{...}")
    if tag == "DW_TAG_enumeration_type":
        return f"enum {name or '{...}'}"
    if tag == "DW_TAG_array_type":
        return f"{type_name(_resolved(entry, 'DW_AT_type'), depth + 1)}[]"
    return name or "?"


def _signature(entry: Any, depth: int) -> str:
    parameters = [
        type_name(_resolved(item, "DW_AT_type"), depth + 1)
        for item in entry.iter_children()
        if item.tag == "DW_TAG_formal_parameter"
    ]
    return f"{type_name(_resolved(entry, 'DW_AT_type'), depth + 1)} (*)({', '.join(parameters) or 'void'})"
