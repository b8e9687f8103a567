"""What an object's symbols are in the firmware, kept from one version of the object to the next.

Most symbols of an object lead to functions and variables that the firmware has. To what follows from the firmware,
the object's symbols, which functions refer to which variables, whether any was inlined, and where flash is; from the
rest of the object, its debug information above all, only where that leaves statics ambiguous. So what was found for
one version holds for the next as long as these are the same, and only that is kept: no target that is new, live in a
slot, refused, or known from debug information. It is kept with the symbol table and for one firmware, and goes with
either.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from hotflash.link.debug import has_inlining
from hotflash.link.model import is_fixed

if TYPE_CHECKING:
    from hotflash.link.relocate import Entry
    from hotflash.link.variables import Bound
    from hotflash.link.view import View

Key = tuple[object, ...]


class Bindings:
    """Targets of one symbol table in one firmware. They are shared by links, which leave such targets as they are."""

    def __init__(self, view: View, key: Key) -> None:
        self._firmware = weakref.ref(view.linker.firmware)
        self._key = key
        found = view.variables.found
        told = {found[index][0] for index in view.names.told_by_debug if index in found}
        self.entries: list[Entry | None] = [
            entry if entry is not None and is_fixed(entry[0]) and entry[0] not in told else None
            for entry in view.entries
        ]
        """By symbol index."""
        self.variables: dict[int, Bound] = {
            index: bound for index, bound in found.items() if is_fixed(bound[0]) and bound[0] not in told
        }
        """By symbol index."""

    def fit(self, view: View, key: Key) -> bool:
        """Whether they hold for an object."""
        return self._firmware() is view.linker.firmware and self._key == key


def recall(view: View) -> Bindings | None:
    """What is known of an object's symbols."""
    kept = view.object.table.bindings
    return kept if isinstance(kept, Bindings) and kept.fit(view, _key(view)) else None


def remember(view: View) -> None:
    """Keeps what was found of an object's symbols."""
    if not view.clang:  # clang's statics need the debug information
        view.object.table.bindings = Bindings(view, _key(view))


def _key(view: View) -> Key:
    obj, hello = view.object, view.linker.live.hello
    users = [obj.relocated_by(section) for section in obj.table.by_section if obj.sections[section].code]
    return view.clang, has_inlining(obj), hello.flash_base, hello.flash_size, users
