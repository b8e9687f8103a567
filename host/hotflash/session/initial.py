"""Initial values of variables: from the newest object that was pushed for them, else from the firmware."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotflash.elf import format as elf
from hotflash.elf.object import ObjectFile
from hotflash.errors import HotflashError, RefusedError, UsageError
from hotflash.link.identity import base_name
from hotflash.session.names import global_ident, local_ident
from hotflash.wire.messages import SlotKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotflash.elf.firmware import Firmware, Symbol
    from hotflash.elf.object import Symbol as ObjectSymbol
    from hotflash.session.core import Session

_ABS32 = 2
"""R_ARM_ABS32, the relocation of a pointer in data (AAELF32, 5.6.1.4)."""


@dataclass(frozen=True)
class Initial:
    """What is written where."""

    name: str
    address: int
    data: bytes


class _Sources:
    """The firmware, and the objects whose code is live, newest first."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.firmware: Firmware = session.firmware
        self.objects = list(self._objects())

    def _objects(self) -> Iterator[ObjectFile]:
        session = self.session
        journal = session.observe(session.device.slots())
        for entry in sorted(journal.live, key=lambda entry: entry.generation, reverse=True):
            path = session.store.object_path(session.hello.build_id, entry.object)
            try:
                yield ObjectFile.parse(path.read_bytes(), entry.source)
            except (OSError, HotflashError) as error:
                raise HotflashError(
                    f"{path}: the stored copy of {entry.source} cannot be read: {error}",
                    hint="push it again, or `hotflash rollback --base`",
                ) from error

    def of_symbol(self, symbol: Symbol) -> bytes:
        """A firmware variable's bytes at its start."""
        for obj in self.objects:
            if symbol.bind == "local" and obj.unit != symbol.unit:
                continue
            for candidate in obj.symbols:
                same = (
                    candidate.kind == elf.STT_OBJECT
                    and candidate.section != elf.SHN_UNDEF
                    and candidate.size == symbol.size
                    and (candidate.bind == elf.STB_LOCAL) == (symbol.bind == "local")
                    and base_name(candidate.name) == base_name(symbol.name)
                )
                if same:
                    return self.of_object(obj, candidate)
        data = self.firmware.read(symbol.address, symbol.size)
        return data + bytes(symbol.size - len(data))

    def of_object(self, obj: ObjectFile, symbol: ObjectSymbol) -> bytes:
        """What an object starts a variable with."""
        if symbol.section >= elf.SHN_LORESERVE:
            return bytes(symbol.size)
        section = obj.sections[symbol.section]
        data = bytearray(section.data[symbol.value : symbol.value + symbol.size].ljust(symbol.size, b"\0"))
        for offset, kind, index, addend in obj.relocations(symbol.section):
            at = offset - symbol.value
            if not 0 <= at < symbol.size:
                continue
            base = self._target(obj, symbol, obj.symbols[index]) if kind == _ABS32 else None
            if base is None:
                raise RefusedError(
                    f"{symbol.name}: its initial value in {obj.name} points to what was not linked with it",
                    hint="write it with `hotflash write`, or build and flash",
                )
            more = int.from_bytes(data[at : at + 4], "little") if addend is None else addend
            data[at : at + 4] = ((base + more) & 0xFFFFFFFF).to_bytes(4, "little")
        return bytes(data)

    def _target(self, obj: ObjectFile, symbol: ObjectSymbol, target: ObjectSymbol) -> int | None:
        """Address of a function or variable that an initial value points to; None: the firmware has none such."""
        del symbol
        if not target.name or target.kind == elf.STT_SECTION:
            return None
        for found in self.firmware.named(target.name):
            if found.bind != "local" or found.unit == obj.unit:
                return found.value
        return None


def _inside(symbol: Symbol, firmware: Firmware) -> bool:
    header = firmware.header
    return header.ram_start <= symbol.address and symbol.address + symbol.size <= header.ram_end


def value(session: Session, name: str) -> Initial:
    """The initial value of a variable or of a part of one."""
    from hotflash import types

    sources = _Sources(session)
    new = _new_variable(sources, name)
    if new is not None:
        return new
    variable = types.variable(session.firmware, name)
    near = session.firmware.object_near(variable.address)
    if near is None or near[1] + variable.size > near[0].size:
        raise RefusedError(f"{name}: no variable of the firmware lies at {variable.address:#010x}")
    symbol, offset = near
    if not _inside(symbol, session.firmware):
        raise RefusedError(f"{name} is a constant in flash: it never changes")
    return Initial(name, variable.address, sources.of_symbol(symbol)[offset : offset + variable.size])


def _new_variable(sources: _Sources, name: str) -> Initial | None:
    """A variable that a push brought, by name or ``unit.c:name``."""
    unit, _, bare = name.rpartition(":")
    slots = {slot.ident: slot for slot in sources.session.device.slots() if slot.kind == SlotKind.VAR}
    if not slots:
        return None
    for obj in sources.objects:
        if unit and obj.unit != unit:
            continue
        for symbol in obj.symbols:
            if symbol.kind == elf.STT_OBJECT and symbol.section != elf.SHN_UNDEF and base_name(symbol.name) == bare:
                local = symbol.bind == elf.STB_LOCAL
                slot = slots.get(local_ident(obj.unit, bare) if local else global_ident(bare))
                if slot is not None:
                    return Initial(name, slot.address, sources.of_object(obj, symbol)[: slot.length])
    return None


def everything(session: Session) -> list[Initial]:
    """All variables of the firmware, those of the C library included, and those that pushes brought."""
    sources = _Sources(session)
    found: dict[int, Initial] = {}
    for symbol in session.firmware.variables:
        if symbol.size and _inside(symbol, session.firmware):
            found[symbol.address] = Initial(symbol.name, symbol.address, sources.of_symbol(symbol))
    for obj in sources.objects:
        for defined in obj.symbols:
            if defined.kind == elf.STT_OBJECT and defined.section != elf.SHN_UNDEF:
                new = _new_variable(sources, f"{obj.unit}:{base_name(defined.name)}")
                if new is not None:
                    found.setdefault(new.address, new)
    if not found:
        raise UsageError("the firmware has no variables that its ELF names", hint="compile it with -g")
    return [found[address] for address in sorted(found)]
