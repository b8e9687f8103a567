"""Emulated boards: builds the bootloader for a board and runs it in QEMU, the UART on a local TCP port.

Time runs as fast as the machine allows; with ``icount`` it follows the number of instructions, exactly.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hotflash import sdk
from hotflash.errors import HotflashError, PortError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from hotflash.board import Board

QEMU = "qemu-system-arm"
HOST = "127.0.0.1"
TOOLCHAIN = "arm-none-eabi-"
_PACKAGES = {QEMU: "qemu-system-arm", f"{TOOLCHAIN}gcc": "gcc-arm-none-eabi", "make": "make"}
_TIMEOUT = 10.0  # seconds for QEMU to answer on a loaded machine; it takes some 20 ms otherwise


def find_tool(name: str) -> str:
    """Return the program's path; :class:`UsageError` with the Debian package when it is not installed."""
    path = shutil.which(name)
    if path is None:
        package = _PACKAGES.get(name)
        raise UsageError(
            f"{name} is not installed or not on PATH", hint=f"sudo apt install {package}" if package else None
        )
    return path


# --------------------------------------------------------------------------------------- bootloader


def default_cache() -> Path:
    """Return the folder of built bootloaders: ``hotflash/bootloader`` in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "hotflash" / "bootloader"


def build_bootloader(board: Board, out_dir: Path | None = None, *, toolchain: str = TOOLCHAIN) -> Path:
    """Build the bootloader for ``board`` and return its ``boot.elf``.

    The result is kept in ``out_dir`` (by default the user's cache) under a hash of all that goes into it, so a second
    call returns at once. Two processes may build the same at the same time. Raises :class:`UsageError` when a
    tool is missing, :class:`HotflashError` with the compiler's last lines when the build fails.
    """
    compiler, make = find_tool(f"{toolchain}gcc"), find_tool("make")
    sources = sdk.bootloader_dir()
    out = (out_dir if out_dir is not None else default_cache()).absolute()
    target = out / f"{board.name}-{_content_hash((sources, sdk.boards_dir() / 'common', board.path), compiler)}"
    elf = target / "boot.elf"
    if elf.is_file():
        return elf
    try:
        out.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{board.name}-", dir=out))
    except OSError as error:
        raise UsageError(f"cannot build the bootloader in {out}: {error.strerror or error}") from None
    try:
        _make(make, sources, board, work, toolchain)
        # A rename onto a folder that is not empty fails: somebody else was first, with the same content.
        with contextlib.suppress(OSError):
            work.rename(target)
        if not elf.is_file():
            raise HotflashError(f"cannot keep the bootloader in {target}", hint=f"remove {target}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return elf


def _make(make: str, sources: Path, board: Board, out: Path, toolchain: str) -> None:
    command = [
        make,
        "--no-print-directory",
        f"-j{os.cpu_count() or 1}",
        "-C",
        str(sources),
        f"BOARD={board.path}",
        f"OUT={out}",
    ]
    if toolchain != TOOLCHAIN:
        command.append(f"CROSS={toolchain}")
    # A make above us must not hand its job server and flags down to this one.
    env = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    result = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    if result.returncode or not (out / "boot.elf").is_file():
        tail = "\n".join(result.stdout.splitlines()[-20:])
        raise HotflashError(
            f"the bootloader of {board.name} does not build:\n{tail}", hint=f"command: {' '.join(command)}"
        )


def _content_hash(folders: Sequence[Path], compiler: str) -> str:
    """Hash of the names and bytes of all files below ``folders``, and of which compiler it is."""
    digest = hashlib.sha256()
    binary = Path(compiler).resolve()
    digest.update(f"{binary} {binary.stat().st_size} {binary.stat().st_mtime_ns}".encode())
    for number, folder in enumerate(folders):
        # The makefiles may refer to each other by absolute paths, and debug information does.
        digest.update(f"\0{number} {folder}".encode())
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            if "build" in file.relative_to(folder).parts or file.suffix in (".o", ".d"):
                continue
            content = file.read_bytes()
            digest.update(f"\0{file.relative_to(folder)}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


# --------------------------------------------------------------------------------------------- QEMU


class Sim:
    """A running emulated board.

    A context manager; without it, :meth:`stop` ends the emulator, and it ends by itself with the Python process, even
    a killed one (Linux: the thread that makes a Sim has to live as long as it).
    """

    def __init__(
        self,
        board: Board,
        boot_elf: Path | None = None,
        *,
        image: Path | None = None,
        port: int = 0,
        icount: int | None = None,
        args: Sequence[str] = (),
        paused: bool = False,
    ) -> None:
        """Start QEMU with a bootloader in the board's flash: ``boot_elf``, or the one that is built for the board.

        ``image`` is an Intel HEX file that is in flash instead, bootloader and application; QEMU restores it at each
        reset, so what is flashed over it lasts until then.
        ``port`` is the UART's TCP port, 0 for any free one. ``icount`` is QEMU's shift: an instruction takes
        ``2 ** icount`` ns of emulated time, 0 to 10. ``args`` are more arguments for QEMU. ``paused`` waits for
        :meth:`resume`. Raises :class:`UsageError` when QEMU is missing or the board has no emulation,
        :class:`PortError` when the port is taken, :class:`HotflashError` when QEMU does not start.
        """
        if board.qemu is None:
            raise UsageError(
                f"board {board.name} has no emulation", hint=f"add a [qemu] table to {board.path / 'board.toml'}"
            )
        if icount is not None and not 0 <= icount <= 10:
            raise UsageError(f"icount is 0 to 10, not {icount}")
        qemu = find_tool(QEMU)
        if image is None:
            file = boot_elf if boot_elf is not None else build_bootloader(board)
            content = ("-kernel", str(file))
        else:
            file = image
            # QEMU takes a comma for the end of an option's value; a doubled one is a comma.
            content = ("-device", f"loader,file={str(file).replace(',', ',,')}")
        if not file.is_file():
            raise UsageError(f"{file}: no such file")
        self.board = board
        # QEMU takes over a socket that listens already: no other process can take the port in between, and
        # connections are accepted from now on.
        with _listen(port) as uart:
            self.port: int = uart.getsockname()[1]
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
            mine, theirs = socket.socketpair()
            with theirs:
                command = [
                    *_tied_to_parent(),
                    qemu,
                    *("-machine", board.qemu.machine, *content, "-display", "none", "-monitor", "none"),
                    *("-chardev", f"socket,id=hf-qmp,fd={theirs.fileno()}", "-mon", "chardev=hf-qmp,mode=control"),
                    *("-chardev", f"socket,id=hf-uart,fd={uart.fileno()},server=on,wait=off,nodelay=on"),
                    *(("-serial", "null") * board.qemu.serial),
                    *("-serial", "chardev:hf-uart"),
                    *(("-icount", f"shift={icount}") if icount is not None else ()),
                    *(("-S",) if paused else ()),
                    *board.qemu.args,
                    *args,
                ]
                self._process = subprocess.Popen(
                    command,
                    pass_fds=(uart.fileno(), theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._stderr,
                    # Ctrl-C in a terminal is for the command, which then stops the emulator in order.
                    process_group=0,
                )
        self._finalizer = weakref.finalize(self, _end, self._process)
        self._qmp = _Qmp(mine)
        self._ready = False
        self._paused = paused

    @property
    def url(self) -> str:
        """The UART as a pyserial URL."""
        return f"socket://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Process ID of QEMU."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether QEMU still runs."""
        return self._process.poll() is None

    def wait_ready(self, timeout: float = _TIMEOUT) -> Self:
        """Wait until the emulated core runs; :class:`HotflashError` with QEMU's words when it does not.

        What the bootloader sends before anybody is connected is lost, as on a real line.
        """
        if self._ready:
            return self
        try:
            self._qmp.open(timeout)
            status = self._qmp.execute("query-status", timeout)
        except (OSError, ValueError):
            raise self._failure("does not start") from None
        if not status.get("running") and not self._paused:
            raise self._failure(f"is in state {status.get('status')}")
        self._ready = True
        return self

    def reset(self, timeout: float = _TIMEOUT) -> None:
        """Reset the board, as its reset button does; RAM keeps its contents. Returns when it is done."""
        self._command("system_reset", "RESET", timeout)

    def pause(self, timeout: float = _TIMEOUT) -> None:
        """Stop the emulated board's time."""
        self._command("stop", None, timeout)

    def resume(self, timeout: float = _TIMEOUT) -> None:
        """Let the emulated board's time go on."""
        self._command("cont", None, timeout)

    def _command(self, name: str, event: str | None, timeout: float) -> None:
        self.wait_ready(timeout)
        try:
            self._qmp.execute(name, timeout, event)
        except (OSError, ValueError):
            raise self._failure(f"does not answer {name}") from None

    def _failure(self, what: str) -> HotflashError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)  # it may be about to end
        state = self._process.poll()
        self._stderr.seek(0)
        text = self._stderr.read().decode(errors="replace").strip()
        self.stop()
        ended = "" if state is None else f", exit status {state}"
        return HotflashError(f"QEMU ({self.board.name}) {what}{ended}" + (f":\n{text}" if text else ""))

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until QEMU ends, at most ``timeout`` seconds; return its exit status, or None while it runs."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End the emulator; harmless when it has ended."""
        self._finalizer()
        self._qmp.close()
        if not self._stderr.closed:
            self._stderr.close()

    def __enter__(self) -> Self:
        """Wait until the board runs."""
        try:
            return self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()


def _listen(port: int) -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of a simulation that ended a moment ago do not keep the port.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((HOST, port))
        server.listen(1)
    except (OSError, OverflowError) as error:
        server.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise PortError(f"TCP port {port}: {reason}", hint="leave the port out: any free one is taken") from None
    return server


def _tied_to_parent() -> list[str]:
    """Return a prefix that makes a command die with the thread that started it (prctl(2), PR_SET_PDEATHSIG).

    Python's preexec_fn would do the same, but is not safe in a process with threads.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


class _Qmp:
    """QEMU's control protocol: a JSON object a line, events between replies."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._lines = connection.makefile("rb")

    def open(self, timeout: float) -> None:
        """Take the greeting, leave the negotiation."""
        self._socket.settimeout(timeout)
        if "QMP" not in self._next():
            raise ValueError("no greeting")
        self.execute("qmp_capabilities", timeout)

    def _next(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise ConnectionResetError("QEMU has closed its control connection")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(line)  # noqa: TRY004 - it is the peer's value that is wrong
        return message

    def execute(self, command: str, timeout: float, event: str | None = None) -> dict[str, Any]:
        """Run a command; return its result when it is there and, if asked, the event has come."""
        self._socket.settimeout(timeout)
        self._socket.sendall(json.dumps({"execute": command}).encode() + b"\n")
        result: dict[str, Any] | None = None
        while result is None or event is not None:
            message = self._next()
            if "error" in message:
                raise ValueError(str(message["error"].get("desc")))
            if "return" in message:
                result = message["return"]
            elif message.get("event") == event:
                event = None
        return result

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
