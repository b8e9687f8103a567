"""Linking objects completely at given addresses: the linker's steps without a device, to compare and to run the result.

Every chosen section of every object is placed as a whole, and every symbol that the objects lack comes from the
caller's table. Reading, veneers and writing are those of a push (:mod:`hotflash.link.relocate`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from hotflash.elf import format as elf
from hotflash.elf.threads import head_size
from hotflash.errors import LinkError
from hotflash.link.model import TAG_ABSOLUTE, Missing, Target, ThreadLocal
from hotflash.link.relocate import Place, address_of, apply, extend, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hotflash.elf.format import RawSymbol, Section
    from hotflash.elf.object import ObjectFile
    from hotflash.link.model import Ref
    from hotflash.link.relocate import Entry

_GRP_COMDAT = 1


class Known(NamedTuple):
    """What a table of symbols says about a name."""

    address: int
    """Without the Thumb bit."""
    function: bool
    """Pointers to it carry the Thumb bit."""
    thread: bool = False
    """It is thread-local; ``address`` is its offset from the thread pointer."""


class Part(Target):
    """One section of an object, or one common symbol, that is placed as a whole."""

    __slots__ = ("align", "data", "object", "refs", "section", "size")

    def __init__(self, obj: ObjectFile, section: Section | None, name: str, size: int, align: int) -> None:
        super().__init__(name)
        self.object = obj
        self.section = section
        """None for a common symbol."""
        self.size = size
        """Bytes in memory, veneers included."""
        self.align = align
        self.data = bytearray()
        """Contents; linked once :func:`link` has returned. Empty for what starts as zeros."""
        self.refs: list[Ref] = []


def allocated(obj: ObjectFile, section: Section) -> bool:
    """The sections that take room in the target's memory."""
    del obj
    return section.alloc


def in_sequence(address: int) -> Callable[[Sequence[Part]], list[int]]:
    """A placement: one part after the other from ``address`` on, each aligned as it wants."""

    def place(parts: Sequence[Part]) -> list[int]:
        at, found = address, []
        for part in parts:
            at = -(-at // part.align) * part.align
            found.append(at)
            at += part.size
        return found

    return place


class WholeLink:
    """The result: ``parts`` with their addresses and bytes, and where each symbol is."""

    def __init__(
        self,
        objects: Sequence[ObjectFile],
        resolve: Callable[[str], Known | None],
        chosen: Callable[[ObjectFile, Section], bool],
    ) -> None:
        self._resolve = resolve
        self.parts: list[Part] = []
        self._by_section: dict[tuple[int, int], Part] = {}
        self._commons: dict[str, Part] = {}
        self._threads: dict[Part, ThreadLocal] = {}
        """Sections of thread-local variables, as code sees them."""
        self._globals: dict[str, tuple[int, RawSymbol]] = {}
        self._entries: list[list[Entry | None]] = [[None] * len(obj.symbols) for obj in objects]
        self._objects = objects
        discarded = self._discarded()
        for number, obj in enumerate(objects):
            for section in obj.sections:
                if (number, section.index) in discarded or not chosen(obj, section):
                    continue
                part = Part(obj, section, section.name, section.size, section.align)
                part.data = bytearray(section.data)
                self._by_section[number, section.index] = part
                self.parts.append(part)
        self._define(discarded)

    def _discarded(self) -> set[tuple[int, int]]:
        """Sections of COMDAT groups that an earlier object has too (ELF gABI, "Section Groups")."""
        found: set[tuple[int, int]] = set()
        seen: set[str] = set()
        for number, obj in enumerate(self._objects):
            for group in obj.sections:
                if group.kind != elf.SHT_GROUP or int.from_bytes(group.data[:4], "little") != _GRP_COMDAT:
                    continue
                if group.info >= len(obj.symbols):
                    raise obj.fail(f"the signature of section group {group.index} is symbol {group.info}, which is not")
                signature = obj.symbols[group.info]
                name = signature.name
                if not name and 0 < signature.section < len(obj.sections):
                    name = obj.sections[signature.section].name
                if name in seen:
                    members = range(4, len(group.data) - 3, 4)
                    found |= {(number, int.from_bytes(group.data[at : at + 4], "little")) for at in members}
                seen.add(name)
        return found

    def _define(self, discarded: set[tuple[int, int]]) -> None:
        """Collects global definitions: strong before common before weak, and only one strong one."""
        for number, obj in enumerate(self._objects):
            for symbol in obj.symbols:
                if symbol.bind == elf.STB_LOCAL or symbol.section == elf.SHN_UNDEF:
                    continue
                if (number, symbol.section) in discarded:
                    continue
                known = self._globals.get(symbol.name)
                if known is not None and _rank(known[1]) == _rank(symbol) == 0:
                    raise LinkError(
                        f"{symbol.name} is defined in {self._objects[known[0]].name} and in {obj.name}",
                        hint="link one of them, or make one static",
                    )
                if known is None or _rank(symbol) < _rank(known[1]):
                    self._globals[symbol.name] = number, symbol
        for name, (number, symbol) in self._globals.items():
            if symbol.section == elf.SHN_COMMON:
                obj = self._objects[number]
                sizes = [
                    s.size for o in self._objects for s in o.symbols if s.name == name and s.section == elf.SHN_COMMON
                ]
                part = self._commons[name] = Part(obj, None, name, max(sizes), max(symbol.value, 1))
                self.parts.append(part)

    # ------------------------------------------------------------------------------ references

    def read(self) -> None:
        """Takes all references out of the parts' bytes."""
        numbers = {id(obj): number for number, obj in enumerate(self._objects)}
        for part in self.parts:
            if part.section is None:
                continue
            relocations = part.object.relocations(part.section.index)
            if relocations:
                number = numbers[id(part.object)]
                entries, resolve = self._entries[number], partial(self._entry, number)
                part.refs = read(part.object, part.section, 0, part.data, relocations, entries, resolve)

    def _entry(self, number: int, index: int, addend: int, bias: int, section: str, offset: int) -> Entry:
        del addend, bias
        entry = self._entries[number][index] = self._find(number, index, f"{section}+{offset:#x}")
        return entry

    def _find(self, number: int, index: int, where: str) -> Entry:
        obj = self._objects[number]
        symbol = obj.symbols[index]
        if index == 0:
            return Target("0", address=0, tag=TAG_ABSOLUTE), 0, 0
        if symbol.bind != elf.STB_LOCAL:
            known = self._globals.get(symbol.name)
            if known is not None:
                number, symbol = known
            elif (found := self._resolve(symbol.name)) is not None:
                if found.thread:
                    return ThreadLocal(symbol.name, address=found.address), 0, 0
                return Target(symbol.name, address=found.address), 0, int(found.function)
            elif symbol.bind == elf.STB_WEAK:
                return Missing(symbol.name), 0, 0
            else:
                raise LinkError(
                    f"undefined symbol {symbol.name}, needed by {obj.name} ({where})",
                    hint="link the object that defines it too",
                )
        if symbol.section == elf.SHN_COMMON:
            return self._commons[symbol.name], 0, 0
        bit = int(symbol.kind == elf.STT_FUNC)
        if symbol.section == elf.SHN_ABS:
            address = symbol.value & ~1 if bit else symbol.value
            return Target(symbol.name, address=address, tag=TAG_ABSOLUTE), 0, bit
        part = self._by_section.get((number, symbol.section))
        if part is None:
            name = self._objects[number].sections[symbol.section].name
            raise LinkError(f"{obj.name}: {where} refers to section {name}, which is not linked")
        if symbol.kind == elf.STT_TLS:
            return self._threads.setdefault(part, ThreadLocal(symbol.name)), symbol.value, 0
        return part, symbol.value & ~1 if bit else symbol.value, bit

    # ----------------------------------------------------------------------------------- places

    def place(self, place: Callable[[Sequence[Part]], Sequence[int]], *, wide: bool) -> None:
        """Asks ``place`` for addresses, adds the veneers that these need, and asks again until all reach.

        A veneer that was needed once stays, so the rounds come to an end.
        """
        here = {part: Target(part.name) for part in self.parts}
        while True:
            for part, address in zip(self.parts, place(self.parts), strict=True):
                if address % part.align:
                    raise LinkError(
                        f"{part.object.name}: {part.name} at {address:#010x} is not aligned to {part.align}"
                    )
                part.address = here[part].address = address
            self._place_threads()
            grown = False
            for part in self.parts:
                if part.section is None or not part.section.code or part.address is None:
                    continue
                before = len(part.data)
                extend(part.data, part.refs, here[part], part.address, part.address, _reach, wide=wide)
                if len(part.data) > before:
                    part.size = len(part.data)
                    part.align = max(part.align, 4)
                    grown = True
            if not grown:
                return

    def _place_threads(self) -> None:
        """Offsets of thread-local variables: all their sections together are what each thread gets a copy of."""
        block = [p for p in self.parts if p.section is not None and p.section.flags & elf.SHF_TLS]
        start = min((p.address for p in block if p.address is not None), default=0)
        head = head_size(max((p.align for p in block), default=1))
        for part, target in self._threads.items():
            if part.address is not None:
                target.address, target.head = part.address - start + head, head

    def write(self, *, wide: bool) -> None:
        """Fills in all references."""
        for part in self.parts:
            if part.address is not None and part.section is not None:
                place = partial(Place, part.object, part.section)
                apply(part.data, part.refs, part.address, place, wide=wide)

    def value(self, obj: ObjectFile, symbol: RawSymbol) -> int | None:
        """What a pointer to a symbol of an object holds; None when it is in no section that is linked."""
        number = next(n for n, o in enumerate(self._objects) if o is obj)
        try:
            target, offset, bit = self._find(number, symbol.index, "")
        except LinkError:
            return None
        return address_of(target) + offset | bit


def _rank(symbol: RawSymbol) -> int:
    if symbol.bind == elf.STB_WEAK:
        return 2
    return 1 if symbol.section == elf.SHN_COMMON else 0


def _reach(target: Target) -> tuple[int, int] | None:
    return None if target.address is None else (target.address, target.address)


def link(
    objects: Sequence[ObjectFile],
    resolve: Callable[[str], Known | None],
    place: Callable[[Sequence[Part]], Sequence[int]],
    *,
    wide: bool,
    chosen: Callable[[ObjectFile, Section], bool] = allocated,
) -> WholeLink:
    """Links ``objects`` at the addresses that ``place`` gives their parts.

    ``resolve`` knows the symbols that the objects do not define. ``place`` is asked again, with the new sizes, when
    veneers have been added; :func:`in_sequence` is one. ``wide`` says whether the core has the 32-bit instructions
    of ARMv7-M (:func:`hotflash.link.relocate.is_wide` of the firmware's build attributes). ``chosen`` picks the
    sections. Sections that take no memory (debug information) may be chosen too: their "address" is the offset in
    the output section that they become part of.

    Raises LinkError for undefined or doubly defined symbols, unknown relocations and fields that do not reach.
    """
    linked = WholeLink(objects, resolve, chosen)
    linked.read()
    linked.place(place, wide=wide)
    linked.write(wide=wide)
    return linked
