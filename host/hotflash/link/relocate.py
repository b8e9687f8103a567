"""A section's references: reading them from an object, extending their reach, writing them for final addresses.

Whatever is linked goes through these three steps, :func:`read`, :func:`extend` and :func:`apply`; only where things
are, and when that is known, differs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from hotflash.elf import attributes
from hotflash.errors import LinkError
from hotflash.link import reloc, thumb
from hotflash.link.fields import Fields
from hotflash.link.model import Missing, Piece, Target, ThreadLocal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotflash.elf.format import Section
    from hotflash.elf.object import ObjectFile, Relocation
    from hotflash.link.fields import Place as Field
    from hotflash.link.model import Ref

_U = struct.Struct("<I")

Entry = tuple[Target, int, int]
"""A symbol's target, its offset from there, and its Thumb bit."""
Resolve = Callable[[int, int, int, str, int], Entry]

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
    resolve: Resolve,
) -> list[Ref]:
    """Takes the references out of ``data``, the bytes of ``section`` from ``start`` on: fields become zero.

    ``entries`` are the targets known so far by symbol index; for others ``resolve`` is called with the symbol's
    index, the addend, what the field counts from beyond its place, the section's name and the offset.
    """
    fields = Fields.of(obj, section, start, len(data), relocations)
    data[:], places = fields.take(data)
    return bind(obj, section, fields, places, entries, resolve)


def bind(
    obj: ObjectFile,
    section: Section,
    fields: Fields,
    places: Sequence[Field],
    entries: Sequence[Entry | None],
    resolve: Resolve,
) -> list[Ref]:
    """The references of fields; for ``entries`` and ``resolve`` see :func:`read`."""
    refs: list[Ref] = []
    put, name, start = refs.append, section.name, fields.start
    for at, number, symbol, addend, bit, bias in places:
        target, offset, thumb_bit = entries[symbol] or resolve(symbol, addend, bias, name, start + at)
        put((at, number, target, offset + addend | thumb_bit & bit))
    if fields.threads or obj.has_threads:
        for at, number, target, _ in refs:
            if (number in reloc.THREAD) != (type(target) is ThreadLocal):
                raise _mixed(f"{obj.name}: {name}+{at + start:#x}", number, target)
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
    jump = thumb.veneer(0, wide=wide)
    limits, end = reloc.REACH, len(data)
    for number, (at, kind, target, addend) in [e for e in enumerate(refs) if e[1][1] in limits]:
        if target is here or type(target) is Missing:
            continue
        reach = reaches(target)
        if reach is None:
            continue
        least, most = limits[kind]
        if reach[0] + addend - high - at >= least and reach[1] + addend - low - at <= most:
            continue
        offset = made.get((target, addend))
        if offset is None:
            offset = made[target, addend] = end + (-end & 3)
            data += bytes(offset - end)
            data += jump
            end = offset + len(jump)
            odd = (target.address or 0) & 1  # of a linker script's symbol for a function: it has no type
            refs.append((end - 4, reloc.ABS32, target, (addend + 4 + odd | 1) - odd))
        refs[number] = (at, kind, here, offset - 4)
    for number, (at, _, target, addend) in [e for e in enumerate(refs) if e[1][1] == reloc.TLS_IE32]:
        word = words.get(target)
        if word is None:
            data += bytes(-len(data) % 4 + 4)
            word = words[target] = len(data) - 4
            refs.append((word, reloc.TLS_LE32, target, 0))
        refs[number] = (at, reloc.REL32, here, word + addend)


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
    data: bytearray,
    refs: Sequence[Ref],
    address: int,
    place: Callable[[int], Place | None],
    *,
    wide: bool,
    addresses: dict[Target, int] | None = None,
) -> None:
    """Writes references into ``data``, which starts at ``address``.

    ``place`` says for an offset which place of an object it is, None for what the linker made. ``addresses``
    remembers where targets are, for all that is linked at once.
    """
    put_word, get_word, b24, keep = _U.pack_into, _U.unpack_from, thumb.b24, thumb.B24_MASK
    if addresses is None:
        addresses = {}
    known = addresses.get
    for at, number, target, addend in refs:
        value = known(target)
        if value is None:
            value = addresses[target] = address_of(target)
        if number == 2:  # R_ARM_ABS32
            put_word(data, at, value + addend & 0xFFFFFFFF)
            continue
        try:
            if type(target) is Missing and reloc.KINDS[number].branch:
                width = reloc.KINDS[number].width
                data[at : at + width] = thumb.no_branch(width, wide=wide)
            elif number == 10 or number == 30:  # noqa: PLR1714 - R_ARM_THM_CALL, R_ARM_THM_JUMP24
                put_word(data, at, get_word(data, at)[0] & keep | b24(value + addend - address - at & ~1))
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
