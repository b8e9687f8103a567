"""Every slot of a parked board explained by what is in its memory, read and judged here."""

from __future__ import annotations

import struct
from collections import Counter

from hotflash.device import Device
from hotflash.wire.messages import SlotFlag, SlotKind
from tests.monitor.invariants import parse, used

PINNED = 0x10
RAM_BASE = 0x20080000
"""Where the board has the application's RAM."""


def audit(device: Device, ram_size: int) -> None:
    """AssertionError when a slot is there for no reason, or a count is wrong."""
    slots = device.slots()  # has the reaper run, and nothing moves
    hello = device.refresh()
    blocks = parse(hello.heap_base, device.read(hello.heap_base, hello.heap_size))
    held = used(blocks)
    assert [slot.handle for slot in slots] == list(held), "the listing and the heap differ"
    assert hello.heap_free == sum(block.size for block in blocks if block.kind == SlotKind.FREE)

    lists = [block for block in held.values() if block.kind == SlotKind.LIST]
    assert len(lists) <= 1, "more than one list, and no transaction is open"
    pairs = [pair for block in lists for pair in struct.iter_unpack("<2I", block.data)]

    def owner(address: int) -> int | None:
        for block in held.values():
            if block.payload <= address < block.payload - 32 + block.size:
                return block.handle
        return None

    hook_end = hello.hook_base + 4 * hello.hook_capacity
    counted: Counter[int | None] = Counter(dep for block in held.values() for dep in block.deps)
    counted.update(owner(value) for value in device.hooks().values())
    counted.update(owner(value) for address, value in pairs if hello.hook_base <= address < hook_end)
    counted.update(block.handle for block in held.values() if block.flags & PINNED)
    kept = {owner(value) for _, value in pairs}

    record = device.record()
    assert record is not None
    words = [*record.r, *struct.unpack(f"<{ram_size // 4}I", device.read(RAM_BASE, ram_size))]
    seen = {owner(at) for word in words for at in (word, word - 3 if word & 1 else word)}
    for slot in slots:
        block = held[slot.handle]
        if block.kind == SlotKind.LIST:
            continue
        assert block.refs == counted[block.handle], (
            f"{block.refs} references of slot {slot}, not {counted[block.handle]}"
        )
        if block.kind == SlotKind.CODE and block.refs == 0 and block.handle not in kept:
            assert slot.flags & SlotFlag.FRAME, f"nothing holds slot {slot}"
        if slot.flags & SlotFlag.FRAME:
            assert block.handle in seen, f"no word of the application leads to slot {slot}"
