"""The fields of a section that relocations fill: where they are, and the addends that they hold.

Where they are follows from the relocations alone. From one version of an object to the next these mostly stay the
same bytes, and so do the addends: both are kept with the object's symbol table, for the last version that was read.
Taking the fields out of a section of the same shape is then one bitwise AND.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hotflash.errors import LinkError
from hotflash.link import reloc, thumb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.elf.format import Section
    from hotflash.elf.object import ObjectFile, Relocation
    from hotflash.link.shapes import Shape

Place = tuple[int, int, int, int, int, int]
"""One field: its offset, the relocation's kind, the symbol's index, the addend; 1 when it takes the target's Thumb
bit, else 0; what it counts from beyond its place (4 for branches)."""

_I = struct.Struct("<i")
_U = struct.Struct("<I")


class Fields:
    """The relocated fields of ``size`` bytes of a section, from ``start`` on."""

    __slots__ = ("_last", "_overlap", "mask", "relocations", "shape", "size", "start", "threads")

    def __init__(
        self, obj: ObjectFile, section: Section, start: int, size: int, relocations: Sequence[Relocation]
    ) -> None:
        self.relocations = relocations
        self.start = start
        self.size = size
        self.threads = False
        """Some lead to thread-local variables."""
        self._overlap = False
        mask = bytearray(b"\xff") * size
        put = _U.pack_into
        end = 0
        for offset, number, symbol, _ in relocations:
            at = offset - start
            if number == 2 and end <= at <= size - 4:  # R_ARM_ABS32: half of all relocations
                put(mask, at, 0)
                end = at + 4
            elif (number == 10 or number == 30) and end <= at <= size - 4:  # noqa: PLR1714 - BL, B.W: most others
                put(mask, at, thumb.B24_MASK)
                end = at + 4
            elif number not in reloc.IGNORED:
                kind = reloc.KINDS.get(number)
                if kind is None or at + kind.width > size:
                    raise _unusable(obj, section, offset, number, symbol)
                self._overlap |= at < end
                self.threads |= number in reloc.THREAD
                end = at + kind.width
                field = int.from_bytes(mask[at:end], "little") & kind.mask
                mask[at:end] = field.to_bytes(kind.width, "little")
        self.mask = int.from_bytes(mask, "little")
        """A one for every bit that is not in a field, as a little-endian number."""
        self.shape: Shape | None = None
        """What the last version's references were."""
        self._last: tuple[int, list[Place]] | None = None

    @classmethod
    def of(cls, obj: ObjectFile, section: Section, start: int, size: int, relocations: Sequence[Relocation]) -> Fields:
        """The fields that ``relocations`` of ``section`` fill; LinkError when one is unknown or reaches behind."""
        kept = obj.table.fields.get(section.index)
        if isinstance(kept, Fields) and kept.relocations is relocations and (kept.start, kept.size) == (start, size):
            return kept
        made = cls(obj, section, start, size, relocations)
        known = obj.table.relocations.get(section.index)
        if known is not None and known[1] is relocations:
            obj.table.fields[section.index] = made
        return made

    def take(self, data: bytes | bytearray) -> tuple[bytes, list[Place]]:
        """The bytes with all fields zero, and what the fields are for. Do not change the list."""
        value = int.from_bytes(data, "little")
        rest = value & self.mask
        masked = rest.to_bytes(self.size, "little")
        last = self._last
        if last is not None and last[0] == value ^ rest:  # the addends are in the fields
            return masked, last[1]
        places = self._read(bytearray(data) if self._overlap else data)
        if not self._overlap:
            self._last = value ^ rest, places
        return masked, places

    def _read(self, data: bytes | bytearray) -> list[Place]:
        places: list[Place] = []
        put, start = places.append, self.start
        get_i, get_b24 = _I.unpack_from, thumb.get_b24
        for offset, number, symbol, explicit in self.relocations:
            at = offset - start
            if number == 2:
                put((at, 2, symbol, get_i(data, at)[0] if explicit is None else explicit, 1, 0))
            elif number == 10 or number == 30:  # noqa: PLR1714
                put((at, number, symbol, get_b24(data, at) if explicit is None else explicit, 0, 4))
            elif number in reloc.IGNORED:
                continue
            else:
                kind = reloc.KINDS[number]
                addend = (kind.addend or kind.get)(data, at) if explicit is None else explicit
                bit = not kind.branch and number not in reloc.NO_THUMB_BIT and kind.part != "high"
                put((at, number, symbol, addend, int(bit), 4 if kind.branch else 0))
            if self._overlap and isinstance(data, bytearray):  # the second of two in one place finds zeros
                kind = reloc.KINDS[number]
                field = int.from_bytes(data[at : at + kind.width], "little") & kind.mask
                data[at : at + kind.width] = field.to_bytes(kind.width, "little")
        return places


def _unusable(obj: ObjectFile, section: Section, offset: int, number: int, symbol: int) -> LinkError:
    name = obj.symbols[symbol].name or "?"
    where = f"{obj.name}: {section.name}+{offset:#x}"
    if number in reloc.KINDS:
        return LinkError(f"{where}: {reloc.KINDS[number].name} against {name} reaches behind the end of its section")
    return LinkError(
        f"{where}: {reloc.name_of(number)} against {name} is not handled",
        hint="compile without position-independent or special code models",
    )
