"""The linked application: what its ELF says about code, data and patch points.

Addresses of functions are given without the Thumb bit. Memory is read at the addresses that code runs at (VMA),
from the bytes that the link put there; NOBITS memory reads as nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hotflash.elf import attributes as attrs
from hotflash.elf import format as elf
from hotflash.elf.hooks import assign_hooks
from hotflash.errors import ElfError, UsageError

if TYPE_CHECKING:
    from hotflash.image.header import ImageHeader

NOP = b"\x00\xbf"
_RANK = {"global": 0, "weak": 1, "local": 2}
_BIND = {elf.STB_LOCAL: "local", elf.STB_GLOBAL: "global", elf.STB_WEAK: "weak"}
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


class Firmware:
    """A linked application ELF."""

    def __init__(self, container: elf.Container, path: Path) -> None:
        self.path = path
        self.container = container
        self.segments: tuple[Segment, ...] = self._read_segments()
        self.header: ImageHeader = self._find_header()
        symbols = self._read_symbols()
        self.symbols: tuple[Symbol, ...] = tuple(symbols)
        self.functions: tuple[Symbol, ...] = tuple(s for s in symbols if s.kind == "function")
        self.variables: tuple[Symbol, ...] = tuple(s for s in symbols if s.kind == "object")
        self._by_name: dict[str, Symbol] = {}
        for symbol in symbols:
            known = self._by_name.get(symbol.name)
            if known is None or _RANK[symbol.bind] < _RANK[known.bind]:
                self._by_name[symbol.name] = symbol
        self.build_id: bytes = self._find_build_id()
        section = container.of_kind(elf.SHT_ARM_ATTRIBUTES)
        self.attributes: dict[int, int | str] = attrs.parse(section.data, container.fail) if section else {}

    @classmethod
    def load(cls, path: str | Path) -> Firmware:
        """Reads a linked application. ElfError when it is none, or not built for hotflash."""
        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
        return cls(elf.open_container(data, str(path), (elf.ET_EXEC,)), path)

    def fail(self, what: str, hint: str | None = None) -> ElfError:
        """An error about this file, ready to be raised."""
        return self.container.fail(what, hint)

    def _read_segments(self) -> tuple[Segment, ...]:
        c = self.container
        if c.phnum == 0 or c.phentsize != elf.PHDR.size or c.phoff + c.phnum * elf.PHDR.size > len(c.data):
            raise self.fail("has no usable program headers", "link it completely, without -r")
        found = []
        table = c.data[c.phoff : c.phoff + c.phnum * elf.PHDR.size]
        for kind, offset, virtual, physical, filesz, memsz, flags, _ in elf.PHDR.iter_unpack(table):
            if kind != elf.PT_LOAD or memsz == 0:
                continue
            if offset + filesz > len(c.data) or filesz > memsz:
                raise self.fail(f"the segment at {virtual:#010x} reaches behind the file's end")
            found.append(Segment(physical, virtual, c.data[offset : offset + filesz], memsz, bool(flags & 1)))
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
        while count < 8 and head[2 * count : 2 * count + 2] == NOP:
            count += 1
        return count if size == 0 else min(count, size // 2)

    def _find_build_id(self) -> bytes:
        symbol = self._by_name.get("__hf_build_id")
        note = b""
        if symbol is not None:
            note = self.read(symbol.address, 36)
        else:
            section = next((s for s in self.container.sections if s.name == ".note.gnu.build-id"), None)
            note = section.data if section else b""
        if note[:16] != b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0" or len(note) < 36:
            raise self.fail("has no SHA-1 build ID", "link with -Wl,--build-id=sha1")
        return note[16:36]

    def read(self, address: int, length: int) -> bytes:
        """Bytes of the load image at the addresses used at run time; fewer when the image ends before."""
        for segment in self.segments:
            offset = address - segment.virtual
            if 0 <= offset < len(segment.data):
                return segment.data[offset : offset + length]
        return b""

    def symbol(self, name: str) -> Symbol | None:
        """The symbol of that name: the global one, else the weak one, else the first local one."""
        return self._by_name.get(name)

    @cached_property
    def globals(self) -> dict[str, Symbol]:
        """Global and weak symbols by name."""
        return {name: symbol for name, symbol in self._by_name.items() if symbol.bind != "local"}

    @cached_property
    def units(self) -> dict[str, dict[int, dict[str, Symbol]]]:
        """Local functions and variables: by unit name, then by group (units may share a name), then by name."""
        found: dict[str, dict[int, dict[str, Symbol]]] = {}
        for symbol in self.symbols:
            if symbol.bind == "local" and symbol.kind != "notype" and symbol.group:
                found.setdefault(symbol.unit, {}).setdefault(symbol.group, {})[symbol.name] = symbol
        return found

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """Patch points in address order with their hook indices. FitError when the table has too few entries."""
        by_address: dict[int, list[Symbol]] = {}
        for function in self.functions:
            if function.nops >= self.header.nops:
                by_address.setdefault(function.address, []).append(function)
        h = self.header
        hooks = assign_hooks(len(by_address), h.hook_base, h.hook_capacity, h.nops)
        sites = []
        for hook, address in zip(hooks, sorted(by_address), strict=True):
            symbols = sorted(by_address[address], key=lambda s: (_RANK[s.bind], s.name))
            first = symbols[0]
            size = max(s.size for s in symbols)
            sites.append(Site(hook, first.name, first.unit, address, size, h.nops, tuple(symbols)))
        return tuple(sites)

    @cached_property
    def site_at(self) -> dict[int, Site]:
        """Patch points by address."""
        return {site.address: site for site in self.sites}

    @cached_property
    def _functions_by_address(self) -> tuple[list[int], list[Symbol]]:
        # Of several names for one place the global one comes last, where bisect_right finds it.
        ordered = sorted(self.functions, key=lambda s: (s.address, -_RANK[s.bind]))
        return [s.address for s in ordered], ordered

    def symbols_near(self, address: int) -> tuple[Symbol, int] | None:
        """The function that holds an address and the offset in it, or None."""
        addresses, ordered = self._functions_by_address
        at = bisect_right(addresses, address) - 1
        if at < 0:
            return None
        symbol = ordered[at]
        offset = address - symbol.address
        return (symbol, offset) if offset < max(symbol.size, 1) else None
