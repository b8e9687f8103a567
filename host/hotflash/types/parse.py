"""Reads values that people type, by their type, into bytes of memory.

Understood are C's initialisers without ``.``s being needed, and whatever :mod:`hotflash.types.text` shows::

    -12  0x1f  0b101  0o17  'a'      numbers, range-checked; C's suffixes u, l and f are ignored
    1.5  -2e3  inf  nan              floating point
    true  false                      bool
    GREEN  A | B                     enumerators
    0x20000000  NULL  &name          pointers
    "text"                           arrays of char; the rest is zeros
    {1, 2}  {x = 1, .y = 2}  {[3] = 1}    arrays and records; what is not named keeps its value
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NoReturn

from hotflash.errors import UsageError
from hotflash.types.model import Array, Base, Bits, Enum, Pointer, Record, Type, limits

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<char>'(?:[^'\\]|\\.)*')|(?P<symbol><[^>]*>)"""
    r"""|(?P<mark>[{}=,\[\]|])|(?P<word>[^\s{}=,\[\]|"'<>]+))""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", re.DOTALL)
_SIMPLE = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "e": 27}
_NUMBER = re.compile(r"([-+]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|[0-9][0-9_]*))[uUlL]*\Z")
_FLOAT = {2: "<e", 4: "<f", 8: "<d"}


def parse_value(
    type_: Type,
    text: str,
    current: bytes | None = None,
    *,
    name: str = "value",
    resolve: Callable[[str], int | None] | None = None,
) -> bytes:
    """Return the memory of the value that ``text`` says, ``type_.size`` bytes.

    ``current`` is what the memory holds now, for what the text leaves out and for the bits around a bit-field;
    None is zeros. ``name`` is what errors call the value; ``resolve`` finds the address for ``&symbol``.
    Raises :class:`UsageError` naming the part that is wrong and what its type would take.
    """
    if current is not None and len(current) != type_.size:
        raise ValueError(f"{type_.name} has {type_.size} bytes, not {len(current)}")
    if type_.size == 0:
        raise UsageError(f"{name}: {type_.name} has no bytes to write")
    memory = bytearray(type_.size) if current is None else bytearray(current)
    parser = _Parser(text, name, resolve)
    parser.value(type_, memory, 0, name)
    parser.end()
    return bytes(memory)


class _Parser:
    def __init__(self, text: str, name: str, resolve: Callable[[str], int | None] | None) -> None:
        self._resolve = resolve
        self._name = name
        self._tokens: list[tuple[str, str]] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise UsageError(f"{name}: cannot read {text[at:].strip()[:40]!r}")
            self._tokens.append((str(match.lastgroup), match[match.lastgroup or 0]))
            at = match.end()
        self._at = 0

    # ---------------------------------------------------------------------------------------- tokens

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ("end", "")

    def _take(self, text: str) -> bool:
        if self._peek() == ("mark", text):
            self._at += 1
            return True
        return False

    def _fail(self, path: str, type_: Type, expected: str) -> NoReturn:
        kind, found = self._peek()
        what = "nothing more" if kind == "end" else repr(found)
        raise UsageError(f"{path}: {what} is not {expected} for {type_.name}")

    def end(self) -> None:
        """Check that nothing is left."""
        if self._peek()[0] != "end":
            raise UsageError(f"{self._name}: {self._peek()[1]!r} is left over behind the value")

    # ---------------------------------------------------------------------------------------- values

    def value(self, type_: Type, memory: bytearray, at: int, path: str) -> None:
        """Read one value into ``memory`` from offset ``at``."""
        if isinstance(type_, Record):
            self._record(type_, memory, at, path)
        elif isinstance(type_, Array):
            self._array(type_, memory, at, path)
        elif isinstance(type_, Bits):
            self._bits(type_, memory, at, path)
        else:
            braced = self._take("{")  # C allows braces around a scalar
            memory[at : at + type_.size] = self._scalar(type_, path)
            if braced and not self._take("}"):
                self._fail(path, type_, "the closing }")

    def _record(self, type_: Record, memory: bytearray, at: int, path: str) -> None:
        if not self._take("{"):
            self._fail(path, type_, "{field = value, ...}")
        position = 0
        while not self._take("}"):
            kind, word = self._peek()
            if kind == "word" and self._peek(1) == ("mark", "="):
                name = word.removeprefix(".")
                index = next((i for i, field in enumerate(type_.fields) if field.name == name), None)
                if index is None:
                    known = ", ".join(field.name for field in type_.fields)
                    raise UsageError(f"{path}: {type_.name} has no field {name!r}", hint=f"fields: {known}")
                self._at += 2
                position = index
            elif position >= len(type_.fields):
                raise UsageError(f"{path}: more values than {type_.name} has fields ({len(type_.fields)})")
            field = type_.fields[position]
            self.value(field.type, memory, at + field.offset, f"{path}.{field.name}")
            position += 1
            self._separator(type_, path)

    def _array(self, type_: Array, memory: bytearray, at: int, path: str) -> None:
        if type_.text and self._peek()[0] == "string":
            data = self._text(self._peek()[1], path)
            if len(data) > type_.count:
                raise UsageError(f"{path}: a text of {len(data)} bytes does not fit {type_.name}")
            self._at += 1
            memory[at : at + type_.count] = data.ljust(type_.count, b"\0")
            return
        if not self._take("{"):
            self._fail(path, type_, 'a "text"' if type_.text else "{value, ...}")
        index = 0
        while not self._take("}"):
            if self._take("["):
                index = self._index(type_, path)
            if index >= type_.count:
                raise UsageError(f"{path}: element {index} is behind the end of {type_.name}")
            self.value(type_.element, memory, at + index * type_.element.size, f"{path}[{index}]")
            index += 1
            self._separator(type_, path)

    def _index(self, type_: Array, path: str) -> int:
        match = _NUMBER.match(self._peek()[1])
        index = _whole(match[1]) if match else None
        if index is None or index < 0:
            self._fail(path, type_, "an index")
        self._at += 1
        if not (self._take("]") and self._take("=")):
            self._fail(path, type_, "`] =` behind the index")
        return index

    def _separator(self, type_: Type, path: str) -> None:
        if not self._take(",") and self._peek() != ("mark", "}"):
            self._fail(path, type_, "a comma or the closing }")

    def _bits(self, type_: Bits, memory: bytearray, at: int, path: str) -> None:
        value = self._whole(type_.type, path, type_.bit_size)
        mask = (1 << type_.bit_size) - 1 << type_.bit_offset
        old = int.from_bytes(memory[at : at + type_.size], "little")
        new = old & ~mask | value << type_.bit_offset & mask
        memory[at : at + type_.size] = new.to_bytes(type_.size, "little")

    def _scalar(self, type_: Base | Enum | Pointer, path: str) -> bytes:
        if isinstance(type_, Pointer):
            return self._pointer(type_, path).to_bytes(type_.size, "little")
        if isinstance(type_, Base) and type_.kind == "float":
            return self._float(type_, path)
        return (self._whole(type_, path, None) % (1 << 8 * type_.size)).to_bytes(type_.size, "little")

    def _whole(self, type_: Base | Enum, path: str, bits: int | None) -> int:
        """An integer in the range of the type, or of a bit-field of ``bits`` bits."""
        value = self._term(type_, path)
        while isinstance(type_, Enum) and self._take("|"):
            value |= self._term(type_, path)
        low, high = limits(type_, bits)
        if isinstance(type_, Base) and type_.kind == "char":
            low = -(1 << 8 * type_.size - 1)  # whether plain char has a sign is the compiler's choice
        if not low <= value <= high:
            what = type_.name if bits is None else f"{type_.name}:{bits}"
            raise UsageError(f"{path}: {value} is outside of {what} ({low} to {high})")
        return value

    def _term(self, type_: Base | Enum, path: str) -> int:
        kind, text = self._peek()
        value: int | None = None
        if kind == "char":
            data = self._text(text, path)
            value = data[0] if len(data) == 1 else None
        elif kind == "word":
            if isinstance(type_, Enum):
                value = dict(type_.values).get(text)
            elif type_.kind == "bool":
                value = {"true": 1, "false": 0}.get(text)
            if value is None and (match := _NUMBER.match(text)):
                value = _whole(match[1])
        if value is None:
            self._fail(path, type_, _expected(type_))
        self._at += 1
        return value

    def _float(self, type_: Base, path: str) -> bytes:
        kind, text = self._peek()
        value: float | None = None
        if kind == "word":
            for candidate in (text, text.rstrip("fFlL")):
                try:
                    value = float(candidate)
                    break
                except ValueError:
                    if match := _NUMBER.match(candidate):
                        whole = _whole(match[1])
                        value = None if whole is None else float(whole)
        if value is None:
            self._fail(path, type_, "a number")
        try:
            data = struct.pack(_FLOAT[type_.size], value)
        except OverflowError:
            raise UsageError(f"{path}: {text} is too large for {type_.name}") from None
        self._at += 1
        return data

    def _pointer(self, type_: Pointer, path: str) -> int:
        kind, text = self._peek()
        value: int | None = None
        if kind == "word":
            if text in ("NULL", "nullptr"):
                value = 0
            elif text.startswith("&"):
                value = self._resolve(text[1:]) if self._resolve is not None else None
                if value is None:
                    raise UsageError(f"{path}: no symbol {text[1:]!r} in the firmware")
            elif match := _NUMBER.match(text):
                value = _whole(match[1])
        if value is None:
            self._fail(path, type_, "an address, NULL or &symbol")
        if not 0 <= value < 1 << 8 * type_.size:
            raise UsageError(f"{path}: {text} is not an address of {8 * type_.size} bits")
        self._at += 1
        if self._peek()[0] == "symbol":
            self._at += 1  # as it was shown
        return value

    def _text(self, literal: str, path: str) -> bytes:
        out = bytearray()
        body, at = literal[1:-1], 0
        for match in _ESCAPE.finditer(body):
            out += body[at : match.start()].encode()
            code, at = match[1], match.end()
            if code[0] in "01234567":
                value = int(code, 8)
                if value > 0xFF:
                    raise UsageError(f"{path}: \\{code} is more than a byte")
                out.append(value)
            elif code[0] == "x" and len(code) > 1:
                out.append(int(code[1:], 16))
            elif code in _SIMPLE:
                out.append(_SIMPLE[code])
            elif code in "\\\"'?":
                out += code.encode()
            else:
                raise UsageError(f"{path}: unknown escape \\{code}")
        out += body[at:].encode()
        return bytes(out)


def _whole(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:  # 010 is 8 to C and 10 to people
        return None


def _expected(type_: Base | Enum) -> str:
    if isinstance(type_, Enum):
        names = ", ".join(name for name, _ in type_.values[:12])
        return f"a number or one of {names}{', ...' if len(type_.values) > 12 else ''}"
    if type_.kind == "bool":
        return "true or false"
    return "a character or number" if type_.kind == "char" else "a whole number (0x, 0b, 0o and decimal)"
