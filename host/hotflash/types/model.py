"""C types as far as bytes in memory tell them apart: sizes in bytes, offsets from the value's first byte.

Typedefs and qualifiers are gone; a typedef's name stays as the name of what it stands for. A pointer knows what it
points to by name alone, so a type is a finite tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


class _Named:
    """A type is printed as its name."""

    def __str__(self) -> str:
        return str(getattr(self, "name", ""))


Kind = Literal["int", "uint", "float", "bool", "char", "raw"]


@dataclass(frozen=True)
class Base(_Named):
    """A number, truth value or character."""

    name: str
    size: int
    kind: Kind
    """``char`` is plain ``char`` alone, a piece of text; ``unsigned char`` (``uint8_t``) is a number.
    ``raw`` is a number of unknown meaning, shown in hexadecimal."""


@dataclass(frozen=True)
class Enum(_Named):
    """An enumeration."""

    name: str
    size: int
    signed: bool
    values: tuple[tuple[str, int], ...]
    """Enumerators in order of declaration."""


@dataclass(frozen=True)
class Pointer(_Named):
    """A pointer or reference."""

    name: str
    """As in C, ``const char *`` or a typedef's name."""
    size: int = 4


@dataclass(frozen=True)
class Array(_Named):
    """An array; of several dimensions it is an array of arrays."""

    element: Type
    count: int

    @property
    def name(self) -> str:
        """As in C: the element's name and all dimensions, the outermost first."""
        dimensions, element = f"[{self.count}]", self.element
        while isinstance(element, Array):
            dimensions += f"[{element.count}]"
            element = element.element
        return element.name + dimensions

    @property
    def size(self) -> int:
        """Bytes."""
        return self.element.size * self.count

    @property
    def text(self) -> bool:
        """Whether it is an array of plain ``char``."""
        return isinstance(self.element, Base) and self.element.kind == "char"


@dataclass(frozen=True)
class Bits(_Named):
    """A bit-field: ``bit_size`` bits from bit ``bit_offset`` of a little-endian number of ``size`` bytes."""

    type: Base | Enum
    """What the bits mean."""
    bit_offset: int
    """0 to 7."""
    bit_size: int

    @property
    def name(self) -> str:
        """As in C."""
        return f"{self.type.name}:{self.bit_size}"

    @property
    def size(self) -> int:
        """Bytes that hold any of its bits."""
        return (self.bit_offset + self.bit_size + 7) // 8


@dataclass(frozen=True)
class Field:
    """A member of a record. Members of anonymous members count as the record's own."""

    name: str
    offset: int
    type: Type


@dataclass(frozen=True)
class Record(_Named):
    """A struct, class or union."""

    name: str
    size: int
    union: bool
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        """The member of that name."""
        return next((field for field in self.fields if field.name == name), None)


Type: TypeAlias = Base | Enum | Pointer | Array | Bits | Record

WORD = Base("word", 4, "raw")
"""What memory is shown as when nothing says what it is."""
BYTE = Base("byte", 1, "raw")


def raw(size: int) -> Type:
    """The type of ``size`` bytes of which no more is known."""
    if size == WORD.size:
        return WORD
    return Array(WORD, size // WORD.size) if size and size % WORD.size == 0 else Array(BYTE, size)


def limits(type_: Base | Enum, bits: int | None = None) -> tuple[int, int]:
    """Least and greatest number that ``type_`` holds, in ``bits`` bits or in all that it has."""
    width = 8 * type_.size if bits is None else bits
    if isinstance(type_, Base) and type_.kind == "bool":
        return 0, 1
    if type_.signed if isinstance(type_, Enum) else type_.kind == "int":
        return -(1 << width - 1), (1 << width - 1) - 1
    return 0, (1 << width) - 1
