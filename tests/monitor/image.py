"""Applications for the harness: images as docs/SPEC.md, Image header, describes them, built independently of
``hotflash.image``."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from .board import Map

VECTORS = 48
HEADER = 192
MARK = 160
CRC = 24
FUNCTION = 64
"""Bytes of each function in the test applications, site included."""


@dataclass(frozen=True)
class App:
    """An application's image in flash."""

    base: int
    data: bytes
    """As it is written: the valid mark erased."""
    crc: int
    header: int
    """Offset of the header."""
    initial: tuple[int, ...]
    """Initial value of each hook."""
    build_id: bytes
    hook_base: int
    capacity: int

    @property
    def mark(self) -> int:
        """Offset of the valid mark."""
        return self.header + MARK

    @property
    def valid(self) -> bytes:
        """The image with its mark, as it is in flash when it is valid."""
        mark = struct.pack("<4I", 0x4B524D56, self.crc, self.crc ^ 0xFFFFFFFF, 0x4B524D56)
        return self.data[: self.mark] + mark + self.data[self.mark + 16 :]

    @property
    def build_tag(self) -> int:
        """First word of the build ID."""
        return int.from_bytes(self.build_id[:4], "little")

    def body(self, hook: int) -> tuple[int, int]:
        """First address and length of a function's body in flash."""
        return self.initial[hook] & ~1, FUNCTION - 8


def make(
    where: Map,
    *,
    hooks: int = 24,
    spare: int = 8,
    name: bytes = b"first",
    hot: bool = True,
    size: int = 0,
    changes: dict[str, int] | None = None,
) -> App:
    """Builds an application.

    :param hooks: number of its functions, all hookable
    :param spare: spare hooks
    :param name: makes the build ID
    :param hot: False: a PLAIN image, as another programmer leaves it
    :param size: pads the code to at least so many bytes
    :param changes: fields of the header to be falsified, before the CRC is taken
    """
    base = where.flash_base
    header_at = VECTORS * 4
    code_at = header_at + HEADER
    build_id = (zlib.crc32(name).to_bytes(4, "little") * 5)[:20]
    capacity = hooks + spare
    initial = tuple(base + code_at + FUNCTION * i + 8 + 1 for i in range(hooks))
    code = bytearray((17 * i + 3) & 0xFF for i in range(max(FUNCTION * hooks, size)))
    init_at = code_at + len(code)
    tail = struct.pack(f"<{hooks}I", *initial)
    fields = {
        "magic": 0x4D494648,
        "version_size": 1 | HEADER << 16,
        "flags": 1 if hot else 0,
        "self": base + header_at,
        "base": base,
        "length": init_at + len(tail) if hot else 0,
        "crc": 0xFFFFFFFF,
        "abi": 0x10000,
        "vector_count": VECTORS,
        "hook_base": where.hook_base,
        "hook_capacity": capacity,
        "hook_count": hooks,
        "hook_init": base + init_at,
        "ram_start": where.ram_base,
        "ram_end": where.ram_base + where.ram_size,
        "nops": 4,
    }
    for field, value in (changes or {}).items():
        if field not in fields:
            raise ValueError(f"no such field: {field}")
        fields[field] = value
    header = struct.pack("<16I", *fields.values()) + build_id + bytes(8 * 8 + 12)
    header += b"\xff" * 16 + bytes(16)
    assert len(header) == HEADER
    vectors = struct.pack("<2I", where.ram_base + where.ram_size, initial[0] if initial else base + 1)
    image = bytearray(vectors.ljust(header_at, b"\0") + header + code + tail)
    crc = zlib.crc32(image)
    if hot:
        struct.pack_into("<I", image, header_at + CRC, crc)
    return App(base, bytes(image), crc, header_at, initial, build_id, where.hook_base, capacity)
