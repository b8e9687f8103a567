"""Arm build attributes: what a file was compiled for (Arm IHI 0045, "Addenda to the ABI", section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hotflash.errors import ElfError

CPU_NAME, CPU_ARCH, CPU_ARCH_PROFILE, ARM_ISA_USE, THUMB_ISA_USE, FP_ARCH = 5, 6, 7, 8, 9, 10
PCS_R9_USE, PCS_RW_DATA, PCS_WCHAR, FP_NUMBER_MODEL = 14, 15, 18, 23
ENUM_SIZE, HARD_FP_USE, VFP_ARGS, MVE_ARCH = 26, 27, 28, 48

_STRINGS = {4, 5, 65, 67}
_COMPATIBILITY = 32

ARCH_NAMES = {
    0: "pre-v4", 1: "v4", 2: "v4T", 3: "v5T", 4: "v5TE", 5: "v5TEJ", 6: "v6", 7: "v6KZ", 8: "v6T2", 9: "v6K", 10: "v7",
    11: "v6-M", 12: "v6S-M", 13: "v7E-M", 14: "v8-A", 15: "v8-R", 16: "v8-M.baseline", 17: "v8-M.mainline",
    21: "v8.1-M.mainline", 22: "v9-A",
}  # fmt: skip
"""Values of Tag_CPU_arch."""

_RUNS = {
    11: {11, 12},
    12: {11, 12},
    10: {11, 12, 10},
    13: {11, 12, 10, 13},
    16: {11, 12, 16},
    17: {11, 12, 10, 13, 16, 17},
    21: {11, 12, 10, 13, 16, 17, 21},
}
"""Which architectures' code a core of each M-profile architecture runs."""


def _uleb(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 35:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise IndexError


def parse(data: bytes, fail: Callable[[str], ElfError]) -> dict[int, int | str]:
    """File-scope attributes of the vendor "aeabi" by tag. ``data`` is an ``.ARM.attributes`` section."""
    found: dict[int, int | str] = {}
    if not data:
        return found
    if data[0] != ord("A"):
        raise fail(f".ARM.attributes has format version {data[0]:#x}, not 'A'")
    try:
        at = 1
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "little")
            if length < 5 or at + length > len(data):
                raise IndexError  # noqa: TRY301 - one message for everything that runs out of the section
            name_end = data.index(0, at + 4, at + length)
            if data[at + 4 : name_end] == b"aeabi":
                _file_scope(data[name_end + 1 : at + length], found)
            at += length
    except (IndexError, ValueError):
        raise fail(".ARM.attributes is cut short or damaged") from None
    return found


def _file_scope(data: bytes, found: dict[int, int | str]) -> None:
    at = 0
    while at < len(data):
        start = at
        tag, at = _uleb(data, at)
        length = int.from_bytes(data[at : at + 4], "little")
        at += 4
        end = start + length
        if end < at or end > len(data):
            raise IndexError
        while tag == 1 and at < end:
            key, at = _uleb(data, at)
            if key == _COMPATIBILITY:
                found[key], at = _uleb(data, at)
                at = data.index(0, at) + 1
            elif key in _STRINGS or (key > _COMPATIBILITY and key & 1):
                stop = data.index(0, at)
                found[key] = data[at:stop].decode("ascii", "replace")
                at = stop + 1
            else:
                found[key], at = _uleb(data, at)
        at = end


def _arch(attributes: Mapping[int, int | str]) -> str:
    number = attributes.get(CPU_ARCH, 0)
    cpu = attributes.get(CPU_NAME)
    return f"Arm{ARCH_NAMES.get(int(number), f' architecture {number}')}" + (f" ({cpu})" if cpu else "")


def incompatibility(thing: Mapping[int, int | str], firmware: Mapping[int, int | str]) -> tuple[str, str] | None:
    """Why code with the attributes ``thing`` cannot run in a firmware with ``firmware``: (what, hint), or None.

    Files without attributes (no compiler makes them) are judged by their code's mapping symbols alone.
    """
    if not thing or not firmware:
        return None
    ours, theirs = int(thing.get(CPU_ARCH, 0)), int(firmware.get(CPU_ARCH, 0))
    if ours not in _RUNS.get(theirs, {theirs}):
        return (
            f"is compiled for {_arch(thing)}, the firmware for {_arch(firmware)}",
            "use the -mcpu that the firmware is built with",
        )
    profile = int(thing.get(CPU_ARCH_PROFILE, 0))
    if profile not in (0, ord("M")):
        name = chr(profile) if profile < 0x80 else f"unknown ({profile:#x})"
        return f"is compiled for the {name} profile, not for Cortex-M", "use the firmware's -mcpu"
    call, base = int(thing.get(VFP_ARGS, 0)), int(firmware.get(VFP_ARGS, 0))
    names = {0: "soft or softfp", 1: "hard", 2: "a private variant"}
    # What says nothing of floating-point numbers passes none: assembly, as in libgcc. GNU ld sees it so, too.
    if call != base and 3 not in (call, base) and int(thing.get(FP_NUMBER_MODEL, 0)):
        abis = names.get(call, str(call)), names.get(base, str(base))
        return (
            f"uses another floating-point ABI ({abis[0]}) than the firmware ({abis[1]})",
            "use the -mfloat-abi and -mfpu that the firmware is built with",
        )
    if thing.get(FP_ARCH, 0) and not firmware.get(FP_ARCH, 0):
        return "uses the floating-point unit, which the firmware does not", "use the firmware's -mfloat-abi and -mfpu"
    if thing.get(PCS_RW_DATA, 0) == 2 and firmware.get(PCS_RW_DATA, 0) != 2:
        return "addresses data relative to r9, the firmware does not", "compile it without -msingle-pic-base"
    for tag, what in ((ENUM_SIZE, "-fshort-enums"), (PCS_WCHAR, "-fshort-wchar")):
        a, b = int(thing.get(tag, 0)), int(firmware.get(tag, 0))
        if a and b and a != b and not (tag == ENUM_SIZE and 3 in (a, b)):
            flag = what if b < a else what.replace("-f", "-fno-")
            return f"was compiled with another setting of {what} than the firmware", f"compile it with {flag}"
    return None
