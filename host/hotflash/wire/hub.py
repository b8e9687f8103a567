"""One process owns a port, the others share it, with nothing to start by hand.

Whoever holds the lock ``port-<hash>.lock`` in the project's ``.hotflash`` folder owns the port and listens on a Unix
socket beside it. The others connect there; their requests go through the owner's link, so sequence numbers and
credits have one keeper, and they get every event. When the owner ends, however it ends, the system releases the
lock, and one of the others takes it, opens the port, and becomes the owner; requests that may be repeated are, the
rest fail with :class:`LinkLostError`.

Records on the socket: length (u32), kind (u8), payload; see the ``_pack_*`` functions.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import stat
import struct
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from hotflash.errors import HotflashError, PortError, UsageError, WireError
from hotflash.transport import LinkLostError, open_port
from hotflash.wire.channel import REPEATABLE, Outcome, Pending, SilentError, read_hello, say_hello
from hotflash.wire.events import Event, EventDecoder, LinkDown, LinkUp
from hotflash.wire.frame import Frame
from hotflash.wire.link import Link
from hotflash.wire.messages import HelloReply, Op, Status

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SharedChannel", "join"]

_VERSION = 1
"""Of the records on the socket."""
_PATH_MOST = 100
"""Bytes of a socket's path; the system takes 107, on macOS 103."""
_RECORD_MOST = 1 << 20
_BACKLOG_MOST = 4 << 20
"""Bytes that may wait for a client that does not read; then it is dropped."""
_JOIN = 5.0
"""Seconds for an owner that has the lock to listen."""
_PAUSE = (0.01, 0.5)
"""Seconds between attempts to join: first and most."""

_WELCOME, _REQUEST, _REPLY, _FAILED, _FRAME, _EVENT = range(1, 7)
_HEAD = struct.Struct("<IB")
_REQUEST_HEAD = struct.Struct("<IBBfb")  # id, operation, 1: may be quiet, timeout (negative: none), repeats (same)
_REPLY_HEAD = struct.Struct("<IBIIH")  # id, status, bytes sent, bytes received, repeats

_ERRORS: dict[str, type[HotflashError]] = {
    kind.__name__: kind for kind in (HotflashError, LinkLostError, PortError, SilentError, WireError)
}


def join(url: str, *, baud: int, folder: Path) -> SharedChannel:
    """A channel to ``url`` shared with all processes that name the same ``folder``.

    Raises :class:`PortError` when the port is missing, denied, or in use by a program that does not share it.
    """
    return SharedChannel(url, baud, folder)


class SharedChannel:
    """A :class:`~hotflash.wire.channel.Channel`: the port's owner, or a client that becomes it when need be."""

    def __init__(self, url: str, baud: int, folder: Path) -> None:
        self._url = url
        self._baud = baud
        self._lock_path, self._socket_path = _paths(url, folder)
        self._state = threading.Condition()
        self._owner: _Owner | None = None
        self._client: _Connection | None = None
        self._down: HotflashError | None = None
        self._closed = threading.Event()
        self._flight: dict[int, _Forwarded] = {}
        self._next = 0
        self._loss = 0.0
        self._hello: HelloReply | None = None
        self._decoder = EventDecoder()
        self._listeners: list[Callable[[Event], None]] = []
        self._thread: threading.Thread | None = None
        deadline = time.monotonic() + _JOIN
        pause = _PAUSE[0]
        while not self._attach():
            if time.monotonic() >= deadline:
                raise PortError(
                    f"{url}: another hotflash has it and does not answer",
                    hint=f"end the process that holds {self._lock_path}",
                )
            # What changes is in another process, and there is nothing to wait on before it listens.
            self._closed.wait(pause)
        if self._client is not None:
            self._thread = threading.Thread(target=self._follow, name="hotflash-hub-client", daemon=True)
            self._thread.start()

    # ------------------------------------------------------------------------------ for everybody

    @property
    def name(self) -> str:
        """The port."""
        return self._url

    @property
    def is_owner(self) -> bool:
        """Whether this process has the port open."""
        return self._owner is not None

    @property
    def hello(self) -> HelloReply | None:
        """The last answer to a Hello."""
        return self._owner.link.hello if self._owner else self._hello

    @property
    def loss(self) -> float:
        """Part of the frames that had to be sent again lately, 0 to 1."""
        return self._owner.link.loss if self._owner else self._loss

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Calls ``listener`` for each event, on a thread of the channel; returns what ends that."""
        with self._state:
            self._listeners.append(listener)

        def end() -> None:
            with self._state, contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return end

    def submit(
        self, op: int, payload: bytes, *, quiet: bool = False, timeout: float | None = None, repeats: int | None = None
    ) -> Pending:
        """See :meth:`hotflash.wire.channel.Channel.submit`."""
        with self._state:
            while self._owner is None and self._client is None and self._down is None:
                self._state.wait()
            if self._down is not None:
                pending = Pending(op, payload)
                pending.finish(None, self._down)
                return pending
            owner, client = self._owner, self._client
            if owner is None:
                self._next += 1
                sent = _Forwarded(op, payload, self._next, quiet=quiet, timeout=timeout, repeats=repeats)
                self._flight[sent.id] = sent
        if owner is not None:
            return owner.link.submit(op, payload, quiet=quiet, timeout=timeout, repeats=repeats)
        assert client is not None  # noqa: S101 - one of the two is there
        client.send(_REQUEST, sent.record())
        return sent

    def close(self) -> None:
        """Leaves the hub; an owner's port goes to one of the clients, if there are any."""
        with self._state:
            if self._closed.is_set():
                return
            self._closed.set()
            owner, client = self._owner, self._client
        self._fail(LinkLostError(f"{self._url} is closed"))
        if client is not None:
            client.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        owner = owner or self._owner
        if owner is not None:
            owner.close()

    # ---------------------------------------------------------------------------- finding a place

    def _attach(self) -> bool:
        """Becomes the owner or a client of the owner; false when neither is possible yet."""
        lock = _try_lock(self._lock_path)
        if lock is not None:
            try:
                owner = _Owner(self._url, self._baud, lock, self._socket_path, self._tell)
            except BaseException:
                os.close(lock)
                raise
            with self._state:
                self._owner = owner
            return True
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            stream.connect(str(self._socket_path))
            client = _Connection(stream)
            welcome = client.receive()
        except OSError:
            stream.close()
            return False
        if welcome is None or welcome[0] != _WELCOME:
            client.close()
            return False
        theirs = json.loads(welcome[1]).get("version")
        if theirs != _VERSION:
            client.close()
            raise PortError(
                f"{self._url}: in use by another version of hotflash",
                hint="end it, or use the same version everywhere",
            )
        with self._state:
            self._client = client
        return True

    def _follow(self) -> None:
        """The client's thread: takes what the owner sends, and its place when it is gone."""
        while not self._closed.is_set():
            client = self._client
            assert client is not None  # noqa: S101 - set before the thread, and by _move
            while (record := client.receive()) is not None:
                self._take(*record)
            client.close()
            if self._closed.is_set() or not self._move():
                return

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == _FRAME:
            self._tell(Frame(payload[0], payload[1], payload[2:]))
        elif kind == _EVENT:
            said = json.loads(payload)
            self._tell(LinkDown(said["down"]) if "down" in said else LinkUp())
        elif kind == _REPLY:
            number, status, tx, rx, repeats = _REPLY_HEAD.unpack_from(payload)
            self._finish(number, Outcome(status, payload[_REPLY_HEAD.size :], tx, rx, repeats), None)
        elif kind == _FAILED:
            said = json.loads(payload)
            error = _ERRORS.get(said["kind"], HotflashError)(said["message"], hint=said["hint"])
            self._finish(said["id"], None, error)

    def _finish(self, number: int, outcome: Outcome | None, error: HotflashError | None) -> None:
        with self._state:
            sent = self._flight.pop(number, None)
        if sent is None:
            return
        if outcome is not None:
            self._loss += ((1.0 if outcome.repeats else 0.0) - self._loss) / 64
            if sent.op == Op.HELLO and outcome.status == Status.OK:
                with contextlib.suppress(HotflashError):
                    self._hello = read_hello(outcome.message)
        sent.finish(outcome, error)

    def _move(self) -> bool:
        """The owner is gone: finds a new place; false once it needs no thread any more."""
        with self._state:
            self._client = None
            lost = [sent for sent in self._flight.values() if sent.op not in REPEATABLE]
            for sent in lost:
                del self._flight[sent.id]
        for sent in lost:
            sent.finish(None, LinkLostError(f"{self._url}: the process that had the port ended in the middle"))
        pause, most = _PAUSE
        while not self._closed.is_set():
            error: HotflashError | None = None
            try:
                if self._attach():
                    break
            except HotflashError as caught:
                error = caught
            if error is not None and self._down is None:
                self._fail(LinkLostError(error.message, hint=error.hint))
                self._tell(LinkDown(error.message))
            self._closed.wait(pause)
            pause = min(most, pause * 2)
        if self._closed.is_set():
            return False
        was_down = self._down is not None
        owner = self._owner
        if owner is not None:
            # Ends what the last owner left unfinished in the device; if it stays silent, the requests say so.
            with contextlib.suppress(HotflashError):
                say_hello(owner.link, 2.0)
        with self._state:
            self._down = None
            again, self._flight = list(self._flight.values()), {}
            client = self._client
            if client is not None:
                self._flight = {sent.id: sent for sent in again}
            self._state.notify_all()
        for sent in again:
            if owner is not None:
                sent.forward(owner.link)
            elif client is not None:
                client.send(_REQUEST, sent.record())
        if was_down:
            self._tell(LinkUp())
        return owner is None

    def _fail(self, error: HotflashError) -> None:
        with self._state:
            self._down = error
            flight, self._flight = list(self._flight.values()), {}
            self._state.notify_all()
        for sent in flight:
            sent.finish(None, error)

    def _tell(self, item: Frame | Event) -> None:
        events = self._decoder.decode(item) if isinstance(item, Frame) else [item]
        with self._state:
            listeners = list(self._listeners)
        for event in events:
            for listener in listeners:
                listener(event)


class _Forwarded(Pending):
    """A request that a client has given to the owner."""

    def __init__(
        self, op: int, payload: bytes, number: int, *, quiet: bool, timeout: float | None, repeats: int | None
    ) -> None:
        super().__init__(op, payload)
        self.id = number
        self._quiet = quiet
        self._timeout = timeout
        self._repeats = repeats

    def record(self) -> bytes:
        timeout = -1.0 if self._timeout is None else self._timeout
        repeats = -1 if self._repeats is None else self._repeats
        return _REQUEST_HEAD.pack(self.id, self.op, int(self._quiet), timeout, repeats) + self.payload

    def forward(self, link: Link) -> None:
        """Sends it through the process's own link from now on."""
        inner = link.submit(self.op, self.payload, quiet=self._quiet, timeout=self._timeout, repeats=self._repeats)
        inner.then(lambda done: self.finish(None if done.error else done.outcome(), done.error))


# ------------------------------------------------------------------------------------------- owner


class _Owner:
    """The port, and the socket at which the others find it."""

    def __init__(self, url: str, baud: int, lock: int, path: Path, listener: Callable[[Frame | Event], None]) -> None:
        self._lock = lock
        self._path = path
        self._guests: set[_Guest] = set()
        self._mutex = threading.Lock()
        self._closing = False
        self.link = Link(open_port(url, baud), baud=baud, reopen=lambda: open_port(url, baud))
        try:
            self._server = _listen(path)
        except BaseException:
            self.link.close()
            raise
        self._wake_read, self._wake_write = socket.socketpair()
        self.link.tap(listener)
        self.link.tap(self._spread)
        self._thread = threading.Thread(target=self._accept, name="hotflash-hub", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        import select

        while True:
            ready, _, _ = select.select([self._server, self._wake_read], [], [])
            if self._wake_read in ready:
                return
            try:
                stream, _ = self._server.accept()
            except OSError:
                continue
            guest = _Guest(stream, self.link, self._leave)
            with self._mutex:
                self._guests.add(guest)
            guest.start()

    def _spread(self, item: Frame | Event) -> None:
        if isinstance(item, Frame):
            kind, payload = _FRAME, bytes((item.channel, item.seq)) + item.body
        else:
            kind, payload = _EVENT, json.dumps({"down": item.reason} if isinstance(item, LinkDown) else {}).encode()
        with self._mutex:
            guests = list(self._guests)
        for guest in guests:
            guest.post(kind, payload)

    def _leave(self, guest: _Guest) -> None:
        with self._mutex:
            self._guests.discard(guest)

    def close(self) -> None:
        self._wake_write.send(b"x")
        self._thread.join()
        with self._mutex:
            guests = list(self._guests)
        # The port first and the lock next: the clients that then see us go can take both at once.
        self.link.close()
        self._path.unlink(missing_ok=True)
        os.close(self._lock)
        for guest in guests:
            guest.close()
        for stream in (self._server, self._wake_read, self._wake_write):
            stream.close()


class _Guest:
    """A client, as the owner sees it."""

    def __init__(self, stream: socket.socket, link: Link, leave: Callable[[_Guest], None]) -> None:
        self._connection = _Connection(stream)
        self._link = link
        self._leave = leave
        self._outgoing: deque[tuple[int, bytes]] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._gone = False
        self._transaction = False
        self._reader = threading.Thread(target=self._read, name="hotflash-hub-reader", daemon=True)
        self._writer = threading.Thread(target=self._write, name="hotflash-hub-writer", daemon=True)
        self.post(_WELCOME, json.dumps({"version": _VERSION}).encode())

    def start(self) -> None:
        self._reader.start()
        self._writer.start()

    def post(self, kind: int, payload: bytes) -> None:
        """Queues a record; never waits, since the link's reader calls it."""
        with self._changed:
            if self._gone:
                return
            self._outgoing.append((kind, payload))
            self._waiting += len(payload)
            if self._waiting > _BACKLOG_MOST:
                self._gone = True
            self._changed.notify_all()

    def close(self) -> None:
        self._end()
        for thread in (self._reader, self._writer):
            if thread is not threading.current_thread():
                thread.join()

    def _end(self) -> None:
        with self._changed:
            self._gone = True
            self._changed.notify_all()
        self._connection.shutdown()

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._outgoing and not self._gone:
                    self._changed.wait()
                if self._gone:
                    break
                kind, payload = self._outgoing.popleft()
                self._waiting -= len(payload)
            self._connection.send(kind, payload)
        self._connection.shutdown()

    def _read(self) -> None:
        while (record := self._connection.receive()) is not None:
            kind, payload = record
            if kind != _REQUEST or len(payload) < _REQUEST_HEAD.size:
                break
            number, op, quiet, timeout, repeats = _REQUEST_HEAD.unpack_from(payload)
            pending = self._link.submit(
                op,
                payload[_REQUEST_HEAD.size :],
                quiet=bool(quiet),
                timeout=None if timeout < 0 else timeout,
                repeats=None if repeats < 0 else repeats,
            )
            pending.then(lambda done, number=number: self._answer(number, done))  # type: ignore[misc]
        self._leave(self)
        self._end()
        self._writer.join()
        self._connection.close()
        if self._transaction:
            # It died in the middle of a push: the others need not wait until the device gives that up.
            self._link.submit(Op.ABORT, b"")

    def _answer(self, number: int, done: Pending) -> None:
        error = done.error
        if error is not None:
            said = {"id": number, "kind": type(error).__name__, "message": error.message, "hint": error.hint}
            self.post(_FAILED, json.dumps(said).encode())
            return
        outcome = done.outcome()
        if done.op == Op.BEGIN and outcome.status == Status.OK:
            self._transaction = True
        elif done.op == Op.ABORT or (done.op == Op.COMMIT and outcome.status not in (Status.E_SEAL, Status.E_FRAMES)):
            self._transaction = False
        head = _REPLY_HEAD.pack(number, outcome.status, outcome.tx, outcome.rx, min(outcome.repeats, 0xFFFF))
        self.post(_REPLY, head + outcome.message)


class _Connection:
    """Records over a stream socket."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._sending = threading.Lock()
        self._buffer = bytearray()

    def send(self, kind: int, payload: bytes) -> None:
        """Sends a record; that the other end is gone shows when receiving."""
        with self._sending, contextlib.suppress(OSError):
            self._stream.sendall(_HEAD.pack(len(payload), kind) + payload)

    def receive(self) -> tuple[int, bytes] | None:
        """The next record; None when there will be no more."""
        while True:
            if len(self._buffer) >= _HEAD.size:
                length, kind = _HEAD.unpack_from(self._buffer)
                if length > _RECORD_MOST:
                    return None
                end = _HEAD.size + length
                if len(self._buffer) >= end:
                    payload = bytes(self._buffer[_HEAD.size : end])
                    del self._buffer[:end]
                    return kind, payload
            try:
                data = self._stream.recv(65536)
            except OSError:
                return None
            if not data:
                return None
            self._buffer += data

    def shutdown(self) -> None:
        """Ends both directions; a thread that receives gets None."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.shutdown()
        self._stream.close()


# ------------------------------------------------------------------------------------------- files


def _paths(url: str, folder: Path) -> tuple[Path, Path]:
    """Lock and socket for ``url``; a tty is the same by whatever link it is named."""
    port = url if "://" in url else os.path.realpath(url)
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    stem = f"port-{hashlib.sha256(port.encode()).hexdigest()[:12]}"
    lock, path = folder / f"{stem}.lock", folder / f"{stem}.sock"
    if len(os.fsencode(path)) <= _PATH_MOST:
        return lock, path
    whole = hashlib.sha256(f"{folder}\0{port}".encode(errors="surrogateescape")).hexdigest()[:20]
    return lock, _private_folder() / f"{whole}.sock"


def _private_folder() -> Path:
    """A folder with a short path that only we can enter."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    if len(os.fsencode(base)) > _PATH_MOST - 50:
        base = "/tmp"  # noqa: S108 - owner and mode are checked
    folder = Path(base) / f"hotflash-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise UsageError(
            f"{folder}: belongs to somebody else, or others may enter it",
            hint="remove it, or set XDG_RUNTIME_DIR to a folder of your own",
        )
    return folder


def _try_lock(path: Path) -> int | None:
    """The locked file's descriptor, which holds the lock as long as it is open; None when another has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        raise PortError(f"{path}: cannot be locked: {error.strerror}") from error
    return descriptor


def _listen(path: Path) -> socket.socket:
    """A socket at ``path`` that only we may connect to; what a dead owner left there goes."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        server.bind(str(path))
        path.chmod(0o600)
        server.listen(16)
    except OSError as error:
        server.close()
        raise PortError(
            f"{path}: cannot listen there: {error.strerror}", hint="check the folder's permissions"
        ) from error
    return server
