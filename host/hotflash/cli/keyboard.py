"""Single keys from a terminal, without echo; Ctrl-C stays an interrupt."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Key:
    """One character that was typed."""

    character: str


@contextlib.contextmanager
def keys(put: Callable[[Key], None]) -> Iterator[None]:
    """Calls ``put`` with each key while it is entered; the terminal is put back on leaving, whatever happens."""
    try:
        import termios
    except ImportError:  # Windows: Ctrl-C ends the monitor
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    raw = termios.tcgetattr(descriptor)
    raw[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
    raw[6][termios.VMIN] = 1
    raw[6][termios.VTIME] = 0
    termios.tcsetattr(descriptor, termios.TCSADRAIN, raw)
    # A daemon: it sits in read() until the next key, and nobody waits for it.
    threading.Thread(target=_read, args=(descriptor, put), daemon=True).start()
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _read(descriptor: int, put: Callable[[Key], None]) -> None:
    while True:
        try:
            data = os.read(descriptor, 1)
        except OSError:
            return
        if not data:
            return
        put(Key(data.decode("latin-1")))
