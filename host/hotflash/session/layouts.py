"""Layouts for people: what a name stands for, side by side with what an object makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hotflash.elf.layout import Field, Layout, Shape
from hotflash.errors import UsageError
from hotflash.session.results import FieldRow, LayoutReport, TypeChange, TypesReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hotflash.elf.firmware import Firmware
    from hotflash.settings import Settings
    from hotflash.store import Store
    from hotflash.types.objects import ObjectTypes
    from hotflash.types.pairing import Place
    from hotflash.types.verdict import Verdict

_KINDS = ("struct", "union", "enum")


def type_changes(verdict: Verdict) -> tuple[TypeChange, ...]:
    """What a transaction does to types."""
    from hotflash.types.pairing import migrate

    found = [TypeChange("signature", s.function, s.old, s.new) for s in verdict.signatures]
    for change in verdict.layouts:
        steps = (
            _enumerators(change.old, change.new)
            if change.new.kind == "enum"
            else tuple(step.text for step in migrate(change.old, change.new) if step.action != "kept")
        )
        found.append(TypeChange("layout", change.name, change.old.body, change.new.body, steps))
    for migration in verdict.migrations:
        steps = ("initialised again",) if migration.reinit else tuple(s.text for s in migration.steps)
        found.append(TypeChange("variable", migration.variable, migration.old.text, migration.new.text, steps))
    return tuple(found)


def _enumerators(old: Layout, new: Layout) -> tuple[str, ...]:
    before, after = dict(old.values), dict(new.values)
    return tuple(
        f"{name}: {before.get(name, 'new')} -> {after.get(name, 'gone')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def types(settings: Settings, store: Store, name: str, objects: Sequence[str | Path] = ()) -> TypesReport:
    """What a type, a variable or a function is in the application and in objects.

    Raises UsageError when nothing is called so.
    """
    from hotflash.session.offline import base_firmware, load_objects
    from hotflash.types.objects import ObjectTypes

    firmware = base_firmware(settings, store)
    loaded = [ObjectTypes(obj) for obj in load_objects(objects)]
    found = [
        *_layouts(firmware, loaded, name),
        *_variables(firmware, loaded, name),
        *_functions(firmware, loaded, name),
    ]
    if not found:
        where = f"{firmware.name}{' and the objects' if loaded else ''}"
        raise UsageError(
            f"{where}: no struct, union, enumeration, variable or function is called {name}",
            hint="struct tags, typedefs of structs without a tag, and names of variables and functions are known",
        )
    return TypesReport(name, str(firmware.path), tuple(types.name for types in loaded), tuple(found))


def _layouts(firmware: Firmware, objects: Sequence[ObjectTypes], name: str) -> Iterator[LayoutReport]:
    from hotflash.types.users import BaseUsers

    base = BaseUsers(firmware)
    names = [name] if name.partition(" ")[0] in _KINDS else [name, *(f"{kind} {name}" for kind in _KINDS)]
    for full in names:
        every = [known for known in firmware.debug.layouts(full) if known.complete]
        mine = (types.layouts.get(full) for types in objects)
        new = next((known.layout for known in mine if known is not None and known.complete), None)
        for digest in dict.fromkeys(known.hash for known in every):
            same = [known for known in every if known.hash == digest]
            units = tuple(dict.fromkeys(Path(known.unit).name for known in same))
            old = base.layout(same[0])
            yield LayoutReport(full, old.kind, units, old.size, new.size if new else None, _rows(old, new))
        if not every and new is not None:
            yield LayoutReport(full, new.kind, (), None, new.size, _rows(None, new))


def _variables(firmware: Firmware, objects: Sequence[ObjectTypes], name: str) -> Iterator[LayoutReport]:
    from hotflash.types.users import BaseUsers

    base = BaseUsers(firmware)
    new = next((types.variable(name) for types in objects if name in types.variables), None)
    known = [variable for variable in firmware.debug.named(name) if variable.address is not None]
    for variable in known:
        old = base.shape(variable.entry)
        unit = Path(variable.unit).name
        yield LayoutReport(name, "variable", (unit,), old.size, new.size if new else None, _rows(old, new))
    if not known and new is not None:
        yield LayoutReport(name, "variable", (), None, new.size, _rows(None, new))


def _functions(firmware: Firmware, objects: Sequence[ObjectTypes], name: str) -> Iterator[LayoutReport]:
    new = next((found for types in objects if (found := types.signature(name)) is not None), "")
    known = firmware.debug.functions(name)
    for function in known:
        same = "kept" if new == function.signature else "retyped"
        rows = (FieldRow("signature", function.signature, new, same if new else ""),)
        yield LayoutReport(name, "function", (Path(function.unit).name,), None, None, rows)
    if not known and new:
        yield LayoutReport(name, "function", (), None, None, (FieldRow("signature", "", new, ""),))


def _rows(old: Shape | None, new: Shape | None) -> tuple[FieldRow, ...]:
    from hotflash.types.pairing import migrate

    if old is not None and new is not None:
        if isinstance(old, Layout) and isinstance(new, Layout) and "enum" in (old.kind, new.kind):
            return _values(old, new)
        if isinstance(old, Layout) and isinstance(new, Layout) and old.hash == new.hash:
            return tuple(_row(field, both=True) for field in old.fields)
        return tuple(
            FieldRow(step.field or "value", _place(step.old), _place(step.new), step.action)
            for step in migrate(old, new)
        )
    one = old if old is not None else new
    if not isinstance(one, Layout):
        text = f"{one.size:4}  {one.text}" if one is not None else ""
        return (FieldRow("value", text if old is not None else "", text if old is None else "", ""),)
    if one.kind == "enum":
        return _values(old, new)
    rows = [_row(field, both=False) for field in one.fields]
    return tuple(rows if old is not None else [FieldRow(row.name, "", row.old, "") for row in rows])


def _values(old: Shape | None, new: Shape | None) -> tuple[FieldRow, ...]:
    before = dict(old.values) if isinstance(old, Layout) else {}
    after = dict(new.values) if isinstance(new, Layout) else {}
    rows = []
    for name in sorted(before.keys() | after.keys(), key=lambda n: (before.get(n, after.get(n, 0)), n)):
        one, two = before.get(name), after.get(name)
        action = (
            ""
            if old is None or new is None
            else "kept"
            if one == two
            else "added"
            if one is None
            else ("dropped" if two is None else "retyped")
        )
        rows.append(FieldRow(name, "" if one is None else str(one), "" if two is None else str(two), action))
    return tuple(rows)


def _row(field: Field, *, both: bool) -> FieldRow:
    width = f"{field.type.size:4}" if field.bits is None else f"{field.bits:3}b"
    where = f"{field.offset // 8:4}" if field.offset % 8 == 0 else f"{field.offset // 8:4}.{field.offset % 8}"
    text = f"{where} {width}  {field.type.text}"
    return FieldRow(field.name or "(no name)", text, text if both else "", "kept" if both else "")


def _place(place: Place | None) -> str:
    if place is None:
        return ""
    whole = place.bits % 8 == 0
    where = f"{place.offset // 8:4}" if place.offset % 8 == 0 else f"{place.offset // 8:4}.{place.offset % 8}"
    return f"{where} {place.bits // 8 if whole else place.bits:{4 if whole else 3}}{'' if whole else 'b'}  {place.type}"
