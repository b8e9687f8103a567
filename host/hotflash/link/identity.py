"""Who is who: an object's functions and variables in the running firmware.

The compiler's names for one thing change from build to build (the number of a function static, a clone's suffix),
and two units may have the same name for different things. What can be told apart is matched; what cannot is
refused with the candidates, because binding a patch to the wrong state is worse than not patching.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING

from hotflash.elf import format as elf
from hotflash.errors import LinkError
from hotflash.link.debug import firmware_owners, has_inlining, object_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotflash.elf.firmware import Firmware, Symbol
    from hotflash.elf.object import ObjectFile
    from hotflash.elf.object import Symbol as ObjectSymbol

_NUMBERED = re.compile(r"^(.+)\.\d+$")
_PRIVATE = re.compile(r"\.(?:constprop|isra|part|cold|localalias)(?:\.\d+)*(?:\.cold)?$|\.\d+$")
_CLONE = re.compile(r"^(.+?)\.(?:constprop|isra|part|cold|localalias|\d).*$")


def ident(*parts: str) -> int:
    """CRC-32 of the identity string (docs/SPEC.md, Identities)."""
    return zlib.crc32("\0".join(parts).encode())


def base_name(name: str) -> str:
    """A static's name without the number that the compiler gave it: ``count.0`` is ``count``."""
    found = _NUMBERED.match(name)
    return found[1] if found else name


def static_name(name: str, *, clang: bool) -> str:
    """The source's name of a function static: GCC calls it ``count.0``, clang ``f.count`` or ``f.count.3``."""
    plain = base_name(name)
    return plain.split(".", 1)[1] if clang and "." in plain else plain


def function_name(name: str) -> str:
    """The source's name of a function or of a clone of it: ``f.constprop.0`` is ``f``."""
    found = _CLONE.match(name)
    return found[1] if found else name


def is_private(name: str) -> bool:
    """A local function that only its unit's compiler knows: a clone, a cold part, or a nested function."""
    return _PRIVATE.search(name) is not None


def is_clang(obj: ObjectFile) -> bool:
    """Whether clang compiled the object."""
    return any(s.name == ".comment" and b"clang" in s.data for s in obj.sections)


class Names:
    """The firmware's names as one object sees them."""

    def __init__(self, firmware: Firmware, obj: ObjectFile) -> None:
        self._firmware = firmware
        self._object = obj
        self._groups: dict[str, dict[str, Symbol]] = {}
        self._clang = is_clang(obj)
        self.told_by_debug: set[int] = set()
        """Statics, by symbol index, of which the object's debug information was asked which is which."""
        self._statics: dict[tuple[str, str], dict[int, Callable[[], Symbol | None]]] = {}
        self._bases: dict[str, dict[str, tuple[Symbol, ...]]] = {}

    def group(self, unit: str) -> dict[str, Symbol]:
        """Local symbols of the firmware's unit that the object's ``unit`` is; empty when it is new.

        Of several units with that name it is the one with most names in common. LinkError when that is a draw.
        """
        found = self._groups.get(unit)
        if found is None:
            found = self._groups[unit] = self._choose(unit)
        return found

    def _choose(self, unit: str) -> dict[str, Symbol]:
        groups = list(self._firmware.units.get(unit, {}).values())
        if len(groups) < 2:
            return groups[0] if groups else {}
        mine = {
            base_name(s.name)
            for s in self._object.symbols
            if s.unit == unit and s.kind in (elf.STT_FUNC, elf.STT_OBJECT)
        }
        scores = [len(mine & {base_name(name) for name in group}) for group in groups]
        best = max(scores)
        if best == 0:
            return {}
        if scores.count(best) > 1:
            places = ", ".join(
                f"{next(iter(g.values())).name} at {next(iter(g.values())).address:#010x}"
                for g, score in zip(groups, scores, strict=True)
                if score == best
            )
            raise LinkError(
                f"{self._object.name}: the firmware has {scores.count(best)} units called {unit} that look alike "
                f"({places}), so local names of it are ambiguous",
                hint="give the source files different names, build and flash",
            )
        return groups[scores.index(best)]

    def local(self, symbol: ObjectSymbol) -> Symbol | None:
        """The firmware's local symbol of the same name in the same unit."""
        return self.group(symbol.unit).get(symbol.name)

    def anywhere(self, symbol: ObjectSymbol) -> Symbol | None:
        """What the firmware has by the name of a function or a variable with a plain name.

        A name may have become static, or no longer be: it is still the same thing when the unit says so.
        LinkError when a static of the object is called like something global of the firmware.
        """
        local = symbol.bind == elf.STB_LOCAL
        if not local:
            found = self._firmware.globals.get(symbol.name)
            return found or self.group(self._object.unit).get(symbol.name)
        found = self.local(symbol)
        if found is not None:
            return found
        other = self._firmware.globals.get(symbol.name)
        if other is not None and not self._clang:
            raise LinkError(
                f"{self._object.name}: {symbol.name} is static in {symbol.unit}, but the firmware has a global "
                f"{symbol.name} at {other.address:#010x}; whether they are the same cannot be told",
                hint="rename one of them, or flash the new build",
            )
        return None

    def static(self, symbol: ObjectSymbol, users: Callable[[ObjectSymbol], set[str]]) -> Symbol | None:
        """The live function static that a numbered local variable of the object is, or None when it is new.

        Those belong together that are used by the same functions: ``users`` says which functions of the object
        refer to a variable, and the firmware's code is searched for the candidates' addresses. What inlining
        leaves open is settled by the debug information of both. One candidate on either side is a match when
        nothing speaks against it; otherwise LinkError.
        """
        key = symbol.unit, static_name(symbol.name, clang=self._clang)
        found = self._statics.get(key)
        if found is None:
            found = self._statics[key] = self._match_statics(*key, users)
        return found[symbol.index]()

    def owned(self, unit: str, owner: str, name: str) -> Symbol | None:
        """The live static of that name in a function. LinkError when the firmware does not tell which it is."""
        candidates = self._candidates(unit).get(name, ())
        theirs = firmware_owners(self._firmware, unit)
        found = [c for c in candidates if theirs.get(c.address, owner) == owner]
        if len(found) > 1:
            listed = ", ".join(f"{c.name} at {c.address:#010x}" for c in found)
            raise LinkError(
                f"{self._object.name}: which live variable the static {name} of {owner} in {unit} is, is ambiguous: "
                f"the firmware has {listed}",
                hint="rename it, or flash the new build",
            )
        return found[0] if found else None

    def written_before(self, symbol: ObjectSymbol, users: Callable[[ObjectSymbol], set[str]]) -> Symbol | None:
        """The live variable that a static is of which the compiler made a constant, since nothing writes to it."""
        header = self._firmware.header
        if "." not in symbol.name:
            found = self.local(symbol)
            ram = found is not None and header.ram_start <= found.address < header.ram_end
            return found if ram else None
        candidates = self._candidates(symbol.unit).get(static_name(symbol.name, clang=self._clang), ())
        candidates = tuple(c for c in candidates if c.size == symbol.size)
        if not candidates:
            return None
        theirs = firmware_owners(self._firmware, symbol.unit)
        owners = users(symbol)
        fits = [c for c in candidates if c.address in theirs and theirs[c.address] in owners]
        if len(owners) > 1 or len(fits) > 1:
            part = object_parts(self._object, symbol.unit).get((symbol.section, symbol.value))
            owners = {part.owner} if part is not None and part.owner else owners
            fits = [c for c in fits if theirs[c.address] in owners]
        return fits[0] if len(fits) == 1 else None

    def _owner(self, symbol: ObjectSymbol, users: set[str]) -> str:
        """The function that a function static belongs to, as far as it is known."""
        if self._clang:
            return symbol.name.split(".", 1)[0]
        if len(users) == 1 and not has_inlining(self._object):
            return next(iter(users))
        self.told_by_debug.add(symbol.index)
        part = object_parts(self._object, symbol.unit).get((symbol.section, symbol.value))
        return part.owner if part else ""

    def _order(self, symbol: ObjectSymbol) -> tuple[int, str]:
        """By the order of the source, which the debug information keeps."""
        self.told_by_debug.add(symbol.index)
        places = list(object_parts(self._object, symbol.unit))
        place = symbol.section, symbol.value
        return places.index(place) if place in places else len(places), symbol.name

    def _match_statics(
        self, unit: str, base: str, users: Callable[[ObjectSymbol], set[str]]
    ) -> dict[int, Callable[[], Symbol | None]]:
        """Matches all statics of a name at once; each result is computed, or refused, when it is asked for."""
        mine = self._numbered.get((unit, base), [])
        candidates = self._candidates(unit).get(base, ())
        telling = _telling(self._firmware, candidates)
        wanted = {s.index: users(s) for s in mine}
        fits = {index: {telling[u] for u in names if u in telling} for index, names in wanted.items()}
        claims = Counter(c for group in fits.values() for c in group)

        # First by the debug information: what inlines the owner of a variable uses it as well.
        known = firmware_owners(self._firmware, unit) if candidates else {}
        told = all(c.address in known for c in candidates)
        owners = {s.index: self._owner(s, wanted[s.index]) if candidates and told else "" for s in mine}
        ours: dict[str, list[ObjectSymbol]] = {}
        for s in sorted(mine, key=self._order) if told and len(set(owners.values())) < len(mine) else mine:
            ours.setdefault(owners[s.index], []).append(s)
        if not self.told_by_debug.isdisjoint(wanted):
            self.told_by_debug.update(wanted)
        by_address = {c.address: c for c in candidates}
        theirs: dict[str, list[Symbol]] = {}
        for address, function in known.items():
            if address in by_address:
                theirs.setdefault(function, []).append(by_address[address])

        def settle(symbol: ObjectSymbol) -> Symbol | None:
            if not candidates:
                return None
            owner = owners[symbol.index]
            if owner and told:
                group, own = theirs.get(owner, []), ours[owner]
                # Namesakes in blocks of one function: nothing but their order tells them apart.
                if not group or [c.size for c in group] == [s.size for s in own]:
                    return dict(zip((s.index for s in own), group, strict=False)).get(symbol.index)
                if len(group) == len(own) == 1:
                    return group[0]
            fit = fits[symbol.index]
            if len(fit) == 1 and claims[next(iter(fit))] == 1:
                return next(iter(fit))
            alone = len(candidates) == 1 and len(mine) == 1
            if alone and not _users(self._firmware, candidates[0].address, candidates[0].size):
                return candidates[0]
            if alone:
                return candidates[0]
            listed = ", ".join(
                f"{c.name} at {c.address:#010x} used by "
                f"{', '.join(sorted(_users(self._firmware, c.address, c.size))) or '?'}"
                for c in candidates
            )
            raise LinkError(
                f"{self._object.name}: which live variable the static {base} of {unit} used by "
                f"{', '.join(sorted(wanted[symbol.index])) or 'nobody'} is, is ambiguous: the firmware has {listed}",
                hint="rename it, or flash the new build",
            )

        return {s.index: partial(settle, s) for s in mine}

    @cached_property
    def _numbered(self) -> dict[tuple[str, str], list[ObjectSymbol]]:
        """The object's function statics by unit and name in the source."""
        found: dict[tuple[str, str], list[ObjectSymbol]] = {}
        sections = self._object.sections
        for s in self._object.symbols:
            placed = s.kind == elf.STT_OBJECT and 0 < s.section < len(sections)
            if placed and "." in s.name and sections[s.section].writable:
                found.setdefault((s.unit, static_name(s.name, clang=self._clang)), []).append(s)
        return found

    def _candidates(self, unit: str) -> dict[str, tuple[Symbol, ...]]:
        """The unit's function statics in the firmware by their names without numbers.

        GCC, which compiles all that can be patched, numbers each of them; a plain name is a file static.
        """
        found = self._bases.get(unit)
        if found is None:
            lists: dict[str, list[Symbol]] = {}
            header = self._firmware.header
            for name, symbol in self.group(unit).items():
                numbered = base_name(name) != name
                if numbered and symbol.kind == "object" and header.ram_start <= symbol.address < header.ram_end:
                    lists.setdefault(base_name(name), []).append(symbol)
            found = self._bases[unit] = {name: tuple(group) for name, group in lists.items()}
        return found


@lru_cache(maxsize=256)
def _telling(firmware: Firmware, candidates: tuple[Symbol, ...]) -> dict[str, Symbol]:
    """Users of one candidate only: a function that inlined the owners of several does not tell them apart."""
    owners = {c: _users(firmware, c.address, c.size) for c in candidates}
    count = Counter(name for group in owners.values() for name in group)
    return {name: c for c, group in owners.items() for name in group if count[name] == 1}


def _users(firmware: Firmware, address: int, size: int) -> frozenset[str]:
    return frozenset(function_name(user.name) for user in firmware.users(address, size))
