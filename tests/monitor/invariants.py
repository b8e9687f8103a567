"""What must hold after every request, whatever it was: read from the device's memory, not from its word."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

from hotflash.wire import messages as m

from .client import Client

BLOCK = struct.Struct("<IBBHIIQIHH")
TRAP = b"\x00\xde"


@dataclass(frozen=True)
class Block:
    """A block of the code heap, as docs/SPEC.md, Code heap, lays it out."""

    handle: int
    size: int
    kind: int
    flags: int
    payload: int
    length: int
    ident: int
    hash: int
    generation: int
    hook: int
    refs: int
    deps: tuple[int, ...]
    data: bytes


def walk(client: Client) -> list[Block]:
    """Takes the code heap apart, and checks its form."""
    where = client.board.map
    return parse(where.heap_base, client.board.peek(where.heap_base, where.heap_size))


def parse(base: int, heap: bytes) -> list[Block]:
    """Takes the bytes of a code heap apart, and checks its form."""
    blocks = []
    at = 0
    free_before = False
    while at < len(heap):
        size, kind, flags, count, length, ident, digest, generation, hook, refs = BLOCK.unpack_from(heap, at)
        assert size >= 32
        assert size % 32 == 0
        assert at + size <= len(heap), f"block at {at:#x} of {size} bytes leaves the heap"
        block = heap[at : at + size]
        if kind == m.SlotKind.FREE:
            assert not free_before, f"two free blocks in a row at {at:#x}"
            assert block[32:] == TRAP * ((size - 32) // 2), f"free block at {at:#x} holds something"
            deps: tuple[int, ...] = ()
        else:
            assert kind <= m.SlotKind.LIST
            padding = block[32 + length : size - 2 * count]
            even = padding[length % 2 :]
            assert len(even) >= 4, f"block at {at:#x}: padding of {len(padding)} bytes"
            # A list is no code; behind the pairs that are left of it may lie what the transaction had there.
            if kind != m.SlotKind.LIST:
                assert even == TRAP * (len(even) // 2), f"block at {at:#x}: padding {padding.hex()}"
            deps = struct.unpack_from(f"<{count}H", block, size - 2 * count)
        free_before = kind == m.SlotKind.FREE
        blocks.append(
            Block(
                at // 32,
                size,
                kind,
                flags,
                base + at + 32,
                length,
                ident,
                digest,
                generation,
                hook,
                refs,
                deps,
                block[32 : 32 + length],
            )
        )
        at += size
    return blocks


def used(blocks: list[Block]) -> dict[int, Block]:
    """Slots by handle."""
    return {block.handle: block for block in blocks if block.kind != m.SlotKind.FREE}


def check(client: Client) -> dict[int, Block]:
    """All invariants of a running board; returns the slots in use."""
    assert client.app is not None
    where = client.board.map
    listed = client.slots()
    blocks = walk(client)
    slots = used(blocks)
    assert [slot.handle for slot in listed] == list(slots)
    for slot in listed:
        block = slots[slot.handle]
        assert (slot.kind, slot.ident, slot.hash, slot.refs) == (block.kind, block.ident, block.hash, block.refs)
        assert (slot.hook, slot.generation) == (block.hook, block.generation)
        if block.kind == m.SlotKind.VAR:
            assert (slot.address, slot.length) == struct.unpack("<2I", block.data)
            assert where.data_base <= slot.address <= where.data_base + where.data_size - slot.length
        else:
            assert (slot.address, slot.length) == (block.payload, block.length)
    variables = sorted((s.address, s.length) for s in listed if s.kind == m.SlotKind.VAR)
    for (first, length), (second, _) in itertools.pairwise(variables):
        assert first + length <= second, "two variables overlap"
    for block in slots.values():
        assert set(block.deps) <= slots.keys(), f"slot {block.handle} uses a slot that is gone"
    table = client.table()
    for hook, value in enumerate(table):
        if hook < len(client.app.initial) and value == client.app.initial[hook]:
            continue
        if any(b.payload <= value & ~1 < b.payload + b.length and value & 1 for b in slots.values()):
            continue
        assert hook >= len(client.app.initial), f"hook {hook} leads to {value:#x}"
        assert value == SPARE_TRAP, f"spare hook {hook} leads to {value:#x}"
    hello = client.hello()
    assert hello.heap_free == sum(block.size for block in blocks if block.kind == m.SlotKind.FREE)
    status = client.status()
    assert status.drift == 0
    assert client.bad == 0
    assert client.hooks() == {
        hook: value
        for hook, value in enumerate(table)
        if value != (client.app.initial[hook] if hook < len(client.app.initial) else SPARE_TRAP)
    }
    return slots


SPARE_TRAP = 0x10000000 + 0x45C + 1
"""Where a spare hook leads on the harness's board."""
