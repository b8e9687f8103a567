"""What a board says unasked, decoded from log and fault frames, and the state of the link."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotflash.errors import WireError
from hotflash.wire.codec import Reader
from hotflash.wire.messages import Channel, ParkReason
from hotflash.wire.record import Registers, unpack
from hotflash.wire.status import reason_text

if TYPE_CHECKING:
    from hotflash.wire.frame import Frame

__all__ = [
    "Boot",
    "Event",
    "EventDecoder",
    "Fault",
    "FramesLost",
    "LinkDown",
    "LinkUp",
    "LogDropped",
    "LogText",
    "Parked",
    "Plain",
    "Registers",
    "TrialOver",
]

_KIND_BOOT = 1
_KIND_PLAIN = 2
_KIND_PARKED = 3
_KIND_TRIAL = 4


@dataclass(frozen=True, slots=True)
class LogText:
    """A piece of the application's log; a line may come in several."""

    text: str


@dataclass(frozen=True, slots=True)
class LogDropped:
    """The application dropped lines because the serial line could not keep up."""

    count: int
    """Lines since the last such event."""


@dataclass(frozen=True, slots=True)
class FramesLost:
    """Log or fault frames were damaged or lost on the way."""

    count: int
    """Frames, as the gap in the sequence numbers tells (modulo 256)."""


@dataclass(frozen=True, slots=True)
class Boot:
    """The board was reset."""

    reason: str
    """Why the bootloader waits, or empty: it starts the application."""


@dataclass(frozen=True, slots=True)
class Plain:
    """An application without patch points was started: nobody answers from now on."""

    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """The application faulted and stands still; the monitor goes on answering."""

    registers: Registers | None
    """None when the frame holds fewer words than a fault's."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Parked:
    """The application stands still, because somebody asked for it or the watchdog found interrupts masked."""

    registers: Registers


@dataclass(frozen=True, slots=True)
class TrialOver:
    """The device rolled a generation back that was on trial and not confirmed."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The port went away; it is being opened again."""

    reason: str


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The port is back."""


Event = LogText | LogDropped | FramesLost | Boot | Plain | Fault | Parked | TrialOver | LinkDown | LinkUp


class EventDecoder:
    """Turns log and fault frames into events; finds what was lost by the gaps in their sequence numbers."""

    def __init__(self) -> None:
        self._expected: dict[int, int] = {}
        self._dropped: int | None = None
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, frame: Frame) -> list[Event]:
        """The events in ``frame``, none for a channel that has none."""
        if frame.channel == Channel.FAULT:
            return self._fault(frame)
        if frame.channel == Channel.LOG:
            return self._gap(frame) + self._log(frame.body)
        if frame.channel == Channel.TELEMETRY:
            return self._gap(frame)
        return []

    def _gap(self, frame: Frame) -> list[Event]:
        expected = self._expected.get(frame.channel, frame.seq)
        self._expected[frame.channel] = (frame.seq + 1) & 0xFF
        lost = (frame.seq - expected) & 0xFF
        if not lost:
            return []
        if frame.channel == Channel.LOG:
            self._utf8.reset()
        return [FramesLost(lost)]

    def _log(self, body: bytes) -> list[Event]:
        events: list[Event] = []
        reader = Reader(body)
        try:
            dropped = reader.uv()
        except WireError:
            return events
        if self._dropped is not None and dropped > self._dropped:
            events.append(LogDropped(dropped - self._dropped))
        self._dropped = dropped
        text = self._utf8.decode(reader.rest())
        if text:
            events.append(LogText(text))
        return events

    def _fault(self, frame: Frame) -> list[Event]:
        kind, rest = (frame.body[0], frame.body[1:]) if frame.body else (0, b"")
        if kind == _KIND_BOOT:
            # All counters start anew with the board.
            self._expected = {frame.channel: (frame.seq + 1) & 0xFF}
            self._dropped = 0
            self._utf8.reset()
            return [Boot(reason_text(rest))]
        events = self._gap(frame)
        if kind == _KIND_PLAIN:
            events.append(Plain("the application was programmed without its patch points"))
        elif kind == _KIND_PARKED:
            events.append(_parked(rest))
        elif kind == _KIND_TRIAL:
            events.append(TrialOver())
        return events


def _parked(body: bytes) -> Fault | Parked:
    registers = unpack(body)
    if registers is None or registers.reason == ParkReason.FAULT:
        return Fault(registers, body.decode("utf-8", "replace") if registers is None else "")
    return Parked(registers)
