"""Two transports in memory, back to back: what one writes, the other reads. For tests and models of devices."""

from __future__ import annotations

import threading
import time

from hotflash.transport import LinkLostError

__all__ = ["MemoryTransport", "pair"]


class _Pipe:
    """One direction."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.changed = threading.Condition()
        self.writer_gone = False
        self.reader_gone = False


class MemoryTransport:
    """One end of a :func:`pair`."""

    def __init__(self, name: str, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._name = name
        self._in = incoming
        self._out = outgoing

    @property
    def name(self) -> str:
        """As given to :func:`pair`."""
        return self._name

    def read(self, timeout: float | None) -> bytes:
        """See :meth:`hotflash.transport.Transport.read`."""
        pipe = self._in
        deadline = None if timeout is None else time.monotonic() + timeout
        with pipe.changed:
            while not pipe.data and not pipe.reader_gone:
                if pipe.writer_gone:
                    raise LinkLostError(f"{self._name} went away")
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return b""
                pipe.changed.wait(left)
            if pipe.reader_gone:
                return b""
            data = bytes(pipe.data)
            pipe.data.clear()
            return data

    def write(self, data: bytes) -> None:
        """See :meth:`hotflash.transport.Transport.write`; never waits."""
        pipe = self._out
        with pipe.changed:
            if pipe.reader_gone or pipe.writer_gone:
                raise LinkLostError(f"{self._name} is closed")
            pipe.data += data
            pipe.changed.notify_all()

    def close(self) -> None:
        """Closes this end; the other reads what is left and then :class:`LinkLostError`."""
        for pipe, is_reader in ((self._in, True), (self._out, False)):
            with pipe.changed:
                if is_reader:
                    pipe.reader_gone = True
                else:
                    pipe.writer_gone = True
                pipe.changed.notify_all()


def pair(first: str = "memory", second: str = "memory peer") -> tuple[MemoryTransport, MemoryTransport]:
    """Two connected transports."""
    there, back = _Pipe(), _Pipe()
    return MemoryTransport(first, back, there), MemoryTransport(second, there, back)
