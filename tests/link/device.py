"""A device as the linker sees it: grants room, keeps what was committed, and answers what is live."""

from __future__ import annotations

import random

from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from hotflash.link import Linked, Plan, plan
from hotflash.link.helpers import Source
from hotflash.link.virtual import VirtualDevice

HEAP, HEAP_SIZE = 0x20040000, 256 * 1024
DATA = 0x20010000


class Device(VirtualDevice):
    """Grants scattered addresses, so that nothing can rely on slots being neighbours, and keeps what is written."""

    def __init__(self, firmware: Firmware, seed: int = 1, heap: int = HEAP) -> None:
        super().__init__(firmware, heap, HEAP_SIZE, DATA)
        self.firmware = firmware
        self.archives: Source | None = None
        self.random = random.Random(seed)
        self.memory: dict[int, int] = {}

    def push(self, *objects: ObjectFile) -> tuple[Plan, Linked]:
        """Plans, grants, links and commits."""
        made = plan(objects, self.firmware, self.live, self.archives)
        return made, self.commit(made)

    def _room(self, length: int, align: int, *, data: bool) -> int:
        if not data:
            super()._room(32 * self.random.randrange(1, 4), align, data=False)
        return super()._room(length, align, data=data)

    def commit(self, made: Plan) -> Linked:
        known = len(self.slots)
        linked = super().commit(made)
        at = 0
        for request, slot in zip(made.requests, self.slots[known:], strict=True):
            data = bytes(request.length)
            if not request.kind & 0x80:
                data = linked.image[at : at + request.length]
                at += request.length
            assert len(data) == request.length
            self.memory.update(enumerate(data, slot.address))
        assert at == len(linked.image)
        assert len(linked.pairs) == made.pair_count
        return linked

    def read(self, address: int, length: int) -> bytes:
        if address in self.memory:
            return bytes(self.memory[address + i] for i in range(length))
        return self.firmware.read(address, length)

    def word(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def body(self, name: str) -> bytes:
        """The bytes of the live slot of a patched function."""
        site = next(s for s in self.firmware.sites if name in {a.name for a in s.aliases})
        value = self.hooks[site.hook] & ~1
        slot = next(s for s in self.slots if s.address <= value < s.address + s.length)
        return self.read(slot.address, slot.length)
