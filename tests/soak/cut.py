"""One push cut at every byte of its stream, on an emulated board: ``make cut-all``, or ``python -m tests.soak.cut``.

Three ways: the host is gone and another comes; the line is silent for a while, and the host repeats; the board is
reset. Each time the board is on the old or the new generation, as a whole, and the next push works.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hotflash.device import Device
from hotflash.session import Session
from hotflash.settings import load
from hotflash.sim import Sim
from hotflash.store import Store
from hotflash.transport import Transport, open_port
from hotflash.wire.link import Link
from hotflash.wire.messages import Op, SlotFlag, SlotKind
from tests.soak.firmware import Firmware, build

UNITS = ("leaf", "tail")
WAYS = ("gone", "silent", "reset")


class Recorder:
    """A transport that keeps what is written."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.written = bytearray()

    @property
    def name(self) -> str:
        return self._inner.name

    def read(self, timeout: float | None) -> bytes:
        return self._inner.read(timeout)

    def write(self, data: bytes) -> None:
        self.written += data
        self._inner.write(data)

    def close(self) -> None:
        self._inner.close()


@dataclass(frozen=True)
class Code:
    """What runs: the generation, the bound hooks, and the bytes of all code slots."""

    generation: int
    hooks: dict[int, int]
    code: dict[int, bytes]

    @classmethod
    def of(cls, device: Device) -> Code:
        hello = device.refresh()
        slots = [slot for slot in device.slots() if slot.kind == SlotKind.CODE and not slot.flags & SlotFlag.OPEN]
        code = {slot.address: device.read(slot.address, slot.length) for slot in slots}
        return cls(hello.generation, device.hooks(), code)


BASE = Code(0, {}, {})


class Cutter:
    """A board, the bytes of a push to it, and what it runs then."""

    def __init__(self, sim: Sim, firmware: Firmware, folder: Path) -> None:
        self.sim = sim
        store = Store(folder)
        store.ensure()
        settings = load({"port": sim.url, "board": str(firmware.board.path)}, project=folder)
        recorder = Recorder(open_port(sim.url))
        with Session(Device.over(Link(recorder)), settings, store, sim.url) as session:
            session.flash(firmware.elf)
            assert Code.of(session.device) == BASE
            recorder.written.clear()
            session.push([firmware.objects[unit][0] for unit in UNITS], mode="now")
            self.stream = bytes(recorder.written)
            self.new = Code.of(session.device)
        assert self.new.generation == 1
        assert len(self.new.hooks) == 3
        self.reset()

    def reset(self) -> None:
        """The button; returns when the board answers from its base image."""
        self.sim.reset()
        with self._host() as device:
            assert Code.of(device) == BASE

    def _host(self, before: bytes = b"") -> Device:
        """Another host, on a line that `before` was sent on: what comes first is served first."""
        line = open_port(self.sim.url)
        line.write(before)
        return Device.over(Link(line), timeout=30.0)

    def cut(self, length: int, way: str) -> Code:
        """Sends so many bytes of the push, and looks at what came of it; then the next push."""
        before = self.stream[:length]
        if way == "reset":
            line = open_port(self.sim.url)
            line.write(before)
            self.sim.reset()
            line.close()
            before = b""
        elif way == "silent":
            # The host repeats from the request on that was cut, under the same number.
            before += b"\0" + self.stream[before.rfind(b"\0") + 1 :]
        with self._host(before) as device:
            found = Code.of(device)
            device.channel.submit(Op.ABORT, b"").reply()
            assert not [slot for slot in device.slots() if slot.flags & SlotFlag.OPEN]
        if found.generation == 0:
            with self._host(b"\0" + self.stream) as device:
                assert Code.of(device) == self.new, f"the push after a cut at byte {length} ({way})"
                assert device.status().drift == 0
        self.reset()
        return found


def run(firmware: Firmware, folder: Path, *, step: int = 1, ways: tuple[str, ...] = WAYS) -> int:
    """Cuts at every ``step``-th byte, and at the last ones; returns the number of cuts.

    :raises AssertionError: where the board was on neither generation
    """
    cuts = 0
    with Sim(firmware.board) as sim:
        cutter = Cutter(sim, firmware, folder)
        last = len(cutter.stream)
        for way in ways:
            for length in sorted({*range(0, last, step), last - 1, last}):
                found = cutter.cut(length, way)
                # The zero that the next host begins with ends the last frame. Bytes that are still on their way when
                # the button is pressed are the next board's, so a push may begin after the reset.
                whole = way == "silent" or (way == "gone" and length >= last - 1)
                allowed = (BASE, cutter.new) if way == "reset" else (cutter.new,) if whole else (BASE,)
                assert found in allowed, f"cut at byte {length} of {last} ({way}): {found}"
                cuts += 1
                if step == 1 and length % 50 == 0:
                    print(f"{way}: {length} of {last}", flush=True)
    return cuts


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="cut a push at every byte, in QEMU")
    parser.add_argument("--step", type=int, default=1)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="cut-"))
    (work / "project").mkdir()
    print(f"{run(build(work / 'firmware', 1), work / 'project', step=options.step)} cuts, none wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
