"""Pairs of struct definitions with random values: converted as an independent model says.

The model knows nothing of offsets, bits or steps: it packs values by name with ``struct``, member for member.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hotflash.elf.layout import Array, Field, Layout, Scalar, Shape
from hotflash.types.pairing import UNSTATED, convert, migrate

_CODES = {("int", 1): "b", ("int", 2): "h", ("int", 4): "i", ("int", 8): "q", ("uint", 1): "B", ("uint", 2): "H",
          ("uint", 4): "I", ("uint", 8): "Q", ("float", 4): "f", ("float", 8): "d"}  # fmt: skip


@dataclass(frozen=True)
class Number:
    kind: str
    size: int


@dataclass(frozen=True)
class Several:
    element: Type
    count: int


@dataclass(frozen=True)
class Group:
    name: str
    members: tuple[tuple[str, Type], ...]


Type = Number | Several | Group

numbers = st.sampled_from([Number(kind, size) for kind, size in _CODES])
NAMES = ["a", "b", "c", "d", "e"]


def groups(types: st.SearchStrategy[Type], name: str) -> st.SearchStrategy[Group]:
    members = st.dictionaries(st.sampled_from(NAMES), types, min_size=1, max_size=4)
    return members.map(lambda found: Group(name, tuple(found.items())))


inner = groups(numbers, "struct inner")
parts: st.SearchStrategy[Type] = st.one_of(
    numbers, inner, st.builds(Several, st.one_of(numbers, inner), st.integers(1, 3)),
    st.builds(Several, st.builds(Several, numbers, st.integers(1, 2)), st.integers(1, 3)),
)  # fmt: skip
outer = groups(parts, "struct outer")


def align(kind: Type) -> int:
    if isinstance(kind, Number):
        return kind.size
    if isinstance(kind, Several):
        return align(kind.element)
    return max(align(member) for _, member in kind.members)


def laid_out(kind: Type) -> Shape:
    """As AAPCS32 (5.3) lays it out."""
    if isinstance(kind, Number):
        return Scalar(kind.kind, kind.size)
    if isinstance(kind, Several):
        return Array(laid_out(kind.element), kind.count)
    at, fields = 0, []
    for name, member in kind.members:
        at = -(-at // align(member)) * align(member)
        shape = laid_out(member)
        fields.append(Field(name, 8 * at, shape))
        at += shape.size
    return Layout(kind.name, "struct", -(-at // align(kind)) * align(kind), tuple(fields))


def values(kind: Type, draw: Any) -> Any:
    if isinstance(kind, Several):
        return [values(kind.element, draw) for _ in range(kind.count)]
    if isinstance(kind, Group):
        return {name: values(member, draw) for name, member in kind.members}
    if kind.kind == "float":
        return draw(st.integers(-1000, 1000)) / 4
    low = -(1 << 8 * kind.size - 1) if kind.kind == "int" else 0
    return draw(st.integers(low, low + (1 << 8 * kind.size) - 1))


def pack(kind: Type, value: Any) -> bytes:
    if isinstance(kind, Number):
        return struct.pack("<" + _CODES[kind.kind, kind.size], value)
    if isinstance(kind, Several):
        return b"".join(pack(kind.element, item) for item in value)
    data = b""
    for name, member in kind.members:
        data += bytes(-len(data) % align(member)) + pack(member, value[name])
    return data + bytes(-len(data) % align(kind))


def zero(kind: Type) -> Any:
    if isinstance(kind, Several):
        return [zero(kind.element)] * kind.count
    return {name: zero(member) for name, member in kind.members} if isinstance(kind, Group) else 0


class Lost(Exception):  # noqa: N818 - what the model says, nothing went wrong
    """A value of the old type has no place in the new one."""


def model(old: Type, new: Type, value: Any) -> Any:
    """The new value by name."""
    if isinstance(old, Number) and isinstance(new, Number):
        fits = old.kind == new.kind and old.size <= new.size
        if not fits and not (old.kind == "uint" and new.kind == "int" and old.size < new.size):
            raise Lost
        return value
    if isinstance(old, Several) and isinstance(new, Several):
        if old.count > new.count:
            raise Lost
        converted = [model(old.element, new.element, item) for item in value]
        return converted + [zero(new.element)] * (new.count - old.count)
    if isinstance(old, Group) and isinstance(new, Group):
        if old.name != new.name:
            raise Lost
        was = dict(old.members)
        return {
            name: model(was[name], member, value[name]) if name in was else zero(member) for name, member in new.members
        }
    raise Lost


@settings(max_examples=150, deadline=None, derandomize=True)
@given(outer, outer, st.data())
def test_values_are_converted_as_the_model_says(old: Group, new: Group, data: st.DataObject) -> None:
    value = values(old, data.draw)
    steps = migrate(laid_out(old), laid_out(new))
    lossy = any(step.action in UNSTATED for step in steps)
    try:
        wanted = model(old, new, value)
    except Lost:
        assert lossy
        return
    assert not lossy
    assert convert(steps, pack(old, value), bytes(laid_out(new).size)) == pack(new, wanted)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(outer, st.permutations(NAMES), st.data())
def test_moved_fields_come_back_as_they_were(old: Group, order: list[str], data: st.DataObject) -> None:
    new = Group(old.name, tuple(sorted(old.members, key=lambda item: order.index(item[0]))))
    value = pack(old, values(old, data.draw))
    there = convert(migrate(laid_out(old), laid_out(new)), value, bytes(laid_out(new).size))
    assert convert(migrate(laid_out(new), laid_out(old)), there, bytes(len(value))) == value


@settings(max_examples=40, deadline=None, derandomize=True)
@given(outer, st.data())
def test_renamed_fields_are_paired_when_it_is_said(old: Group, data: st.DataObject) -> None:
    name, _ = old.members[0]
    new = Group(old.name, tuple(("z" if member == name else member, kind) for member, kind in old.members))
    value = pack(old, values(old, data.draw))
    before, after = laid_out(old), laid_out(new)
    unsaid = migrate(before, after)
    assert {(step.field, step.action) for step in unsaid if step.action in ("added", "dropped")} == {
        ("z", "added"),
        (name, "dropped"),
    }
    for renames in ({name: "z"}, {f"outer.{name}": "z"}):
        assert convert(migrate(before, after, renames), value, bytes(after.size)) == value


def test_bits_move_and_widen() -> None:
    old = Layout("struct s", "struct", 4, (Field("a", 0, Scalar("uint", 4), 3), Field("b", 3, Scalar("int", 4), 5)))
    new = Layout("struct s", "struct", 4, (Field("b", 0, Scalar("int", 4), 9), Field("a", 9, Scalar("uint", 4), 3)))
    steps = migrate(old, new)
    assert [(step.field, step.action) for step in steps] == [("b", "widened"), ("a", "moved")]
    value = (5 | (-7 & 31) << 3).to_bytes(4, "little")
    assert int.from_bytes(convert(steps, value, bytes(4)), "little") == (-7 & 0x1FF) | 5 << 9


def test_a_narrower_bit_field_loses_values() -> None:
    old = Layout("struct s", "struct", 4, (Field("a", 0, Scalar("uint", 4), 3),))
    new = Layout("struct s", "struct", 4, (Field("a", 0, Scalar("uint", 4), 2),))
    assert [step.action for step in migrate(old, new)] == ["narrowed"]


def test_what_is_new_takes_its_initial_value() -> None:
    old = Layout("struct s", "struct", 4, (Field("a", 0, Scalar("uint", 4)),))
    new = Layout("struct s", "struct", 8, (Field("b", 0, Scalar("uint", 4)), Field("a", 32, Scalar("uint", 4))))
    initial = struct.pack("<II", 77, 88)
    assert convert(migrate(old, new), struct.pack("<I", 5), initial) == struct.pack("<II", 77, 5)
