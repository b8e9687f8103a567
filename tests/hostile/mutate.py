"""Changes ELF files, index files and texts the way that hurts: field by field, knowing what each field is.

A mutation is a list of patches, so that the input that broke something can be reduced to the patches that did.
"""

from __future__ import annotations

import random
import struct
from typing import NamedTuple

EHDR_FIELDS = ((16, 2), (18, 2), (20, 4), (24, 4), (28, 4), (32, 4), (36, 4), (40, 2), (42, 2), (44, 2), (46, 2),
               (48, 2), (50, 2))  # fmt: skip
"""Offset and size of what follows the identification in an ELF header (TIS ELF 1.2, figure 1-3)."""
SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_REL, SHT_GROUP = 2, 3, 4, 8, 9, 17


class Patch(NamedTuple):
    """Bytes that replace others, from an offset on; what is beyond the end is put there."""

    at: int
    data: bytes
    cut: bool = False
    """The file ends at ``at`` instead."""


class Section(NamedTuple):
    """One entry of a section table."""

    header: int
    kind: int
    offset: int
    size: int
    name: str


_GROWTH = 4096
"""Bytes that a file may grow by a patch behind its end."""


def apply(data: bytes, patches: list[Patch]) -> bytes:
    """The input that the patches make of a seed."""
    out = bytearray(data)
    for patch in patches:
        if patch.cut:
            del out[patch.at :]
        elif patch.at <= len(out) + _GROWTH:
            out += bytes(max(0, patch.at - len(out)))
            out[patch.at : patch.at + len(patch.data)] = patch.data
    return bytes(out)


def reduce(data: bytes, patches: list[Patch], same: object) -> list[Patch]:
    """Leaves out what is not needed for ``same(input)`` to stay true."""
    assert callable(same)
    kept = list(patches)
    for patch in patches:
        fewer = [p for p in kept if p is not patch]
        if same(apply(data, fewer)):
            kept = fewer
    return kept


class Elf:
    """A well-formed ELF file and its mutations."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        (shoff,) = struct.unpack_from("<I", data, 32)
        (phoff,) = struct.unpack_from("<I", data, 28)
        phnum, _, count, names = struct.unpack_from("<HHHH", data, 44)
        self._segments = [phoff + 32 * i for i in range(phnum)]
        raw = [(shoff + 40 * i, *struct.unpack_from("<10I", data, shoff + 40 * i)) for i in range(count)]
        strings = raw[names][5]
        self.sections = [
            Section(at, kind, offset, size, data[strings + name : data.index(0, strings + name)].decode())
            for at, name, kind, _, _, offset, size, *_ in raw
        ]
        self.filled = [s for s in self.sections if s.size and s.kind not in (0, SHT_NOBITS)]
        if not self.filled or len(self.sections) > 1000:
            raise ValueError("too far from an ELF file")
        self._of = {kind: [s for s in self.filled if s.kind == kind] for kind in {s.kind for s in self.filled}}
        self._debug = [s for s in self.filled if s.name.startswith(".debug")]

    def mutate(self, draw: random.Random) -> list[Patch]:
        """One to a few changes."""
        return [patch for _ in range(draw.choice((1, 1, 1, 2, 3, 6))) for patch in self._one(draw)]

    def _one(self, draw: random.Random) -> list[Patch]:
        ways = [self._header, self._section, self._section, self._overlap, self._swap, self._symbol, self._symbol,
                self._relocation, self._relocation, self._relocation, self._string, self._contents, self._contents,
                self._cut, self._group, self._dwarf, self._dwarf, self._segment, self._bytes]  # fmt: skip
        return draw.choice(ways)(draw)

    def _number(self, draw: random.Random, size: int, old: int) -> bytes:
        limit = 1 << 8 * size
        other = draw.choice(self.sections)
        value = draw.choice((
            0, 1, 2, 3, 4, 7, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, limit // 2 - 1, limit // 2, limit - 1,
            limit - 2, limit - draw.randrange(64),
            old + 1, old - 1, old + 4, old * 2, old ^ (1 << draw.randrange(8 * size)),
            len(self.data), len(self.data) - 1, other.offset, other.size, other.size + 1, len(self.sections),
            draw.randrange(len(self.sections)), draw.randrange(limit), 0xFFF1, 0xFFF2, 0xFF00,
        ))  # fmt: skip
        return (value % limit).to_bytes(size, "little")

    def _field(self, draw: random.Random, at: int, size: int) -> list[Patch]:
        return [Patch(at, self._number(draw, size, int.from_bytes(self.data[at : at + size], "little")))]

    def _header(self, draw: random.Random) -> list[Patch]:
        at, size = draw.choice((*EHDR_FIELDS, (draw.randrange(16), 1)))
        return self._field(draw, at, size)

    def _section(self, draw: random.Random) -> list[Patch]:
        return self._field(draw, draw.choice(self.sections).header + 4 * draw.randrange(10), 4)

    def _overlap(self, draw: random.Random) -> list[Patch]:
        one, other = draw.choice(self.sections), draw.choice(self.sections)
        start, size = draw.choice(((16, 8), (16, 4), (20, 4), (4, 36), (24, 8)))
        return [Patch(one.header + start, self.data[other.header + start : other.header + start + size])]

    def _swap(self, draw: random.Random) -> list[Patch]:
        one, other = draw.choice(self.sections).header, draw.choice(self.sections).header
        return [Patch(one, self.data[other : other + 40]), Patch(other, self.data[one : one + 40])]

    def _entry(self, draw: random.Random, kinds: tuple[int, ...], size: int) -> int | None:
        tables = [s for kind in kinds for s in self._of.get(kind, ())]
        if not tables:
            return None
        table = draw.choice(tables)
        return table.offset + size * draw.randrange(max(1, table.size // size))

    def _symbol(self, draw: random.Random) -> list[Patch]:
        at = self._entry(draw, (SHT_SYMTAB,), 16)
        if at is None:
            return []
        what = draw.randrange(6)
        if what == 0:
            other = self._entry(draw, (SHT_SYMTAB,), 16) or at
            return [Patch(at, self.data[other : other + draw.choice((4, 8, 16))])]
        start, size = ((0, 4), (4, 4), (8, 4), (12, 1), (14, 2))[what - 1]
        if start == 12:
            return [
                Patch(at + 12, bytes([draw.choice((0, 1, 2, 3, 10)) << 4 | draw.choice((0, 1, 2, 3, 4, 5, 6, 10, 15))]))
            ]
        return self._field(draw, at + start, size)

    def _relocation(self, draw: random.Random) -> list[Patch]:
        at = self._entry(draw, (SHT_REL,), 8)
        if at is None:
            return []
        info = int.from_bytes(self.data[at + 4 : at + 8], "little")
        what = draw.randrange(4)
        if what == 0:
            return self._field(draw, at, 4)
        if what == 1:
            kind = draw.choice((draw.randrange(256), draw.choice((2, 3, 8, 10, 30, 38, 40, 42, 47, 48, 49, 50, 51, 102,
                                103, 132, 133, 134, 135, 104, 105))))  # fmt: skip
            return [Patch(at + 4, struct.pack("<I", info & ~0xFF | kind))]
        if what == 2:
            symbol = draw.choice((0, 1, draw.randrange(64), (1 << 24) - 1, draw.randrange(1 << 24)))
            return [Patch(at + 4, struct.pack("<I", info & 0xFF | symbol << 8))]
        other = self._entry(draw, (SHT_REL,), 8) or at
        return [Patch(at, self.data[other : other + 8])]

    def _string(self, draw: random.Random) -> list[Patch]:
        table = draw.choice(self._of.get(SHT_STRTAB, self.filled))
        at = table.offset + draw.randrange(table.size)
        return [Patch(at, draw.choice((b"\0", b"\xff", b".", b"$t", b"\xc3\x28", b"x" * min(40, table.size))))]

    def _contents(self, draw: random.Random) -> list[Patch]:
        section = draw.choice(self.filled)
        at = section.offset + draw.randrange(section.size)
        return [Patch(at, draw.choice((draw.randbytes(1), draw.randbytes(4), b"\0" * 8, b"\xff" * 8, b"\xff")))]

    def _bytes(self, draw: random.Random) -> list[Patch]:
        start = draw.randrange(len(self.data))
        return [Patch(draw.randrange(len(self.data)), self.data[start : start + draw.choice((1, 4, 16, 200))])]

    def _cut(self, draw: random.Random) -> list[Patch]:
        if draw.random() < 0.5:
            return []
        section = draw.choice(self.sections)
        at = draw.choice(
            (draw.randrange(len(self.data)), section.offset, section.offset + section.size, section.header)
        )
        return [Patch(at, b"", cut=True)]

    def _group(self, draw: random.Random) -> list[Patch]:
        """Cycles: a section that is its own link, info or relocation target; a group that holds itself."""
        section = draw.choice(self.sections)
        index = self.sections.index(section)
        groups = self._of.get(SHT_GROUP)
        if groups and draw.random() < 0.5:
            group = draw.choice(groups)
            return [
                Patch(
                    group.offset + 4 * draw.randrange(max(1, group.size // 4)),
                    struct.pack("<I", self.sections.index(group)),
                )
            ]
        return [Patch(section.header + draw.choice((24, 28)), struct.pack("<I", index))]

    def _dwarf(self, draw: random.Random) -> list[Patch]:
        if not self._debug:
            return []
        section = draw.choice(self._debug)
        if section.name == ".debug_info" and draw.random() < 0.3:
            return self._field(draw, section.offset + draw.choice((0, 4, 6, 7, 8, 11, 12)), draw.choice((1, 2, 4)))
        at = section.offset + draw.randrange(section.size)
        return self._field(draw, at, draw.choice((1, 1, 2, 4)))

    def _segment(self, draw: random.Random) -> list[Patch]:
        if not self._segments:
            return self._section(draw)
        return self._field(draw, draw.choice(self._segments) + 4 * draw.randrange(8), 4)


def mutate_bytes(data: bytes, draw: random.Random) -> list[Patch]:
    """Changes of what has no fields."""
    patches = []
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(data))
        filler = draw.choice(
            (b"\0", b"\xff" * 4, draw.randbytes(4), b"\0" * 4, bytes([data[at] ^ 1 << draw.randrange(8)]))
        )
        patches.append(Patch(at, filler, cut=draw.random() < 0.1))
    return patches


_TOKENS = ("{", "}", "[", "]", '"', "\\", "\0", "null", "true", "1e999", "-1", "0x", "[" * 100_000, '{"a":' * 3000,
           "9" * 5000, "\ud800", "=", "\n", "~nobody", "\x1b", "'''", "a." * 2000)  # fmt: skip


def mutate_text(data: bytes, draw: random.Random) -> list[Patch]:
    """Changes of a text of tokens."""
    if draw.random() < 0.3:
        return mutate_bytes(data, draw)
    patches = []
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(data))
        if draw.random() < 0.5:
            token = draw.choice(_TOKENS).encode("utf-8", "surrogatepass")
            patches.append(Patch(at, token if draw.random() < 0.5 else token + data[at:]))
        else:
            start = draw.randrange(len(data))
            patches.append(Patch(at, data[start : start + draw.randrange(1, 60)] + data[at:]))
    return patches
