"""A device that exists in numbers alone: it grants room to plans, and says what would be live after them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hotflash.live import LiveState
from hotflash.wire.messages import Grant, HelloReply, Slot, SlotFlag, SlotKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.elf.firmware import Firmware
    from hotflash.link.plan import Linked, Plan

_KIND, _ZERO = 0x7F, 0x80
"""Parts of a request's kind (docs/SPEC.md, SlotRequest)."""
ALIGN = 32
"""Of code and constants, as in a device's heap."""


class VirtualDevice:
    """Grants addresses one after the other. Nothing is ever freed.

    Code, constants and stubs go from ``heap`` on, new variables from ``data`` on; where that is None they go where
    the code is. ``size`` is how many bytes from ``heap`` on may be used: veneers follow from it.
    """

    def __init__(self, firmware: Firmware, heap: int, size: int, data: int | None = None) -> None:
        header = firmware.header
        end = max((s.physical + len(s.data) for s in firmware.segments), default=header.base)
        self.hello = HelloReply(
            build_id=firmware.build_id,
            heap_base=heap,
            heap_size=size,
            data_base=heap if data is None else data,
            data_size=size,
            hook_base=header.hook_base,
            hook_capacity=header.hook_capacity,
            hook_count=1 + max((site.hook for site in firmware.sites), default=-1),
            flash_base=header.base,
            flash_size=end - header.base,
        )
        self.slots: list[Slot] = []
        self.hooks: dict[int, int] = {}
        self._heap, self._data = heap, data
        self._handle = 0
        self._spare = self.hello.hook_count

    @property
    def used(self) -> int:
        """Bytes from the heap's base on that were granted."""
        return self._heap - self.hello.heap_base

    @property
    def live(self) -> LiveState:
        """What runs."""
        return LiveState(self.hello, tuple(sorted(self.slots, key=lambda s: s.address)), dict(self.hooks))

    def grant(self, plan: Plan) -> Sequence[Grant]:
        """Room for a plan's slots."""
        grants = []
        for request in plan.requests:
            self._handle += 1
            kind, hook = request.kind & _KIND, 0
            if kind == SlotKind.VAR:
                address = self._room(request.length, 1 << request.align, data=True)
            else:
                address = self._room(request.length, ALIGN, data=False)
            if kind == SlotKind.STUB:
                self._spare += 1
                hook = self._spare
            grants.append(Grant(address, self._handle, hook))
        return grants

    def _room(self, length: int, align: int, *, data: bool) -> int:
        separate = data and self._data is not None
        start = self._data if separate and self._data is not None else self._heap
        address = -(-start // align) * align
        if separate:
            self._data = address + length
        else:
            self._heap = address + length
        return address

    def commit(self, plan: Plan) -> Linked:
        """Links a plan and makes it live."""
        grants = self.grant(plan)
        linked = plan.link(grants)
        generation = self.hello.generation + 1
        self.hello = replace(self.hello, generation=generation)
        bound = {pair.target - 1: pair.hook for pair in linked.pairs if pair.target}
        for number, (request, grant) in enumerate(zip(plan.requests, grants, strict=True)):
            kind = request.kind & _KIND
            hook = grant.hook or (bound[number] + 1 if number in bound else 0)
            flags = int(SlotFlag.BOUND) if number in bound else 0
            self.slots.append(
                Slot(
                    handle=grant.handle, kind=kind, flags=flags, hook=hook, refs=1, address=grant.address,
                    length=request.length, ident=request.ident, hash=request.hash, generation=generation,
                )
            )  # fmt: skip
        for pair in linked.pairs:
            if pair.target:
                self.hooks[pair.hook] = grants[pair.target - 1].address + pair.skip + 1
            else:
                self.hooks.pop(pair.hook, None)
        return linked
