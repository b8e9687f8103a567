"""The relocations of AAELF32 (Arm IHI 0044, table 5-2 and after) that code for Cortex-M holds.

A kind is a field (its decoder, encoder and the bits around it) and a rule for the value: with S the target's
address, A the addend, T 1 for a Thumb function and P the place, either ``(S + A) | T``, the same less P, or
the same less P rounded down to a word. The addend of a REL relocation is what the field holds.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotflash.link import thumb

if TYPE_CHECKING:
    from collections.abc import Callable

_I = struct.Struct("<I")
_J = struct.Struct("<i")

ABSOLUTE, RELATIVE, WORD_RELATIVE = 0, 1, 2

NONE, ABS32, REL32, THM_CALL, V4BX, TARGET1, THM_JUMP24 = 0, 2, 3, 10, 40, 38, 30
THM_MOVW_ABS_NC, THM_MOVT_ABS = 47, 48
TLS_LDO32, TLS_IE32, TLS_LE32 = 106, 107, 108


def get_word(data: bytes | bytearray, at: int) -> int:
    """A data word, signed."""
    value: int = _J.unpack_from(data, at)[0]
    return value


def put_word(data: bytearray, at: int, value: int) -> None:
    """A data word; wraps as addresses do."""
    _I.pack_into(data, at, value & 0xFFFFFFFF)


def get_prel31(data: bytes | bytearray, at: int) -> int:
    """The low 31 bits of a word, signed; the top bit is not the linker's (exception index tables)."""
    value: int = _I.unpack_from(data, at)[0] & 0x7FFFFFFF
    return value - ((value & 0x40000000) << 1)


def put_prel31(data: bytearray, at: int, value: int) -> None:
    """See :func:`get_prel31`."""
    if not -0x40000000 <= value < 0x40000000:
        raise OverflowError(f"{value:+#x} does not fit 31 bits")
    _I.pack_into(data, at, _I.unpack_from(data, at)[0] & 0x80000000 | value & 0x7FFFFFFF)


def get_half(data: bytes | bytearray, at: int) -> int:
    """A data halfword, signed."""
    return int.from_bytes(data[at : at + 2], "little", signed=True)


def put_half(data: bytearray, at: int, value: int) -> None:
    """A data halfword; -32768 to 65535."""
    if not -0x8000 <= value <= 0xFFFF:
        raise OverflowError(f"{value:#x} does not fit 16 bits")
    data[at : at + 2] = (value & 0xFFFF).to_bytes(2, "little")


def get_byte(data: bytes | bytearray, at: int) -> int:
    """A data byte, signed."""
    return data[at] - ((data[at] & 0x80) << 1)


def put_byte(data: bytearray, at: int, value: int) -> None:
    """A data byte; -128 to 255."""
    if not -0x80 <= value <= 0xFF:
        raise OverflowError(f"{value:#x} does not fit 8 bits")
    data[at] = value & 0xFF


def _get_movw(data: bytes | bytearray, at: int) -> int:
    """The addend of a MOVW or MOVT is its immediate, signed (AAELF32, 5.6.1.5)."""
    value = thumb.get_mov16(data, at)
    return value - ((value & 0x8000) << 1)


def _put_movw(data: bytearray, at: int, value: int) -> None:
    thumb.put_mov16(data, at, value & 0xFFFF)


def _put_movt(data: bytearray, at: int, value: int) -> None:
    thumb.put_mov16(data, at, value >> 16 & 0xFFFF)


def get_pc8(data: bytes | bytearray, at: int) -> int:
    """The addend in an R_ARM_THM_PC8 field, which cannot hold the usual -4 as it is (AAELF32, 5.6.1.4)."""
    return (thumb.get_ldr8(data, at) + 4 & 0x3FF) - 4


def _put_group(shift: int) -> Callable[[bytearray, int, int], None]:
    def put(data: bytearray, at: int, value: int) -> None:
        thumb.put_imm8(data, at, value >> shift & 0xFF)

    return put


@dataclass(frozen=True, slots=True)
class Kind:
    """How one relocation kind is read, written and valued."""

    number: int
    name: str
    width: int
    """Bytes of the place."""
    mask: int
    """Bits around the field, as a little-endian number."""
    rule: int
    """ABSOLUTE, RELATIVE or WORD_RELATIVE."""
    get: Callable[[bytes | bytearray, int], int]
    put: Callable[[bytearray, int, int], None]
    reach: tuple[int, int] | None = None
    """Branches: least and greatest offset that the field holds."""
    part: str = ""
    """``low`` or ``high`` when the field holds half an address; ``byte`` when a quarter."""
    addend: Callable[[bytes | bytearray, int], int] | None = None
    """Reads the addend of a REL relocation, where that is not what the field means to the core."""

    @property
    def branch(self) -> bool:
        """A branch, which may go through a veneer; its field counts from P + 4."""
        return self.reach is not None


def _kinds() -> dict[int, Kind]:
    word = (4, 0, ABSOLUTE, get_word, put_word)
    relative = (4, 0, RELATIVE, get_word, put_word)
    b24 = (4, thumb.B24_MASK, RELATIVE, thumb.get_b24, thumb.put_b24, (-0x1000000, 0xFFFFFE))
    b20 = (4, thumb.B20_MASK, RELATIVE, thumb.get_b20, thumb.put_b20, (-0x100000, 0xFFFFE))
    table = [
        Kind(ABS32, "R_ARM_ABS32", *word),
        Kind(REL32, "R_ARM_REL32", *relative),
        Kind(5, "R_ARM_ABS16", 2, 0, ABSOLUTE, get_half, put_half),
        Kind(8, "R_ARM_ABS8", 1, 0, ABSOLUTE, get_byte, put_byte),
        Kind(THM_CALL, "R_ARM_THM_CALL", *b24),
        Kind(11, "R_ARM_THM_PC8", 2, thumb.LDR8_MASK, WORD_RELATIVE, thumb.get_ldr8, thumb.put_ldr8, addend=get_pc8),
        Kind(THM_JUMP24, "R_ARM_THM_JUMP24", *b24),
        Kind(TARGET1, "R_ARM_TARGET1", *word),  # as R_ARM_ABS32 on bare metal
        Kind(41, "R_ARM_TARGET2", *relative),  # as R_ARM_REL32, GNU ld's default for this target
        Kind(42, "R_ARM_PREL31", 4, 0x80000000, RELATIVE, get_prel31, put_prel31),
        Kind(47, "R_ARM_THM_MOVW_ABS_NC", 4, thumb.MOV_MASK, ABSOLUTE, _get_movw, _put_movw, part="low"),
        Kind(48, "R_ARM_THM_MOVT_ABS", 4, thumb.MOV_MASK, ABSOLUTE, _get_movw, _put_movt, part="high"),
        Kind(49, "R_ARM_THM_MOVW_PREL_NC", 4, thumb.MOV_MASK, RELATIVE, _get_movw, _put_movw, part="low"),
        Kind(50, "R_ARM_THM_MOVT_PREL", 4, thumb.MOV_MASK, RELATIVE, _get_movw, _put_movt, part="high"),
        Kind(51, "R_ARM_THM_JUMP19", *b20),
        Kind(52, "R_ARM_THM_JUMP6", 2, thumb.CBZ_MASK, RELATIVE, thumb.get_cbz, thumb.put_cbz, (0, 126)),
        Kind(53, "R_ARM_THM_ALU_PREL_11_0", 4, thumb.ADR_MASK, WORD_RELATIVE, thumb.get_adr, thumb.put_adr),
        Kind(54, "R_ARM_THM_PC12", 4, thumb.LDR12_MASK, WORD_RELATIVE, thumb.get_ldr12, thumb.put_ldr12),
        Kind(55, "R_ARM_ABS32_NOI", *word),
        Kind(56, "R_ARM_REL32_NOI", *relative),
        Kind(TLS_LDO32, "R_ARM_TLS_LDO32", *word),  # of debug information: from the first variable on
        Kind(TLS_IE32, "R_ARM_TLS_IE32", *relative),  # of a word that holds what R_ARM_TLS_LE32 would be
        Kind(TLS_LE32, "R_ARM_TLS_LE32", *word),  # from the thread pointer on
        Kind(102, "R_ARM_THM_JUMP11", 2, thumb.B11_MASK, RELATIVE, thumb.get_b11, thumb.put_b11, (-2048, 2046)),
        Kind(103, "R_ARM_THM_JUMP8", 2, thumb.B8_MASK, RELATIVE, thumb.get_b8, thumb.put_b8, (-256, 254)),
    ]
    for group in range(4):
        name = f"R_ARM_THM_ALU_ABS_G{group}" + ("_NC" if group < 3 else "")
        table.append(
            Kind(132 + group, name, 2, thumb.IMM8_MASK, ABSOLUTE, thumb.get_imm8, _put_group(8 * group), part="byte")
        )
    return {kind.number: kind for kind in table}


KINDS = _kinds()
"""The kinds that are handled, by number."""

REACH = {kind.number: kind.reach for kind in KINDS.values() if kind.reach is not None}
"""Of branches: least and greatest offset that the field holds."""

IGNORED = {NONE, V4BX}
"""Kinds without an effect here: V4BX marks a BX for ARMv4 linkers."""

THREAD = {TLS_LDO32, TLS_IE32, TLS_LE32}
"""Kinds for thread-local variables, and only for these."""

NO_THUMB_BIT = {11, 54, 55, 56} | THREAD
"""Kinds without interworking bit: what they lead to is loaded, or the kind says so."""

NAMES = {
    NONE: "R_ARM_NONE", V4BX: "R_ARM_V4BX",
    1: "R_ARM_PC24", 4: "R_ARM_LDR_PC_G0", 6: "R_ARM_ABS12", 7: "R_ARM_THM_ABS5", 9: "R_ARM_SBREL32",
    13: "R_ARM_TLS_DESC", 16: "R_ARM_THM_XPC22", 17: "R_ARM_TLS_DTPMOD32", 18: "R_ARM_TLS_DTPOFF32",
    19: "R_ARM_TLS_TPOFF32", 20: "R_ARM_COPY", 21: "R_ARM_GLOB_DAT", 22: "R_ARM_JUMP_SLOT", 23: "R_ARM_RELATIVE",
    24: "R_ARM_GOTOFF32", 25: "R_ARM_BASE_PREL", 26: "R_ARM_GOT_BREL", 27: "R_ARM_PLT32", 28: "R_ARM_CALL",
    29: "R_ARM_JUMP24", 39: "R_ARM_SBREL31", 43: "R_ARM_MOVW_ABS_NC", 44: "R_ARM_MOVT_ABS", 94: "R_ARM_PLT32_ABS",
    95: "R_ARM_GOT_ABS", 96: "R_ARM_GOT_PREL", 97: "R_ARM_GOT_BREL12", 98: "R_ARM_GOTOFF12", 100: "R_ARM_GNU_VTENTRY",
    101: "R_ARM_GNU_VTINHERIT", 104: "R_ARM_TLS_GD32", 105: "R_ARM_TLS_LDM32",
    136: "R_ARM_THM_BF16", 137: "R_ARM_THM_BF12",
    138: "R_ARM_THM_BF18", 160: "R_ARM_IRELATIVE", 161: "R_ARM_GOTFUNCDESC",
} | {number: kind.name for number, kind in KINDS.items()}  # fmt: skip
"""Names for messages, of handled and unhandled kinds."""


def name_of(kind: int) -> str:
    """A relocation kind's name, or its number when it has none here."""
    return NAMES.get(kind, f"relocation kind {kind}")
