"""Consistent Overhead Byte Stuffing: Cheshire and Baker, IEEE/ACM Transactions on Networking 7(2), 1999.

The encoded form holds no zero byte, so that a zero can end a frame. A code byte n < 255 stands for n - 1 bytes
and a zero, 255 for 254 bytes without one; the last block's zero is not part of the data.
"""

from __future__ import annotations

_FULL = 254
"""Bytes in a block that no zero ends."""


def encode(data: bytes | bytearray) -> bytes:
    """``data`` without zeros, at most one byte longer per 254, and at least one; without the ending zero."""
    out = bytearray()
    blocks = bytes(data).split(b"\0")
    last = len(blocks) - 1
    for index, block in enumerate(blocks):
        at, left = 0, len(block)
        while left >= _FULL:
            out.append(0xFF)
            out += block[at : at + _FULL]
            at += _FULL
            left -= _FULL
        # A full block that ends the data needs no code behind it.
        if left or index != last or not at:
            out.append(left + 1)
            out += block[at:]
    return bytes(out)


def decode(data: bytes | bytearray) -> bytes | None:
    """The bytes that :func:`encode` was given; None if ``data`` holds a zero, or its last block is cut short."""
    if 0 in data:
        return None
    out = bytearray()
    at, end = 0, len(data)
    while at < end:
        code = data[at]
        stop = at + code
        if stop > end:
            return None
        out += data[at + 1 : stop]
        at = stop
        if code != 0xFF and at < end:
            out.append(0)
    return bytes(out)
