"""What a device runs right now, as the linker needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotflash.wire.messages import HelloReply, Slot


def slot_key(ident: int, content: int) -> str:
    """What a slot is known by beyond its place: its identity, or its content where it has none."""
    return f"{ident:08x}" if ident else f"{content:016x}"


@dataclass(frozen=True)
class LiveState:
    """A device's code state: asked of the device, never assumed."""

    hello: HelloReply
    """Heaps, hook table and generation."""
    slots: tuple[Slot, ...] = ()
    """All slots in use, in address order."""
    hooks: Mapping[int, int] = field(default_factory=dict)
    """Hooks that do not have their initial value: index to entry address (Thumb bit set)."""
