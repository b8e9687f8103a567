"""Who holds a slot: hooks, the undo record, other slots, pins, and calls under way."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hotflash.wire.messages import SlotFlag, SlotKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hotflash.device import Device
    from hotflash.session.names import Names
    from hotflash.session.results import Backtrace
    from hotflash.wire.messages import Slot

_HEADER = struct.Struct("<IBBH")
"""The start of a block: size, kind, flags, number of slots that it uses (docs/SPEC.md, Code heap)."""
_UNIT = 32
"""Bytes of a block's header, and what handles count."""
_PIN = 0x10


class Graph:
    """Which slots use which, and which the host has pinned: read from the heap itself."""

    def __init__(self, device: Device, slots: Sequence[Slot]) -> None:
        self.users: dict[int, list[int]] = {}
        """Handles of the slots that use a slot, by its handle."""
        self.pinned: set[int] = set()
        base = device.hello.heap_base
        for slot in slots:
            block = base + _UNIT * slot.handle
            size, _, flags, count = _HEADER.unpack(device.read(block, _HEADER.size))
            if flags & _PIN:
                self.pinned.add(slot.handle)
            if 0 < 2 * count < size:
                # Reads go by words; the list ends where the block does.
                start = (block + size - 2 * count) & ~3
                data = device.read(start, block + size - start)[-2 * count :]
                for used in struct.unpack(f"<{count}H", data):
                    self.users.setdefault(used, []).append(slot.handle)


def needs_graph(slots: Sequence[Slot]) -> bool:
    """Whether something holds a slot that its flags do not tell."""
    return any(slot.refs > _told(slot) for slot in slots)


def _told(slot: Slot) -> int:
    return sum(bool(slot.flags & flag) for flag in (SlotFlag.BOUND, SlotFlag.UNDO, SlotFlag.OPEN))


def holders(
    slot: Slot, names: Names, graph: Graph | None, by_handle: Mapping[int, Slot], trace: Backtrace | None
) -> tuple[str, ...]:
    """Who holds a slot, in words; ``trace`` None: nobody has looked which calls are under way."""
    words = []
    if slot.flags & SlotFlag.BOUND:
        named = names.slot(slot).function
        words.append(f"hook of {named}" if named else "hook")
    if slot.flags & SlotFlag.UNDO:
        words.append("undo record")
    if slot.flags & SlotFlag.OPEN:
        words.append("open transaction")
    if graph is not None:
        if slot.handle in graph.pinned:
            words.append("pin")
        for user in graph.users.get(slot.handle, ()):
            other = by_handle.get(user)
            named = names.slot(other).function if other is not None else ""
            words.append(f"slot {user}, {named}" if named else f"slot {user}")
    elif slot.refs > _told(slot):
        words.append("other slots")
    if slot.flags & SlotFlag.FRAME:
        words += _frames(slot, trace)
    return tuple(words)


def _frames(slot: Slot, trace: Backtrace | None) -> list[str]:
    """The calls of a slot that are under way, innermost first."""
    calls = [call for call in trace.calls if call.slot == slot.handle] if trace is not None else []
    if calls:
        return [f"frame #{call.depth} of {trace.thread}" if trace is not None else "frame" for call in calls]
    if slot.kind != SlotKind.CODE or trace is None:
        return ["frame"]
    return ["a word in memory that may be a frame"]
