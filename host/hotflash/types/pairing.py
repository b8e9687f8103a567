"""What becomes of a value when its type changes: old and new members paired by name.

Numbers that fit into what they become move on their own, and so do pointers, text and whole structs; what could lose
a value or give it another meaning (narrowing, another kind, another enumeration) is a step that somebody has to state.
Members are never paired but by name: one that is called differently is dropped, and its successor starts as zeros,
unless a rename says that they are the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Literal

from hotflash.elf.layout import Array, Field, Layout, Scalar, Shape, same

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Action = Literal["kept", "moved", "widened", "added", "dropped", "narrowed", "retyped"]
UNSTATED: frozenset[Action] = frozenset({"narrowed", "retyped"})
"""Steps that are not taken unless they are stated."""
_NUMBERS = ("int", "uint")


@dataclass(frozen=True)
class Place:
    """Where a part of a value is."""

    offset: int
    """Bits from the value's start."""
    bits: int
    type: str
    """Canonical text."""
    signed: bool = False
    floating: bool = False


@dataclass(frozen=True)
class Repeat:
    """A step is taken for each element of an array."""

    count: int
    old: int
    """Bits from one old element to the next."""
    new: int


@dataclass(frozen=True)
class Step:
    """What happens to one part of a value."""

    field: str
    """Its path in the new type; in the old one when it is dropped. Empty: all of the value."""
    action: Action
    old: Place | None
    new: Place | None
    repeats: tuple[Repeat, ...] = ()
    """The outermost array first."""

    @property
    def text(self) -> str:
        """For people: what happens, from where to where."""
        name = self.field or "value"
        if self.old is None:
            assert self.new is not None  # noqa: S101 - a step has one of both
            return f"{name}: new, {self.new.type} at {_where(self.new)}, starts as zeros"
        if self.new is None:
            return f"{name}: dropped, was {self.old.type} at {_where(self.old)}"
        there = f"{_where(self.old)} -> {_where(self.new)}" if self.old.offset != self.new.offset else _where(self.new)
        kinds = f"{self.old.type} -> {self.new.type}" if self.old.type != self.new.type else self.new.type
        return f"{name}: {self.action}, {kinds} at {there}"


@dataclass(frozen=True)
class Migration:
    """What has to be done to one live variable."""

    variable: str
    unit: str
    address: int | None
    """None: it came with an earlier push."""
    old: Shape
    new: Shape
    steps: tuple[Step, ...] = field(default=())
    reinit: bool = False
    """It is initialised again, as was stated; its steps do not matter."""

    @property
    def in_place(self) -> bool:
        """It needs no more room than it has."""
        return self.new.size <= self.old.size

    @property
    def unstated(self) -> tuple[Step, ...]:
        """Steps that somebody has to state."""
        return () if self.reinit else tuple(step for step in self.steps if step.action in UNSTATED)

    def convert(self, value: bytes, initial: bytes | None = None) -> bytes:
        """The new value; what is new in it comes from ``initial``, or is zero."""
        return convert(self.steps, value, bytes(self.new.size) if initial is None else initial)


def _where(place: Place) -> str:
    whole = place.offset % 8 == 0 and place.bits % 8 == 0
    return f"+{place.offset // 8}" if whole else f"+{place.offset // 8}.{place.offset % 8}:{place.bits}"


def migrate(old: Shape, new: Shape, renames: Mapping[str, str] | None = None) -> tuple[Step, ...]:
    """The steps from an old type to a new one.

    ``renames`` are new names of members by their old ones: ``speed``, or ``motor.speed`` for ``struct motor`` alone.
    """
    return tuple(_pair(_Part("", 0, None, old), _Part("", 0, None, new), renames or {}, ()))


@dataclass(frozen=True)
class _Part:
    path: str
    offset: int
    bits: int | None
    type: Shape

    @property
    def place(self) -> Place:
        scalar = self.type if isinstance(self.type, Scalar) else None
        bits = 8 * self.type.size if self.bits is None else self.bits
        signed = scalar is not None and scalar.kind == "int"
        return Place(self.offset, bits, self.type.text, signed, scalar is not None and scalar.kind == "float")

    def field(self, item: Field, path: str | None = None) -> _Part:
        name = item.name if path is None else path
        where = f"{self.path}.{name}" if self.path and name else self.path or name
        return _Part(where, self.offset + item.offset, item.bits, item.type)


def _pair(old: _Part, new: _Part, renames: Mapping[str, str], repeats: tuple[Repeat, ...]) -> Iterator[Step]:
    before, after = old.type, new.type
    moved: Action = "kept" if old.offset == new.offset else "moved"

    def step(action: Action) -> Step:
        return Step(new.path, action, old.place, new.place, repeats)

    if old.bits == new.bits and same(before, after):
        yield step(moved)
    elif isinstance(before, Array) and isinstance(after, Array):
        yield from _arrays(old, new, before, after, renames, repeats)
    elif isinstance(before, Layout) and isinstance(after, Layout) and before.kind == after.kind:
        if before.name != after.name:
            yield step("retyped")
        elif before.kind == "struct" and before.virtuals != after.virtuals:
            yield step("retyped")  # its table is in flash, and not the new one
        elif before.kind == "struct":
            yield from _records(old, new, before, after, renames, repeats)
        elif before.kind == "union":
            grown = set(before.fields) <= set(after.fields)
            yield step("widened" if grown else "retyped")
        else:
            yield step(_enums(before, after, moved))
    elif isinstance(before, Scalar) and isinstance(after, Scalar):
        yield step(_numbers(before, old.place.bits, after, new.place.bits, moved))
    else:
        yield step("retyped")


def _enums(before: Layout, after: Layout, moved: Action) -> Action:
    if not set(before.values) <= set(after.values):
        return "retyped"
    if before.size == after.size:
        return moved
    return "widened" if before.size < after.size else "narrowed"


def _numbers(before: Scalar, old_bits: int, after: Scalar, new_bits: int, moved: Action) -> Action:
    """Whether all values of a number are values of another."""
    if before.kind == after.kind and before.kind in (*_NUMBERS, "float", "bool", "raw"):
        if old_bits == new_bits:
            return moved
        if before.kind == "raw":
            return "retyped"
        return "widened" if old_bits < new_bits else "narrowed"
    if (before.kind, after.kind) == ("uint", "int") and old_bits < new_bits:
        return "widened"
    return "retyped"


def _arrays(
    old: _Part, new: _Part, before: Array, after: Array, renames: Mapping[str, str], repeats: tuple[Repeat, ...]
) -> Iterator[Step]:
    count = min(before.count, after.count)
    if before.count > after.count:
        yield Step(new.path, "narrowed", old.place, new.place, repeats)
        return
    widths = 8 * before.element.size, 8 * after.element.size
    if same(before.element, after.element):
        part = Array(before.element, count)
        if count:
            yield from _pair(replace(old, type=part), replace(new, type=part), renames, repeats)
    elif count:
        inner = (*repeats, Repeat(count, *widths))
        element = replace(old, path=f"{old.path}[]", type=before.element)
        yield from _pair(element, replace(new, path=f"{new.path}[]", type=after.element), renames, inner)
    if after.count > count:
        rest = _Part(
            f"{new.path}[{count}..]", new.offset + count * widths[1], None, Array(after.element, after.count - count)
        )
        yield Step(rest.path, "added", None, rest.place, repeats)


def _records(
    old: _Part, new: _Part, before: Layout, after: Layout, renames: Mapping[str, str], repeats: tuple[Repeat, ...]
) -> Iterator[Step]:
    mine = dict(_members(old, before))
    theirs = dict(_members(new, after))
    short = before.name.partition(" ")[2] or before.name
    called = {}
    for name in mine:
        other = renames.get(f"{short}.{name}", renames.get(name, name))
        called[other if other in theirs else name] = name
    for name, part in theirs.items():
        was = called.get(name)
        if was is None:
            yield Step(part.path, "added", None, part.place, repeats)
        else:
            yield from _pair(mine[was], part, renames, repeats)
    for now, name in called.items():
        if now not in theirs:
            yield Step(mine[name].path, "dropped", mine[name].place, None, repeats)


def _members(part: _Part, layout: Layout) -> Iterator[tuple[str, _Part]]:
    """Members by name; those of anonymous structs count as the struct's own, anonymous unions go by their number."""
    unions = 0
    for item in layout.fields:
        inner = item.type
        if item.name or not isinstance(inner, Layout):
            yield item.name, part.field(item)
        elif inner.kind == "struct":
            yield from _members(part.field(item), inner)
        else:
            unions += 1
            name = f"(union {unions})"
            yield name, part.field(item, name)


def convert(steps: tuple[Step, ...], old: bytes, new: bytes) -> bytes:
    """Applies steps to an old value; ``new`` is what the parts start as that the old value has no say in."""
    source = int.from_bytes(old, "little")
    target = int.from_bytes(new, "little")
    for step in steps:
        if step.old is None or step.new is None or step.action in UNSTATED:
            continue
        for shift_old, shift_new in _offsets(step.repeats):
            bits = source >> (step.old.offset + shift_old) & ((1 << step.old.bits) - 1)
            bits = _extend(bits, step.old, step.new)
            at = step.new.offset + shift_new
            mask = (1 << step.new.bits) - 1 if step.action == "widened" else (1 << step.old.bits) - 1
            target = target & ~(mask << at) | (bits & mask) << at
    return target.to_bytes(len(new), "little")


def _extend(bits: int, old: Place, new: Place) -> int:
    if old.floating and new.floating and (old.bits, new.bits) == (32, 64):
        value: float = struct.unpack("<f", bits.to_bytes(4, "little"))[0]
        return int.from_bytes(struct.pack("<d", value), "little")
    if old.signed and new.bits > old.bits and bits >> (old.bits - 1):
        return bits - (1 << old.bits)
    return bits


def _offsets(repeats: tuple[Repeat, ...]) -> Iterator[tuple[int, int]]:
    for indexes in product(*(range(repeat.count) for repeat in repeats)):
        pairs = list(zip(indexes, repeats, strict=True))
        yield sum(i * r.old for i, r in pairs), sum(i * r.new for i, r in pairs)
