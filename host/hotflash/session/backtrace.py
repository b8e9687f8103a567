"""Where the application is, call by call: the device's stack walked with the debug information of what it runs."""

from __future__ import annotations

import contextlib
import struct
from functools import cached_property
from typing import TYPE_CHECKING

from hotflash.errors import HotflashError
from hotflash.session.faults import exception_name
from hotflash.session.results import Backtrace, Call
from hotflash.wire.messages import SlotKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotflash.debug import Code, State
    from hotflash.debug.cfi import Row
    from hotflash.elf.object import ObjectFile
    from hotflash.live import LiveState
    from hotflash.session.core import Session
    from hotflash.session.names import Names
    from hotflash.wire.messages import HelloReply, Slot

_WORDS = struct.Struct("<20I")
_PAGE = 256
"""Bytes that are read of the device's memory at a time."""


def backtrace(session: Session, live: LiveState | None = None) -> Backtrace:
    """The calls under way where the application stands, or stood when the device was asked.

    See :meth:`Session.backtrace`; ``live`` is what it runs, where that is known already.
    """
    from hotflash.debug import State

    session.require_application()
    walker = Walker(session, session.device.live() if live is None else live)
    data = session.device.stack()
    words = _WORDS.unpack_from(data)
    registers, xpsr, process = words[:16], words[16], bool(words[17])
    if not xpsr:
        return Backtrace((), "no exception frame was stacked: where it was is lost")
    walker.keep(registers[13], data[_WORDS.size :])
    state = State(registers, xpsr & 0x1FF, process, words[18], words[19])
    return walker.trace(state)


class Walker:
    """Code, names and memory of one device at one moment."""

    def __init__(self, session: Session, live: LiveState) -> None:
        self._session = session
        self._live = live
        self._memory: dict[int, bytes] = {}
        self._explained: set[int] = set()
        """Handles of the slots that debug information was found for."""

    # ---- memory

    def keep(self, address: int, data: bytes) -> None:
        """Memory that was read together with the registers, so that it fits them."""
        for at in range(0, len(data) - 3, 4):
            self._memory[address + at] = data[at : at + 4]

    def read(self, address: int, length: int) -> bytes:
        """Memory, in whole words where it is walked; what the device cannot read raises an AccessError."""
        first, end = address & ~3, address + length
        for at in range(first, end, 4):
            if at not in self._memory:
                self._fetch(at, end)
        data = b"".join(self._memory[at] for at in range(first, end, 4))
        return data[address - first : address - first + length]

    def _fetch(self, at: int, end: int) -> None:
        most = max(_PAGE, end - at)
        try:
            data = self._session.device.read(at, most)
        except HotflashError:  # the end of memory may be nearer
            most = end - at
            data = self._session.device.read(at, most)
        for offset in range(0, len(data) - 3, 4):
            self._memory.setdefault(at + offset, data[offset : offset + 4])

    # ---- code

    @cached_property
    def _hello(self) -> HelloReply:
        return self._live.hello

    @cached_property
    def _names(self) -> Names:
        return self._session.names()

    @cached_property
    def _base(self) -> Code | None:
        from hotflash.debug import Code

        firmware = self._session.firmware_or_none
        return Code(firmware.container) if firmware is not None else None

    @cached_property
    def _patches(self) -> list[Code]:
        """The code heap's contents, with the debug information of the stored objects.

        One file for each set of versions, since a function has one body in a file.
        """
        from hotflash.debug import Code
        from hotflash.elf import format as elf
        from hotflash.session import offline

        found = []
        firmware = self._session.firmware_or_none
        if firmware is None:
            return []
        for live, objects in self._sets():
            with contextlib.suppress(HotflashError):  # names are known all the same
                data, handles = offline.with_debug(self._session, firmware, live, objects)
                found.append(Code(elf.open_container(data, "code heap", (elf.ET_EXEC,))))
                self._explained |= handles
        return found

    def _sets(self) -> Iterator[tuple[LiveState, list[ObjectFile]]]:
        """Sets of slots with one version of each function, and the objects that may explain them."""
        from dataclasses import replace

        from hotflash.session import offline

        journal = self._session.load_journal()
        stored = offline.stored_by_key(self._session.store, self._hello.build_id, journal)
        left = [slot for slot in self._live.slots if slot.kind == SlotKind.CODE and slot.hook]
        left.sort(key=lambda slot: -slot.generation)
        while left:
            hooks: dict[int, int] = {}
            chosen = []
            for slot in left:
                if slot.hook - 1 not in hooks:
                    hooks[slot.hook - 1] = slot.address | 1
                    chosen.append(slot)
            left = [slot for slot in left if slot not in chosen]
            objects = {name: obj for slot in chosen for name, obj in stored.get((slot.ident, slot.hash), ())}
            # Two objects of one unit would define its functions twice.
            yield replace(self._live, hooks=hooks), list({obj.unit: obj for obj in objects.values()}.values())

    def slot_at(self, address: int) -> Slot | None:
        """The slot that holds an address."""
        return next((s for s in self._live.slots if s.address <= address < s.address + s.length), None)

    def row(self, address: int) -> Row | None:
        """Unwinding rules at an address."""
        if self.slot_at(address) is None:
            return self._base.row(address) if self._base is not None else None
        return next((row for code in self._patches if (row := code.row(address)) is not None), None)

    def at_entry(self, address: int) -> bool:
        """Whether an address is in a patch point, an entry stub, or a veneer behind a slot's body."""
        slot = self.slot_at(address)
        if slot is not None:
            if slot.kind == SlotKind.STUB:
                return True
            if slot.kind != SlotKind.CODE or self.row(address) is not None:
                return False
            # A slot keeps its nops, and nothing describes them; the same holds for its veneers.
            return slot.handle in self._explained or address - slot.address < 2 * self._nops
        firmware = self._session.firmware_or_none
        if firmware is not None and not firmware.read(address, 2):
            return True  # a jump to where no code is: as if the function there had just been called
        near = firmware.symbols_near(address) if firmware is not None else None
        if firmware is None or near is None:
            return False
        symbol, offset = near
        site = firmware.site_at.get(symbol.address)
        return offset < 2 * site.nops if site is not None else symbol.name.endswith("_veneer")

    @cached_property
    def _nops(self) -> int:
        firmware = self._session.firmware_or_none
        return firmware.header.nops if firmware is not None else 0

    # ---- the walk

    def trace(self, state: State) -> Backtrace:
        """Walks from a state."""
        from hotflash.debug import unwind

        found = unwind(state, self.row, self.at_entry, self.read)
        calls = []
        for number, frame in enumerate(found.frames):
            code = frame.code
            slot = self.slot_at(code)
            named = self._names.address(code, self._live.slots)
            function = self._names.function_at(code, self._live.slots) or ""
            codes = [self._base] if slot is None else self._patches
            place = next((p for c in codes if c is not None and (p := c.place(code)) is not None), None)
            calls.append(
                Call(
                    depth=number,
                    address=frame.address,
                    function=function,
                    place=named or "",
                    file=place.file if place is not None else "",
                    line=place.line if place is not None else 0,
                    generation=slot.generation if slot is not None else 0,
                    slot=slot.handle if slot is not None else None,
                    exception=exception_name(frame.exception) if frame.exception else "",
                )
            )
        end = "" if calls and calls[-1].function in _OUTERMOST else found.end
        stack = "the process stack" if state.process else "the main stack"
        thread = f"the handler of {exception_name(state.exception)}" if state.exception else stack
        return Backtrace(tuple(calls), end, thread)


_OUTERMOST = {"Reset_Handler", "reset", "_start", "Reset", "reset_handler"}
"""What starts a program has no caller, whether its debug information says so or not."""
