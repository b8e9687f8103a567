"""Names for what the device only knows as numbers: idents, hooks and addresses."""

from __future__ import annotations

import zlib
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from hotflash.live import slot_key
from hotflash.wire.messages import SlotKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hotflash.elf.firmware import Firmware
    from hotflash.elf.object import ObjectFile
    from hotflash.journal import Journal
    from hotflash.wire.messages import Slot


def global_ident(name: str) -> int:
    """Ident of a global function or variable (docs/SPEC.md, Identities)."""
    return zlib.crc32(name.encode())


def local_ident(unit: str, name: str) -> int:
    """Ident of a local function or variable."""
    return zlib.crc32(f"{unit}\0{name}".encode())


class Named(NamedTuple):
    """A function by name; the unit is empty where it does not matter or nobody knows."""

    function: str
    unit: str


class Names:
    """Looks names up in the firmware's ELF, the journal, and the objects at hand."""

    def __init__(
        self,
        firmware: Firmware | None,
        journal: Journal | None = None,
        objects: Iterable[ObjectFile] = (),
    ) -> None:
        self.firmware = firmware
        self.journal = journal
        self._objects = tuple(objects)

    @cached_property
    def _by_ident(self) -> dict[int, Named]:
        found: dict[int, Named] = {}
        for obj in self._objects:
            for ident, name in defined_functions(obj).items():
                found.setdefault(ident, Named(name, obj.unit))
        if self.journal is not None:
            journal = self.journal
            for entry in journal.known:
                for edit in entry.edits:
                    found.setdefault(edit.ident, Named(edit.function, entry.unit))
        return found

    def slot(self, slot: Slot) -> Named:
        """The function or variable that a slot holds a version of."""
        if slot.kind == SlotKind.LIST:
            return Named("", "")
        if slot.hook and self.firmware is not None:
            site = self.firmware.site_of_hook(slot.hook - 1)
            if site is not None:
                return Named(site.name, site.unit)
        label = self.journal.labels.get(slot_key(slot.ident, slot.hash)) if self.journal is not None else None
        if label is not None:
            return Named(*label)
        if not slot.ident:
            return Named("", "")
        named = self._by_ident.get(slot.ident)
        symbol = None if named is not None or self.firmware is None else self.firmware.by_ident(slot.ident)
        if symbol is not None:
            named = Named(symbol.name, symbol.unit if symbol.bind == "local" else "")
        return named or Named("", "")

    def address(self, address: int, slots: Sequence[Slot] = ()) -> str | None:
        """``function+offset`` for an address in the base image or in a slot, None for anything else."""
        address &= ~1
        for slot in slots:
            if slot.kind in (SlotKind.CODE, SlotKind.STUB) and slot.address <= address < slot.address + slot.length:
                name = self.slot(slot).function or f"slot {slot.handle}"
                offset = address - slot.address
                place = f"{name}+{offset:#x}" if offset else name
                return f"{place} (generation {slot.generation})"
        if self.firmware is not None:
            near = self.firmware.symbols_near(address)
            if near is not None:
                symbol, offset = near
                unit = f" ({symbol.unit})" if symbol.unit else ""
                return f"{symbol.name}+{offset:#x}{unit}" if offset else f"{symbol.name}{unit}"
        return None

    def function_at(self, address: int, slots: Sequence[Slot] = ()) -> str | None:
        """Name alone of the function that an address belongs to."""
        named = self.address(address, slots)
        return None if named is None else named.partition("+")[0].partition(" ")[0]


def defined_functions(obj: ObjectFile) -> dict[int, str]:
    """Idents and names of the functions that an object defines."""
    from hotflash.elf import format as elf

    found = {}
    for symbol in obj.symbols:
        if symbol.kind == elf.STT_FUNC and symbol.section != elf.SHN_UNDEF and symbol.name:
            if symbol.bind == elf.STB_LOCAL:
                found[local_ident(symbol.unit or obj.unit, symbol.name)] = symbol.name
            else:
                found[global_ident(symbol.name)] = symbol.name
    return found
