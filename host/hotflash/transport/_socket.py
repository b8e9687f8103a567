"""``socket://host:port`` without pyserial: emulators are reached this way, and it must start and end fast."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hotflash.errors import PortError, UsageError
from hotflash.transport._descriptor import DescriptorTransport

if TYPE_CHECKING:
    from hotflash.transport import Transport

_CONNECT = 5.0
"""Seconds for a connection to be made."""


def open_socket(url: str) -> Transport:
    """Connects to ``socket://host:port``; raises :class:`PortError` when nothing listens there."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None:
        raise UsageError(f"{url}: a socket's URL looks like socket://localhost:5555")
    try:
        stream = socket.create_connection((host, port), timeout=_CONNECT)
    except ConnectionRefusedError as error:
        raise PortError(
            f"{url}: nothing listens there", hint="start the emulated board, for example with `hotflash sim`"
        ) from error
    except OSError as error:
        raise PortError(f"{url}: {error.strerror or error}", hint="check host and port") from error
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return DescriptorTransport(stream.fileno(), url, stream.close)
