"""A small model of a board that speaks docs/SPEC.md, for tests of the host without the monitor's C."""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from hotflash.errors import PortError, WireError
from hotflash.transport.memory import pair
from hotflash.wire import frame as framing
from hotflash.wire import messages as m
from hotflash.wire.codec import Reader, Writer
from hotflash.wire.frame import Frame, FrameReader
from hotflash.wire.messages import Channel, HelloFlag, Op, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotflash.transport import Transport

RAM = 0x20000000
FLASH = 0x00010000
HEAP = 0x20100000
NO_CACHE = {Op.HELLO, Op.WRITE, Op.READ, Op.FLASH_WRITE, Op.SLOTS, Op.HOOKS, Op.STATUS}


@dataclass
class Transaction:
    begin: bytes
    request: m.BeginRequest
    grants: list[m.Grant]
    image: bytearray
    written: int = 0


class Refusal(Exception):  # noqa: N818 - not an error of the test
    def __init__(self, status: Status, message: bytes = b"") -> None:
        self.status = status
        self.message = message


@dataclass
class FakeDevice:
    """Serves one transport on a thread of its own until it is closed."""

    chunk: int = 256
    credits: int = 4
    flags: int = int(HelloFlag.APP_VALID | HelloFlag.APP_HOT | HelloFlag.APP_RUNS)
    version: int = m.VERSION
    flash_page: int = 1024
    heap_size: int = 65536
    busy_frames: int = 0
    """Safe commits that are still refused."""
    mute: set[int] = field(default_factory=set)
    """Operations that are done and not answered."""

    def __post_init__(self) -> None:
        self.generation = 0
        self.boot_count = 1
        self.ram = bytearray(range(256)) * 64
        self.flash = bytearray(b"\xff" * 65536)
        self.mark: bytes | None = b"valid"
        self.slots: list[m.Slot] = []
        self.live_image = b""
        self.hooks: dict[int, int] = {}
        self.txn: Transaction | None = None
        self.cached: tuple[int, int, bytes] | None = None
        self.done: list[tuple[int, int]] = []
        """(operation, seq) of what was carried out, in order; requests answered from the cache are not."""
        self.wire_rx = 0
        self.largest_backlog = 0
        self._log_seq = 0
        self._fault_seq = 0
        self._transport: Transport | None = None
        self._thread: threading.Thread | None = None
        self._tx = threading.Lock()

    # ---------------------------------------------------------------------------------- transport

    def attach(self) -> Transport:
        """The host's end of a new connection."""
        host, board = pair("fake board", "host")
        self.serve(board)
        return host

    def serve(self, transport: Transport) -> None:
        self.detach()
        self._transport = transport
        self._thread = threading.Thread(target=self._run, args=(transport,), name="fake-device")
        self._thread.start()

    def detach(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def _run(self, transport: Transport) -> None:
        reader = FrameReader()
        try:
            while data := transport.read(None):
                self.wire_rx += len(data)
                self.largest_backlog = max(self.largest_backlog, len(data))
                for frame in reader.feed(data):
                    if frame.channel == Channel.CONTROL and frame.body:
                        self._request(frame)
        except PortError:
            pass

    def _send(self, channel: int, seq: int, body: bytes) -> None:
        assert self._transport is not None
        with self._tx:
            self._transport.write(framing.encode(Frame(channel, seq, body)))

    def log(self, text: str, dropped: int = 0, *, lose: bool = False) -> None:
        writer = Writer()
        writer.uv(dropped)
        writer.raw(text.encode())
        seq, self._log_seq = self._log_seq, (self._log_seq + 1) & 0xFF
        if not lose:
            self._send(Channel.LOG, seq, bytes(writer.data))

    def fault(self, kind: int, body: bytes = b"") -> None:
        seq, self._fault_seq = self._fault_seq, (self._fault_seq + 1) & 0xFF
        self._send(Channel.FAULT, seq, bytes((kind,)) + body)

    # ----------------------------------------------------------------------------------- requests

    def _request(self, frame: Frame) -> None:
        op, message = frame.body[0] & 0x7F, frame.body[1:]
        crc = zlib.crc32(bytes((frame.channel, frame.seq)) + frame.body)
        if self.cached is not None and self.cached[:2] == (frame.seq, crc):
            self._send(Channel.CONTROL, frame.seq, self.cached[2])
            return
        self.done.append((op, frame.seq))
        try:
            handler: Callable[[bytes], bytes] = getattr(self, f"_{Op(op).name.lower()}")
            body = bytes((Status.OK,)) + handler(message)
        except Refusal as refusal:
            body = bytes((refusal.status,)) + refusal.message
        except WireError:
            body = bytes((Status.E_FORMAT,))
        except ValueError:
            body = bytes((Status.E_OP,))
        if op == Op.HELLO:
            self.cached = None
        elif op not in NO_CACHE:
            self.cached = (frame.seq, crc, body)
        if op not in self.mute and not (frame.body[0] & 0x80 and body[0] == Status.OK):
            self._send(Channel.CONTROL, frame.seq, body)
        if op == Op.RESET and body[0] == Status.OK:
            self.boot()

    def boot(self, reason: m.Reason = m.Reason.NONE) -> None:
        self.boot_count += 1
        self.generation = 0
        self.txn = self.cached = None
        self.slots, self.hooks = [], {}
        self._log_seq = self._fault_seq = 0
        self.fault(1, bytes([reason]))

    def hello_reply(self, nonce: int = 0) -> m.HelloReply:
        return m.HelloReply(
            version=self.version,
            nonce=nonce,
            flags=self.flags | (HelloFlag.TXN_OPEN if self.txn else 0),
            board="fake",
            monitor="0.0.1",
            core=0x410FC241,
            build_id=bytes(range(20)),
            boot_count=self.boot_count,
            generation=self.generation,
            chunk=self.chunk,
            credits=self.credits,
            abi=0x10000,
            heap_base=HEAP,
            heap_size=self.heap_size,
            heap_free=self.heap_size,
            hook_base=RAM,
            hook_capacity=64,
            hook_count=60,
            flash_base=FLASH,
            flash_size=len(self.flash),
            flash_page=self.flash_page,
        )

    @staticmethod
    def _pack(message: object) -> bytes:
        writer = Writer()
        message.pack(writer)  # type: ignore[attr-defined]
        return bytes(writer.data)

    def _hello(self, message: bytes) -> bytes:
        return self._pack(self.hello_reply(m.HelloRequest.unpack(Reader(message)).nonce))

    def _status(self, _: bytes) -> bytes:
        return self._pack(m.StatusReply(commits=self.generation))

    def _slots(self, message: bytes) -> bytes:
        after = m.SlotsRequest.unpack(Reader(message)).after
        left = [slot for slot in self.slots if slot.handle >= after]
        return self._pack(m.SlotsReply(self.generation, int(len(left) > 3), tuple(left[:3])))

    def _hooks(self, message: bytes) -> bytes:
        first = m.HooksRequest.unpack(Reader(message)).first
        left = sorted(item for item in self.hooks.items() if item[0] >= first)
        following = left[3][0] if len(left) > 3 else 0
        return self._pack(m.HooksReply(following, tuple(m.HookValue(*item) for item in left[:3])))

    def _begin(self, message: bytes) -> bytes:
        request = m.BeginRequest.unpack(Reader(message))
        if self.txn is not None:
            raise Refusal(Status.E_BUSY)
        if request.build_tag != int.from_bytes(bytes(range(4)), "little"):
            raise Refusal(Status.E_BUILD)
        if request.generation != self.generation:
            raise Refusal(Status.E_GEN)
        size = sum(slot.length for slot in request.slots)
        if size > self.heap_size:
            raise Refusal(Status.E_NOMEM, self._pack(m.Shortage(m.Memory.CODE_HEAP, size, 1 << 16)))
        at = HEAP + 32
        grants = []
        for slot in request.slots:
            grants.append(m.Grant(at, (at - 32 - HEAP) // 32, 0))
            at += (slot.length + 36 + 31) // 32 * 32
        self.txn = Transaction(message, request, grants, bytearray(size))
        return self._pack(m.BeginReply(tuple(grants)))

    def _open(self) -> Transaction:
        if self.txn is None:
            raise Refusal(Status.E_NOTXN)
        return self.txn

    def _write(self, message: bytes) -> bytes:
        request = m.WriteRequest.unpack(Reader(message))
        txn = self._open()
        if not 1 <= len(request.data) <= self.chunk or request.offset + len(request.data) > len(txn.image):
            raise Refusal(Status.E_RANGE)
        txn.image[request.offset : request.offset + len(request.data)] = request.data
        return b""

    def _commit(self, message: bytes) -> bytes:
        request = m.CommitRequest.unpack(Reader(message))
        txn = self._open()
        if zlib.crc32(txn.begin + txn.image + message[5:]) != request.crc:
            raise Refusal(Status.E_SEAL)
        if request.mode == m.CommitMode.SAFE and self.busy_frames:
            self.busy_frames -= 1
            frames = (m.Frame(HEAP + 0x44, 13),)
            raise Refusal(Status.E_FRAMES, self._pack(m.CommitReply(self.generation, 0, frames)))
        self.generation += 1
        self.live_image = bytes(txn.image)
        self.slots = [
            m.Slot(grant.handle, slot.kind, 1, 1, 1, grant.address, slot.length, slot.ident, slot.hash, self.generation)
            for slot, grant in zip(txn.request.slots, txn.grants, strict=True)
        ]
        for pair_ in request.pairs:
            self.hooks[pair_.hook] = txn.grants[pair_.target - 1].address | 1 if pair_.target else 0
        self.txn = None
        return self._pack(m.CommitReply(self.generation, 21))

    def _abort(self, _: bytes) -> bytes:
        self.txn = None
        return b""

    def _rollback(self, message: bytes) -> bytes:
        if m.RollbackRequest.unpack(Reader(message)).generation != self.generation:
            raise Refusal(Status.E_GEN)
        self.generation += 1
        return self._pack(m.RollbackReply(self.generation, 5))

    def _gc(self, _: bytes) -> bytes:
        return self._pack(m.GcReply(1, 2, 3))

    def _span(self, address: int, length: int) -> slice:
        if not 1 <= length <= self.chunk:
            raise Refusal(Status.E_RANGE)
        if not RAM <= address <= address + length <= RAM + len(self.ram):
            raise Refusal(Status.E_FAULT)
        return slice(address - RAM, address - RAM + length)

    def _read(self, message: bytes) -> bytes:
        request = m.ReadRequest.unpack(Reader(message))
        return bytes(self.ram[self._span(request.address, request.length)])

    def _poke(self, message: bytes) -> bytes:
        request = m.PokeRequest.unpack(Reader(message))
        self.ram[self._span(request.address, len(request.data))] = request.data
        return b""

    def _waits(self) -> None:
        if self.flags & HelloFlag.APP_RUNS:
            raise Refusal(Status.E_OP)

    def _flash_begin(self, _: bytes) -> bytes:
        self._waits()
        self.mark = None
        return b""

    def _flash_erase(self, message: bytes) -> bytes:
        self._waits()
        request = m.FlashEraseRequest.unpack(Reader(message))
        if not 1 <= request.count <= 16:
            raise Refusal(Status.E_RANGE)
        start, size = request.page * self.flash_page, request.count * self.flash_page
        self.flash[start : start + size] = b"\xff" * size
        return b""

    def _flash_write(self, message: bytes) -> bytes:
        self._waits()
        request = m.FlashWriteRequest.unpack(Reader(message))
        span = slice(request.offset, request.offset + len(request.data))
        if request.offset % 16 or not 16 <= len(request.data) <= self.chunk or len(request.data) % 16:
            raise Refusal(Status.E_RANGE)
        if any(old & new != new for old, new in zip(self.flash[span], request.data, strict=True)):
            raise Refusal(Status.E_FLASH)
        self.flash[span] = request.data
        return b""

    def _flash_end(self, message: bytes) -> bytes:
        self._waits()
        request = m.FlashEndRequest.unpack(Reader(message))
        if zlib.crc32(self.flash[: request.length]) != request.crc:
            raise Refusal(Status.E_CRC)
        self.mark = b"valid"
        return b""

    def _reset(self, message: bytes) -> bytes:
        waits = m.ResetRequest.unpack(Reader(message)).mode == 1 or self.mark is None
        self.flags = self.flags & ~HelloFlag.APP_RUNS if waits else self.flags | HelloFlag.APP_RUNS
        return b""
