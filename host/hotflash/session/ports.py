"""Which port to talk to. Nothing is ever sent to one that nobody chose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from hotflash.errors import PortError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.settings import Settings
    from hotflash.store import Store

# USB vendor and product IDs of what boards are programmed and watched through, most likely first. A product
# of None stands for all of the vendor's.
_LIKELY: tuple[tuple[int, int | None, str], ...] = (
    (0x0483, 0x374B, "ST-Link"),
    (0x0483, 0x374E, "ST-Link V3"),
    (0x0483, 0x374F, "ST-Link V3"),
    (0x0483, 0x3753, "ST-Link V3"),
    (0x0483, 0x3754, "ST-Link V3"),
    (0x0D28, 0x0204, "DAPLink"),
    (0x1366, None, "J-Link"),
    (0x2E8A, 0x000C, "Debug Probe"),
    (0x1D50, 0x6018, "Black Magic Probe"),
    (0x1FC9, None, "NXP probe"),
    (0x03EB, None, "Atmel probe"),
    (0x0403, None, "FTDI"),
    (0x10C4, None, "CP210x"),
    (0x1A86, None, "CH34x"),
    (0x067B, None, "PL2303"),
    (0x04D8, None, "Microchip"),
)


@dataclass(frozen=True)
class Choice:
    """A port that somebody chose."""

    url: str
    source: str
    """Who chose it, for people."""


@dataclass(frozen=True)
class Candidate:
    """A serial port of this machine."""

    device: str
    description: str
    usb: str
    """``vid:pid``; empty: not on USB."""
    rank: int
    """0 is the most likely."""


class NoPortError(PortError):
    """Nobody chose a port."""

    def __init__(self, message: str, candidates: Sequence[Candidate], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.candidates = tuple(candidates)


def candidates() -> list[Candidate]:
    """The serial ports of this machine, likely ones first, those that are no USB devices last."""
    from serial.tools import list_ports

    found = []
    for port in list_ports.comports():
        rank, kind = len(_LIKELY) + 1, ""
        if port.vid is not None:
            rank = len(_LIKELY)
            for index, (vid, pid, name) in enumerate(_LIKELY):
                if port.vid == vid and pid in (None, port.pid):
                    rank, kind = index, name
                    break
        elif port.description in (None, "n/a"):
            continue  # a bare ttyS* that the kernel made without hardware behind it
        usb = f"{port.vid:04x}:{port.pid or 0:04x}" if port.vid is not None else ""
        words = [word for word in (kind, port.description) if word and word != "n/a"]
        found.append(Candidate(port.device, ", ".join(dict.fromkeys(words)), usb, rank))
    return sorted(found, key=lambda candidate: (candidate.rank, candidate.device))


def choose(settings: Settings, store: Store) -> Choice:
    """The port that flags, variables, settings or a running simulator of this project chose.

    Raises :class:`NoPortError` with the candidates otherwise.
    """
    if settings.port is not None:
        return Choice(settings.port, settings.source("port"))
    sim = store.sim()
    if sim is not None:
        return Choice(sim.port, f"the running simulator of {PurePath(sim.board).name}")
    found = candidates()
    listing = "; ".join(f"{entry.device} ({entry.description or 'serial port'})" for entry in found)
    raise NoPortError(
        "no port chosen" + (f"; there are {listing}" if found else " and no serial port found"),
        found,
        hint="name one with --port or HOTFLASH_PORT, set `port` in hotflash.toml, or start `hotflash sim`",
    )
