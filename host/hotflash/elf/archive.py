"""Archives of objects: the ``ar`` format as GNU and LLVM tools write it (System V ABI, chapter 7; BSD's long names).

An archive is mapped, not read: of a libgcc.a of 9 MB a link wants its symbol index and a few members. Thin archives
hold no members but their paths, from the archive's folder. Everything that the file claims is checked against its
size before it is used; what is wrong is an :class:`~hotflash.errors.ElfError` that names archive and place.
"""

from __future__ import annotations

import mmap
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hotflash.errors import ElfError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC, THIN_MAGIC = b"!<arch>\n", b"!<thin>\n"
HEADER_SIZE = 60
_END = b"`\n"
_INDEXES = {"/", "/SYM64/", "__.SYMDEF", "__.SYMDEF SORTED", "__.SYMDEF_64"}


class Member(NamedTuple):
    """One file of an archive."""

    name: str
    offset: int
    """Of its header in the archive: what the symbol index says."""
    start: int
    """Of its first byte in the archive; of a thin archive's members there is none."""
    size: int
    """Bytes of the file."""


class Archive:
    """An archive's members and its symbol index."""

    def __init__(self, path: Path, data: bytes | mmap.mmap) -> None:
        self.path = path
        self.name = path.name
        """What messages call it."""
        self._data = data
        if data[:8] not in (MAGIC, THIN_MAGIC):
            raise ElfError(f"{path}: not an archive (ar)", hint="archives begin with !<arch> or !<thin>")
        self.thin = data[:8] == THIN_MAGIC
        self._long = b""
        for member in self._walk():
            if member.name == "//":
                self._long = data[member.start : member.start + member.size]
            elif member.name not in _INDEXES:
                break

    @classmethod
    def open(cls, path: str | Path) -> Archive:
        """Maps an archive. ElfError when it is none, UsageError when it cannot be opened."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
        return cls(path, data)

    def fail(self, what: str, hint: str | None = None) -> ElfError:
        """An error about this archive, ready to be raised."""
        return ElfError(f"{self.path}: {what}", hint=hint)

    # ---------------------------------------------------------------------------------- members

    def _member(self, offset: int) -> Member:
        header = self._data[offset : offset + HEADER_SIZE]
        if len(header) < HEADER_SIZE or header[58:60] != _END:
            raise self.fail(f"no member begins at {offset:#x}", "it is damaged; build it again")
        name = header[:16].decode("latin-1").rstrip(" ")
        field = header[48:58].rstrip(b" ")
        if not field.isdigit():
            raise self.fail(f"the member at {offset:#x} has the size {field!r}", "it is damaged; build it again")
        size, start = int(field), offset + HEADER_SIZE
        if name.startswith("#1/") and name[3:].isdigit():  # BSD: the name is in front of the content
            length = int(name[3:])
            if length > size:
                raise self.fail(f"the member at {offset:#x} has a name of {length} bytes, but only {size} in all")
            name = self._data[start : start + length].rstrip(b"\0").decode("utf-8", "replace")
            start, size = start + length, size - length
        elif name not in _INDEXES and name != "//":
            name = self._long_name(int(name[1:]), offset) if name[1:].isdigit() and name[0] == "/" else name
            name = name.removesuffix("/")
        inside = not self.thin or name in _INDEXES or name == "//"
        if inside and start + size > len(self._data):
            raise self.fail(f"cut short inside {name or 'a member'} ({size} bytes at {start:#x})")
        return Member(name, offset, start, size)

    def _long_name(self, at: int, offset: int) -> str:
        end = self._long.find(b"\n", at)
        if at >= len(self._long) or end < 0:
            raise self.fail(f"the member at {offset:#x} has its name at {at} of {len(self._long)} bytes of names")
        return self._long[at:end].decode("utf-8", "replace")

    def _walk(self) -> Iterator[Member]:
        at = 8
        while at < len(self._data):
            member = self._member(at)
            yield member
            inside = not self.thin or member.name in _INDEXES or member.name == "//"
            at = member.start + (member.size if inside else 0)
            at += at & 1

    def __iter__(self) -> Iterator[Member]:
        """The members in file order, without indexes and name table."""
        return (m for m in self._walk() if m.name not in _INDEXES and m.name != "//")

    def read(self, member: Member) -> bytes:
        """A member's bytes. UsageError when a thin archive's file cannot be read."""
        if not self.thin:
            return bytes(self._data[member.start : member.start + member.size])
        path = self.path.parent / member.name
        try:
            return path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"cannot read {path}, a member of the thin archive {self.path}: {error.strerror or error}"
            ) from None

    def label(self, member: Member) -> str:
        """What messages call a member: ``libgcc.a(_divdi3.o)``."""
        return f"{self.name}({member.name})"

    # ------------------------------------------------------------------------------------ index

    @cached_property
    def symbols(self) -> dict[str, int]:
        """Global definitions by name: the offset of the first member that has one. Made when the file has no index."""
        if len(self._data) <= 8:
            return {}
        first = self._member(8)
        content = self._data[first.start : first.start + first.size]
        if first.name == "/":
            return self._index(content, 4)
        if first.name == "/SYM64/":
            return self._index(content, 8)
        return self._gather()

    def _index(self, content: bytes, width: int) -> dict[str, int]:
        count = int.from_bytes(content[:width], "big")
        names_at = width * (count + 1)
        if len(content) < width or names_at > len(content):
            raise self.fail(f"its symbol index names {count} symbols in {len(content)} bytes")
        names = content[names_at:].split(b"\0")
        if len(names) < count or (count and len(names) == count and names[-1]):
            raise self.fail(f"its symbol index has {len(names)} names for {count} symbols")
        found: dict[str, int] = {}
        for number in range(count):
            at = width * (number + 1)
            offset = int.from_bytes(content[at : at + width], "big")
            found.setdefault(names[number].decode("utf-8", "replace"), offset)
        return found

    def _gather(self) -> dict[str, int]:
        from hotflash.elf import format as elf
        from hotflash.elf.object import ObjectFile

        found: dict[str, int] = {}
        for member in self:
            data = self.read(member)
            if data[:4] != b"\x7fELF":
                continue
            for symbol in ObjectFile.parse(data, self.label(member)).symbols:
                if symbol.bind != elf.STB_LOCAL and symbol.section != elf.SHN_UNDEF:
                    found.setdefault(symbol.name, member.offset)
        return found

    def defining(self, name: str) -> Member | None:
        """The member that the index names for a symbol, or None."""
        offset = self.symbols.get(name)
        return None if offset is None else self._member(offset)
