"""A Cortex-M core (unicorn) that calls functions: what they return, and what they did to memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from unicorn import UC_ARCH_ARM, UC_MODE_MCLASS, UC_MODE_THUMB, Uc, UcError
from unicorn import arm_const as arm

MODELS = {
    "v6-m": arm.UC_CPU_ARM_CORTEX_M0,
    "v7-m": arm.UC_CPU_ARM_CORTEX_M3,
    "v7e-m+fp/hard": arm.UC_CPU_ARM_CORTEX_M4,
    "v8-m.main+fp/hard": arm.UC_CPU_ARM_CORTEX_M33,
}
"""unicorn's cores by multilib; it has none for ARMv8-M Baseline, and no double precision in its M7."""

FLASH, RAM, HEAP = 0x00008000, 0x20000000, 0x30000000
"""The last is more than a BL's reach from flash, as on real parts."""

_SIZES = {0: 0x200000, RAM: 0x100000, HEAP: 0x200000}
_STACK = RAM + 0xF0000
_RETURN = 0x100
_SECONDS = 20


class Result(NamedTuple):
    """What a call left behind."""

    registers: tuple[int, ...]
    """r0 to r3."""
    floats: tuple[int, ...]
    """s0 and s1 as bits; empty without floating-point unit."""
    saved: tuple[int, ...]
    """r4 to r11 and the stack pointer, which a callee keeps."""
    buffer: bytes


class Core:
    """One core with flash, RAM and a heap for pushed code."""

    def __init__(self, multilib: str) -> None:
        self.hard = "hard" in multilib
        engine: Any = Uc
        self._uc = engine(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(MODELS[multilib])
        for base, size in _SIZES.items():
            self._uc.mem_map(base, size)
        self.write(_RETURN, b"\x00\xbf" * 2)
        if self.hard:  # CPACR: full access to CP10 and CP11 (ARMv7-M ARM, B3.2.20)
            self._uc.reg_write(arm.UC_ARM_REG_C1_C0_2, 0xF00000)
            self._uc.reg_write(arm.UC_ARM_REG_FPEXC, 0x40000000)

    def write(self, address: int, data: bytes | bytearray) -> None:
        """Puts bytes into memory."""
        self._uc.mem_write(address, bytes(data))

    def read(self, address: int, length: int) -> bytes:
        """Bytes of memory."""
        return bytes(self._uc.mem_read(address, length))

    def call(
        self, address: int, words: tuple[int, ...], floats: tuple[int, ...] = (), *, buffer: int = 0, length: int = 0
    ) -> Result:
        """Calls the function at ``address`` with core registers and, as bits, single-precision ones.

        AssertionError when it does not come back, or faults.
        """
        uc = self._uc
        for number in range(4, 12):
            uc.reg_write(arm.UC_ARM_REG_R0 + number, 0xA5000000 + number)
        for number, value in enumerate(words[:4]):
            uc.reg_write(arm.UC_ARM_REG_R0 + number, value)
        stacked = b"".join(word.to_bytes(4, "little") for word in words[4:])
        stack = _STACK - (len(stacked) + 7) // 8 * 8
        self.write(stack, stacked)
        for number, value in enumerate(floats):
            uc.reg_write(arm.UC_ARM_REG_S0 + number, value)
        uc.reg_write(arm.UC_ARM_REG_SP, stack)
        uc.reg_write(arm.UC_ARM_REG_LR, _RETURN | 1)
        try:
            uc.emu_start(address | 1, _RETURN, timeout=_SECONDS * 1_000_000)
        except UcError as error:
            at = uc.reg_read(arm.UC_ARM_REG_PC)
            raise AssertionError(f"fault at {at:#010x} in a call of {address:#010x}: {error}") from None
        at = uc.reg_read(arm.UC_ARM_REG_PC)
        assert at == _RETURN, f"a call of {address:#010x} hangs at {at:#010x}"
        registers = tuple(uc.reg_read(arm.UC_ARM_REG_R0 + n) for n in range(4))
        singles = tuple(uc.reg_read(arm.UC_ARM_REG_S0 + n) for n in range(2)) if self.hard else ()
        saved = tuple(uc.reg_read(arm.UC_ARM_REG_R4 + n) for n in range(8))
        saved = (*saved, uc.reg_read(arm.UC_ARM_REG_SP) - stack)
        return Result(registers, singles, saved, self.read(buffer, length) if length else b"")
