"""A model of a serial line around any transport: its speed, its latency, and what it does to bytes.

Emulated UARTs ignore the baud rate and never lose a byte; this is how hotflash is tried on a line that is slow
and bad. The damage follows from the seed and the bytes alone.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from dataclasses import dataclass

from hotflash.errors import PortError
from hotflash.transport import LinkLostError, Transport

__all__ = ["LineModel", "LossyTransport"]

_BITS = 10
"""Bits on the line per byte: start, eight, stop."""
_TICK = 0.001
"""Seconds of line time that are handed on at once."""
_BUFFER = 4096
"""Bytes that a writer may be ahead of the line, as in a tty's transmit buffer."""


@dataclass(frozen=True)
class LineModel:
    """One direction of a line. Probabilities are from 0 to 1."""

    baud: float | None = None
    """Bits per second, ten per byte; None: as fast as it goes."""
    latency: float = 0.0
    """Seconds that every byte takes on top: the USB adapter's timer, the host's driver."""
    bit_errors: float = 0.0
    """Probability that a bit arrives inverted."""
    drops: float = 0.0
    """Probability that a byte does not arrive."""
    duplicates: float = 0.0
    """Probability that a byte arrives twice."""
    frame_loss: float = 0.0
    """Probability that a frame (what stands between zero bytes) arrives damaged."""
    frame_duplicates: float = 0.0
    """Probability that a whole frame arrives twice."""
    stalls: float = 0.0
    """Probability, per byte, that the line stands still before it."""
    stall: float = 0.02
    """Seconds of such a standstill."""


class _Gaps:
    """Bytes until the next event of a given probability, drawn once per event instead of once per byte."""

    def __init__(self, probability: float, rng: random.Random) -> None:
        self._probability = probability
        self._rng = rng
        self._left = self._draw()

    def _draw(self) -> float:
        if self._probability <= 0:
            return math.inf
        if self._probability >= 1:
            return 0
        return int(math.log(1.0 - self._rng.random()) / math.log1p(-self._probability))

    def hit(self) -> bool:
        """Counts one byte; true when it is an event's."""
        if self._left > 0:
            self._left -= 1
            return False
        self._left = self._draw()
        return True


class _Line:
    """Damages bytes and says when each piece arrives."""

    def __init__(self, model: LineModel, seed: str) -> None:
        self._model = model
        self._rng = random.Random(seed)  # noqa: S311 - a repeatable model, no secret
        self._bits = _Gaps(1 - (1 - model.bit_errors) ** 8, self._rng)
        self._drop = _Gaps(model.drops, self._rng)
        self._twice = _Gaps(model.duplicates, self._rng)
        self._stall = _Gaps(model.stalls, self._rng)
        self._lose = _Gaps(model.frame_loss, self._rng)
        self._again = _Gaps(model.frame_duplicates, self._rng)
        self._frame = bytearray()
        self._at_start = True
        self._free = 0.0
        self.frames = 0
        self.lost = 0
        self._plain = model == LineModel(baud=model.baud, latency=model.latency)

    def carry(self, data: bytes) -> list[tuple[float, bytes]]:
        """What arrives of ``data``, which is sent now, and when, on time.monotonic()'s scale."""
        model = self._model
        start = max(time.monotonic(), self._free)
        if not self._plain:
            data, pause = self._damage(data)
            start += pause
        if model.baud is None:
            self._free = start
            return [(start + model.latency, data)] if data else []
        each = _BITS / model.baud
        step = max(1, int(_TICK / each))
        pieces = []
        for at in range(0, len(data), step):
            piece = data[at : at + step]
            start += each * len(piece)
            pieces.append((start + model.latency, piece))
        self._free = start
        return pieces

    def _damage(self, data: bytes) -> tuple[bytes, float]:
        out = bytearray()
        pause = 0.0
        for byte in data:
            value = byte
            if byte and self._at_start:
                self._at_start = False
                self.frames += 1
                if self._lose.hit():
                    self.lost += 1
                    value ^= 0xA5 if byte != 0xA5 else 0x5A
            if not byte:
                self._at_start = True
            if self._stall.hit():
                pause += self._model.stall
            if self._bits.hit():
                value ^= 1 << self._rng.randrange(8)
            arrives = b"" if self._drop.hit() else bytes((value, value) if self._twice.hit() else (value,))
            out += arrives
            if self._model.frame_duplicates:
                self._frame += arrives
                if not byte:
                    if len(self._frame) > 1 and self._again.hit():
                        out += self._frame
                    self._frame.clear()
        return bytes(out), pause


class LossyTransport:
    """``inner`` seen through a line: ``tx`` is what happens to writes, ``rx`` to what is read."""

    def __init__(
        self, inner: Transport, *, tx: LineModel | None = None, rx: LineModel | None = None, seed: int = 1
    ) -> None:
        self._inner = inner
        self._tx = _Line(tx or LineModel(), f"tx {seed}")
        self._rx = _Line(rx or LineModel(), f"rx {seed}")
        self._arrived: deque[tuple[float, bytes]] = deque()
        self._sent: deque[tuple[float, bytes]] = deque()
        self._queued = 0
        self._changed = threading.Condition()
        self._closed = False
        self._error: PortError | None = None
        self._sender = threading.Thread(target=self._send, name="hotflash-line", daemon=True)
        self._sender.start()

    @property
    def name(self) -> str:
        """The inner transport's."""
        return self._inner.name

    @property
    def losses(self) -> tuple[int, int]:
        """Frames that ``frame_loss`` took so far in both directions, and frames of lines that damage at all."""
        return self._tx.lost + self._rx.lost, self._tx.frames + self._rx.frames

    def read(self, timeout: float | None) -> bytes:
        """See :meth:`hotflash.transport.Transport.read`. One reader at a time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            now = time.monotonic()
            if self._arrived and self._arrived[0][0] <= now:
                out = bytearray()
                while self._arrived and self._arrived[0][0] <= now:
                    out += self._arrived.popleft()[1]
                return bytes(out)
            until = [at for at in (deadline, self._arrived[0][0] if self._arrived else None) if at is not None]
            data = self._inner.read(max(0.0, min(until) - now) if until else None)
            if data:
                self._arrived.extend(self._rx.carry(data))
            elif self._closed or (deadline is not None and time.monotonic() >= deadline and not self._due()):
                return b""

    def _due(self) -> bool:
        return bool(self._arrived) and self._arrived[0][0] <= time.monotonic()

    def write(self, data: bytes) -> None:
        """See :meth:`hotflash.transport.Transport.write`."""
        with self._changed:
            while self._queued > _BUFFER and not self._closed and self._error is None:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            if self._closed:
                raise LinkLostError(f"{self.name} is closed")
            for piece in self._tx.carry(data):
                self._sent.append(piece)
                self._queued += len(piece[1])
            self._changed.notify_all()

    def close(self) -> None:
        """See :meth:`hotflash.transport.Transport.close`; bytes still on the line are lost."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._inner.close()
        if threading.current_thread() is not self._sender:
            self._sender.join()

    def _send(self) -> None:
        while True:
            with self._changed:
                while not self._closed:
                    wait = self._sent[0][0] - time.monotonic() if self._sent else None
                    if wait is not None and wait <= 0:
                        break
                    self._changed.wait(wait)
                if self._closed:
                    return
                now = time.monotonic()
                out = bytearray()
                while self._sent and self._sent[0][0] <= now:
                    out += self._sent.popleft()[1]
            try:
                if out:
                    self._inner.write(bytes(out))
            except PortError as error:
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._queued -= len(out)
                self._changed.notify_all()
