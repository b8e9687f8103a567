"""Values as text for people, in a form that :mod:`hotflash.types.parse` reads back, and as JSON."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, TypeAlias

from hotflash.types.model import Array, Base, Bits, Enum, Field, Pointer, Record, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    Symbolize: TypeAlias = Callable[[int], str | None]
    """Names what is at an address, ``work+4``, or says None."""

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

WIDTH = 100
"""Columns that a value may take before it is broken into lines."""
_FLOAT = {2: "<e", 4: "<f", 8: "<d"}
_ESCAPES = {0x07: "\\a", 0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0B: "\\v", 0x0C: "\\f", 0x0D: "\\r", 0x5C: "\\\\"}


def format_value(type_: Type, data: bytes, symbolize: Symbolize | None = None) -> str:
    """Show ``data``, the memory of a value of that type.

    Records by field, arrays by element, enumerations by name, pointers in hexadecimal with the symbol that they
    point into. Raises ValueError when ``data`` does not have the type's size.
    """
    if len(data) != type_.size:
        raise ValueError(f"{type_.name} has {type_.size} bytes, not {len(data)}")
    return _format(type_, data, symbolize, 0)


def _format(type_: Type, data: bytes, symbolize: Symbolize | None, column: int) -> str:
    if isinstance(type_, Record):
        items = [
            f"{field.name} = {_format(field.type, _part(field, data), symbolize, column + 5 + len(field.name))}"
            for field in type_.fields
        ]
        return _braces(items, column, fill=False)
    if isinstance(type_, Array):
        if type_.text:
            return quote(data.rstrip(b"\0"))
        step = type_.element.size
        items = [
            _format(type_.element, data[at : at + step], symbolize, column + 2)
            for at in range(0, step * type_.count, step or 1)
        ]
        return _braces(items, column, fill=not isinstance(type_.element, Array | Record))
    return _scalar(type_, data, symbolize)


def _part(field: Field, data: bytes) -> bytes:
    return data[field.offset : field.offset + field.type.size]


def _braces(items: list[str], column: int, *, fill: bool) -> str:
    flat = "{" + ", ".join(items) + "}"
    if column + len(flat) <= WIDTH and "\n" not in flat:
        return flat
    lines: list[str] = []
    for item in items:
        if fill and lines and column + 3 + len(lines[-1]) + len(item) <= WIDTH:
            lines[-1] += f" {item},"
        else:
            lines.append(f"{item},")
    body = "".join("  " + line.replace("\n", "\n  ") + "\n" for line in lines)
    return "{\n" + body + "}"


def _scalar(type_: Base | Enum | Pointer | Bits, data: bytes, symbolize: Symbolize | None) -> str:
    if isinstance(type_, Pointer):
        value = int.from_bytes(data, "little")
        text = f"{value:#0{2 + 2 * type_.size}x}"
        symbol = symbolize(value) if symbolize is not None and value else None
        return f"{text} <{symbol}>" if symbol else text
    inner = type_.type if isinstance(type_, Bits) else type_
    if isinstance(inner, Base) and inner.kind == "float":
        return float_text(inner.size, data)
    value = number(type_, data)
    if isinstance(inner, Enum):
        return enum_text(inner, value)
    if inner.kind == "bool" and value in (0, 1):
        return "true" if value else "false"
    if inner.kind == "raw":
        return f"{value:#0{2 + 2 * inner.size}x}"
    if inner.kind == "char":
        return quote(bytes([value]), "'") if value else r"'\0'"
    return str(value)


def number(type_: Base | Enum | Pointer | Bits, data: bytes) -> int:
    """The integer that a value's bytes hold; plain ``char`` counts as unsigned."""
    value = int.from_bytes(data, "little")
    if isinstance(type_, Bits):
        value = value >> type_.bit_offset & (1 << type_.bit_size) - 1
        width, inner = type_.bit_size, type_.type
    elif isinstance(type_, Pointer):
        return value
    else:
        width, inner = 8 * type_.size, type_
    signed = inner.signed if isinstance(inner, Enum) else inner.kind == "int"
    return value - (1 << width) if signed and value >> (width - 1) else value


def enum_text(type_: Enum, value: int) -> str:
    """The enumerator's name; a combination of single bits as ``A | B``; else the number."""
    for name, known in type_.values:
        if known == value:
            return name
    flags = [(name, bit) for name, bit in type_.values if bit > 0 and bit & (bit - 1) == 0]
    parts, rest = [], value
    for name, bit in flags:
        if rest > 0 and rest & bit:
            parts.append(name)
            rest &= ~bit
    return " | ".join(parts) if parts and rest == 0 else str(value)


def float_text(size: int, data: bytes) -> str:
    """The shortest decimal number that reads back as the same bits."""
    layout = _FLOAT[size]
    value: float = struct.unpack(layout, data)[0]
    if not math.isfinite(value):
        return str(value)
    for digits in range(1, 18):
        text = f"{value:.{digits}g}"
        try:
            same = struct.pack(layout, float(text)) == data
        except OverflowError:
            continue
        if same:
            return text if any(mark in text for mark in ".e") else f"{text}.0"
    return repr(value)


def quote(data: bytes, mark: str = '"') -> str:
    """Bytes as a C literal: UTF-8 as it is, everything that does not print escaped in octal."""
    out = []
    for character in data.decode("utf-8", "surrogateescape"):
        code = ord(character)
        if character == mark:
            out.append(f"\\{mark}")
        elif code in _ESCAPES:
            out.append(_ESCAPES[code])
        elif 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
            out.append(f"\\{code - 0xDC00:03o}")
        elif character.isprintable():
            out.append(character)
        else:
            out.extend(f"\\{byte:03o}" for byte in character.encode())
    return mark + "".join(out) + mark


def to_json(type_: Type, data: bytes) -> JsonValue:
    """The value for ``--json``: records are objects, arrays lists, ``char`` arrays and enumerators texts.

    Pointers are numbers. JSON has no infinity and no NaN: they are the texts ``inf``, ``-inf``, ``nan``.
    Raises ValueError when ``data`` does not have the type's size.
    """
    if len(data) != type_.size:
        raise ValueError(f"{type_.name} has {type_.size} bytes, not {len(data)}")
    if isinstance(type_, Record):
        return {field.name: to_json(field.type, _part(field, data)) for field in type_.fields}
    if isinstance(type_, Array):
        if type_.text:
            return data.rstrip(b"\0").decode("utf-8", "backslashreplace")
        step = type_.element.size
        return [to_json(type_.element, data[at : at + step]) for at in range(0, step * type_.count, step or 1)]
    inner = type_.type if isinstance(type_, Bits) else type_
    if isinstance(inner, Base) and inner.kind == "float":
        value: float = struct.unpack(_FLOAT[inner.size], data)[0]
        return value if math.isfinite(value) else str(value)
    whole = number(type_, data)
    if isinstance(inner, Enum):
        return next((name for name, known in inner.values if known == whole), whole)
    if isinstance(inner, Base) and inner.kind == "bool" and whole in (0, 1):
        return bool(whole)
    return whole
