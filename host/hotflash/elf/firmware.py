"""The linked application: what its ELF says about code, data and patch points.

Addresses of functions are given without the Thumb bit. Memory is read at the addresses that code runs at (VMA),
from the bytes that the link put there; NOBITS memory reads as nothing.
"""

from __future__ import annotations

import contextlib
import os
import stat
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hotflash.elf import attributes as attrs
from hotflash.elf import format as elf
from hotflash.elf import index as tables
from hotflash.elf.hooks import assign_hooks
from hotflash.errors import ElfError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hotflash.image.header import ImageHeader

NOPS = (b"\x00\xbf", b"\xc0\x46")
"""NOP T1 (ARMv7-M ARM, A7.7.88), and MOV r8, r8, which assemblers take for it on ARMv6-M and ARMv8-M Baseline."""
_RANK = {"global": 0, "weak": 1, "local": 2}
_BIND = {elf.STB_LOCAL: "local", elf.STB_GLOBAL: "global", elf.STB_WEAK: "weak"}
_MAX_SEGMENTS = 256
_HINT = "build the application with hotflash's flags and put `INCLUDE hotflash.ld` behind its vectors"


class Symbol(NamedTuple):
    """A named place of the firmware."""

    name: str
    unit: str
    """STT_FILE name of a local symbol; empty for global and weak ones."""
    address: int
    """Without the Thumb bit."""
    size: int
    bind: str
    """``global``, ``weak`` or ``local``."""
    kind: str
    """``function``, ``object`` or ``notype`` (linker script and assembler labels)."""
    group: int
    """Which of the units that may share a name; 0 for global and weak symbols."""
    nops: int
    """Nops at a function's entry; 0 for everything else."""

    @property
    def value(self) -> int:
        """What a pointer to it holds: the address, for functions with the Thumb bit."""
        return self.address | 1 if self.kind == "function" else self.address


class Site(NamedTuple):
    """A patch point: a function entry with the header's number of nops."""

    hook: int
    """Index into the hook table."""
    name: str
    unit: str
    address: int
    size: int
    """Of the function, nops included."""
    nops: int
    aliases: tuple[Symbol, ...]
    """All symbols at this address, the one that names the site first."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes of the load image."""

    physical: int
    """Where they are stored (LMA)."""
    virtual: int
    """Where they are used (VMA)."""
    data: bytes
    memory: int
    """Bytes of memory at ``virtual``; what is more than ``data`` starts as zeros."""
    executable: bool


class _Source:
    """The file, open: what replaces it under its name does not change what is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
        self._handle = handle
        self._finalizer = weakref.finalize(self, os.close, handle)
        self.status = os.fstat(handle)
        if not stat.S_ISREG(self.status.st_mode):
            raise UsageError(f"cannot read {path}: not a regular file")
        self.size = self.status.st_size
        if self.size > elf.MAX_FILE:
            raise ElfError(f"{path}: has {self.size >> 20} MB, more than {elf.MAX_FILE >> 20} are not read")
        self._data: bytes | None = None
        self.bytes_read = 0
        """Tests count it."""

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the file; fewer at its end."""
        if self._data is not None:
            return self._data[offset : offset + length]
        parts: list[bytes] = []
        try:
            os.lseek(self._handle, offset, os.SEEK_SET)
            while length > 0 and (part := os.read(self._handle, length)):
                parts.append(part)
                length -= len(part)
        except OSError as error:
            raise UsageError(f"cannot read {self.path}: {error.strerror or error}") from None
        self.bytes_read += sum(map(len, parts))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, where: slice, /) -> bytes:
        start, stop, _ = where.indices(self.size)
        found = self.data if start == 0 and stop == self.size else self.read(start, stop - start)
        if len(found) < stop - start:
            raise ElfError(f"{self.path}: became shorter while it was read", hint="try again when it is complete")
        return found

    @property
    def data(self) -> bytes:
        """All of it. ElfError when somebody wrote into it since it was opened."""
        if self._data is None:
            data = self.read(0, self.size)
            now = os.fstat(self._handle)
            if (now.st_size, now.st_mtime_ns) != (self.status.st_size, self.status.st_mtime_ns):
                raise ElfError(f"{self.path}: was written to while it was read", hint="try again when it is complete")
            self._data = data
        return self._data

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return tables.digest(self.data)


def _kept_index(source: _Source, path: Path) -> dict[str, bytes] | None:
    """The tables of the index file, if they are of this very content."""
    found = tables.read_file(path)
    if found is None:
        return None
    stamp, kept = found
    if stamp.fits(source.status):
        return kept
    # In doubt: time stamps say nothing, the content does.
    if stamp.size != source.size or stamp.digest != source.digest:
        return None
    from hotflash.store import StoreError, atomic_write

    with contextlib.suppress(StoreError):
        atomic_write(path, tables.pack(tables.Stamp.of(source.status, stamp.digest), kept))
    return kept


class Firmware:
    """A linked application ELF.

    Symbols and debugging information are asked of an index (:mod:`hotflash.elf.index`), the file itself is read for
    its loaded bytes alone. With a place to keep the index it is made once for each ELF, without it on every load.
    """

    def __init__(self, source: _Source, index: Path | None, progress: Callable[[int, int], None] | None) -> None:
        self.path = source.path
        self.name = str(source.path)
        self._source = source
        kept = _kept_index(source, index) if index is not None else None
        self.indexed = kept is not None
        """The index was there already, nothing else of the file than its headers and loaded bytes was read."""
        if not self.indexed:
            self.container  # noqa: B018 - says what is wrong with the file as a whole
        self.segments: tuple[Segment, ...] = self._read_segments()
        self.header: ImageHeader = self._find_header()
        if kept is None:
            kept = self._make_tables()
            if index is not None:
                kept |= tables.debug_tables(self.container, progress)
        self._tables = kept
        self.table = tables.SymbolIndex(kept, Symbol, self.name)
        """Symbols by name, identity and address."""
        self.build_id: bytes = self._find_build_id()
        self.globals: Mapping[str, Symbol] = _Globals(self)
        """Global and weak symbols by name."""
        self.units: Mapping[str, dict[int, dict[str, Symbol]]] = _Units(self)
        """Local functions and variables: by unit name, then by group (units may share a name), then by name."""
        self.site_at: Mapping[int, Site] = _Sites(self)
        """Patch points by address."""
        if index is not None and not self.indexed:
            self.save_index(index)

    @classmethod
    def load(
        cls, path: str | Path, *, index: Path | None = None, progress: Callable[[int, int], None] | None = None
    ) -> Firmware:
        """Reads a linked application. ElfError when it is none, or not built for hotflash.

        ``index`` is where its index is kept: used when it belongs to the file, else made anew, while ``progress``
        hears how much of the whole is done.
        """
        return cls(_Source(Path(path)), index, progress)

    def save_index(self, path: Path, elf_file: Path | None = None) -> None:
        """Keeps the index for the next load, of ``elf_file`` if that is another file with the same content.

        The file is replaced as a whole, so processes that do the same at once do no harm. A place that cannot be
        written to costs time on the next load, nothing else.
        """
        from hotflash.store import StoreError, atomic_write

        if tables.DEBUG_TABLES[0] not in self._tables:
            self._tables |= tables.debug_tables(self.container)
        try:
            status = self._source.status if elf_file is None else elf_file.stat()
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, tables.pack(tables.Stamp.of(status, self._source.digest), self._tables))
        except (OSError, StoreError):
            pass

    @property
    def data(self) -> bytes:
        """The whole file, as it was when it was opened."""
        return self._source.data

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._source.size

    @property
    def bytes_read(self) -> int:
        """Bytes of the file that were read so far."""
        return self._source.bytes_read

    @cached_property
    def container(self) -> elf.Container:
        """The ELF file with its sections, which are read when they are asked for."""
        return elf.open_container(self._source, self.name, (elf.ET_EXEC,))

    def fail(self, what: str, hint: str | None = None) -> ElfError:
        """An error about this file, ready to be raised."""
        return ElfError(f"{self.name}: {what}", hint=hint)

    def _read_segments(self) -> tuple[Segment, ...]:
        source = self._source
        head = elf.EHDR.unpack(source.read(0, elf.EHDR.size))
        phoff, phentsize, phnum = head[5], head[9], head[10]
        if phnum == 0 or phentsize != elf.PHDR.size or phoff + phnum * elf.PHDR.size > source.size:
            raise self.fail("has no usable program headers", "link it completely, without -r")
        found: list[Segment] = []
        room = source.size
        for kind, offset, virtual, physical, filesz, memsz, flags, _ in elf.PHDR.iter_unpack(
            source.read(phoff, phnum * elf.PHDR.size)
        ):
            if kind != elf.PT_LOAD or memsz == 0:
                continue
            room -= filesz
            if offset + filesz > source.size or filesz > memsz:
                raise self.fail(f"the segment at {virtual:#010x} reaches behind the file's end")
            if max(virtual, physical) + memsz > 1 << 32:
                raise self.fail(f"the segment at {virtual:#010x} reaches behind the last address")
            if room < 0:
                raise self.fail(f"the segment at {virtual:#010x} overlaps others in the file")
            if len(found) == _MAX_SEGMENTS:
                raise self.fail(f"has more than {_MAX_SEGMENTS} segments to load")
            found.append(Segment(physical, virtual, source.read(offset, filesz), memsz, bool(flags & 1)))
        return tuple(found)

    def _find_header(self) -> ImageHeader:
        from hotflash.image.header import MAGIC_BYTES, SIZE, ImageHeader

        for segment in self.segments:
            at = segment.data.find(MAGIC_BYTES)
            while at >= 0:
                address = segment.virtual + at
                own = segment.data[at + 12 : at + 16] == address.to_bytes(4, "little")
                if own and at + SIZE <= len(segment.data):
                    header = ImageHeader.unpack(segment.data[at : at + SIZE])
                    if not 2 <= header.nops <= 8:
                        raise self.fail(f"the image header says {header.nops} nops per patch point", _HINT)
                    return header
                at = segment.data.find(MAGIC_BYTES, at + 4)
        raise self.fail("has no hotflash image header", _HINT)

    def _read_symbols(self) -> list[Symbol]:
        symbols = []
        for raw in elf.read_symbols(self.container, keep_sections=False):
            if raw.section == elf.SHN_UNDEF or not raw.name or raw.name[0] == "$" or raw.section == elf.SHN_COMMON:
                continue
            alloc = raw.section == elf.SHN_ABS or self.container.sections[raw.section].alloc
            bind = _BIND.get(raw.bind)
            if not alloc or bind is None or raw.kind in (elf.STT_TLS, elf.STT_FILE, elf.STT_SECTION):
                continue
            if raw.kind in (elf.STT_FUNC, elf.STT_GNU_IFUNC):
                address = raw.value & ~1
                nops = self._count_nops(address, raw.size)
                symbols.append(
                    Symbol(raw.name, raw.unit, address, raw.size, bind, "function", raw.group, nops),
                )
            else:
                kind = "object" if raw.kind == elf.STT_OBJECT else "notype"
                symbols.append(Symbol(raw.name, raw.unit, raw.value, raw.size, bind, kind, raw.group, 0))
        return symbols

    def _count_nops(self, address: int, size: int) -> int:
        head = self.read(address, 16)
        count = 0
        while count < 8 and head[2 * count : 2 * count + 2] in NOPS:
            count += 1
        return count if size == 0 else min(count, size // 2)

    def _make_tables(self) -> dict[str, bytes]:
        section = self.container.of_kind(elf.SHT_ARM_ATTRIBUTES)
        found = tables.symbol_tables(self._read_symbols(), self._data_words())
        found["attributes"] = section.data if section else b""
        note = next((s for s in self.container.sections if s.name == ".note.gnu.build-id"), None)
        found["note"] = note.data[:36] if note else b""
        return found

    def _data_words(self) -> Iterator[tuple[int, int]]:
        """Words of the code that are addresses in RAM, and where they are: literal pools, mostly."""
        low, high = self.header.ram_start, self.header.ram_end
        for segment in self.segments:
            if segment.executable:
                start = -segment.virtual % 4
                words = memoryview(segment.data)[start : start + (len(segment.data) - start) // 4 * 4]
                for number, (value,) in enumerate(elf.WORD.iter_unpack(words)):
                    if low <= value < high:
                        yield value, (segment.virtual + start + 4 * number) & 0xFFFFFFFF

    def _find_build_id(self) -> bytes:
        symbol = self.symbol("__hf_build_id")
        note = self._tables["note"] if symbol is None else self.read(symbol.address, 36)
        if note[:16] != b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0" or len(note) < 36:
            raise self.fail("has no SHA-1 build ID", "link with -Wl,--build-id=sha1")
        return note[16:36]

    @cached_property
    def attributes(self) -> dict[int, int | str]:
        """Build attributes by tag; see :mod:`hotflash.elf.attributes`."""
        return attrs.parse(self._tables["attributes"], self.fail)

    @cached_property
    def debug(self) -> tables.DebugIndex:
        """The variables that the debugging information defines."""
        if tables.DEBUG_TABLES[0] not in self._tables:
            self._tables |= tables.debug_tables(self.container)
        return tables.DebugIndex(self._tables, self.name)

    def read(self, address: int, length: int) -> bytes:
        """Bytes of the load image at the addresses used at run time; fewer when the image ends before."""
        for segment in self.segments:
            offset = address - segment.virtual
            if 0 <= offset < len(segment.data):
                return segment.data[offset : offset + length]
        return b""

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """All symbols, in the order of the file. For those who need every one; the others ask by name or address."""
        return tuple(self.table.symbol(index) for index in range(self.table.count))

    @cached_property
    def functions(self) -> tuple[Symbol, ...]:
        """All functions, in the order of the file."""
        return tuple(s for s in self.symbols if s.kind == "function")

    @cached_property
    def variables(self) -> tuple[Symbol, ...]:
        """All variables, in the order of the file."""
        return tuple(s for s in self.symbols if s.kind == "object")

    def named(self, name: str) -> list[Symbol]:
        """All symbols of that name."""
        return self.table.named(name)

    def symbol(self, name: str) -> Symbol | None:
        """The symbol of that name: the global one, else the weak one, else the first local one."""
        return min(self.table.named(name), key=lambda s: _RANK[s.bind], default=None)

    def by_ident(self, ident: int) -> Symbol | None:
        """The function or variable of an identity (docs/SPEC.md, Identities)."""
        return self.table.by_ident(ident)

    @cached_property
    def split(self) -> tuple[Symbol, ...]:
        """Functions that the compiler split from others: ``.cold`` and ``.part`` pieces."""
        return tuple(self.table.split())

    @cached_property
    def _site_places(self) -> tuple[tuple[int, ...], list[int]]:
        """Addresses of the patch points and their hooks. FitError when the table has too few entries."""
        h = self.header
        addresses = tuple(int(a) for a in self.table.hot(h.nops))
        return addresses, assign_hooks(len(addresses), h.hook_base, h.hook_capacity, h.nops)

    def _site(self, rank: int) -> Site:
        addresses, hooks = self._site_places
        address = addresses[rank]
        symbols = [s for s in self.table.at(self.table.code, address) if s.nops >= self.header.nops]
        symbols.sort(key=lambda s: (_RANK[s.bind], s.name))
        if not symbols:
            raise self.table.damaged()
        first = symbols[0]
        size = max(s.size for s in symbols)
        return Site(hooks[rank], first.name, first.unit, address, size, self.header.nops, tuple(symbols))

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """Patch points in address order with their hook indices. FitError when the table has too few entries."""
        return tuple(self._site(rank) for rank in range(self.site_count))

    @property
    def site_count(self) -> int:
        """Number of patch points."""
        return len(self.site_at)

    def site_after(self, address: int) -> int | None:
        """Address of the first patch point behind an address."""
        addresses = self._site_places[0]
        rank = bisect_right(addresses, address)
        return addresses[rank] if rank < len(addresses) else None

    def site_of_hook(self, hook: int) -> Site | None:
        """The patch point that goes through an entry of the hook table."""
        hooks = self._site_places[1]
        rank = bisect_left(hooks, hook)
        return self._site(rank) if rank < len(hooks) and hooks[rank] == hook else None

    def symbols_near(self, address: int) -> tuple[Symbol, int] | None:
        """The function that holds an address and the offset in it, or None."""
        return _near(self.table.before(self.table.code, address), address)

    def object_near(self, address: int) -> tuple[Symbol, int] | None:
        """The variable that holds an address and the offset in it, or None."""
        return _near(self.table.before(self.table.data, address), address)

    def users(self, address: int, size: int) -> list[Symbol]:
        """Functions whose literals lead to the variable of ``size`` bytes at an address in RAM."""
        near = (self.symbols_near(place) for place in self.table.words(address, size))
        return list(dict.fromkeys(found[0] for found in near if found is not None))


def _near(symbol: Symbol | None, address: int) -> tuple[Symbol, int] | None:
    if symbol is None:
        return None
    offset = address - symbol.address
    return (symbol, offset) if offset < max(symbol.size, 1) else None


class _Globals(Mapping[str, Symbol]):
    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._known: dict[str, Symbol | None] = {}

    def __getitem__(self, name: str) -> Symbol:
        found = self._known.get(name)
        if found is None:
            symbol = self._firmware.symbol(name)
            found = self._known[name] = symbol if symbol is not None and symbol.bind != "local" else None
            if found is None:
                raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(s.name for s in self._firmware.symbols if s.bind != "local"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Units(Mapping[str, dict[int, dict[str, Symbol]]]):
    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._known: dict[str, dict[int, dict[str, Symbol]]] = {}

    def __getitem__(self, name: str) -> dict[int, dict[str, Symbol]]:
        found = self._known.get(name)
        if found is None:
            groups = self._firmware.table.unit(name)
            found = {group: {s.name: s for s in symbols} for group, symbols in groups.items()}
            if not found:
                raise KeyError(name)
            self._known[name] = found
        return found

    def __iter__(self) -> Iterator[str]:
        local = (s for s in self._firmware.symbols if s.bind == "local" and s.kind != "notype" and s.group)
        return iter(dict.fromkeys(s.unit for s in local))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Sites(Mapping[int, Site]):
    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._known: dict[int, Site] = {}

    def __getitem__(self, address: int) -> Site:
        found = self._known.get(address)
        if found is None:
            addresses = self._firmware._site_places[0]  # noqa: SLF001 - a part of it
            rank = bisect_left(addresses, address)
            if rank == len(addresses) or addresses[rank] != address:
                raise KeyError(address)
            found = self._known[address] = self._firmware._site(rank)  # noqa: SLF001
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._firmware._site_places[0])  # noqa: SLF001

    def __len__(self) -> int:
        return len(self._firmware._site_places[0])  # noqa: SLF001
