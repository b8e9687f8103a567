"""The harness process as a board: its line, its pins, its memory, and its accidents."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import tempfile
from dataclasses import dataclass, field
from enum import IntEnum
from typing import IO, Self

from . import build


class HarnessError(Exception):
    """The harness ended: a sanitizer's finding, a rule of the contract broken, or a crash."""


class Field(IntEnum):
    """What :meth:`Board.set` sets; the order is that of ``fields`` in ``harness/main.c``."""

    MICROS = 0
    CUT_MASK = 1
    CUT_AT = 2
    CUT_COUNT = 3
    SEED = 4
    FLASH_FAIL_AT = 5
    LOST = 6
    PRIORITY_FLAGS = 7
    TX_BUDGET = 8
    INJECT_AT = 9
    INJECT_EVERY = 10
    INJECT_COUNT = 11
    INJECT_LEFT = 12
    STUCK = 13
    """A handler of the application does not return: only the receive interrupt runs."""
    PROCESS_STACK = 14
    PROTECTION = 15


class Step(IntEnum):
    """Kinds of steps at which power can be cut."""

    HEAP_WRITE = 0
    SWAP = 1
    ERASE = 2
    PROGRAM = 3
    MASK = 4
    HANDLER = 5
    RX = 6
    TX = 7
    POKE = 8


UNLIMITED = 0xFFFFFFFF
REGS = ("r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "sp", "lr", "pc")


@dataclass(frozen=True)
class Counters:
    """What the device has done so far."""

    micros: int
    resets: int
    reset_requested: int
    app_started: int
    erases: int
    programs: int
    syncs: int
    swaps: int
    bus_errors: int
    injected: int
    inject_count: int
    cut_count: int
    parked: int
    left_by: int
    """What ended the last parking: 2 continue, else the entry of `main`."""
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Map:
    """The device's memory map: addresses, and sizes in bytes."""

    flash_base: int
    flash_size: int
    flash_page: int
    flash_write: int
    hook_base: int
    hook_size: int
    data_base: int
    data_size: int
    heap_base: int
    heap_size: int
    ram_base: int
    ram_size: int
    monitor_base: int
    monitor_size: int
    state_size: int


@dataclass
class Context:
    """The interrupted thread: registers by name, and the live parts of its stacks."""

    regs: dict[str, int] = field(default_factory=dict)
    main: tuple[int, int] = (0, 0)
    process: tuple[int, int] = (0, 0)
    xpsr: int = 0x01000000
    on_process: bool = False

    def pack(self) -> bytes:
        """Layout of ``struct hf_context``."""
        words = [self.regs.get(name, 0) for name in REGS]
        return struct.pack("<22I", *words, self.xpsr, self.on_process, *self.main, *self.process)


class Board:
    """One running harness. Use as a context manager.

    :param variant: as in :func:`build.harness`
    :param options: command line of the harness, ``heap_size=0x4000`` for ``--heap-size 0x4000``
    """

    def __init__(self, variant: str = "sanitized", **options: int | bool) -> None:
        arguments = [str(build.harness(variant))]
        for name, value in options.items():
            flag = "--" + name.replace("_", "-")
            if value is True:
                arguments.append(flag)
            elif value is not False:
                arguments += [flag, str(value)]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        environment = {
            **os.environ,
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, env=environment
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        self.sent = bytearray()
        """Bytes that the device has put on the line and nobody has taken yet."""
        self.resets = 0
        self.port: int | None = None
        """TCP port of the byte stream, with ``listen``."""
        if "listen" in options:
            self.port = struct.unpack("<I", self._reply())[0]
        self.map = Map(*struct.unpack("<15I", self._call(b"M")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
        self._stderr.close()

    def _take(self, length: int) -> bytes:
        data = self._stdout.read(length)
        if len(data) != length:
            raise self._died()
        return data

    def _died(self) -> HarnessError:
        code = self._process.wait(10)
        self._stderr.seek(0)
        text = self._stderr.read().decode(errors="replace")
        return HarnessError(f"the harness ended with {code}:\n{text}")

    def _reply(self) -> bytes:
        self.resets, length = struct.unpack("<II", self._take(8))
        self.sent += self._take(length)
        (length,) = struct.unpack("<I", self._take(4))
        return self._take(length)

    def _call(self, name: bytes, payload: bytes = b"") -> bytes:
        try:
            self._stdin.write(name + len(payload).to_bytes(4, "little") + payload)
            self._stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        return self._reply()

    def feed(self, data: bytes, batch: int = 1) -> bytes:
        """Bytes arrive at the UART; returns those that it sent until it was at rest.

        :param batch: the monitor's handler gets to run after each so many bytes; 0: after the last
        """
        if data:
            self._call(b"F", batch.to_bytes(2, "little") + data)
        return self.take()

    def take(self) -> bytes:
        """What the device has sent since the last call."""
        data = bytes(self.sent)
        self.sent.clear()
        return data

    def poke(self, address: int, data: bytes) -> None:
        """Stores past all rules."""
        self._call(b"P", struct.pack("<I", address) + data)

    def peek(self, address: int, length: int) -> bytes:
        """Memory as it is."""
        return self._call(b"G", struct.pack("<II", address, length))

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """Memory as words."""
        return struct.unpack(f"<{count}I", self.peek(address, 4 * count))

    def context(self, context: Context) -> None:
        """Where the application is when the monitor interrupts it, from now on."""
        self._call(b"C", context.pack())

    def log(self, text: bytes) -> None:
        """The application calls log_write."""
        self._call(b"L", text)

    def inject(self, text: bytes, at: int, every: int = 0, count: int = 1000) -> None:
        """An application interrupt logs ``text`` at the ``at``-th masking from now on, then every so many; in all
        at most ``count`` times, since each makes the monitor work, and so mask."""
        self._call(b"I", text)
        self.set(Field.INJECT_LEFT, count)
        self.set(Field.INJECT_EVERY, every)
        self.set(Field.INJECT_COUNT, 0)
        self.set(Field.INJECT_AT, at)

    def set(self, name: Field, value: int) -> None:
        """Sets one field."""
        self._call(b"S", struct.pack("<II", name, value))

    def cut(self, at: int, *kinds: Step) -> None:
        """Power fails at the ``at``-th step of these kinds from now on; 0: not any more."""
        self.set(Field.CUT_MASK, sum(1 << kind for kind in kinds))
        self.set(Field.CUT_COUNT, 0)
        self.set(Field.CUT_AT, at)

    def counters(self) -> Counters:
        """What the device has done so far."""
        values = struct.unpack("<23I", self._call(b"Q"))
        return Counters(*values[:14], values[14:])  # type: ignore[call-arg]  # mypy takes the slice for any length

    def bus_error(self, address: int, length: int) -> None:
        """An address range answers with bus errors from now on."""
        self._call(b"B", struct.pack("<II", address, length))

    def reset(self, *, power: bool = False) -> None:
        """The reset pin; ``power``: all RAM is lost."""
        self._call(b"R", bytes([power]))

    def fault(self, words: tuple[int, ...]) -> None:
        """The application faults, with these 21 registers."""
        self._call(b"X", struct.pack("<21I", *words))

    def park(self, reason: int, *, final: bool = False) -> None:
        """The core parks the application by itself."""
        self._call(b"K", struct.pack("<IB", reason, final))

    def register(self, address: int, what: int) -> None:
        """The application registers a cleanup (1), takes it back (0), or registers a ``struct hf_parking`` (2).

        4 tells of a ``struct hf_task``, 3 takes it back.
        """
        self._call(b"Z", struct.pack("<II", address, what))

    def calls(self) -> list[tuple[int, int]]:
        """Functions of the application that the monitor called since the reset, each with its argument."""
        count, *words = struct.unpack(f"<{(len(data := self._call(b'J'))) // 4}I", data)
        calls = list(zip(words[::2], words[1::2], strict=True))
        assert len(calls) == count
        return calls

    def tick(self) -> None:
        """The board's periodic interrupt comes."""
        self._call(b"T")

    def trample(self, offset: int, bits: int = 0xFF) -> None:
        """The application overwrites a byte of the monitor's checked state."""
        self._call(b"V", struct.pack("<IB", offset, bits))

    def advance(self, micros: int) -> None:
        """Time passes."""
        self.set(Field.MICROS, (self.counters().micros + micros) & 0xFFFFFFFF)
