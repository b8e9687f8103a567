"""The application's image header: 192 bytes behind its vector table.

Mirrors ``struct hf_image_header`` of ``bootloader/src/hf_image.h``; docs/SPEC.md, "Image header", says
what the fields mean and who fills them in. All numbers are little-endian 32-bit words unless said otherwise.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hotflash.errors import RefusedError

MAGIC = 0x4D494648
"""``HFIM``."""
MAGIC_BYTES = MAGIC.to_bytes(4, "little")
VERSION = 1
SIZE = 192
"""Bytes of the header."""
ALIGN = 32
"""Alignment of the header."""
REACH = 2048
"""The header starts within that many bytes of the application's start."""
FLAG_HOT = 1
"""Patch points are jumps, vectors are merged: the monitor stays resident."""
MARK = 0x4B524D56
"""``VMRK``, first and last word of a valid mark."""
VECTORS = 9
"""Records for merged vector table entries."""
MARK_OFFSET = 160
"""Offset of the valid mark's 16 bytes in the header."""
CRC_OFFSET = 24
"""Offset of the word ``crc`` in the header."""
MARK_SIZE = 16
ERASED_MARK = (0xFFFFFFFF,) * 4

_LAYOUT = struct.Struct("<IHH14I20s18II4I4I")
assert _LAYOUT.size == SIZE  # noqa: S101 - a wrong format string must not get past an import

_WORDS = (
    "flags",
    "self_address",
    "base",
    "length",
    "crc",
    "abi",
    "vector_count",
    "hook_base",
    "hook_capacity",
    "hook_count",
    "hook_init",
    "ram_start",
    "ram_end",
    "nops",
)


@dataclass(frozen=True)
class ImageHeader:
    """One image header; :meth:`pack` and :meth:`unpack` are each other's inverse."""

    self_address: int
    """Address of the header itself (``self``)."""
    base: int
    """Start of the application's flash: its vector table."""
    abi: int
    """Least services ABI that the application needs: major * 65536 + minor."""
    vector_count: int
    """Words of the vector table that may be used."""
    hook_base: int
    """The hook table's address in RAM."""
    hook_capacity: int
    """Entries of the hook table, spares included."""
    ram_start: int
    """First byte of the application's RAM."""
    ram_end: int
    """One past its last byte."""
    nops: int
    """16-bit nops per patch point: 4 or 6."""
    flags: int = 0
    """:data:`FLAG_HOT`, or 0 for PLAIN."""
    length: int = 0
    """Bytes from ``base`` that the CRC covers; 0 in a PLAIN image."""
    crc: int = 0
    """CRC-32 with the words ``crc`` and ``mark`` read as 0xFF bytes."""
    hook_count: int = 0
    """Entries that ``hook_init`` fills; the others are spare."""
    hook_init: int = 0
    """Flash address of ``hook_count`` initial values."""
    build_id: bytes = bytes(20)
    """GNU build ID (SHA-1)."""
    stack_limit: int = 0
    """Lowest address of the main stack; 0: the application does not say."""
    vectors: tuple[tuple[int, int], ...] = ()
    """Merged entries of the vector table: index and what the application had there."""
    mark: tuple[int, int, int, int] = ERASED_MARK
    """The valid mark; anything but :func:`valid_mark` is not valid."""

    @property
    def hot(self) -> bool:
        """Whether the image went through the image builder."""
        return bool(self.flags & FLAG_HOT)

    def pack(self) -> bytes:
        """Return the header's 192 bytes."""
        if len(self.vectors) > VECTORS:
            raise ValueError(f"{len(self.vectors)} merged vectors, room for {VECTORS}")
        if len(self.build_id) != 20:
            raise ValueError(f"a build ID has 20 bytes, not {len(self.build_id)}")
        records = [number for vector in self.vectors for number in vector]
        records += [0] * (2 * VECTORS - len(records))
        words = [getattr(self, name) for name in _WORDS]
        tail = (self.stack_limit, *self.mark, 0, 0, 0, 0)
        return _LAYOUT.pack(MAGIC, VERSION, SIZE, *words, self.build_id, *records, *tail)

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> ImageHeader:
        """Read a header from its 192 bytes.

        Raises :class:`RefusedError` when it is cut short, has no magic, or is of another version.
        """
        if len(data) < SIZE:
            raise RefusedError(f"the image header is cut short: {len(data)} of {SIZE} bytes")
        magic, version, size, *rest = _LAYOUT.unpack_from(data)
        if magic != MAGIC:
            raise RefusedError(f"no image header: found {magic:#010x} instead of its magic {MAGIC:#010x}")
        if version != VERSION or size != SIZE:
            raise RefusedError(
                f"the image header is of version {version} with {size} bytes; "
                f"this hotflash knows version {VERSION} with {SIZE} bytes",
                hint="link the application with the hotflash.ld that comes with this hotflash (hotflash sdk --ldflags)",
            )
        count = len(_WORDS)
        records = rest[count + 1 : count + 1 + 2 * VECTORS]
        vectors = tuple((index, value) for index, value in zip(records[::2], records[1::2], strict=True) if index)
        stack_limit, first, second, third, fourth = rest[count + 1 + 2 * VECTORS : count + 6 + 2 * VECTORS]
        return cls(
            **dict(zip(_WORDS, rest[:count], strict=True)),
            build_id=rest[count],
            vectors=vectors,
            stack_limit=stack_limit,
            mark=(first, second, third, fourth),
        )

    @property
    def valid(self) -> bool:
        """Whether the valid mark is there and belongs to ``crc``."""
        return self.mark == valid_mark(self.crc)


def valid_mark(crc: int) -> tuple[int, int, int, int]:
    """Return the mark that declares an image of that CRC valid."""
    return (MARK, crc, crc ^ 0xFFFFFFFF, MARK)


def find(data: bytes | memoryview, base: int) -> int | None:
    """Return the header's offset in an application's bytes from ``base``, or None.

    A header counts when it is aligned, starts within :data:`REACH` bytes, has the magic, and knows its own
    address: a stray constant with the magic's value does not.
    """
    for offset in range(-base % ALIGN, min(REACH, len(data) - SIZE + 1), ALIGN):
        if bytes(data[offset : offset + 4]) != MAGIC_BYTES:
            continue
        if int.from_bytes(data[offset + 12 : offset + 16], "little") == base + offset:
            return offset
    return None
