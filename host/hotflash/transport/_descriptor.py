"""Reading and writing of a non-blocking descriptor, with a pipe that ends the waiting when it is closed."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from typing import TYPE_CHECKING

from hotflash.transport import LinkLostError

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE = 65536


class DescriptorTransport:
    """A :class:`~hotflash.transport.Transport` over a descriptor that select() takes: a tty or a socket."""

    def __init__(self, descriptor: int, name: str, release: Callable[[], None]) -> None:
        self._fd = descriptor
        self._name = name
        self._release = release
        self._wake_read, self._wake_write = os.pipe()
        self._closed = False
        self._lock = threading.Lock()
        self._users = 0
        os.set_blocking(descriptor, False)

    @property
    def name(self) -> str:
        """Device path or URL."""
        return self._name

    def read(self, timeout: float | None) -> bytes:
        """See :meth:`Transport.read`."""
        if not self._enter():
            return b""
        try:
            deadline = None if timeout is None else time.monotonic() + timeout
            while not self._closed:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                ready, _, _ = select.select([self._fd, self._wake_read], [], [], left)
                if self._closed or not ready:
                    return b""
                try:
                    data = os.read(self._fd, _PIECE)
                except (BlockingIOError, InterruptedError):
                    continue
                if not data:
                    # Readable, and yet nothing there: a closed socket, or a tty that was unplugged.
                    raise self._lost()
                return data
        except OSError as error:
            raise self._lost(error) from error
        finally:
            self._leave()
        return b""

    def write(self, data: bytes) -> None:
        """See :meth:`Transport.write`."""
        if not self._enter():
            raise self._lost()
        try:
            left = memoryview(data)
            while left:
                try:
                    left = left[os.write(self._fd, left) :]
                except (BlockingIOError, InterruptedError):
                    select.select([self._wake_read], [self._fd], [])
                if self._closed:
                    raise self._lost()
        except OSError as error:
            raise self._lost(error) from error
        finally:
            self._leave()

    def close(self) -> None:
        """See :meth:`Transport.close`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.write(self._wake_write, b"x")
            last = not self._users
        if last:
            self._free()

    def _lost(self, error: OSError | None = None) -> LinkLostError:
        if self._closed:
            return LinkLostError(f"{self._name} is closed")
        why = f": {error.strerror}" if error and error.strerror else ""
        return LinkLostError(
            f"{self._name} went away{why}", hint="check the cable and power, or that the emulator runs"
        )

    # The descriptor must not be closed, and its number be given to another file, under a thread's feet: whoever
    # is last out closes it.
    def _enter(self) -> bool:
        with self._lock:
            if self._closed:
                return False
            self._users += 1
            return True

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._closed and not self._users
        if last:
            self._free()

    def _free(self) -> None:
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)
        with contextlib.suppress(OSError):
            self._release()
