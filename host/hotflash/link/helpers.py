"""Helpers that a patch needs and the firmware lacks, from archives, member by member.

A member is extracted as linkers do it: for a strong reference that nothing else satisfies, and it may need further
members. What the firmware has by the same name is bound there, code and state alike, and never copied. The rest
travels like a patch's private parts: code and constants as slots that are shared by content and live as long as
something refers to them, state as new variables under their names. Such code has no patch points and needs none:
it never changes while its archive does not.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from hotflash.elf import attributes
from hotflash.elf import format as elf
from hotflash.elf.object import ObjectFile
from hotflash.errors import HotflashError, LinkError
from hotflash.link import reloc
from hotflash.link.identity import function_name, ident
from hotflash.link.model import Helper, Piece, Target, Variable
from hotflash.link.relocate import place_of
from hotflash.link.view import View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotflash.elf.archive import Archive, Member
    from hotflash.elf.firmware import Firmware
    from hotflash.elf.object import Symbol
    from hotflash.link.model import Ref
    from hotflash.link.relocate import Entry
    from hotflash.link.select import Linker

_SAMPLE = 40
"""How many of the functions that firmware and archive share are compared to find out which C library it has."""


class Source(Protocol):
    """Where archives are; see :class:`hotflash.toolchain.Archives`."""

    def __hash__(self) -> int:
        """By identity: what was found out with a source is remembered with it."""

    def own(self) -> tuple[Archive, ...]:
        """The project's archives."""

    def libraries(self, attributes: Mapping[int, int | str]) -> dict[str, tuple[Archive, ...]]:
        """The compiler's archives by C library."""


class LibraryView(View):
    """A member of an archive.

    Its sections are not cut: libraries are mostly built without ``-ffunction-sections``. Its functions are private.
    """

    def __init__(self, obj: ObjectFile, linker: Linker) -> None:
        super().__init__(obj, linker)
        self._places: dict[int, tuple[Target, int]] = {}
        """Writable sections: what holds the section, and the section's offset there."""
        for section in obj.sections:
            if section.code and section.alloc and section.size:
                named = self._by_section.get(section.index, ())
                first = min(named, key=lambda s: (s.bind == elf.STB_LOCAL, s.value, s.name), default=None)
                self.piece(section.index, 0, section.size, first.name if first else section.name)

    @property
    def origin(self) -> str:
        """Where its code is from, for people: archive and member."""
        return self.object.name

    def _defined(self, symbol: Symbol, addend: int, bias: int, where: str) -> tuple[Entry, bool]:
        # The application's or the patch's of that name is the one: a library's is weak, or they would not fit together.
        if symbol.bind != elf.STB_LOCAL and not self.object.sections[symbol.section].writable:
            theirs = self.linker.lookup(symbol.name, self)
            if theirs is not None:
                return theirs, True
        return super()._defined(symbol, addend, bias, where)

    def _code(self, symbol: Symbol, addend: int, bias: int, where: str) -> tuple[Entry, bool]:
        del addend, bias
        piece = self._pieces.get((symbol.section, 0))
        if piece is None:
            raise LinkError(f"{where} refers to {self.object.sections[symbol.section].name}, which is empty")
        function = symbol.kind == elf.STT_FUNC
        return (piece, symbol.value & ~1 if function else symbol.value, int(function)), True

    def _constant(self, symbol: Symbol, addend: int, where: str) -> tuple[Entry, bool]:
        section = self.object.sections[symbol.section]
        objects = {s.value for s in self._by_section.get(symbol.section, ()) if s.kind == elf.STT_OBJECT}
        if objects in (set(), {0}) or (section.flags & elf.SHF_MERGE and section.entsize):
            return super()._constant(symbol, addend, where)
        piece = self.piece(symbol.section, 0, section.size, section.name)
        return (piece, symbol.value, 0), True

    def _data(self, symbol: Symbol, where: str) -> tuple[Entry, bool]:
        place = self._places.get(symbol.section)
        if place is None:
            place = self._places[symbol.section] = self._place(symbol.section, where)
        return (place[0], symbol.value + place[1], 0), True

    def data_address(self, section: int, point: int) -> int | None:
        """See :meth:`View.data_address`."""
        target, offset = self._places.get(section, (None, 0))
        at = place_of(target) if target is not None else None
        return None if at is None else at + point + offset

    def _place(self, index: int, where: str) -> tuple[Target, int]:
        """Where a writable section's content is: with the firmware's variables of its names, or new."""
        section = self.object.sections[index]
        objects = [s for s in self._by_section.get(index, ()) if s.kind == elf.STT_OBJECT]
        targets = [(self.variables.find(s)[0], s) for s in objects]
        there = [(t, s) for t, s in targets if not isinstance(t, Variable)]
        for target, _ in there:
            if target.problem is not None:
                raise LinkError(f"{where}: {target.problem[0]}", hint=target.problem[1])
        if there:
            first, symbol = there[0]
            missing = [s.name for t, s in targets if isinstance(t, Variable)]
            starts = {(t.address or 0) - s.value for t, s in there}
            if missing or len(starts) != 1:
                raise LinkError(
                    f"{self.object.name} cannot come along: the firmware has its state in part "
                    f"({', '.join(s.name for _, s in there[:4])}), and not "
                    f"{', '.join(missing[:4]) or 'in the same order'}; a second copy would not know of the first",
                    hint="flash a build that uses it",
                )
            return first, -symbol.value
        user = self._linked_user(index)
        if user is not None:
            raise LinkError(
                f"{self.object.name} cannot come along: the firmware's {user} uses the state in its {section.name} "
                f"already, under no name (local symbols stripped?); a second copy would not know of the first",
                hint="link the firmware without -x and --discard-all, or flash a build that uses it",
            )
        if len(targets) == 1 and targets[0][1].value == 0:
            return targets[0][0], 0
        who = ident(self.object.name, section.name)
        name = next((s.name for s in objects if s.bind != elf.STB_LOCAL), f"{self.object.name}:{section.name}")
        live = self.linker.live_variables.get(who)
        if live is not None and live.length == section.size:
            target = Target(name, address=live.address, token=who)
            target.handle = live.handle
            return target, 0
        self._pieces.pop((index, 0), None)  # a variable's own
        piece = self.piece(index, 0, section.size, name)
        new = Variable(name, who, section.size, section.align, [(0, piece)])
        return self.linker.new_variables.setdefault(who, new), 0

    def _linked_user(self, index: int) -> str | None:
        """A function of this member that the firmware has and that refers to a section."""
        for section, symbols in self._by_section.items():
            theirs = [s.name for s in symbols if s.kind == elf.STT_FUNC and s.name in self.linker.firmware.globals]
            if theirs and self.object.sections[section].code:
                used = {self.object.symbols[r[2]].section for r in self.object.relocations(section)}
                if index in used:
                    return theirs[0]
        return None


class Helpers:
    """The members that a link extracts."""

    def __init__(self, linker: Linker, source: Source | None) -> None:
        self._linker = linker
        self._source = source
        self._views: dict[tuple[Archive, int], LibraryView] = {}
        self._asked: dict[View, tuple[str, View, str]] = {}
        """For what, by which object and section a member was extracted first."""
        self._names: dict[tuple[Target, int], str] = {}
        """What a place was first asked for as: it may have several names."""
        self._archives: tuple[Archive, ...] | None = None
        self.problem: HotflashError | None = None
        """Why the compiler's archives, or its C library, cannot be used."""

    @property
    def views(self) -> list[LibraryView]:
        """The members that were extracted."""
        return list(self._views.values())

    @property
    def searched(self) -> str:
        """The archives that were searched, for messages."""
        return ", ".join(a.name for a in self._archives or ())

    def _search(self) -> tuple[Archive, ...]:
        if self._archives is None:
            self._archives = ()
            if self._source is not None:
                self._archives = self._source.own()
                try:
                    found, self.problem = choose(self._linker.firmware, self._source)
                    self._archives += found
                except HotflashError as error:
                    self.problem = error
        return self._archives

    def find(self, name: str, asking: View, section: str) -> Entry | None:
        """What an undefined symbol refers to in the first archive that defines it, or None."""
        for archive in self._search():
            member = archive.defining(name)
            if member is not None:
                view = self._views.get((archive, member.offset))
                if view is None:
                    view = self._extract(archive, member)
                    self._asked[view] = name, asking, section
                index = view.globals.get(name)
                if index is None:
                    raise archive.fail(f"its index says that {member.name} defines {name}, which is not so", "ranlib")
                entry = view.definition(index)
                self._names.setdefault((entry[0], entry[1]), name)
                return entry
        return None

    def _extract(self, archive: Archive, member: Member) -> LibraryView:
        obj = ObjectFile.parse(archive.read(member), archive.label(member))
        firmware = self._linker.firmware
        why = attributes.incompatibility(obj.attributes, firmware.attributes)
        if why is not None:
            raise obj.fail(*why)
        kinds = (elf.SHT_INIT_ARRAY, elf.SHT_FINI_ARRAY, elf.SHT_PREINIT_ARRAY)
        for section in obj.sections:
            if section.size and (section.kind in kinds or section.name.startswith((".ctors", ".dtors"))):
                raise obj.fail(
                    f"cannot come along: its constructors ({section.name}) would not run",
                    "flash a build that uses it",
                )
        for symbol in obj.symbols:
            theirs = firmware.globals.get(symbol.name) if symbol.bind == elf.STB_GLOBAL else None
            if theirs is not None and symbol.section not in (elf.SHN_UNDEF, elf.SHN_COMMON) \
                    and theirs.bind == "global" and same_symbol(obj, symbol, firmware) is False:  # fmt: skip
                sizes = f" of {theirs.size} bytes, not {symbol.size}," if theirs.size != symbol.size else ""
                raise obj.fail(
                    f"cannot come along: it defines {symbol.name}, and the firmware has another {symbol.name}{sizes} "
                    f"at {theirs.address:#010x} (GNU ld would say: multiple definition)",
                    "keep the patch to what the firmware has, or flash a build that uses it",
                )
        view = self._views[archive, member.offset] = LibraryView(obj, self._linker)
        return view

    def chain(self, view: View) -> str:
        """How a member came to be needed, ``scale -> snprintf -> _malloc_r``; empty for an object of the patch."""
        steps: list[str] = []
        while view in self._asked:
            name, view, section = self._asked[view]
            steps += [name] if user_of(view, section) == name else [name, user_of(view, section)]
        return " -> ".join(dict.fromkeys(reversed(steps)))

    # ------------------------------------------------------------------------- what came along

    def report(self) -> tuple[Helper, ...]:
        """What the transaction's slots use of the archives, each thing once, callers before what they need."""
        if not self._views:  # as of almost every push: no member was opened, so nothing can be used of one
            return ()
        found: dict[Target, Helper] = {}
        todo = [slot for slot in self._linker.slots if not any(_of_library(piece) for piece in slot.pieces)]
        names = {slot: slot.where for slot in todo}
        for slot in todo:  # grows
            for ref in slot.refs:
                target = ref[2]
                helper = found.get(target) or self._use(names[slot], ref, bound=any(map(_of_library, slot.pieces)))
                if helper is None:
                    continue
                found[target] = helper
                if target.slot is not None and target.slot not in names:
                    names[target.slot] = helper.name
                    todo.append(target.slot)
        return tuple(found.values())

    def _use(self, user: str, ref: Ref, *, bound: bool) -> Helper | None:
        target = ref[2]
        piece = next((p for _, p in target.parts), None) if isinstance(target, Variable) else target
        if isinstance(piece, Piece) and _of_library(piece):
            state = "sent" if target.slot is not None else "live" if target.handle is not None else "firmware"
            kind = "variable" if target is not piece else "code" if piece.code else "constant"
            return Helper(self._name(target, piece, ref), piece.view.object.name, kind, piece.size, user, state)
        if not bound or target.slot is not None or isinstance(target, Piece):
            return None
        if target.handle is not None:
            return Helper(target.name, "", "variable", 0, user, "live")
        header = self._linker.firmware.header
        if target.address is not None and header.ram_start <= target.address < header.ram_end:
            return Helper(target.name, "", "variable", 0, user, "firmware")
        return None

    def _name(self, target: Target, piece: Piece, ref: Ref) -> str:
        """The name that a reference was made by: a section may hold many functions, a function have many names."""
        kind = reloc.KINDS.get(ref[1])
        offset = (ref[3] + (4 if kind is not None and kind.branch else 0)) & ~1
        names = [
            symbol.name
            for symbol in piece.view.object.symbols
            if symbol.section == piece.section and symbol.value & ~1 == offset and symbol.bind != elf.STB_LOCAL
        ]
        return self._names.get((target, offset)) or next(iter(names), target.name)


def _of_library(piece: Piece) -> bool:
    return isinstance(piece.view, LibraryView)


def user_of(view: View, section: str) -> str:
    """The source's name of the function in a code section, else the section's name."""
    for symbol in view.object.symbols:
        if symbol.kind == elf.STT_FUNC and symbol.section < len(view.object.sections) \
                and view.object.sections[symbol.section].name == section:  # fmt: skip
            return function_name(symbol.name)
    return section


def same_symbol(obj: ObjectFile, symbol: Symbol, firmware: Firmware) -> bool | None:
    """Whether the firmware's symbol of that name is this one; None where sizes say nothing.

    Code and constants are compared byte by byte outside relocated fields, variables by their size.
    """
    theirs = firmware.globals.get(symbol.name)
    if theirs is None or not symbol.size or not theirs.size or not 0 < symbol.section < len(obj.sections):
        return None
    section = obj.sections[symbol.section]
    if theirs.size != symbol.size:
        return False
    if section.writable:
        return True
    start = symbol.value & ~1
    ours, base = (
        bytearray(section.data[start : start + symbol.size]),
        bytearray(firmware.read(theirs.address, symbol.size)),
    )
    if len(ours) != len(base):
        return False
    for offset, number, _, _ in obj.relocations(symbol.section):
        kind = reloc.KINDS.get(number)
        at = offset - start
        if kind is not None and 0 <= at < symbol.size:
            ours[at : at + kind.width] = base[at : at + kind.width] = bytes(kind.width)
    return ours == base


@lru_cache(maxsize=8)
def choose(firmware: Firmware, source: Source) -> tuple[tuple[Archive, ...], HotflashError | None]:
    """The compiler's archives of the C library that the firmware was linked with.

    A firmware that holds nothing of any fits each, and gets the first. One whose C library has state of another
    layout than all that the compiler has gets libgcc alone, and the reason.
    """
    candidates = source.libraries(firmware.attributes)
    best: tuple[int, tuple[Archive, ...]] | None = None
    why = ""
    for archives in candidates.values():
        score, problem = _score(firmware, archives[-1])
        if problem:
            why = why or problem
        elif best is None or score > best[0]:
            best = score, archives
    if best is not None:
        return best[1], None
    rest = tuple(a for a in next(iter(candidates.values())) if a.name == "libgcc.a")
    return rest, LinkError(
        f"the firmware's C library is none that the compiler has: {why}",
        hint="name the compiler that built the firmware with the setting `toolchain`",
    )


def _score(firmware: Firmware, archive: Archive) -> tuple[int, str]:
    """How many of an archive's functions the firmware has, and what speaks against the archive."""
    names = sorted(name for name, symbol in firmware.globals.items() if name in archive.symbols and symbol.size)
    data = [name for name in names if firmware.globals[name].kind == "object"]
    code = [name for name in names if firmware.globals[name].kind == "function"]
    score = 0
    for name in data + code[:: max(1, len(code) // _SAMPLE)]:
        member = archive.defining(name)
        if member is None:
            continue
        obj = ObjectFile.parse(archive.read(member), archive.label(member))
        symbol = next((s for s in obj.symbols if s.name == name and s.section != elf.SHN_UNDEF), None)
        if symbol is None:
            continue
        if firmware.globals[name].kind == "function":
            score += same_symbol(obj, symbol, firmware) is True
            continue
        for mine in obj.symbols:
            if mine.kind != elf.STT_OBJECT or not mine.size:
                continue
            theirs = firmware.globals.get(mine.name)
            if mine.bind == elf.STB_LOCAL:
                groups = firmware.units.get(mine.unit, {}).values()
                theirs = next((g[mine.name] for g in groups if mine.name in g), None)
            if theirs is not None and theirs.size and theirs.size != mine.size:
                return 0, f"{mine.name} has {mine.size} bytes in {obj.name}, {theirs.size} in the firmware"
    return score, ""
