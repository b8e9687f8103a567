"""COBS, CRC and frames: the paper's examples, round trips, and damage of every kind."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotflash.wire import cobs, frame
from hotflash.wire.crc import crc32
from hotflash.wire.frame import Frame, FrameReader

frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=1100))


def same(a: Frame, b: Frame) -> bool:
    return a[:3] == b[:3]


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        (b"", "01"),
        (b"\0", "0101"),
        (b"\0\0", "010101"),
        (b"\x11\x22\0\x33", "0311220233"),
        (b"\x11\x22\x33\x44", "0511223344"),
        (b"\x11\0\0\0", "0211010101"),
        (bytes(range(1, 255)), "ff" + bytes(range(1, 255)).hex()),
        (bytes(range(255)), "01ff" + bytes(range(1, 255)).hex()),
        (bytes(range(1, 256)), "ff" + bytes(range(1, 255)).hex() + "02ff"),
        (bytes(range(2, 256)) + b"\0", "ff" + bytes(range(2, 256)).hex() + "0101"),
    ],
)
def test_cobs_vectors(plain: bytes, encoded: str) -> None:
    assert cobs.encode(plain).hex() == encoded
    assert cobs.decode(bytes.fromhex(encoded)) == plain


def test_cobs_accepts_the_code_behind_a_full_last_block() -> None:
    plain = bytes(range(1, 255))
    assert cobs.decode(b"\xff" + plain + b"\x01") == plain


@given(st.binary(max_size=2000))
def test_cobs_round_trip(data: bytes) -> None:
    encoded = cobs.encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert cobs.decode(encoded) == data


@pytest.mark.parametrize("damaged", [b"\x02", b"\x03a", b"\xff" + b"a" * 253, b"\x02a\0", b"\0"])
def test_cobs_refuses(damaged: bytes) -> None:
    assert cobs.decode(damaged) is None


def test_crc_check_value() -> None:
    assert crc32(b"123456789") == 0xCBF43926


@given(st.binary(), st.binary())
def test_crc_continues_and_agrees_with_zlib(head: bytes, tail: bytes) -> None:
    assert crc32(tail, crc32(head)) == crc32(head + tail) == zlib.crc32(head + tail)


@given(st.lists(frames, max_size=6), st.data())
def test_frames_in_pieces(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(frame.encode(item) for item in sent)
    reader = FrameReader()
    got: list[Frame] = []
    at = 0
    while at < len(stream):
        step = data.draw(st.integers(1, 400))
        got += reader.feed(stream[at : at + step])
        at += step
    assert len(got) == len(sent)
    assert all(map(same, got, sent))
    assert sum(item.size for item in got) == len(stream) == reader.counts.octets
    assert reader.counts.bad == 0


@given(frames, st.data())
def test_a_damaged_frame_is_dropped(sent: Frame, data: st.DataObject) -> None:
    stream = bytearray(frame.encode(sent))
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["flip", "drop", "insert", "cut"]))
        at = data.draw(st.integers(0, len(stream) - 1)) if stream else 0
        if kind == "flip" and stream:
            stream[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "drop" and stream:
            del stream[at]
        elif kind == "insert":
            stream.insert(at, data.draw(st.integers(0, 255)))
        else:
            del stream[at:]
    reader = FrameReader()
    for got in reader.feed(stream):
        assert same(got, sent), "a wrong frame passed its CRC"
    following = reader.feed(b"\0" + frame.encode(Frame(1, 2, b"next")))
    assert following[-1][:3] == (1, 2, b"next")


@given(st.binary(max_size=4000))
def test_garbage_never_raises(data: bytes) -> None:
    reader = FrameReader(limit=600)
    reader.feed(data)
    reader.feed(b"\0")
    assert reader.feed(frame.encode(Frame(4, 9, b"x")))[0][:3] == (4, 9, b"x")


def test_endless_frame_is_given_up() -> None:
    reader = FrameReader(limit=100)
    for _ in range(1000):
        assert reader.feed(b"\x55" * 50) == []
    assert len(reader._rest) <= 100
    assert reader.counts.bad == 1
    assert len(reader.feed(b"\0" + frame.encode(Frame(1, 0, b"")))) == 1
