"""The session: store, settings, device and firmware together."""

from __future__ import annotations

import contextlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from hotflash.errors import BuildIdError, HotflashError, RefusedError, UsageError
from hotflash.journal import Journal
from hotflash.session import ports
from hotflash.session.names import Names
from hotflash.session.results import (
    ExportReport,
    FlashReport,
    GcReport,
    Heap,
    LostEdit,
    SlotReport,
    SlotsReport,
    StatusReport,
)
from hotflash.settings import Settings, load
from hotflash.store import Store
from hotflash.wire.messages import HelloFlag, ProtectFlag, SlotFlag, SlotKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from hotflash.board import Board
    from hotflash.device import Device
    from hotflash.elf.firmware import Firmware
    from hotflash.journal import UnitEdits
    from hotflash.live import LiveState
    from hotflash.session.faults import FaultReport
    from hotflash.session.results import (
        Backtrace,
        ConfirmReport,
        LinkReport,
        ParkReport,
        PushReport,
        ReadReport,
        ReinitReport,
        RestartReport,
        RollbackReport,
        WriteReport,
    )
    from hotflash.toolchain import Archives
    from hotflash.types import TypedVariable
    from hotflash.wire.events import Event
    from hotflash.wire.messages import HelloReply, Slot, StatusReply
    from hotflash.wire.record import Registers

    Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None] | None]]

# SCB CPUID part numbers (ARMv7-M ARM B3.2.3 and the cores' manuals).
_CORES = {
    0xC20: "Cortex-M0",
    0xC60: "Cortex-M0+",
    0xC21: "Cortex-M1",
    0xC23: "Cortex-M3",
    0xC24: "Cortex-M4",
    0xC27: "Cortex-M7",
    0xD20: "Cortex-M23",
    0xD21: "Cortex-M33",
}


def core_name(cpuid: int) -> str:
    """Name and revision of a core by its CPUID register."""
    name = _CORES.get(cpuid >> 4 & 0xFFF, f"core {cpuid:#010x}")
    return f"{name} r{cpuid >> 20 & 0xF}p{cpuid & 0xF}"


class Session:
    """A project and its board.

    ::

        with Session.connect() as session:
            session.push(["build/blink.o"])
            print(session.read("counter").value)

    Operations raise the errors of :mod:`hotflash.errors`; unless they say otherwise, the device is
    then unchanged.
    """

    def __init__(self, device: Device, settings: Settings, store: Store, port: str = "") -> None:
        self.device = device
        self.settings = settings
        self.store = store
        self.port = port
        self.closed = False
        self.progress: Progress = lambda _: contextlib.nullcontext()
        """Shows that something takes long: a label in, and what to call with (done, total) out, or None."""
        self.warnings: list[str] = []
        """What went wrong on the side and was put right; for people."""

    @classmethod
    def connect(
        cls,
        settings: Settings | None = None,
        store: Store | None = None,
        *,
        port: str | None = None,
        attention: bool = False,
    ) -> Session:
        """Opens the port that settings or a running simulator chose and says hello.

        ``port`` overrides the choice. With ``attention`` a board that is silent, since a handler of its application
        does not return, is parked. Processes of the same project share the port. Raises
        :class:`~hotflash.errors.PortError` or :class:`~hotflash.errors.WireError`.
        """
        from hotflash.device import Device

        store = store or Store.find()
        settings = settings or load(project=store.project)
        choice = ports.Choice(port, "the caller") if port is not None else ports.choose(settings, store)
        device = Device.connect(
            choice.url,
            baud=settings.baud,
            share=store.ensure(),
            timeout=settings.connect_timeout,
            attention=attention,
        )
        return cls(device, settings, store, choice.url)

    def close(self) -> None:
        """Lets go of the port."""
        self.closed = True
        self.device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- what runs

    @property
    def hello(self) -> HelloReply:
        """What the device said last about itself."""
        return self.device.hello

    @cached_property
    def firmware(self) -> Firmware:
        """The ELF of the application that the device runs, by build ID.

        Raises :class:`~hotflash.errors.BuildIdError` when it is not to be had.
        """
        self.require_application()
        wanted = self.hello.build_id
        given = self.settings.elf
        if given is not None and not self.settings.source("elf").endswith(".toml"):
            firmware = self._load(given, self.store.index_for(given))
            if firmware.build_id != wanted:
                raise BuildIdError(
                    f"the device runs build {wanted.hex()}, {given} is build {firmware.build_id.hex()}",
                    hint=f"give the ELF that was flashed, or `hotflash flash {given}` first",
                )
            return firmware
        build = self.store.build(wanted)
        if build is not None:
            try:
                firmware = self._load(build.elf, build.index)
            except HotflashError as error:
                raise BuildIdError(
                    f"the stored ELF of build {wanted.hex()} is damaged: {error.message}",
                    hint=f"name the ELF with --elf, or flash again; it came from {build.source or 'elsewhere'}",
                ) from error
            if firmware.build_id == wanted:
                return firmware
        if given is not None and given.is_file():
            with contextlib.suppress(HotflashError):
                firmware = self._load(given, self.store.index_for(given))
                if firmware.build_id == wanted:
                    return firmware
        stored = self.store.builds()
        newest = f"; the newest stored one is {stored[0].build_id.hex()}" if stored else ""
        raise BuildIdError(
            f"the device runs build {wanted.hex()}, which {self.store.root} does not have{newest}",
            hint="name the ELF that was flashed with --elf, or flash the one at hand: `hotflash flash APP.elf`",
        )

    @cached_property
    def archives(self) -> Archives:
        """Where helpers that a patch needs come from."""
        from hotflash.toolchain import Archives

        settings = self.settings
        return Archives(settings.toolchain, settings.libc, settings.archives)

    def _load(self, path: Path, index: Path) -> Firmware:
        from hotflash.elf.firmware import Firmware

        with self.progress("reading the firmware") as progress:
            return Firmware.load(path, index=index, progress=progress)

    @property
    def firmware_or_none(self) -> Firmware | None:
        """The same, None where it is not to be had; for what only wants names."""
        try:
            return self.firmware
        except HotflashError:
            return None

    def require_application(self) -> None:
        """Raises :class:`~hotflash.errors.RefusedError` unless a hot application runs."""
        flags = self.hello.flags
        if flags & HelloFlag.STATE_LOST:
            raise RefusedError(
                "the application has overwritten the monitor's state; what is live is not known any more",
                hint="`hotflash reset`, then `hotflash resync`",
            )
        if not flags & HelloFlag.APP_RUNS:
            raise RefusedError(
                "no application runs on the board: the bootloader waits"
                if not flags & HelloFlag.APP_VALID
                else "the board waits in the bootloader, its application does not run",
                hint="`hotflash flash APP.elf`" if not flags & HelloFlag.APP_VALID else "`hotflash reset`",
            )
        if not flags & HelloFlag.APP_HOT:
            raise RefusedError(
                "the application has no patch points in use: another tool programmed its plain ELF",
                hint="program it with `hotflash flash APP.elf` or what `hotflash export` writes",
            )

    @property
    def runs(self) -> bool:
        """Whether a hot application runs."""
        flags = self.hello.flags
        return bool(flags & HelloFlag.APP_RUNS and flags & HelloFlag.APP_HOT and not flags & HelloFlag.STATE_LOST)

    # ---- journal

    def observe(self, slots: Sequence[Slot]) -> Journal:
        """The journal, brought up to date with what the device runs."""
        with self.store.locked():
            journal, changed = self.observed(slots)
            # A board that is none of this project's business leaves no trace in it.
            if changed and (journal.objects or self.store.build_folder(self.hello.build_id).is_dir()):
                self.store.save_journal(self.hello.build_id, journal)
        return journal

    def observed(self, slots: Sequence[Slot]) -> tuple[Journal, bool]:
        """The same without storing it, and whether that would be needed. Call under the store's lock."""
        hello = self.hello
        journal = self.load_journal()
        bound = [(slot.ident, slot.hash) for slot in slots if slot.flags & SlotFlag.BOUND]
        present = {(slot.ident, slot.hash) for slot in slots}
        return journal, journal.observe(hello.boot_count, hello.generation, bound, present)

    def load_journal(self) -> Journal:
        """The stored journal; a damaged one is set aside and begun anew. Call under the store's lock."""
        build_id = self.hello.build_id
        try:
            return self.store.journal(build_id)
        except ValueError as error:
            aside = self.store.set_journal_aside(build_id)
            from hotflash.session.push import rebuild_journal

            journal, known = rebuild_journal(self)
            self.warnings.append(
                f"the journal of live edits was damaged ({error}) and is kept as {aside}; "
                f"{known} of its edits were found again from the stored objects"
            )
            return journal

    def lost(self, slots: Sequence[Slot] | None = None) -> tuple[LostEdit, ...]:
        """Edits that were live before a reset and are not now."""
        if not self.runs:
            return ()
        return edits_of(self.observe(self.device.slots() if slots is None else slots).lost)

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Calls ``listener``, on a thread of the link, with all that the board says unasked; returns how to stop."""
        return self.device.channel.subscribe(listener)

    def forget_lost(self) -> None:
        """Gives up the edits that a reset took: they are not missed any more."""
        if not any(self.hello.build_id):
            return
        with self.store.locked():
            journal = self.load_journal()
            if journal.lost:
                journal.lost = []
                self.store.save_journal(self.hello.build_id, journal)

    # ---- operations; those that are long are in modules of their own

    def push(
        self,
        objects: Sequence[str | Path],
        *,
        mode: str | None = None,
        deadline: float | None = None,
        trial: int = 0,
        type_check: bool | None = None,
        no_undo: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> PushReport:
        """Makes the functions of object files live that differ from what the device runs.

        ``mode`` is ``now``, ``safe`` or ``auto``; ``deadline`` is how many seconds a safe commit is
        tried. ``trial`` seconds after the commit the device goes back by itself unless :meth:`confirm` was called.
        ``type_check`` overrides the setting: without it, whether signatures and layouts still fit what is live is on
        the caller's word. All of it goes live, or nothing: :class:`FitError` when memory is short. Before it gives up
        it collects, where the setting ``collect`` allows it, and with ``no_undo`` it gives up the generation before
        the live one.
        """
        from hotflash.session import push

        return push.push(
            self,
            objects,
            mode=mode,
            deadline=deadline,
            trial=trial,
            type_check=type_check,
            no_undo=no_undo,
            progress=progress,
        )

    def resync(
        self,
        *,
        mode: str | None = None,
        deadline: float | None = None,
        type_check: bool | None = None,
        no_undo: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> PushReport:
        """Sends the journalled edits again, in one transaction. The parameters are those of :meth:`push`."""
        from hotflash.session import push

        return push.resync(
            self, mode=mode, deadline=deadline, type_check=type_check, no_undo=no_undo, progress=progress
        )

    def rollback(self, *, base: bool = False) -> RollbackReport:
        """Binds the generation before, or with ``base`` the base image; makes a new generation."""
        from hotflash.session import push

        return push.rollback(self, base=base)

    def export_live(self, output: Path) -> LinkReport:
        """Writes what runs on top of the base image as an ELF for debuggers."""
        from hotflash.session import offline

        return offline.export_live(self, output)

    def read(
        self,
        what: str,
        *,
        length: int | None = None,
        count: int | None = None,
        width: int = 0,
        peripheral: bool = False,
    ) -> ReadReport:
        """Reads a variable by its expression, or memory by its address."""
        from hotflash.session import memory

        return memory.read(self, what, length=length, count=count, width=width, peripheral=peripheral)

    def write(self, what: str, value: str, *, width: int = 0, peripheral: bool = False) -> WriteReport:
        """Writes a variable as its type says, or a number of ``width`` bytes to an address."""
        from hotflash.session import memory

        return memory.write(self, what, value, width=width, peripheral=peripheral)

    def variable(self, expression: str) -> TypedVariable:
        """Address and type of a variable, a field or an element: ``unit.c:name.field[3]``."""
        from hotflash import types

        return types.variable(self.firmware, expression)

    def find_board(self) -> Board:
        """The board at hand: what the device calls itself, looked up in the settings' folders.

        An emulated board of this project may be in any folder: its simulator noted which.
        Raises :class:`~hotflash.errors.RefusedError` when the settings name another one.
        """
        from hotflash.board import Board

        name = self.hello.board
        if self.settings.board is None:
            sim = self.store.sim()
            known = sim.board if sim is not None and sim.port == self.port else name
            return Board.find(known, self.settings.board_path)
        board = Board.find(self.settings.board, self.settings.board_path)
        if board.name != name:
            raise RefusedError(
                f"the device says it is {name}, but {self.settings.source('board')} says {board.name}",
                hint="choose another port, or correct the board",
            )
        return board

    def flash(
        self, elf: str | Path | None = None, *, progress: Callable[[int, int], None] | None = None
    ) -> FlashReport:
        """Builds the image of a linked application, programs it, starts it, and stores both by build ID."""
        import time

        from hotflash.elf.firmware import Firmware
        from hotflash.image.builder import build

        path = _application(elf, self.settings)
        board = self.find_board()
        firmware = Firmware.load(path)
        image = build(firmware, board)
        dropped = self._live_edits()
        # Stored first: a host that dies right after programming must still know the build.
        stored = self.store.add_build(
            image.build_id, firmware.data, image.data, board=str(board.path), source=str(path.resolve())
        )
        firmware.save_index(stored.index, stored.elf)
        started = time.perf_counter()
        hello = self.device.flash(image, progress)
        elapsed = (time.perf_counter() - started) * 1e3
        self.store.reset_journal(image.build_id)
        self.__dict__.pop("firmware", None)
        if hello.build_id != image.build_id or not hello.flags & HelloFlag.APP_RUNS:
            raise HotflashError(
                f"{path} was programmed, but the board does not run it"
                + (f": it runs build {hello.build_id.hex()}" if any(hello.build_id) else ""),
                hint="`hotflash status` says what it runs",
            )
        return FlashReport(
            board=board.name,
            build_id=image.build_id,
            elf=str(path),
            size=len(image.data),
            hooks=firmware.site_count,
            milliseconds=elapsed,
            dropped_edits=dropped,
        )

    def _live_edits(self) -> tuple[LostEdit, ...]:
        if not self.runs:
            return ()
        with contextlib.suppress(HotflashError):
            return edits_of(self.observe(self.device.slots()).live)
        return ()

    def status(self) -> StatusReport:
        """What the device says of itself, with what the project knows."""
        hello = self.device.refresh()
        counters = self.device.status()
        journal = self.observe(self.device.slots()) if self.runs else Journal()
        build = self.store.build(hello.build_id) if any(hello.build_id) else None
        return StatusReport(
            port=self.port,
            board=hello.board,
            monitor=hello.monitor,
            wire=hello.version,
            abi=f"{hello.abi >> 16}.{hello.abi & 0xFFFF}",
            core=core_name(hello.core),
            application=_application_state(hello),
            build_id=hello.build_id,
            elf=build.source if build is not None else "",
            generation=hello.generation,
            undo=bool(hello.flags & HelloFlag.UNDO),
            trial=counters.trial_us / 1e6,
            boot_count=hello.boot_count,
            uptime=counters.uptime / 1e6,
            heaps=(
                Heap("code", hello.heap_base, hello.heap_size, hello.heap_free),
                Heap("data", hello.data_base, hello.data_size, hello.data_free),
            ),
            hooks_bound=counters.hooks_bound,
            hooks=hello.hook_count,
            hook_capacity=hello.hook_capacity,
            edits=edits_of(journal.live),
            lost=edits_of(journal.lost),
            protection=tuple(
                flag.name.lower() for flag in ProtectFlag if counters.protection & flag and flag.name is not None
            ),
            counters={
                name: getattr(counters, name)
                for name in (
                    "log_dropped",
                    "rx_overrun",
                    "rx_bad",
                    "commits",
                    "masked_last",
                    "masked_max",
                    "scan_words",
                    "scan_us",
                    "stall_us",
                    "drift",
                    "stack_free",
                )
            },
            warnings=tuple(_warnings(hello, counters, known=build is not None)),
        )

    def names(self, journal: Journal | None = None) -> Names:
        """Names for idents, hooks and addresses, as far as ELF and journal are to be had."""
        if journal is None and self.runs:
            with self.store.locked():
                journal = self.load_journal()
        return Names(self.firmware_or_none if self.runs else None, journal)

    def explain(self, registers: Registers) -> FaultReport:
        """A record of a parking, decoded: names, cause, and the calls if the application still stands there."""
        from hotflash.session import control

        return control.explain(self, registers)

    def backtrace(self, live: LiveState | None = None) -> Backtrace:
        """Where the application is, running or parked: the calls under way in the thread, or handler, at hand.

        ``live`` is what it runs, where that is known already.
        """
        from hotflash.session import backtrace

        return backtrace.backtrace(self, live)

    def slots(self) -> SlotsReport:
        """The code heap, slot by slot."""
        from hotflash.session.holders import Graph, holders, needs_graph

        live = self.device.live() if self.runs else None
        slots = live.slots if live is not None else self.device.slots()
        hello = self.device.hello if live is not None else self.device.refresh()
        names = self.names(self.observe(slots) if live is not None else None)
        graph = Graph(self.device, slots) if needs_graph(slots) else None
        trace = None
        if live is not None and any(slot.flags & SlotFlag.FRAME for slot in slots):
            with contextlib.suppress(HotflashError):
                trace = self.backtrace(live)
        by_handle = {slot.handle: slot for slot in slots}
        return SlotsReport(
            generation=hello.generation,
            slots=tuple(slot_report(s, names, holders(s, names, graph, by_handle, trace)) for s in slots),
            heap=Heap("code", hello.heap_base, hello.heap_size, hello.heap_free),
        )

    def park(self) -> ParkReport:
        """Stops the application between two instructions; the monitor goes on answering. No error when it is parked.

        It gets out of handlers that do not return, too.
        """
        from hotflash.session import control

        return control.park(self)

    def record(self) -> ParkReport | None:
        """Why and where the application was parked last, perhaps before a reset; None: it never was."""
        from hotflash.session import control

        return control.record(self)

    def resume(self) -> None:
        """Lets the parked application go on where it was. After a fault it repeats the instruction that faulted.

        Raises :class:`~hotflash.errors.TargetFault` when it faults again at once.
        """
        from hotflash.session import control

        control.resume(self)

    def restart(self) -> RestartReport:
        """Leaves all that runs, runs the registered cleanups, and calls the newest ``main``; all state is kept.

        Raises :class:`~hotflash.errors.TargetFault` when it faults at once.
        """
        from hotflash.session import control

        return control.restart(self)

    def confirm(self) -> ConfirmReport:
        """Keeps the generation that is on trial. No error when none is."""
        from hotflash.session import control

        return control.confirm(self)

    def reinit(self, *names: str, everything: bool = False, restart: bool = False) -> ReinitReport:
        """Gives variables their initial values, as the newest pushed object or else the firmware has them.

        The application is parked meanwhile. ``everything`` instead of names: all variables; ``restart`` calls ``main``
        afterwards.
        """
        from hotflash.session import control

        return control.reinit(self, names, everything=everything, and_restart=restart)

    def gc(self) -> GcReport:
        """Collects constants, stubs and variables that nothing refers to, with interrupts masked."""
        reply = self.device.gc()
        longest = self.device.status().stall_us
        return GcReport(freed=reply.freed, bytes=reply.bytes, stall_us=reply.stall_us, longest_us=longest)

    def reset(self, *, wait: bool = False) -> HelloReply:
        """Resets the board; with ``wait`` it stays in the bootloader. Live edits go with it."""
        if self.runs:
            self.observe(self.device.slots())  # so that what is lost is known by name
        self.device.reset(wait=True, mode=int(wait))
        self.__dict__.pop("firmware", None)
        return self.hello


def export(
    settings: Settings,
    store: Store,
    elf: str | Path | None,
    output: Path,
    *,
    file_format: str | None = None,
    with_bootloader: bool = False,
) -> ExportReport:
    """Writes an application for other programmers, valid mark set, and stores it by build ID.

    The board is that of the settings, else that of the project's running simulator.
    """
    from hotflash.board import Board
    from hotflash.elf.firmware import Firmware
    from hotflash.image import hexfile
    from hotflash.image.builder import build

    path = _application(elf, settings)
    name = settings.board
    if name is None:
        sim = store.sim()
        if sim is None:
            raise UsageError("no board named", hint="name it with --board, HOTFLASH_BOARD or `board` in hotflash.toml")
        name = sim.board
    board = Board.find(name, settings.board_path)
    firmware = Firmware.load(path)
    image = build(firmware, board)
    bootloader = None
    if with_bootloader:
        from hotflash import sim as simulator

        bootloader = simulator.build_bootloader(board)
    hexfile.export(image, board, output, file_format=file_format, with_bootloader=bootloader)
    store.add_build(image.build_id, firmware.data, image.data, board=str(board.path), source=str(path.resolve()))
    return ExportReport(
        path=str(output),
        format=file_format or output.suffix.lower().lstrip("."),
        board=board.name,
        build_id=image.build_id,
        base=image.base,
        size=len(image.data),
        with_bootloader=with_bootloader,
    )


def _application(elf: str | Path | None, settings: Settings) -> Path:
    if elf is None:
        if settings.elf is None:
            raise UsageError("no ELF named", hint="give its path, or set `elf` in hotflash.toml")
        elf = settings.elf
    return Path(elf)


def _application_state(hello: HelloReply) -> str:
    if not hello.flags & HelloFlag.APP_VALID:
        return "none"
    if not hello.flags & HelloFlag.APP_RUNS:
        return "waiting"
    if not hello.flags & HelloFlag.APP_HOT:
        return "plain"
    return "parked" if hello.flags & HelloFlag.PARKED else "running"


def _warnings(hello: HelloReply, counters: StatusReply, *, known: bool) -> Iterable[str]:
    flags = hello.flags
    if flags & HelloFlag.STATE_LOST:
        yield "the application has overwritten the monitor's state: only `hotflash reset` is accepted"
    if not flags & HelloFlag.APP_VALID:
        yield "no valid application: the bootloader waits for `hotflash flash APP.elf`"
    elif not flags & HelloFlag.APP_RUNS:
        yield "the board waits in the bootloader: `hotflash reset` starts the application"
    elif not known:
        yield f"the project does not know build {hello.build_id.hex()}: pushes need --elf, or flash again"
    if not flags & HelloFlag.MPU:
        yield "no MPU, or the board leaves it alone: nothing keeps stray writes from code heap and hook table"
    elif counters.protection & ProtectFlag.TAKEN:
        kept = {ProtectFlag.HEAP: "code heap", ProtectFlag.HOOKS: "hook table", ProtectFlag.FLASH: "flash"}
        bare = [text for flag, text in kept.items() if not counters.protection & flag]
        yield "the application has settings of its own in the MPU" + (
            f": nothing keeps stray writes from {', '.join(bare)}" if bare else ""
        )
    if flags & HelloFlag.TRIAL:
        yield (
            "the live generation is on trial: `hotflash confirm` keeps it, else the board takes it back in "
            f"{counters.trial_us / 1e6:.0f} s"
        )
    if flags & HelloFlag.PARKED:
        ways = "`hotflash restart`" if flags & HelloFlag.FINAL else "`hotflash continue`, `hotflash restart`"
        yield f"the application is parked: {ways} or `hotflash reset`"
    if flags & HelloFlag.PRIO_ZERO:
        yield "the application runs an interrupt at priority 0: it can hold up the monitor's receiver"
    if flags & HelloFlag.PENDSV_ZERO:
        yield "PendSV is at priority 0: a context switch may delay the monitor; give it the lowest priority"
    if flags & HelloFlag.TXN_OPEN:
        yield "a transaction is open: another push is under way, or its host died (freed after 5 s)"
    if counters.drift:
        yield f"{counters.drift} reference counts had drifted from what a recount found: please report this defect"
    if counters.rx_overrun:
        yield f"the board lost {counters.rx_overrun} received bytes: lower the baud rate if pushes are slow"


def edits_of(entries: Iterable[UnitEdits]) -> tuple[LostEdit, ...]:
    """The edits of journal entries, by name."""
    return tuple(
        LostEdit(edit.function, entry.unit, entry.source)
        for entry in entries
        for edit in sorted(entry.edits, key=lambda edit: edit.function)
    )


def slot_report(slot: Slot, names: Names, held_by: tuple[str, ...]) -> SlotReport:
    """One slot with its names."""
    named = names.slot(slot)
    try:
        kind = SlotKind(slot.kind).name.lower()
    except ValueError:
        kind = str(slot.kind)
    return SlotReport(
        handle=slot.handle,
        kind=kind,
        function=named.function,
        unit=named.unit,
        address=slot.address,
        size=slot.length,
        generation=slot.generation,
        references=slot.refs,
        held_by=held_by,
        hash=f"{slot.hash:016x}",
    )


def heap_listing(session: Session, limit: int = 8) -> str:
    """What fills the code heap, largest first, in one line."""
    with contextlib.suppress(HotflashError):
        found = session.slots()
        reports = sorted(found.slots, key=lambda report: -report.size)
        listed = [
            f"{report.function or report.kind} {report.size} bytes ({', '.join(report.held_by) or 'held by nothing'})"
            for report in reports[:limit]
        ]
        more = f", and {len(reports) - limit} more" if len(reports) > limit else ""
        filled = f"{found.heap.used} of {found.heap.size} bytes are used"
        return f"{filled}: {'; '.join(listed)}{more}" if listed else f"{filled}: the heap is empty"
    return ""
