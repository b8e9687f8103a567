"""What the operations of a session return."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hotflash.link.model import Helper
    from hotflash.session.faults import FaultReport


@dataclass(frozen=True)
class FunctionChange:
    """What a push does with one function."""

    function: str
    unit: str
    action: str
    """``replace``, ``revert`` (back to the base image) or ``new``."""
    size: int
    """Bytes of the new version; 0 for a revert."""
    reason: str
    """Why, for people; may be empty."""


@dataclass(frozen=True)
class LostEdit:
    """An edit that was live and is not any more."""

    function: str
    unit: str
    source: str
    """Object that it was pushed from."""


@dataclass(frozen=True)
class Stages:
    """How long each stage took, in milliseconds."""

    read: float = 0.0
    """Asking the device what it runs, reading ELF and objects."""
    link: float = 0.0
    wire: float = 0.0
    commit: float = 0.0


@dataclass(frozen=True)
class PushReport:
    """The answer to a push."""

    state: str
    """``live``, ``waiting`` (it is live, but takes effect with a restart: see ``waiting``) or ``unchanged``."""
    objects: tuple[str, ...]
    changes: tuple[FunctionChange, ...]
    unchanged: int
    """Functions of the objects that are live as they are."""
    size: int
    """Linked bytes: what was sent as code and data."""
    generation: int
    """The live generation."""
    mode: str
    """``now`` or ``safe``."""
    masked: int
    """Instructions that the device executed with interrupts masked."""
    wire_tx: int
    """Bytes sent, framing included."""
    wire_rx: int
    """Bytes received, framing included, while pushing."""
    milliseconds: Stages
    notes: tuple[str, ...]
    lost: tuple[LostEdit, ...]
    """Edits that a reset of the board took and that are still not live."""
    helpers: tuple[Helper, ...] = ()
    """What came along from archives, and why."""
    waiting: tuple[str, ...] = ()
    """Functions that run in their old version and never return: `restart` calls the new one."""
    trial: int = 0
    """Seconds in which it has to be confirmed; 0: it stays."""


@dataclass(frozen=True)
class PlacedSlot:
    """One function, constant, variable or entry stub, and where it is."""

    name: str
    section: str
    """Section name, as in the object."""
    kind: str
    """``code``, ``const``, ``stub`` or ``var``."""
    address: int
    """0 where nothing is placed."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class TypeChange:
    """What becomes of a signature, a layout or a live variable."""

    kind: str
    """``signature``, ``layout`` or ``variable``."""
    name: str
    old: str
    new: str
    """Canonical texts: how it is called, what it consists of, or its type."""
    steps: tuple[str, ...] = ()
    """What happens to each part, in words."""


@dataclass(frozen=True)
class FieldRow:
    """One part of a layout, on both sides."""

    name: str
    old: str
    """Offset, size and type; empty: it is not there."""
    new: str
    action: str
    """``kept``, ``moved``, ``widened``, ``added``, ``dropped``, ``narrowed`` or ``retyped``; empty: there is one side
    only."""


@dataclass(frozen=True)
class LayoutReport:
    """A type, on one side or on both."""

    name: str
    what: str
    """``struct``, ``union``, ``enum``, ``variable`` or ``function``."""
    units: tuple[str, ...]
    """Source files of the application that know it so."""
    old_size: int | None
    """Bytes in the application; None: it is not there."""
    new_size: int | None
    """Bytes in the object."""
    rows: tuple[FieldRow, ...]


@dataclass(frozen=True)
class TypesReport:
    """What a name stands for."""

    name: str
    elf: str
    objects: tuple[str, ...]
    layouts: tuple[LayoutReport, ...]


@dataclass(frozen=True)
class DiffReport:
    """What a push would send."""

    state: str
    """``changed`` or ``unchanged``; ``refused`` when a push would be, for its types."""
    objects: tuple[str, ...]
    against: str
    """What they were compared with, in words."""
    elf: str
    build_id: bytes
    changes: tuple[FunctionChange, ...]
    unchanged: int
    """Functions of the objects that would not go."""
    size: int
    """Bytes that would be linked and sent as code and data."""
    slots: tuple[PlacedSlot, ...]
    """What would be allocated."""
    notes: tuple[str, ...]
    helpers: tuple[Helper, ...]
    types: tuple[TypeChange, ...] = ()
    refusal: str = ""
    """Why a push would be refused for its types."""
    hint: str = ""


@dataclass(frozen=True)
class Binding:
    """A word of the hook table that makes a function live."""

    function: str
    address: int
    """Of the word."""
    value: int
    """What it has to hold, Thumb bit included."""


@dataclass(frozen=True)
class LinkReport:
    """What was linked without a device, or read off one, and written."""

    path: str
    format: str
    """``elf``, ``hex`` or ``bin``."""
    elf: str
    """Of the application."""
    build_id: bytes
    generation: int
    """Live generation; 0 for a link without a device."""
    address: int
    """Of the first byte."""
    size: int
    """Bytes of code and data."""
    slots: tuple[PlacedSlot, ...]
    bindings: tuple[Binding, ...]
    notes: tuple[str, ...]
    helpers: tuple[Helper, ...]


@dataclass(frozen=True)
class FlashReport:
    """The answer to a programmed image."""

    board: str
    build_id: bytes
    elf: str
    size: int
    """Bytes of the image."""
    hooks: int
    """Patch points."""
    milliseconds: float
    dropped_edits: tuple[LostEdit, ...]
    """Edits that were live before."""


@dataclass(frozen=True)
class ExportReport:
    """What was written for other programmers."""

    path: str
    format: str
    board: str
    build_id: bytes
    base: int
    """Address of the image's first byte."""
    size: int
    """Bytes of the application image."""
    with_bootloader: bool


@dataclass(frozen=True)
class Heap:
    """A heap of the device."""

    name: str
    base: int
    size: int
    """Bytes."""
    free: int
    """Bytes."""

    @property
    def used(self) -> int:
        """Bytes."""
        return self.size - self.free


@dataclass(frozen=True)
class StatusReport:
    """What the device says of itself, with what the project knows."""

    port: str
    board: str
    monitor: str
    """Version of the bootloader."""
    wire: int
    """Version of the wire protocol."""
    abi: str
    core: str
    application: str
    """``running``, ``parked``, ``waiting`` (the bootloader waits for `flash`), ``plain`` or ``none``."""
    build_id: bytes
    elf: str
    """Path that the build was flashed from; empty: the store does not know the build."""
    generation: int
    undo: bool
    """Whether there is a generation to go back to."""
    trial: float
    """Seconds until the board takes the live generation back unless it is confirmed; 0: it is not on trial."""
    boot_count: int
    uptime: float
    """Seconds, wraps after 71 minutes."""
    heaps: tuple[Heap, ...]
    hooks_bound: int
    hooks: int
    hook_capacity: int
    edits: tuple[LostEdit, ...]
    """Edits that are live."""
    lost: tuple[LostEdit, ...]
    protection: tuple[str, ...]
    """What the MPU protects: ``heap``, ``hooks``, ``flash`` (read-only), ``ram`` (not executable), ``stack`` (guarded);
    ``taken``: the application has settings of its own."""
    counters: dict[str, int]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class SlotReport:
    """One slot of the code heap."""

    handle: int
    kind: str
    function: str
    """Empty where nobody knows."""
    unit: str
    address: int
    size: int
    """Bytes of payload."""
    generation: int
    references: int
    held_by: tuple[str, ...]
    """In words: hook, undo record, frame, open transaction, other slots; nothing: free to go."""
    hash: str


@dataclass(frozen=True)
class SlotsReport:
    """All slots."""

    generation: int
    slots: tuple[SlotReport, ...]
    heap: Heap


@dataclass(frozen=True)
class RollbackReport:
    """The answer to a rollback."""

    generation: int
    masked: int
    edits: tuple[LostEdit, ...]
    """What is live now."""


@dataclass(frozen=True)
class Call:
    """A function under way."""

    depth: int
    """0: the innermost."""
    address: int
    """Of the instruction that runs next."""
    function: str
    """Empty where nobody knows."""
    place: str
    """Function, offset, and the unit or generation; empty where nobody knows."""
    file: str
    """Source file as the compiler was given it; empty where nobody knows."""
    line: int
    generation: int
    """In which that version went live; 0: the base image."""
    slot: int | None
    """Handle of the slot that it runs in; None: in flash."""
    exception: str
    """The exception that it is the handler of, else empty."""


@dataclass(frozen=True)
class Backtrace:
    """The calls under way, innermost first."""

    calls: tuple[Call, ...]
    end: str
    """Why there are no more, in words; empty: the program began there."""
    thread: str = ""
    """Whose calls they are, in words: a stack's, or a handler's."""

    @property
    def lines(self) -> tuple[str, ...]:
        """For people, a line a call."""
        found = []
        for call in self.calls:
            source = f"  {call.file}:{call.line}" if call.file else ""
            name = call.place or "?"
            found.append(f"#{call.depth:<2} {call.address:#010x} {name}{source}")
            if call.exception:
                found.append(f"--- {call.exception}, which interrupted")
        if self.end:
            found.append(f"--- {self.end}")
        return tuple(found)


@dataclass(frozen=True)
class ParkReport:
    """Why and where the application was parked last."""

    parked: bool
    """Whether it still is; False: a record of the past."""
    reason: str
    """``asked``, ``attention``, ``fault`` or ``watchdog``."""
    final: bool
    """It cannot be continued, only restarted or reset."""
    generation: int
    """Live then."""
    boot: int
    """The boot count then."""
    text: str
    """The reason for people, in a line."""
    report: FaultReport


@dataclass(frozen=True)
class RestartReport:
    """The answer to a restart."""

    generation: int
    main: int
    """Address of the static entry of main; the newest version of it runs."""


@dataclass(frozen=True)
class ConfirmReport:
    """The answer to a confirmation."""

    generation: int
    trial: bool
    """Whether a trial was under way."""


@dataclass(frozen=True)
class ReinitReport:
    """Variables that have their initial values again."""

    variables: tuple[str, ...]
    bytes: int
    parked: bool
    """The application stands still, as it did before."""
    restarted: bool


@dataclass(frozen=True)
class GcReport:
    """What the masked collection freed."""

    freed: int
    """Slots."""
    bytes: int
    stall_us: int
    """Microseconds with interrupts masked."""
    longest_us: int
    """The most since boot."""


@dataclass(frozen=True)
class ReadReport:
    """A value that was read."""

    name: str
    address: int
    length: int
    """Bytes."""
    type: str
    """C name; empty for plain memory."""
    data: bytes
    text: str
    """For people."""
    value: Any
    """For programs: numbers, texts, lists, objects by field."""


@dataclass(frozen=True)
class WriteReport:
    """A value that was written."""

    name: str
    address: int
    type: str
    old: str
    new: str


def to_json(value: Any) -> Any:
    """Makes a report fit for :func:`json.dumps`: bytes become hexadecimal."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value
