"""The link against a model of a device, over good and bad lines."""

from __future__ import annotations

import queue
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from hotflash.errors import AccessError, BuildIdError, BusyError, FitError, PortError, WireError
from hotflash.transport import LinkLostError, Transport
from hotflash.transport.lossy import LineModel, LossyTransport
from hotflash.transport.memory import pair
from hotflash.wire import frame as framing
from hotflash.wire import messages as m
from hotflash.wire.channel import SilentError, ask, pack, say_hello
from hotflash.wire.events import (
    Boot,
    Event,
    Fault,
    FramesLost,
    LinkDown,
    LinkUp,
    LogDropped,
    LogText,
    Parked,
    Plain,
    TrialOver,
)
from hotflash.wire.frame import Frame
from hotflash.wire.link import Link
from hotflash.wire.messages import Op, ParkReason
from tests.unit.fake_device import RAM, FakeDevice

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def board() -> Iterator[FakeDevice]:
    with FakeDevice() as device:
        yield device


@pytest.fixture
def link(board: FakeDevice) -> Iterator[Link]:
    link = Link(board.attach())
    say_hello(link, 2.0)
    yield link
    link.close()


def collect(link: Link) -> queue.SimpleQueue[Event]:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    link.subscribe(events.put)
    return events


def test_hello(link: Link) -> None:
    assert link.hello is not None
    assert link.hello.board == "fake"


def test_requests_are_pipelined_and_answered_in_order(link: Link, board: FakeDevice) -> None:
    waiting = [link.submit(Op.READ, pack(m.ReadRequest(RAM + at, 4))) for at in range(0, 2000, 4)]
    for index, pending in enumerate(waiting):
        assert m.ReadReply(pending.reply()).data == bytes(board.ram[4 * index : 4 * index + 4])


def test_the_window_is_kept() -> None:
    """Without any answer, no more than the credits' bytes leave."""
    repeated = threading.Event()

    class Watched(FakeDevice):
        def _request(self, frame: Frame) -> None:
            if (frame.body[0], frame.seq) in self.done:
                repeated.set()
            super()._request(frame)

    with Watched(chunk=256, credits=3, mute={Op.READ}) as board:
        link = Link(board.attach())
        say_hello(link, 2.0)
        read = pack(m.ReadRequest(RAM, 4)) + bytes(200)
        thread = threading.Thread(target=lambda: [link.submit(Op.READ, read) for _ in range(9)])
        thread.start()
        # The timer has run out: all that could leave has left.
        assert repeated.wait(5)
        sent = {seq for op, seq in board.done if op == Op.READ}
        assert len(sent) == 3 * (256 + 25) // (len(read) + 9)
        link.close()
        thread.join()


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        (m.BeginRequest(build_tag=1), BuildIdError, "another build"),
        (m.ReadRequest(0x40000000, 4), AccessError, "nothing is mapped"),
        (
            m.BeginRequest(0, 0x03020100, 0, 0, (m.SlotRequest(1, 70000),)),
            FitError,
            "code heap: 70000 needed, 65536 free",
        ),
    ],
)
def test_errors_of_replies(link: Link, request_: m.BeginRequest, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        link.submit(request_.OP, pack(request_)).reply()


def test_busy(link: Link) -> None:
    ask(link, m.BeginRequest(0, 0x03020100), m.BeginReply)
    with pytest.raises(BusyError):
        ask(link, m.BeginRequest(0, 0x03020100), m.BeginReply)


def test_a_lost_reply_is_not_done_twice(board: FakeDevice) -> None:
    """A Begin whose reply is lost is answered from the device's kept reply."""
    host = board.attach()
    link = Link(host)
    say_hello(link, 2.0)
    board.mute.add(Op.BEGIN)
    sent = link.submit(Op.BEGIN, pack(m.BeginRequest(0, 0x03020100)))
    # A request of another kind behind it tells that the reply was lost.
    ask(link, m.StatusRequest(), m.StatusReply)
    sent.reply()
    assert [op for op, _ in board.done].count(Op.BEGIN) == 1
    assert sent.outcome().repeats >= 1
    link.close()


def test_same_request_again_has_another_seq(link: Link, board: FakeDevice) -> None:
    """Two equal requests, 256 others apart: the second is no repeat of the first."""
    ask(link, m.GcRequest(), m.GcReply)
    for _ in range(600):
        ask(link, m.StatusRequest(), m.StatusReply)
        if len(board.done) % 255 < 3:
            ask(link, m.GcRequest(), m.GcReply)
    wanted = sum(op == Op.GC for op, _ in board.done)
    ask(link, m.GcRequest(), m.GcReply)
    assert sum(op == Op.GC for op, _ in board.done) == wanted + 1


BAD_LINES = [
    LineModel(),
    LineModel(bit_errors=1e-4),
    LineModel(bit_errors=1e-3),
    LineModel(drops=1e-3, duplicates=1e-3),
    LineModel(frame_loss=0.05, frame_duplicates=0.1),
    LineModel(stalls=1e-3, stall=0.005, frame_loss=0.02),
]


@pytest.mark.parametrize("model", BAD_LINES, ids=lambda model: f"{model}"[10:])
def test_thousands_of_requests_over_a_bad_line(board: FakeDevice, model: LineModel) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)  # shown when it fails
    rng = random.Random(seed)
    link = Link(LossyTransport(board.attach(), tx=model, rx=model, seed=seed))
    say_hello(link, 10.0)
    expected = bytearray(board.ram)
    waiting = []
    pokes = 0
    for _ in range(500):
        # A read that was lost is done behind a later write: they keep apart.
        at = rng.randrange(8000)
        if rng.random() < 0.1:
            at += 8192
            data = rng.randbytes(rng.randrange(1, 16))
            ask(link, m.PokeRequest(RAM + at, 0, 0, data), m.PokeReply)
            expected[at : at + len(data)] = data
            pokes += 1
        else:
            size = rng.randrange(1, 32)
            pending = link.submit(Op.READ, pack(m.ReadRequest(RAM + at, size)))
            waiting.append((pending, bytes(expected[at : at + size])))
    for pending, data in waiting:
        assert pending.reply() == data
    assert board.ram == expected
    assert sum(op == Op.POKE for op, _ in board.done) == pokes, "a request was done twice, or not at all"
    link.close()


def test_fast_repeat_needs_no_timer(board: FakeDevice) -> None:
    """One lost request among many is repeated when a later one is answered, not when a timer runs out."""

    class LosesOne:
        def __init__(self, inner: Transport) -> None:
            self.inner, self.count = inner, 0
            self.name, self.read, self.close = inner.name, inner.read, inner.close

        def write(self, data: bytes) -> None:
            self.count += 1
            if self.count != 3:
                self.inner.write(data)

    link = Link(LosesOne(board.attach()))
    say_hello(link, 2.0)
    link._timers[-1].rto = 60.0
    waiting = [link.submit(Op.READ, pack(m.ReadRequest(RAM, 4))) for _ in range(10)]
    outcomes = [pending.outcome() for pending in waiting]
    assert [outcome.repeats for outcome in outcomes] == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    link.close()


def test_silence() -> None:
    host, peer = pair("/dev/ttyTEST")
    link = Link(host)
    started = time.monotonic()
    with pytest.raises(SilentError, match="/dev/ttyTEST: nothing answers") as caught:
        say_hello(link, 0.3)
    assert time.monotonic() - started < 2
    assert caught.value.exit_code == 3
    assert caught.value.hint
    link.close()
    peer.close()


def test_silence_in_the_middle(link: Link, board: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hotflash.wire.link._SILENCE", 0.3)
    board.mute.add(Op.STATUS)
    with pytest.raises(PortError, match="stopped answering"):
        ask(link, m.StatusRequest(), m.StatusReply)
    board.mute.clear()
    ask(link, m.StatusRequest(), m.StatusReply)


def test_garbage_is_not_hotflash() -> None:
    host, peer = pair()
    peer.write(b"U-Boot 2023.01\r\n=> " * 20)
    link = Link(host)
    with pytest.raises(WireError, match="not hotflash"):
        say_hello(link, 0.3)
    link.close()


def test_echo_is_not_hotflash() -> None:
    host, peer = pair()

    def echo() -> None:
        while data := peer.read(None):
            peer.write(data)

    thread = threading.Thread(target=echo)
    thread.start()
    link = Link(host)
    with pytest.raises(WireError, match="returns what is sent"):
        say_hello(link, 0.3)
    peer.close()
    link.close()
    thread.join()


@pytest.mark.parametrize("version", [0, m.VERSION + 1])
def test_another_version(version: int) -> None:
    with FakeDevice(version=version) as board:
        link = Link(board.attach())
        with pytest.raises(WireError, match=f"hotflash version {m.VERSION}"):
            say_hello(link, 1.0)
        link.close()


@pytest.mark.parametrize("status", [m.Status.OK, m.Status.E_BUSY])
def test_old_replies_are_no_answer(status: m.Status) -> None:
    """What an earlier process asked is answered to us: a Hello's nonce tells, and that it is never refused."""
    host, peer = pair()
    old = FakeDevice()
    link = Link(host)
    asked = link.submit(Op.HELLO, pack(m.HelloRequest(m.VERSION, m.VERSION, 54321)), timeout=0.5)
    assert peer.read(5.0)  # it waits for its answer now
    for seq in range(256):
        body = bytes((status,)) + (old._pack(old.hello_reply(nonce=12345)) if status is m.Status.OK else b"")
        peer.write(framing.encode(Frame(1, seq, body)))
    with pytest.raises(SilentError):
        asked.reply()
    link.close()
    peer.close()


def test_events(link: Link, board: FakeDevice) -> None:
    events = collect(link)
    board.log("one\n", dropped=3)
    board.log("two", lose=True)
    board.log("three\n", dropped=5)
    board.fault(2, b"plain")
    board.fault(3, bytes(range(100)) + ParkReason.FAULT.to_bytes(4, "little") + bytes(48))
    board.fault(3, bytes(100) + ParkReason.ASKED.to_bytes(4, "little") + bytes(48))
    board.fault(4)
    board.boot(m.Reason.UNFINISHED)
    board.log("after\n")
    got = [events.get(timeout=2) for _ in range(10)]
    assert got[:4] == [LogText("one\n"), FramesLost(1), LogDropped(2), LogText("three\n")]
    assert got[4] == Plain("the application was programmed without its patch points")
    assert isinstance(got[5], Fault)
    assert got[5].registers is not None
    assert got[5].registers.r[15] == 0x3F3E3D3C
    assert got[5].registers.bfar == 0x53525150
    assert isinstance(got[6], Parked)
    assert got[6].registers.reason == ParkReason.ASKED
    assert got[7] == TrialOver()
    assert got[8:] == [Boot(m.REASON_TEXTS[m.Reason.UNFINISHED]), LogText("after\n")]


def test_utf8_across_frames(link: Link, board: FakeDevice) -> None:
    events = collect(link)
    raw = "Grüße".encode()
    for part in (raw[:3], raw[3:]):
        board._send(2, board._log_seq, b"\0" + part)
        board._log_seq += 1
    assert [events.get(timeout=2), events.get(timeout=2)] == [LogText("Gr"), LogText("üße")]


def test_the_port_goes_and_comes_back() -> None:
    with FakeDevice() as board:
        again = threading.Semaphore(0)

        def reopen() -> Transport:
            if not again.acquire(blocking=False):
                raise PortError("not yet")
            return board.attach()

        link = Link(board.attach(), reopen=reopen)
        say_hello(link, 2.0)
        events = collect(link)
        board.mute.add(Op.STATUS)
        pending = link.submit(Op.STATUS, b"")
        board.detach()
        assert isinstance(events.get(timeout=2), LinkDown)
        with pytest.raises(LinkLostError):
            pending.outcome()
        with pytest.raises(LinkLostError):
            link.submit(Op.STATUS, b"").outcome()
        board.mute.clear()
        again.release()
        assert isinstance(events.get(timeout=5), LinkUp)
        ask(link, m.StatusRequest(), m.StatusReply)
        link.close()


def test_closing_ends_everything(board: FakeDevice) -> None:
    before = set(threading.enumerate())
    link = Link(board.attach())
    say_hello(link, 2.0)
    board.mute.add(Op.STATUS)
    pending = link.submit(Op.STATUS, b"")
    link.close()
    with pytest.raises(LinkLostError):
        pending.outcome()
    board.detach()
    assert set(threading.enumerate()) <= before


def test_many_threads_share_a_link(link: Link, board: FakeDevice) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for at in range(100):
                data = ask(link, m.ReadRequest(RAM + at * 8 + number, 8), m.ReadReply).data
                assert data == bytes(board.ram[at * 8 + number : at * 8 + number + 8])
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
