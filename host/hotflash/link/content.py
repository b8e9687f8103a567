"""Is it the same? Content hashes, and comparison with what the base image holds.

Two versions of a function are the same when their bytes outside relocated fields are equal and their relocated
fields lead to the same things. A linked image no longer says what a field was relocated against, so a field is
decoded back into an address, and that address has to be the thing's, or hold an equal constant, or an equal clone.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from typing import TYPE_CHECKING

from hotflash.errors import LinkError
from hotflash.link import reloc
from hotflash.link.identity import base_name
from hotflash.link.model import (
    TAG_HASH,
    TAG_IDENT,
    TAG_SAME_SLOT,
    Component,
    Function,
    Missing,
    Piece,
    Ref,
    Target,
    Variable,
)
from hotflash.link.thumb import NO_BRANCHES, VENEER_MOST, get_b24, veneer_target

if TYPE_CHECKING:
    from hotflash.elf.firmware import Firmware, Symbol

_REF = "IBqBQ"
_REF_SIZE = struct.calcsize("<" + _REF)
_U = struct.Struct("<I")


class Condenser:
    """Groups pieces that refer to each other in circles, and hashes the groups (Tarjan 1972, without recursion)."""

    def __init__(self) -> None:
        self._index: dict[Piece, int] = {}
        self._low: dict[Piece, int] = {}
        self._stack: list[Piece] = []

    def component(self, root: Piece) -> Component:
        """The group of a piece; it and all that it refers to have their hash afterwards."""
        if root.component is None:
            edges = self._edges(root)
            if edges:
                self._search(root, edges)
            else:
                _group([root])
        assert root.component is not None  # noqa: S101 - the search ends with the root's group
        return root.component

    @staticmethod
    def _edges(piece: Piece) -> list[Piece]:
        """What a piece refers to and has no group yet. Most refer to texts at the most, which refer to nothing."""
        piece.view.scan(piece)
        edges = []
        for target in dict.fromkeys([ref[2] for ref in piece.refs if type(ref[2]) is Piece]):
            if target.component is None:
                if target is not piece and not target.view.scan(target).refs:
                    _group([target])
                else:
                    edges.append(target)
        return edges

    def _enter(self, piece: Piece, edges: list[Piece]) -> tuple[Piece, list[Piece], int]:
        self._index[piece] = self._low[piece] = len(self._index)
        self._stack.append(piece)
        return piece, edges, 0

    def _search(self, root: Piece, first: list[Piece]) -> None:
        work = [self._enter(root, first)]
        while work:
            piece, edges, at = work.pop()
            descended = False
            while at < len(edges):
                target = edges[at]
                at += 1
                if target not in self._index:
                    if target.component is None:
                        work += [(piece, edges, at), self._enter(target, self._edges(target))]
                        descended = True
                        break
                elif target.component is None:
                    self._low[piece] = min(self._low[piece], self._index[target])
            if descended:
                continue
            if self._low[piece] == self._index[piece]:
                self._close(piece)
            if work:
                parent = work[-1][0]
                self._low[parent] = min(self._low[parent], self._low[piece])

    def _close(self, piece: Piece) -> None:
        at = self._stack.index(piece)
        pieces = self._stack[at:]
        del self._stack[at:]
        pieces.sort(key=lambda p: (p.function is None, not p.code, p.section, p.start))
        if len(pieces) > 1 and pieces[1].function is not None:
            raise LinkError(
                f"{pieces[0].view.object.name}: {pieces[0].name} and {pieces[1].name} refer into each other's bodies",
                hint="recompile without -fno-function-sections, or flash the new build",
            )
        _group(pieces)


def _group(pieces: list[Piece]) -> None:
    component = Component(pieces)
    for member in pieces:
        member.component = component
    component.hash = content_hash(pieces)


def content_hash(pieces: list[Piece]) -> int:
    """The hash of a slot's content (docs/SPEC.md, Content hashes)."""
    place = {piece: number for number, piece in enumerate(pieces)}
    parts: list[bytes | bytearray] = []
    for piece in pieces:
        parts.append(piece.masked or bytes(piece.size))
        shape = piece.shape if len(pieces) == 1 else None
        packed = shape.packed(piece.refs) if shape is not None else b""
        if packed:
            parts.append(packed)
        elif piece.refs:
            packed = _pack(piece.refs, place)
            parts.append(packed)
            if shape is not None:
                shape.pack(packed, _REF_SIZE)
    return int.from_bytes(hashlib.sha256(b"".join(parts)).digest()[:8], "little")


def _pack(refs: list[Ref], place: dict[Piece, int]) -> bytes:
    """References as they are hashed; ``place`` numbers the pieces of their slot."""
    values: list[int] = []
    for offset, kind, target, addend in refs:
        if type(target) is not Piece:
            values += (offset, kind, addend, target.tag, target.token)
        elif target in place:
            values += (offset, kind, addend, TAG_SAME_SLOT, place[target])
        elif target.function is not None:
            values += (offset, kind, addend, TAG_IDENT, target.function.ident)
        else:
            values += (offset, kind, addend, TAG_HASH, target.component.hash if target.component else 0)
    return _refs(len(refs)).pack(*values)


@lru_cache(maxsize=256)
def _refs(count: int) -> struct.Struct:
    return struct.Struct("<" + count * _REF)


class Base:
    """Comparison with the base image."""

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._known: dict[tuple[Piece, int], bool] = {}

    def counterpart(self, piece: Piece) -> Symbol | None:
        """The firmware's symbol for a constant or a private function of the same name."""
        symbol = piece.symbol
        if piece.code or symbol is None:
            return piece.view.names.group(piece.view.object.unit).get(piece.name) if piece.code else None
        if symbol.bind:
            return self._firmware.globals.get(symbol.name)
        return piece.view.names.local(symbol)

    def same(self, piece: Piece, address: int) -> bool:
        """Whether the base image holds at ``address`` what the piece would be there, references included."""
        known = self._known.get((piece, address))
        if known is not None:
            return known
        assumed: set[tuple[Piece, int]] = set()
        todo = [(piece, address)]
        while todo:
            pair = todo.pop()
            if pair in assumed or self._known.get(pair):
                continue
            further = None if self._known.get(pair) is False else self._compare(*pair)
            if further is None:
                self._known[pair] = self._known[piece, address] = False
                return False
            assumed.add(pair)  # circles are equal when nothing in them differs
            todo += further
        self._known.update(dict.fromkeys(assumed, True))
        return True

    def same_reference(self, ref: Ref, base: bytes, address: int) -> bool:
        """Whether one field of a function at ``address`` leads to the same in the base image, whose bytes are given."""
        pairs: list[tuple[Piece, int]] = []
        halves: dict[tuple[Piece, int], list[int | None]] = {}
        if not self._field(ref, base, address, pairs, halves):
            return False
        return not halves and all(self.same(*pair) for pair in pairs)

    @staticmethod
    def pointed_at(ref: Ref, base: bytes) -> int:
        """Where a word of the base image leads, less the reference's addend."""
        word: int = _U.unpack_from(base, ref[0])[0]
        return (word - ref[3]) & 0xFFFFFFFF

    def _compare(self, piece: Piece, address: int) -> list[tuple[Piece, int]] | None:
        """Pairs that must be equal as well, or None when these are not."""
        base = self._firmware.read(address, piece.size)
        if not piece.data:
            return [] if not any(base) else None
        if len(base) != piece.size:
            return None
        masked = piece.view.scan(piece).masked
        refs = piece.refs
        if not refs:
            return [] if base == masked else None
        assert masked is not None  # noqa: S101 - scanned
        first = refs[0][0]
        if base[:first] != masked[:first]:
            return None
        own = int.from_bytes(base, "little") ^ int.from_bytes(masked, "little")
        if own & piece.mask and not self._gone(base, own & piece.mask, refs):
            return None
        pairs: list[tuple[Piece, int]] = []
        halves: dict[tuple[Piece, int], list[int | None]] = {}
        for ref in refs:
            if not self._field(ref, base, address, pairs, halves):
                return None
        for (target, addend), (low, high) in halves.items():
            if low is None or high is None:
                return None
            pairs.append((target, ((high << 16 | low) - addend) & 0xFFFFFFFF))
        return pairs

    @staticmethod
    def _gone(base: bytes, differ: int, refs: list[Ref]) -> bool:
        """Whether bits differ only where ld replaced a branch to what is missing by an instruction without effect."""
        for at, number, target, _ in refs:
            kind = reloc.KINDS[number]
            if type(target) is Missing and kind.branch and base[at : at + kind.width] in NO_BRANCHES:
                differ &= ~((1 << 8 * kind.width) - 1 << 8 * at)
        return not differ

    def _field(
        self,
        ref: Ref,
        base: bytes,
        address: int,
        pairs: list[tuple[Piece, int]],
        halves: dict[tuple[Piece, int], list[int | None]],
    ) -> bool:
        at, number, target, addend = ref
        place = address + at
        known = self._address(target)
        if known is None and not self._comparable(target):
            return False
        if number == reloc.ABS32:
            value = int.from_bytes(base[at : at + 4], "little")
        else:
            kind = reloc.KINDS[number]
            if kind.branch:
                if type(target) is Missing and base[at : at + 4] in NO_BRANCHES:
                    return True
                value = get_b24(base, at) if kind.width == 4 and number != 51 else kind.get(base, at)
                value, addend = place + 4 + value, addend + 4
                if known is not None and (known + addend) & ~1 != value:
                    behind = veneer_target(self._firmware.read(value, VENEER_MOST), value)
                    return behind is not None and behind & ~1 == (known + addend) & ~1
            elif kind.part:
                return self._part(kind, ref, base, place, known=known, halves=halves)
            else:
                value = kind.get(base, at)
                if kind.rule == reloc.RELATIVE:
                    value += place
                elif kind.rule == reloc.WORD_RELATIVE:
                    value += place & ~3
                if number == reloc.TLS_IE32:
                    word = self._firmware.read((value - addend) & 0xFFFFFFFF, 4)
                    return known is not None and int.from_bytes(word, "little") == known
                if kind.width < 4 and kind.rule == reloc.ABSOLUTE:
                    bits = (1 << 8 * kind.width) - 1
                    return known is not None and (known + addend) & bits == value & bits
                if number == 42:  # R_ARM_PREL31: the sum wraps at 31 bits
                    return known is not None and (known + addend - value) & 0x7FFFFFFF == 0
        if known is not None:
            return (known + addend - value) & 0xFFFFFFFF == 0
        assert isinstance(target, Piece)  # noqa: S101 - all others have an address or are not comparable
        return self._pair(target, (value - addend) & 0xFFFFFFFF, pairs)

    @staticmethod
    def _part(
        kind: reloc.Kind,
        ref: Ref,
        base: bytes,
        place: int,
        *,
        known: int | None,
        halves: dict[tuple[Piece, int], list[int | None]],
    ) -> bool:
        at, _, target, addend = ref
        value = kind.get(base, at) & 0xFFFF
        if known is not None:
            wanted = bytearray(base[at : at + kind.width])
            kind.put(wanted, 0, known + addend - (place if kind.rule == reloc.RELATIVE else 0))
            return bytes(wanted) == base[at : at + kind.width]
        if kind.rule == reloc.RELATIVE or kind.part == "byte" or not isinstance(target, Piece):
            return False
        both = halves.setdefault((target, addend & ~1 if target.code else addend), [None, None])
        side = 0 if kind.part == "low" else 1
        if target.code and side == 0:
            value &= ~1
        if both[side] is not None and both[side] != value:
            return False
        both[side] = value
        return True

    def _pair(self, target: Piece, address: int, pairs: list[tuple[Piece, int]]) -> bool:
        symbol = target.symbol
        if symbol is not None and (symbol.bind or base_name(symbol.name) == symbol.name):
            found = self.counterpart(target)
            if found is None or found.address != address:
                return False
        pairs.append((target, address))
        return True

    @staticmethod
    def _address(target: Target) -> int | None:
        """Where the base image has a target, if that is known."""
        if type(target) is Piece:
            return target.base
        if isinstance(target, Function):
            return target.fw.address if target.fw else None
        return target.address if target.handle is None else None

    @staticmethod
    def _comparable(target: Target) -> bool:
        return type(target) is Piece and not isinstance(target, Variable)
