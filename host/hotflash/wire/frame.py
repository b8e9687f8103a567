"""Frames on the line: ``COBS(channel, seq, body, crc)`` and a zero byte. docs/SPEC.md, Frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hotflash.wire import cobs
from hotflash.wire.crc import crc32

HEAD = 2
"""Bytes before the body: channel and sequence number."""
CRC = 4
"""Bytes of the check behind the body."""
LIMIT = 1 << 16
"""Encoded bytes without a delimiter after which a reader gives up on a frame; far above any chunk."""


class Frame(NamedTuple):
    """One frame, checked."""

    channel: int
    """0 to 255; see :class:`hotflash.wire.messages.Channel`."""
    seq: int
    """0 to 255."""
    body: bytes
    """Without channel, sequence number and CRC."""
    size: int = 0
    """Bytes that it took on the line, delimiter included, if it was received."""


def encode(frame: Frame) -> bytes:
    """The frame's bytes on the line, with the zero that ends it."""
    data = bytes((frame.channel, frame.seq)) + frame.body
    return cobs.encode(data + crc32(data).to_bytes(CRC, "little")) + b"\0"


def decode(encoded: bytes | bytearray) -> Frame | None:
    """The frame in ``encoded``, what stood between two zeros; None if its coding, length or CRC is wrong."""
    data = cobs.decode(encoded)
    if data is None or len(data) < HEAD + CRC:
        return None
    if crc32(data[:-CRC]) != int.from_bytes(data[-CRC:], "little"):
        return None
    return Frame(data[0], data[1], data[HEAD:-CRC], len(encoded) + 1)


@dataclass(slots=True)
class Counts:
    """What a reader has seen since it was made."""

    octets: int = 0
    """Bytes, delimiters included."""
    good: int = 0
    """Frames."""
    bad: int = 0
    """Pieces between delimiters that were no frames."""


class FrameReader:
    """Finds the frames in a stream of bytes that arrives in pieces; never raises, whatever it is fed."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.counts = Counts()
        self._limit = limit
        self._rest = bytearray()
        self._skip = False

    def feed(self, data: bytes | bytearray) -> list[Frame]:
        """The frames that ``data`` completes, in order."""
        self.counts.octets += len(data)
        frames: list[Frame] = []
        *ended, rest = bytes(data).split(b"\0")
        for piece in ended:
            encoded = bytes(self._rest) + piece if self._rest else piece
            self._rest.clear()
            if self._skip:
                self._skip = False
            elif encoded:
                frame = decode(encoded) if len(encoded) <= self._limit else None
                if frame is None:
                    self.counts.bad += 1
                else:
                    self.counts.good += 1
                    frames.append(frame)
        if not self._skip:
            self._rest += rest
            if len(self._rest) > self._limit:
                self._rest.clear()
                self._skip = True
                self.counts.bad += 1
        return frames

    def reset(self) -> None:
        """Forgets a frame begun: the stream starts anew."""
        self._rest.clear()
        self._skip = False
