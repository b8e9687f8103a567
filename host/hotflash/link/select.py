"""What has to go: which functions differ from what is live, and what these need that is not there.

Functions that the device already runs are compared by content: with the slot's hash where a hook is bound, with
the base image elsewhere. New functions, private pieces, constants and variables go along only when something that
goes refers to them.
"""

from __future__ import annotations

import difflib
from bisect import bisect_right
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from hotflash.elf import attributes
from hotflash.elf import format as elf
from hotflash.elf.threads import thread_variables
from hotflash.errors import LinkError
from hotflash.link import reloc, thumb
from hotflash.link.content import Base, Condenser
from hotflash.link.cplusplus import Startup, check_exceptions, check_vtable, may_be_unwound
from hotflash.link.helpers import Helpers
from hotflash.link.identity import function_name, ident
from hotflash.link.model import Component, Function, Piece, SlotPlan, Target, ThreadLocal, Variable
from hotflash.link.relocate import extend, is_wide
from hotflash.link.view import View
from hotflash.wire.messages import Slot, SlotFlag, SlotKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.elf.firmware import Firmware
    from hotflash.elf.object import ObjectFile
    from hotflash.elf.threads import ThreadVariable
    from hotflash.link.helpers import Source
    from hotflash.link.relocate import Entry
    from hotflash.link.shapes import Built
    from hotflash.live import LiveState

_MAX_COMPARED = 200
_OPEN = int(SlotFlag.OPEN)
_MAX_TOTAL = 1 << 26
"""Bytes of all slots of a patch."""


class Linker:
    """One run of the selection. The results are ``slots``, ``reverts`` and ``notes``."""

    def __init__(
        self,
        objects: Sequence[ObjectFile],
        firmware: Firmware,
        live: LiveState,
        archives: Source | None,
        *,
        whole: bool = False,
    ) -> None:
        self.firmware = firmware
        self.whole = whole
        """Every function goes, changed or not."""
        # Slots of an open transaction are not live, and gone when it is given up.
        live = replace(live, slots=tuple(slot for slot in live.slots if not slot.flags & _OPEN))
        self.live = live
        self.wide = is_wide(firmware.attributes)
        self.base = Base(firmware)
        self.condenser = Condenser()
        self.helpers = Helpers(self, archives)
        self.live_stubs = {s.ident: s for s in live.slots if s.kind == SlotKind.STUB}
        self.live_variables = {s.ident: s for s in live.slots if s.kind == SlotKind.VAR}
        self._live_shared: dict[tuple[int, int], Slot] = {}
        for slot in live.slots:
            if slot.kind == SlotKind.CONST or (slot.kind == SlotKind.CODE and not slot.hook and not slot.ident):
                self._live_shared[slot.kind, slot.hash] = slot
        self._starts = [s.address for s in live.slots]
        self.new_variables: dict[int, Variable] = {}
        self._shared: dict[tuple[int, int], SlotPlan] = {}
        self._code: dict[Function, SlotPlan] = {}
        self._todo: list[Function] = []
        self._undefined: dict[str, Entry | None] = {}
        self._inert: set[Target] = set()
        """Targets in the firmware, which nothing depends on: most are."""
        self._key = live.hello.heap_base, live.hello.heap_size, self.wide
        self.slots: list[SlotPlan] = []
        self.replaced: list[Function] = []
        self.added: list[Function] = []
        self.reverts: list[Function] = []
        self.unchanged = 0
        self._total = 0
        self.notes: list[str] = []
        self._check(objects)
        self.views = [View(obj, self) for obj in objects]
        self._check_duplicates()
        self.owners: dict[str, View] = {}
        """Who defines a global name: of several weak definitions the first, as in C++'s inline functions."""
        for bind in (elf.STB_GLOBAL, elf.STB_WEAK):
            for view in self.views:
                for name, index in view.globals.items():
                    if view.object.symbols[index].bind == bind:
                        self.owners.setdefault(name, view)
        self._startup = Startup(self.views)

    # ----------------------------------------------------------------------------------- checks

    def _check(self, objects: Sequence[ObjectFile]) -> None:
        for obj in objects:
            why = attributes.incompatibility(obj.attributes, self.firmware.attributes)
            if why is not None:
                raise obj.fail(*why)
            for section in obj.sections:
                kinds = (elf.SHT_INIT_ARRAY, elf.SHT_FINI_ARRAY, elf.SHT_PREINIT_ARRAY)
                if section.size and (section.kind in kinds or section.name.startswith((".ctors", ".dtors"))):
                    self.notes.append(f"{obj.name}: constructors ({section.name}) do not run again")

    def _check_duplicates(self) -> None:
        seen: dict[str, View] = {}
        for view in self.views:
            for name, index in view.globals.items():
                if view.object.symbols[index].bind != elf.STB_GLOBAL:
                    continue
                other = seen.setdefault(name, view)
                if other is not view:
                    raise LinkError(
                        f"{name} is defined in {other.object.name} and in {view.object.name}",
                        hint="push one of them, or make one static",
                    )

    # ---------------------------------------------------------------------------------- symbols

    def in_flash(self, address: int) -> bool:
        """Whether an address is in the application's flash."""
        return 0 <= address - self.live.hello.flash_base < self.live.hello.flash_size

    def lookup(self, name: str, asking: View) -> Entry | None:
        """What an undefined symbol of an object refers to: another object's, the firmware's, or a live slot's."""
        if name not in self._undefined:
            self._undefined[name] = self._find(name, asking)
        return self._undefined[name]

    def _find(self, name: str, asking: View) -> Entry | None:
        views = [v for v in self.views if v is not asking and name in v.globals]
        views.sort(key=lambda v: (v.object.symbols[v.globals[name]].bind - 1) % 3)
        symbol = self.firmware.globals.get(name)
        who = ident(name)
        if views:
            found = views[0].definition(views[0].globals[name])
            if symbol is None or type(found[0]) is not Piece:
                return found
            # A constant: the firmware's own, unless it has changed. So a function is the same function whether its
            # object is pushed alone or together with the one that defines the constant.
            known: Entry = Target(name, address=symbol.address, token=who), 0, 0
            self._undefined[name] = known  # constants may refer to each other
            return known if self.base.same(found[0], symbol.address) else found
        if symbol is None and asking.object.has_threads and (thread := self.threads.get(("", name))) is not None:
            return ThreadLocal(name, address=thread.offset, head=thread.head, token=who), 0, 0
        if symbol is not None:
            return Target(name, address=symbol.address, token=who), 0, int(symbol.kind == "function")
        for live, bit in ((self.live_stubs.get(who), 1), (self.live_variables.get(who), 0)):
            if live is not None:
                target = Target(name, address=live.address, token=who)
                target.handle = live.handle
                return target, 0, bit
        return None

    def undefined(self, name: str, view: View, section: str, offset: int) -> LinkError:
        """The error for a symbol that nobody defines."""
        known = set(self.firmware.globals).union(*(v.globals for v in self.views))
        asking = next((s.name for s in view.object.symbols if s.kind == elf.STT_FUNC
                       and view.object.sections[s.section].name == section), section)  # fmt: skip
        # Comparing takes time with the square of the length; nobody mistypes names that long.
        close = (
            difflib.get_close_matches(name, [k for k in known if len(k) <= _MAX_COMPARED], 3)
            if len(name) <= _MAX_COMPARED
            else []
        )
        hidden = self.firmware.named(name)
        chain = self.helpers.chain(view)
        problem, searched = self.helpers.problem, self.helpers.searched
        if hidden:
            hint = f"the firmware has it as a static of {hidden[0].unit or 'another unit'} only"
        elif problem is not None:
            hint = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
        elif chain:
            hint = "the library leaves it to the program: define it in the application and flash, or in the patch"
        elif close:
            hint = f"did you mean {' or '.join(close)}?"
        else:
            hint = "push the object that defines it too, or flash a build that has it"
        return LinkError(
            f"undefined symbol {name}, needed by {function_name(asking)} in {view.object.name} ({section}+{offset:#x})"
            + (f", which would come along for {chain}" if chain else "")
            + (f"; it is not in {searched} either" if searched else ""),
            hint=hint,
        )

    @cached_property
    def threads(self) -> dict[tuple[str, str], ThreadVariable | None]:
        """The firmware's thread-local variables by unit and name; read when an object has some."""
        return thread_variables(self.firmware.container)

    # -------------------------------------------------------------------------------- selection

    def _find_functions(self) -> None:
        for view in self.views:
            view.find_functions()
        for view in self.views:
            view.borrow_functions()

    def run(self) -> None:
        """Compares all functions, and builds the slots of those that have to go."""
        if len(self.views) == 1:
            self.views[0].recall()
        self._find_functions()
        for view in self.views:
            for function in view.functions:
                self._evaluate(function)
        while self._todo:
            self._build_function(self._todo.pop())
        for view in self.views:
            self._note_initial_values(view)
        if len(self.views) == 1 and not self.helpers.views:
            self.views[0].remember()
        throws = "__cxa_throw" in self.firmware.globals
        unwound = [f.name for f in (*self.replaced, *self.added) if throws and may_be_unwound(f.piece)]
        if unwound:
            self.notes.append(
                f"exceptions cannot pass through pushed code: thrown below {', '.join(unwound)} they end in "
                f"std::terminate"
            )
        unused = [f.name for v in self.views for f in v.functions
                  if f.new and f not in self._code and f.symbol.bind == elf.STB_GLOBAL]  # fmt: skip
        if unused:
            self.notes.append(f"new, and used by nothing that goes: {', '.join(unused)}")

    @property
    def every_view(self) -> list[View]:
        """The objects, and the members of archives that came along."""
        return [*self.views, *self.helpers.views]

    def locate(self) -> dict[int, list[Target]]:
        """What the live slots hold of the objects, by handle; nothing is built.

        Live is what a patch point leads to, and what that refers to. A function that is new is live as long as it is
        referred to; its hook may outlast that.
        """
        found: dict[int, list[Target]] = {}
        self._find_functions()
        functions = [f for view in self.views for f in view.functions if f.site is not None]
        stack = [component for f in functions if (component := self._live_version(f, found)) is not None]
        while stack:
            for target in [ref[2] for piece in stack.pop().pieces for ref in piece.refs]:
                component = None
                if type(target) is Piece:
                    other = self.condenser.component(target)
                    if not other.done:
                        other.done = True
                        if self._bind(other) and target.handle is not None:
                            found[target.handle] = [*other.pieces]
                            component = other
                elif target.handle is not None and target.handle not in found:
                    found[target.handle] = [target]
                    component = self._live_version(target, found) if isinstance(target, Function) else None
                if component is not None:
                    stack.append(component)
        return found

    def _live_version(self, function: Function, found: dict[int, list[Target]]) -> Component | None:
        """A function's code when that is what its hook leads to; noted in ``found``."""
        slot = self.runs(function)
        try:
            component = self.condenser.component(function.piece) if slot is not None else None
        except LinkError as error:  # a helper's archive may be gone
            self.notes.append(f"{function.name} of {function.unit}: {error.message}")
            return None
        if slot is None or component is None or slot.hash != component.hash:
            return None
        self._settle(component, slot)
        found[slot.handle] = [*component.pieces]
        return component

    def runs(self, function: Function) -> Slot | None:
        """The live slot that a function's hook leads to."""
        hook = function.site.hook if function.site else function.stub.hook - 1 if function.stub else -1
        value = self.live.hooks.get(hook)
        return self.live_slot(value & ~1) if value is not None else None

    @staticmethod
    def _settle(component: Component, slot: Slot) -> None:
        """Says that a component's pieces are in a live slot."""
        component.done = True
        offset = 0
        for piece in component.pieces:
            offset = _aligned(offset, max(4, piece.align))
            piece.address, piece.handle = slot.address + offset, slot.handle
            offset += piece.size

    def live_slot(self, address: int) -> Slot | None:
        """The slot in use whose payload holds an address."""
        at = bisect_right(self._starts, address) - 1
        if at >= 0 and address - self._starts[at] < max(self.live.slots[at].length, 1):
            return self.live.slots[at]
        return None

    def _evaluate(self, function: Function) -> None:
        fw, site = function.fw, function.site
        if function.problem and function.problem[0] == "overridden":
            return
        if self.whole:
            self._push(function)
        if self.whole or function.new:
            return
        piece = function.piece
        sizes_differ = fw is not None and fw.size and function.symbol.size and fw.size != function.symbol.size
        if site is None and fw is not None:
            if sizes_differ or not self.base.same(piece, fw.address):
                if function.problem:
                    raise LinkError(f"{piece.view.object.name}: {function.problem[0]}", hint=function.problem[1])
                unit = function.unit or piece.view.object.name
                raise LinkError(
                    f"{function.name} of {unit} changed, but the firmware's {function.name} at {fw.address:#010x} has "
                    f"no patch point",
                    hint=f"compile {unit} with -fpatchable-function-entry={self.firmware.header.nops} "
                    f"-ffunction-sections, build and flash",
                )
            self.unchanged += 1
            return
        slot = self.runs(function)
        bound = site is not None and site.hook in self.live.hooks
        if slot is not None:
            if slot.hash == self.condenser.component(piece).hash:
                self.unchanged += 1
            elif site and not sizes_differ and self.base.same(piece, site.address):
                self.reverts.append(function)
            else:
                self._push(function)
        elif function.stub is not None:
            function.new = True  # its entry is there, but leads nowhere: it goes when it is needed
        elif not bound and not sizes_differ and site and self.base.same(piece, site.address):
            self.unchanged += 1
        else:
            self._push(function)

    def _push(self, function: Function) -> None:
        if function not in self._code:
            slot = SlotPlan(SlotKind.CODE, function.name, ident=function.ident, hash_=0)
            self._code[function] = slot
            slot.function = function
            (self.added if function.new else self.replaced).append(function)
            self._todo.append(function)

    def _build_function(self, function: Function) -> None:
        slot = self._code[function]
        component = self.condenser.component(function.piece)
        for piece in component.pieces:
            if piece.code:
                check_exceptions(piece)
        component.done = True
        slot.hash = component.hash
        self._need(component)
        self._fill(slot, component)

    def _need(self, root: Component) -> None:
        """Decides for everything that a component refers to where it is; builds slots for what is nowhere."""
        wanted: list[Component] = []
        stack = [root]
        while stack:
            component = stack.pop()
            for piece in component.pieces:
                for target in [ref[2] for ref in piece.refs if type(ref[2]) is Piece]:
                    if target.component is component:
                        continue
                    if target.function is not None:
                        raise LinkError(
                            f"{piece.view.object.name}: {piece.name} refers into the body of {target.name}",
                            hint="flash the new build",
                        )
                    other = self.condenser.component(target)
                    if not other.done:
                        other.done = True
                        if not self._bind(other):
                            wanted.append(other)
                            stack.append(other)
        for component in reversed(wanted):
            kind = SlotKind.CODE if component.code else SlotKind.CONST
            same = self._shared.get((kind, component.hash))
            if same is not None:
                self._adopt(component, same)
                continue
            slot = SlotPlan(kind, component.pieces[0].name, ident=0, hash_=component.hash)
            self._shared[kind, component.hash] = slot
            self._layout(slot, component)
        for component in wanted:
            placed = component.pieces[0].slot
            if placed is not None and not placed.size:
                self._fill(placed, component)

    @staticmethod
    def _adopt(component: Component, slot: SlotPlan) -> None:
        offset = 0
        for piece in component.pieces:
            if offset:
                offset = _aligned(offset, max(4, piece.align))
            piece.slot, piece.offset = slot, offset
            offset += piece.size

    def _bind(self, component: Component) -> bool:
        """Looks for what a component is in the base image or among the live slots."""
        first = component.pieces[0]
        if len(component.pieces) == 1:
            symbol = first.symbol
            if symbol is not None and symbol.bind == elf.STB_LOCAL and not first.code:
                variable = first.view.names.written_before(symbol, first.view.variables.users)
                if variable is not None and variable.size == first.size:
                    first.address = variable.address  # nothing writes to it any more: it keeps its live value
                    return True
            found = self.base.counterpart(first)
            like = found is not None and found.kind != "notype" and (first.code or found.size in (0, first.size))
            if found is not None and like and self.base.same(first, found.address):
                first.address = found.address
                return True
            if found is not None and found.kind == "object" and not first.code:
                if not self.in_flash(found.address):
                    raise LinkError(
                        f"{first.view.object.name}: {first.name} is a constant here, but a variable at "
                        f"{found.address:#010x} in the firmware",
                        hint="flash the new build",
                    )
                said = check_vtable(first, found)
                if said is not None:
                    self.notes.append(said)
                elif first.symbol is not None and first.symbol.bind:
                    self.notes.append(
                        f"constant {first.name} changed: pushed functions use the new one, all others the one in flash"
                    )
            elif not first.code and first.symbol is None:
                address = self._in_base(first)
                if address is not None:
                    first.address = address
                    return True
        live = self._live_shared.get((SlotKind.CODE if component.code else SlotKind.CONST, component.hash))
        if live is not None:
            self._settle(component, live)
            return True
        return False

    def _in_base(self, piece: Piece) -> int | None:
        """Where the base image happens to hold a nameless constant: most strings are there already."""
        if piece.refs or not piece.data:
            return None
        for segment in self.firmware.segments:
            if segment.physical != segment.virtual or not self.in_flash(segment.virtual):
                continue
            at = segment.data.find(piece.data)
            while at >= 0:
                address = segment.virtual + at
                if address % piece.align == 0 and not self._rewritten(address, piece.size):
                    return address
                at = segment.data.find(piece.data, at + 1)
        return None

    def _rewritten(self, address: int, size: int) -> bool:
        """Whether the image builder changes bytes there: vectors, header, patch points."""
        header = self.firmware.header
        if address < header.base + 4 * header.vector_count and address + size > header.base:
            return True
        if address < header.self_address + 192 and address + size > header.self_address:
            return True
        site = self.firmware.site_after(address - 2 * header.nops)
        return site is not None and site < address + size

    # ------------------------------------------------------------------------------------ slots

    def _layout(self, slot: SlotPlan, component: Component) -> None:
        self._adopt(component, slot)
        if max([p.align for p in component.pieces]) > 32:
            raise LinkError(f"{slot.where} wants an alignment of more than 32 bytes, which slots do not have")

    def _fill(self, slot: SlotPlan, component: Component) -> None:
        """Puts a component's bytes and references into a slot, with entry jump and veneers."""
        self._layout(slot, component)
        pieces = slot.pieces = component.pieces
        data, refs = slot.data, slot.refs
        for piece in pieces:
            if piece.offset > len(data):
                data += bytes(piece.offset - len(data))
            data += piece.masked or bytes(piece.size)
        function = slot.function
        shape = pieces[0].shape if len(pieces) == 1 and component.code else None
        if function is not None and self._recursion(slot, function):
            shape = None
        if shape is not None and shape.built is not None and shape.built.key == self._key:
            self._rebuild(slot, pieces[0], shape.built)
            return
        for piece in pieces:
            base = piece.offset
            if base:
                refs += [(at + base, kind, target, addend) for at, kind, target, addend in piece.refs]
            else:
                refs += piece.refs
        slot.size = max(len(data), 1)
        if refs:
            inert = self._inert
            for target in dict.fromkeys([ref[2] for ref in refs]):
                if target not in inert:
                    self._depend(slot, target)
            if component.code:
                self._veneers(slot)
        self._add(slot)
        if shape is not None:
            shape.keep(slot, pieces[0].masked or b"", self._key)

    def _rebuild(self, slot: SlotPlan, piece: Piece, built: Built) -> None:
        """The same for a function of a known shape: fields that lead to fixed places are filled in right away."""
        value = int.from_bytes(slot.data, "little") ^ built.bits
        slot.data = bytearray(value.to_bytes(built.size, "little"))
        slot.size = max(built.size, 1)
        slot.refs = built.refs.copy()
        slot.pending = built.pending.copy()
        for number, own in built.texts:
            ref = slot.refs[number] = piece.refs[own]
            slot.pending.append(ref)
            self._depend(slot, ref[2])
        self._add(slot)

    def _add(self, slot: SlotPlan) -> None:
        slot.size = max(len(slot.data), 1)
        self._count(slot, slot.size)
        slot.ordinal = len(self.slots)
        self.slots.append(slot)

    def _count(self, slot: SlotPlan, size: int) -> None:
        self._total += size
        if self._total > _MAX_TOTAL:
            raise LinkError(f"with {slot.where} the patch has {self._total} bytes, more than any board's memory")

    def _recursion(self, slot: SlotPlan, function: Function) -> bool:
        """Sends branches to the function's own start, which carry no relocation, through its patch point.

        Says whether there are any.

        A slot's own nops are never executed, so they take a jump to the static entry: every branch to offset 0
        then goes there, whatever its reach. Code without nops can only have its BLs redirected: other branches to
        its start may be loops.
        """
        piece = function.piece
        if function.nops >= self.firmware.header.nops:
            slot.skip = 2 * self.firmware.header.nops
        spans = piece.view.object.code_spans(piece.section)
        # Relocated branches have no offset left here.
        found = thumb.branches_to_start(piece.masked or piece.data, spans)
        if not found:
            return False
        jump = thumb.veneer(0, wide=self.wide)
        if slot.skip >= len(jump):
            slot.data[: len(jump)] = jump
            slot.refs.append((len(jump) - 4, reloc.ABS32, function, 1))
        else:
            slot.refs += [(at, reloc.THM_CALL, function, -4) for at, link in found if link]
        return True

    def _depend(self, slot: SlotPlan, target: Target) -> None:
        if target.problem is not None and target.problem[0] != "overridden":
            raise LinkError(f"{slot.where}: {target.problem[0]}", hint=target.problem[1])
        if isinstance(target, Function):
            if target.new:
                self._push(target)
                if target.stub is None and target.slot is None:
                    stub = SlotPlan(SlotKind.STUB, target.name, ident=target.ident, hash_=0)
                    stub.data = bytearray(thumb.stub(0, wide=self.wide))
                    stub.size = len(stub.data)
                    stub.function = target
                    stub.ordinal = len(self.slots)
                    self.slots.append(stub)
                    target.slot = stub
        elif isinstance(target, Variable) and target.slot is None:
            self._build_variable(target)
        if target.slot is not None:
            if target.slot is not slot:
                slot.deps[target.slot] = None
        elif target.handle is not None:
            slot.live_deps[target.handle] = None
        elif type(target) is not Piece:
            self._inert.add(target)

    def _build_variable(self, variable: Variable) -> None:
        self._startup.check(variable)
        slot = SlotPlan(SlotKind.VAR, variable.name, ident=variable.ident, hash_=0)
        variable.slot = slot
        slot.size = max(variable.size, 1)
        if variable.align > 32:
            raise LinkError(f"{variable.name} wants an alignment of {variable.align} bytes; 32 is the most")
        slot.align = variable.align.bit_length() - 1
        for offset, piece in variable.parts:
            piece.view.scan(piece)
            slot.pieces.append(piece)
            piece.offset = offset
            slot.data += bytes(max(offset + piece.size - len(slot.data), 0))
            self._count(slot, piece.size)
            slot.data[offset : offset + piece.size] = piece.masked or bytes(piece.size)
            slot.refs += [(offset + at, kind, target, addend) for at, kind, target, addend in piece.refs]
            for _, _, target, _ in piece.refs:
                if type(target) is Piece:
                    component = self.condenser.component(target)
                    if not component.done:
                        component.done = True
                        if not self._bind(component):
                            self._place_alone(component)
                self._depend(slot, target)
        slot.zero = not slot.refs and not any(slot.data)
        slot.ordinal = len(self.slots)
        self.slots.append(slot)

    def _place_alone(self, component: Component) -> None:
        self._need(component)
        kind = SlotKind.CODE if component.code else SlotKind.CONST
        same = self._shared.get((kind, component.hash))
        if same is not None:
            self._adopt(component, same)
            return
        slot = SlotPlan(kind, component.pieces[0].name, ident=0, hash_=component.hash)
        self._shared[kind, component.hash] = slot
        self._fill(slot, component)

    def _veneers(self, slot: SlotPlan) -> None:
        """Jumps for branches that may not reach. The heap's bounds are known, the addresses in it not yet."""
        hello = self.live.hello
        low, high = hello.heap_base, hello.heap_base + hello.heap_size
        here = Target(slot.where)
        here.slot = slot

        def reaches(target: Target) -> tuple[int, int] | None:
            if target.slot is slot:
                return None
            return (low, high) if target.address is None else (target.address, target.address)

        extend(slot.data, slot.refs, here, low, high - len(slot.data), reaches, wide=self.wide)

    # ------------------------------------------------------------------------------------ notes

    def _note_initial_values(self, view: View) -> None:
        for symbol, address, piece in view.initial_values():
            try:
                same = self.base.same(piece, address)
            except LinkError:
                same = False
            if not same:
                self.notes.append(
                    f"the initial value of {symbol.name} in {view.object.unit or view.object.name} is not the "
                    f"firmware's; the live variable at {address:#010x} keeps its value"
                )


def _aligned(value: int, align: int) -> int:
    return -(-value // align) * align
