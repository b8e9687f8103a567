"""Opening, reading, waking and losing ports: ttys (a pseudo terminal), sockets, pyserial's own URLs."""

from __future__ import annotations

import os
import pty
import socket
import threading
import time
import tty
from pathlib import Path

import pytest

from hotflash.errors import PortError, UsageError
from hotflash.transport import LinkLostError, Transport, _serial, open_port
from hotflash.transport.lossy import LineModel, LossyTransport
from hotflash.transport.memory import pair


def read_all(transport: Transport, size: int) -> bytes:
    data = b""
    deadline = time.monotonic() + 5
    while len(data) < size and time.monotonic() < deadline:
        data += transport.read(5)
    return data


class Terminal:
    """A pseudo terminal; ``path`` is the end that is opened as a port."""

    def __init__(self) -> None:
        self.board, port = pty.openpty()
        tty.setraw(port)
        self.path = os.ttyname(port)
        self.port = port

    def close(self) -> None:
        for descriptor in (self.board, self.port):
            os.close(descriptor)


def test_tty() -> None:
    terminal = Terminal()
    transport = open_port(terminal.path, 115200)
    assert transport.name == terminal.path
    transport.write(b"to the board")
    assert os.read(terminal.board, 100) == b"to the board"
    os.write(terminal.board, b"to the host")
    assert read_all(transport, 11) == b"to the host"
    assert transport.read(0.01) == b""
    with pytest.raises(PortError, match="in use by another program") as caught:
        open_port(terminal.path, 115200)
    assert caught.value.exit_code == 3
    transport.close()
    transport.close()
    open_port(terminal.path, 115200).close()
    terminal.close()


def test_tty_that_is_unplugged() -> None:
    terminal = Terminal()
    transport = open_port(terminal.path, 115200)
    os.close(terminal.board)
    with pytest.raises(LinkLostError, match="went away"):
        transport.read(5)
    with pytest.raises(LinkLostError):
        transport.write(b"x")
    transport.close()
    os.close(terminal.port)


def test_no_such_tty() -> None:
    with pytest.raises(PortError, match="/dev/ttyNOPE: no such port") as caught:
        open_port("/dev/ttyNOPE", 115200)
    assert caught.value.hint


def test_not_a_tty(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(PortError, match="not a serial port"):
        open_port(str(path), 115200)


def test_denied_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    grp = pytest.importorskip("grp")
    terminal = Terminal()
    # Root may open everything, so the answer of the system is given here.
    monkeypatch.setattr(os, "access", lambda *_: False)
    group = grp.getgrgid(os.stat(terminal.path).st_gid).gr_name  # noqa: PTH116
    with pytest.raises(PortError, match="permission denied") as caught:
        open_port(terminal.path, 115200)
    if group != "root":
        assert group in caught.value.message
        assert f"usermod -aG {group}" in str(caught.value.hint)
    terminal.close()


def test_lines_keep_their_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """DTR and RTS are set before the port is opened, and closing does not drop them."""
    import termios

    import serial

    levels = []
    opening = serial.Serial.open

    def watch(self: serial.Serial) -> None:
        levels.append((self.is_open, self.dtr, self.rts))
        opening(self)

    monkeypatch.setattr(serial.Serial, "open", watch)
    terminal = Terminal()
    transport = open_port(terminal.path, 115200, dtr=False, rts=False)
    assert levels == [(False, False, False)]
    assert not termios.tcgetattr(terminal.port)[2] & termios.HUPCL
    transport.close()
    terminal.close()


def test_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = open_port(f"socket://127.0.0.1:{server.getsockname()[1]}")
        peer, _ = server.accept()
        with peer:
            transport.write(b"hello")
            assert peer.recv(100) == b"hello"
            peer.sendall(b"there")
            assert read_all(transport, 5) == b"there"
        with pytest.raises(LinkLostError):
            transport.read(5)
        started = time.monotonic()
        transport.close()
        assert time.monotonic() - started < 0.2


def test_writing_waits_for_a_slow_reader_and_closing_ends_that() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = open_port(f"socket://127.0.0.1:{server.getsockname()[1]}")
        peer, _ = server.accept()
        size = 20_000_000
        thread = threading.Thread(target=transport.write, args=(bytes(size),))
        thread.start()
        got = 0
        while got < size:
            got += len(peer.recv(1 << 20))
        thread.join()
        failed: list[PortError] = []

        def stuck() -> None:
            try:
                transport.write(bytes(size))
            except PortError as error:
                failed.append(error)

        thread = threading.Thread(target=stuck)
        thread.start()
        peer.recv(1)
        transport.close()
        thread.join()
        assert len(failed) == 1
        peer.close()


@pytest.mark.parametrize("url", ["socket://", "socket://localhost", "socket://localhost:x", "nonsense://x"])
def test_bad_urls(url: str) -> None:
    with pytest.raises((UsageError, PortError), match=url):
        open_port(url)


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    with pytest.raises(PortError, match=f"socket://127.0.0.1:{number}: nothing listens"):
        open_port(f"socket://127.0.0.1:{number}")


def test_loop() -> None:
    transport = open_port("loop://")
    transport.write(b"round")
    assert read_all(transport, 5) == b"round"
    transport.close()
    assert transport.read(None) == b""
    with pytest.raises(LinkLostError):
        transport.write(b"x")


@pytest.mark.filterwarnings("ignore:set\\w+\\(\\) is deprecated:DeprecationWarning")  # pyserial's
def test_rfc2217() -> None:
    """Against pyserial's own server side."""
    import serial
    from serial.rfc2217 import PortManager

    server = socket.create_server(("127.0.0.1", 0))
    port = serial.serial_for_url("loop://")

    def serve() -> None:
        stream, _ = server.accept()

        class Connection:
            def write(self, data: bytes) -> None:
                stream.sendall(data)

        manager = PortManager(port, Connection())
        while data := stream.recv(1024):
            plain = b"".join(manager.filter(data))
            if plain:
                stream.sendall(b"".join(manager.escape(plain.upper())))
        stream.close()

    thread = threading.Thread(target=serve)
    thread.start()
    transport = open_port(f"rfc2217://127.0.0.1:{server.getsockname()[1]}", 115200)
    transport.write(b"over telnet \xff")
    assert read_all(transport, 13) == b"OVER TELNET \xff"
    transport.close()
    thread.join()
    server.close()
    port.close()


@pytest.mark.parametrize("kind", ["tty", "socket", "loop", "memory", "lossy"])
def test_closing_wakes_a_reader(kind: str) -> None:
    ends: list[object] = []
    if kind == "tty":
        terminal = Terminal()
        transport = open_port(terminal.path)
    elif kind == "socket":
        server = socket.create_server(("127.0.0.1", 0))
        transport = open_port(f"socket://127.0.0.1:{server.getsockname()[1]}")
        ends.append(server)
    elif kind == "loop":
        transport = open_port("loop://")
    else:
        transport, peer = pair()
        ends.append(peer)
        if kind == "lossy":
            transport = LossyTransport(transport)
    result: list[bytes] = []
    reading = threading.Event()

    def read() -> None:
        reading.set()
        result.append(transport.read(None))

    thread = threading.Thread(target=read)
    thread.start()
    reading.wait()
    transport.close()
    thread.join(5)
    assert result == [b""]
    if kind == "tty":
        terminal.close()
    for end in ends:
        end.close()  # type: ignore[attr-defined]


def test_memory_pair() -> None:
    one, two = pair()
    one.write(b"a")
    one.write(b"b")
    assert two.read(None) == b"ab"
    assert two.read(0) == b""
    two.write(b"last")
    two.close()
    assert one.read(1) == b"last"
    with pytest.raises(LinkLostError):
        one.read(1)
    with pytest.raises(LinkLostError):
        one.write(b"x")


def test_a_perfect_line_changes_nothing() -> None:
    one, two = pair()
    line = LossyTransport(one)
    line.write(bytes(range(256)) * 10)
    assert read_all(two, 2560) == bytes(range(256)) * 10
    two.write(b"back")
    assert read_all(line, 4) == b"back"
    line.close()


def received(model: LineModel, data: bytes, seed: int) -> bytes:
    one, two = pair()
    line = LossyTransport(two, rx=model, seed=seed)
    one.write(data)
    one.close()
    got = b""
    try:
        while True:
            got += line.read(1)
    except LinkLostError:
        pass
    line.close()
    return got


def test_damage_follows_from_the_seed() -> None:
    model = LineModel(bit_errors=1e-3, drops=1e-3, duplicates=1e-3)
    data = bytes(range(1, 256)) * 40
    first = received(model, data, 7)
    assert first == received(model, data, 7)
    assert first != received(model, data, 8)
    assert first != data


def test_rates_of_damage() -> None:
    data = b"\x55" * 100_000
    flipped = received(LineModel(bit_errors=1e-3), data, 1)
    assert 600 < sum(byte != 0x55 for byte in flipped) < 1000
    assert 98_500 < len(received(LineModel(drops=0.01), data, 1)) < 99_500
    assert 100_500 < len(received(LineModel(duplicates=0.01), data, 1)) < 101_500
    frames = (b"\x55" * 99 + b"\0") * 5000
    lost = sum(frame != b"\x55" * 99 for frame in received(LineModel(frame_loss=0.1), frames, 1).split(b"\0")[:-1])
    assert 400 < lost < 600


def test_pacing_and_latency() -> None:
    """A line never delivers faster than its baud rate, nor before its latency."""
    one, two = pair()
    model = LineModel(baud=100_000, latency=0.02)
    line = LossyTransport(one, tx=model, rx=model)
    started = time.monotonic()
    line.write(bytes(1000))
    first = two.read(None)
    assert time.monotonic() - started >= 0.02
    read_all(two, 1000 - len(first))
    assert time.monotonic() - started >= 0.119
    two.write(bytes(1000))
    started = time.monotonic()
    assert len(read_all(line, 1000)) == 1000
    assert time.monotonic() - started >= 0.1
    line.close()


def test_settings_of_the_system_are_optional() -> None:
    """A tty that knows nothing of modem lines or latency is opened all the same."""

    class Port:
        def set_low_latency_mode(self, on: bool) -> None:  # noqa: ARG002
            raise ValueError("not supported")

    read, write = os.pipe()
    _serial._settle_tty(Port(), read)
    os.close(read)
    os.close(write)
