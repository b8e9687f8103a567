"""Thumb instructions that hold an address: an encoder beside a decoder for each.

The Thumb-2 instruction set stores a 32-bit instruction as two little-endian halfwords, the one with the opcode
first. Branch offsets count from the instruction's address plus 4 and are scattered over the halfwords with their
top bits exclusive-or'ed with the sign, so that old two-halfword BL pairs remain valid. Literal loads and ADR count
from that PC value rounded down to a word. Section numbers are those of the ARMv7-M Architecture Reference Manual
(DDI 0403E).

Decoders return what the field means in bytes (branches: without the +4). Encoders take the same value and raise
:class:`OverflowError` when the field cannot hold it. ``*_MASK`` has a one for every bit of the instruction that
is not part of the field, as a little-endian number over the instruction's bytes.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from hotflash.elf.hooks import decode_modified_immediate

_H = struct.Struct("<H")
_HH = struct.Struct("<HH")
_I = struct.Struct("<I")

B24_MASK = 0xD000F800
B20_MASK = 0xD000FBC0
B11_MASK = 0xF800
B8_MASK = 0xFF00
CBZ_MASK = 0xFD07
MOV_MASK = 0x8F00FBF0
LDR12_MASK = 0xF000FF7F
LDR8_MASK = 0xFF00
ADR_MASK = 0x8F00FB5F
IMM8_MASK = 0xFF00


def _range(value: int, low: int, high: int, step: int) -> None:
    if not low <= value <= high:
        raise OverflowError(f"{value:+#x} is outside {low:+#x} to {high:+#x}")
    if value % step:
        raise OverflowError(f"{value:+#x} is not a multiple of {step}")


def get_b24(data: bytes | bytearray, at: int) -> int:
    """BL T1 (A7.7.18) and B T4 (A7.7.12): S:I1:I2:imm10:imm11:0, 16 MiB either way."""
    first, second = _HH.unpack_from(data, at)
    sign = first >> 10 & 1
    i1 = ~(second >> 13 ^ sign) & 1
    i2 = ~(second >> 11 ^ sign) & 1
    value: int = i1 << 23 | i2 << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1
    return value - int(sign << 24)


@lru_cache(maxsize=4096)
def b24(value: int) -> int:
    """The bits of such a field, as a little-endian number. Code has the same few distances over and over."""
    if not -0x1000000 <= value < 0x1000000 or value & 1:
        _range(value, -0x1000000, 0xFFFFFE, 2)
    sign = value >> 24 & 1
    j1 = ~(value >> 23 ^ sign) & 1
    j2 = ~(value >> 22 ^ sign) & 1
    return (j1 << 13 | j2 << 11 | value >> 1 & 0x7FF) << 16 | sign << 10 | value >> 12 & 0x3FF


def put_b24(data: bytearray, at: int, value: int) -> None:
    """See :func:`get_b24`."""
    _I.pack_into(data, at, _I.unpack_from(data, at)[0] & B24_MASK | b24(value))


def get_b20(data: bytes | bytearray, at: int) -> int:
    """B<c> T3 (A7.7.12): S:J2:J1:imm6:imm11:0, 1 MiB either way; J1 and J2 are plain here."""
    first, second = _HH.unpack_from(data, at)
    value: int = (second >> 11 & 1) << 19 | (second >> 13 & 1) << 18 | (first & 0x3F) << 12 | (second & 0x7FF) << 1
    return value - int((first >> 10 & 1) << 20)


def put_b20(data: bytearray, at: int, value: int) -> None:
    """See :func:`get_b20`."""
    _range(value, -0x100000, 0xFFFFE, 2)
    first, second = _HH.unpack_from(data, at)
    first = first & 0xFBC0 | (value >> 20 & 1) << 10 | value >> 12 & 0x3F
    second = second & 0xD000 | (value >> 18 & 1) << 13 | (value >> 19 & 1) << 11 | value >> 1 & 0x7FF
    _HH.pack_into(data, at, first, second)


def get_b11(data: bytes | bytearray, at: int) -> int:
    """B T2 (A7.7.12): imm11:0, 2 KiB either way."""
    value: int = (_H.unpack_from(data, at)[0] & 0x7FF) << 1
    return value - ((value & 0x800) << 1)


def put_b11(data: bytearray, at: int, value: int) -> None:
    """See :func:`get_b11`."""
    _range(value, -0x800, 0x7FE, 2)
    _H.pack_into(data, at, _H.unpack_from(data, at)[0] & 0xF800 | value >> 1 & 0x7FF)


def get_b8(data: bytes | bytearray, at: int) -> int:
    """B<c> T1 (A7.7.12): imm8:0, 256 bytes either way."""
    value: int = (_H.unpack_from(data, at)[0] & 0xFF) << 1
    return value - ((value & 0x100) << 1)


def put_b8(data: bytearray, at: int, value: int) -> None:
    """See :func:`get_b8`."""
    _range(value, -0x100, 0xFE, 2)
    _H.pack_into(data, at, _H.unpack_from(data, at)[0] & 0xFF00 | value >> 1 & 0xFF)


def get_cbz(data: bytes | bytearray, at: int) -> int:
    """CBZ, CBNZ T1 (A7.7.21): i:imm5:0, forward only, up to 126 bytes."""
    half = _H.unpack_from(data, at)[0]
    return int((half >> 9 & 1) << 6 | (half >> 3 & 0x1F) << 1)


def put_cbz(data: bytearray, at: int, value: int) -> None:
    """See :func:`get_cbz`."""
    _range(value, 0, 0x7E, 2)
    half = _H.unpack_from(data, at)[0] & 0xFD07
    _H.pack_into(data, at, half | (value >> 6 & 1) << 9 | (value >> 1 & 0x1F) << 3)


def get_mov16(data: bytes | bytearray, at: int) -> int:
    """MOVW T3 (A7.7.76) and MOVT T1 (A7.7.79): imm4:i:imm3:imm8, unsigned."""
    first, second = _HH.unpack_from(data, at)
    value: int = (first & 0xF) << 12 | (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
    return value


def get_move(code: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Register and value of a MOV with an immediate, T1 to T3 (A7.7.76), or None."""
    if at + 2 > len(code):
        return None
    half = _H.unpack_from(code, at)[0]
    if half >> 11 == 4:
        return half >> 8 & 7, half & 0xFF
    if at + 4 > len(code):
        return None
    first, second = _HH.unpack_from(code, at)
    if first & 0xFBF0 == 0xF240 and not second & 0x8000:
        return second >> 8 & 15, get_mov16(code, at)
    if first & 0xFBEF == 0xF04F and not second & 0x8000:
        bits = (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
        return second >> 8 & 15, decode_modified_immediate(bits)
    return None


def put_mov16(data: bytearray, at: int, value: int) -> None:
    """See :func:`get_mov16`."""
    _range(value, 0, 0xFFFF, 1)
    first, second = _HH.unpack_from(data, at)
    first = first & 0xFBF0 | value >> 12 | (value >> 11 & 1) << 10
    _HH.pack_into(data, at, first, second & 0x8F00 | (value >> 8 & 7) << 12 | value & 0xFF)


def get_ldr12(data: bytes | bytearray, at: int) -> int:
    """LDR (literal) T2 (A7.7.44): U:imm12, sign and magnitude, 4,095 bytes either way."""
    first, second = _HH.unpack_from(data, at)
    value: int = second & 0xFFF
    return value if first & 0x80 else -value


def put_ldr12(data: bytearray, at: int, value: int) -> None:
    """See :func:`get_ldr12`."""
    _range(value, -0xFFF, 0xFFF, 1)
    first, second = _HH.unpack_from(data, at)
    _HH.pack_into(data, at, first & 0xFF7F | (value >= 0) << 7, second & 0xF000 | abs(value))


def get_ldr8(data: bytes | bytearray, at: int) -> int:
    """LDR (literal) T1 (A7.7.44) and ADR T1 (A7.7.7): imm8:00, forward only, up to 1,020 bytes."""
    value: int = (_H.unpack_from(data, at)[0] & 0xFF) << 2
    return value


def put_ldr8(data: bytearray, at: int, value: int) -> None:
    """See :func:`get_ldr8`."""
    _range(value, 0, 0x3FC, 4)
    _H.pack_into(data, at, _H.unpack_from(data, at)[0] & 0xFF00 | value >> 2)


def get_adr(data: bytes | bytearray, at: int) -> int:
    """ADR T2 (subtract) and T3 (add) (A7.7.7): i:imm3:imm8; the sign is in two opcode bits."""
    first, second = _HH.unpack_from(data, at)
    value: int = (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
    return -value if first & 0x00A0 == 0x00A0 else value


def put_adr(data: bytearray, at: int, value: int) -> None:
    """See :func:`get_adr`."""
    _range(value, -0xFFF, 0xFFF, 1)
    first, second = _HH.unpack_from(data, at)
    size = abs(value)
    first = first & 0xFB5F | (0x00A0 if value < 0 else 0) | (size >> 11 & 1) << 10
    _HH.pack_into(data, at, first, second & 0x8F00 | (size >> 8 & 7) << 12 | size & 0xFF)


def get_imm8(data: bytes | bytearray, at: int) -> int:
    """MOV T1 (A7.7.76) and ADD T2 (A7.7.3): imm8, unsigned."""
    value: int = data[at]
    return value


def put_imm8(data: bytearray, at: int, value: int) -> None:
    """See :func:`get_imm8`."""
    _range(value, 0, 0xFF, 1)
    data[at] = value


def veneer(target: int, *, wide: bool = True) -> bytes:
    """A jump to any address, for a word-aligned place; the address is its last word. No register is lost.

    Cores with 32-bit instructions: ``ldr.w pc, [pc, #0]`` (A7.7.44 T2). Others (``wide`` false): ``push {r0, r1}``,
    ``ldr r0, [pc, #4]``, ``str r0, [sp, #4]``, ``pop {r0, pc}`` (ARMv6-M ARM, DDI 0419E: A6.7.50, A6.7.27 T1,
    A6.7.59 T2, A6.7.49), which needs 8 bytes of stack for a moment. Flags and ip are kept too: a conditional
    branch's other side, or GCC's static chain, may still want them.
    """
    code = b"\xdf\xf8\x00\xf0" if wide else b"\x03\xb4\x01\x48\x01\x90\x01\xbd"
    return code + _I.pack(target & 0xFFFFFFFF)


def no_branch(width: int, *, wide: bool) -> bytes:
    """What stands for a branch of ``width`` bytes to an undefined weak symbol (AAELF32, 5.6.1.3): it does nothing.

    NOP.W (A7.7.88), which only cores with 32-bit instructions have, else a branch over a NOP, as GNU ld has it.
    """
    if width == 2:
        return NO_BRANCHES[2]
    return NO_BRANCHES[0] if wide else NO_BRANCHES[1]


NO_BRANCHES = (b"\xaf\xf3\x00\x80", b"\x00\xe0\x00\xbf", b"\x00\xbf")


def stub(hook: int, *, wide: bool = True) -> bytes:
    """Entry stub for a hook table word at address ``hook``, for a word-aligned place.

    Cores with 32-bit instructions: ``movw ip``, ``movt ip``, ``ldr.w pc, [ip]`` (A7.7.76, A7.7.79, A7.7.43 T3); ip
    is the linkage register, free at every call (AAPCS32, 6.1.1). Others as in :func:`veneer`, with an ``ldr r0, [r0]``.
    """
    if not wide:
        return b"\x03\xb4\x02\x48\x00\x68\x01\x90\x01\xbd\x00\xbf" + _I.pack(hook)
    code = bytearray(b"\x40\xf2\x00\x0c\xc0\xf2\x00\x0c\xdc\xf8\x00\xf0")
    put_mov16(code, 0, hook & 0xFFFF)
    put_mov16(code, 4, hook >> 16)
    return bytes(code)


VENEER_MOST = 16
"""Bytes that :func:`veneer_target` wants to see."""

_VENEERS = {
    b"\x5f\xf8\x00\xf0": 4,  # GNU ld: ldr.w pc, [pc, #-0]
    b"\xdf\xf8\x00\xf0": 4,  # veneer()
    b"\x01\xb4\x02\x48\x84\x46\x01\xbc\x60\x47\x00\xbf": 12,  # GNU ld: push {r0}, ldr, mov ip, pop, bx ip, nop
    b"\x03\xb4\x01\x48\x01\x90\x01\xbd": 8,  # veneer()
}
"""Codes that load the PC from a word, and where that word is."""


def veneer_target(code: bytes, address: int) -> int | None:
    """Where a veneer that GNU ld or :func:`veneer` made leads, or None when ``code`` at ``address`` is not one.

    Known are the shapes of cores with 32-bit instructions: a literal load to the PC (GNU ld writes an offset of -0)
    and movw, movt, bx ip (pure code); and those of ARMv6-M and ARMv8-M Baseline that load a literal.
    """
    literal = next((at for shape, at in _VENEERS.items() if code.startswith(shape)), 0)
    if literal and len(code) >= literal + 4 and address % 4 == 0:
        return int.from_bytes(code[literal : literal + 4], "little")
    if len(code) >= 10 and code[8:10] == b"\x60\x47":
        low, high = _HH.unpack_from(code, 0), _HH.unpack_from(code, 4)
        if low[0] & 0xFBF0 == 0xF240 and high[0] & 0xFBF0 == 0xF2C0 and low[1] & high[1] & 0x8F00 == 0x0C00:
            return get_mov16(code, 4) << 16 | get_mov16(code, 0)
    return None


_LONG = bytes(0xE4 <= high < 0xE8 or 0xF4 <= high < 0xF8 for high in range(0x100))
_CONDITIONAL = bytes(0xD0 <= high < 0xDE for high in range(0x100))
_NEGATIVE = bytes(low >= 0x80 for low in range(0x100))
"""Which bytes of a halfword may begin a branch backwards, so that most code is passed over quickly: the upper one of B
T2, BL, B T4 and B<c> T3; that of B<c> T1, together with the lower one."""


def branch_offset(code: bytes, at: int) -> tuple[int | None, bool]:
    """Offset of the branch at ``at``, None when it is none, and whether it is a BL (A5.2, A5.3.4)."""
    half = _H.unpack_from(code, at)[0]
    if half >> 11 == 0x1C:
        return get_b11(code, at), False
    if half >> 12 == 0xD and half >> 8 & 0xF < 0xE:
        return get_b8(code, at), False
    if half >> 11 == 0x1E and at + 4 <= len(code):
        second = _H.unpack_from(code, at + 2)[0]
        if second & 0x9000 == 0x9000:
            return get_b24(code, at), bool(second & 0x4000)
        if second & 0xD000 == 0x8000 and half >> 6 & 0xF < 0xE:
            return get_b20(code, at), False
    return None, False


def branches_to_start(code: bytes, spans: list[tuple[int, int]]) -> list[tuple[int, bool]]:
    """Where code branches to its own first byte: (offset, whether it is a BL); conditional forms included.

    ``spans`` are the (start, end) offsets that hold instructions. Data between them is not looked at.
    """
    found = []
    for start, end in spans:
        count = max(end - start, 0) // 2
        upper, lower = code[start + 1 : start + 2 * count : 2], code[start : start + 2 * count : 2]
        short = int.from_bytes(upper.translate(_CONDITIONAL), "little")
        short &= int.from_bytes(lower.translate(_NEGATIVE), "little")
        flags = (short | int.from_bytes(upper.translate(_LONG), "little")).to_bytes(count, "little")
        likely = {}
        number = flags.find(1)
        while number >= 0:
            at = start + 2 * number
            number = flags.find(1, number + 1)
            offset, link = branch_offset(code, at)
            if offset == -(at + 4):
                likely[at] = link
        if not likely:
            continue
        at = start  # walk the instructions: a 32-bit one's second half may look like a branch
        while at + 2 <= end:
            if at in likely:
                found.append((at, likely[at]))
            at += 4 if code[at + 1] >= 0xE8 else 2  # the first halfword is 0xE800 or above (A5.1)
    return found
