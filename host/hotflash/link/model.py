"""What the linker's steps hand to each other: targets of references, pieces of objects, slots to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hotflash.elf.firmware import Site, Symbol
    from hotflash.elf.object import Symbol as ObjectSymbol
    from hotflash.link.shapes import Shape
    from hotflash.link.view import View
    from hotflash.wire.messages import Slot

TAG_IDENT, TAG_HASH, TAG_SAME_SLOT, TAG_ABSOLUTE = 1, 2, 3, 4
"""What a target counts with in a content hash."""


@dataclass(frozen=True)
class Helper:
    """What a patch uses of an archive."""

    name: str
    member: str
    """Archive and member, ``libgcc.a(_divdi3.o)``; empty for state of the firmware that a member uses."""
    kind: str
    """``code``, ``constant`` or ``variable``."""
    size: int
    """Bytes; 0 where it stays what it is."""
    needed_by: str
    """The function, or other helper, that needs it first."""
    state: str
    """``sent``: with this push. ``live``: there since an earlier one. ``firmware``: the firmware has it."""


class Target:
    """Something that references lead to. ``address`` is known at once, or once the device has granted the room."""

    __slots__ = ("address", "handle", "name", "problem", "slot", "tag", "token")

    def __init__(self, name: str, *, address: int | None = None, tag: int = TAG_IDENT, token: int = 0) -> None:
        self.name = name
        self.address = address
        """Without the Thumb bit; of functions the static entry."""
        self.tag = tag
        self.token = token
        self.slot: SlotPlan | None = None
        """The slot of this transaction that holds it."""
        self.handle: int | None = None
        """The live slot that holds it."""
        self.problem: tuple[str, str] | None = None
        """Why nothing that is pushed may refer to it: message and hint."""


def is_fixed(target: Target) -> bool:
    """Whether it is a place of the firmware, the same for all links against it, which nothing has to be kept for."""
    return type(target) is Target and target.handle is None and target.problem is None and target.slot is None


class Missing(Target):
    """An undefined weak symbol: its address is 0, and branches to it do nothing."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(name, address=0, tag=TAG_ABSOLUTE)


class ThreadLocal(Target):
    """A thread-local variable; ``address`` is its offset from the thread pointer."""

    __slots__ = ("head",)

    def __init__(self, name: str, *, address: int | None = None, head: int = 8, token: int = 0) -> None:
        super().__init__(name, address=address, token=token)
        self.head = head
        """Bytes between the thread pointer and the first variable."""


Ref = tuple[int, int, Target, int]
"""One reference: offset of the place, relocation kind, target, addend (section offset and Thumb bit included)."""


class Piece(Target):
    """A part of an object that is placed as a whole: one function, one constant, one variable's initial value."""

    __slots__ = ("align", "base", "code", "component", "data", "function", "mask", "masked", "offset", "refs",
                 "section", "shape", "size", "start", "symbol", "view", "writable")  # fmt: skip

    def __init__(
        self, view: View, name: str, section: int, start: int, size: int, *, align: int, code: bool, writable: bool
    ) -> None:
        super().__init__(name)
        self.view = view
        self.section = section
        self.start = start
        self.size = size
        self.align = align
        self.code = code
        self.writable = writable
        self.data: bytes = b""
        """Contents as in the object; empty when it is all zeros."""
        self.symbol: ObjectSymbol | None = None
        """A constant's own name, when it has one."""
        self.function: Function | None = None
        """The function that others know it as."""
        self.masked: bytes | None = None
        """Contents with relocated fields zeroed; None until scanned."""
        self.mask = -1
        """A one for every bit of the contents that is in no relocated field, as a little-endian number."""
        self.refs: list[Ref] = []
        self.shape: Shape | None = None
        """Of its references, when it is known."""
        self.component: Component | None = None
        self.offset = 0
        """In its slot's payload."""
        self.base: int | None = None
        """For a public function: its address in the base image."""


class Function(Target):
    """A function with an identity. As a target it is the static entry, whatever version runs."""

    __slots__ = ("entry", "fw", "ident", "new", "nops", "piece", "site", "stub", "symbol")

    def __init__(self, piece: Piece, symbol: ObjectSymbol, ident: int) -> None:
        super().__init__(symbol.name, token=ident)
        self.piece = piece
        self.symbol = symbol
        self.ident = ident
        self.nops = 0
        self.site: Site | None = None
        self.fw: Symbol | None = None
        """The firmware's symbol."""
        self.entry: Target = self
        """What references lead to: of a function that the firmware has a target that outlives the link."""
        self.stub: Slot | None = None
        """The live entry stub of a function that came with an earlier patch."""
        self.new = False
        """It is in neither: it gets an entry stub if something that is pushed refers to it."""

    @property
    def unit(self) -> str:
        """The source file."""
        return self.symbol.unit or self.piece.view.object.unit


class Variable(Target):
    """A variable that is new in this patch."""

    __slots__ = ("align", "ident", "parts", "size")

    def __init__(self, name: str, ident: int, size: int, align: int, parts: list[tuple[int, Piece]]) -> None:
        super().__init__(name, token=ident)
        self.ident = ident
        self.size = size
        self.align = align
        self.parts = parts
        """Initial values by offset; what they leave out, and all of a common symbol, is zeros."""


class Component:
    """Pieces that refer to each other in a circle, so that they must share a slot; mostly just one."""

    __slots__ = ("code", "done", "hash", "pieces")

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces
        self.code = pieces[0].code or (len(pieces) > 1 and any(p.code for p in pieces))
        self.hash = 0
        self.done = False
        """A place is decided."""


class SlotPlan:
    """A slot to be allocated."""

    __slots__ = ("address", "align", "data", "deps", "function", "hash", "hook", "ident", "kind", "live_deps",
                 "ordinal", "pending", "pieces", "refs", "size", "skip", "where", "zero")  # fmt: skip

    def __init__(self, kind: int, name: str, *, ident: int, hash_: int) -> None:
        self.kind = kind
        self.where = name
        """For messages: what it holds."""
        self.ident = ident
        self.hash = hash_
        self.ordinal = -1
        self.size = 0
        self.align = 0
        self.zero = False
        self.data = bytearray()
        self.refs: list[Ref] = []
        """References by offset in the payload."""
        self.pending: list[Ref] | None = None
        """Those that ``data`` does not have yet; None for all."""
        self.pieces: list[Piece] = []
        """What it holds, in the payload's order."""
        self.deps: dict[SlotPlan, None] = {}
        self.live_deps: dict[int, None] = {}
        self.function: Function | None = None
        """CODE: the function that a hook binds to it. STUB: the function whose entry it is."""
        self.skip = 0
        self.address = 0
        self.hook = 0
        """STUB: the granted hook, plus 1."""
