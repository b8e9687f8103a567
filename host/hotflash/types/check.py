"""Whether a transaction leaves every signature and layout with code that agrees about it.

Compared is what the functions that go say about themselves, their types and the variables they use, with what is live:
the base image's index, and the objects that were pushed since. A function that is in the objects and does not go is
the same as the live one, so it agrees with both. What remains are others: they must not exist, or come along.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hotflash.elf import dwarf
from hotflash.elf import format as elf
from hotflash.elf.dwarf import DwarfError
from hotflash.elf.layout import Layout, Scalar, compatible, contains
from hotflash.link.identity import base_name, function_name, is_private
from hotflash.types.objects import ObjectTypes, same_file
from hotflash.types.pairing import Migration, migrate
from hotflash.types.users import BaseUsers, User, object_type_users, object_users
from hotflash.types.verdict import LayoutChange, SignatureChange, Verdict, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hotflash.elf.firmware import Firmware
    from hotflash.elf.index import DebugLayout, DebugVariable
    from hotflash.elf.layout import Shape
    from hotflash.elf.object import ObjectFile
    from hotflash.elf.shapes import Known, Use

_ALLOCATORS = {
    "malloc", "calloc", "realloc", "memalign", "aligned_alloc", "pvPortMalloc", "pvPortCalloc", "k_malloc", "k_calloc",
    "k_aligned_alloc", "tx_byte_allocate", "osMemoryPoolAlloc", "osPoolAlloc", "_Znwj", "_Znaj", "_malloc_r",
    "_calloc_r",
}  # fmt: skip
"""Functions that hand out memory without saying what for: C, C++, and what RTOSes have."""
_PLAIN = {Scalar(kind, size).text for kind in ("int", "uint", "float", "bool") for size in (1, 2, 4, 8)}


def judge(
    sent: Mapping[ObjectFile, set[int]],
    firmware: Firmware,
    live: Iterable[ObjectFile] = (),
    *,
    renames: Mapping[str, str] | None = None,
    reinit: Iterable[str] = (),
) -> Verdict:
    """Compares the types of what is sent with those of what is live.

    ``sent`` are the objects that are pushed, and the code sections of each whose functions go; ``live`` the objects of
    the edits that are live. ``renames`` (new names of members by old ones) and ``reinit`` (variables that are
    initialised again) are what was stated about migrations.

    Raises ElfError when debugging information is damaged.
    """
    if not any(sent.values()):
        return Verdict()
    return _Judge(sent, firmware, live, renames or {}, set(reinit)).run()


@dataclass
class _Changed:
    name: str
    old: Layout | DebugLayout
    new: Known
    pushed: ObjectTypes
    left: list[User] = field(default_factory=list)


class _Judge:
    def __init__(
        self,
        sent: Mapping[ObjectFile, set[int]],
        firmware: Firmware,
        live: Iterable[ObjectFile],
        renames: Mapping[str, str],
        reinit: set[str],
    ) -> None:
        self._sent = sent
        self._firmware = firmware
        self._index = firmware.debug
        self._renames = renames
        self._reinit = reinit
        self._objects = [ObjectTypes(obj) for obj in sent]
        pushed = {types.unit for types in self._objects}
        every = [ObjectTypes(obj) for obj in live]
        self._before = {types.unit: types for types in every if types.unit in pushed}
        self._others = [types for types in every if types.unit not in pushed]
        self._base = BaseUsers(firmware)
        self._signatures: list[SignatureChange] = []
        self._layouts: dict[str, _Changed] = {}
        self._migrations: list[Migration] = []
        self._problems: list[str] = []
        self._missing: dict[str, None] = {}
        self._files: dict[str, None] = {}
        self._uses: dict[ObjectTypes, Use] = {}

    def run(self) -> Verdict:
        for types in self._objects:
            sections = self._sent.get(types.object)
            if sections:
                self._object(types, sections)
        if self._missing:
            return Verdict(missing=tuple(self._missing))
        self._callers()
        found = [self._layout_change(changed) for changed in self._layouts.values()]
        changes = [change for change in found if change is not None]
        instances, unseen = self._instances({c.name: c.old for c in changes}) if changes else ([], {})
        self._migrations += instances
        return Verdict(
            tuple(self._signatures),
            tuple(LayoutChange(c.name, c.old, c.new, c.left, unseen.get(c.name, "")) for c in changes),
            tuple(self._migrations),
            tuple(self._problems),
            frames=tuple(self._frames({c.name for c in changes})) if changes else (),
            hint=self._hint(),
        )

    # ---------------------------------------------------------------------------------- one object

    def _object(self, types: ObjectTypes, sections: set[int]) -> None:
        called = {section: types.names(section) for section in sorted(sections)}
        names = [name for group in called.values() for name in group if types.entries(name)]
        # Of several names for one function only one is described.
        unknown = [group[0] for group in called.values() if group and not set(group) & set(names)]
        if unknown:
            self._missing[f"{types.name} ({', '.join(unknown[:3])})"] = None
            return
        if any(not self._firmware.debug.functions(n) and self._is_old(types, n) for n in names):
            self._missing[f"{types.unit} of the firmware"] = None
            return
        for name in names:
            if not is_private(name):
                self._signature(types, name)
        data = types.referenced(sections)
        use = self._uses[types] = types.use(names, data)
        for name, known in use.layouts.items():
            self._layout(types, name, known)
        for name in data:
            self._variable(types, name)
        for instance in use.statics:
            live = self._live_variable(types, instance.name, instance.owner)
            self._compare_variable(instance.name, instance.type, live)
        self._declarations(types, data)

    def _is_old(self, types: ObjectTypes, name: str) -> bool:
        """Whether the base image has a function of the object."""
        if is_private(name):
            return False
        return any(
            s.kind == "function" and (s.bind != "local" or s.unit == types.unit) for s in self._firmware.named(name)
        )

    def _live_signature(self, types: ObjectTypes, name: str) -> str | None:
        before = self._before.get(types.unit)
        found = before.signature(name) if before is not None else None
        if found is not None:
            return found
        return next((f.signature for f in self._index.functions(name) if self._is_home(types, f.number, f.unit)), None)

    def _is_home(self, types: ObjectTypes, number: int, unit: str) -> bool:
        return number in self._homes[types] or same_file(unit, types.unit)

    @cached_property
    def _homes(self) -> dict[ObjectTypes, set[int]]:
        """The base image's units that the objects are new versions of, by number."""
        found: dict[ObjectTypes, set[int]] = {}
        for types in self._objects:
            found[types] = numbers = set()
            for symbol in types.object.symbols:
                if symbol.kind != elf.STT_FUNC or symbol.bind == elf.STB_WEAK or not symbol.section:
                    continue
                for function in self._index.functions(symbol.name):
                    if symbol.bind == elf.STB_GLOBAL or same_file(function.unit, types.unit):
                        numbers.add(function.number)
        return found

    def _signature(self, types: ObjectTypes, name: str) -> None:
        new, old = types.signature(name), self._live_signature(types, name)
        if old is not None and new is not None and old != new:
            self._signatures.append(SignatureChange(name, types.unit, old, new))

    def _declarations(self, types: ObjectTypes, names: Iterable[str]) -> None:
        """What the object calls has to be called as it was declared."""
        mine = {s.name for other in self._objects for s in other.object.symbols if s.section}
        for name in names:
            entry = types.declared.get(name)
            if entry is None or name in mine:
                continue
            other = next((o for o in self._others if name in o.functions), None)
            live = other.signature(name) if other is not None else None
            unit = other.unit if other is not None else ""
            if other is None:
                found = next(iter(self._index.functions(name)), None)
                live, unit = (found.signature, found.unit) if found is not None else (None, "")
            try:
                new = types.shapes.signature(entry)
            except DwarfError as error:
                raise types.damaged(error) from None
            if live is not None and live != new:
                self._problems.append(
                    f"{types.unit} calls {name} as {new}, but the live {name} of {Path(unit).name} is {live}"
                )
                self._files[unit] = None

    # --------------------------------------------------------------------------------------- types

    def _layout(self, types: ObjectTypes, name: str, known: Known) -> None:
        if name in self._layouts:
            return
        new = known.layout
        before = self._before.get(types.unit)
        earlier = before.layouts.get(name) if before is not None else None
        if earlier is not None and earlier.complete:
            if earlier.layout.hash != new.hash:
                self._layouts[name] = _Changed(name, earlier.layout, known, types)
            return
        every = [found for found in self._index.layouts(name) if found.complete]
        mine = [found for found in every if self._is_home(types, found.number, found.unit)]
        if not mine:
            # New to this unit. Another file's private type may well be called the same.
            mine = [found for found in every if not (found.own or known.own)]
        if mine and not any(found.hash == new.hash for found in mine):
            self._layouts[name] = _Changed(name, mine[0], known, types)

    def _layout_change(self, changed: _Changed) -> LayoutChange | None:
        """A change of a layout with those that are left behind; None when it hurts nobody."""
        old = changed.old if isinstance(changed.old, Layout) else self._base.layout(changed.old)
        new = changed.new.layout
        if compatible(old, new):
            return None
        left: list[User] = []
        replaced = {types.unit for types in self._others}
        for found in self._index.layouts(changed.name):
            ours = any(self._is_home(types, found.number, found.unit) for types in self._objects)
            elsewhere = any(same_file(found.unit, unit) for unit in replaced)
            private = found.own or changed.new.own
            if not (ours or elsewhere or private) and self._relies(found.hash, old, complete=found.complete):
                left += self._base.of_type(found)
        for other in self._others:
            known = other.layouts.get(changed.name)
            if known is None or known.own or changed.new.own:
                continue
            if self._relies(known.layout.hash, old, complete=known.complete):
                left += object_type_users(other, changed.name)
        self._files.update((user.unit, None) for user in left)
        return LayoutChange(changed.name, old, new, tuple(dict.fromkeys(left)))

    @staticmethod
    def _relies(digest: str, old: Layout, *, complete: bool) -> bool:
        """Whether somebody relies on an old layout who knows one with that hash, or none.

        Who declares a class with virtual functions may well use it; others have an opaque type.
        """
        return digest == old.hash if complete else bool(old.virtuals)

    # ----------------------------------------------------------------------------------- variables

    def _variable(self, types: ObjectTypes, name: str) -> None:
        entry = types.variables.get(name)
        if entry is None:
            return
        shape = types.variable(name)
        live = self._live_variable(types, name, "")
        if live is None:
            self._compare_pushed(types, name, shape)
        else:
            self._compare_variable(name, shape, live, declared=entry.flag(dwarf.AT_DECLARATION))

    def _compare_pushed(self, types: ObjectTypes, name: str, shape: Shape) -> None:
        """Compares a variable with one that came with an earlier push."""
        before = self._before.get(types.unit)
        if before is None or name not in before.variables or not self._is_pushed(before, name):
            return
        old = before.variable(name)
        if old.text != shape.text:
            steps = migrate(old, shape, self._renames)
            self._migrations.append(Migration(name, types.unit, None, old, shape, steps, name in self._reinit))

    def _is_pushed(self, types: ObjectTypes, name: str) -> bool:
        """Whether an object defines a variable that the base image has not."""
        writable = {s.index for s in types.object.sections if s.writable}
        return any(s.name == name and (s.section in writable or s.section == elf.SHN_COMMON)
                   for s in types.object.symbols)  # fmt: skip

    def _live_variable(self, types: ObjectTypes, name: str, owner: str) -> DebugVariable | None:
        found = [v for v in self._index.named(name) if v.function == owner and v.address is not None]
        own = [v for v in found if same_file(v.unit, types.unit)]
        return next(iter(own or [v for v in found if v.external]), None)

    def _compare_variable(self, name: str, shape: Shape, live: DebugVariable | None, *, declared: bool = False) -> None:
        if live is None or live.address is None or self._in_flash(live.address) or live.type in ("", shape.text):
            return
        if declared and "[]" in shape.text and shape.text.split("[]")[0] == live.type.split("[")[0]:
            return  # `extern int a[];`
        if any(m.variable == name and m.address == live.address for m in self._migrations):
            return
        old = self._base.shape(live.entry)
        self._migrations.append(self._migration(name, live, old, shape))
        left = [
            User(user.name, user.unit, 0)
            for user in self._firmware.users(live.address, old.size)
            if not self._comes_along(user.name, user.unit)
        ]
        if left:
            self._problems.append(
                f"{name} is {shape.text} instead of {live.type}, and not all that use it come along: {listed(left)}"
            )
            self._files.update((self._unit_of(user), None) for user in left)

    def _in_flash(self, address: int) -> bool:
        header = self._firmware.header
        return not header.ram_start <= address < header.ram_end

    def _migration(self, name: str, live: DebugVariable, old: Shape, new: Shape) -> Migration:
        return Migration(
            name, Path(live.unit).name, live.address, old, new, migrate(old, new, self._renames), name in self._reinit
        )

    def _instances(self, layouts: dict[str, Layout]) -> tuple[list[Migration], dict[str, str]]:
        """Live variables that have one of the layouts in them, and why others may exist that are not seen."""
        found: list[Migration] = []
        seen: set[str] = set()
        names = set(layouts)
        for variable in self._index.every_variable():
            if not variable.address or self._in_flash(variable.address):
                continue
            if any(m.address == variable.address for m in (*self._migrations, *found)):
                continue
            old = self._instance_shape(variable, names)
            if isinstance(old, Layout) and not old.size:
                old = layouts.get(old.name, old)  # declared in this unit, described in another
            if old is not None:
                seen |= {name for name in names if contains(old, {name})}
                found.append(self._migration(variable.name, variable, old, self._new_shape(variable) or old))
        unseen: dict[str, str] = {}
        for types in self._objects:
            for name, function, allocator in self._allocated(types, names):
                unseen[name] = f"{function} ({types.unit}) calls {allocator}, which may have made instances of it"
        pointed = set[str]().union(*(use.pointed for use in self._uses.values()))
        for types, use in self._uses.items():
            kept = [*use.automatic, *(i for i in types.every_automatic() if pointed & names)]
            seen |= {name for name in names for instance in kept if contains(instance.type, {name})}
        for name in names & pointed - seen:
            unseen.setdefault(name, "its instances are not to be seen: nothing but pointers to it is known")
        return found, unseen

    def _allocated(self, types: ObjectTypes, names: set[str]) -> Iterator[tuple[str, str, str]]:
        """Layouts that a function has pointers to which calls an allocator: layout, function, allocator."""
        for function in types.functions:
            known = types.referenced(types.sections(function))
            for allocator in sorted(_ALLOCATORS & set(known)):
                use = types.use([function], known)
                yield from ((name, function, allocator) for name in names & use.pointed)
                break

    def _instance_shape(self, variable: DebugVariable, names: set[str]) -> Shape | None:
        """The type of a variable that has one of the layouts in it."""
        text = variable.type.split("[")[0]
        if not text or text.endswith("*") or text in _PLAIN:
            return None
        shape = self._base.shape(variable.entry)
        return shape if contains(shape, names) else None

    def _new_shape(self, variable: DebugVariable) -> Shape | None:
        for types in self._objects:
            entry = types.variables.get(variable.name)
            if entry is not None and (variable.external or same_file(variable.unit, types.unit)):
                return types.variable(variable.name)
            for instance in self._uses[types].statics if types in self._uses else ():
                if (instance.name, instance.owner) == (variable.name, variable.function):
                    return instance.type
        return None

    def _frames(self, names: set[str]) -> Iterator[tuple[ObjectFile, frozenset[str]]]:
        """Functions that stay as they are and may have one of the layouts on their stack."""
        for types in self._objects:
            sent = {name for section in self._sent.get(types.object, ()) for name in types.names(section)}
            found = {
                name
                for name in types.functions
                if name not in sent and any(contains(i.type, names) for i in types.use([name]).automatic)
            }
            if found:
                yield types.object, frozenset(found)

    # ------------------------------------------------------------------------------------- callers

    def _callers(self) -> None:
        """Finds who calls the functions whose signature changed."""
        if not self._signatures:
            return
        addresses = {}
        for change in self._signatures:
            for symbol in self._firmware.named(change.function):
                if symbol.kind == "function" and (symbol.bind != "local" or symbol.unit == change.unit):
                    addresses[symbol.address] = change.function
        left: dict[str, list[User]] = {change.function: [] for change in self._signatures}
        replaced = {types.unit: set(types.functions) for types in self._others}
        for address, places in self._base.of_functions(addresses).items():
            for place, by_address in places:
                holder = self._base.holder(place)
                name, unit = (holder.name, holder.unit) if holder is not None else (f"{place:#010x}", "")
                if self._comes_along(name, unit):
                    continue
                if any(function_name(name) in functions for functions in replaced.values()):
                    continue  # that version does not run
                file, line = self._base.line(place)
                user = User(name, file or unit or self._unit_of(User(name, unit, 0)), line, by_address)
                left[addresses[address]].append(user)
        for other in self._others:
            for name, user in object_users(other, left):
                left[name].append(user)
        for users in left.values():
            self._files.update((user.unit, None) for user in users)
        self._signatures = [
            SignatureChange(s.function, s.unit, s.old, s.new, tuple(dict.fromkeys(left[s.function])))
            for s in self._signatures
        ]

    def _comes_along(self, name: str, unit: str) -> bool:
        """Whether the objects have a new version of a function or variable of the base image."""
        plain = base_name(function_name(name))
        for types in self._objects:
            known = self._defined[types][bool(unit)]
            if (not unit or unit == types.unit) and (name in known or plain in known):
                return True
        return False

    @cached_property
    def _defined(self) -> dict[ObjectTypes, tuple[set[str], set[str]]]:
        """Names of functions and variables that the objects define: those that are global, and all."""
        found = {}
        for types in self._objects:
            symbols = [s for s in types.object.symbols if s.section and s.kind in (elf.STT_FUNC, elf.STT_OBJECT)]
            every = {name for s in symbols for name in (s.name, base_name(s.name))}
            found[types] = {s.name for s in symbols if s.bind != elf.STB_LOCAL}, every
        return found

    def _unit_of(self, user: User) -> str:
        found = next((f.unit for f in self._index.functions(user.name)), "")
        return user.unit or found or next((v.unit for v in self._index.named(user.name) if v.external), "")

    def _hint(self) -> str:
        """The command that would push all that has to go together."""
        files = [Path(name).name for name in self._files if name]
        if not files:
            return ""
        paths = [Path(types.name) for types in self._objects]
        wanted: dict[str, None] = {str(path): None for path in paths}
        lost = []
        for file in dict.fromkeys(files):
            candidates = [path.with_name(name) for path in paths for name in (f"{Path(file).stem}.o", f"{file}.o",
                                                                             f"{file}.obj")]  # fmt: skip
            found = next((str(path) for path in candidates if path.is_file()), None)
            if found is not None:
                wanted[found] = None
            else:
                lost.append(file)
        command = f"push all of it together: `hotflash push {' '.join(wanted)}`"
        return command + (f" and the object{'s' if len(lost) > 1 else ''} of {', '.join(lost)}" if lost else "")
