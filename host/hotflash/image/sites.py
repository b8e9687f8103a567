"""The jumps that the image builder puts in the place of a patch point's nops, and their decoders.

A patch point jumps through one word of the hook table. The 4-nop form takes two instructions and needs a base
that ``mov.w`` can hold; the 6-nop form takes three and reaches any table::

    4 nops, 8 bytes:    mov.w ip, #base         6 nops, 12 bytes:   movw  ip, #low half
                        ldr.w pc, [ip, #offset]                     movt  ip, #high half
                                                                    ldr.w pc, [ip]

ip (r12) is the register that AAPCS32 (6.1.1) leaves to code between a call and its callee. Sections are those of
the ARMv7-M Architecture Reference Manual, DDI 0403E. A 32-bit Thumb instruction is two halfwords, the first at the
lower address (A5.1).
"""

from __future__ import annotations

import struct

from hotflash.elf.hooks import WINDOW, decode_modified_immediate, encode_modified_immediate

IP = 12
PC = 15
NOP = b"\x00\xbf"
"""NOP, encoding T1 (A7.7.88)."""


def encode_mov_immediate(rd: int, value: int) -> bytes | None:
    """Return ``mov.w rd, #value``, MOV (immediate) T2 (A7.7.76), or None when the value has no encoding."""
    imm12 = encode_modified_immediate(value)
    if imm12 is None:
        return None
    i, imm3, imm8 = imm12 >> 11, imm12 >> 8 & 7, imm12 & 0xFF
    return struct.pack("<HH", 0xF04F | i << 10, imm3 << 12 | rd << 8 | imm8)


def decode_mov_immediate(code: bytes) -> tuple[int, int] | None:
    """Return register and value of a MOV (immediate) T2, or None."""
    first, second = struct.unpack("<HH", code)
    if first & 0xFBFF != 0xF04F or second & 0x8000:
        return None
    return second >> 8 & 15, decode_modified_immediate(
        (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
    )


def _encode_half(opcode: int, rd: int, half: int) -> bytes:
    imm4, i, imm3, imm8 = half >> 12, half >> 11 & 1, half >> 8 & 7, half & 0xFF
    return struct.pack("<HH", opcode | i << 10 | imm4, imm3 << 12 | rd << 8 | imm8)


def _decode_half(opcode: int, code: bytes) -> tuple[int, int] | None:
    first, second = struct.unpack("<HH", code)
    if first & 0xFBF0 != opcode or second & 0x8000:
        return None
    half = (first & 15) << 12 | (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
    return second >> 8 & 15, half


def encode_movw(rd: int, half: int) -> bytes:
    """Return ``movw rd, #half``, MOV (immediate) T3 (A7.7.76); half is 0 to 0xFFFF."""
    return _encode_half(0xF240, rd, half)


def decode_movw(code: bytes) -> tuple[int, int] | None:
    """Return register and halfword of a MOV (immediate) T3, or None."""
    return _decode_half(0xF240, code)


def encode_movt(rd: int, half: int) -> bytes:
    """Return ``movt rd, #half``, MOVT T1 (A7.7.79); half is 0 to 0xFFFF."""
    return _encode_half(0xF2C0, rd, half)


def decode_movt(code: bytes) -> tuple[int, int] | None:
    """Return register and halfword of a MOVT T1, or None."""
    return _decode_half(0xF2C0, code)


def encode_ldr_immediate(rt: int, rn: int, offset: int) -> bytes:
    """Return ``ldr.w rt, [rn, #offset]``, LDR (immediate) T3 (A7.7.43); offset is 0 to 4,095."""
    return struct.pack("<HH", 0xF8D0 | rn, rt << 12 | offset)


def decode_ldr_immediate(code: bytes) -> tuple[int, int, int] | None:
    """Return rt, rn and offset of an LDR (immediate) T3, or None; rn 15 is LDR (literal)."""
    first, second = struct.unpack("<HH", code)
    if first & 0xFFF0 != 0xF8D0 or first & 15 == PC:
        return None
    return second >> 12, first & 15, second & 0xFFF


def window_base(hook_base: int, hook: int) -> int:
    """Return the base address whose 4-nop jumps reach that entry of the table at ``hook_base``."""
    return hook_base + 4 * hook // WINDOW * WINDOW


def encode_jump(hook_base: int, hook: int, nops: int) -> bytes:
    """Return the ``2 * nops`` bytes that jump through entry ``hook`` of the table at ``hook_base``.

    Raises ValueError for a number of nops other than 4 and 6, and when the entry is out of a 4-nop jump's reach.
    """
    address = hook_base + 4 * hook
    if nops == 6:
        low, high = encode_movw(IP, address & 0xFFFF), encode_movt(IP, address >> 16)
        return low + high + encode_ldr_immediate(PC, IP, 0)
    if nops != 4:
        raise ValueError(f"no jump for a patch point of {nops} nops")
    base = window_base(hook_base, hook)
    mov = encode_mov_immediate(IP, base)
    if mov is None:
        raise ValueError(f"hook {hook}: {base:#010x} is no Thumb modified immediate")
    return mov + encode_ldr_immediate(PC, IP, address - base)


def decode_jump(code: bytes) -> tuple[int, int] | None:
    """Return the address of the hook word that a site's jump goes through, and the site's nops, or None.

    ``code`` holds at least the 8 bytes of the shorter form.
    """
    mov, load = decode_mov_immediate(code[:4]), decode_ldr_immediate(code[4:8])
    if mov is not None and load is not None and mov[0] == IP and load[:2] == (PC, IP):
        return mov[1] + load[2], 4
    if len(code) < 12:
        return None
    low, high, last = decode_movw(code[:4]), decode_movt(code[4:8]), decode_ldr_immediate(code[8:12])
    if low is None or high is None or low[0] != IP or high[0] != IP or last != (PC, IP, 0):
        return None
    return high[1] << 16 | low[1], 6
