"""What C++ adds: start-up code for objects, exceptions, and vtables. What cannot be patched is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotflash.elf import format as elf
from hotflash.errors import LinkError
from hotflash.link.model import Variable

if TYPE_CHECKING:
    from hotflash.elf.firmware import Symbol
    from hotflash.link.model import Piece, Target
    from hotflash.link.view import View

_EXCEPTIONS = frozenset({
    "__cxa_allocate_exception", "__cxa_throw", "__cxa_rethrow", "__cxa_begin_catch", "__cxa_end_catch",
    "__cxa_end_cleanup", "__cxa_get_exception_ptr", "_Unwind_Resume",
})  # fmt: skip
"""What code calls that throws, catches, or cleans up while unwinding (Itanium C++ ABI, level II; EHABI32, 8)."""
_CANTUNWIND = 1
"""Second word of an index table entry of a function that nothing unwinds through (EHABI32, 6)."""
_STARTUP = ("_GLOBAL__sub_", "_Z41__static_initialization_and_destruction_0", "__cxx_global_var_init")
_ARRAYS = (elf.SHT_INIT_ARRAY, elf.SHT_PREINIT_ARRAY)


def check_exceptions(piece: Piece) -> None:
    """Refuses code that throws or catches: the firmware's unwinder knows no code in the heap."""
    obj = piece.view.object
    found = obj.relocated_by(piece.section) & obj.table.named(_EXCEPTIONS)
    if found:
        used = {obj.symbols[index].name for index in found}
        raise LinkError(
            f"{obj.name}: {piece.name} throws, catches or cleans up after exceptions ({', '.join(sorted(used))}), and "
            f"unwinding stops at pushed code",
            hint="flash the new build, or compile with -fno-exceptions",
        )


def may_be_unwound(piece: Piece) -> bool:
    """Whether a function was compiled for exceptions to pass through it."""
    obj = piece.view.object
    for section in obj.sections:
        if section.kind == elf.SHT_ARM_EXIDX and section.link == piece.section and section.size >= 8:
            entry = int.from_bytes(section.data[4:8], "little")
            return entry != _CANTUNWIND
    return False


class Startup:
    """The new variables that only start-up code would give their value."""

    def __init__(self, views: list[View]) -> None:
        self._views = views
        self._found: dict[Target, str] | None = None

    def check(self, variable: Variable) -> None:
        """Refuses a new variable that has a constructor, which does not run again."""
        if self._found is None:
            self._found = {}
            for view in self._views:
                if any(s.kind in _ARRAYS and s.size for s in view.object.sections):
                    self._collect(view, self._found)
        who = self._found.get(variable)
        if who is not None:
            raise LinkError(
                f"{variable.parts[0][1].view.object.name if variable.parts else who}: the new variable "
                f"{variable.name} is constructed at start-up, by {who}, which does not run again",
                hint="make its value a constant (constexpr, constinit), make it a static of a function, or flash",
            )

    @staticmethod
    def _collect(view: View, found: dict[Target, str]) -> None:
        for section, name in view.code_sections():
            if not name.startswith(_STARTUP):
                continue
            for _, _, symbol, _ in view.object.relocations(section):
                entry = view.object.symbols[symbol]
                for other in view.data_symbols(entry):
                    target, _ = view.variables.find(other)
                    if isinstance(target, Variable):
                        found[target] = name


def check_vtable(piece: Piece, found: Symbol) -> str | None:
    """What a changed vtable means: an error when its layout changed, else what is to be said."""
    if not piece.name.startswith("_ZTV"):
        return None
    if found.size != piece.size:
        raise LinkError(
            f"{piece.view.object.name}: {piece.name} has {piece.size} bytes, but the firmware's at "
            f"{found.address:#010x} has {found.size}: virtual functions were added or removed, and objects that "
            f"live have the old table",
            hint="flash the new build",
        )
    return f"{piece.name} changed: objects that are constructed from now on have the new table, all others the old one"
