"""Types as far as two versions of a program have to agree about them: what is compared, hashed and migrated.

Other than in :mod:`hotflash.types.model`, which shows values, nothing here depends on how a type is spelled: typedefs,
``const``, ``volatile``, ``restrict`` and ``_Atomic`` are seen through, numbers are known by encoding and size, and
``class`` is ``struct``. A struct without a tag goes by the typedef that names it. Pointers know the name of what they
point to, so that a type is a finite tree; the layouts behind them are compared by name on their own.

Offsets and widths of members are in bits, sizes in bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias


@dataclass(frozen=True)
class Scalar:
    """A number, truth value, or bytes of which no more is known."""

    kind: str
    """``int``, ``uint``, ``float``, ``bool``, ``complex``, ``void``, or ``raw``."""
    size: int

    @property
    def text(self) -> str:
        """Kind and bits: ``uint16``."""
        return self.kind if self.kind in ("void", "bool") and self.size < 2 else f"{self.kind}{8 * self.size}"


@dataclass(frozen=True)
class Pointer:
    """A pointer, a reference, or a pointer to a member."""

    to: str
    """Canonical text of what it points to."""
    mark: str = "*"
    """``*``, ``&``, ``&&`` or ``::*``."""
    size: int = 4

    @property
    def text(self) -> str:
        """What it points to, and the mark."""
        return f"{self.to}{'' if self.to.endswith('*') else ' '}{self.mark}"


@dataclass(frozen=True)
class Array:
    """An array; of several dimensions it is an array of arrays. A flexible array member has no elements."""

    element: Shape
    count: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.element.size * self.count

    @property
    def text(self) -> str:
        """The element and all dimensions, the outermost first."""
        dimensions, element = f"[{self.count or ''}]", self.element
        while isinstance(element, Array):
            dimensions += f"[{element.count or ''}]"
            element = element.element
        return element.text + dimensions


@dataclass(frozen=True)
class Field:
    """A member."""

    name: str
    """Empty for an anonymous struct or union in another; ``:name`` for a base class."""
    offset: int
    """Bits from the record's start."""
    type: Shape
    bits: int | None = None
    """Width of a bit-field."""

    @property
    def text(self) -> str:
        """How it is described."""
        where = str(self.offset // 8) if self.bits is None else f"{self.offset // 8}.{self.offset % 8}:{self.bits}"
        return f"{self.type.text} {self.name}@{where}"

    @property
    def end(self) -> int:
        """The first bit behind it."""
        return self.offset + (8 * self.type.size if self.bits is None else self.bits)


@dataclass(frozen=True)
class Layout:
    """A struct, class, union or enumeration whose definition is known."""

    name: str
    """Its tag or typedef with the scope in front, as in ``struct point``; empty: it has none."""
    kind: str
    """``struct``, ``union`` or ``enum``."""
    size: int
    fields: tuple[Field, ...] = ()
    """By offset; the order of declaration counts as far as it moves them."""
    values: tuple[tuple[str, int], ...] = ()
    """Enumerators by name."""
    virtuals: tuple[tuple[int, str], ...] = ()
    """Entries of a class's table of virtual functions: number, name and signature."""

    @cached_property
    def text(self) -> str:
        """The name; without one all that it is."""
        return self.name or f"{self.kind} {{{self.body}}}"

    @cached_property
    def body(self) -> str:
        """What it is, in one line."""
        if self.kind == "enum":
            return ", ".join(f"{name}={value}" for name, value in self.values)
        parts = [field.text for field in self.fields]
        parts += [f"virtual {number}: {what}" for number, what in self.virtuals]
        return "; ".join(parts)

    @cached_property
    def parts(self) -> int:
        """Members, with those of members that are no pointers; of an array those of one element."""
        found = len(self.fields)
        for field in self.fields:
            inner = field.type
            while isinstance(inner, Array):
                inner = inner.element
            found += inner.parts if isinstance(inner, Layout) else 0
        return found

    @cached_property
    def hash(self) -> str:
        """16 digits of the SHA-256 of kind, size, members, and the layouts of members that are no pointers.

        Enumerations inside count by name and size: what their values mean is compared on its own.
        """
        parts = [self.kind, str(self.size), self.body]
        inner = {layout.name: layout.hash for field in self.fields for layout in nested(field.type)}
        parts += [f"{name} {digest}" for name, digest in sorted(inner.items())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


Shape: TypeAlias = Scalar | Pointer | Array | Layout

VOID = Scalar("void", 0)


def nested(shape: Shape) -> list[Layout]:
    """The named structs and unions that a value of a type directly consists of."""
    while isinstance(shape, Array):
        shape = shape.element
    if not isinstance(shape, Layout) or shape.kind == "enum":
        return []
    if shape.name:
        return [shape]
    return [layout for field in shape.fields for layout in nested(field.type)]


def contains(shape: Shape, names: set[str]) -> bool:
    """Whether a value of a type has one of the named layouts in it."""
    waiting, seen = [shape], set[int]()
    while waiting:
        inner = waiting.pop()
        while isinstance(inner, Array):
            inner = inner.element
        if isinstance(inner, Layout) and id(inner) not in seen:
            if inner.name in names:
                return True
            seen.add(id(inner))  # a type may be in another by many ways
            waiting += [field.type for field in inner.fields]
    return False


def same(old: Shape, new: Shape) -> bool:
    """Whether values of both types are used in the same way, all that they consist of included."""
    while isinstance(old, Array) and isinstance(new, Array):
        if old.count != new.count:
            return False
        old, new = old.element, new.element
    if isinstance(old, Layout) and isinstance(new, Layout):
        return old.name == new.name and old.hash == new.hash
    return old == new


def compatible(old: Layout, new: Layout) -> bool:
    """Whether code that knows ``old`` goes on working where others know ``new``.

    That is so when they are the same, and when enumerators were added while all others keep their numbers.
    """
    if old.kind != "enum" or new.kind != "enum":
        return old.hash == new.hash
    return old.size == new.size and set(old.values) <= set(new.values)
