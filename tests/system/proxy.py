"""A TCP relay between hotflash and the emulated board that damages, cuts and counts the traffic."""

from __future__ import annotations

import random
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

STALL = 0.1
"""Seconds; far below the host's patience, above its time for an answer."""


class Proxy:
    """Relays to ``target`` (host, port) one client at a time; everything random comes from ``seed``.

    ``bit_error`` is the probability that a bit flips; ``drop``, ``duplicate`` and ``stall`` those that a chunk
    of up to 64 bytes is lost, sent twice, or held up for ``STALL`` seconds with all that follows.
    """

    def __init__(
        self,
        target: tuple[str, int],
        *,
        seed: int = 0,
        bit_error: float = 0.0,
        drop: float = 0.0,
        duplicate: float = 0.0,
        stall: float = 0.0,
    ) -> None:
        self._target = target
        self._random = random.Random(seed)
        self.bit_error = bit_error
        self.drop = drop
        self.duplicate = duplicate
        self.stall = stall
        self._cut: tuple[int, Callable[[], None]] | None = None
        self.to_board = 0
        """Bytes that were relayed to the board so far."""
        self.damaged = 0
        """What was done to the traffic so far, in bits and chunks."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._wake_read, self._wake_write = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The port that hotflash is given."""
        return f"socket://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self, after: int, then: Callable[[], None]) -> None:
        """Lets exactly ``after`` bytes reach the board; calls ``then`` and hangs up on both sides at the next one."""
        self._cut = (after, then)

    def close(self) -> None:
        """Ends the relay."""
        self._wake_write.send(b"x")
        self._thread.join(10)
        for sock in (self._listener, self._wake_read, self._wake_write):
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _damage(self, data: bytes) -> bytes:
        if not (self.bit_error or self.drop or self.duplicate or self.stall):
            return data
        out = bytearray()
        for start in range(0, len(data), 64):
            chunk = bytearray(data[start : start + 64])
            for index in range(len(chunk)):
                if self.bit_error and self._random.random() < 8 * self.bit_error:
                    chunk[index] ^= 1 << self._random.randrange(8)
                    self.damaged += 1
            if self.stall and self._random.random() < self.stall:
                self.damaged += 1
                time.sleep(STALL)  # the line's, not the test's
            if self.drop and self._random.random() < self.drop:
                self.damaged += 1
                continue
            out += chunk
            if self.duplicate and self._random.random() < self.duplicate:
                self.damaged += 1
                out += chunk
        return bytes(out)

    def _serve(self) -> None:
        while True:
            with selectors.DefaultSelector() as wait:
                wait.register(self._listener, selectors.EVENT_READ)
                wait.register(self._wake_read, selectors.EVENT_READ)
                ready = [key.fileobj for key, _ in wait.select()]
            if self._wake_read in ready:
                return
            client, _ = self._listener.accept()
            with client, socket.create_connection(self._target) as board:
                if not self._relay(client, board):
                    return

    def _relay(self, client: socket.socket, board: socket.socket) -> bool:
        with selectors.DefaultSelector() as wait:
            for sock in (client, board, self._wake_read):
                wait.register(sock, selectors.EVENT_READ)
            while True:
                for key, _ in wait.select():
                    if key.fileobj is self._wake_read:
                        return False
                    source, sink = (client, board) if key.fileobj is client else (board, client)
                    try:
                        data = source.recv(4096)
                        if not data:
                            return True
                        if sink is board and self._cut and self.to_board + len(data) > self._cut[0]:
                            after, then = self._cut
                            sink.sendall(data[: after - self.to_board])
                            self.to_board = after
                            then()
                            return True
                        if sink is board:
                            self.to_board += len(data)
                        sink.sendall(self._damage(data))
                    except OSError:
                        return True
