"""From the status of a reply to the exception that people meet."""

from __future__ import annotations

from hotflash.errors import (
    AccessError,
    BuildIdError,
    BusyError,
    FitError,
    FramesError,
    HotflashError,
    RefusedError,
    StaleError,
    WireError,
)
from hotflash.wire.codec import Reader
from hotflash.wire.messages import MEMORY_TEXTS, REASON_TEXTS, CommitReply, Op, Reason, Shortage, Status

_ACCESS = (Op.READ, Op.POKE)


def op_name(op: int) -> str:
    """``FLASH_BEGIN`` -> ``flash begin``."""
    try:
        return Op(op).name.lower().replace("_", " ")
    except ValueError:
        return f"operation {op}"


def reason_text(body: bytes) -> str:
    """Why the bootloader does not start the application, from the byte that it sends; empty when it does."""
    reason = body[0] if body else Reason.NONE
    return "" if reason == Reason.NONE else REASON_TEXTS.get(reason, f"unknown reason {reason}")


def _shortage(body: bytes) -> str:
    try:
        short = Shortage.unpack(Reader(body))
    except WireError:
        return ""
    memory = MEMORY_TEXTS.get(short.memory, f"unknown memory {short.memory}")
    return f"{memory}: {short.needed} needed, {short.free} free"


def error_for(op: int, status: int, message: bytes) -> HotflashError:
    """The exception for a reply to ``op`` with an error ``status`` and its ``message``."""
    what = op_name(op)
    if status == Status.E_FRAMES:
        return _frames(message)
    text = ""
    if status == Status.E_NOMEM:
        text = _shortage(message)
    elif status in (Status.E_CRC, Status.E_STATE):
        text = reason_text(message)
    said = f": {text}" if text else ""
    if status in (Status.E_RANGE, Status.E_FAULT, Status.E_DENIED) and op in _ACCESS:
        why = {
            Status.E_RANGE: "the address is outside what may be accessed",
            Status.E_FAULT: "nothing is mapped at the address, or it does not allow this access",
            Status.E_DENIED: "the monitor keeps its own memory and UART to itself, and peripherals unless asked for",
        }[Status(status)]
        return AccessError(f"{what} refused: {why}")
    if status == Status.E_RANGE and op == Op.BEGIN:
        return StaleError("what the new code was linked to is not on the board any more", hint="push again")
    known: dict[int, tuple[type[HotflashError], str, str | None]] = {
        Status.E_OP: (RefusedError, f"the board does not take `{what}` now", "see `hotflash status`"),
        Status.E_FORMAT: (WireError, f"the board cannot read our `{what}`", "update the bootloader or hotflash"),
        Status.E_BUILD: (
            BuildIdError,
            "the board runs another build of the firmware",
            "`hotflash flash` the one at hand, or name the ELF of the one that runs with --elf",
        ),
        Status.E_GEN: (StaleError, "the board's code changed since this was linked", "push again"),
        Status.E_BUSY: (BusyError, "another transaction is open on the board", "wait until it ends, at most 5 s"),
        Status.E_NOTXN: (RefusedError, "the board has no open transaction; it may have been reset", "push again"),
        Status.E_NOMEM: (FitError, "does not fit the board's memory", None),
        Status.E_RANGE: (RefusedError, f"`{what}` names something outside its range", None),
        Status.E_SEAL: (RefusedError, "the transaction arrived damaged", "push again"),
        Status.E_FAULT: (AccessError, f"`{what}` ended in a bus error", None),
        Status.E_DENIED: (AccessError, f"the monitor refuses `{what}`", None),
        Status.E_FLASH: (HotflashError, "the flash could not be erased or programmed", "run `hotflash flash` again"),
        Status.E_CRC: (HotflashError, "the image in flash is damaged", "run `hotflash flash` again"),
        Status.E_NOUNDO: (RefusedError, "there is no generation to go back to", None),
        Status.E_LOST: (
            HotflashError,
            "the application has overwritten the monitor's state",
            "only a reset helps: `hotflash reset`",
        ),
        Status.E_STATE: (RefusedError, f"`{what}` is not possible now", "see `hotflash status`"),
        Status.E_TRIAL: (
            RefusedError,
            "a generation is on trial",
            "`hotflash confirm` keeps it, `hotflash rollback` takes it back",
        ),
        Status.E_NOAPP: (RefusedError, "no hot application runs on the board", "flash one with `hotflash flash`"),
    }
    if status not in known:
        return WireError(f"the board answers `{what}` with the unknown status {status}{said}")
    kind, text_for_people, hint = known[status]
    return kind(text_for_people + said, hint=hint)


def _frames(message: bytes) -> HotflashError:
    try:
        frames = CommitReply.unpack(Reader(message)).frames
    except WireError:
        frames = ()
    places = ", ".join(f"{frame.address:#010x}" for frame in frames)
    return FramesError(
        "the functions to be replaced are running" + (f": {places}" if places else ""),
        hint="try again, or push with --now: frames then finish in the old code",
        frames=[(frame.address, frame.where) for frame in frames],
    )
