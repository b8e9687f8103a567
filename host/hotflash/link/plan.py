"""Plans and links one transaction.

A plan is made before the device has granted addresses: it says how many slots of which size are needed, because
the veneers follow from the heap's bounds alone. ``Plan.link`` then fills in the bytes for the granted addresses.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from hotflash.errors import LinkError
from hotflash.link import thumb
from hotflash.link.identity import function_name
from hotflash.link.lines import LineNumbers
from hotflash.link.relocate import Place, apply
from hotflash.link.select import Linker
from hotflash.live import slot_key
from hotflash.wire.messages import Dep, Pair, Range, SlotKind, SlotRequest, Word

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from hotflash.elf.firmware import Firmware
    from hotflash.elf.object import ObjectFile
    from hotflash.link.helpers import Source
    from hotflash.link.model import Function, Helper, SlotPlan, Target
    from hotflash.link.view import View
    from hotflash.live import LiveState
    from hotflash.wire.messages import Grant

ZERO = 0x80
"""In a request's kind: the variable starts as zeros and has no bytes in the image."""


@dataclass(frozen=True)
class Change:
    """What a plan does to one function, for people."""

    function: str
    unit: str
    action: str
    """``replace``, ``revert`` (back to the base image's version) or ``new``."""
    size: int
    """Bytes of the version that goes live."""
    reason: str


@dataclass(frozen=True)
class Linked:
    """A transaction's bytes and bindings."""

    image: bytes
    pairs: tuple[Pair, ...]
    words: tuple[Word, ...]
    ranges: tuple[Range, ...]
    symbols: Mapping[str, int] = field(default_factory=dict)
    """Names of placed functions, constants and variables, and their addresses."""


class Plan:
    """What a push would do."""

    def __init__(self, linker: Linker) -> None:
        self._linker = linker
        self._slots: list[SlotPlan] = linker.slots
        self.requests: tuple[SlotRequest, ...] = tuple(_request(slot) for slot in linker.slots)
        self.changes: tuple[Change, ...] = tuple(_changes(linker))
        self.unchanged: int = linker.unchanged
        """Functions of the objects that are live already."""
        self.notes: tuple[str, ...] = tuple(linker.notes)
        """What else people should know."""
        self.helpers: tuple[Helper, ...] = linker.helpers.report()
        """What comes along from archives."""
        self._guarded: dict[Range, None] = {}

    @property
    def slots(self) -> Sequence[SlotPlan]:
        """What goes, in the order of the requests."""
        return self._slots

    @property
    def labels(self) -> dict[str, tuple[str, str]]:
        """What the slots are called, and the unit or archive's member each is from, for the journal."""
        found = {}
        for slot in self._slots:
            view = slot.pieces[0].view if slot.pieces else slot.function.piece.view if slot.function else None
            unit = view.origin if view is not None else ""
            found[slot_key(slot.ident, slot.hash)] = slot.where, unit
        return found

    @property
    def wide(self) -> bool:
        """Whether the core has the 32-bit instructions of ARMv7-M."""
        return self._linker.wide

    @property
    def views(self) -> list[View]:
        """The objects as the linker sees them, members of archives included."""
        return self._linker.every_view

    @property
    def sent(self) -> dict[ObjectFile, set[int]]:
        """The code sections of each object that go, or whose functions go back to the base image's version."""
        pieces = [piece for slot in self._slots for piece in slot.pieces if piece.code]
        pieces += [function.piece for function in self._linker.reverts]
        found: dict[ObjectFile, set[int]] = {view.object: set() for view in self._linker.views}
        for piece in pieces:
            if piece.view.object in found:
                found[piece.view.object].add(piece.section)
        return found

    def guard(self, obj: ObjectFile, names: Collection[str]) -> None:
        """Functions of an object that stay as they are, but must not be running at a safe commit."""
        functions = [f for view in self._linker.views if view.object is obj for f in view.functions if f.name in names]
        for function in functions:
            if function.fw is not None:
                self._guarded[Range(function.fw.address, max(function.fw.size, function.piece.size))] = None
            slot = self._linker.runs(function)
            if slot is not None:
                self._guarded[Range(slot.address, slot.length)] = None

    @property
    def pair_count(self) -> int:
        """Hooks that the commit will bind."""
        return len(self.changes)

    @property
    def empty(self) -> bool:
        """Nothing to do: everything in the objects is live."""
        return not self.changes

    def link(self, grants: Sequence[Grant]) -> Linked:
        """Fills in the slots' bytes for the addresses that the device granted, in the order of the requests."""
        if len(grants) != len(self._slots):
            raise LinkError(f"{len(grants)} grants for {len(self._slots)} slots")
        hook_base = self._linker.live.hello.hook_base
        for slot, grant in zip(self._slots, grants, strict=True):
            slot.address = grant.address
            slot.hook = grant.hook
            if slot.kind == SlotKind.STUB:
                if not grant.hook:
                    raise LinkError(f"the device granted no hook for {slot.where}")
                slot.data[:] = thumb.stub(hook_base + 4 * (grant.hook - 1), wide=self._linker.wide)
        symbols: dict[str, int] = {}
        image = bytearray()
        addresses: dict[Target, int] = {}
        for slot in self._slots:
            symbols[f"{slot.where}.entry" if slot.kind == SlotKind.STUB else slot.where] = slot.address
            if slot.zero:
                continue
            data = bytearray(slot.data)
            data += bytes(slot.size - len(data))
            place = partial(_place, slot)
            refs = slot.refs if slot.pending is None else slot.pending
            apply(data, refs, slot.address, place, wide=self._linker.wide, addresses=addresses)
            image += data
        pairs = []
        for slot in self._slots:
            function = slot.function
            if slot.kind != SlotKind.CODE or function is None:
                continue
            hook = _hook(function)
            if hook is not None:
                pairs.append(Pair(hook, slot.ordinal + 1, slot.skip))
        pairs += [Pair(hook, 0, 0) for f in self._linker.reverts if (hook := _hook(f)) is not None]
        ranges = *_ranges(self._linker), *self._guarded
        return Linked(bytes(image), tuple(pairs), (), ranges, symbols)


def plan(
    objects: Sequence[ObjectFile],
    firmware: Firmware,
    live: LiveState,
    archives: Source | None = None,
    *,
    whole: bool = False,
) -> Plan:
    """Decides what of ``objects`` has to go to a device in the state ``live`` that runs ``firmware``.

    What neither has is looked for in ``archives``. With ``whole`` every function goes, changed or not, and those
    without a patch point are linked all the same: for links without a device.

    Raises ElfError for objects of another core or ABI, LinkError for what cannot be linked; nothing has been sent
    anywhere by then.
    """
    with _without_collector():
        linker = Linker(objects, firmware, live, archives, whole=whole)
        linker.run()
        return Plan(linker)


def locate(
    objects: Sequence[ObjectFile], firmware: Firmware, live: LiveState, archives: Source | None = None
) -> tuple[dict[int, list[Target]], list[View], list[str]]:
    """What the live slots hold of ``objects``, by handle, the objects as the linker sees them, and what went wrong."""
    with _without_collector():
        linker = Linker(objects, firmware, live, archives)
        found = linker.locate()
        return found, linker.every_view, linker.notes


@contextmanager
def _without_collector() -> Iterator[None]:
    """No cyclic garbage is made here, and a collection that walks the firmware's tables costs more than the link."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _hook(function: Function) -> int | None:
    """The hook that leads to a function; None where there is none: only a link of whole objects lets it go."""
    if function.site is not None:
        return function.site.hook
    if function.stub is not None:
        return function.stub.hook - 1
    return function.slot.hook - 1 if function.slot is not None else None


def _request(slot: SlotPlan) -> SlotRequest:
    deps = [Dep(other.ordinal * 2) for other in slot.deps] + [Dep(handle * 2 + 1) for handle in slot.live_deps]
    kind = slot.kind | (ZERO if slot.zero else 0)
    return SlotRequest(kind, slot.size, slot.align, slot.ident, slot.hash, tuple(deps))


def _changes(linker: Linker) -> list[Change]:
    found, moved = [], []
    lines = LineNumbers(linker.firmware, linker.base)
    for function in linker.replaced:
        hook = _hook(function)
        if linker.whole:
            found.append(Change(function.name, function.unit, "replace", function.symbol.size, "linked as a whole"))
            continue
        against = "the version that was pushed before" if hook in linker.live.hooks else "the base image"
        why = f"differs from {against}"
        only = lines.only(function)
        if only:
            why = f"differs from the base image by {only} only"
            moved.append(function.name)
        found.append(Change(function.name, function.unit, "replace", function.symbol.size, why))
    if moved:
        linker.notes.append(
            f"{', '.join(moved)} {'differs' if len(moved) == 1 else 'differ'} from the base image only by what "
            f"__LINE__ and __FILE__ are there"
        )
    found += [Change(f.name, f.unit, "revert", f.symbol.size, "equals the base image") for f in linker.reverts]
    found += [Change(f.name, f.unit, "new", f.symbol.size, "not in the firmware") for f in linker.added]
    return found


def _ranges(linker: Linker) -> list[Range]:
    """The base image's bodies of replaced functions: the function itself and the pieces split from it."""
    firmware = linker.firmware
    found = []
    names = {}
    for function in linker.replaced:
        if function.site is not None:
            found.append(Range(function.site.address, function.site.size))
            names[function.name] = function
    if names:
        for symbol in firmware.split:
            owner = names.get(function_name(symbol.name))
            unit = owner.piece.view.object.unit if owner else ""
            if owner is not None and (not symbol.unit or symbol.unit == unit):
                found.append(Range(symbol.address, symbol.size))
    return found


def _place(slot: SlotPlan, at: int) -> Place | None:
    """Which place of an object an offset in a slot's payload is, for messages."""
    piece = next((p for p in reversed(slot.pieces) if p.offset <= at < p.offset + p.size), None)
    if piece is None:
        return None
    obj = piece.view.object
    return Place(obj, obj.sections[piece.section], piece.start + at - piece.offset)
