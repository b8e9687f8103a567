"""Every error that hotflash raises, and the exit code of each.

::

    HotflashError                 1   something failed
    ├── UsageError                2   the call, a setting or a file name is wrong
    ├── PortError                 3   port missing, not permitted, busy, or silent
    ├── WireError                 4   the peer is not hotflash, or speaks another version
    ├── RefusedError              5   refused; the device is unchanged
    │   ├── ElfError                  not an ELF, truncated, another core or ABI
    │   ├── LinkError                 undefined symbol, relocation, no patch point
    │   ├── TypesError                a signature or a layout changed, and not all users come along
    │   ├── BuildIdError              the device runs another build
    │   ├── FitError                  does not fit; says what fills the heap
    │   ├── BusyError                 another transaction is open
    │   ├── StaleError                the device's code changed since it was asked
    │   ├── FramesError               safe commit: frames of replaced functions
    │   └── AccessError               read or write of an address that cannot be accessed
    └── TargetFault             134   the target faulted

Every error has a message that says what and where, and where it helps a ``hint``: what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.types.pairing import Migration


class HotflashError(Exception):
    """Base of all errors; ``exit_code`` is what the command line ends with."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(HotflashError):
    """The call, a setting or a file name is wrong."""

    exit_code = 2


class PortError(HotflashError):
    """The port is missing, not permitted, busy or silent."""

    exit_code = 3


class WireError(HotflashError):
    """The peer is not hotflash, or speaks another version of the protocol."""

    exit_code = 4


class RefusedError(HotflashError):
    """Refused; the device is unchanged."""

    exit_code = 5


class ElfError(RefusedError):
    """A file is not the ELF that it should be."""


class LinkError(RefusedError):
    """An object cannot be linked against what the device runs."""


class TypesError(RefusedError):
    """A signature or the layout of a type changed in a way that the live code or state does not take.

    ``migrations`` says what would have to happen to live variables, where that is all that is missing.
    """

    def __init__(self, message: str, *, hint: str | None = None, migrations: Sequence[Migration] = ()) -> None:
        super().__init__(message, hint=hint)
        self.migrations = tuple(migrations)


class BuildIdError(RefusedError):
    """The device runs another build than the one at hand."""


class FitError(RefusedError):
    """The patch does not fit the device's memory."""


class BusyError(RefusedError):
    """Another transaction is open on the device."""


class StaleError(RefusedError):
    """The device's code changed since it was asked what is live."""


class FramesError(RefusedError):
    """A safe commit found frames of the functions that it replaces until its deadline.

    ``frames`` are the (address, where) pairs of the device's answer: a PC or return address, and the address of
    the stack word that holds it, or a register's number (docs/SPEC.md, Frame).
    """

    def __init__(self, message: str, *, hint: str | None = None, frames: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__(message, hint=hint)
        self.frames = tuple(frames)


class AccessError(RefusedError):
    """An address cannot be read or written."""


class TargetFault(HotflashError):  # noqa: N818 (the fault is the target's; nothing went wrong here)
    """The target faulted."""

    exit_code = 134
