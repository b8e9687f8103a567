"""Which edits are live on top of a build: the journal of the project's store.

The device is the authority, the journal knows the names. It is kept by unit, since pushing an object
says what the whole unit is to be: one :class:`UnitEdits` for each unit that differs from the base
image, with the object that brings it there.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

VERSION = 1
"""Version of the file's layout."""

Key = tuple[int, int]
"""(ident, hash): what a slot of the device is known by."""


Label = tuple[str, str]
"""What a slot is called, and the unit or the archive's member that it is from."""


@dataclass(frozen=True)
class Edit:
    """One version of one function."""

    function: str
    ident: int
    hash: int

    @property
    def key(self) -> Key:
        """Identity and content."""
        return (self.ident, self.hash)


@dataclass(frozen=True)
class UnitEdits:
    """What one object changed in its unit."""

    unit: str
    """STT_FILE name."""
    object: str
    """SHA-256 of the object, the name of its copy in the store."""
    source: str
    """Path that it was pushed from."""
    generation: int
    """Generation in which it went live."""
    edits: tuple[Edit, ...]

    def only(self, keep: Collection[Key]) -> UnitEdits:
        """The same with those edits alone."""
        return replace(self, edits=tuple(edit for edit in self.edits if edit.key in keep))

    def without(self, idents: Collection[int]) -> UnitEdits:
        """The same without edits of those functions."""
        return replace(self, edits=tuple(edit for edit in self.edits if edit.ident not in idents))

    @property
    def keys(self) -> set[Key]:
        """The keys of all edits."""
        return {edit.key for edit in self.edits}


@dataclass
class Journal:
    """The live edits of a build, what a rollback would bring back, and what a reset took."""

    live: list[UnitEdits] = field(default_factory=list)
    """What the device ran when it was last asked."""
    previous: list[UnitEdits] = field(default_factory=list)
    """What it ran a generation before."""
    lost: list[UnitEdits] = field(default_factory=list)
    """What was live and went with a reset, until it is sent again, replaced or given up."""
    pending: list[UnitEdits] = field(default_factory=list)
    """What a commit that is under way will make live: this process may die right after it."""
    older: list[UnitEdits] = field(default_factory=list)
    """Earlier versions that the device still has, because calls of them are under way: they have names, too."""
    labels: dict[str, Label] = field(default_factory=dict)
    """Names of slots, by :func:`~hotflash.live.slot_key`: helpers, clones and constants have no symbol that says it."""
    boot_count: int | None = None
    """The device's count of resets when `live` was true; None: never seen."""
    generation: int = 0
    """The device's generation when `live` was true."""

    @property
    def objects(self) -> set[str]:
        """Objects that are needed, by name."""
        return {entry.object for entry in self.known}

    @property
    def known(self) -> tuple[UnitEdits, ...]:
        """All entries, those that most likely tell what a slot is first."""
        return (*self.live, *self.pending, *self.previous, *self.lost, *self.older)

    def find(self, key: Key) -> tuple[UnitEdits, Edit] | None:
        """The edit that a slot is known as, with its unit."""
        for entry in self.known:
            for edit in entry.edits:
                if edit.key == key:
                    return entry, edit
        return None

    def is_reset(self, boot_count: int, generation: int) -> bool:
        """Whether the device was reset since it was last asked."""
        return self.boot_count is not None and (boot_count != self.boot_count or generation < self.generation)

    def observe(
        self, boot_count: int, generation: int, bound: Iterable[Key], present: Collection[Key] = frozenset()
    ) -> bool:
        """Takes in what the device runs: the keys of its bound slots, and of all. True: the journal changed.

        What was live before a reset and is not bound now becomes lost. Without a reset the device is
        simply right: another host may have reverted an edit, or this one died after a commit.
        """
        keys = set(bound)
        before = self._copy()
        known = [*self.pending, *self.live, *self.previous, *self.lost]
        live: list[UnitEdits] = []
        taken: set[Key] = set()
        # Entries that are live as a whole first, the largest before those that they contain.
        whole = sorted((entry for entry in known if entry.edits and entry.keys <= keys), key=lambda e: -len(e.edits))
        partly = [entry.only(keys) for entry in known]
        for entry in (*whole, *partly):
            rest = entry.only(entry.keys - taken)
            if rest.edits:
                live.append(rest)
                taken |= rest.keys
        if self.is_reset(boot_count, generation):
            gone = [entry.only(entry.keys - keys) for entry in self.live]
            self.lost += [entry for entry in gone if entry.edits]
            self.previous, self.older = [], []
        elif generation != self.generation and _all_keys(live) != _all_keys(self.live):
            self.older += self.previous
            self.previous = self.live
        self.older = _unlike((entry.only(present) for entry in self.older), _all_keys([*live, *self.previous]))
        self.live = sorted(live, key=lambda entry: (entry.unit, entry.object))
        self._drop_lost({ident for ident, _ in keys})
        self.pending = []
        self.boot_count = boot_count
        self.generation = generation
        return before != self._copy()

    def _copy(self) -> tuple[object, ...]:
        """What tells whether something changed."""
        lists = (list(self.live), list(self.lost), list(self.pending), list(self.older))
        return (*lists, self.boot_count, self.generation)

    def _drop_lost(self, idents: Collection[int]) -> None:
        self.lost = [entry for entry in (entry.without(idents) for entry in self.lost) if entry.edits]

    def prepare(self, pushed: Sequence[Pushed]) -> None:
        """Notes what a commit is about to make live. Save the journal before the commit."""
        self.pending = self._after(pushed, self.generation + 1)

    def label(self, new: Mapping[str, Label], in_use: Collection[str]) -> None:
        """Takes in names of slots that are to come, and forgets those of slots that are gone."""
        self.labels = {key: label for key, label in self.labels.items() if key in in_use} | dict(new)

    def commit(self, pushed: Sequence[Pushed], generation: int) -> None:
        """Notes that the commit went through."""
        after = self._after(pushed, generation)
        self.older += self.previous
        self.previous, self.live, self.pending = self.live, after, []
        self.settle(pushed)
        self.generation = generation

    def settle(self, pushed: Sequence[Pushed]) -> None:
        """Forgets lost edits that objects which were pushed have answered, by a change or by none."""
        self._drop_lost({ident for entry in pushed for ident in entry.defined})

    def _after(self, pushed: Sequence[Pushed], generation: int) -> list[UnitEdits]:
        carried = {edit.ident: edit for entry in self.live for edit in entry.edits}
        after = []
        for entry in pushed:
            edits = {ident: carried[ident] for ident in entry.defined if ident in carried}
            for ident in entry.reverted:
                edits.pop(ident, None)
            edits.update({edit.ident: edit for edit in entry.edits})
            if edits:
                after.append(UnitEdits(entry.unit, entry.object, entry.source, generation, tuple(edits.values())))
        answered = {ident for entry in pushed for ident in (*entry.defined, *entry.reverted)}
        answered |= {edit.ident for entry in pushed for edit in entry.edits}
        others = [entry.without(answered) for entry in self.live]
        return sorted([*after, *(entry for entry in others if entry.edits)], key=lambda e: (e.unit, e.object))

    def dump(self) -> bytes:
        """The file's content."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1).encode()

    @classmethod
    def parse(cls, data: bytes) -> Journal:
        """Reads the file's content; ValueError when it is damaged."""
        try:
            value = json.loads(data)
            if value["version"] != VERSION:
                raise ValueError(f"its layout is version {value['version']!r}, not {VERSION}")  # noqa: TRY301
            journal = cls(
                **{name: [_unit(entry) for entry in value[name]] for name in ("live", "previous", "lost", "pending")},
                older=[_unit(entry) for entry in value.get("older", ())],
                boot_count=None if value["boot_count"] is None else _number(value["boot_count"]),
                generation=_number(value["generation"]),
                labels={
                    _string(key): (_string(name), _string(unit))
                    for key, (name, unit) in value.get("labels", {}).items()
                },
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        return journal


@dataclass(frozen=True)
class Pushed:
    """What a push says about one unit."""

    unit: str
    object: str
    source: str
    defined: frozenset[int]
    """Idents of all functions that the object defines."""
    edits: tuple[Edit, ...] = ()
    """Functions that it changes or adds."""
    reverted: frozenset[int] = frozenset()
    """Idents of functions that go back to the base image."""


def _unlike(entries: Iterable[UnitEdits], taken: set[Key]) -> list[UnitEdits]:
    """Entries with what is not taken, nothing twice."""
    found = []
    for entry in entries:
        rest = entry.only(entry.keys - taken)
        if rest.edits:
            found.append(rest)
            taken |= rest.keys
    return found


def _all_keys(entries: Iterable[UnitEdits]) -> set[Key]:
    return {key for entry in entries for key in entry.keys}


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no number")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")  # noqa: TRY004 (a damaged file, not a caller's mistake)
    return value


def _unit(value: dict[str, Any]) -> UnitEdits:
    name = _string(value["object"])
    if not re.fullmatch(r"[0-9a-f]{64}", name):
        raise ValueError(f"{name!r} is no SHA-256")
    edits = tuple(
        Edit(_string(edit["function"]), _number(edit["ident"]), _number(edit["hash"])) for edit in value["edits"]
    )
    return UnitEdits(_string(value["unit"]), name, _string(value["source"]), _number(value["generation"]), edits)
