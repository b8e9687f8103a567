"""What a :class:`~hotflash.device.Device` talks through: the link itself, or another process that owns it."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from hotflash.errors import HotflashError, PortError, WireError
from hotflash.wire.codec import Reader, Writer
from hotflash.wire.messages import VERSION, HelloReply, HelloRequest, Op, Status
from hotflash.wire.status import error_for, op_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotflash.wire.events import Event

__all__ = ["Channel", "Outcome", "Pending", "Request", "SilentError", "ask", "say_hello"]

REPEATABLE = frozenset({Op.HELLO, Op.WRITE, Op.READ, Op.FLASH_WRITE, Op.SLOTS, Op.HOOKS, Op.STATUS, Op.RECORD})
"""Requests that may be done twice, so the device keeps no reply to them."""


class SilentError(PortError):
    """No answer came, however often the request was repeated."""


class Request(Protocol):
    """A request of :mod:`hotflash.wire.messages`."""

    @property
    def OP(self) -> Op:  # noqa: N802 - as in the messages
        """Its operation."""

    def pack(self, w: Writer) -> None:
        """Appends the fields."""


class _Reply(Protocol):
    @classmethod
    def unpack(cls, r: Reader) -> Self: ...


_R = TypeVar("_R", bound=_Reply)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended."""

    status: int
    """:class:`hotflash.wire.messages.Status`."""
    message: bytes
    """The reply without its status."""
    tx: int
    """Bytes sent for it, framing and repeats included."""
    rx: int
    """Bytes of its reply, framing included; 0 for a quiet request."""
    repeats: int = 0
    """Times that it was sent again."""


class Pending:
    """A request on its way."""

    def __init__(self, op: int, payload: bytes) -> None:
        self.op = op
        self.payload = payload
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._outcome: Outcome | None = None
        self._error: HotflashError | None = None
        self._callbacks: list[Callable[[Pending], None]] = []

    @property
    def done(self) -> bool:
        """True when it was answered, or given up."""
        return self._done.is_set()

    @property
    def error(self) -> HotflashError | None:
        """Why it was given up, if it was."""
        return self._error

    def outcome(self) -> Outcome:
        """Waits until it is answered; raises when it was given up. The link sees to it that one of them comes."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        assert self._outcome is not None  # noqa: S101 - finish() sets one of the two
        return self._outcome

    def reply(self) -> bytes:
        """The reply's message; raises the error of its status."""
        outcome = self.outcome()
        if outcome.status != Status.OK:
            raise error_for(self.op, outcome.status, outcome.message)
        return outcome.message

    def then(self, callback: Callable[[Pending], None]) -> None:
        """Calls ``callback`` when it is done, at once if it is; it must be quick and must not raise."""
        with self._lock:
            if not self._done.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    def finish(self, outcome: Outcome | None, error: HotflashError | None = None) -> None:
        """Ends it; for the channel. The first call counts."""
        with self._lock:
            if self._done.is_set():
                return
            self._outcome, self._error = outcome, error
            callbacks, self._callbacks = self._callbacks, []
            self._done.set()
        for callback in callbacks:
            callback(self)


class Channel(Protocol):
    """Requests to a board and events from it. Thread-safe."""

    @property
    def name(self) -> str:
        """The port, as people know it."""

    @property
    def hello(self) -> HelloReply | None:
        """The last answer to a Hello."""

    @property
    def loss(self) -> float:
        """Part of the frames that had to be sent again lately, 0 to 1."""

    def submit(
        self, op: int, payload: bytes, *, quiet: bool = False, timeout: float | None = None, repeats: int | None = None
    ) -> Pending:
        """Sends a request as soon as the device has room for it, and does not wait for the reply.

        A request that is lost and sent again is done behind later ones: wait for a reply where the order counts.
        ``quiet`` allows a Write or FlashWrite to go without an acknowledgement. ``timeout`` in seconds and
        ``repeats`` end it with :class:`SilentError` earlier than usual.
        """

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Calls ``listener`` for each event, on a thread of the channel; returns what ends that."""

    def close(self) -> None:
        """Ends it and gives the port back, or leaves it to those who share it."""


def pack(request: Request) -> bytes:
    """The request's message."""
    writer = Writer()
    request.pack(writer)
    return bytes(writer.data)


def ask(channel: Channel, request: Request, reply: type[_R], *, timeout: float | None = None) -> _R:
    """Sends ``request`` and waits for its reply; raises the error of its status."""
    return reply.unpack(Reader(channel.submit(request.OP, pack(request), timeout=timeout).reply()))


def say_hello(channel: Channel, timeout: float) -> HelloReply:
    """Opens a conversation; tried again until ``timeout`` seconds have passed.

    Raises :class:`SilentError` when nothing hotflash-like answers and :class:`WireError` for another version.
    """
    nonce = secrets.randbits(32)
    message = channel.submit(Op.HELLO, pack(HelloRequest(VERSION, VERSION, nonce)), timeout=timeout).reply()
    return read_hello(message)


def read_hello(message: bytes) -> HelloReply:
    """The answer to a Hello, if its version is ours."""
    version = message[0] if message else 0
    if version == VERSION:
        return HelloReply.unpack(Reader(message))
    theirs = f"version {version}"
    if not version:
        try:
            theirs = f"another version (its bootloader is hotflash {HelloReply.unpack(Reader(message)).monitor})"
        except WireError:
            theirs = "another version"
    raise WireError(
        f"the board speaks {theirs} of the wire protocol, this hotflash version {VERSION}",
        hint="update the older of the two: hotflash on this machine, or the bootloader on the board",
    )


def silent(name: str, op: int) -> SilentError:
    """The error for a request that nothing answers."""
    if op == Op.HELLO:
        return SilentError(
            f"{name}: nothing answers",
            hint="check power, cable, baud rate and that the board has the bootloader; "
            "an application that masks interrupts for ever also keeps it from answering",
        )
    return SilentError(f"{name}: the board stopped answering (`{op_name(op)}`)", hint="see `hotflash status`")
