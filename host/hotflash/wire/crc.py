"""CRC-32 of frames, transactions and images: crcmod's predefined ``crc-32``.

Polynomial 0x04C11DB7, reflected, initial value and final XOR 0xFFFFFFFF; the check value over ``123456789`` is
0xCBF43926. crcmod uses its C extension where it was built, and is slower and just as right without.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import cast

_Function = Callable[[bytes | bytearray | memoryview, int], int]


@cache
def _function() -> _Function:
    from crcmod.predefined import mkPredefinedCrcFun

    return cast("_Function", mkPredefinedCrcFun("crc-32"))


def crc32(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """The CRC-32 of ``data``; with ``crc``, that of what came before, continued."""
    return _function()(data, crc)
