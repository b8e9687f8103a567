"""Cuts a section of nameless constants into texts, so that a new one leaves the others the same.

Without optimisation GCC does not merge strings: all of a unit lie in one ``.rodata``, known by local labels that the
symbol table does not have. What references point at are starts; a text is what stands from a start to the next one if
that is printable, ends in NULs alone, and follows a NUL. What is between texts (initialisers of local arrays) stays
in one piece.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from hotflash.link import reloc

if TYPE_CHECKING:
    from hotflash.elf.object import ObjectFile

_TEXT = re.compile(rb"[\t\n\r\x1b-\x7e\x80-\xff]+\0{1,4}")
_ALIGN = 4
"""To which GCC aligns them."""


def cut(obj: ObjectFile, index: int) -> list[tuple[int, int]]:
    """Start and end of the parts of a nameless section, in order; they cover all of it."""
    section = obj.sections[index]
    starts = sorted({0, section.size, *(s for s in _starts(obj, index) if 0 < s < section.size and s % _ALIGN == 0)})
    data, found = section.data, [0]
    for start, end in pairwise(starts):
        if _TEXT.fullmatch(data, start, end) and (start == 0 or not data[start - 1]):
            found += [start, end]
    bounds = sorted({*found, section.size})
    return list(pairwise(bounds)) or [(0, section.size)]


def _starts(obj: ObjectFile, index: int) -> set[int]:
    """Offsets in a section that the object's code and data refer to; none when some cannot be told."""
    found = set()
    for section in obj.sections:
        if not section.alloc:
            continue
        for offset, number, symbol, explicit in obj.relocations(section.index):
            if obj.symbols[symbol].section != index:
                continue
            kind = reloc.KINDS.get(number)
            if kind is None or kind.rule != reloc.ABSOLUTE or kind.part == "byte" or offset + 4 > section.size:
                return set()
            addend = kind.get(section.data, offset) if explicit is None else explicit
            found.add(obj.symbols[symbol].value + addend)
    return found
