"""What was placed, as an ELF for debuggers: sections, symbols and debug information at the addresses that it runs at.

The result stands beside the firmware's own ELF (gdb's ``add-symbol-file``), so it describes what it holds and nothing
else: debug information of functions that stayed where they were leads to address 0, as linkers do it for sections that
were dropped, and debuggers pass over it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from hotflash.elf import format as elf
from hotflash.elf.writer import OutSection, OutSymbol, executable
from hotflash.link import reloc, thumb
from hotflash.link.model import Target
from hotflash.link.relocate import Place, apply, place_of, read
from hotflash.wire.messages import SlotKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hotflash.elf.format import Section
    from hotflash.elf.object import Symbol
    from hotflash.link.model import Piece, SlotPlan
    from hotflash.link.plan import Plan
    from hotflash.link.relocate import Entry
    from hotflash.link.view import View

_LISTS = {".debug_ranges", ".debug_loc"}
"""Sections of DWARF 4 whose lists end with a pair of zeros (2.17.3): a dropped range is (1, 1) there."""


class Label(NamedTuple):
    """A name that is not an object's."""

    name: str
    offset: int
    size: int
    literal: int = 0
    """Bytes at its end that are data."""


@dataclass
class Placed:
    """A slot's contents and where they are."""

    name: str
    """Section name."""
    address: int
    data: bytes
    """Empty for a variable whose value is not known."""
    size: int
    flags: int
    """``SHF_*``"""
    pieces: list[Piece] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    """What no object has a symbol for: entry stubs, veneers."""


def section_flags(*, code: bool, writable: bool) -> int:
    """``SHF_*`` of memory."""
    return elf.SHF_ALLOC | (elf.SHF_EXECINSTR if code else 0) | (elf.SHF_WRITE if writable else 0)


def write(placed: Sequence[Placed], views: Sequence[View], flags: int) -> bytes:
    """The ELF of what was placed, with the debug information of ``views``; ``flags`` are the file's ``e_flags``."""
    ordered = sorted(placed, key=lambda p: p.address)
    sections = [
        OutSection(p.name, p.address, p.data, p.size, p.flags, elf.SHT_PROGBITS if p.data else elf.SHT_NOBITS, 4)
        for p in ordered
    ]
    symbols = list(_symbols(ordered, views))
    attributes = next((s for v in views for s in v.object.sections if s.kind == elf.SHT_ARM_ATTRIBUTES), None)
    if attributes is not None:
        sections.append(OutSection(attributes.name, 0, attributes.data, attributes.size, 0, attributes.kind))
    sections += Debug(views).sections()
    return executable(sections, symbols, flags)


def placed(plan: Plan, image: bytes) -> list[Placed]:
    """The slots of a plan that is linked; ``image`` are its bytes."""
    found, at = [], 0
    for slot in plan.slots:
        data = b"" if slot.zero else image[at : at + slot.size]
        at += len(data)
        labels = [Label(f"{slot.where}.entry", 0, slot.size)] if slot.kind == SlotKind.STUB else _veneers(slot, plan)
        flags = section_flags(code=slot.kind in (SlotKind.CODE, SlotKind.STUB), writable=slot.kind == SlotKind.VAR)
        name = section_name(slot.kind, slot.where, slot.pieces)
        found.append(Placed(name, slot.address, data, slot.size, flags, list(slot.pieces), labels))
    return found


def _veneers(slot: SlotPlan, plan: Plan) -> list[Label]:
    """The jumps behind a slot's pieces; each ends with the word that it jumps to."""
    end = max((piece.offset + piece.size for piece in slot.pieces), default=slot.size)
    size = len(thumb.veneer(0, wide=plan.wide))
    return [
        Label(f"__{target.name}_veneer", at + 4 - size, size, 4)
        for at, number, target, _ in slot.refs
        if at >= end and number == reloc.ABS32
    ]


def section_name(kind: int, name: str, pieces: Sequence[Piece]) -> str:
    """What a slot's section is called: as in the object, where that has one for it."""
    if pieces:
        own = pieces[0].view.object.sections[pieces[0].section].name
        return own if own.count(".") > 1 else f"{own}.{name.lstrip('.')}"
    return {SlotKind.STUB: ".text.entry.", SlotKind.VAR: ".bss."}.get(SlotKind(kind), ".text.") + name


# ------------------------------------------------------------------------------------------ symbols


def _symbols(placed: Sequence[Placed], views: Iterable[View]) -> Iterable[OutSymbol]:
    index = {id(piece): number for number, p in enumerate(placed) for piece in p.pieces}
    for view in views:
        mine = [piece for p in placed for piece in p.pieces if piece.view is view]
        if mine and view.object.unit:
            yield OutSymbol(view.object.unit, 0, 0, elf.STB_LOCAL, elf.STT_FILE, None)
        for piece in mine:
            number = index[id(piece)]
            at = place_of(piece)
            if at is None:
                at = placed[number].address + piece.offset  # a variable's: the variable has the slot
            for symbol in view.object.symbols:
                if symbol.section == piece.section and _named(symbol, piece):
                    value = at + symbol.value - piece.start
                    yield OutSymbol(symbol.name, value, symbol.size, symbol.bind, symbol.kind, number)
    for number, p in enumerate(placed):
        if p.labels:
            yield OutSymbol("", 0, 0, elf.STB_LOCAL, elf.STT_FILE, None)
        code = bool(p.flags & elf.SHF_EXECINSTR)
        for name, offset, size, literal in p.labels:
            at = p.address + offset
            if code:
                yield OutSymbol("$t", at, 0, elf.STB_LOCAL, elf.STT_NOTYPE, number)
            if literal:
                yield OutSymbol("$d", at + size - literal, 0, elf.STB_LOCAL, elf.STT_NOTYPE, number)
            kind = elf.STT_FUNC if code else elf.STT_OBJECT
            yield OutSymbol(name, at | code, size, elf.STB_LOCAL, kind, number)


def _named(symbol: Symbol, piece: Piece) -> bool:
    if not symbol.name or symbol.kind in (elf.STT_SECTION, elf.STT_FILE):
        return False
    value = symbol.value & ~1 if symbol.kind == elf.STT_FUNC else symbol.value
    return piece.start <= value < piece.start + max(piece.size, 1)


# ------------------------------------------------------------------------------- debug information


class Debug:
    """The debug sections of several objects, one behind the other, relocated."""

    def __init__(self, views: Sequence[View]) -> None:
        self._views = views
        self._out: dict[str, bytearray] = {}
        self._at: dict[tuple[View, int], int] = {}
        """Where an object's debug section starts in the section of that name."""

    def sections(self) -> list[OutSection]:
        """The sections to write."""
        work: list[tuple[View, Section, bytearray]] = []
        for view in self._views:
            for section in view.object.sections:
                if section.alloc or section.kind != elf.SHT_PROGBITS or not section.name.startswith(".debug_"):
                    continue
                content = bytearray(view.object.contents(section))
                out = self._out.setdefault(section.name, bytearray())
                out += bytes(-len(out) % section.align)
                self._at[view, section.index] = len(out)
                out += content
                work.append((view, section, content))
        for view, section, content in work:
            self._relocate(view, section, content)
        return [OutSection(name, 0, bytes(data), len(data)) for name, data in self._out.items()]

    def _relocate(self, view: View, section: Section, content: bytearray) -> None:
        obj = view.object
        # Thread-local variables have no address here; no code that is pushed refers to them.
        relocations = [r for r in obj.relocations(section.index) if r[1] in reloc.KINDS and r[1] not in reloc.THREAD]
        if not relocations:
            return
        start = self._at[view, section.index]

        def resolve(index: int, addend: int, bias: int, name: str, offset: int) -> Entry:
            del bias, offset
            return self._entry(view, obj.symbols[index], addend, name)

        refs = read(obj, section, 0, content, relocations, [None] * len(obj.symbols), resolve)
        apply(content, refs, start, partial(Place, obj, section), wide=True)
        self._out[section.name][start : start + len(content)] = content

    def _entry(self, view: View, symbol: Symbol, addend: int, section: str) -> Entry:
        offset = self._at.get((view, symbol.section))
        if offset is not None:
            return Target(symbol.name, address=offset), symbol.value, 0
        address = _address(view, symbol, addend)
        if address is None:
            return Target(symbol.name, address=1 if section in _LISTS else 0), -addend, 0
        return Target(symbol.name, address=address), -addend, 0


def _address(view: View, symbol: Symbol, addend: int) -> int | None:
    """The address of what debug information calls symbol + addend; None when it was not placed."""
    if symbol.section == elf.SHN_ABS:
        return symbol.value + addend
    if not 0 < symbol.section < len(view.object.sections):
        known = view.linker.firmware.globals.get(symbol.name) if symbol.section == elf.SHN_UNDEF else None
        return known.address + addend if known is not None and known.kind != "function" else None
    point = (symbol.value & ~1 if symbol.kind == elf.STT_FUNC else symbol.value) + addend
    section = view.object.sections[symbol.section]
    if section.writable:
        return view.data_address(symbol.section, point)
    for piece in view.pieces_of(symbol.section):
        if piece.start <= point <= piece.start + piece.size:
            at = place_of(piece)
            return None if at is None else at + point - piece.start
    return None
