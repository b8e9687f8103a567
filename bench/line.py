"""The wire: bytes per linked byte, and throughput over a line with a real line's speed and latency.

The device is the monitor's C as it is, built for the host; the host side is the package's Device. Between them lies
a model of the line: both directions take ten bits per byte, what the device sends arrives 16 ms later (a USB adapter's
latency timer), and where said one frame in a hundred is lost, in each direction.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bench.table import NotMeasured, Row, at_least, at_most
from hotflash.device import Device
from hotflash.transport import Transport, open_port
from hotflash.transport.lossy import LineModel, LossyTransport
from hotflash.wire import messages as m
from hotflash.wire.link import Link
from tests.monitor import image
from tests.monitor.board import Board
from tests.monitor.client import Client

if TYPE_CHECKING:
    from collections.abc import Sequence

LATENCY = 0.016
SEED = 7
BOARD = {"chunk": 2048, "credits": 3, "log_size": 4096, "heap_size": 0x40000, "data_size": 0x10000, "ram_size": 0x40000}
"""As on the mps2 boards."""


@dataclass
class Patch:
    """What the linker would hand over: functions of given sizes."""

    sizes: Sequence[int]
    generation: int
    build_tag: int
    image: bytes = b""
    words: Sequence[m.Word] = ()
    ranges: Sequence[m.Range] = ()

    def __post_init__(self) -> None:
        self.image = random.Random(SEED).randbytes(sum(self.sizes))

    @property
    def pairs(self) -> Sequence[m.Pair]:
        """Each function has a hook."""
        return [m.Pair(hook, hook + 1, 8) for hook in range(len(self.sizes))]

    @property
    def begin(self) -> m.BeginRequest:
        """Allocation of all."""
        rng = random.Random(SEED)
        slots = [m.SlotRequest(1, size, 0, rng.getrandbits(32), rng.getrandbits(64)) for size in self.sizes]
        return m.BeginRequest(self.generation, self.build_tag, 0, len(slots), tuple(slots))


class Counted:
    """A transport that counts what passes, framing and repeats included."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.bytes = 0

    @property
    def name(self) -> str:
        """The inner transport's."""
        return self._inner.name

    def read(self, timeout: float | None) -> bytes:
        """See Transport."""
        data = self._inner.read(timeout)
        self.bytes += len(data)
        return data

    def write(self, data: bytes) -> None:
        """See Transport."""
        self.bytes += len(data)
        self._inner.write(data)

    def close(self) -> None:
        """See Transport."""
        self._inner.close()


class Line:
    """A board with an application, and a Device at the other end of the line."""

    def __init__(self, baud: int | None = None, loss: float = 0.0) -> None:
        self.board = Board("plain", listen=0, realtime=True, flash_size=0x40000, flash_page=4096, **BOARD)
        client = Client(self.board)
        self.app = image.make(self.board.map, hooks=300, spare=32)
        client.install(self.app)
        self.counted = Counted(open_port(f"socket://127.0.0.1:{self.board.port}"))
        transport: Transport = self.counted
        if baud is not None:
            transport = LossyTransport(
                self.counted,
                tx=LineModel(baud=baud, frame_loss=loss),
                rx=LineModel(baud=baud, latency=LATENCY, frame_loss=loss),
                seed=SEED,
            )
        self.device = Device.over(Link(transport, baud=baud))

    def push(self, sizes: Sequence[int]) -> tuple[int, int, float]:
        """Linked bytes, bytes on the wire in both directions, and seconds from Begin to the commit's reply."""
        patch = Patch(sizes, self.device.hello.generation, self.app.build_tag)
        before = self.counted.bytes
        start = time.perf_counter()
        self.device.push(patch.begin, lambda _: patch)
        took = time.perf_counter() - start
        return len(patch.image), self.counted.bytes - before, took

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.device.close()
        self.board.close()


def wire_bytes() -> list[Row]:
    """Bytes on the wire of a push, acknowledgements included, on a line without faults."""
    rows = []
    with Line() as line:
        for what, sizes in (
            ("one function of 100 B", [100]),
            ("8 KiB, one function", [8192]),
            ("8 KiB, 16 functions of 512 B", [512] * 16),
            ("8 KiB, 64 functions of 128 B", [128] * 64),
            ("32 KiB, one function", [32768]),
            ("32 KiB, 64 functions of 512 B", [512] * 64),
        ):
            linked, wire, _ = line.push(sizes)
            if linked < 8192:
                rows.append(at_most("wire bytes", what, wire, 250, "B", f"{linked} B linked"))
                limit = 1.03 * linked + 96
                rows.append(at_most("wire bytes", what, wire, round(limit), "B", "1.03 per byte + 96"))
            else:
                rows.append(
                    at_most("wire bytes", what, wire / linked, 1.05, "per linked byte", f"{wire} B for {linked}")
                )
    return rows


def _throughput(baud: int, loss: float, size: int, count: int) -> tuple[float, str]:
    """Percent of the line rate over ``count`` pushes in a row, round trips included, and what happened."""
    with Line(baud, loss) as line:
        results = [line.push([size]) for _ in range(count)]
        lost = line.device.status().rx_bad
        overrun = line.device.status().rx_overrun
    linked = sum(result[0] for result in results)
    took = sum(result[2] for result in results)
    how = f"{count} in {took:.2f} s" + (f"; {lost} frames lost on the way there" if loss else "")
    return 100 * linked * 10 / baud / took, how + (f"; {overrun} bytes overrun" if overrun else "")


def throughput() -> list[Row]:
    """Part of the line rate that whole pushes reach, their round trips included."""
    slow, fast = 115200, 921600
    # The slow lines leave the processor idle and are measured at a time; the fast ones each alone.
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(_throughput, slow, 0.0, 32768, 1), pool.submit(_throughput, slow, 0.01, 65536, 4)]
        results = [future.result() for future in waiting]
    results += [_throughput(fast, 0.0, 81920, 3), _throughput(fast, 0.01, 81920, 12)]
    names = [
        f"pushes of {what}" for what in ("32 KiB at 115200", "64 KiB at 115200", "80 KiB at 921600", "80 KiB at 921600")
    ]
    rows = []
    for number, ((percent, how), name) in enumerate(zip(results, names, strict=True)):
        lossy = number % 2 == 1
        limit = 85 if lossy else 95
        what = name + (", 1 % of frames lost" if lossy else "")
        rows.append(at_least("throughput", what, percent, limit, "% of line rate", how))
    return rows


def reflash() -> list[Row]:
    """Reflash of the whole image against a push of one function, over the same line."""
    with Line(115200) as line:
        start = time.perf_counter()
        _, _, took = line.push([100])
        pushed = time.perf_counter() - start
        assert took <= pushed
    with Line(115200) as line:
        whole = image.make(line.board.map, hooks=300, spare=32, name=b"next", size=65536)
        start = time.perf_counter()
        line.device.flash(_Image(whole))
        flashed = time.perf_counter() - start
    size = f"{len(whole.data) / 1024:.0f} KiB"
    return [
        Row("reflash", f"reflash of {size} at 115200", flashed * 1e3, "ms"),
        Row("reflash", "push of 100 B at 115200", pushed * 1e3, "ms"),
        Row("reflash", "ratio", flashed / pushed, "times", how="the larger the image, the larger"),
    ]


class _Image:
    """An application as Device.flash takes it."""

    def __init__(self, app: image.App) -> None:
        self.base = app.base
        self.data = app.data
        self.crc = app.crc
        self.mark_offset = app.mark


def rows() -> list[Row | NotMeasured]:
    """All figures of the wire."""
    return [*wire_bytes(), *throughput(), *reflash()]
