"""Runs a firmware and what was pushed to it in an emulated Cortex-M4 (unicorn), without bootloader and wire.

The image is as the image builder lays it out: patch points jump through the hook table. Code prints by storing words
at ``PORT``.
"""

from __future__ import annotations

from typing import Any

from unicorn import UC_ARCH_ARM, UC_HOOK_MEM_WRITE, UC_MODE_MCLASS, UC_MODE_THUMB, Uc, UcError
from unicorn import arm_const as arm

from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from hotflash.image.sites import encode_jump
from hotflash.link import Plan
from tests.link.device import Device

PORT = 0x40000000
_REGIONS = ((0x00000000, 0x100000), (0x20000000, 0x100000), (PORT, 0x1000))
_RETURN = 0x00000F00
_STACK = 0x200C0000
_LIMIT = 2_000_000
_REGISTERS = (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3)


class Machine:
    """A processor with the firmware in it. ``output`` collects what was stored at ``PORT``."""

    def __init__(self, firmware: Firmware) -> None:
        self.firmware = firmware
        self.output: list[int] = []
        self._uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4)
        self._uc.reg_write(arm.UC_ARM_REG_C1_C0_2, 0xF << 20)  # the floating-point unit, for code that uses it
        self._uc.reg_write(arm.UC_ARM_REG_FPEXC, 1 << 30)
        for base, size in _REGIONS:
            self._uc.mem_map(base, size)
        for segment in firmware.segments:
            self.write(segment.virtual, segment.data)
        header = firmware.header
        for site in firmware.sites:
            self.write(site.address, encode_jump(header.hook_base, site.hook, site.nops))
            self.bind(site.hook, site.address + 2 * site.nops | 1)
        self._uc.hook_add(UC_HOOK_MEM_WRITE, self._print, begin=PORT, end=PORT + 3)

    def _print(self, _uc: Any, _access: int, _address: int, _size: int, value: int, _data: Any) -> None:
        self.output.append(value & 0xFFFFFFFF)

    def write(self, address: int, data: bytes) -> None:
        self._uc.mem_write(address, bytes(data))

    def read(self, address: int, length: int) -> bytes:
        return bytes(self._uc.mem_read(address, length))

    def word(self, name: str) -> int:
        """The value of a global or uniquely named 32-bit variable of the firmware."""
        symbol = self.firmware.symbol(name)
        assert symbol is not None, name
        return int.from_bytes(self.read(symbol.address, 4), "little")

    def text(self, address: int) -> bytes:
        """The string at an address, without its NUL; at most 256 bytes."""
        return self.read(address, 256).split(b"\0", 1)[0]

    def bind(self, hook: int, value: int) -> None:
        self.write(self.firmware.header.hook_base + 4 * hook, value.to_bytes(4, "little"))

    def call(self, where: str | int, *arguments: int) -> int:
        """Calls a function, by name or address, with up to four words; returns r0."""
        if isinstance(where, str):
            symbol = self.firmware.symbol(where)
            assert symbol is not None, where
            where = symbol.address
        uc = self._uc
        for register, value in zip(_REGISTERS, arguments, strict=False):
            uc.reg_write(register, value)
        uc.reg_write(arm.UC_ARM_REG_SP, _STACK)
        uc.reg_write(arm.UC_ARM_REG_LR, _RETURN | 1)
        try:
            uc.emu_start(where | 1, _RETURN, count=_LIMIT)
        except UcError as error:
            pc, lr = self.register(arm.UC_ARM_REG_PC), self.register(arm.UC_ARM_REG_LR)
            raise AssertionError(f"{error} at pc {pc:#010x}, lr {lr:#010x}") from None
        assert self.register(arm.UC_ARM_REG_PC) == _RETURN, "it does not return"
        return self.register(arm.UC_ARM_REG_R0)

    def register(self, number: int) -> int:
        """The value of a register, by unicorn's number."""
        value: int = self._uc.reg_read(number)
        return value


class Bench(Device):
    """A device whose processor runs: what is pushed arrives in the machine's memory."""

    def __init__(self, firmware: Firmware, seed: int = 1) -> None:
        super().__init__(firmware, seed)
        self.machine = Machine(firmware)
        self._written = 0

    def run(self, *objects: ObjectFile) -> Plan:
        """Pushes objects into the running machine."""
        made, _ = self.push(*objects)
        for slot in self.slots[self._written :]:
            self.machine.write(slot.address, self.read(slot.address, slot.length))
        self._written = len(self.slots)
        for site in self.firmware.sites:
            self.machine.bind(site.hook, self.hooks.get(site.hook, site.address + 2 * site.nops | 1))
        known = {site.hook for site in self.firmware.sites}
        for hook, value in self.hooks.items():
            if hook not in known:
                self.machine.bind(hook, value)
        return made

    def call(self, where: str | int, *arguments: int) -> int:
        return self.machine.call(where, *arguments)
