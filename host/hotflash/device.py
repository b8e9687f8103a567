"""The board as Python objects: every operation of the wire protocol, and the choreography of a push.

::

    with Device.connect("socket://localhost:5555") as device:
        print(device.hello.board, device.status().commits)
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, Self

from hotflash.errors import AccessError, FitError, HotflashError, PortError, RefusedError, WireError
from hotflash.live import LiveState
from hotflash.transport import DEFAULT_BAUD, LinkLostError, open_port
from hotflash.wire import messages as m
from hotflash.wire.channel import Channel, Outcome, Pending, Request, SilentError, ask, pack, say_hello
from hotflash.wire.codec import Reader, Writer
from hotflash.wire.crc import crc32
from hotflash.wire.events import (
    Boot,
    Event,
    Fault,
    FramesLost,
    LinkDown,
    LinkUp,
    LogDropped,
    LogText,
    Parked,
    Plain,
    Registers,
    TrialOver,
)
from hotflash.wire.link import Link
from hotflash.wire.messages import CommitMode, HelloFlag, Op, Status
from hotflash.wire.record import unpack as unpack_record
from hotflash.wire.status import error_for

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Boot",
    "Device",
    "Event",
    "Events",
    "Fault",
    "FlashImage",
    "FramesLost",
    "LinkDown",
    "LinkUp",
    "Linked",
    "LogDropped",
    "LogText",
    "Parked",
    "Plain",
    "PushResult",
    "Registers",
    "TrialOver",
]

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""

_BOOT = 10.0
"""Seconds in which a board boots and answers."""
_PARK = 5.0
"""Seconds that parking may take, attention included."""
_ASK_STUCK = 1.0
"""Seconds after which a request that a stuck handler holds up is worth the attention sequence."""
_ABORT = 1.0
"""Seconds that giving up a transaction may take."""
_LOOKS = 4
"""Hellos within which an application that was let go runs, or has faulted again."""
_PAUSE = (0.002, 0.05)
"""Seconds between two attempts of a safe commit: first and most."""
_BUSY = 6.5
"""Seconds that a push waits for another transaction to end; the device gives up a dead one's after 5."""
_BUSY_PAUSE = 0.25
"""Seconds between two attempts then, at most."""
_WRITE_REPEATS = 5
"""Times that a Write is repeated before it is cut in two: a bad line lets short frames through."""
_WRITE_LEAST = 16
_QUIET_BELOW = 1024
"""Bytes of a chunk from which on an acknowledgement's 9 bytes are under one percent."""
_RESENDS = 4
"""Times that an image is sent again although every Write of it was acknowledged."""
_ERASE_PAGES = 16
_ERASE_BYTES = 65536
_FLASH_ALIGN = 16
"""Flash is programmed in whole units of this many bytes; no part known to us has larger ones."""


class Linked(Protocol):
    """What the linker makes of a plan when it knows the addresses."""

    @property
    def image(self) -> bytes:
        """The slots' payloads, one behind the other, in the order of the requests."""

    @property
    def pairs(self) -> Sequence[m.Pair]:
        """Hooks to bind."""

    @property
    def words(self) -> Sequence[m.Word]:
        """Data words to store."""

    @property
    def ranges(self) -> Sequence[m.Range]:
        """Code that must have no frame at a safe commit."""


class FlashImage(Protocol):
    """An application as the flash holds it."""

    @property
    def base(self) -> int:
        """Address of the first byte."""

    @property
    def data(self) -> bytes:
        """All bytes, the valid mark erased (0xFF)."""

    @property
    def crc(self) -> int:
        """Image CRC (docs/SPEC.md, Image header)."""

    @property
    def mark_offset(self) -> int:
        """Where the valid mark goes."""


@dataclass(frozen=True)
class PushResult:
    """A committed push."""

    generation: int
    """The generation that it made."""
    masked: int
    """Instructions executed with interrupts masked; 0 when the reply was lost and the board asked instead."""
    wire_tx: int
    """Bytes sent, framing and repeats included."""
    wire_rx: int
    """Bytes received in reply."""
    milliseconds: dict[str, float] = field(default_factory=dict)
    """Of the stages ``begin``, ``link``, ``wire`` (until all is handed to the line) and ``commit`` (until answered)."""
    frames: tuple[m.Frame, ...] = ()
    """Frames of replaced functions at the commit: they finish in the old code. At most eight."""


class Events:
    """What the board says, in order; made by :meth:`Device.events`."""

    def __init__(self, channel: Channel) -> None:
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._end = channel.subscribe(self._queue.put)
        self._closed = False

    def get(self, timeout: float | None = None) -> Event | None:
        """The next event; None after ``timeout`` seconds without one, and once closed."""
        try:
            event = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if event is None:
            self._queue.put(None)
        return event

    def __iter__(self) -> Iterator[Event]:
        while (event := self.get()) is not None:
            yield event

    def close(self) -> None:
        """Ends it; whoever waits for an event gets None."""
        if not self._closed:
            self._closed = True
            self._end()
            self._queue.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Device:
    """A board at the other end of a channel. Thread-safe, one transaction at a time."""

    def __init__(self, channel: Channel, hello: m.HelloReply) -> None:
        self._channel = channel
        self._hello = hello
        self._transaction = threading.Lock()
        self._open_events: list[Events] = []

    # ------------------------------------------------------------------------------- conversation

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        baud: int = DEFAULT_BAUD,
        share: Path | None = None,
        timeout: float = 2.0,
        attention: bool = False,
    ) -> Device:
        """Opens ``url`` (a tty or any pyserial URL) and says Hello for up to ``timeout`` seconds.

        With ``attention`` a board that is silent is parked, out of a handler of the application that does not return.

        With ``share``, the project's ``.hotflash`` folder, the port is shared with the project's other processes.
        Raises :class:`PortError` when the port is missing, denied, busy or silent, and :class:`WireError` when
        something answers that is not hotflash or speaks another version.
        """
        if share is None:
            link = Link(open_port(url, baud), baud=baud, reopen=lambda: open_port(url, baud))
            return cls.over(link, timeout=timeout, attention=attention)
        from hotflash.wire.hub import join

        return cls.over(join(url, baud=baud, folder=share), timeout=timeout, attention=attention)

    @classmethod
    def over(cls, channel: Channel, *, timeout: float = 2.0, attention: bool = False) -> Device:
        """A device over a channel that is open; closes the channel when nothing right answers."""
        try:
            try:
                hello = say_hello(channel, min(timeout, _ASK_STUCK) if attention else timeout)
            except SilentError:
                if not attention:
                    raise
                with contextlib.suppress(SilentError):
                    ask(channel, m.ParkRequest(), m.ParkReply, timeout=timeout)
                hello = say_hello(channel, timeout)
            return cls(channel, hello)
        except BaseException:
            channel.close()
            raise

    @property
    def hello(self) -> m.HelloReply:
        """The last answer to a Hello, its generation kept up to date by what this object does."""
        return self._hello

    @property
    def channel(self) -> Channel:
        """What it talks through."""
        return self._channel

    def close(self) -> None:
        """Gives the port back, or leaves it to the other processes."""
        for events in self._open_events:
            events.close()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def events(self) -> Events:
        """The events from now on; close it when done."""
        events = Events(self._channel)
        self._open_events.append(events)
        return events

    # -------------------------------------------------------------------------------------- state

    def refresh(self, timeout: float = 2.0) -> m.HelloReply:
        """Says Hello again."""
        self._hello = say_hello(self._channel, timeout)
        return self._hello

    def status(self) -> m.StatusReply:
        """Counters since boot."""
        return ask(self._channel, m.StatusRequest(), m.StatusReply)

    def slots(self) -> tuple[m.Slot, ...]:
        """The slots in use, in address order, all of one generation."""
        return self._slots(self._submit(m.SlotsRequest()))[1]

    def hooks(self) -> dict[int, int]:
        """Hooks that do not have their initial value: index to entry address."""
        return self._hooks(self._submit(m.HooksRequest()))

    def live(self) -> LiveState:
        """What runs now: Hello, slots and hooks, of one and the same generation."""
        while True:
            # All three at once: one round trip when each fits a page.
            slots = self._submit(m.SlotsRequest())
            hooks = self._submit(m.HooksRequest())
            generation, in_use = self._slots(slots)
            bound = self._hooks(hooks)
            hello = self.refresh()
            if hello.generation == generation:
                return LiveState(hello=hello, slots=in_use, hooks=bound)

    def _slots(self, first: Pending) -> tuple[int, tuple[m.Slot, ...]]:
        pending = first
        found: list[m.Slot] = []
        generation: int | None = None
        while True:
            page = m.SlotsReply.unpack(Reader(pending.reply()))
            if generation is not None and page.generation != generation:
                # Somebody committed between two pages.
                found.clear()
                generation = None
                pending = self._submit(m.SlotsRequest())
                continue
            generation = page.generation
            found += page.slots
            if not page.more or not page.slots:
                return generation, tuple(found)
            pending = self._submit(m.SlotsRequest(after=page.slots[-1].handle + 1))

    def _hooks(self, first: Pending) -> dict[int, int]:
        pending = first
        found: dict[int, int] = {}
        at = 0
        while True:
            page = m.HooksReply.unpack(Reader(pending.reply()))
            found.update((hook.hook, hook.value) for hook in page.hooks)
            if page.next <= at:
                return found
            at = page.next
            pending = self._submit(m.HooksRequest(first=at))

    def _submit(self, request: Request) -> Pending:
        return self._channel.submit(request.OP, pack(request))

    # --------------------------------------------------------------------------------- operations

    def push(
        self,
        begin: m.BeginRequest,
        link: Callable[[Sequence[m.Grant]], Linked],
        *,
        mode: CommitMode = CommitMode.NOW,
        deadline: float = 2.0,
        trial: int = 0,
        progress: Progress | None = None,
    ) -> PushResult:
        """One transaction: allocates, has ``link`` make the image for the addresses granted, writes and commits.

        ``deadline`` is how many seconds a safe commit is tried, ``trial`` those after which the device takes it back
        unless :meth:`confirm` comes, 0: never. Whatever goes wrong, and on Ctrl-C, the
        transaction is aborted and the error raised: :class:`BuildIdError`, :class:`FitError`, :class:`BusyError`,
        :class:`FramesError` with the frames in the way, or what ``link`` raises.
        """
        with self._transaction:
            result = _Push(
                self._channel, self._hello.chunk, begin, mode, deadline=deadline, trial=trial, progress=progress
            ).run(link)
            self._hello = replace(self._hello, generation=result.generation)
            return result

    def rollback(self, *, base: bool = False) -> m.RollbackReply:
        """Binds the generation before the live one, or with ``base`` the base image; makes a new generation."""
        hello = self.refresh()
        reply = ask(self._channel, m.RollbackRequest(hello.generation, int(base)), m.RollbackReply)
        self._hello = replace(hello, generation=reply.generation)
        return reply

    def gc(self) -> m.GcReply:
        """Collects constants, stubs and variables that nothing refers to."""
        return ask(self._channel, m.GcRequest(), m.GcReply)

    def pin(self, handle: int, *, pin: bool = True) -> None:
        """Adds or removes the host's pin on a slot."""
        ask(self._channel, m.PinRequest(handle, int(pin)), m.PinReply)

    def read(self, address: int, length: int, *, width: int = 0, peripheral: bool = False) -> bytes:
        """``length`` bytes from ``address`` on, in accesses of ``width`` bytes (1, 2, 4; 0: as wide as fits).

        Raises :class:`AccessError` where nothing is mapped or the monitor refuses.
        """
        flags = int(m.ReadFlag.PERIPHERAL) if peripheral else 0
        requests = [m.ReadRequest(at, size, width, flags) for at, size in self._cut(address, length)]
        waiting = [(request, self._submit(request)) for request in requests]
        out = bytearray()
        for request, pending in waiting:
            with _naming(request.address, request.length):
                data = pending.reply()
            if len(data) != request.length:
                raise WireError(f"the board sent {len(data)} bytes of {request.length} at {request.address:#010x}")
            out += data
        return bytes(out)

    def write(self, address: int, data: bytes, *, width: int = 0, peripheral: bool = False) -> None:
        """Writes ``data`` to ``address`` on in accesses of ``width`` bytes; :class:`AccessError` as for read."""
        flags = int(m.ReadFlag.PERIPHERAL) if peripheral else 0
        for at, size in self._cut(address, len(data)):
            start = at - address
            pending = self._submit(m.PokeRequest(at, width, flags, bytes(data[start : start + size])))
            with _naming(at, size):
                pending.reply()

    def _cut(self, address: int, length: int) -> list[tuple[int, int]]:
        """Pieces of at most a chunk, none of which splits a word."""
        if not 0 <= address <= address + length <= 1 << 32:
            raise AccessError(f"{address:#x} and {length} bytes on are outside the 32-bit address space")
        most = max(4, self._hello.chunk & ~3)
        pieces = []
        at, end = address, address + length
        while at < end:
            stop = min(end, (at & ~3) + most)
            pieces.append((at, stop - at))
            at = stop
        return pieces

    # ------------------------------------------------------------------------------------ parking

    def record(self) -> Registers | None:
        """What was found when the application was parked last, maybe before a reset; None: it never was."""
        return unpack_record(ask(self._channel, m.RecordRequest(), m.RecordReply).words)

    def stack(self) -> bytes:
        """Where the application is and what is on its stack, of one moment (docs/SPEC.md, Stack)."""
        return ask(self._channel, m.StackRequest(), m.StackReply).data

    def park(self, timeout: float = _PARK) -> m.HelloReply:
        """Stops the application, also one that is in a handler that does not return; returns the Hello then.

        Raises :class:`SilentError` when nothing of this gets through: interrupts are masked for ever.
        """
        ask(self._channel, m.ParkRequest(), m.ParkReply, timeout=timeout)
        return self._settle(lambda hello: bool(hello.flags & HelloFlag.PARKED))

    def resume(self) -> m.HelloReply:
        """Lets the parked application go on where it was; returns the Hello then."""
        ask(self._channel, m.ContinueRequest(), m.ContinueReply)
        return self._refresh_running()

    def restart(self, main: int) -> m.HelloReply:
        """Leaves all that runs, runs the cleanups, and calls ``main`` (its static entry) on a fresh stack."""
        request = m.RestartRequest(main | 1)
        try:
            ask(self._channel, request, m.RestartReply, timeout=_ASK_STUCK)
        except SilentError:
            self.park()
            ask(self._channel, request, m.RestartReply)
        return self._refresh_running()

    def _refresh_running(self) -> m.HelloReply:
        """The Hello of an application that was let go. Silence means that it is in a handler that does not return.

        One may be answered before the monitor lets go, one before the application has executed anything. Of two in a
        row that say that it runs, the second is not: a fault at once shows in it.
        """
        running = 0
        try:
            for _ in range(_LOOKS):
                hello = self.refresh(timeout=_ASK_STUCK)
                running = 0 if hello.flags & HelloFlag.PARKED else running + 1
                if running == 2:
                    break
        except SilentError:
            self._hello = replace(self._hello, flags=self._hello.flags & ~HelloFlag.PARKED)
        return self._hello

    def confirm(self) -> None:
        """Keeps the generation that is on trial."""
        ask(self._channel, m.ConfirmRequest(self.refresh().generation), m.ConfirmReply)

    def _settle(self, done: Callable[[m.HelloReply], bool]) -> m.HelloReply:
        """The first Hello that satisfies ``done``; what it waits for takes the device no time once it is at it."""
        end = time.monotonic() + _PARK
        while not done(hello := self.refresh()):
            if time.monotonic() > end:
                raise HotflashError("the board took the request and did not do it", hint="see `hotflash status`")
        return hello

    # --------------------------------------------------------------------------- flash and resets

    def flash(self, image: FlashImage, progress: Progress | None = None) -> m.HelloReply:
        """Programs a whole application, starts it, and returns its Hello.

        When it is interrupted, the board stays without a valid application and can be flashed again. Raises
        :class:`FitError` and :class:`RefusedError` before anything changes.
        """
        hello = self.refresh()
        _check_image(image, hello)
        if hello.flags & HelloFlag.APP_RUNS:
            hello = self._restart(mode=1)
            if hello.flags & HelloFlag.APP_RUNS:
                raise HotflashError("the board does not wait in its bootloader", hint="reset it and try again")
            _check_image(image, hello)
        length = len(image.data)
        ask(self._channel, m.FlashBeginRequest(length, image.mark_offset), m.FlashBeginReply)
        _program(self._channel, hello, image.data, progress)
        ask(self._channel, m.FlashEndRequest(length, image.crc), m.FlashEndReply)
        hello = self._restart(mode=0)
        if not hello.flags & HelloFlag.APP_RUNS:
            raise HotflashError(
                "the application was programmed, but the bootloader does not start it",
                hint="see `hotflash monitor` for its reason",
            )
        return hello

    def reset(self, *, wait: bool = False, mode: int = 0) -> m.HelloReply | None:
        """Resets the board; with ``wait`` returns the Hello after it booted. ``mode`` 1 stays in the bootloader."""
        if wait:
            return self._restart(mode=mode)
        ask(self._channel, m.ResetRequest(mode), m.ResetReply)
        return None

    def _restart(self, mode: int) -> m.HelloReply:
        """Resets, and waits for the boot report (or, should that be lost, for the boot count to change)."""
        before = self._hello
        deadline = time.monotonic() + _BOOT
        booted = threading.Event()
        gone = threading.Event()

        def listen(event: Event) -> None:
            if isinstance(event, Boot | LinkDown):
                booted.set()
            if isinstance(event, Plain):
                gone.set()
                booted.set()

        end = self._channel.subscribe(listen)
        try:
            # The reply may be lost in the reset; what counts is the boot.
            with contextlib.suppress(SilentError, LinkLostError):
                ask(self._channel, m.ResetRequest(mode), m.ResetReply, timeout=1.0)
            while True:
                seen = booted.wait(min(0.5, max(0.0, deadline - time.monotonic())))
                if gone.is_set():
                    raise WireError("the board started an application without monitor", hint="flash it with hotflash")
                with contextlib.suppress(SilentError, LinkLostError):
                    hello = self.refresh(timeout=max(0.1, min(0.5, deadline - time.monotonic())))
                    if seen or hello.boot_count != before.boot_count:
                        return hello
                if time.monotonic() >= deadline:
                    raise PortError(
                        f"{self._channel.name}: the board does not come back after the reset",
                        hint="check its power, or reset it by hand",
                    )
        finally:
            end()


@contextlib.contextmanager
def _naming(address: int, length: int) -> Iterator[None]:
    try:
        yield
    except AccessError as error:
        where = f"{address:#010x}" if length <= 4 else f"{address:#010x} to {address + length - 1:#010x}"
        raise AccessError(f"{where}: {error.message}", hint=error.hint) from error


def _check_image(image: FlashImage, hello: m.HelloReply) -> None:
    if image.base != hello.flash_base:
        raise RefusedError(
            f"the image starts at {image.base:#010x}, the board's application flash at {hello.flash_base:#010x}",
            hint=f"build it for board {hello.board}",
        )
    if len(image.data) > hello.flash_size:
        raise FitError(f"the image has {len(image.data)} bytes, the board's flash {hello.flash_size}")


def _program(channel: Channel, hello: m.HelloReply, data: bytes, progress: Progress | None) -> None:
    """Erases the pages under ``data`` and writes what differs from erased flash."""
    page = max(1, hello.flash_page)
    chunk = max(_FLASH_ALIGN, hello.chunk // _FLASH_ALIGN * _FLASH_ALIGN)
    group = max(1, min(_ERASE_PAGES, _ERASE_BYTES // page))
    done = 0
    lock = threading.Lock()

    def count(size: int, _: Pending | None = None) -> None:
        nonlocal done
        with lock:
            done += size
            now = done
        if progress is not None:
            progress(now, len(data))

    waiting: list[Pending] = []
    for first in range(0, -(-len(data) // page), group):
        pages = min(group, -(-len(data) // page) - first)
        ask(channel, m.FlashEraseRequest(first, pages), m.FlashEraseReply)
        for pending in waiting:
            pending.reply()
        waiting.clear()
        start, stop = first * page, min(len(data), (first + pages) * page)
        at = start
        while at < stop:
            piece = data[at : min(stop, at + chunk)]
            used = len(piece.rstrip(b"\xff"))
            if used:
                skip = (len(piece) - len(piece.lstrip(b"\xff"))) // _FLASH_ALIGN * _FLASH_ALIGN
                used = -(-used // _FLASH_ALIGN) * _FLASH_ALIGN
                request = m.FlashWriteRequest(at + skip, piece[skip:used].ljust(used - skip, b"\xff"))
                pending = channel.submit(Op.FLASH_WRITE, pack(request))
                pending.then(partial(count, len(piece)))
                waiting.append(pending)
            else:
                count(len(piece))
            at += len(piece)
    for pending in waiting:
        pending.reply()


class _Push:
    """One transaction; docs/SPEC.md, Conversation."""

    def __init__(
        self,
        channel: Channel,
        chunk: int,
        begin: m.BeginRequest,
        mode: CommitMode,
        *,
        deadline: float,
        trial: int,
        progress: Progress | None,
    ) -> None:
        self._channel = channel
        self._chunk = chunk
        self._begin = begin
        self._mode = mode
        self._deadline = deadline
        self._trial = trial
        self._progress = progress
        self._tx = 0
        self._rx = 0
        self._done = 0

    def run(self, link: Callable[[Sequence[m.Grant]], Linked]) -> PushResult:
        started = time.monotonic()
        begin = pack(self._begin)
        grants = self._open(begin)
        granted = time.monotonic()
        # From here on the transaction is ours to end.
        is_open = True
        try:
            linked = link(grants)
            made = time.monotonic()
            tail = Writer()
            m.CommitRequest(
                trial=self._trial,
                pairs=tuple(linked.pairs),
                words=tuple(linked.words),
                ranges=tuple(linked.ranges),
            ).pack(tail)
            bound = bytes(tail.data[5:])  # behind mode and crc
            crc = crc32(bound, crc32(linked.image, crc32(begin)))
            commit = bytes((self._mode,)) + crc.to_bytes(4, "little") + bound
            written, outcome = self._transfer(linked.image, commit)
            if outcome is not None and outcome.status not in (Status.OK, Status.E_SEAL, Status.E_FRAMES):
                is_open = False
            if outcome is not None and outcome.status != Status.OK:
                raise error_for(Op.COMMIT, outcome.status, outcome.message)  # noqa: TRY301 - the abort below is for all
        except BaseException:
            if is_open:
                self._abort()
            raise
        reply = m.CommitReply(self._begin.generation + 1)
        if outcome is not None:
            reply = m.CommitReply.unpack(Reader(outcome.message))
        ended = time.monotonic()
        stages = {"begin": granted - started, "link": made - granted, "wire": written - made, "commit": ended - written}
        return PushResult(
            generation=reply.generation,
            masked=reply.masked,
            wire_tx=self._tx,
            wire_rx=self._rx,
            frames=reply.frames,
            milliseconds={name: round(seconds * 1000, 3) for name, seconds in stages.items()},
        )

    def _open(self, begin: bytes) -> Sequence[m.Grant]:
        until = time.monotonic() + _BUSY
        pause = _PAUSE[0]
        while True:
            outcome = self._try_open(begin)
            if outcome.status == Status.OK:
                return m.BeginReply.unpack(Reader(outcome.message)).grants
            if outcome.status != Status.E_BUSY or time.monotonic() >= until:
                raise error_for(Op.BEGIN, outcome.status, outcome.message)
            # Somebody else is at it; or was, and the device lets go of it after a while.
            threading.Event().wait(pause)
            pause = min(_BUSY_PAUSE, pause * 2)

    def _try_open(self, begin: bytes) -> Outcome:
        pending = self._channel.submit(Op.BEGIN, begin)
        try:
            outcome = pending.outcome()
        except KeyboardInterrupt:
            # Whether the transaction is open shows in the answer; one that is not ours must not be aborted.
            pending.then(self._abort_if_granted)
            raise
        self._count(outcome)
        return outcome

    def _abort_if_granted(self, begin: Pending) -> None:
        if begin.error is None and begin.outcome().status == Status.OK:
            threading.Thread(target=self._abort, name="hotflash-abort", daemon=True).start()

    def _abort(self) -> None:
        with contextlib.suppress(HotflashError):
            self._channel.submit(Op.ABORT, b"", timeout=_ABORT).outcome()

    def _count(self, outcome: Outcome) -> None:
        self._tx += outcome.tx
        self._rx += outcome.rx

    def _transfer(self, image: bytes, commit: bytes) -> tuple[float, Outcome | None]:
        """Writes and commits; when the last byte was there, and the commit's outcome (None: it was done, unheard)."""
        missing = self._pieces(image)
        # What was lost of quiet Writes shows only at the commit, so they are for where acknowledgements cost much.
        may_be_quiet = len(missing) <= 1 or (self._chunk < _QUIET_BELOW and self._channel.loss < 0.002)
        resends = 0
        until: float | None = None
        pause = _PAUSE[0]
        written = time.monotonic()
        while True:
            writes = [(at, size, self._write(image, at, size, quiet=may_be_quiet)) for at, size in missing]
            pending = self._channel.submit(Op.COMMIT, commit)
            if until is None:
                written = time.monotonic()
            try:
                outcome = pending.outcome()
            except (LinkLostError, SilentError) as error:
                if self._committed(error):
                    return written, None
                # Not done, and still open: everything that may be missing once more.
                outcome = Outcome(Status.E_SEAL, b"", 0, 0)
            self._count(outcome)
            left: list[tuple[int, int]] = []
            for at, size, write in writes:
                left += self._unsure(at, size, write)
            if outcome.status == Status.E_SEAL:
                may_be_quiet = False
                if not left:
                    resends += 1
                    left = self._pieces(image)
                if resends > _RESENDS:
                    return written, outcome
                missing = left
            elif outcome.status == Status.E_FRAMES:
                now = time.monotonic()
                if until is None:
                    until = now + self._deadline
                if now >= until:
                    return written, outcome
                # Nothing tells when the frames are gone but another attempt.
                threading.Event().wait(min(pause, until - now))
                pause = min(_PAUSE[1], pause * 2)
                missing = []
            else:
                return written, outcome

    def _pieces(self, image: bytes) -> list[tuple[int, int]]:
        # Frames that are long compared to the distance between two errors hardly ever arrive.
        loss = self._channel.loss
        chunk = self._chunk if loss < 0.1 else max(_WRITE_LEAST, self._chunk // (4 if loss < 0.3 else 8))
        return [(at, min(chunk, len(image) - at)) for at in range(0, len(image), chunk)]

    def _write(self, image: bytes, at: int, size: int, *, quiet: bool) -> Pending:
        writer = Writer()
        writer.uv(at)
        writer.raw(image[at : at + size])
        pending = self._channel.submit(Op.WRITE, bytes(writer.data), quiet=quiet, repeats=_WRITE_REPEATS)
        if self._progress is not None:
            self._done = min(len(image), self._done + size)
            self._progress(self._done, len(image))
        return pending

    def _unsure(self, at: int, size: int, write: Pending) -> list[tuple[int, int]]:
        """What of a Write may not have arrived."""
        try:
            outcome = write.outcome()
        except SilentError:
            if size <= _WRITE_LEAST:
                return [(at, size)]
            half = size // 2
            return [(at, half), (at + half, size - half)]
        except LinkLostError:
            return [(at, size)]
        self._count(outcome)
        return [] if outcome.rx and outcome.status == Status.OK else [(at, size)]

    def _committed(self, error: HotflashError) -> bool:
        """After a commit whose answer did not come: true when it was done; raises when it cannot be done any more."""
        try:
            hello = say_hello(self._channel, 3.0)
        except HotflashError:
            raise error from None
        if hello.generation == self._begin.generation + 1:
            return True
        if hello.generation == self._begin.generation and hello.flags & HelloFlag.TXN_OPEN:
            return False
        raise error
