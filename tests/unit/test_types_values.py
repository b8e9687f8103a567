"""Values as text and back, for generated types and memory."""

from __future__ import annotations

import contextlib
import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotflash.errors import UsageError
from hotflash.types import Array, Base, Bits, Enum, Field, Pointer, Record, Type, format_value, parse_value, to_json

U8 = Base("uint8_t", 1, "uint")
I8 = Base("int8_t", 1, "int")
U16 = Base("uint16_t", 2, "uint")
I32 = Base("int", 4, "int")
U64 = Base("uint64_t", 8, "uint")
CHAR = Base("char", 1, "char")
BOOL = Base("_Bool", 1, "bool")
FLOAT = Base("float", 4, "float")
DOUBLE = Base("double", 8, "float")
HALF = Base("__fp16", 2, "float")
WORD = Base("word", 4, "raw")
COLOR = Enum("color_t", 1, True, (("RED", 0), ("GREEN", 5), ("BLUE", -3)))
FLAGS = Enum("flags_t", 2, False, (("READ", 1), ("WRITE", 2), ("EXECUTE", 4)))
POINTER = Pointer("void *")
POINT = Record("point_t", 8, False, (Field("x", 0, I32), Field("y", 4, I32)))
WHOLE = [U8, I8, U16, I32, U64, Base("int64_t", 8, "int"), Base("int16_t", 2, "int"), WORD]
SCALARS: list[Type] = [*WHOLE, CHAR, FLOAT, DOUBLE, HALF, COLOR, FLAGS, POINTER]

BITS = st.builds(
    lambda type_, offset, size: Bits(type_, offset, min(size, 8 * type_.size)),
    st.sampled_from([U8, I8, I32, U64, COLOR]),
    st.integers(0, 7),
    st.integers(1, 64),
)


def _arrays(element: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    return st.builds(Array, element, st.integers(1, 5))


@st.composite
def _records(draw: st.DrawFn, member: st.SearchStrategy[Type]) -> Type:
    fields, offset = [], 0
    for number, type_ in enumerate(draw(st.lists(member, min_size=1, max_size=4))):
        offset += draw(st.integers(0, 3))  # padding
        fields.append(Field(f"f{number}", offset, type_))
        offset += type_.size
    return Record("struct generated", offset + draw(st.integers(0, 3)), union=False, fields=tuple(fields))


TYPES: st.SearchStrategy[Type] = st.recursive(
    st.one_of(st.sampled_from(SCALARS), BITS), lambda inner: st.one_of(_arrays(inner), _records(inner)), max_leaves=12
)


def _has_nan(type_: Type, data: bytes) -> bool:
    if isinstance(type_, Record):
        return any(_has_nan(f.type, data[f.offset : f.offset + f.type.size]) for f in type_.fields)
    if isinstance(type_, Array):
        size = type_.element.size
        return any(_has_nan(type_.element, data[at : at + size]) for at in range(0, len(data), size))
    if isinstance(type_, Base) and type_.kind == "float":
        return math.isnan(struct.unpack({2: "<e", 4: "<f", 8: "<d"}[type_.size], data)[0])
    return False


@given(st.data())
def test_what_is_shown_reads_back_as_the_same_bytes(data: st.DataObject) -> None:
    type_ = data.draw(TYPES)
    memory = data.draw(st.binary(min_size=type_.size, max_size=type_.size))
    text = format_value(type_, memory)
    again = parse_value(type_, text, memory)
    if _has_nan(type_, memory):
        assert format_value(type_, again) == text  # a NaN's payload is not shown
    else:
        assert again == memory
    json.dumps(to_json(type_, memory), allow_nan=False)


@given(st.data())
def test_what_is_left_out_keeps_its_value(data: st.DataObject) -> None:
    type_ = data.draw(_records(TYPES))
    memory = data.draw(st.binary(min_size=type_.size, max_size=type_.size))
    assert parse_value(type_, "{}", memory) == memory


@given(st.data(), st.sampled_from([b"\x00", b"\xff", b"\xa5"]))
def test_a_bit_field_leaves_its_neighbours_alone(data: st.DataObject, around: bytes) -> None:
    bits = data.draw(BITS)
    low = -(1 << bits.bit_size - 1) if bits.type in (I8, I32, COLOR) else 0
    value = data.draw(st.integers(low, low + (1 << bits.bit_size) - 1))
    before = around * bits.size
    after = parse_value(bits, str(value), before)
    changed = int.from_bytes(before, "little") ^ int.from_bytes(after, "little")
    assert changed & ~((1 << bits.bit_size) - 1 << bits.bit_offset) == 0
    assert parse_value(bits, format_value(bits, after), before) == after
    whole = format_value(
        Bits(Base("n", bits.type.size, "int" if low else "uint"), bits.bit_offset, bits.bit_size), after
    )
    assert int(whole) == value


@given(
    st.sampled_from([U8, I8, U16, I32, U64]), st.integers(-(1 << 65), 1 << 65), st.sampled_from(["d", "#x", "#b", "#o"])
)
def test_whole_numbers_in_any_base_with_their_range(type_: Base, value: int, base: str) -> None:
    low = -(1 << 8 * type_.size - 1) if type_.kind == "int" else 0
    text = format(value, base)
    if low <= value < low + (1 << 8 * type_.size):
        assert parse_value(type_, text) == (value % (1 << 8 * type_.size)).to_bytes(type_.size, "little")
    else:
        with pytest.raises(UsageError, match=f"{value} is outside of {type_.name}"):
            parse_value(type_, text)


@given(st.floats(width=32, allow_nan=False))
def test_floats_are_shown_short_and_exact(value: float) -> None:
    data = struct.pack("<f", value)
    text = format_value(FLOAT, data)
    assert parse_value(FLOAT, text) == data
    assert len(text) <= 15


@given(st.text(max_size=12))
def test_texts(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass").rstrip(b"\0")
    array = Array(CHAR, 48)
    shown = format_value(array, raw.ljust(48, b"\0"))
    assert "\n" not in shown
    assert parse_value(array, shown) == raw.ljust(48, b"\0")


@pytest.mark.parametrize(
    ("type_", "data", "shown", "value"),
    [
        (I32, struct.pack("<i", -7), "-7", -7),
        (WORD, struct.pack("<I", 0x1234), "0x00001234", 0x1234),
        (CHAR, b"a", "'a'", 97),
        (CHAR, b"\0", r"'\0'", 0),
        (CHAR, b"'", r"'\''", 39),
        (BOOL, b"\1", "true", True),
        (BOOL, b"\7", "7", 7),
        (FLOAT, struct.pack("<f", 0.1), "0.1", pytest.approx(0.1)),
        (FLOAT, struct.pack("<f", 2.0), "2.0", 2.0),
        (DOUBLE, struct.pack("<d", math.inf), "inf", "inf"),
        (COLOR, b"\xfd", "BLUE", "BLUE"),
        (COLOR, b"\x07", "7", 7),
        (FLAGS, b"\x05\0", "READ | EXECUTE", 5),
        (FLAGS, b"\x09\0", "9", 9),
        (POINTER, b"\x34\x12\0\0", "0x00001234", 0x1234),
        (Array(CHAR, 6), b'ab\n\x01"\0', r'"ab\n\001\""', 'ab\n\x01"'),
        (Array(CHAR, 3), b"abc", '"abc"', "abc"),
        (Array(CHAR, 3), b"\xff\xc3\xa9", r'"\377é"', "\\xffé"),
        (Array(U8, 3), b"abc", "{97, 98, 99}", [97, 98, 99]),
        (Array(Array(U8, 2), 2), b"\1\2\3\4", "{{1, 2}, {3, 4}}", [[1, 2], [3, 4]]),
        (POINT, struct.pack("<ii", 1, -1), "{x = 1, y = -1}", {"x": 1, "y": -1}),
        (Array(U8, 0), b"", "{}", []),
        (Bits(I8, 3, 5), b"\xf0", "-2", -2),
    ],
)
def test_shown_as(type_: Type, data: bytes, shown: str, value: object) -> None:
    assert format_value(type_, data) == shown
    assert to_json(type_, data) == value


def test_pointers_name_what_they_point_to() -> None:
    assert format_value(POINTER, b"\x34\x12\0\0", {0x1234: "work+4"}.get) == "0x00001234 <work+4>"
    assert parse_value(POINTER, "0x00001234 <work+4>") == b"\x34\x12\0\0"
    assert parse_value(POINTER, "&work", resolve={"work": 0x81A5}.get) == b"\xa5\x81\0\0"
    assert parse_value(POINTER, "NULL") == bytes(4)


def test_long_values_are_broken_into_lines() -> None:
    record = Record("big", 208, False, (Field("table", 0, Array(I32, 50)), Field("at", 200, POINT)))
    text = format_value(record, bytes(range(208)))
    assert max(map(len, text.splitlines())) <= 104
    assert text.startswith("{\n  table = {\n    50462976, ")
    assert text.endswith("\n  },\n  at = {x = -875902520, y = -808530484},\n}")
    assert parse_value(record, text) == bytes(range(208))


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        (U8, "0x_f", b"\x0f"),
        (U8, "10u", b"\n"),
        (U8, "'a'", b"a"),
        (U8, "{5}", b"\5"),
        (CHAR, "-1", b"\xff"),
        (CHAR, "200", b"\xc8"),
        (BOOL, "false", b"\0"),
        (FLOAT, "1.5f", struct.pack("<f", 1.5)),
        (FLOAT, "3", struct.pack("<f", 3)),
        (FLOAT, "0x10", struct.pack("<f", 16)),
        (FLOAT, "-inf", struct.pack("<f", -math.inf)),
        (COLOR, "BLUE", b"\xfd"),
        (FLAGS, "READ | WRITE|4", b"\7\0"),
        (POINT, "{.y = 5}", struct.pack("<ii", 0, 5)),
        (POINT, "{ y = 5, x = 4 }", struct.pack("<ii", 4, 5)),
        (POINT, "{1, 2,}", struct.pack("<ii", 1, 2)),
        (Array(U8, 4), "{1, [3] = 9}", b"\1\0\0\t"),
        (Array(CHAR, 4), '"a\\x41\\101"', b"aAA\0"),
        (Array(CHAR, 2), "{'a', 98}", b"ab"),
        (Array(POINT, 2), "{[1] = {y = 1}}", struct.pack("<iiii", 0, 0, 0, 1)),
    ],
)
def test_parsed_as(type_: Type, text: str, expected: bytes) -> None:
    assert parse_value(type_, text) == expected


@pytest.mark.parametrize(
    ("type_", "text", "message"),
    [
        (U8, "256", r"v: 256 is outside of uint8_t \(0 to 255\)"),
        (U8, "-1", r"v: -1 is outside of uint8_t"),
        (U8, "", "nothing more is not a whole number"),
        (U8, "1.5", "'1.5' is not a whole number"),
        (U8, "010", "'010' is not a whole number"),
        (U8, "1 2", "'2' is left over"),
        (U8, "{1", "not the closing }"),
        (U8, "$$ @", "'[$][$]' is not a whole number"),
        (U8, '"', "cannot read"),
        (CHAR, "300", "outside of char"),
        (BOOL, "2", "outside of _Bool"),
        (BOOL, "yes", "'yes' is not true or false"),
        (FLOAT, "fast", "'fast' is not a number"),
        (FLOAT, "1e39", "too large for float"),
        (COLOR, "PINK", "'PINK' is not a number or one of RED, GREEN, BLUE"),
        (COLOR, "300", "outside of color_t"),
        (POINTER, "0x100000000", "not an address of 32 bits"),
        (POINTER, "&nothing", "no symbol 'nothing'"),
        (POINTER, "here", "not an address, NULL or &symbol"),
        (POINT, "5", "'5' is not {field = value"),
        (POINT, "{z = 1}", "point_t has no field 'z'"),
        (POINT, "{1, 2, 3}", "more values than point_t has fields"),
        (POINT, "{x = 1 y = 2}", "'y' is not a comma"),
        (POINT, "{x = 1", "nothing more is not a comma"),
        (POINT, "{x = }", r"v\.x: '}' is not a whole number"),
        (Array(U8, 2), "{1, 2, 3}", "element 2 is behind the end of"),
        (Array(U8, 2), "{[2] = 1}", "element 2"),
        (Array(U8, 2), "{1, 256}", r"v\[1\]: 256 is outside"),
        (Array(U8, 2), '"ab"', "is not {value, ...}"),
        (Array(CHAR, 2), '"abc"', "3 bytes does not fit"),
        (Array(CHAR, 2), '"\\400"', "more than a byte"),
        (Array(CHAR, 2), '"\\q"', "unknown escape"),
        (Array(U8, 0), "{}", "no bytes to write"),
        (Bits(I8, 3, 5), "16", r"16 is outside of int8_t:5 \(-16 to 15\)"),
    ],
)
def test_refused(type_: Type, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_value(type_, text, name="v", resolve=lambda _: None)


@given(st.sampled_from([*SCALARS, POINT, Array(CHAR, 4), Array(POINT, 2)]), st.text(max_size=30))
def test_any_text_is_read_or_refused(type_: Type, text: str) -> None:
    with contextlib.suppress(UsageError):
        assert len(parse_value(type_, text)) == type_.size
