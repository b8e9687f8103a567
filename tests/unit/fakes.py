"""A board and a linker of the same shapes as the real ones, in memory: for what is above them."""

from __future__ import annotations

import hashlib
import queue
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

from hotflash.device import PushResult
from hotflash.elf.object import ObjectFile
from hotflash.errors import AccessError, RefusedError
from hotflash.live import LiveState
from hotflash.session import Session
from hotflash.session.names import defined_functions, global_ident, local_ident
from hotflash.settings import Settings
from hotflash.store import Store
from hotflash.wire.events import Event
from hotflash.wire.messages import (
    BeginRequest,
    CommitMode,
    GcReply,
    Grant,
    HelloFlag,
    HelloReply,
    RollbackReply,
    Slot,
    SlotFlag,
    SlotKind,
    SlotRequest,
    StatusReply,
)

BUILD_ID = bytes(range(20))
RUNNING = HelloFlag.APP_VALID | HelloFlag.APP_HOT | HelloFlag.APP_RUNS
HEAP = 0x20040000


@dataclass(frozen=True)
class FakeSymbol:
    name: str
    unit: str
    address: int
    size: int
    bind: str
    nops: int = 4
    kind: str = "function"


class FakeFirmware:
    """Three functions and no types."""

    path = Path("app.elf")
    build_id = BUILD_ID
    functions = (
        FakeSymbol("f", "a.c", 0x8100, 32, "global"),
        FakeSymbol("g", "a.c", 0x8140, 32, "local"),
        FakeSymbol("main", "main.c", 0x8200, 64, "global"),
    )
    variables = ()
    sites = tuple(
        SimpleNamespace(hook=index, name=function.name, unit=function.unit, address=function.address)
        for index, function in enumerate(functions)
    )

    def read(self, address: int, length: int) -> bytes:
        del address
        return b"\x70\x47" * (length // 2)  # bx lr

    def site_of_hook(self, hook: int) -> SimpleNamespace | None:
        return next((site for site in self.sites if site.hook == hook), None)

    def by_ident(self, ident: int) -> FakeSymbol | None:
        names = {global_ident(f.name) if f.bind == "global" else local_ident(f.unit, f.name): f for f in self.functions}
        return names.get(ident)

    def symbols_near(self, address: int) -> tuple[FakeSymbol, int] | None:
        for function in self.functions:
            if function.address <= address < function.address + function.size:
                return function, address - function.address
        return None


@dataclass
class FakeDevice:
    """What the monitor keeps: generations of bound slots."""

    hello: HelloReply = field(
        default_factory=lambda: HelloReply(
            version=1,
            board="mps2-an386",
            monitor="0.1.0",
            core=0x410FC241,
            build_id=BUILD_ID,
            boot_count=1,
            flags=int(RUNNING),
            abi=0x10000,
            chunk=512,
            credits=4,
            heap_base=HEAP,
            heap_size=4096,
            heap_free=4096,
            data_base=0x20010000,
            data_size=65536,
            data_free=65536,
            hook_base=0x20000000,
            hook_capacity=1024,
            hook_count=3,
        )
    )
    bound: dict[int, Slot] = field(default_factory=dict)
    undo: dict[int, Slot] | None = None
    memory: dict[int, int] = field(default_factory=dict)
    counters: StatusReply = field(default_factory=lambda: StatusReply(uptime=1500000, stack_free=300))
    fail: Exception | None = None
    pushes: list[tuple[CommitMode, float]] = field(default_factory=list)
    listeners: list[Callable[[Event], None]] = field(default_factory=list)
    script: Iterable[Event] = ()
    closed: bool = False

    # ---- state

    def refresh(self, timeout: float = 2.0) -> HelloReply:
        del timeout
        return self.hello

    def status(self) -> StatusReply:
        return replace(self.counters, hooks_bound=len(self.bound))

    def slots(self) -> tuple[Slot, ...]:
        undo = [
            replace(slot, flags=int(SlotFlag.UNDO))
            for ident, slot in (self.undo or {}).items()
            if self.bound.get(ident) != slot
        ]
        return tuple(sorted([*self.bound.values(), *undo], key=lambda slot: slot.handle))

    def live(self) -> LiveState:
        return LiveState(self.hello, self.slots(), {slot.hook - 1: slot.address | 1 for slot in self.bound.values()})

    def _next(self, bound: dict[int, Slot]) -> int:
        self.undo, self.bound = self.bound, bound
        self.hello = replace(self.hello, generation=self.hello.generation + 1, flags=int(RUNNING | HelloFlag.UNDO))
        return self.hello.generation

    def push(
        self,
        begin: BeginRequest,
        link: Callable[[Sequence[Grant]], Any],
        *,
        mode: CommitMode,
        deadline: float,
        trial: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> PushResult:
        assert trial == 0
        if self.fail is not None:
            raise self.fail
        self.pushes.append((mode, deadline))
        base = 1 + 8 * self.hello.generation
        grants = [Grant(HEAP + 32 * (base + n) + 32, base + n, 0) for n in range(len(begin.slots))]
        linked = link(grants)
        if progress is not None:
            progress(len(linked.image), len(linked.image))
        bound = dict(self.bound)
        for pair in linked.pairs:
            bound = {ident: slot for ident, slot in bound.items() if slot.hook != pair.hook + 1}
            if pair.target:
                request, grant = begin.slots[pair.target - 1], grants[pair.target - 1]
                bound[request.ident] = Slot(
                    handle=grant.handle,
                    kind=int(SlotKind.CODE),
                    flags=int(SlotFlag.BOUND),
                    hook=pair.hook + 1,
                    refs=1,
                    address=grant.address,
                    length=request.length,
                    ident=request.ident,
                    hash=request.hash,
                    generation=self.hello.generation + 1,
                )
        return PushResult(self._next(bound), 17, 150, 40, {"begin": 1.0, "link": 0.5, "wire": 2.5, "commit": 0.75})

    def rollback(self, *, base: bool = False) -> RollbackReply:
        if self.undo is None:
            raise RefusedError("there is no generation to go back to")
        return RollbackReply(self._next({} if base else self.undo), 11)

    def reset(self, *, wait: bool = False, mode: int = 0) -> HelloReply:
        del wait
        self.bound, self.undo = {}, None
        flags = RUNNING if mode == 0 else HelloFlag.APP_VALID
        self.hello = replace(self.hello, generation=0, boot_count=self.hello.boot_count + 1, flags=int(flags))
        return self.hello

    def stack(self) -> bytes:
        return bytes(80)  # no exception frame: where it was is lost

    def gc(self) -> GcReply:
        return GcReply(freed=2, bytes=96, stall_us=40)

    # ---- memory

    def read(self, address: int, length: int, *, width: int = 0, peripheral: bool = False) -> bytes:
        del width, peripheral
        if address not in self.memory:
            raise AccessError(f"{address:#010x}: read refused: nothing is mapped at the address")
        return bytes(self.memory.get(address + n, 0) for n in range(length))

    def write(self, address: int, data: bytes, *, width: int = 0, peripheral: bool = False) -> None:
        del width, peripheral
        self.memory.update((address + n, byte) for n, byte in enumerate(data))

    # ---- events

    @property
    def channel(self) -> FakeDevice:
        return self

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        for event in self.script:
            listener(event)
        return lambda: self.listeners.remove(listener)

    def events(self) -> Any:
        waiting: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.subscribe(waiting.put)
        return waiting

    def close(self) -> None:
        self.closed = True


BASE: dict[str, bytes] = {}
"""Content of the base image's functions, by name: what an unedited object compiles to."""


@dataclass(frozen=True)
class FakeChange:
    function: str
    unit: str
    action: str
    size: int
    reason: str = ""


class FakePlan:
    """Compares functions by the bytes of their sections."""

    notes: tuple[str, ...] = ()
    helpers: tuple[object, ...] = ()
    labels: Mapping[str, tuple[str, str]] = MappingProxyType({})
    sent: Mapping[ObjectFile, set[int]] = MappingProxyType({})

    def __init__(self, objects: Sequence[ObjectFile], firmware: FakeFirmware, live: LiveState) -> None:
        hooks = {site.name: site.hook for site in firmware.sites}
        bound = {slot.ident: slot for slot in live.slots if slot.flags & SlotFlag.BOUND}
        requests: list[SlotRequest] = []
        changes: list[FakeChange] = []
        self.pairs: list[SimpleNamespace] = []
        self.unchanged = 0
        self.payload = b""
        for obj in objects:
            for ident, name in defined_functions(obj).items():
                data = bytes(next(section.data for section in obj.sections if section.name == f".text.{name}"))
                content = int.from_bytes(hashlib.sha256(data).digest()[:8], "little")
                is_base = BASE.get(name) == data
                slot = bound.get(ident)
                if (slot is not None and slot.hash == content) or (slot is None and is_base):
                    self.unchanged += 1
                    continue
                hook = hooks.get(name, 100 + len(hooks))
                if is_base:
                    changes.append(FakeChange(name, obj.unit, "revert", 0, "as in the base image"))
                    self.pairs.append(SimpleNamespace(hook=hook, target=0))
                    continue
                requests.append(SlotRequest(kind=int(SlotKind.CODE), length=len(data), ident=ident, hash=content))
                self.pairs.append(SimpleNamespace(hook=hook, target=len(requests)))
                self.payload += data
                changes.append(FakeChange(name, obj.unit, "replace" if name in hooks else "new", len(data)))
        self.requests = tuple(requests)
        self.changes = tuple(changes)
        self.pair_count = len(self.pairs)
        self.empty = not changes

    def link(self, grants: Sequence[Grant]) -> SimpleNamespace:
        assert len(grants) == len(self.requests)
        return SimpleNamespace(image=self.payload, pairs=self.pairs, words=(), ranges=(), symbols={})


def fake_plan(
    objects: Sequence[ObjectFile], firmware: FakeFirmware, live: LiveState, archives: object = None
) -> FakePlan:
    del archives
    return FakePlan(objects, firmware, live)


def compile_object(folder: Path, name: str, functions: Mapping[str, str]) -> Path:
    """An object of functions and their bodies; a name with ``static`` in front is local."""
    source = folder / f"{name}.c"
    lines = []
    for declared, body in functions.items():
        function = declared.removeprefix("static ")
        kind = "static" if declared.startswith("static ") else ""
        lines.append(f"{kind} int {function}(int);\n__attribute__((used)) {kind} int {function}(int x) {{ {body} }}\n")
    source.write_text("".join(lines))
    target = folder / f"{name}.o"
    flags = ("-mcpu=cortex-m4", "-mthumb", "-Os", "-ffunction-sections")
    command = ["arm-none-eabi-gcc", *flags, "-c", source.name, "-o", target.name]
    subprocess.run(command, cwd=folder, check=True)
    return target


def open_session(device: FakeDevice, project: Path, settings: Settings | None = None) -> Session:
    """A session over the fake, its firmware known."""
    session = Session(device, settings or Settings(), Store(project), "fake://")  # type: ignore[arg-type]
    session.__dict__["firmware"] = FakeFirmware()
    return session
