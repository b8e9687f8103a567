"""Why and where an application was parked: the words of a Record (docs/SPEC.md, Park words)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hotflash.wire.messages import ParkReason, ParkWord

__all__ = ["WORDS", "Registers", "unpack"]

WORDS = ParkWord.ACTIVE + 8
"""Words of a record."""
_LAYOUT = struct.Struct(f"<{WORDS}I")
# Bits of SHCSR that say which system exceptions are active (ARMv7-M ARM B3.2.13), and their numbers.
_SYSTEM = {0: 4, 1: 5, 3: 6, 7: 11, 8: 12, 10: 14, 11: 15}
_EXTERNAL = 16
"""Number of the first external interrupt's exception."""


@dataclass(frozen=True, slots=True)
class Registers:
    """The core's state when the application was parked; see ARMv7-M ARM B1.4 and B3.2.15 ff."""

    r: tuple[int, ...]
    """R0 to R12, SP, LR, PC."""
    xpsr: int
    """0: no exception frame was stacked, so R0 to R3, R12, LR and PC are not known."""
    cfsr: int
    hfsr: int
    mmfar: int
    bfar: int
    exc_return: int = 0xFFFFFFF9
    """LR of the exception that parked: which stack, which mode."""
    msp: int = 0
    """Main stack pointer, at the exception's frame if that lies there."""
    psp: int = 0
    masks: int = 0
    """PRIMASK bit 0, FAULTMASK bit 1, CONTROL bits 8 to 15, BASEPRI bits 16 to 23."""
    reason: int = ParkReason.FAULT
    final: bool = False
    """The application cannot be continued."""
    generation: int = 0
    """Live generation then."""
    boot: int = 0
    """Boot count then."""
    active: tuple[int, ...] = ()
    """Numbers of the active exceptions, the one that parked left out; external interrupts from 16 on."""

    @property
    def exception(self) -> int:
        """Number of the exception in whose handler it was; 0: in a thread."""
        return self.xpsr & 0x1FF


def unpack(data: bytes) -> Registers | None:
    """A record's words; None when it is cut short."""
    if len(data) < _LAYOUT.size:
        return None
    words = _LAYOUT.unpack_from(data)
    active = [number for bit, number in _SYSTEM.items() if words[ParkWord.SYSTEM] >> bit & 1]
    for index, bits in enumerate(words[ParkWord.ACTIVE :]):
        active += [_EXTERNAL + 32 * index + bit for bit in range(32) if bits >> bit & 1]
    return Registers(
        r=tuple(words[:16]),
        xpsr=words[ParkWord.XPSR],
        cfsr=words[ParkWord.CFSR],
        hfsr=words[ParkWord.HFSR],
        mmfar=words[ParkWord.MMFAR],
        bfar=words[ParkWord.BFAR],
        exc_return=words[ParkWord.EXC_RETURN],
        msp=words[ParkWord.MSP],
        psp=words[ParkWord.PSP],
        masks=words[ParkWord.MASKS],
        reason=words[ParkWord.REASON],
        final=bool(words[ParkWord.FLAGS] & 1),
        generation=words[ParkWord.GENERATION],
        boot=words[ParkWord.BOOT],
        active=tuple(active),
    )
