"""Makes the image that is programmed from a linked application (docs/SPEC.md, "Image header").

The linked ELF has nops at its patch points, its own vector table and a header that says PLAIN. The builder lays the
loaded sections out from HF_APP's start, turns every patch point into a jump through the hook table, gives the
monitor's exceptions to the bootloader, appends the hook table's initial values and completes the header.
"""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotflash.elf import format as elf
from hotflash.elf.hooks import assign_hooks
from hotflash.errors import ElfError, FitError, RefusedError
from hotflash.image import header as layout
from hotflash.image import sites as jumps
from hotflash.wire.crc import crc32

if TYPE_CHECKING:
    from hotflash.board import Board, Region
    from hotflash.elf.firmware import Firmware, Site
    from hotflash.image.header import ImageHeader

ERASED = b"\xff"
SPARE_TRAP = 92
"""Offset in the services of the trap that unused hooks lead to."""
_ENTRIES = {3: 64, 4: 68, 5: 72, 6: 76}  # exception number -> offset in the services (docs/SPEC.md, Services)
_NMI = 2  # exception number (ARMv7-M ARM B1.5.2)
_ENTRY_RX, _ENTRY_TX, _ENTRY_SOFT, _ENTRY_TICK, _ENTRY_WATCHDOG = 80, 84, 88, 96, 100
_EXCEPTIONS = 16  # words of the vector table before the first external interrupt (ARMv7-M ARM B1.5.2)
_MAX_HOOKS = 1 << 16


@dataclass(frozen=True)
class Image:
    """An application as it is programmed."""

    base: int
    """Address of the first byte: HF_APP's start."""
    data: bytes
    """All bytes from ``base``; the valid mark is left erased, since the device writes it when the CRC is right."""
    crc: int
    """CRC-32 of ``data`` with the words ``crc`` and ``mark`` of the header read as 0xFF bytes."""
    mark_offset: int
    """Offset of the 16-byte valid mark in ``data``."""
    header: ImageHeader
    """As in ``data``: without the mark."""
    build_id: bytes
    """GNU build ID, 20 bytes."""

    @property
    def marked(self) -> bytes:
        """All bytes with the valid mark set, for programmers other than the bootloader."""
        mark = struct.pack("<4I", *layout.valid_mark(self.crc))
        return self.data[: self.mark_offset] + mark + self.data[self.mark_offset + layout.MARK_SIZE :]


def image_crc(data: bytes | bytearray, header_offset: int) -> int:
    """Return the CRC-32 of an image whose header is at ``header_offset``, as the device computes it."""
    blank = bytearray(data)
    for offset, size in ((layout.CRC_OFFSET, 4), (layout.MARK_OFFSET, layout.MARK_SIZE)):
        at = header_offset + offset
        blank[at : at + size] = ERASED * size
    return crc32(blank)


def build(firmware: Firmware, board: Board) -> Image:
    """Make the hot image of ``firmware`` for ``board``.

    Raises :class:`ElfError` when the application is not linked as a hot one for that board (memory, header,
    vector table, no patch points), :class:`FitError` when the image or the hook table is too small.
    """
    header = firmware.header
    _check_header(firmware, board)
    data = _load(firmware, board)
    header_offset = header.self_address - header.base
    sites = _sites(firmware, board)
    _write_jumps(firmware, data, sites)
    vectors = _merge_vectors(firmware, board, data)
    if len(data) % 4:
        data += ERASED * (-len(data) % 4)
    hook_count = max(site.hook for site in sites) + 1
    values = [board.services + SPARE_TRAP | 1] * hook_count
    for site in sites:
        values[site.hook] = site.address + 2 * site.nops | 1
    hook_init = header.base + len(data)
    data += struct.pack(f"<{hook_count}I", *values)
    app = board.regions["HF_APP"]
    if len(data) > app.length:
        raise FitError(
            f"{firmware.container.name}: the image has {len(data)} bytes, {4 * hook_count} of them initial hook "
            f"values; HF_APP of {board.name} has {app.length}"
        )
    header = dataclasses.replace(
        header,
        flags=header.flags | layout.FLAG_HOT,
        length=len(data),
        crc=0,
        hook_count=hook_count,
        hook_init=hook_init,
        build_id=firmware.build_id,
        vectors=vectors,
        mark=layout.ERASED_MARK,
    )
    data[header_offset : header_offset + layout.SIZE] = header.pack()
    header = dataclasses.replace(header, crc=image_crc(data, header_offset))
    data[header_offset : header_offset + layout.SIZE] = header.pack()
    return Image(
        base=app.origin,
        data=bytes(data),
        crc=header.crc,
        mark_offset=header_offset + layout.MARK_OFFSET,
        header=header,
        build_id=firmware.build_id,
    )


def _check_header(firmware: Firmware, board: Board) -> None:
    header, regions = firmware.header, board.regions
    if header.hot:
        raise firmware.fail("is a finished image already: its header says HOT", "give the ELF that the linker wrote")
    if firmware.build_id == bytes(20):
        raise firmware.fail("its build ID is all zeros", "link with -Wl,--build-id=sha1")
    app, ram, hooks = regions["HF_APP"], regions["HF_RAM"], regions["HF_HOOKS"]
    facts = (
        ("flash starts at", header.base, app.origin),
        ("hook table is at", header.hook_base, hooks.origin),
        ("RAM starts at", header.ram_start, ram.origin),
        ("RAM ends at", header.ram_end, ram.end),
    )
    for what, found, expected in facts:
        if found != expected:
            raise firmware.fail(
                f"is linked for another board: its {what} {found:#010x}, that of {board.name} at {expected:#010x}",
                f"link with -L{board.path}, or name the right board",
            )
    if header.nops not in (4, 6):
        raise firmware.fail(
            f"its header says {header.nops} nops per patch point; 4 and 6 are possible on {board.arch}",
            "set -fpatchable-function-entry and -Wl,--defsym=__hf_nops to the same number",
        )
    if header.stack_limit and not ram.holds(header.stack_limit, 256):
        raise firmware.fail(
            f"its main stack ends at {header.stack_limit:#010x}, which is not in HF_RAM",
            "set __hf_stack_limit in the linker script to the lowest address of the main stack",
        )
    if 4 * header.hook_capacity > hooks.length:
        raise firmware.fail(
            f"its hook table of {header.hook_capacity} entries is larger than HF_HOOKS of {board.name}, "
            f"which holds {hooks.length // 4}",
            "lower __hf_hook_capacity",
        )
    offset = header.self_address - header.base
    if not 0 <= offset < layout.REACH or header.self_address % layout.ALIGN:
        raise firmware.fail(
            f"the image header is at {header.self_address:#010x}; the bootloader looks at multiples of "
            f"{layout.ALIGN} within {layout.REACH} bytes from {header.base:#010x}",
            "put `INCLUDE hotflash.ld` right behind the vectors, in the first output section of FLASH",
        )


def _load(firmware: Firmware, board: Board) -> bytearray:
    """Lay out all loaded sections by physical address; gaps are 0xFF.

    It goes by sections, as objcopy does: a segment may start with the ELF's own headers, which nobody loads.
    """
    app, ram = board.regions["HF_APP"], board.regions["HF_RAM"]
    pieces: list[tuple[int, elf.Section]] = []
    for section in firmware.container.sections:
        if not section.alloc or section.size == 0:
            continue
        segment = next(
            (s for s in firmware.segments if s.virtual <= section.address and section.address < s.virtual + s.memory),
            None,
        )
        if segment is None:
            continue  # not loaded
        if not any(region.holds(section.address, section.size) for region in (app, ram)):
            raise _outside(firmware, section, section.address, board, (app, ram))
        if section.kind == elf.SHT_NOBITS:
            continue
        physical = segment.physical + section.address - segment.virtual
        if not app.holds(physical, section.size):
            raise _outside(firmware, section, physical, board, (app,))
        pieces.append((physical, section))
    pieces.sort(key=lambda piece: piece[0])
    data = bytearray()
    last = None
    for physical, section in pieces:
        at = physical - app.origin
        if at < len(data) and last is not None:
            raise firmware.fail(
                f"sections {last.name} and {section.name} are loaded to the same place, {physical:#010x}",
                "check the AT> and LOADADDR clauses of the linker script",
            )
        data += ERASED * (at - len(data))
        data += section.data
        last = section
    if firmware.header.self_address + layout.SIZE > app.origin + len(data):
        raise firmware.fail("the image header is not loaded where it says it is")
    return data


def _outside(
    firmware: Firmware, section: elf.Section, address: int, board: Board, regions: tuple[Region, ...]
) -> ElfError:
    places = " or ".join(f"{region.name} ({region.origin:#010x} to {region.end:#010x})" for region in regions)
    kind = "loaded from" if len(regions) == 1 else "placed at"
    return firmware.fail(
        f"section {section.name} ({section.size} bytes) is {kind} {address:#010x}, outside of {places} of {board.name}",
        "replace the MEMORY block of the linker script with `INCLUDE memory.ld`, which defines FLASH and RAM",
    )


def _sites(firmware: Firmware, board: Board) -> tuple[Site, ...]:
    header = firmware.header
    try:
        sites = firmware.sites
    except FitError as error:
        raise FitError(f"{firmware.container.name}: {error.message}", hint=_capacity_hint(firmware, board)) from None
    if not sites:
        raise firmware.fail(
            "has no patch point: no function starts with nops",
            f"compile with -fpatchable-function-entry={header.nops} -flive-patching=inline-clone "
            "(hotflash sdk --cflags)",
        )
    return sites


def _capacity_hint(firmware: Firmware, board: Board) -> str | None:
    header = firmware.header
    count = len({f.address for f in firmware.functions if f.nops >= header.nops})
    room = board.regions["HF_HOOKS"].length // 4
    for nops in dict.fromkeys((header.nops, 6)):
        try:
            needed = assign_hooks(count, header.hook_base, _MAX_HOOKS, nops)[-1] + 1
        except FitError:
            continue
        if needed > room:
            continue
        capacity = min(room, needed + max(16, needed // 8))  # spares for functions that are new in a patch
        wide = "" if nops == header.nops else " and build with -fpatchable-function-entry=6 and __hf_nops=6"
        return f"raise the table's capacity: -Wl,--defsym=__hf_hook_capacity={capacity} (at most {room}){wide}"
    return f"enlarge HF_HOOKS in {board.path / 'memory.ld'}: it holds {room} entries; or make fewer functions hot"


def _write_jumps(firmware: Firmware, data: bytearray, sites: tuple[Site, ...]) -> None:
    header = firmware.header
    own_end = header.self_address + layout.SIZE
    previous: Site | None = None
    for site in sites:
        offset, size = site.address - header.base, 2 * site.nops
        where = f"the patch point of {site.name} at {site.address:#010x}"
        if site.address < own_end or offset + size > len(data):
            raise firmware.fail(
                f"{where} is outside of the code in flash",
                "functions in RAM (.ramfunc) cannot be hot: give them __attribute__((patchable_function_entry(0)))",
            )
        if previous is not None and site.address < previous.address + size:
            raise firmware.fail(f"{where} overlaps that of {previous.name} at {previous.address:#010x}")
        if bytes(data[offset : offset + size]) != jumps.NOP * site.nops:
            raise firmware.fail(f"{where} does not have {site.nops} nops where the image is loaded")
        data[offset : offset + size] = jumps.encode_jump(header.hook_base, site.hook, site.nops)
        previous = site


def _merge_vectors(firmware: Firmware, board: Board, data: bytearray) -> tuple[tuple[int, int], ...]:
    """Put the bootloader's entries into the vector table; return what was there."""
    faults = (3,) if board.arch == "armv6m" else (3, 4, 5, 6)  # ARMv6-M has HardFault alone (ARM B1.3.2)
    entries = {number: _ENTRIES[number] for number in faults}
    entries[_EXCEPTIONS + board.tx_irq] = _ENTRY_TX
    entries[_EXCEPTIONS + board.rx_irq] = _ENTRY_RX  # last: where both are one interrupt, this entry serves both
    entries[_EXCEPTIONS + board.soft_irq] = _ENTRY_SOFT
    if board.tick_irq is not None:
        entries[_EXCEPTIONS + board.tick_irq] = _ENTRY_TICK
    if board.watchdog == "nmi":
        entries[_NMI] = _ENTRY_WATCHDOG
    needed = max(entries) + 1
    header = firmware.header
    words = min(header.vector_count, (header.self_address - header.base) // 4)
    if words < needed:
        raise firmware.fail(
            f"the vector table has {words} words, the monitor's interrupts on {board.name} need {needed}",
            f"link with -Wl,--defsym=__hf_vectors={board.vectors} (hotflash sdk --ldflags); hotflash.ld then "
            "completes the table",
        )
    originals = []
    for number, entry in sorted(entries.items()):
        (value,) = struct.unpack_from("<I", data, 4 * number)
        originals.append((number, value))
        struct.pack_into("<I", data, 4 * number, board.services + entry | 1)
    return tuple(originals)


def check(data: bytes, base: int) -> ImageHeader:
    """Check the bytes of an image as the device does before it boots it; return its header.

    Raises :class:`RefusedError` saying what is wrong.
    """
    offset = layout.find(data, base)
    if offset is None:
        raise RefusedError(f"no image header within {layout.REACH} bytes from {base:#010x}")
    header = layout.ImageHeader.unpack(data[offset : offset + layout.SIZE])
    if not header.hot:
        raise RefusedError("the image is PLAIN: it did not go through the image builder")
    if header.base != base or not offset + layout.SIZE <= header.length <= len(data):
        raise RefusedError(f"the image's header covers {header.length} bytes from {header.base:#010x}")
    crc = image_crc(data[: header.length], offset)
    if crc != header.crc:
        raise RefusedError(f"the image's CRC is {crc:#010x}, its header says {header.crc:#010x}")
    return header
