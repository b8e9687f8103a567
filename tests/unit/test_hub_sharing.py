"""Sharing a port: real processes, and an owner that is killed in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from hotflash.device import Device, LogText
from hotflash.errors import PortError
from hotflash.transport import LinkLostError
from hotflash.wire import hub
from hotflash.wire import messages as m
from hotflash.wire.channel import ask
from hotflash.wire.messages import Op
from tests.unit.fake_device import RAM, FakeDevice

if TYPE_CHECKING:
    from collections.abc import Iterator


class SocketTransport:
    """The board's end of a TCP connection."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.name = "tcp"

    def read(self, timeout: float | None) -> bytes:  # noqa: ARG002 - the model always waits
        try:
            data = self.stream.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise LinkLostError("gone")
        return data

    def write(self, data: bytes) -> None:
        try:
            self.stream.sendall(data)
        except OSError as error:
            raise LinkLostError("gone") from error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.shutdown(socket.SHUT_RDWR)
        self.stream.close()


class Board:
    """A fake device behind a TCP port that serves one connection at a time, as an emulator's does."""

    def __init__(self) -> None:
        self.device = FakeDevice()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self.server.getsockname()[1]}"
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self.server.accept()
            except OSError:
                return
            self.device.serve(SocketTransport(stream))
            thread = self.device._thread
            assert thread is not None
            thread.join()

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.device.detach()
        self.thread.join()


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board()
    yield board
    board.close()


class Worker:
    """A process that runs hub_worker.py."""

    def __init__(self, board: Board, folder: Path) -> None:
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "hub_worker.py"), board.url, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root / "host")},
        )
        assert self.receive() == "ready"

    def send(self, do: str, **more: object) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the worker ended"
        return json.loads(line)

    def ask(self, do: str, **more: object) -> Any:
        self.send(do, **more)
        return self.receive()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        assert self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def test_processes_share_and_survive_a_killed_owner(board: Board, tmp_path: Path) -> None:
    with Worker(board, tmp_path) as first, Worker(board, tmp_path) as second, Worker(board, tmp_path) as third:
        workers = (first, second, third)
        assert [worker.ask("owner") for worker in workers] == [True, False, False]
        data = bytes(board.device.ram[8:108]).hex()
        assert [worker.ask("read", address=RAM + 8, length=100) for worker in workers] == [data] * 3
        assert [worker.ask("push", size=3000) for worker in workers] == [1, 2, 3]
        for worker in workers:
            worker.send("line")
        board.device.log("to all\n")
        assert [worker.receive() for worker in workers] == ["to all\n"] * 3

        first.kill()
        # The others carry on at once, and one of them has the port.
        assert [worker.ask("read", address=RAM + 8, length=100) for worker in (second, third)] == [data] * 2
        assert sorted(worker.ask("owner") for worker in (second, third)) == [False, True]
        for worker in (second, third):
            worker.send("line")
        board.device.log("to both\n")
        assert [worker.receive() for worker in (second, third)] == ["to both\n"] * 2
        assert second.ask("push", size=300) == 4
        assert third.ask("push", size=300) == 5


def test_an_owner_that_closes_leaves_the_port_to_the_others(board: Board, tmp_path: Path) -> None:
    with Device.connect(board.url, share=tmp_path) as device:
        with Worker(board, tmp_path) as worker:
            assert worker.ask("owner") is False
            device.close()
            assert worker.ask("read", address=RAM, length=4) == "00010203"
            assert worker.ask("owner") is True
        assert not list(tmp_path.glob("*.sock"))


def test_requests_in_flight_survive_the_owner(board: Board, tmp_path: Path) -> None:
    """Reads on their way when the owner is killed are answered by the next."""
    with Worker(board, tmp_path) as owner, Device.connect(board.url, share=tmp_path) as device:
        board.device.mute.add(Op.READ)
        read = device.channel.submit(Op.READ, board.device._pack(m.ReadRequest(RAM, 4)))
        gc = device.channel.submit(Op.GC, b"")
        gc.outcome()
        board.device.mute.add(Op.GC)
        once = device.channel.submit(Op.GC, b"")
        # The owner has passed both on when a later answer is here.
        device.status()
        board.device.mute.clear()
        owner.kill()
        assert m.ReadReply(read.reply()).data == bytes(board.device.ram[:4])
        try:
            once.reply()
        except LinkLostError as error:
            assert "ended in the middle" in error.message  # noqa: PT017 - one of two right endings


def test_a_client_that_dies_in_a_push_leaves_the_board_usable(board: Board, tmp_path: Path) -> None:
    with Device.connect(board.url, share=tmp_path) as device:
        with Worker(board, tmp_path) as worker:
            assert worker.ask("begin") is None
            assert board.device.txn is not None
            worker.kill()
        begin = m.BeginRequest(0, 0x03020100)
        grants = ask(device.channel, m.AbortRequest(), m.AbortReply) and ask(device.channel, begin, m.BeginReply)
        assert grants == m.BeginReply()


def test_the_owner_ends_a_dead_clients_transaction(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device.connect(board.url, share=tmp_path), Worker(board, tmp_path) as worker:
        aborted = threading.Event()
        abort = board.device._abort

        def seen(message: bytes) -> bytes:
            aborted.set()
            return abort(message)

        monkeypatch.setattr(board.device, "_abort", seen)
        worker.ask("begin")
        worker.kill()
        assert aborted.wait(5)


def test_clients_get_their_turn(board: Board, tmp_path: Path) -> None:
    """One with much to send does not starve another."""
    with Device.connect(board.url, share=tmp_path) as device, Worker(board, tmp_path) as worker:
        stop = threading.Event()
        counts = [0]

        def flood() -> None:
            while not stop.is_set():
                device.read(RAM, 4096)
                counts[0] += 1

        thread = threading.Thread(target=flood)
        thread.start()
        for _ in range(50):
            assert worker.ask("read", address=RAM + 4, length=4) == "04050607"
        stop.set()
        thread.join()
        assert counts[0] > 0


def test_two_in_one_process(board: Board, tmp_path: Path) -> None:
    with (
        Device.connect(board.url, share=tmp_path) as first,
        Device.connect(board.url, share=tmp_path) as second,
        second.events() as events,
    ):
        assert first.read(RAM, 16) == second.read(RAM, 16)
        board.device.log("x")
        assert events.get(5) == LogText("x")


def test_long_folders_get_a_short_socket(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = tmp_path / "r"
    runtime.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")  # noqa: S108
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with Device.connect(board.url, share=deep) as first, Device.connect(board.url, share=deep) as second:
        assert second.read(RAM, 4) == first.read(RAM, 4)
    assert not list(deep.glob("*.sock"))
    private = hub._private_folder()
    assert private.stat().st_mode & 0o777 == 0o700


def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    with pytest.raises(PortError, match="nothing listens"):
        Device.connect(f"socket://127.0.0.1:{number}", share=tmp_path)
    # The lock is free again.
    with pytest.raises(PortError, match="nothing listens"):
        Device.connect(f"socket://127.0.0.1:{number}", share=tmp_path)


def open_descriptors() -> int:
    """How many this process has; 0 where that cannot be seen."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_nothing_is_left_behind(board: Board, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    descriptors = open_descriptors()
    for _ in range(3):
        with Device.connect(board.url, share=tmp_path) as first, Device.connect(board.url, share=tmp_path) as second:
            second.status()
            first.status()
    left = {thread for thread in set(threading.enumerate()) - before if thread.name != "fake-device"}
    assert not left
    assert open_descriptors() <= descriptors + 1, "the last connection of the board may not be closed yet"
