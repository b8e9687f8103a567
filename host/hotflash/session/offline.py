"""Linking, comparing and writing out: what the linker does for people instead of for a push."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from hotflash.errors import FitError, HotflashError, RefusedError, UsageError
from hotflash.session.results import Binding, DiffReport, FunctionChange, LinkReport, PlacedSlot
from hotflash.store import atomic_write
from hotflash.wire.messages import SlotFlag, SlotKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hotflash.journal import Journal, Key, UnitEdits
    from hotflash.link import Plan
    from hotflash.link.model import Target
    from hotflash.link.output import Placed
    from hotflash.link.virtual import VirtualDevice
    from hotflash.live import LiveState
    from hotflash.session.core import Session
    from hotflash.settings import Settings
    from hotflash.store import Store
    from hotflash.wire.messages import Slot

FORMATS: Final = {".elf": "elf", ".hex": "hex", ".ihex": "hex", ".ihx": "hex", ".bin": "bin"}
_START = 1 << 16
"""Bytes that a link without a device is first planned for; doubled until it fits."""
_LARGEST = 1 << 24
_DIFF_HEAP = 256 << 10
"""Bytes of code heap that a comparison assumes behind the hook table: it decides about veneers, nothing else."""
_GAP = 1 << 20
"""Bytes that a plain binary may hold between two parts."""


def load_objects(paths: Sequence[str | Path]) -> list[ObjectFile]:
    """Object files, each once."""
    return [ObjectFile.load(path) for path in dict.fromkeys(Path(entry) for entry in paths)]


def base_firmware(settings: Settings, store: Store) -> Firmware:
    """The application that the settings name, else the one that was flashed or exported last."""
    if settings.elf is not None:
        kept = store.index_for(settings.elf) if store.root.is_dir() else None
        return Firmware.load(settings.elf, index=kept)
    builds = store.builds()
    if not builds:
        raise UsageError("no application to link against", hint="name its ELF with --elf, or flash it first")
    return Firmware.load(builds[0].elf, index=builds[0].index)


# --------------------------------------------------------------------------------------------- link


def link(
    settings: Settings,
    store: Store,
    objects: Sequence[str | Path],
    output: Path,
    *,
    address: int,
    data_address: int | None = None,
    changed: bool = False,
) -> LinkReport:
    """Links objects against an application at ``address`` on and writes them as ELF, HEX or plain binary.

    New variables go to ``data_address`` on, else behind the code. With ``changed`` only what a push to a board on
    its base image would send is linked. Nothing is written when that fails.
    """
    from hotflash.link import plan as make_plan
    from hotflash.link.output import placed
    from hotflash.link.virtual import ALIGN, VirtualDevice
    from hotflash.toolchain import Archives

    file_format = _format(output)
    if address % ALIGN:
        raise UsageError(f"{address:#x} is not a multiple of {ALIGN}, as addresses of slots are")
    firmware = base_firmware(settings, store)
    loaded = load_objects(objects)
    archives = Archives(settings.toolchain, settings.libc, settings.archives)
    size = _START
    while True:
        device = VirtualDevice(firmware, address, size, data_address)
        plan = make_plan(loaded, firmware, device.live, archives, whole=not changed)
        _check_hooks(plan, device)
        linked = device.commit(plan)
        if device.used <= size:
            break
        size *= 2
        if size > _LARGEST or address + device.used > 1 << 32:
            raise FitError(f"{device.used:,} bytes at {address:#010x} reach beyond what branches and addresses can")
    if plan.empty:
        raise RefusedError(
            "nothing to link: every function of the objects is in the application as it is"
            if changed
            else "nothing to link: the objects have no functions",
            hint="without --changed everything is linked" if changed else None,
        )
    parts = placed(plan, linked.image)
    _write(output, file_format, parts, plan, firmware)
    names = {slot.ordinal: slot.where for slot in plan.slots}
    hook_base = device.hello.hook_base
    bindings = [
        Binding(names[pair.target - 1], hook_base + 4 * pair.hook, device.hooks[pair.hook])
        for pair in linked.pairs
        if pair.target
    ]
    return LinkReport(
        path=str(output),
        format=file_format,
        elf=str(firmware.path),
        build_id=firmware.build_id,
        generation=0,
        address=min(part.address for part in parts),
        size=sum(part.size for part in parts),
        slots=tuple(_slot(part, slot.kind, slot.where) for part, slot in zip(parts, plan.slots, strict=True)),
        bindings=tuple(bindings),
        notes=plan.notes,
        helpers=plan.helpers,
    )


def _check_hooks(plan: Plan, device: VirtualDevice) -> None:
    stubs = sum(request.kind == SlotKind.STUB for request in plan.requests)
    spare = device.hello.hook_capacity - device.hello.hook_count
    if stubs > spare:
        raise FitError(f"{stubs} new functions need a hook each, the hook table has {spare} to spare")


def _slot(part: Placed, kind: int, name: str) -> PlacedSlot:
    return PlacedSlot(name, part.name, SlotKind(kind).name.lower(), part.address, part.size)


def _format(output: Path) -> str:
    found = FORMATS.get(output.suffix.lower())
    if found is None:
        raise UsageError(f"{output}: its ending does not tell the format", hint=f"one of {', '.join(FORMATS)}")
    return found


def _write(output: Path, file_format: str, parts: Sequence[Placed], plan: Plan, firmware: Firmware) -> None:
    from hotflash.link.output import write

    if file_format == "elf":
        data = write(parts, plan.views, firmware.container.flags)
    else:
        data = _flat(output, file_format, parts)
    _save(output, data)


def _save(output: Path, data: bytes) -> None:
    try:
        atomic_write(output, data)
    except HotflashError as error:
        raise UsageError(error.message, hint=error.hint) from error


def _flat(output: Path, file_format: str, parts: Sequence[Placed]) -> bytes:
    """Contents by address; variables that start as zeros included."""
    import io

    pieces = sorted((part.address, part.data or bytes(part.size)) for part in parts)
    if file_format == "hex":
        from intelhex import IntelHex

        content = IntelHex()
        for address, data in pieces:
            content.puts(address, data)
        text = io.StringIO()
        content.write_hex_file(text)
        return text.getvalue().encode()
    image = bytearray()
    start = pieces[0][0]
    for address, data in pieces:
        if address - start - len(image) > _GAP:
            raise UsageError(
                f"{output}: a plain binary cannot hold both {start:#010x} and {address:#010x}",
                hint="write .hex or .elf, or place data behind the code",
            )
        image += bytes(address - start - len(image))
        image += data
    return bytes(image)


# --------------------------------------------------------------------------------------------- diff


def diff(
    settings: Settings,
    store: Store,
    objects: Sequence[str | Path],
    *,
    base: bool = False,
    renames: Mapping[str, str] | None = None,
    reinit: Sequence[str] | None = None,
) -> DiffReport:
    """What a push of the objects would send: against what the journal says is live, or the base image.

    ``renames`` (new names of members by old ones) and ``reinit`` (variables) are what is stated about migrations.

    The journal's objects are pushed to a device that exists in numbers alone, so that the comparison is the one
    that a push makes; what a reset has taken since is not known here.
    """
    from hotflash.link import plan as make_plan
    from hotflash.link.output import section_name
    from hotflash.link.virtual import VirtualDevice
    from hotflash.session.checked import checked_plan
    from hotflash.session.layouts import type_changes
    from hotflash.toolchain import Archives

    if not objects:
        raise UsageError("no object files to compare")
    firmware = base_firmware(settings, store)
    loaded = load_objects(objects)
    archives = Archives(settings.toolchain, settings.libc, settings.archives)
    header = firmware.header
    heap = -(-(header.hook_base + 4 * header.hook_capacity) // 32) * 32
    device = VirtualDevice(firmware, heap, _DIFF_HEAP)
    notes: list[str] = []
    against = "the base image"
    live: list[ObjectFile] = []
    if not base:
        live = _journalled(store, firmware.build_id, notes)
        for obj in live:
            device.commit(make_plan([obj], firmware, device.live, archives))
        if live:
            against = f"what the journal says is live: edits of {', '.join(Path(obj.name).name for obj in live)}"
    plan, verdict = checked_plan(
        loaded, firmware, device.live, archives, lambda: live, renames=renames, reinit=reinit or ()
    )
    refusal = verdict.refusal
    report = DiffReport(
        state="refused",
        objects=tuple(obj.name for obj in loaded),
        against=against,
        elf=str(firmware.path),
        build_id=firmware.build_id,
        changes=(),
        unchanged=0,
        size=0,
        slots=(),
        notes=tuple(notes),
        helpers=(),
        types=type_changes(verdict),
        refusal=refusal.message if refusal is not None else "",
        hint=(refusal.hint or "") if refusal is not None else "",
    )
    if plan is None:
        return report
    linked = device.commit(plan)
    return replace(
        report,
        state="refused" if refusal is not None else "unchanged" if plan.empty else "changed",
        changes=tuple(FunctionChange(c.function, c.unit, c.action, c.size, c.reason) for c in plan.changes),
        unchanged=plan.unchanged,
        size=len(linked.image),
        slots=tuple(
            PlacedSlot(s.where, section_name(s.kind, s.where, s.pieces), SlotKind(s.kind).name.lower(), 0, s.size)
            for s in plan.slots
        ),
        notes=(*notes, *plan.notes),
        helpers=plan.helpers,
    )


def _journalled(store: Store, build_id: bytes, notes: list[str]) -> list[ObjectFile]:
    """The stored objects of the live edits, in the order that they went live."""
    try:
        journal = store.journal(build_id)
    except ValueError as error:
        notes.append(f"the journal of live edits is damaged ({error}): compared with the base image")
        return []
    if journal.lost:
        names = ", ".join(dict.fromkeys(edit.function for entry in journal.lost for edit in entry.edits))
        notes.append(f"not live any more since a reset, and not counted: {names}")
    return stored_objects(store, build_id, journal.live)


def stored_objects(store: Store, build_id: bytes, entries: Sequence[UnitEdits]) -> list[ObjectFile]:
    """The stored objects of edits, in the order that they went live."""
    found = []
    for entry in sorted({e.object: e for e in entries}.values(), key=lambda e: e.generation):
        path = store.object_path(build_id, entry.object)
        try:
            found.append(ObjectFile.parse(path.read_bytes(), entry.source))
        except OSError as error:
            raise HotflashError(
                f"{path}: the stored copy of {entry.source} cannot be read: {error.strerror or error}",
                hint=f"push it again: `hotflash push {entry.source}`",
            ) from None
    return found


# --------------------------------------------------------------------------------------------- live


def export_live(session: Session, output: Path) -> LinkReport:
    """Writes the live generation as an ELF: the device's own bytes, with the stored objects' names and lines.

    Refused when another generation goes live meanwhile.
    """
    from hotflash.link import locate
    from hotflash.link.output import write

    if _format(output) != "elf":
        raise UsageError(f"{output}: what is live is written as an ELF", hint="name it *.elf")
    session.require_application()
    live = session.device.live()
    journal = session.observe(live.slots)
    firmware = session.firmware
    objects = stored_objects(session.store, live.hello.build_id, journal.live)
    found, views, notes = locate(objects, firmware, live, session.archives)
    parts: list[Placed] = []
    shown: list[PlacedSlot] = []
    written: set[int] = set()
    names = session.names(journal)
    for slot in live.slots:
        held = found.get(slot.handle)
        bound = slot.flags & SlotFlag.BOUND and slot.hook <= live.hello.hook_count
        if held is None and not bound:
            continue  # of the generation before, or a new function's that nothing refers to any more
        if held is None:
            what = names.slot(slot).function or f"slot {slot.handle}"
            notes.append(f"{what} at {slot.address:#010x} is live, but no stored object has it: written without names")
        part, name = _live_part(session, slot, held or [], names.slot(slot).function or f"slot{slot.handle}")
        parts.append(part)
        shown.append(_slot(part, slot.kind, name))
        written.add(slot.handle)
    if session.device.refresh().generation != live.hello.generation:
        raise RefusedError("another generation went live meanwhile; nothing was written", hint="try again")
    if not parts:
        raise RefusedError("no edit is live: the board runs the base image", hint=f"its ELF is {firmware.path}")
    _save(output, write(parts, views, firmware.container.flags))
    return LinkReport(
        path=str(output),
        format="elf",
        elf=str(firmware.path),
        build_id=firmware.build_id,
        generation=live.hello.generation,
        address=min(part.address for part in parts),
        size=sum(part.size for part in parts),
        slots=tuple(shown),
        bindings=tuple(
            Binding(names.slot(slot).function, live.hello.hook_base + 4 * (slot.hook - 1), live.hooks[slot.hook - 1])
            for slot in live.slots
            if slot.handle in written and slot.flags & SlotFlag.BOUND and slot.hook - 1 in live.hooks
        ),
        notes=tuple(notes),
        helpers=(),
    )


def _live_part(session: Session, slot: Slot, held: Sequence[Target], name: str) -> tuple[Placed, str]:
    """A live slot with the device's bytes, and what it holds."""
    from hotflash.link.model import Piece
    from hotflash.link.output import Label, Placed, section_flags, section_name

    pieces = [target for target in held if isinstance(target, Piece)]
    name = held[0].name if held else name
    code, writable = slot.kind in (SlotKind.CODE, SlotKind.STUB), slot.kind == SlotKind.VAR
    # A variable's value changes while it is read; debuggers read it off the target.
    data = b"" if writable else session.device.read(slot.address, slot.length)
    label = f"{name}.entry" if slot.kind == SlotKind.STUB else name
    labels = [] if pieces else [Label(label, 0, slot.length)]
    flags = section_flags(code=code, writable=writable)
    section = section_name(slot.kind, name, pieces)
    return Placed(section, slot.address, data, slot.length, flags, pieces, labels), name


def stored_by_key(store: Store, build_id: bytes, journal: Journal) -> dict[Key, list[tuple[str, ObjectFile]]]:
    """The stored objects that the journal knows, with their names, by what slots made of them are known by."""
    found: dict[Key, list[tuple[str, ObjectFile]]] = {}
    read: dict[str, ObjectFile] = {}
    for entry in journal.known:
        with contextlib.suppress(OSError, HotflashError):
            if entry.object not in read:
                data = store.object_path(build_id, entry.object).read_bytes()
                read[entry.object] = ObjectFile.parse(data, entry.source)
            for key in entry.keys:
                found.setdefault(key, []).append((entry.object, read[entry.object]))
    return found


def with_debug(
    session: Session, firmware: Firmware, live: LiveState, objects: Sequence[ObjectFile]
) -> tuple[bytes, set[int]]:
    """An ELF of the slots that ``live`` leads to, without their bytes: debug information at their addresses.

    Also the handles of the slots that it describes.
    """
    from hotflash.link import locate
    from hotflash.link.model import Piece
    from hotflash.link.output import Placed, section_flags, write

    found, views, _ = locate(objects, firmware, live, session.archives)
    parts = []
    for slot in live.slots:
        pieces = [target for target in found.get(slot.handle, ()) if isinstance(target, Piece)]
        if pieces:
            flags = section_flags(code=slot.kind == SlotKind.CODE, writable=False)
            parts.append(Placed(f".slot{slot.handle}", slot.address, b"", slot.length, flags, pieces, []))
    return write(parts, views, firmware.container.flags), set(found)
