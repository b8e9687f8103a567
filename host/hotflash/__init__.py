"""Hot reloading for Cortex-M firmware: push changed C functions into a running board.

The names below are the public Python API; each is imported from its module on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hotflash.board import Board as Board
    from hotflash.device import Device as Device
    from hotflash.elf.firmware import Firmware as Firmware
    from hotflash.elf.object import ObjectFile as ObjectFile
    from hotflash.errors import AccessError as AccessError
    from hotflash.errors import BuildIdError as BuildIdError
    from hotflash.errors import BusyError as BusyError
    from hotflash.errors import ElfError as ElfError
    from hotflash.errors import FitError as FitError
    from hotflash.errors import FramesError as FramesError
    from hotflash.errors import HotflashError as HotflashError
    from hotflash.errors import LinkError as LinkError
    from hotflash.errors import PortError as PortError
    from hotflash.errors import RefusedError as RefusedError
    from hotflash.errors import StaleError as StaleError
    from hotflash.errors import TargetFault as TargetFault
    from hotflash.errors import UsageError as UsageError
    from hotflash.errors import WireError as WireError
    from hotflash.session import Session as Session
    from hotflash.settings import Settings as Settings
    from hotflash.sim import Sim as Sim
    from hotflash.store import Store as Store

_EXPORTS = {
    "AccessError": "errors",
    "Board": "board",
    "BuildIdError": "errors",
    "BusyError": "errors",
    "Device": "device",
    "ElfError": "errors",
    "Firmware": "elf.firmware",
    "FitError": "errors",
    "FramesError": "errors",
    "HotflashError": "errors",
    "LinkError": "errors",
    "ObjectFile": "elf.object",
    "PortError": "errors",
    "RefusedError": "errors",
    "Session": "session",
    "StaleError": "errors",
    "Settings": "settings",
    "Sim": "sim",
    "Store": "store",
    "TargetFault": "errors",
    "UsageError": "errors",
    "WireError": "errors",
}

__all__ = ["__version__", *_EXPORTS]  # noqa: PLE0604 (names, all of them)


def __getattr__(name: str) -> object:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module 'hotflash' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"hotflash.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
