"""A plain host for the tests: frames and requests by docs/SPEC.md, apart from the generated message layouts
nothing of the package is used, so that both ends cannot share a mistake."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hotflash.wire import messages as m
from hotflash.wire.codec import Reader, Writer

from .board import Board
from .image import App

QUIET = 0x80
Request = (
    m.HelloRequest
    | m.StatusRequest
    | m.SlotsRequest
    | m.HooksRequest
    | m.BeginRequest
    | m.WriteRequest
    | m.CommitRequest
    | m.AbortRequest
    | m.RollbackRequest
    | m.GcRequest
    | m.PinRequest
    | m.ReadRequest
    | m.PokeRequest
    | m.FlashBeginRequest
    | m.FlashEraseRequest
    | m.FlashWriteRequest
    | m.FlashEndRequest
    | m.ResetRequest
    | m.RecordRequest
    | m.StackRequest
    | m.ParkRequest
    | m.ContinueRequest
    | m.RestartRequest
    | m.ConfirmRequest
)


def cobs(data: bytes) -> bytes:
    """Consistent overhead byte stuffing, without the closing zero."""
    out = bytearray()
    for block in (data + b"\0").split(b"\0")[:-1]:
        rest = block
        while len(rest) >= 254:
            out += b"\xff" + rest[:254]
            rest = rest[254:]
        out += bytes([len(rest) + 1]) + rest
    return bytes(out)


def uncobs(data: bytes) -> bytes:
    """The inverse; ValueError when the coding is wrong."""
    out = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        if code == 0 or at + code > len(data):
            raise ValueError("not COBS")
        out += data[at + 1 : at + code]
        at += code
        if code != 0xFF and at < len(data):
            out.append(0)
    return bytes(out)


def frame(channel: int, seq: int, body: bytes) -> bytes:
    """A frame as it is on the line, its closing zero included."""
    head = bytes([channel, seq]) + body
    return cobs(head + struct.pack("<I", zlib.crc32(head))) + b"\0"


def packed(message: Request) -> bytes:
    """A message's fields."""
    w = Writer()
    message.pack(w)
    return bytes(w.data)


def request_frame(seq: int, message: Request, *, quiet: bool = False) -> bytes:
    """A control request as it is on the line."""
    return frame(m.Channel.CONTROL, seq, bytes([message.OP | (QUIET if quiet else 0)]) + packed(message))


@dataclass(frozen=True)
class Reply:
    """A control reply: status, and what follows."""

    seq: int
    status: m.Status
    body: bytes

    @property
    def shortage(self) -> m.Shortage:
        """What E_NOMEM tells."""
        return m.Shortage.unpack(Reader(self.body))


class RefusedByDevice(Exception):  # noqa: N818
    """A reply with an error status that a test did not ask for."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.status.name}: {reply.body!r}")
        self.reply = reply


@dataclass(frozen=True)
class New:
    """One slot of a push: what is allocated, its bytes, and the hook it is bound to."""

    data: bytes
    kind: int = m.SlotKind.CODE
    hook: int | None = None
    skip: int = 8
    deps: tuple[int, ...] = ()
    """As in ``Dep.ref``."""
    ident: int = 0
    hash: int = 0
    zero: bool = False
    align: int = 2

    @property
    def request(self) -> m.SlotRequest:
        """Its record in Begin."""
        return m.SlotRequest(
            kind=self.kind | (0x80 if self.zero else 0),
            length=len(self.data),
            align=self.align if self.kind == m.SlotKind.VAR else 0,
            ident=self.ident,
            hash=self.hash or zlib.crc32(self.data),
            deps=tuple(m.Dep(ref) for ref in self.deps),
        )


@dataclass
class Transaction:
    """All frames of one push."""

    begin: m.BeginRequest
    image: bytes
    commit: m.CommitRequest


@dataclass
class Client:
    """Speaks to one board; replies that are not control frames are collected by channel."""

    board: Board
    app: App | None = None
    seq: int = 0
    batch: int = 1
    frames: list[tuple[int, int, bytes]] = field(default_factory=list)
    """(channel, seq, body) of frames that were not control replies."""
    bad: int = 0
    """Frames of the device that were damaged; must stay 0 on a clean line."""
    _pending: bytearray = field(default_factory=bytearray)

    # ------------------------------------------------------------------------------------ frames

    def take(self, data: bytes) -> list[Reply]:
        """Takes bytes of the device apart."""
        replies = []
        self._pending += data
        *complete, rest = bytes(self._pending).split(b"\0")
        self._pending[:] = rest
        for piece in complete:
            if not piece:
                continue
            try:
                raw = uncobs(piece)
            except ValueError:
                self.bad += 1
                continue
            if len(raw) < 6 or zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:], "little"):
                self.bad += 1
                continue
            channel, seq, body = raw[0], raw[1], raw[2:-4]
            if channel == m.Channel.CONTROL:
                replies.append(Reply(seq, m.Status(body[0]), body[1:]))
            else:
                self.frames.append((channel, seq, body))
        return replies

    def raw(self, data: bytes) -> list[Reply]:
        """Sends bytes; returns the control replies."""
        return self.take(self.board.feed(data, self.batch))

    def drain(self) -> list[Reply]:
        """What the device sent by itself."""
        return self.take(self.board.take())

    def next_seq(self) -> int:
        """A sequence number that was not the last one."""
        self.seq = (self.seq + 1) & 0xFF
        return self.seq

    def ask(self, message: Request, *, seq: int | None = None, quiet: bool = False) -> Reply:
        """One request, one reply, whatever its status."""
        seq = self.next_seq() if seq is None else seq
        replies = self.raw(request_frame(seq, message, quiet=quiet))
        if len(replies) != 1 or replies[0].seq != seq:
            raise AssertionError(f"{message} (seq {seq}) was answered {replies}")
        return replies[0]

    def do(self, message: Request) -> Reader:
        """One request that must succeed; returns the reply's reader."""
        reply = self.ask(message)
        if reply.status is not m.Status.OK:
            raise RefusedByDevice(reply)
        return Reader(reply.body)

    # ---------------------------------------------------------------------------------- messages

    def hello(self, low: int = 1, high: int = m.VERSION) -> m.HelloReply:
        """Opens a conversation."""
        nonce = self.next_seq() * 0x01010101
        reply = m.HelloReply.unpack(self.do(m.HelloRequest(min_version=low, max_version=high, nonce=nonce)))
        assert reply.nonce == nonce
        return reply

    def status(self) -> m.StatusReply:
        """Counters."""
        return m.StatusReply.unpack(self.do(m.StatusRequest()))

    def slots(self) -> list[m.Slot]:
        """All slots in use, page by page."""
        found: list[m.Slot] = []
        while True:
            page = m.SlotsReply.unpack(self.do(m.SlotsRequest(found[-1].handle + 1 if found else 0)))
            found += page.slots
            if not page.more:
                return found
            assert page.slots

    def hooks(self) -> dict[int, int]:
        """Hooks that do not have their initial value."""
        found: dict[int, int] = {}
        first = 0
        while True:
            page = m.HooksReply.unpack(self.do(m.HooksRequest(first)))
            found.update((item.hook, item.value) for item in page.hooks)
            if page.next == 0:
                return found
            assert page.next > first
            first = page.next

    def table(self) -> tuple[int, ...]:
        """The hook table as the application sees it."""
        assert self.app is not None
        return self.board.words(self.app.hook_base, self.app.capacity)

    # -------------------------------------------------------------------------------------- push

    def transaction(
        self,
        news: Sequence[New],
        *,
        generation: int,
        mode: int = m.CommitMode.NOW,
        pairs: Sequence[m.Pair] = (),
        words: Sequence[m.Word] = (),
        ranges: Sequence[m.Range] = (),
        flags: int = 0,
        tag: int | None = None,
        trial: int = 0,
    ) -> Transaction:
        """Builds a push; hooks of ``news`` are bound, besides ``pairs``."""
        assert self.app is not None
        bound = [m.Pair(new.hook, i + 1, new.skip) for i, new in enumerate(news) if new.hook is not None]
        bound += pairs
        begin = m.BeginRequest(
            generation=generation,
            build_tag=self.app.build_tag if tag is None else tag,
            flags=flags,
            pairs=len(bound) + len(words),
            slots=tuple(new.request for new in news),
        )
        image = b"".join(new.data for new in news if not new.zero)
        commit = m.CommitRequest(mode, 0, trial, tuple(bound), tuple(words), tuple(ranges))
        seal = zlib.crc32(packed(begin) + image + packed(commit)[5:])
        return Transaction(begin, image, replace(commit, crc=seal))

    def writes(self, image: bytes, chunk: int, rng: random.Random | None = None) -> list[m.WriteRequest]:
        """The image in chunks; with ``rng`` in other sizes, another order, and some twice."""
        if rng is None:
            return [m.WriteRequest(at, image[at : at + chunk]) for at in range(0, len(image), chunk)]
        parts = []
        at = 0
        while at < len(image):
            length = rng.randint(1, chunk)
            parts.append(m.WriteRequest(at, image[at : at + length]))
            at += length
        parts += rng.sample(parts, len(parts) // 3)
        rng.shuffle(parts)
        return parts

    def begin(self, transaction: Transaction) -> tuple[m.Grant, ...]:
        """Allocates."""
        return m.BeginReply.unpack(self.do(transaction.begin)).grants

    def finish(self, transaction: Transaction, *, chunk: int = 256, rng: random.Random | None = None) -> Reply:
        """Writes quietly, and commits."""
        for write in self.writes(transaction.image, chunk, rng):
            replies = self.raw(request_frame(self.next_seq(), write, quiet=True))
            assert not replies, replies
        return self.ask(transaction.commit)

    def push(
        self,
        news: Sequence[New],
        *,
        generation: int | None = None,
        mode: int = m.CommitMode.NOW,
        pairs: Sequence[m.Pair] = (),
        words: Sequence[m.Word] = (),
        flags: int = 0,
        rng: random.Random | None = None,
    ) -> tuple[tuple[m.Grant, ...], m.CommitReply]:
        """A whole push that must succeed."""
        if generation is None:
            generation = self.hello().generation
        transaction = self.transaction(news, generation=generation, mode=mode, pairs=pairs, words=words, flags=flags)
        grants = self.begin(transaction)
        reply = self.finish(transaction, rng=rng)
        if reply.status is not m.Status.OK:
            raise RefusedByDevice(reply)
        return grants, m.CommitReply.unpack(Reader(reply.body))

    # ------------------------------------------------------------------------------------- flash

    def flash(self, app: App) -> None:
        """Programs an application over the wire and starts it."""
        where = self.board.map
        if self.hello().flags & m.HelloFlag.APP_RUNS:
            self.do(m.ResetRequest(1))
            self.drain()
        page = where.flash_page
        self.do(m.FlashBeginRequest(len(app.data), app.mark))
        for first in range(0, -(-len(app.data) // page), 16):
            count = min(16, -(-len(app.data) // page) - first)
            self.do(m.FlashEraseRequest(first, count))
        chunk = self.hello().chunk
        for at in range(0, len(app.data), chunk):
            self.do(m.FlashWriteRequest(at, app.data[at : at + chunk]))
        self.do(m.FlashEndRequest(len(app.data), app.crc))
        self.do(m.ResetRequest(0))
        self.drain()
        self.app = app

    def install(self, app: App) -> None:
        """Puts a valid application into flash past the wire, and starts it."""
        page = self.board.map.flash_page
        self.board.poke(app.base, app.valid + b"\xff" * (-len(app.valid) % page))
        self.app = app
        self.board.reset()
        self.drain()
        self.frames.clear()
