"""One object, cut into pieces, with every reference resolved to a target.

Sections are cut as the compiler meant them: one function per code section (``-ffunction-sections``), one variable
per data section (``-fdata-sections``), one string per NUL in a string section. Symbols and section offsets lead to
targets: what the firmware or a live slot has is bound there, never copied; only the rest is new.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from hotflash.elf import format as elf
from hotflash.elf.firmware import NOPS
from hotflash.elf.symbols import is_merged
from hotflash.errors import LinkError
from hotflash.link import reloc
from hotflash.link.bound import recall, remember
from hotflash.link.fields import Fields
from hotflash.link.identity import Names, ident, is_clang, is_private
from hotflash.link.model import TAG_ABSOLUTE, Function, Missing, Piece, Target, ThreadLocal
from hotflash.link.relocate import bind, place_of
from hotflash.link.shapes import Shape
from hotflash.link.texts import cut
from hotflash.link.variables import Variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotflash.elf.object import ObjectFile, Symbol
    from hotflash.link.relocate import Entry
    from hotflash.link.select import Linker

_MAX_PIECE = 1 << 24


class View:
    """An object as the linker sees it."""

    def __init__(self, obj: ObjectFile, linker: Linker) -> None:
        self.object = obj
        self.linker = linker
        self.names = Names(linker.firmware, obj)
        self.clang = is_clang(obj)
        self.functions: list[Function] = []
        self._borrowed: list[tuple[Piece, str]] = []
        self.entries: list[Entry | None] = [None] * len(obj.symbols)
        """Targets by symbol index, as far as they are known and do not depend on the addend."""
        self._pieces: dict[tuple[int, int], Piece] = {}
        self.variables = Variables(self)
        self._by_section = obj.table.by_section
        self._extents: dict[int, list[tuple[int, int]]] = {}
        self._taken: set[int] | None = None
        self._far: set[int] = set()
        self._cut: dict[int, list[Piece]] | None = None
        self._strings: dict[int, list[int]] = {}
        self._known = False
        """What the firmware has of its symbols was known before."""
        self.globals = obj.table.globals
        """Global and weak definitions by name."""

    # -------------------------------------------------------------------------------- functions

    @property
    def origin(self) -> str:
        """Where its code is from, for people: the source file."""
        return self.object.unit

    def recall(self) -> None:
        """Takes over what is known from an earlier version. Only for an object that is linked alone."""
        known = recall(self)
        if known is not None:
            self.entries[:] = known.entries
            self.variables.found.update(known.variables)
            self._known = True

    def remember(self) -> None:
        """Keeps for the next version what was found."""
        if not self._known:
            remember(self)

    def find_functions(self) -> None:
        """Cuts the code sections into functions and finds each in the firmware or among the live stubs."""
        for index, symbols in self._by_section.items():
            section = self.object.sections[index]
            if not section.code or not section.alloc:
                continue
            functions = [s for s in symbols if s.kind in (elf.STT_FUNC, elf.STT_GNU_IFUNC)]
            starts = {s.value & ~1 for s in functions}
            if not functions:
                continue
            if starts != {0}:
                listed = ", ".join(s.name for s in functions[:4]) + (", ..." if len(functions) > 4 else "")
                raise LinkError(
                    f"{self.object.name}: section {section.name} holds several functions ({listed}), which cannot "
                    f"be taken apart",
                    hint=f"compile {self.object.unit or self.object.name} with -ffunction-sections",
                )
            self._function(index, functions)

    def _function(self, index: int, symbols: list[Symbol]) -> None:
        for symbol in symbols:
            if symbol.kind == elf.STT_GNU_IFUNC:
                raise LinkError(
                    f"{self.object.name}: {symbol.name} is an indirect function (ifunc)", hint="not on Cortex-M"
                )
        if len(symbols) > 1:
            symbols = sorted(symbols, key=lambda s: ((s.bind - 1) % 3, s.name))  # global, weak, local
        first = symbols[0]
        piece = self.piece(index, 0, self.object.sections[index].size, first.name)
        if first.bind == elf.STB_LOCAL and (is_private(first.name) or (self.clang and not self._address_taken(index))):
            return
        if first.bind == elf.STB_WEAK and self.linker.owners.get(first.name, self) is not self:
            self._borrowed.append((piece, first.name))
            return
        who = ident(first.name) if first.bind != elf.STB_LOCAL else ident(first.unit, first.name)
        function = Function(piece, first, who)
        while function.nops < 8 and piece.data[2 * function.nops : 2 * function.nops + 2] in NOPS:
            function.nops += 1
        piece.function = function
        self._bind_function(function, symbols)
        if function.fw is not None and function.problem is None:
            known = next((e[0] for s in symbols if (e := self.entries[s.index]) is not None), None)
            function.entry = known or Target(function.name, address=function.fw.address, token=who)
        self.functions.append(function)

    def borrow_functions(self) -> None:
        """Makes another object's function of those that both define, when all objects' functions are found."""
        for piece, name in self._borrowed:
            owner = self.linker.owners[name]
            symbol = owner.object.symbols[owner.globals[name]]
            theirs = owner._pieces.get((symbol.section, 0))  # noqa: SLF001 - a view like this one
            piece.function = theirs.function if theirs is not None else None

    def _address_taken(self, index: int) -> bool:
        """Whether a code section's address is used for more than calls.

        LLVM changes the calling convention of a local function only when it sees all its calls: one whose address
        is taken keeps the standard, and, as pointers to it are compared and kept, needs its one address.
        """
        if self._taken is None:
            calls: set[int] = set()
            far: set[int] = set()
            self._taken = set()
            for section in self.object.sections:
                if not section.alloc or section.kind == elf.SHT_ARM_EXIDX:
                    continue
                for _, kind, symbol, _ in self.object.relocations(section.index):
                    target = self.object.symbols[symbol].section
                    if kind in reloc.KINDS and reloc.KINDS[kind].branch:
                        calls.add(target)
                    else:
                        (far if section.code else self._taken).add(target)
            self._far = set() if calls else far - self._taken
            self._taken |= far
        if index in self._far:  # without any call, -mlong-calls may have made all of them look like pointers
            name = self._by_section[index][0].name
            raise LinkError(
                f"{self.object.name}: whether the local function {name} is called or kept as a pointer cannot be told "
                f"from what clang makes with -mlong-calls",
                hint="compile without -mlong-calls: calls that do not reach get a veneer",
            )
        return index in self._taken

    def _bind_function(self, function: Function, symbols: list[Symbol]) -> None:
        firmware = self.linker.firmware
        found = self.names.anywhere(function.symbol)
        if found is not None and found.kind == "object":
            raise LinkError(
                f"{self.object.name}: {function.name} is a function here, but a variable in the firmware",
                hint="flash the new build",
            )
        if found is not None and found.bind == "global" and function.symbol.bind == elf.STB_WEAK:
            function.problem = ("overridden", "")  # the firmware has a strong definition: this one is not linked
        if found is not None:
            function.fw = found
            function.address = function.piece.base = found.address
            function.site = firmware.site_at.get(found.address)
            if function.site is not None:
                mine = {s.name for s in symbols}
                others = [a.name for a in function.site.aliases if a.name not in mine]
                if others and found.bind == "weak" and function.symbol.bind == elf.STB_GLOBAL:
                    shared = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
                    function.site = None
                    function.problem = (
                        (
                            f"{function.name} shares its code with {shared} in the firmware (weak alias), so it has no "
                            f"patch point of its own: it is live after reflash"
                        ),
                        "flash the new build (`hotflash flash`)",
                    )
            return
        stub = self.linker.live_stubs.get(function.ident)
        if stub is not None:
            function.stub = stub
            function.address = stub.address
            function.handle = stub.handle
        else:
            function.new = True

    # ----------------------------------------------------------------------------------- pieces

    def piece(self, index: int, start: int, size: int, name: str) -> Piece:
        """The part of a section that starts there; the same object each time."""
        piece = self._pieces.get((index, start))
        if piece is None:
            section = self.object.sections[index]
            if size > _MAX_PIECE:
                raise LinkError(f"{self.object.name}: {name} has {size} bytes, more than any board's memory")
            align = section.align if start == 0 else 1
            piece = Piece(
                self, name, index, start, size, align=align, code=section.code, writable=section.writable
            )  # fmt: skip
            piece.data = section.data[start : start + size]
            self._pieces[index, start] = piece
        return piece

    def scan(self, piece: Piece) -> Piece:
        """Reads a piece's relocations: its contents with relocated fields zeroed, and its references."""
        if piece.masked is not None:
            return piece
        obj, section = self.object, self.object.sections[piece.section]
        relocations = obj.relocations(piece.section)
        start, end = piece.start, piece.start + piece.size
        if start or end != section.size:
            relocations = [r for r in relocations if start <= r[0] < end]
        if not relocations:
            piece.masked = piece.data
            return piece
        fields = Fields.of(obj, section, start, len(piece.data), relocations)
        masked, places = fields.take(piece.data)
        shape = fields.shape
        refs = shape.bind(places, self.entries, self._entry, section.name) if shape is not None else None
        if refs is None:
            refs = bind(obj, section, fields, places, self.entries, self._entry)
            wanted = shape is None and self._known and not start  # one that did not fit may never do
            shape = fields.shape = Shape.of(places, refs, self.entries) if wanted else None
        # Assigned, not added to: a reference may lead to the comparison of a constant that leads back here.
        piece.refs, piece.shape = refs, shape
        piece.masked, piece.mask = masked, fields.mask
        return piece

    # ------------------------------------------------------------------------------- references

    def _entry(self, index: int, addend: int, bias: int, section: str, offset: int) -> Entry:
        """The target of a symbol; remembered unless the addend takes part in finding it."""
        symbol = self.object.symbols[index]
        if symbol.section == elf.SHN_UNDEF:
            entry = self._undefined(symbol, index, section, offset)
        elif symbol.section == elf.SHN_ABS:
            entry = Target(symbol.name, address=symbol.value, tag=TAG_ABSOLUTE, token=symbol.value), 0, 0
        elif symbol.section == elf.SHN_COMMON:
            entry = *self.variables.find(symbol), 0
        elif symbol.kind == elf.STT_TLS or self.object.sections[symbol.section].flags & elf.SHF_TLS:
            entry = self._thread_local(symbol, f"{self.object.name}: {section}+{offset:#x}"), 0, 0
        else:
            found, keep = self._defined(symbol, addend, bias, f"{self.object.name}: {section}+{offset:#x}")
            if keep:
                self.entries[index] = found
            return found
        self.entries[index] = entry
        return entry

    def _undefined(self, symbol: Symbol, index: int, section: str, offset: int) -> Entry:
        if index == 0:
            return Target("0", address=0, tag=TAG_ABSOLUTE), 0, 0
        found = self.linker.lookup(symbol.name, self)
        if found is not None:
            return found
        if symbol.bind == elf.STB_WEAK:
            return Missing(symbol.name), 0, 0
        found = self.linker.helpers.find(symbol.name, self, section)
        if found is not None:
            return found
        raise self.linker.undefined(symbol.name, self, section, offset)

    def _thread_local(self, symbol: Symbol, where: str) -> Target:
        """The firmware's thread-local variable of that name and unit; there is no room for new ones."""
        local = symbol.bind == elf.STB_LOCAL
        known = self.linker.threads.get((symbol.unit if local else "", symbol.name))
        if known is None:
            raise LinkError(
                f"{where} refers to the thread-local {symbol.name}, which the firmware does not have by this name",
                hint="thread-local variables cannot be added to running threads: flash the new build",
            )
        if symbol.size and known.size and symbol.size != known.size:
            raise LinkError(
                f"{symbol.name} has {symbol.size} bytes in {self.object.name}, but the live thread-local variable has "
                f"{known.size}",
                hint="a live variable keeps its size: use a new name, or flash the new build",
            )
        who = ident(symbol.unit, symbol.name) if local else ident(symbol.name)
        return ThreadLocal(symbol.name, address=known.offset, head=known.head, token=who)

    def _defined(self, symbol: Symbol, addend: int, bias: int, where: str) -> tuple[Entry, bool]:
        section = self.object.sections[symbol.section]
        if not section.alloc:
            raise LinkError(f"{where} refers to section {section.name}, which is not in memory at run time")
        if section.code:
            return self._code(symbol, addend, bias, where)
        if section.writable:
            return self._data(symbol, where)
        return self._constant(symbol, addend, where)

    def _code(self, symbol: Symbol, addend: int, bias: int, where: str) -> tuple[Entry, bool]:
        piece = self._pieces.get((symbol.section, 0))
        if piece is None:
            name = self.object.sections[symbol.section].name
            raise LinkError(f"{where} refers to {name}, which has no function symbol", hint="give it a .type and .size")
        if symbol.kind == elf.STT_FUNC:
            if piece.function is None:
                return (piece, 0, 1), True
            return (piece.function.entry, 0, 1), True
        inside = (symbol.value + addend + bias) & ~1
        if inside == 0 and piece.function is not None:
            return (piece.function.entry, symbol.value, 0), False
        if not 0 <= inside <= piece.size:
            raise LinkError(f"{where} refers to {piece.name}{inside:+#x}, outside of the function")
        return (piece, symbol.value, 0), False

    def _data(self, symbol: Symbol, where: str) -> tuple[Entry, bool]:
        objects = [s for s in self._by_section.get(symbol.section, ()) if s.kind == elf.STT_OBJECT]
        if symbol.kind == elf.STT_OBJECT and not is_merged(symbol):
            return (*self.variables.find(symbol), 0), True
        section = self.object.sections[symbol.section]
        if len({s.value for s in objects}) == 1:
            target, shift = self.variables.find(objects[0])
            return (target, symbol.value - objects[0].value + shift, 0), True
        # Several variables: which one a section offset means is certain only if all lie as in the firmware.
        targets = [(target, s.value - shift) for s in objects for target, shift in (self.variables.find(s),)]
        deltas = {t.address - value if t.address is not None and t.problem is None else None for t, value in targets}
        if len(deltas) == 1 and None not in deltas:
            return (targets[0][0], symbol.value - targets[0][1], 0), True
        what = f"several variables ({', '.join(s.name for s in objects[:4])})" if objects else "data without a name"
        flag = "-mno-global-merge" if self.clang and "Merged" in section.name else "-fdata-sections"
        raise LinkError(
            f"{where} refers to {section.name}, which holds {what}",
            hint=f"compile {self.object.unit or self.object.name} with {flag}",
        )

    def data_symbols(self, symbol: Symbol) -> list[Symbol]:
        """The variables that a reference to a symbol may mean: itself, or what its section holds."""
        if not 0 < symbol.section < len(self.object.sections) or not self.object.sections[symbol.section].writable:
            return []
        if symbol.kind == elf.STT_OBJECT:
            return [symbol]
        return [s for s in self._by_section.get(symbol.section, ()) if s.kind == elf.STT_OBJECT]

    def code_sections(self) -> Iterator[tuple[int, str]]:
        """Sections that hold a function, and the function's name."""
        for index, symbols in self._by_section.items():
            function = next((s for s in symbols if s.kind == elf.STT_FUNC), None)
            if function is not None and self.object.sections[index].code:
                yield index, function.name

    def _constant(self, symbol: Symbol, addend: int, where: str) -> tuple[Entry, bool]:
        index = symbol.section
        section = self.object.sections[index]
        if section.flags & elf.SHF_MERGE and section.entsize:
            point = symbol.value + (addend if symbol.kind == elf.STT_SECTION else 0)
            if not 0 <= point < section.size:
                raise LinkError(f"{where} refers to offset {point:+#x} of {section.name}, outside of it")
            start, end = self._element(section, point)
            piece = self.piece(index, start, end - start, f"{section.name}+{start:#x}")
            piece.align = 1 if start % section.align else section.align
            if symbol.kind == elf.STT_OBJECT and (symbol.value, symbol.size) == (start, end - start):
                piece.symbol = symbol
            return (piece, symbol.value - start, 0), symbol.kind != elf.STT_SECTION
        objects = [s for s in self._by_section.get(index, ()) if s.kind == elf.STT_OBJECT]
        if len({s.value for s in objects}) == 1 and objects[0].value == 0:
            first = min(objects, key=lambda s: (s.bind - 1) % 3)
            piece = self.piece(index, 0, section.size, first.name)
            piece.symbol = first
        elif objects and any(s.bind != elf.STB_LOCAL for s in objects):
            raise LinkError(
                f"{where} refers to {section.name}, which holds several constants "
                f"({', '.join(s.name for s in objects[:4])})",
                hint=f"compile {self.object.unit or self.object.name} with -fdata-sections",
            )
        elif objects or symbol.kind != elf.STT_SECTION:
            piece = self.piece(index, 0, section.size, section.name)
        else:
            return self._nameless(symbol, addend)
        return (piece, symbol.value, 0), True

    def _nameless(self, symbol: Symbol, addend: int) -> tuple[Entry, bool]:
        """The constant at an offset of a section that has no symbols."""
        index = symbol.section
        section = self.object.sections[index]
        parts = self._extents.get(index)
        if parts is None:
            parts = self._extents[index] = cut(self.object, index)
        point = symbol.value + addend
        start, end = next((part for part in parts if part[0] <= point < part[1]), parts[-1 if point > 0 else 0])
        name = section.name if len(parts) == 1 else f"{section.name}+{start:#x}"
        piece = self.piece(index, start, end - start, name)
        piece.align = section.align if start == 0 else 4
        return (piece, symbol.value - start, 0), len(parts) == 1

    def _element(self, section: elf.Section, point: int) -> tuple[int, int]:
        """Start and end of the mergeable element (string or constant) around an offset."""
        width, data = section.entsize, section.data
        if not section.flags & elf.SHF_STRINGS:
            start = point - point % width
            return start, min(start + width, section.size)
        if width not in (1, 2, 4):
            raise LinkError(f"{self.object.name}: {section.name} holds text of {width}-byte characters")
        starts = self._strings.get(section.index)
        if starts is None:
            zero = bytes(width)
            ends = (at for at in range(0, len(data), width) if data[at : at + width] == zero)
            starts = self._strings[section.index] = [0, *(at + width for at in ends)]
        at = bisect_right(starts, point) - 1
        return starts[at], min(starts[at + 1] if at + 1 < len(starts) else section.size, section.size)

    # ------------------------------------------------------------------- for notes and debuggers

    def pieces_of(self, section: int) -> list[Piece]:
        """The pieces that a section was cut into; ask when all are."""
        if self._cut is None:
            self._cut = {}
            for (index, _), piece in self._pieces.items():
                self._cut.setdefault(index, []).append(piece)
        return self._cut.get(section, [])

    def data_address(self, section: int, point: int) -> int | None:
        """The address of an offset in a writable section; None when what is there is in no memory."""
        for symbol in self._by_section.get(section, ()):
            if symbol.kind == elf.STT_OBJECT and symbol.value <= point < symbol.value + max(symbol.size, 1):
                try:
                    target, shift = self.variables.find(symbol)
                except LinkError:
                    return None
                at = place_of(target) if target.problem is None else None
                return None if at is None else at + shift + point - symbol.value
        return None

    def initial_values(self) -> list[tuple[Symbol, int, Piece]]:
        """Variables that the firmware has: symbol, live address, and the object's initial value.

        LinkError for one that no longer fits the live one, whether the functions that use it changed or not.
        """
        found = []
        for symbol in self.object.symbols:
            if symbol.section == elf.SHN_COMMON:
                self._fitting(symbol)
        for index, symbols in self._by_section.items():
            section = self.object.sections[index]
            if not section.writable or not section.alloc or section.flags & elf.SHF_TLS:
                continue
            for symbol in symbols:
                if symbol.kind == elf.STT_OBJECT:
                    target, shift = self._fitting(symbol)
                    if target.address is not None and target.handle is None and target.problem is None:
                        piece = self.piece(index, symbol.value, symbol.size, symbol.name)
                        found.append((symbol, target.address + shift, piece))
        return found

    def _fitting(self, symbol: Symbol) -> tuple[Target, int]:
        target, shift = self.variables.find(symbol)
        if target.problem is not None and target.address is not None:
            raise LinkError(target.problem[0], hint=target.problem[1])
        return target, shift

    def definition(self, index: int) -> Entry:
        """The target of a global symbol that this object defines."""
        entry = self.entries[index]
        if entry is None:
            entry = self._entry(index, 0, 0, "another object", 0)
        return entry
