"""Byte streams to a board: any pyserial URL, an in-memory pair for tests, and a model of a bad or slow line.

A transport carries bytes and knows nothing of frames. :func:`open_port` opens a real one.
"""

from __future__ import annotations

from typing import Protocol

from hotflash.errors import PortError

__all__ = ["LinkLostError", "Transport", "open_port"]

DEFAULT_BAUD = 115200


class LinkLostError(PortError):
    """The other end went away: the tty was unplugged, the socket closed."""


class Transport(Protocol):
    """A two-way stream of bytes. One thread may read while others write; close() may be called from any."""

    @property
    def name(self) -> str:
        """What people know it by: a device path or a URL."""

    def read(self, timeout: float | None) -> bytes:
        """What has arrived, waiting up to ``timeout`` seconds (None: for ever) for at least one byte.

        Empty at the timeout and once the transport is closed; :class:`LinkLostError` when the other end is gone.
        """

    def write(self, data: bytes) -> None:
        """Sends all of ``data``, waiting while the line's buffers are full; :class:`LinkLostError` as for read."""

    def close(self) -> None:
        """Gives the port back and ends a read that waits. Closing twice is harmless."""


def open_port(url: str, baud: int = DEFAULT_BAUD, *, dtr: bool = True, rts: bool = True) -> Transport:
    """Opens ``url``: a tty's path, or any pyserial URL such as ``socket://host:port`` or ``rfc2217://host:port``.

    ``dtr`` and ``rts`` are the levels of the two modem lines from the first moment. The operating system asserts
    both when a tty is opened, so True makes no edge that could reset a board, and they keep their levels when the
    port is closed. Boards that are held in reset by an asserted line want False.

    Raises :class:`PortError` when the port is missing, not permitted, or in use.
    """
    if url.startswith("socket://"):
        from hotflash.transport._socket import open_socket

        return open_socket(url)
    from hotflash.transport._serial import open_serial

    return open_serial(url, baud, dtr=dtr, rts=rts)
