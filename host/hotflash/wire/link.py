"""The link: requests in flight, repeats, and events, over one transport.

Replies come in the order of the requests, so a reply tells that whatever was sent before its request and is not
answered was lost: it is sent again at once. Only at the end of a conversation does a timer have to find out. The
device keeps one reply (docs/SPEC.md, Frames); so at most one request that must not be done twice is in flight.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from hotflash.errors import HotflashError, PortError, WireError
from hotflash.transport import LinkLostError, Transport
from hotflash.wire import frame as framing
from hotflash.wire.channel import REPEATABLE, Outcome, Pending, SilentError, read_hello, silent
from hotflash.wire.codec import Reader
from hotflash.wire.events import Boot, Event, EventDecoder, LinkDown, LinkUp, Plain
from hotflash.wire.frame import Frame, FrameReader
from hotflash.wire.messages import Channel, HelloReply, HelloRequest, Op, Status

if TYPE_CHECKING:
    from collections.abc import Callable
from itertools import takewhile

__all__ = ["Link"]

_T = TypeVar("_T")

_QUIET = 0x80
"""Bit of the operation byte: no acknowledgement on success."""
_FRAME_EXTRA = 16 + 2 + 4 + 1 + 1
"""Bytes of a full-size frame on the line besides the chunk, without COBS's one per 254."""
_BITS = 10
"""Bits on the line per byte."""
_RTO_FIRST = 0.2
_RTO_LEAST = 0.1
_RTO_MOST = 0.5
"""Seconds after which a silent device is asked again: before any measurement, at least, at most."""
_BACKOFF = 1.5
_SILENCE = 3.0
"""Seconds without any frame from the device after which a request fails."""
_LIMIT = 15.0
"""Seconds after which it fails although other frames arrive."""
_SLOW = {
    # Operations that may keep the device busy: seconds to wait at first, and on top of the limits.
    Op.FLASH_ERASE: (1.0, 20.0),
    Op.FLASH_BEGIN: (1.0, 5.0),
    Op.FLASH_END: (1.0, 5.0),
    Op.BEGIN: (0.2, 1.0),
    Op.COMMIT: (0.2, 1.0),
    Op.ROLLBACK: (0.2, 1.0),
    Op.SLOTS: (0.2, 1.0),
    Op.GC: (0.2, 1.0),
}
_ATTENTION = 16
"""Zero bytes in a row that get the monitor's attention (docs/SPEC.md, Parking)."""
_LOSS_WEIGHT = 1 / 64
"""Weight of one frame in the running loss rate."""
_REOPEN = (0.05, 1.0)
"""Seconds between attempts to open a port that went away: first and most."""


class _Timer:
    """Round-trip time and its variation: RFC 6298, with our own bounds."""

    def __init__(self, first: float) -> None:
        self._srtt: float | None = None
        self._var = 0.0
        self.rto = first

    def sample(self, seconds: float) -> None:
        if self._srtt is None:
            self._srtt, self._var = seconds, seconds / 2
        else:
            self._var += (abs(self._srtt - seconds) - self._var) / 4
            self._srtt += (seconds - self._srtt) / 8
        self.rto = self._srtt + max(4 * self._var, 0.01)


class _Sent(Pending):
    """A request in flight; its fields belong to the link's lock."""

    def __init__(self, op: int, payload: bytes, timeout: float | None, repeats: int | None) -> None:
        super().__init__(op, payload)
        self.timeout = timeout
        self.most_repeats = repeats
        self.quiet = False
        self.seq = 0
        self.wire = b""
        self.first = 0  # place in the order of sending: first time, last time
        self.last = 0
        self.started = 0.0
        self.sent_at = 0.0
        self.times = 0
        self.lost = False

    @property
    def repeatable(self) -> bool:
        return self.op in REPEATABLE

    @property
    def alone(self) -> bool:
        """A request whose repeat the device answers from its one kept reply, or a Hello, which forgets that."""
        return self.op == Op.HELLO or not self.repeatable


class Link:
    """A :class:`~hotflash.wire.channel.Channel` over ``transport``, which it then owns.

    ``reopen`` opens the port again after it went away; without it the link ends then. ``baud`` is the line's
    speed as far as it is known; it only makes the waiting fit.
    """

    def __init__(
        self, transport: Transport, *, baud: int | None = None, reopen: Callable[[], Transport] | None = None
    ) -> None:
        self._transport = transport
        self._name = transport.name
        self._reopen = reopen
        self._bit_time = _BITS / baud if baud else 0.0
        self._state = threading.Condition()
        self._tx_lock = threading.Lock()
        self._flight: dict[int, _Sent] = {}  # by seq, in the order of (re)sending
        self._waiting: deque[object] = deque()
        self._seq = random.randrange(256)  # noqa: S311 - only to differ from an earlier process's
        self._kept: set[int] = set()
        self._place = 0
        self._in_flight = 0
        self._window = 0  # bytes; 0: one request at a time
        self._timers: dict[int, _Timer] = {}
        self._backoff = 1.0
        self._progress = 0.0
        self._heard = 0.0
        self._loss = 0.0
        self._hello: HelloReply | None = None
        self._down: HotflashError | None = None
        self._closing = threading.Event()
        self._frames = FrameReader()
        self._echo = False
        self._plain = False
        self._decoder = EventDecoder()
        self._listeners: list[Callable[[Event], None]] = []
        self._taps: list[Callable[[Frame | Event], None]] = []
        self.stale = 0
        """Replies that nothing waited for: repeats, and those of earlier processes."""
        self._reader = threading.Thread(target=self._read, name="hotflash-reader", daemon=True)
        self._repeater = threading.Thread(target=self._repeat, name="hotflash-repeater", daemon=True)
        self._reader.start()
        self._repeater.start()

    # ------------------------------------------------------------------------------ for everybody

    @property
    def name(self) -> str:
        """The port."""
        return self._name

    @property
    def hello(self) -> HelloReply | None:
        """The last answer to a Hello."""
        return self._hello

    @property
    def loss(self) -> float:
        """Part of the frames that had to be sent again lately, 0 to 1."""
        return self._loss

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Calls ``listener`` for each event on the reader's thread; returns what ends that."""
        return self._add(self._listeners, listener)

    def tap(self, listener: Callable[[Frame | Event], None]) -> Callable[[], None]:
        """Like :meth:`subscribe`, with undecoded frames; for those who pass them on."""
        return self._add(self._taps, listener)

    def _add(self, listeners: list[Callable[[_T], None]], listener: Callable[[_T], None]) -> Callable[[], None]:
        with self._state:
            listeners.append(listener)

        def end() -> None:
            with self._state, contextlib.suppress(ValueError):
                listeners.remove(listener)

        return end

    def submit(
        self, op: int, payload: bytes, *, quiet: bool = False, timeout: float | None = None, repeats: int | None = None
    ) -> Pending:
        """See :meth:`hotflash.wire.channel.Channel.submit`."""
        sent = _Sent(op, payload, timeout, repeats)
        size = len(framing.encode(Frame(Channel.CONTROL, 0, bytes((op,)) + payload)))
        # Those who wait for room are served in turn, so that one with much to send does not starve the others.
        turn = object()
        with self._state:
            self._waiting.append(turn)
            try:
                while self._down is None and (self._waiting[0] is not turn or not self._room(sent, size)):
                    self._state.wait()
            except BaseException:
                self._waiting.remove(turn)
                self._state.notify_all()
                raise
        try:
            with self._tx_lock:
                with self._state:
                    if self._down is not None:
                        sent.finish(None, self._down)
                        return sent
                    self._launch(sent, quiet=quiet, size=size)
                self._send(sent)
        finally:
            with self._state:
                self._waiting.remove(turn)
                self._state.notify_all()
        return sent

    def close(self) -> None:
        """Closes the transport and ends the threads; what is in flight fails."""
        self._closing.set()
        self._fail(LinkLostError(f"{self._name} is closed"))
        self._transport.close()
        for thread in (self._reader, self._repeater):
            if thread is not threading.current_thread():
                thread.join()

    # ------------------------------------------------------------------------------------ sending

    def _room(self, sent: _Sent, size: int) -> bool:
        """Whether ``sent`` may go now."""
        if not self._flight:
            return True
        if self._in_flight + size > self._window or len(self._flight) > 100:
            return False
        return not (sent.alone and any(other.alone for other in self._flight.values()))

    def _launch(self, sent: _Sent, *, quiet: bool, size: int) -> None:
        seq = (self._seq + 1) & 0xFF
        while seq in self._flight or (sent.alone and seq in self._kept):
            seq = (seq + 1) & 0xFF
        self._seq = sent.seq = seq
        if sent.alone:
            # The same seq and bytes again would be taken for a repeat of the one that the device keeps.
            self._kept.add(seq)
        # Quiet requests free their room when a later one is answered: there has to be one in time.
        unheard = sum(
            len(other.wire) for other in takewhile(lambda other: other.quiet, reversed(self._flight.values()))
        )
        sent.quiet = quiet and unheard + size <= self._window // 2
        op = sent.op | _QUIET if sent.quiet else sent.op
        sent.wire = framing.encode(Frame(Channel.CONTROL, seq, bytes((op,)) + sent.payload))
        if sent.op == Op.HELLO:
            # Ends what an earlier process may have left unfinished in the device's receiver.
            sent.wire = b"\0\0" + sent.wire
        self._place += 1
        now = time.monotonic()
        sent.first = sent.last = self._place
        sent.started = sent.sent_at = now
        sent.times = 1
        if not self._flight:
            self._progress = now
            self._heard = now
            self._backoff = 1.0
        self._flight[seq] = sent
        self._in_flight += len(sent.wire)
        self._state.notify_all()

    def _send(self, sent: _Sent) -> None:
        wire = sent.wire
        if sent.op == Op.PARK and sent.times > 1:
            # Not even this is looked at while a handler of the application runs for ever; this is counted.
            wire = bytes(_ATTENTION) + wire
        try:
            self._transport.write(wire)
        except PortError:
            # The reader meets the same end and tells everybody; only a link without one may not wait for it.
            self._transport.close()

    def _timer(self, op: int) -> _Timer:
        key = op if op in _SLOW else -1
        timer = self._timers.get(key)
        if timer is None:
            timer = self._timers[key] = _Timer(_SLOW[Op(op)][0] if op in _SLOW else _RTO_FIRST)
        return timer

    def _deadline(self) -> float | None:
        """When the oldest request has to be sent again; None: nothing waits for an answer."""
        oldest = next((sent for sent in self._flight.values() if not sent.quiet), None)
        if oldest is None:
            return None
        if any(sent.lost for sent in self._flight.values()):
            return 0.0
        slow = [self._timer(sent.op).rto for sent in self._flight.values() if not sent.quiet]
        rto = min(max(_RTO_LEAST, max(slow) * self._backoff), max(_RTO_MOST, *slow))
        due = max(self._progress, oldest.sent_at) + rto + self._in_flight * self._bit_time
        ends = [self._expires(sent) for sent in self._flight.values() if not sent.quiet]
        return min(due, *ends)

    def _expires(self, sent: _Sent) -> float:
        """When a request is given up."""
        if sent.timeout is not None:
            return sent.started + sent.timeout
        extra = _SLOW.get(Op(sent.op), (0.0, 0.0))[1] if sent.op in _SLOW else 0.0
        line = self._in_flight * self._bit_time
        return min(max(sent.started, self._heard) + _SILENCE, sent.started + _LIMIT) + extra + line

    def _repeat(self) -> None:
        """The repeater's thread: sends again what is lost, gives up what is hopeless."""
        while True:
            again: list[_Sent] = []
            with self._state:
                while not self._closing.is_set():
                    deadline = None if self._down is not None else self._deadline()
                    wait = None if deadline is None else deadline - time.monotonic()
                    if wait is not None and wait <= 0:
                        break
                    self._state.wait(wait)
                if self._closing.is_set():
                    return
                now = time.monotonic()
                heard = [sent for sent in self._flight.values() if not sent.quiet]
                given_up = [sent for sent in heard if now >= self._expires(sent)]
                if not given_up:
                    again = [sent for sent in heard if sent.lost]
                if not given_up and not again:
                    # The timer has run out: the oldest alone tells whether the device still hears us.
                    again = heard[:1]
                    self._backoff *= _BACKOFF
                for sent in list(again):
                    if sent.most_repeats is not None and sent.times > sent.most_repeats:
                        again.remove(sent)
                        given_up.append(sent)
                for sent in given_up:
                    self._take_out(sent)
            for sent in given_up:
                sent.finish(None, self._gave_up(sent))
            for sent in again:
                self._send_again(sent)

    def _send_again(self, sent: _Sent) -> None:
        with self._tx_lock:
            with self._state:
                if self._flight.get(sent.seq) is not sent:
                    return
                del self._flight[sent.seq]
                self._flight[sent.seq] = sent
                self._place += 1
                sent.last = self._place
                sent.sent_at = time.monotonic()
                sent.times += 1
                sent.lost = False
                self._loss += (1 - self._loss) * _LOSS_WEIGHT * 2
            self._send(sent)

    def _gave_up(self, sent: _Sent) -> HotflashError:
        counts = self._frames.counts
        if sent.op == Op.HELLO and self._echo:
            return WireError(f"{self._name} returns what is sent to it", hint="check the wiring, and TX against RX")
        if sent.op == Op.HELLO and not counts.good and counts.octets:
            return WireError(
                f"{self._name} answers with something that is not hotflash",
                hint="check the baud rate, and that the board has the bootloader",
            )
        if sent.op == Op.HELLO and self._plain:
            return SilentError(
                f"{self._name}: the board runs an application that another tool flashed, without monitor",
                hint="reset the board and within a quarter of a second run `hotflash flash`",
            )
        return silent(self._name, sent.op)

    def _take_out(self, sent: _Sent) -> None:
        if self._flight.get(sent.seq) is sent:
            del self._flight[sent.seq]
            self._in_flight -= len(sent.wire)
            self._state.notify_all()

    # ---------------------------------------------------------------------------------- receiving

    def _read(self) -> None:
        """The reader's thread."""
        while not self._closing.is_set():
            try:
                data = self._transport.read(None)
                if not data and not self._closing.is_set():
                    # Closed by a writer that met an error.
                    raise LinkLostError(f"{self._name} went away", hint="check the cable and power")
            except PortError as error:
                if self._closing.is_set() or not self._recover(error):
                    return
                continue
            for frame in self._frames.feed(data):
                if frame.channel == Channel.CONTROL:
                    self._answer(frame)
                else:
                    self._heard = time.monotonic()
                    self._tell(frame)

    def _answer(self, frame: Frame) -> None:
        done: list[tuple[_Sent, Outcome]] = []
        with self._state:
            sent = self._flight.get(frame.seq)
            if sent is None or not frame.body or not self._fits(sent, frame.body):
                self.stale += 1
                return
            now = time.monotonic()
            if sent.times == 1:
                self._timer(sent.op).sample(now - sent.sent_at)
            self._progress = self._heard = now
            self._backoff = 1.0
            self._loss -= self._loss * _LOSS_WEIGHT
            self._take_out(sent)
            status, message = frame.body[0], frame.body[1:]
            if sent.alone:
                self._kept = {sent.seq}
            sealed = sent.op == Op.ABORT or (sent.op == Op.COMMIT and status != Status.E_SEAL)
            for other in list(self._flight.values()):
                if sealed and other.op == Op.WRITE and other.first < sent.last:
                    # The seal vouches for them, or the transaction is gone.
                    self._take_out(other)
                    done.append((other, self._outcome(other, Status.OK, b"", 0)))
                elif other.last < sent.first:
                    if other.quiet:
                        self._take_out(other)
                        done.append((other, self._outcome(other, Status.OK, b"", 0)))
                    else:
                        other.lost = True
                        self._state.notify_all()
            done.append((sent, self._outcome(sent, status, message, frame.size)))
        if sent.op == Op.HELLO and status == Status.OK:
            self._learn(message)
        for pending, outcome in done:
            pending.finish(outcome)

    def _fits(self, sent: _Sent, body: bytes) -> bool:
        """Whether ``body`` can be the reply to ``sent``.

        A Hello is never refused, and its reply carries its nonce: anything else is for the host that was here before,
        whose numbers may have been the same.
        """
        if sent.op != Op.HELLO:
            return True
        if body == bytes((sent.op,)) + sent.payload:
            self._echo = True
            return False
        nonce = HelloRequest.unpack(Reader(sent.payload)).nonce
        return body[0] == Status.OK and body[2:6] == nonce.to_bytes(4, "little")

    @staticmethod
    def _outcome(sent: _Sent, status: int, message: bytes, size: int) -> Outcome:
        return Outcome(status, message, len(sent.wire) * sent.times, size, sent.times - 1)

    def _learn(self, message: bytes) -> None:
        try:
            hello = read_hello(message)
        except HotflashError:
            return
        full = hello.chunk + _FRAME_EXTRA + (hello.chunk + _FRAME_EXTRA) // 254
        with self._state:
            self._hello = hello
            self._window = max(1, hello.credits) * full
            self._state.notify_all()

    def _tell(self, item: Frame | Event) -> None:
        events = self._decoder.decode(item) if isinstance(item, Frame) else [item]
        with self._state:
            taps, listeners = list(self._taps), list(self._listeners)
        for tap in taps:
            tap(item)
        for event in events:
            if isinstance(event, Boot | Plain):
                self._plain = isinstance(event, Plain)
            for listener in listeners:
                listener(event)

    # ------------------------------------------------------------------------------- losing a port

    def _fail(self, error: HotflashError) -> None:
        with self._state:
            self._down = error
            flight, self._flight = list(self._flight.values()), {}
            self._in_flight = 0
            self._state.notify_all()
        for sent in flight:
            sent.finish(None, error)

    def _recover(self, error: PortError) -> bool:
        """Opens the port again; false when that is not wanted."""
        self._transport.close()
        self._fail(error)
        self._tell(LinkDown(error.message))
        if self._reopen is None:
            return False
        pause, most = _REOPEN
        while not self._closing.wait(pause):
            pause = min(most, pause * 2)
            with contextlib.suppress(PortError):
                self._transport = self._reopen()
                break
        if self._closing.is_set():
            self._transport.close()
            return False
        self._frames.reset()
        with self._state:
            self._down = None
            self._kept.clear()
            self._decoder = EventDecoder()
            self._state.notify_all()
        self._tell(LinkUp())
        return True
