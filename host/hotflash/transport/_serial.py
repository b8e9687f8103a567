"""ttys and all other URLs, through pyserial."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

from hotflash.errors import PortError, UsageError
from hotflash.transport import LinkLostError, Transport
from hotflash.transport._descriptor import DescriptorTransport

_SLICE = 0.05
"""Seconds that a port without a descriptor is read at a time: pyserial cannot be woken there."""


def open_serial(url: str, baud: int, *, dtr: bool, rts: bool) -> Transport:
    """Opens a tty or URL; see :func:`hotflash.transport.open_port`."""
    import serial

    is_path = "://" not in url
    if is_path and os.name == "posix":
        _check_path(url)
    try:
        # do_not_open: the lines' levels are set before anything is opened.
        options = {"exclusive": True} if is_path and os.name == "posix" else {}
        port = serial.serial_for_url(url, baudrate=baud, timeout=_SLICE, do_not_open=True, **options)
        port.dtr = dtr
        port.rts = rts
        port.open()
    except (serial.SerialException, OSError) as error:
        raise _explain(url, error) from error
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from error
    descriptor = _descriptor(port)
    if descriptor is None:
        return _PortTransport(port, url)
    if is_path:
        _settle_tty(port, descriptor)
    return DescriptorTransport(descriptor, url, port.close)


def _descriptor(port: Any) -> int | None:
    if os.name != "posix" or not isinstance(getattr(port, "fd", None), int):
        return None
    return int(port.fd)


def _settle_tty(port: Any, descriptor: int) -> None:
    import termios

    with contextlib.suppress(termios.error, OSError):
        # The lines keep their levels when we close, so that the next opening makes no edge either.
        attributes = termios.tcgetattr(descriptor)
        attributes[2] &= ~termios.HUPCL
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
    with contextlib.suppress(AttributeError, NotImplementedError, ValueError, OSError):
        # USB adapters otherwise hold back what they received for up to 16 ms.
        port.set_low_latency_mode(True)


def _check_path(path: str) -> None:
    if not Path(path).exists():
        from serial.tools import list_ports

        ports = sorted(item.device for item in list_ports.comports())
        hint = f"there are: {', '.join(ports)}" if ports else "no serial port is connected"
        raise PortError(f"{path}: no such port", hint=hint)
    if not os.access(path, os.R_OK | os.W_OK):
        raise _denied(path)


def _denied(path: str) -> PortError:
    import grp

    group: str | None = None
    with contextlib.suppress(OSError, KeyError):
        group = grp.getgrgid(Path(path).stat().st_gid).gr_name
    if group in (None, "root"):
        return PortError(f"{path}: permission denied", hint="its owner must grant you read and write access")
    return PortError(
        f"{path}: permission denied; it belongs to group {group}",
        hint=f"sudo usermod -aG {group} $USER, then log in again",
    )


def _explain(url: str, error: Exception) -> PortError:
    number = getattr(error, "errno", None)
    text = str(error)
    if number in (errno.EBUSY, errno.EWOULDBLOCK) or "exclusively lock" in text:
        return PortError(f"{url}: in use by another program", hint=f"find it with `fuser {url}` and close it there")
    if number in (errno.EACCES, errno.EPERM):
        return _denied(url)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return PortError(f"{url}: no such port", hint="check the cable, or choose another port")
    if number == errno.ENOTTY or "configure port" in text:
        return PortError(f"{url}: not a serial port", hint="choose a tty or a URL")
    return PortError(f"{url}: {text}", hint="check the port's name or URL")


class _PortTransport:
    """A pyserial port that has no descriptor: rfc2217://, loop://, Windows."""

    def __init__(self, port: Any, name: str) -> None:
        self._port = port
        self._name = name
        self._closed = threading.Event()
        self._reading = threading.Lock()

    @property
    def name(self) -> str:
        return self._name

    def read(self, timeout: float | None) -> bytes:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._closed.is_set():
            try:
                with self._reading:
                    if self._closed.is_set():
                        return b""
                    first: bytes = self._port.read(1)
                    more: bytes = self._port.read(self._port.in_waiting) if first else b""
            except (OSError, TypeError, AttributeError) as error:
                # pyserial answers with all three when a port is pulled away or closed in the middle.
                if self._closed.is_set():
                    return b""
                raise self._lost(error) from error
            if first or (deadline is not None and time.monotonic() >= deadline):
                return first + more
        return b""

    def write(self, data: bytes) -> None:
        if self._closed.is_set():
            raise LinkLostError(f"{self._name} is closed")
        try:
            self._port.write(data)
        except (OSError, TypeError, AttributeError) as error:
            raise self._lost(error) from error

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(AttributeError, OSError):
            self._port.cancel_read()
        with self._reading, contextlib.suppress(OSError):
            self._port.close()

    def _lost(self, error: Exception) -> LinkLostError:
        return LinkLostError(f"{self._name} went away: {error}", hint="check the cable and power")
