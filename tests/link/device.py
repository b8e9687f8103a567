"""A device as the linker sees it: grants room, keeps what was committed, and answers what is live."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from hotflash.link import Linked, Plan, plan
from hotflash.link.helpers import Source
from hotflash.live import LiveState
from hotflash.wire.messages import Grant, HelloReply, Slot, SlotKind

HEAP, HEAP_SIZE = 0x20040000, 256 * 1024
DATA = 0x20010000


class Device:
    """Grants scattered addresses, so that nothing can rely on slots being neighbours."""

    def __init__(self, firmware: Firmware, seed: int = 1, heap: int = HEAP) -> None:
        self.firmware = firmware
        self.archives: Source | None = None
        self.random = random.Random(seed)
        h = firmware.header
        self.hello = HelloReply(
            build_id=firmware.build_id, heap_base=heap, heap_size=HEAP_SIZE, data_base=DATA, data_size=0x10000,
            hook_base=h.hook_base, hook_capacity=h.hook_capacity, hook_count=len(firmware.sites),
            flash_base=0x8000, flash_size=992 * 1024,
        )  # fmt: skip
        self.memory: dict[int, int] = {}
        self.slots: list[Slot] = []
        self.hooks: dict[int, int] = {}
        self._next = heap
        self._next_data = DATA
        self._spare = len(firmware.sites)
        self.generation = 0

    @property
    def live(self) -> LiveState:
        return LiveState(self.hello, tuple(sorted(self.slots, key=lambda s: s.address)), dict(self.hooks))

    def push(self, *objects: ObjectFile) -> tuple[Plan, Linked]:
        """Plans, grants, links and commits."""
        made = plan(objects, self.firmware, self.live, self.archives)
        return made, self.commit(made)

    def grant(self, made: Plan) -> Sequence[Grant]:
        grants = []
        for request in made.requests:
            self._next += 32 * self.random.randrange(1, 4)
            handle = (self._next - self.hello.heap_base) // 32
            address, hook = self._next + 32, 0
            self._next += 32 + (request.length + 63) // 32 * 32
            if request.kind & 0x7F == SlotKind.VAR:
                size = 1 << request.align
                address = self._next_data = -(-self._next_data // size) * size
                self._next_data += request.length
            elif request.kind == SlotKind.STUB:
                self._spare += 1
                hook = self._spare
            grants.append(Grant(address, handle, hook))
        return grants

    def commit(self, made: Plan) -> Linked:
        grants = self.grant(made)
        linked = made.link(grants)
        at = 0
        self.generation += 1
        hooked = {p.target - 1: p.hook for p in linked.pairs if p.target}
        for number, (request, grant) in enumerate(zip(made.requests, grants, strict=True)):
            data = bytes(request.length)
            if not request.kind & 0x80:
                data = linked.image[at : at + request.length]
                at += request.length
            assert len(data) == request.length
            self.memory.update(enumerate(data, grant.address))
            hook = grant.hook or (hooked[number] + 1 if number in hooked else 0)
            self.slots.append(
                Slot(grant.handle, request.kind & 0x7F, 0, hook, 1, grant.address, request.length, request.ident,
                     request.hash, self.generation)
            )  # fmt: skip
        assert at == len(linked.image)
        assert len(linked.pairs) == made.pair_count
        for pair in linked.pairs:
            if pair.target:
                self.hooks[pair.hook] = grants[pair.target - 1].address + pair.skip + 1
            else:
                del self.hooks[pair.hook]
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
