"""Which hook table entry belongs to which patch point (docs/SPEC.md, Hook table and sites)."""

from __future__ import annotations

from hotflash.errors import FitError

ENTRIES = 1024
"""Entries that one base register value reaches: ``LDR.W`` T3 has a 12-bit offset (ARMv7-M ARM, A7.7.43)."""
_MOST = 64 * ENTRIES
"""Entries of the largest table: a hook's index has 16 bits."""
WINDOW = 4 * ENTRIES
"""Bytes of hook table that one base reaches."""


def encode_modified_immediate(value: int) -> int | None:
    """``ThumbExpandImm`` backwards (ARMv7-M ARM, A5.3.2): the 12 bits i:imm3:imm8, or None when there are none."""
    if value < 256:
        return value
    low = value & 0xFF
    if value == low * 0x00010001:
        return 1 << 8 | low
    if value == low * 0x01010101:
        return 3 << 8 | low
    high = value >> 8 & 0xFF
    if value == high * 0x01000100:
        return 2 << 8 | high
    top = value.bit_length() - 1  # 1bcdefgh rotated right by 8 to 31: its leading one is bit 7 + 32 - rotation
    shift = top - 7
    if value & ((1 << shift) - 1):
        return None
    return (32 - shift) << 7 | (value >> shift & 0x7F)


def decode_modified_immediate(bits: int) -> int:
    """``ThumbExpandImm`` (ARMv7-M ARM, A5.3.2) of the 12 bits i:imm3:imm8."""
    low = bits & 0xFF
    if bits < 0x400:
        return low * (1, 0x00010001, 0x01000100, 0x01010101)[bits >> 8]
    rotation = bits >> 7
    unrotated = 0x80 | bits & 0x7F
    return (unrotated >> rotation | unrotated << (32 - rotation)) & 0xFFFFFFFF


def assign_hooks(count: int, hook_base: int, capacity: int, nops: int) -> list[int]:
    """The hook index of each of ``count`` patch points, in address order of the patch points.

    With 6 nops a site can load any address: the index is the rank. With 4 nops it loads a modified immediate, so
    only the 1,024-entry windows whose base encodes as one are given out, in order. Raises FitError with the
    number that would be needed when the table has not enough reachable entries.
    """
    if nops >= 6:
        indices = list(range(count))
    else:
        indices = []
        window = 0
        capacity = min(capacity, _MOST)
        while len(indices) < count:
            base = hook_base + WINDOW * window
            if window * ENTRIES >= max(capacity, 1) and not _later_window(hook_base, window):
                raise FitError(
                    f"{count} patch points of {nops} nops, but only {len(indices)} entries of a hook table at "
                    f"{hook_base:#010x} can be reached by them",
                    hint="build with -fpatchable-function-entry=6, which reaches the whole table",
                )
            if encode_modified_immediate(base) is not None:
                first = window * ENTRIES
                indices += range(first, first + min(ENTRIES, count - len(indices)))
            window += 1
    if indices and indices[-1] >= capacity:
        raise FitError(
            f"{count} patch points need a hook table of {indices[-1] + 1} entries, it has {capacity}",
            hint="enlarge the board's HF_HOOKS memory, or make fewer functions hot",
        )
    return indices


def _later_window(hook_base: int, window: int) -> bool:
    """Whether any base from this window on, up to 64 Ki entries, is reachable."""
    return any(encode_modified_immediate(hook_base + WINDOW * k) is not None for k in range(window, 64))
