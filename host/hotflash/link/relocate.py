"""A section's references: reading them from an object, extending their reach, writing them for final addresses.

Whatever is linked goes through these three steps, :func:`read`, :func:`extend` and :func:`apply`; only where things
are, and when that is known, differs.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from hotflash.elf import attributes
from hotflash.errors import LinkError
from hotflash.link import reloc, thumb
from hotflash.link.model import Missing, Piece, Target, ThreadLocal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hotflash.elf.format import Section
    from hotflash.elf.object import ObjectFile, Relocation
    from hotflash.link.model import Ref

_I = struct.Struct("<i")
_U = struct.Struct("<I")

Entry = tuple[Target, int, int]
"""A symbol's target, its offset from there, and its Thumb bit."""

_NARROW = {11, 12, 16}
"""Values of Tag_CPU_arch without LDR.W to the PC and NOP.W: ARMv6-M, ARMv6S-M, ARMv8-M Baseline."""


def is_wide(tags: dict[int, int | str]) -> bool:
    """Whether a core with these build attributes has the 32-bit instructions of ARMv7-M and ARMv8-M Mainline."""
    return int(tags.get(attributes.CPU_ARCH, 0)) not in _NARROW


def read(
    obj: ObjectFile,
    section: Section,
    start: int,
    data: bytearray,
    relocations: Sequence[Relocation],
    entries: Sequence[Entry | None],
    resolve: Callable[[int, int, int, str, int], Entry],
) -> list[Ref]:
    """Takes the references out of ``data``, the bytes of ``section`` from ``start`` on: fields become zero.

    ``entries`` are the targets known so far by symbol index; for others ``resolve`` is called with the symbol's
    index, the addend, what the field counts from beyond its place, the section's name and the offset.
    """
    size = len(data)
    refs: list[Ref] = []
    get_i, put_u, put, get_b24 = _I.unpack_from, _U.pack_into, refs.append, thumb.get_b24
    for offset, number, symbol, explicit in relocations:
        at = offset - start
        if number == 2 and at + 4 <= size:  # R_ARM_ABS32: half of all relocations
            addend = get_i(data, at)[0] if explicit is None else explicit
            put_u(data, at, 0)
            entry = entries[symbol] or resolve(symbol, addend, 0, section.name, offset)
            put((at, 2, entry[0], entry[1] + addend | entry[2]))
            continue
        if (number == 10 or number == 30) and at + 4 <= size:  # noqa: PLR1714 - BL, B.W: most of the others
            addend = get_b24(data, at) if explicit is None else explicit
            put_u(data, at, _U.unpack_from(data, at)[0] & thumb.B24_MASK)
            entry = entries[symbol] or resolve(symbol, addend, 4, section.name, offset)
            put((at, number, entry[0], entry[1] + addend))
            continue
        if number in reloc.IGNORED:
            continue
        kind = reloc.KINDS.get(number)
        where = f"{obj.name}: {section.name}+{offset:#x}"
        if kind is None:
            raise LinkError(
                f"{where}: {reloc.name_of(number)} against {obj.symbols[symbol].name or '?'} is not handled",
                hint="compile without position-independent or special code models",
            )
        if at + kind.width > size:
            name = obj.symbols[symbol].name or "?"
            raise LinkError(f"{where}: {kind.name} against {name} reaches behind the end of its section")
        addend = (kind.addend or kind.get)(data, at) if explicit is None else explicit
        field = int.from_bytes(data[at : at + kind.width], "little") & kind.mask
        data[at : at + kind.width] = field.to_bytes(kind.width, "little")
        entry = entries[symbol] or resolve(symbol, addend, 4 if kind.branch else 0, section.name, offset)
        if (number in reloc.THREAD) != (type(entry[0]) is ThreadLocal):
            raise _mixed(where, number, entry[0])
        bit = entry[2] if not kind.branch and number not in reloc.NO_THUMB_BIT and kind.part != "high" else 0
        put((at, number, entry[0], entry[1] + addend | bit))
    if obj.has_threads:
        for at, number, target, _ in refs:
            if type(target) is ThreadLocal and number not in reloc.THREAD:
                raise _mixed(f"{obj.name}: {section.name}+{at + start:#x}", number, target)
    return refs


def _mixed(where: str, number: int, target: Target) -> LinkError:
    kind = "is thread-local" if type(target) is ThreadLocal else "is not thread-local"
    return LinkError(
        f"{where}: {reloc.name_of(number)} against {target.name}, which {kind}",
        hint="declare the variable alike in all units, and flash the new build",
    )


def extend(
    data: bytearray,
    refs: list[Ref],
    here: Target,
    low: int,
    high: int,
    reaches: Callable[[Target], tuple[int, int] | None],
    *,
    wide: bool,
) -> None:
    """Gives branches that may not reach their target a jump behind ``data``, one per target.

    References that go through a word (R_ARM_TLS_IE32) get theirs there, too.

    ``low`` and ``high`` are the least and the greatest address that ``data`` can get; ``reaches`` says the same of
    a target, None where no veneer is wanted. ``here`` stands for the start of ``data``.
    """
    made: dict[tuple[Target, int], int] = {}
    words: dict[Target, int] = {}
    for number, (at, kind_number, target, addend) in enumerate(refs):
        if kind_number == reloc.ABS32:
            continue
        if kind_number == reloc.TLS_IE32:
            offset = words.get(target)
            if offset is None:
                data += bytes(-len(data) % 4 + 4)
                offset = words[target] = len(data) - 4
                refs.append((offset, reloc.TLS_LE32, target, 0))
            refs[number] = (at, reloc.REL32, here, offset + addend)
            continue
        kind = reloc.KINDS[kind_number]
        if kind.reach is None or target is here or type(target) is Missing:
            continue
        reach = reaches(target)
        if reach is None:
            continue
        first, last = reach
        if first + addend - high - at >= kind.reach[0] and last + addend - low - at <= kind.reach[1]:
            continue
        offset = made.get((target, addend))
        if offset is None:
            data += bytes(-len(data) % 4)
            offset = made[target, addend] = len(data)
            data += thumb.veneer(0, wide=wide)
            odd = (target.address or 0) & 1  # of a linker script's symbol for a function: it has no type
            refs.append((len(data) - 4, reloc.ABS32, target, (addend + 4 + odd | 1) - odd))
        refs[number] = (at, kind_number, here, offset - 4)


def place_of(target: Target) -> int | None:
    """A target's final address, without the Thumb bit; None when it is nowhere."""
    slot = target.slot
    if slot is None:
        return target.address
    return slot.address + target.offset if isinstance(target, Piece) else slot.address


def address_of(target: Target) -> int:
    """The same of a target that has to be somewhere."""
    address = place_of(target)
    if address is None:
        raise LinkError(f"{target.name} has no address")
    return address


class Place(NamedTuple):
    """A place of an object, for messages."""

    object: ObjectFile
    section: Section
    offset: int

    def message(self, number: int, fallback: str) -> str:
        """``file: section+offset: kind against symbol``."""
        obj, offset = self.object, self.offset
        known = (
            obj.symbols[s].name for o, k, s, _ in obj.relocations(self.section.index) if (o, k) == (offset, number)
        )
        symbol = next(known, "") or fallback
        return f"{obj.name}: {self.section.name}+{offset:#x}: {reloc.name_of(number)} against {symbol}"


def apply(
    data: bytearray, refs: Sequence[Ref], address: int, place: Callable[[int], Place | None], *, wide: bool
) -> None:
    """Writes references into ``data``, which starts at ``address``.

    ``place`` says for an offset which place of an object it is, None for what the linker made.
    """
    put_word, put_b24 = _U.pack_into, thumb.put_b24
    addresses: dict[Target, int] = {}
    for at, number, target, addend in refs:
        value = addresses.get(target)
        if value is None:
            value = addresses[target] = address_of(target)
        if number == reloc.ABS32:
            put_word(data, at, value + addend & 0xFFFFFFFF)
            continue
        try:
            if type(target) is Missing and reloc.KINDS[number].branch:
                width = reloc.KINDS[number].width
                data[at : at + width] = thumb.no_branch(width, wide=wide)
            elif number in (reloc.THM_CALL, reloc.THM_JUMP24):
                put_b24(data, at, value + addend - address - at & ~1)
            else:
                kind = reloc.KINDS[number]
                value += addend
                if kind.rule == reloc.RELATIVE:
                    value -= address + at
                elif kind.rule == reloc.WORD_RELATIVE:
                    value -= (address + at) & ~3
                elif isinstance(target, ThreadLocal) and number == reloc.TLS_LDO32:
                    value -= target.head
                kind.put(data, at, value & ~1 if kind.branch else value)
        except OverflowError as error:
            found = place(at)
            what = found.message(number, target.name) if found else f"{reloc.name_of(number)} against {target.name}"
            raise LinkError(
                f"{what} cannot reach: {error}",
                hint="make the function smaller, or compile it with -mlong-calls",
            ) from None
