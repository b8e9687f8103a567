"""The typed API against a model of a device: pushes over good and bad lines, flash, memory, events."""

from __future__ import annotations

import random
import threading
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from hotflash.device import Boot, Device, LogText
from hotflash.errors import AccessError, BuildIdError, BusyError, FitError, FramesError, PortError, RefusedError
from hotflash.transport.lossy import LineModel, LossyTransport
from hotflash.wire import link as link_module
from hotflash.wire import messages as m
from hotflash.wire.link import Link
from hotflash.wire.messages import Channel, CommitMode, HelloFlag, Op, Status
from tests.unit.fake_device import FLASH, HEAP, RAM, FakeDevice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hotflash.transport import Transport


@dataclass
class Linked:
    image: bytes
    pairs: tuple[m.Pair, ...] = (m.Pair(3, 1, 8),)
    words: tuple[m.Word, ...] = ()
    ranges: tuple[m.Range, ...] = ()


@dataclass
class Image:
    data: bytes
    base: int = FLASH
    mark_offset: int = 32

    @property
    def crc(self) -> int:
        return zlib.crc32(self.data)


@pytest.fixture
def board() -> Iterator[FakeDevice]:
    with FakeDevice() as device:
        yield device


@pytest.fixture
def device(board: FakeDevice) -> Iterator[Device]:
    with Device.over(Link(board.attach())) as device:
        yield device


def begin_for(device: Device, size: int) -> m.BeginRequest:
    slot = m.SlotRequest(kind=1, length=size, ident=0x12345678, hash=0x1122334455667788)
    return m.BeginRequest(device.hello.generation, 0x03020100, 0, 1, (slot,))


def linker(image: bytes) -> Callable[[Sequence[m.Grant]], Linked]:
    return lambda _: Linked(image)


@pytest.mark.parametrize("size", [1, 100, 256, 257, 5000])
def test_push(device: Device, board: FakeDevice, size: int) -> None:
    image = random.Random(size).randbytes(size)
    seen: list[tuple[int, int]] = []
    result = device.push(begin_for(device, size), linker(image), progress=lambda at, end: seen.append((at, end)))
    assert result.generation == device.hello.generation == board.generation == 1
    assert result.masked == 21
    assert board.live_image == image
    assert board.hooks == {3: HEAP + 33}
    assert set(result.milliseconds) == {"begin", "link", "wire", "commit"}
    assert seen[-1] == (size, size)
    assert [at for at, _ in seen] == sorted(at for at, _ in seen)


def test_bytes_on_the_wire(board: FakeDevice) -> None:
    """Every byte sent and received is counted, and they are few."""
    board.chunk, board.credits = 512, 8
    for size in (100, 512, 2000, 4096, 8191):
        with Device.over(Link(board.attach())) as device:
            before = board.wire_rx
            result = device.push(begin_for(device, size), linker(random.Random(size).randbytes(size)))
            assert result.wire_tx == board.wire_rx - before
            assert result.wire_tx + result.wire_rx <= 1.03 * size + 96


def test_a_small_push_takes_three_frames_and_two_replies(device: Device, board: FakeDevice) -> None:
    device.push(begin_for(device, 100), linker(bytes(100)))
    assert [op for op, _ in board.done] == [Op.HELLO, Op.BEGIN, Op.WRITE, Op.COMMIT]


class Loses:
    """Loses writes chosen by their count."""

    def __init__(self, inner: Transport, *lost: int) -> None:
        self.inner, self.lost, self.count = inner, lost, 0
        self.name, self.read, self.close = inner.name, inner.read, inner.close

    def write(self, data: bytes) -> None:
        self.count += 1
        if self.count not in self.lost:
            self.inner.write(data)


@pytest.mark.parametrize("lost", [(2,), (3,), (4,), (5,), (3, 4), (3, 4, 5, 6), (10,), (14,), (3, 14)])
def test_push_with_lost_requests(board: FakeDevice, lost: tuple[int, ...]) -> None:
    image = random.Random(1).randbytes(2500)
    with Device.over(Link(Loses(board.attach(), *lost))) as device:
        device.push(begin_for(device, len(image)), linker(image))
    assert board.live_image == image
    assert board.generation == 1


def test_push_when_the_commit_is_done_and_never_answered(
    device: Device, board: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hotflash.wire.link._SILENCE", 0.3)
    monkeypatch.setitem(link_module._SLOW, Op.COMMIT, (0.1, 0.0))
    board.mute.add(Op.COMMIT)
    # The device's kept reply is lost as well.
    board_send = board._send
    monkeypatch.setattr(
        board, "_send", lambda c, s, b: None if board.generation and len(b) < 9 else board_send(c, s, b)
    )
    result = device.push(begin_for(device, 100), linker(bytes(100)))
    assert result.generation == 1
    assert device.hello.generation == 1


LINES = [
    LineModel(bit_errors=1e-4),
    LineModel(bit_errors=1e-3),
    LineModel(frame_loss=0.01),
    LineModel(frame_loss=0.1, frame_duplicates=0.1),
    LineModel(drops=5e-4, duplicates=5e-4, stalls=1e-4, stall=0.01),
]


@pytest.mark.parametrize("model", LINES, ids=lambda model: f"{model}"[10:])
def test_pushes_over_bad_lines(board: FakeDevice, model: LineModel) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)  # shown when it fails
    rng = random.Random(seed)
    line = LossyTransport(board.attach(), tx=model, rx=model, seed=seed)
    with Device.over(Link(line), timeout=10.0) as device:
        for generation in range(1, 6):
            image = rng.randbytes(rng.choice((30, 300, 2000)))
            result = device.push(begin_for(device, len(image)), linker(image))
            assert result.generation == board.generation == generation
            assert board.live_image == image


@pytest.mark.parametrize("baud", [115200, 921600])
def test_throughput_on_a_modelled_line(board: FakeDevice, baud: int) -> None:
    """A push fills the line although the host's driver takes 16 ms each way."""
    board.chunk, board.credits = 512, 16
    size = baud // 10 // 2
    image = random.Random(1).randbytes(size)
    model = LineModel(baud=baud, latency=0.016)
    with Device.over(Link(LossyTransport(board.attach(), tx=model, rx=LineModel(baud=baud)), baud=baud)) as device:
        board.txn = None
        begin = begin_for(device, size)
        result = device.push(begin, linker(image))
    transfer = (result.milliseconds["wire"] + result.milliseconds["commit"]) / 1000
    assert board.live_image == image
    # The test machine may be busy with others; bench/ measures the real figure.
    assert size * 10 / baud / transfer > 0.6


def test_safe_commit_waits_for_frames(device: Device, board: FakeDevice) -> None:
    board.busy_frames = 4
    image = bytes(100)
    assert device.push(begin_for(device, 100), linker(image), mode=CommitMode.SAFE).generation == 1
    assert [op for op, _ in board.done].count(Op.WRITE) == 1
    assert [op for op, _ in board.done].count(Op.COMMIT) == 5


def test_safe_commit_gives_up_at_the_deadline(device: Device, board: FakeDevice) -> None:
    board.busy_frames = 1 << 30
    started = time.monotonic()
    with pytest.raises(FramesError, match="0x20100044") as caught:
        device.push(begin_for(device, 100), linker(bytes(100)), mode=CommitMode.SAFE, deadline=0.1)
    assert time.monotonic() - started < 2
    assert caught.value.frames == ((HEAP + 0x44, 13),)
    assert board.txn is None
    assert board.generation == 0


@pytest.mark.parametrize("error", [RefusedError("no"), KeyboardInterrupt()])
def test_a_linker_that_fails_leaves_no_transaction(device: Device, board: FakeDevice, error: BaseException) -> None:
    def fails(_: Sequence[m.Grant]) -> Linked:
        raise error

    with pytest.raises(type(error)):
        device.push(begin_for(device, 100), fails)
    assert board.txn is None
    assert device.push(begin_for(device, 100), linker(bytes(100))).generation == 1


def test_refusals(device: Device, board: FakeDevice) -> None:
    with pytest.raises(BuildIdError):
        device.push(m.BeginRequest(build_tag=7), linker(b""))
    with pytest.raises(FitError, match="70000"):
        device.push(begin_for(device, 70000), linker(bytes(70000)))
    board.generation = 5
    with pytest.raises(RefusedError, match="changed"):
        device.push(begin_for(device, 10), linker(bytes(10)))


def test_a_push_waits_for_another_transaction(
    device: Device, board: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    board._begin(board._pack(begin_for(device, 10)))
    send = board._send
    refused = []

    def watch(channel: int, seq: int, body: bytes) -> None:
        if body[0] == Status.E_BUSY:
            refused.append(seq)
            if len(refused) == 3:
                board.txn = None
        send(channel, seq, body)

    monkeypatch.setattr(board, "_send", watch)
    assert device.push(begin_for(device, 100), linker(bytes(100))).generation == 1
    assert len(refused) == 3


def test_a_push_refused_as_busy_leaves_the_other_transaction(
    device: Device, board: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hotflash.device._BUSY", 0.05)
    other = board._begin(board._pack(begin_for(device, 10)))
    assert other
    with pytest.raises(BusyError):
        device.push(begin_for(device, 100), linker(bytes(100)))
    assert board.txn is not None


def test_live_state(device: Device, board: FakeDevice) -> None:
    board.slots = [m.Slot(n, 1, 0, 0, 1, HEAP + 32 * n, 8, n, n, 1) for n in range(0, 20, 2)]
    board.hooks = {n: HEAP + 32 * n + 1 for n in range(0, 20, 2)}
    live = device.live()
    assert live.slots == tuple(board.slots)
    assert live.hooks == board.hooks
    assert device.slots() == live.slots
    assert live.hello.generation == 0


def test_rollback_and_gc(device: Device) -> None:
    assert device.rollback().generation == 1
    assert device.rollback(base=True).generation == device.hello.generation == 2
    assert device.gc() == m.GcReply(1, 2, 3)
    assert device.status().commits == 2


def test_memory(device: Device, board: FakeDevice) -> None:
    data = random.Random(1).randbytes(1000)
    device.write(RAM + 3, data)
    assert device.read(RAM + 3, 1000) == data == bytes(board.ram[3:1003])
    assert device.read(RAM, 0) == b""


@pytest.mark.parametrize("address", [0x40000000, RAM + 16384 - 100, 0xFFFFFFF0])
def test_memory_that_is_not_there(device: Device, address: int) -> None:
    with pytest.raises(AccessError, match="0x"):
        device.read(address, 600)
    with pytest.raises(AccessError, match="0x"):
        device.write(address, bytes(600))
    assert device.read(RAM, 4)


def image_with_holes(length: int) -> bytes:
    rng = random.Random(length)
    data = bytearray(rng.randbytes(length))
    data[1000:6000] = b"\xff" * 5000
    return bytes(data)


def test_flash(device: Device, board: FakeDevice) -> None:
    board.flash[:] = bytes(len(board.flash))
    image = Image(image_with_holes(40001))
    seen: list[int] = []
    before = board.wire_rx
    hello = device.flash(image, lambda at, _: seen.append(at))
    assert hello.flags & HelloFlag.APP_RUNS
    assert hello.boot_count == 3
    assert board.flash[:40001] == image.data
    assert not any(board.flash[40960:]), "pages behind the image were erased"
    assert board.wire_rx - before < 38000, "erased bytes were sent"
    assert seen == sorted(seen)
    assert seen[-1] == 40001


def test_flash_over_a_bad_line(board: FakeDevice) -> None:
    model = LineModel(frame_loss=0.02, frame_duplicates=0.02)
    with Device.over(Link(LossyTransport(board.attach(), tx=model, rx=model, seed=3)), timeout=10) as device:
        image = Image(image_with_holes(20000))
        device.flash(image)
    assert board.flash[:20000] == image.data


def test_flash_refuses_before_anything_changes(device: Device, board: FakeDevice) -> None:
    with pytest.raises(FitError, match="70000"):
        device.flash(Image(bytes(70000)))
    with pytest.raises(RefusedError, match="0x00020000"):
        device.flash(Image(bytes(100), base=0x20000))
    assert board.boot_count == 1
    assert board.mark is not None


def test_reset(device: Device, board: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    hello = device.reset(wait=True)
    assert hello is not None
    assert hello.boot_count == 2
    # Without a boot report, the count tells.
    send = board._send

    def send_no_report(channel: int, seq: int, body: bytes) -> None:
        if channel != Channel.FAULT:
            send(channel, seq, body)

    monkeypatch.setattr(board, "_send", send_no_report)
    hello = device.reset(wait=True)
    assert hello is not None
    assert hello.boot_count == 3


def test_events(device: Device, board: FakeDevice) -> None:
    with device.events() as events:
        board.log("hello\n")
        device.reset()
        assert events.get(2) == LogText("hello\n")
        assert events.get(2) == Boot("")
        assert events.get(0) is None
        ended: list[object] = []
        thread = threading.Thread(target=lambda: ended.extend(events))
        thread.start()
    thread.join()
    assert ended == []
    assert events.get() is None


def test_plain_application_is_named(board: FakeDevice) -> None:
    host = board.attach()
    board.mute.add(Op.HELLO)
    board.fault(2, b"")
    with pytest.raises(PortError, match="without monitor"):
        Device.over(Link(host), timeout=0.3)
