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

from bench.table import Row, at_least, at_most, below
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
        self.image = random.Random(f"image {self.generation}").randbytes(sum(self.sizes))

    @property
    def pairs(self) -> Sequence[m.Pair]:
        """Each function has a hook."""
        return [m.Pair(hook, hook + 1, 8) for hook in range(len(self.sizes))]

    @property
    def begin(self) -> m.BeginRequest:
        """Allocation of all."""
        rng = random.Random(f"slots {self.generation}")
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

    def __init__(self, baud: int | None = None, loss: float = 0.0, seed: int = SEED) -> None:
        self.board = Board("plain", listen=0, realtime=True, flash_size=0x40000, flash_page=4096, **BOARD)
        client = Client(self.board)
        self.app = image.make(self.board.map, hooks=300, spare=32)
        client.install(self.app)
        self.counted = Counted(open_port(f"socket://127.0.0.1:{self.board.port}"))
        self.line: LossyTransport | None = None
        if baud is not None:
            self.line = LossyTransport(
                self.counted,
                tx=LineModel(baud=baud, frame_loss=loss),
                rx=LineModel(baud=baud, latency=LATENCY, frame_loss=loss),
                seed=seed,
            )
        self.device = Device.over(Link(self.line or self.counted, baud=baud))

    def push(self, sizes: Sequence[int]) -> tuple[int, int, float]:
        """Linked bytes, bytes on the wire in both directions, and seconds from Begin to the commit's reply."""
        patch = Patch(sizes, self.device.hello.generation, self.app.build_tag)
        before = self.counted.bytes
        start = time.perf_counter()
        self.device.push(patch.begin, lambda _: patch)
        took = time.perf_counter() - start
        wire = self.counted.bytes - before
        self.check(patch)
        return len(patch.image), wire, took

    def check(self, patch: Patch) -> None:
        """What was pushed is what the board has: a figure of a push that did not arrive would be worth nothing."""
        slots = {slot.hash: slot for slot in self.device.slots()}
        at = 0
        for request in patch.begin.slots:
            slot = slots[request.hash]
            if self.board.peek(slot.address, slot.length) != patch.image[at : at + request.length]:
                raise ValueError(f"the board has other bytes than were sent at {slot.address:#x}")
            at += request.length

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.device.close()
        self.board.close()


def wire_bytes(*, quick: bool = False) -> list[Row]:
    """Bytes on the wire of a push, acknowledgements included, on a line without faults."""
    rows = []
    kinds = (
        ("480 B, 8 functions of 60 B", [60] * 8),
        ("4 KiB, one function", [4096]),
        ("8 KiB, one function", [8192]),
        ("8 KiB, 16 functions of 512 B", [512] * 16),
        ("8 KiB, 64 functions of 128 B", [128] * 64),
        ("32 KiB, one function", [32768]),
        ("32 KiB, 64 functions of 512 B", [512] * 64),
    )
    with Line() as line:
        linked, wire, _ = line.push([100])
        rows.append(
            below("wire bytes", "edit of a 100-byte function", wire, 250, "B", "its transaction, both directions")
        )
        rows.append(at_most("wire bytes", "the same", wire, 1.03 * linked + 96, "B", "1.03 per linked byte + 96"))
        for what, sizes in kinds[:2] if quick else kinds:
            linked, wire, _ = line.push(sizes)
            if linked < 8192:
                limit = 1.03 * linked + 96
                rows.append(at_most("wire bytes", what, wire, limit, "B", "1.03 per linked byte + 96"))
            else:
                each = wire / linked
                rows.append(at_most("wire bytes", what, each, 1.05, "B per linked byte", f"{wire} B for {linked}"))
        with Line() as other:
            other.push([100])
            before = other.counted.bytes
            other.device.live()
            asked = other.counted.bytes - before
        how = "hello, slots and hooks, before each push; one edit live"
        rows.append(Row("wire bytes", "asking what is live", asked, "B", how=how))
    return rows


@dataclass
class Stretch:
    """Pushes over a paced line: what was asked, and what came out."""

    baud: int
    sizes: Sequence[int]
    seeds: Sequence[int] = (SEED,)
    """One board and one push each."""
    loss: float = 0.0
    linked: int = 0
    seconds: float = 0.0
    lost: int = 0
    frames: int = 0
    overrun: int = 0

    def measure(self, *, together: bool) -> Self:
        """Pushes one after the other, or together: each over a line of its own, too slow to keep a processor busy."""
        with ThreadPoolExecutor(len(self.seeds) if together else 1) as pool:
            for linked, took, lost, frames, overrun in pool.map(self._one, self.seeds):
                self.linked += linked
                self.seconds += took
                self.lost += lost
                self.frames += frames
                self.overrun += overrun
        return self

    def _one(self, seed: int) -> tuple[int, float, int, int, int]:
        with Line(self.baud, self.loss, seed) as line:
            linked, _, took = line.push(self.sizes)
            assert line.line is not None
            lost, frames = line.line.losses
            return linked, took, lost, frames, line.device.status().rx_overrun

    def row(self) -> Row:
        """Part of the line rate that payload reached."""
        percent = 100 * self.linked * 10 / self.baud / self.seconds
        if percent > 100:
            raise ValueError(f"{percent:.1f} % of the line rate: the model of the line does not hold")
        if self.loss and not self.lost:
            raise ValueError(f"none of {self.frames} frames was lost: nothing is shown about a line with losses")
        count = len(self.seeds)
        what = f"push of {sum(self.sizes) // 1024} KiB at {self.baud}"
        how = f"{count} in {self.seconds:.2f} s, round trips included" + (
            f"; {self.overrun} B overrun" if self.overrun else ""
        )
        if not self.loss:
            return at_least("throughput", what, percent, 95, "% of line rate", how)
        how += f"; {self.lost} of {self.frames} frames lost"
        return at_least("throughput", f"{what}, {self.loss:.0%} loss", percent, 85, "% of line rate", how)


def throughput(*, quick: bool = False) -> list[Row]:
    """Part of the line rate that whole pushes reach, their round trips included."""
    slow, fast = 115200, 921600
    if quick:
        return [Stretch(fast, [4096] * 2).measure(together=False).row()]
    functions = [4096] * 48
    seeds = range(10, 14)  # with these, about one frame in a hundred is lost indeed, in so short a time
    return [
        Stretch(slow, [4096] * 16).measure(together=False).row(),
        Stretch(slow, functions, seeds, 0.01).measure(together=True).row(),
        Stretch(fast, functions, seeds[:2]).measure(together=False).row(),
        Stretch(fast, functions, seeds, 0.01).measure(together=False).row(),
    ]


def reflash(*, quick: bool = False) -> list[Row]:
    """Reflash of the whole image against a push of one function, over the same line."""
    baud = 921600 if quick else 115200
    with Line(baud) as line:
        _, _, pushed = line.push([100])
        whole = image.make(line.board.map, hooks=300, spare=32, name=b"next", size=4096 if quick else 65536)
        start = time.perf_counter()
        hello = line.device.flash(_Image(whole))
        flashed = time.perf_counter() - start
        if hello.build_id != whole.build_id:
            raise ValueError("the board does not run what was flashed")
    size = f"{len(whole.data) / 1024:.0f} KiB"
    how = f"of its bytes alone {len(whole.data) * 1e4 / baud:,.0f}"
    return [
        Row("reflash", f"whole image of {size} at {baud}", flashed * 1e3, "ms", how=how),
        Row("reflash", f"push of 100 B at {baud}", pushed * 1e3, "ms", how="two round trips of 16 ms included"),
        Row("reflash", "reflash against push", flashed / pushed, "times as long", how="grows with the image"),
    ]


class _Image:
    """An application as Device.flash takes it."""

    def __init__(self, app: image.App) -> None:
        self.base = app.base
        self.data = app.data
        self.crc = app.crc
        self.mark_offset = app.mark
