"""Whether a function can return at all, by its machine code.

A walk from the entry along all branches, Thumb instructions by ARMv7-M ARM A5: what may leave the function is a load
or move into pc, ``bx``, and a branch out of it (a tail call). Calls are taken to return, also those of
functions that do not. Where the walk cannot tell,
as behind a jump table, it says that the function may return: the caller promises nothing then.
"""

from __future__ import annotations

from hotflash.link import thumb


def never_returns(code: bytes) -> bool:
    """True when no path through the function's bytes, entry first, leads out of it."""
    waiting = [0]
    seen: set[int] = set()
    conditional: set[int] = set()
    """Instructions in an IT block: a branch there may as well not be taken."""
    while waiting:
        at = waiting.pop()
        while at not in seen:
            seen.add(at)
            if not 0 <= at <= len(code) - 2:
                return False
            first = int.from_bytes(code[at : at + 2], "little")
            wide = first >> 11 in (0b11101, 0b11110, 0b11111)
            if wide and at > len(code) - 4:
                return False
            second = int.from_bytes(code[at + 2 : at + 4], "little") if wide else 0
            if (_wide_leaves if wide else _narrow_leaves)(first, second):
                return False
            following = at + (4 if wide else 2)
            if not wide and first >> 8 == 0xBF and first & 0xF:  # IT (A7.7.38)
                length = 4 - ((first & 0xF & -(first & 0xF)).bit_length() - 1)
                place = following
                for _ in range(length):
                    conditional.add(place)
                    place += 4 if place < len(code) - 1 and code[place + 1] >> 3 in (0x1D, 0x1E, 0x1F) else 2
            target, always = _branch(code, at, first)
            if target is not None:
                waiting.append(target)
            if always and at not in conditional:
                break
            if not wide and first >> 8 == 0xDE:  # UDF: nothing behind it is reached
                break
            at = following
    return True


def _narrow_leaves(first: int, second: int) -> bool:
    del second
    return (
        first & 0xFF87 == 0x4700  # BX
        or first & 0xFF00 == 0xBD00  # POP {..., pc}
        or first & 0xFF87 in (0x4687, 0x4487)  # MOV pc, ADD pc
    )


def _wide_leaves(first: int, second: int) -> bool:
    return (
        (first & 0xFE50 == 0xE810 and bool(second & 0x8000) and first & 0x0180 in (0x0080, 0x0100))  # LDM {..., pc}
        or (first & 0xFF70 == 0xF850 and second >> 12 == 0xF)  # LDR pc
        or (first & 0xFFF0 == 0xE8D0 and second & 0xFFE0 == 0xF000)  # TBB, TBH: a table follows
        or (first & 0xFFF0 == 0xF3C0 and second & 0xD000 == 0x8000)  # BXJ
        or (first == 0xF3DE and second >> 8 == 0x8F)  # SUBS pc, lr
    )


def _branch(code: bytes, at: int, first: int) -> tuple[int | None, bool]:
    """Where a branch leads, None where there is none, and whether nothing but an IT block can keep it from it."""
    if first & 0xF500 == 0xB100:  # CBZ, CBNZ
        return at + 4 + thumb.get_cbz(code, at), False
    offset, call = thumb.branch_offset(code, at)
    if offset is None or call:
        return None, False
    narrow_conditional = first >> 12 == 0xD
    wide_conditional = first >> 11 == 0x1E and not code[at + 3] & 0x10
    return at + 4 + offset, not narrow_conditional and not wide_conditional
