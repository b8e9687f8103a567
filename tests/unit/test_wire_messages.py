"""Messages are values: they behave as frozen dataclasses do."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass, make_dataclass, replace

import pytest

from hotflash.wire import messages as m
from hotflash.wire.codec import Message, Reader, Writer

ALL = sorted(Message.__subclasses__(), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", ALL, ids=[kind.__name__ for kind in ALL])
def test_as_a_frozen_dataclass(kind: type[Message]) -> None:
    assert is_dataclass(kind)
    plain = make_dataclass(kind.__name__, [(f.name, f.type, f.default) for f in fields(kind)], frozen=True)
    values = [f"value {number}" for number in range(len(fields(kind)))]
    for some in range(len(values) + 1):
        assert repr(kind(*values[:some])) == repr(plain(*values[:some]))
    named = dict(zip((f.name for f in fields(kind)), values, strict=True))
    made = kind(**named)
    assert made == kind(*values)
    assert hash(made) == hash(kind(*values))
    for name in named:
        assert replace(made, **{name: "other"}) != made
        with pytest.raises(FrozenInstanceError):
            setattr(made, name, "other")
        with pytest.raises(FrozenInstanceError):
            delattr(made, name)
    assert made == kind(*values)
    with pytest.raises(TypeError):
        kind(*values, "one too many")
    with pytest.raises(TypeError):
        kind(nothing_like_it=1)
    if values:
        with pytest.raises(TypeError):
            kind(*values, **named)


def test_equal_fields_of_another_kind_are_not_equal() -> None:
    assert m.Word(1, 2) == m.Word(1, 2)
    assert m.Word(1, 2) != m.Range(1, 2)
    assert m.Word(1, 2) != (1, 2)


def test_there_and_back() -> None:
    sent = m.BeginRequest(7, 0x12345678, 0, 2, (m.SlotRequest(1, 300, 2, 5, 6, (m.Dep(3),)), m.SlotRequest(4)))
    writer = Writer()
    sent.pack(writer)
    assert m.BeginRequest.unpack(Reader(bytes(writer.data))) == sent
