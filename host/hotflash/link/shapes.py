"""What is the same in all versions of a function whose references stay as they were.

While somebody edits a function, its literals change and instructions with them, but mostly not where its references
are and what they lead to. What follows from these alone is made once: the list of references, their part of the
content hash, the veneers, and the fields of all that leads to fixed places of the firmware. What is left to do for a
version is one bitwise OR and what refers to the patch's own constants, whose addresses differ each time.

A shape is kept with the fields of its section, hence with the object's symbol table. It holds as long as the fields
hold the same addends and the symbols have the very same targets; targets outlive a link only in
:mod:`hotflash.link.bound`, for one firmware.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from hotflash.link import reloc, thumb
from hotflash.link.model import TAG_HASH, Piece, is_fixed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.link.fields import Place
    from hotflash.link.model import Ref, SlotPlan
    from hotflash.link.relocate import Entry, Resolve

_U = struct.Struct("<I")
_MARK = struct.Struct("<BQ")


class Built(NamedTuple):
    """A slot with a function of such a shape."""

    key: tuple[object, ...]
    """What else it follows from: the heap's bounds, the core."""
    size: int
    bits: int
    """Veneers, and fields that lead to fixed places, as a little-endian number."""
    refs: list[Ref]
    texts: list[tuple[int, int]]
    """Which of them lead to constants: index here and in the function."""
    pending: list[Ref]
    """Those whose fields follow from the slot's address."""


class Shape:
    """The references of a section's fields."""

    __slots__ = ("_known", "_packed", "_refs", "_symbols", "_texts", "built", "places")

    def __init__(self, places: list[Place], refs: list[Ref], texts: list[tuple[int, int]],
                 known: dict[int, Entry]) -> None:  # fmt: skip
        self.places = places
        self._refs = refs
        self._texts = texts
        self._symbols = tuple(known)
        self._known = list(known.values())
        self._packed = b""
        self.built: Built | None = None

    @classmethod
    def of(cls, places: list[Place], refs: list[Ref], entries: Sequence[Entry | None]) -> Shape | None:
        """The shape of a section's references; None when they lead to other than fixed places and constants."""
        known: dict[int, Entry] = {}
        texts = []
        for number, (place, ref) in enumerate(zip(places, refs, strict=True)):
            target, entry = ref[2], entries[place[2]]
            if entry is not None and entry[0] is target and is_fixed(target):
                known[place[2]] = entry
            elif type(target) is Piece and not target.code and ref[1] == reloc.ABS32:
                texts.append((number, ref[3] - place[3]))
            else:
                return None
        return cls(places, refs.copy(), texts, known)

    def bind(
        self, places: list[Place], entries: Sequence[Entry | None], resolve: Resolve, section: str
    ) -> list[Ref] | None:
        """What :func:`hotflash.link.relocate.bind` finds; None when that is not of this shape."""
        if self.places is not places or [entries[s] for s in self._symbols] != self._known:
            return None
        refs = self._refs.copy()
        for number, offset in self._texts:
            at, kind, symbol, addend, _, bias = places[number]
            target, start, bit = entries[symbol] or resolve(symbol, addend, bias, section, at)
            if type(target) is not Piece or target.code or start != offset or bit:
                return None
            refs[number] = at, kind, target, addend + start
        return refs

    def pack(self, packed: bytes, size: int) -> None:
        """Keeps the references' part of the content hash, of which each takes ``size`` bytes."""
        self._packed = packed
        assert len(packed) == size * len(self._refs)  # noqa: S101 - the caller packs all

    def packed(self, refs: list[Ref]) -> bytes | bytearray:
        """The references' part of the content hash for those that :meth:`bind` gave; empty when it is not known."""
        if not self._texts or not self._packed:
            return self._packed
        found = bytearray(self._packed)
        size = len(found) // len(refs)
        for number, _ in self._texts:
            target = refs[number][2]
            component = target.component if isinstance(target, Piece) else None
            _MARK.pack_into(found, size * (number + 1) - _MARK.size, TAG_HASH, component.hash if component else 0)
        return found

    def keep(self, slot: SlotPlan, masked: bytes, key: tuple[object, ...]) -> None:
        """Remembers a slot that was built of a function alone, whose bytes outside of fields are ``masked``."""
        data = bytearray(slot.data)
        refs: list[Ref] = []
        texts: list[tuple[int, int]] = []
        pending: list[Ref] = []
        for number, ref in enumerate(slot.refs):
            at, kind, target, addend = ref
            if type(target) is Piece:
                texts.append((len(refs), number))
            elif target.slot is slot:  # a veneer
                if kind not in (reloc.THM_CALL, reloc.THM_JUMP24):
                    return
                thumb.put_b24(data, at, addend - at & ~1)
                continue
            elif not is_fixed(target) or target.address is None:
                return
            elif kind == reloc.ABS32:
                _U.pack_into(data, at, target.address + addend & 0xFFFFFFFF)
            else:
                pending.append(ref)
            refs.append(ref)
        bits = int.from_bytes(data, "little") ^ int.from_bytes(masked, "little")
        self.built = Built(key, len(data), bits, refs, texts, pending)
