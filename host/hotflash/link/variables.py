"""An object's variables in the running firmware: bound to the live one, or new.

What a compiler did to a variable decides how it is found. GCC numbers function statics; clang puts the function's
name before them, keeps a struct's fields apart, and turns what only ever holds two values into one bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotflash.elf import format as elf
from hotflash.link.debug import object_parts
from hotflash.link.identity import base_name, function_name, ident, static_name
from hotflash.link.model import Target, Variable

if TYPE_CHECKING:
    from hotflash.elf.firmware import Symbol
    from hotflash.elf.object import Symbol as ObjectSymbol
    from hotflash.link.debug import Part
    from hotflash.link.view import View

Bound = tuple[Target, int]
"""A variable's target, and where in it the object's symbol is: not 0 for parts that clang split off."""
_CLANG = (
    "compile it with -g, whose debug information says what it is",
    "declare the variable volatile, or compile this unit with GCC",
)
"""What to do about clang's changes, without and with debug information."""


class Variables:
    """The variables of one view."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.found: dict[int, Bound] = {}
        """The targets of those that were asked for, by symbol index."""
        self._users: dict[int, set[str]] | None = None

    def find(self, symbol: ObjectSymbol) -> Bound:
        """The target of a variable that the object defines; its ``problem`` says why nothing may refer to it."""
        found = self.found.get(symbol.index)
        if found is None:
            found = self.found[symbol.index] = self._part(symbol) or (self._whole(symbol), 0)
        return found

    def _whole(self, symbol: ObjectSymbol) -> Target:
        view = self._view
        if symbol.bind != elf.STB_LOCAL:
            found = view.names.anywhere(symbol)
            return self._bind(symbol, found, symbol.size, symbol.name) or self._new(symbol, symbol.name)
        name: tuple[str, ...] = (symbol.unit, symbol.name)
        if "." not in symbol.name:
            found = view.names.anywhere(symbol)
            return self._bind(symbol, found, symbol.size, *name) or self._new(symbol, *name)
        found = view.names.static(symbol, self.users)
        if found is not None and not self._constant(symbol, found):
            name = symbol.unit, found.name
        else:
            owner = self._owner(symbol)
            base = static_name(symbol.name, clang=view.clang)
            name = (symbol.unit, owner, base) if owner else (symbol.unit, base)
        return self._bind(symbol, found, symbol.size, *name) or self._new(symbol, *name)

    def _constant(self, symbol: ObjectSymbol, found: Symbol) -> bool:
        """Whether a static was a constant so far, since nothing wrote to it: its users come along, with a new one."""
        return symbol.bind == elf.STB_LOCAL and self._view.linker.in_flash(found.address)

    def _owner(self, symbol: ObjectSymbol) -> str:
        """The function that a function static belongs to, or empty.

        The debug information says it: which functions use it changes with what the compiler inlines, and the
        variable's identity must not.
        """
        view = self._view
        if view.clang:
            return symbol.name.split(".", 1)[0]
        part = object_parts(view.object, symbol.unit).get((symbol.section, symbol.value))
        if part is not None and part.owner:
            return part.owner
        users = self.users(symbol)
        return next(iter(users)) if len(users) == 1 else ""

    def _bind(self, symbol: ObjectSymbol, found: Symbol | None, size: int, *name: str) -> Target | None:
        """The live variable, of the firmware or of an earlier patch."""
        linker = self._view.linker
        here = self._view.object.name
        if found is not None and not self._constant(symbol, found):
            target = Target(symbol.name, address=found.address, token=ident(*name))
            if found.kind == "function":
                target.problem = f"{symbol.name} is a variable here, but a function in the firmware", "flash"
            elif (
                found.size
                and size
                and found.size != size
                and not (
                    symbol.section == elf.SHN_COMMON and size < found.size  # the largest of several is what ld takes
                )
            ):
                target.problem = self._size(symbol, size, found.address, found.size, "flash the new build")
            elif linker.in_flash(found.address):
                why = f"{symbol.name} is a variable in {here}, but a constant at {found.address:#010x} in the firmware"
                target.problem = why, "flash the new build"
            return target
        live = linker.live_variables.get(ident(*name))
        if live is None:
            return None
        target = Target(symbol.name, address=live.address, token=live.ident)
        target.handle = live.handle
        if live.length != size:
            target.problem = self._size(symbol, size, live.address, live.length, "reset the board")
        return target

    def _size(self, symbol: ObjectSymbol, size: int, address: int, live: int, way: str) -> tuple[str, str]:
        return (
            f"{symbol.name} has {size} bytes in {self._view.object.name}, but the live variable at {address:#010x} has "
            f"{live}"
        ), f"a live variable keeps its size: use a new name, or {way}"

    def _new(self, symbol: ObjectSymbol, *name: str) -> Variable:
        view = self._view
        who = ident(*name)
        if symbol.section == elf.SHN_COMMON:
            variable = Variable(symbol.name, who, symbol.size, max(symbol.value, 1), [])
        else:
            piece = view.piece(symbol.section, symbol.value, symbol.size, symbol.name)
            align = view.object.sections[symbol.section].align
            variable = Variable(symbol.name, who, symbol.size, align, [(0, piece)])
        return view.linker.new_variables.setdefault(who, variable)

    # ------------------------------------------------------------------------------------ clang

    def _part(self, symbol: ObjectSymbol) -> Bound | None:
        """What clang made of another variable; None when the symbol is a whole one as the source has it.

        LLVM's GlobalOpt replaces a struct or array by its parts, ``name.0`` and on, and a variable that takes two
        values by a byte of its name that says which. The debug information tells what is where.
        """
        view = self._view
        if not view.clang or symbol.bind != elf.STB_LOCAL or ("." not in symbol.name and symbol.size != 1):
            return None
        part = object_parts(view.object, symbol.unit).get((symbol.section, symbol.value))
        if part is not None and not part.whole:
            return self._bind_part(symbol, part)
        if part is not None and (part.size is None or part.size == symbol.size):
            return None
        told = any(s.name == ".debug_info" for s in view.object.sections)
        target = Target(symbol.name, token=ident(symbol.unit, symbol.name))
        what = f"{symbol.name} of {symbol.unit}"
        if symbol.size == 1:
            target.problem = f"{what} is a byte that may tell two values apart, as clang has it", _CLANG[told]
        elif part is not None:
            target.problem = (
                f"{what} is {symbol.size} bytes of a variable of {part.size}, as clang has it",
                _CLANG[told],
            )
        elif self._is_variable(symbol.unit, symbol.name.rpartition(".")[0]):
            target.problem = f"{what} may be a part of a variable, as clang has it", _CLANG[told]
        else:
            return None
        return target, 0

    def _is_variable(self, unit: str, stem: str) -> bool:
        """Whether a dotted symbol's name without its last part may be a variable's."""
        names = self._view.names
        if any(s.name == stem for s in self._view.object.symbols):
            return False  # `f.count.1` beside `f.count`: the second of that name, or a static of the function `stem`
        if "." in stem:
            return True
        known = names.group(unit).get(stem)
        return known is not None and known.kind == "object"

    def _bind_part(self, symbol: ObjectSymbol, part: Part) -> Bound:
        view, unit = self._view, symbol.unit
        stem = base_name(symbol.name)
        if stem.endswith(f".{part.name}"):  # clang says whose it is: function.variable
            owner = stem.removesuffix(f".{part.name}")
            found = view.names.owned(unit, owner, part.name)
            name: tuple[str, ...] = (unit, found.name) if found else (unit, owner, part.name)
        else:
            owner, found, name = "", view.names.group(unit).get(part.name), (unit, part.name)
        size = part.size or (found.size if found else 0)
        target = self._bind(symbol, found, size, *name)
        if target is None:
            target = view.linker.new_variables.get(ident(*name)) or self._new_whole(unit, part, stem, size, *name)
        return target, part.offset

    def _new_whole(self, unit: str, part: Part, stem: str, size: int, *name: str) -> Variable:
        """A new variable that clang keeps in parts: in one place, as the next build may need it."""
        view = self._view
        parts = []
        align = 4
        places = object_parts(view.object, unit)
        for symbol in view.object.symbols:
            other = places.get((symbol.section, symbol.value)) if symbol.kind == elf.STT_OBJECT else None
            if other is not None and other.name == part.name and base_name(symbol.name) == stem:
                parts.append((other.offset, view.piece(symbol.section, symbol.value, symbol.size, symbol.name)))
                align = max(align, view.object.sections[symbol.section].align)
        whole = Variable(stem, ident(*name), size, align, parts)
        return view.linker.new_variables.setdefault(whole.ident, whole)

    # ------------------------------------------------------------------------------------ users

    def users(self, symbol: ObjectSymbol) -> set[str]:
        """Source names of the object's functions that refer to a local variable."""
        view = self._view
        if self._users is None:
            self._users = {}
            for section, name in view.code_sections():
                source = function_name(name)
                for index in view.object.relocated_by(section) & view.object.table.around_locals:
                    self._users.setdefault(view.object.symbols[index].section, set()).add(source)
        found = self._users.get(symbol.section, set())
        if view.clang and "." in base_name(symbol.name):  # clang says it: function.variable
            found = found | {symbol.name.split(".", 1)[0]}
        return found
