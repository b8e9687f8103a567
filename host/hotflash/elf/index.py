"""What is asked of a firmware's ELF again and again, in tables that are searched where they lie.

Reading the symbols and the debugging information of a large ELF takes seconds, a push has milliseconds. So both are
read once, into tables of fixed-size records with sorted keys, and kept in a file: a process that asks for one name
touches a few records. The layout is private to one version of this module and one kind of machine; a file that is
of another, of another ELF, cut short or damaged is no error, it is made again::

    magic, version, byte order | CRC-32 of all that follows | length | the ELF's size, mtime, inode, SHA-256 |
    time of the last look at its content | length of each table | the tables

Keys are CRC-32 values; records with the same key are told apart by comparing names.
"""

from __future__ import annotations

import hashlib
import posixpath
import struct
import sys
import time
import zlib
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

from hotflash.elf.dwarf import (
    AT_CONST_VALUE,
    AT_DECLARATION,
    AT_EXTERNAL,
    AT_TYPE,
    Dwarf,
    DwarfError,
    place,
    variables,
)
from hotflash.elf.shapes import Shapes
from hotflash.errors import ElfError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from hotflash.elf.dwarf import Entry, Unit
    from hotflash.elf.firmware import Symbol
    from hotflash.elf.format import Container

VERSION = 2
_MAGIC = b"HFIX" + bytes([VERSION]) + sys.byteorder[:3].encode()
_HEAD = struct.Struct("=8sIQ")
_STAMP = struct.Struct("=QQQ32sQ")
_SYMBOL = struct.Struct("=IIIIIBBBx")
_UNIT = struct.Struct("=II")
_VARIABLE = struct.Struct("=IIIIIIB3x")
_LAYOUT = struct.Struct("=QIIIIB3x")
_FUNCTION = struct.Struct("=IIIII")
_RACY = 2_000_000_000
"""Nanoseconds: a file may change unseen within its time stamps' resolution, 2 s on FAT."""
_MAX_NAME = 1 << 16
_MAX_STRINGS = 1 << 26
"""Bytes of all names."""
_ADDRESS, _EXTERNAL = 1, 2
_OWN, _COMPLETE = 1, 2
BINDS = ("global", "weak", "local")
KINDS = ("function", "object", "notype")

SYMBOL_TABLES = ("strings", "symbols", "names", "name_refs", "idents", "ident_refs", "code", "code_refs", "data",
                 "data_refs", "groups", "group_units", "members", "member_ends", "split", "values", "places",
                 "hot", "attributes", "note")  # fmt: skip
DEBUG_TABLES = ("debug_strings", "units", "variables", "layouts", "functions", "variable_names", "variable_refs",
                "layout_names", "layout_refs", "function_names", "function_refs", "debug_problem")  # fmt: skip
_PARALLEL = (("names", "name_refs"), ("idents", "ident_refs"), ("code", "code_refs"), ("data", "data_refs"),
             ("groups", "group_units", "member_ends"), ("values", "places"),
             ("variable_names", "variable_refs"), ("layout_names", "layout_refs"),
             ("function_names", "function_refs"))  # fmt: skip
"""Tables with as many entries as each other."""


class Stamp(NamedTuple):
    """What tells one content of a file from another."""

    size: int
    mtime: int
    """Nanoseconds."""
    inode: int
    digest: bytes
    """SHA-256 of the content."""
    checked: int
    """When content and time stamps were last known to belong together, nanoseconds."""

    @classmethod
    def of(cls, status: os.stat_result, digest: bytes) -> Stamp:
        """That of a file whose content was just read."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino, digest, time.time_ns())

    def fits(self, status: os.stat_result) -> bool:
        """The file is surely the same, going by its status alone."""
        same = (self.size, self.mtime, self.inode) == (status.st_size, status.st_mtime_ns, status.st_ino)
        return same and self.checked - self.mtime > _RACY


class DebugVariable(NamedTuple):
    """A variable that the debugging information defines."""

    name: str
    function: str
    """The function that it is a static of, or empty."""
    unit: str
    """Name of its compile unit as the compiler was given it."""
    address: int | None
    """None: it has no place in memory."""
    external: bool
    entry: int
    """Offset of its entry in .debug_info."""
    type: str
    """Canonical text of its type (:mod:`hotflash.elf.layout`); empty where that is damaged."""


class DebugLayout(NamedTuple):
    """A struct, union or enumeration as one unit knows it."""

    name: str
    hash: str
    """Of its layout (:mod:`hotflash.elf.layout`)."""
    unit: str
    """Name of the compile unit."""
    number: int
    """Which of the units it is."""
    size: int
    """Bytes."""
    own: bool
    """It is declared in the source file itself, not in a header."""
    complete: bool
    """False: the unit declares it, and does not describe it."""
    entry: int
    """Offset of its entry in .debug_info."""


class DebugFunction(NamedTuple):
    """A function that a unit defines."""

    name: str
    """As its symbol is called."""
    unit: str
    number: int
    """Which of the units it is."""
    address: int
    """Where its code starts behind the nops; 0 when it is in several parts, or dropped."""
    signature: str
    """How it is called, in canonical text (:mod:`hotflash.elf.shapes`)."""
    entry: int
    """Offset of its entry in .debug_info."""


# ------------------------------------------------------------------------------------------------- making


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray()
        self._known: dict[str, int] = {}

    def add(self, text: str) -> int:
        at = self._known.get(text)
        if at is None:
            at = self._known[text] = len(self.data)
            self.data += text.replace("\0", "").encode("utf-8", "replace") + b"\0"
        return at


def _words(values: Iterable[int]) -> bytes:
    found = list(values)
    return struct.pack(f"={len(found)}I", *found)


def _sorted(pairs: Iterable[tuple[int, int]]) -> tuple[bytes, bytes]:
    ordered = sorted(pairs)
    return _words(key for key, _ in ordered), _words(ref for _, ref in ordered)


def crc(*parts: str) -> int:
    """Key of a name, or of a local one with its unit (docs/SPEC.md, Identities)."""
    return zlib.crc32("\0".join(parts).encode("utf-8", "replace"))


def symbol_tables(symbols: Sequence[Symbol], words: Iterable[tuple[int, int]]) -> dict[str, bytes]:
    """The tables of a firmware's symbols in file order.

    ``words`` are values in code that may be addresses of data, and where they are.
    """
    strings = _Strings()
    records = bytearray()
    names: list[tuple[int, int]] = []
    code: list[tuple[int, int, int]] = []
    data: list[tuple[int, int]] = []
    split: list[int] = []
    idents: dict[int, tuple[int, int]] = {}
    groups: dict[int, list[int]] = {}
    hot: dict[int, int] = {}
    for index, s in enumerate(symbols):
        kind = KINDS.index(s.kind)
        bind = BINDS.index(s.bind)
        records += _SYMBOL.pack(
            strings.add(s.name), strings.add(s.unit), s.address, s.size, s.group, bind, kind, s.nops
        )  # fmt: skip
        names.append((crc(s.name), index))
        if s.kind != "notype":
            key = crc(s.unit, s.name) if s.bind == "local" else crc(s.name)
            if key not in idents or (kind, index) < idents[key]:
                idents[key] = kind, index
            if s.bind == "local" and s.group:
                groups.setdefault(s.group, []).append(index)
        if s.kind == "function":
            # Of several names for one place the global one comes last, where bisect_right finds it.
            code.append((s.address, -bind, index))
            if s.nops:
                hot[s.address] = max(s.nops, hot.get(s.address, 0))
            if ".cold" in s.name or ".part" in s.name:
                split.append(index)
        elif s.kind == "object":
            data.append((s.address, index))
    code.sort()
    by_unit = sorted((crc(symbols[members[0]].unit), group) for group, members in groups.items())
    members = [index for _, group in by_unit for index in groups[group]]
    ends, total = [], 0
    for _, group in by_unit:
        total += len(groups[group])
        ends.append(total)
    tables = {"strings": bytes(strings.data), "symbols": bytes(records)}
    tables["names"], tables["name_refs"] = _sorted(names)
    tables["idents"], tables["ident_refs"] = _sorted((key, index) for key, (_, index) in idents.items())
    tables["code"], tables["code_refs"] = _words(entry[0] for entry in code), _words(entry[2] for entry in code)
    tables["data"], tables["data_refs"] = _sorted(data)
    tables["group_units"], tables["groups"] = _words(key for key, _ in by_unit), _words(group for _, group in by_unit)
    tables["members"], tables["member_ends"] = _words(members), _words(ends)
    tables["split"] = _words(split)
    tables["hot"] = _words(word for place in sorted(hot.items()) for word in place)
    tables["values"], tables["places"] = _sorted(words)
    return tables


def debug_tables(container: Container, progress: Callable[[int, int], None] | None = None) -> dict[str, bytes]:
    """The tables of the variables that the debugging information defines.

    Units that are damaged are left out; the first problem is kept for those who miss something.
    """
    made = _DebugTables()
    try:
        dwarf = Dwarf(container)
        total = len(dwarf.info)
        dwarf.limit = dwarf.read + 64 * total + 1_000_000
        shapes = Shapes(dwarf)
        for unit in dwarf.units():
            made.add(unit, shapes)
            if progress is not None and not isinstance(unit, DwarfError):
                progress(unit.end, total)
            if len(made.strings.data) > _MAX_STRINGS:
                raise DwarfError("its names are longer than any firmware's")  # noqa: TRY301 - as other damage
    except DwarfError as error:
        made.problem = made.problem or str(error)
    return made.tables()


class _DebugTables:
    def __init__(self) -> None:
        self.strings = _Strings()
        self.strings.add("")
        self.problem = ""
        self._units = bytearray()
        self._records = {"variables": bytearray(), "layouts": bytearray(), "functions": bytearray()}
        self._names: dict[str, list[tuple[int, int]]] = {kind: [] for kind in self._records}
        self._number = 0
        self._known: set[tuple[str, str, int | None, int]] = set()

    def add(self, unit: Unit | DwarfError, shapes: Shapes) -> None:
        """What a unit defines; what comes before damage in it stays."""
        name, first = 0, len(self._names["variables"])
        try:
            if isinstance(unit, DwarfError):
                raise unit
            name = self.strings.add(unit.top.name)
            self._variables(unit, shapes)
            self._types(unit, shapes)
        except DwarfError as error:
            self.problem = self.problem or str(error)
        self._units += _UNIT.pack(name, first)
        self._number += 1

    def _variables(self, unit: Unit, shapes: Shapes) -> None:
        number = self._number
        for name, function, address, entry in _definitions(unit):
            if (name, function, address, number if address is None else -1) in self._known:
                continue
            self._known.add((name, function, address, number if address is None else -1))
            flags = (_ADDRESS if address is not None else 0) | (_EXTERNAL if entry.flag(AT_EXTERNAL) else 0)
            try:
                text = shapes.text(entry.resolved(AT_TYPE))
            except DwarfError as error:  # a damaged type hides no variable
                self.problem, text = self.problem or str(error), ""
            self._add("variables", name, _VARIABLE, self.strings.add(name), self.strings.add(function), number,
                      address or 0, entry.offset, self.strings.add(text), flags)  # fmt: skip

    def _types(self, unit: Unit, shapes: Shapes) -> None:
        number, add = self._number, self.strings.add
        functions = list(shapes.functions(unit))
        for function in functions:
            self._add("functions", function.name, _FUNCTION, function.address, add(function.name), number,
                      add(shapes.signature(function.entry)), function.entry.offset)  # fmt: skip
        for known in shapes.layouts(unit, functions).values():
            layout = known.layout
            self._add("layouts", layout.name, _LAYOUT, int(layout.hash, 16), add(layout.name), number,
                      known.entry.offset, layout.size, _OWN * known.own | _COMPLETE * known.complete)  # fmt: skip

    def _add(self, kind: str, name: str, record: struct.Struct, *values: int) -> None:
        names = self._names[kind]
        names.append((crc(name), len(names)))
        self._records[kind] += record.pack(*values)

    def tables(self) -> dict[str, bytes]:
        """All that was added."""
        found = {"debug_strings": bytes(self.strings.data), "units": bytes(self._units)}
        found |= {kind: bytes(records) for kind, records in self._records.items()}
        for kind, names in self._names.items():
            found[f"{kind[:-1]}_names"], found[f"{kind[:-1]}_refs"] = _sorted(names)
        found["debug_problem"] = self.problem.encode("utf-8", "replace")
        return found


def _definitions(unit: Unit) -> Iterator[tuple[str, str, int | None, Entry]]:
    """Name, function, address and entry of each variable that a unit defines."""
    functions: dict[int, str] = {0: ""}
    for owner, entry in variables(unit):
        address = place(entry)
        attributes = entry.attributes
        if address is None:
            if owner and AT_CONST_VALUE not in attributes:
                continue  # a plain local, on the stack or in a register
            if AT_DECLARATION in attributes:
                continue  # declared here, defined elsewhere
        name = entry.name
        if not name:
            continue
        if owner not in functions:
            functions[owner] = unit.dwarf.entry(owner).name
        yield name, functions[owner], address, entry


# ------------------------------------------------------------------------------------------------ the file


def pack(stamp: Stamp, tables: dict[str, bytes]) -> bytes:
    """The file's content."""
    contents = [tables[name] for name in (*SYMBOL_TABLES, *DEBUG_TABLES)]
    padded = [content + bytes(-len(content) % 4) for content in contents]
    body = b"".join((_STAMP.pack(*stamp), _words(len(content) for content in contents), *padded))
    length = _HEAD.size + len(body)
    return _HEAD.pack(_MAGIC, zlib.crc32(body, length & 0xFFFFFFFF), length) + body


def unpack(data: bytes) -> tuple[Stamp, dict[str, bytes]] | None:
    """Stamp and tables of a file's content; None when it is not whole, or of another version or machine."""
    if len(data) < _HEAD.size + _STAMP.size:
        return None
    magic, check, length = _HEAD.unpack_from(data)
    if magic != _MAGIC or length != len(data):
        return None
    body = memoryview(data)[_HEAD.size :]
    if zlib.crc32(body, length & 0xFFFFFFFF) != check:
        return None
    names = (*SYMBOL_TABLES, *DEBUG_TABLES)
    at = _STAMP.size + 4 * len(names)
    if at > len(body):
        return None
    lengths = struct.unpack_from(f"={len(names)}I", body, _STAMP.size)
    if at + sum(length + -length % 4 for length in lengths) != len(body):
        return None
    tables = {}
    for name, size in zip(names, lengths, strict=True):
        tables[name] = bytes(body[at : at + size])
        at += size + -size % 4
    if any(len(tables[name]) % 4 for name in (*SYMBOL_TABLES[2:-2], *DEBUG_TABLES[5:-1])) or len(tables["hot"]) % 8:
        return None
    if any(len({len(tables[name]) for name in names}) > 1 for names in _PARALLEL) or len(tables["units"]) % _UNIT.size:
        return None
    return Stamp(*_STAMP.unpack_from(body)), tables


def digest(data: bytes) -> bytes:
    """What a stamp knows a content by."""
    return hashlib.sha256(data).digest()


# ------------------------------------------------------------------------------------------------ asking


class _Table:
    """Sorted keys and, for each, a reference to a record."""

    def __init__(self, keys: bytes, refs: bytes) -> None:
        self.keys = memoryview(keys).cast("I")
        self.refs = memoryview(refs).cast("I")

    def get(self, key: int) -> Iterator[int]:
        """References of a key, in order."""
        at = bisect_left(self.keys, key)
        while at < len(self.keys) and self.keys[at] == key:
            yield self.refs[at]
            at += 1


def _text(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at, at + _MAX_NAME + 1)].decode("utf-8", "replace")


_ERRORS = (struct.error, IndexError, ValueError, TypeError)


class SymbolIndex:
    """Answers questions about symbols from tables; every answer is a few records long."""

    def __init__(self, tables: dict[str, bytes], make: Callable[..., Symbol], where: str) -> None:
        self._make = make
        self._where = where
        self._strings = tables["strings"]
        self._records = tables["symbols"]
        self.count = len(self._records) // _SYMBOL.size
        self.touched = 0
        """Records that were read; tests count it."""
        self._known: dict[int, Symbol] = {}
        self._names = _Table(tables["names"], tables["name_refs"])
        self._idents = _Table(tables["idents"], tables["ident_refs"])
        self.code = _Table(tables["code"], tables["code_refs"])
        """Functions by address; of several at one address the global one comes last."""
        self.data = _Table(tables["data"], tables["data_refs"])
        """Variables by address."""
        self._units = _Table(tables["group_units"], tables["groups"])
        self._members = memoryview(tables["members"]).cast("I")
        self._ends = memoryview(tables["member_ends"]).cast("I")
        self._split = memoryview(tables["split"]).cast("I")
        self._hot = memoryview(tables["hot"]).cast("I")
        self._values = _Table(tables["values"], tables["places"])

    def damaged(self) -> ElfError:
        """The error for tables that contradict themselves though their checksum is right."""
        return ElfError(f"{self._where}: the index of the firmware is damaged", hint="delete it, it is made again")

    def symbol(self, index: int) -> Symbol:
        """One symbol."""
        found = self._known.get(index)
        if found is None:
            self.touched += 1
            try:
                name, unit, address, size, group, bind, kind, nops = _SYMBOL.unpack_from(
                    self._records, index * _SYMBOL.size
                )
                found = self._known[index] = self._make(
                    _text(self._strings, name), _text(self._strings, unit), address, size, BINDS[bind], KINDS[kind],
                    group, nops,
                )  # fmt: skip
            except _ERRORS:
                raise self.damaged() from None
        return found

    def named(self, name: str) -> list[Symbol]:
        """All symbols of a name, in file order."""
        return [s for s in map(self.symbol, self._names.get(crc(name))) if s.name == name]

    def by_ident(self, ident: int) -> Symbol | None:
        """The function or variable of an identity."""
        return next((self.symbol(index) for index in self._idents.get(ident)), None)

    def before(self, table: _Table, address: int) -> Symbol | None:
        """The last entry of a table whose address is not above ``address``."""
        at = bisect_right(table.keys, address) - 1
        return self.symbol(table.refs[at]) if at >= 0 else None

    def at(self, table: _Table, address: int) -> list[Symbol]:
        """The entries of a table at an address."""
        return [self.symbol(index) for index in table.get(address)]

    def hot(self, nops: int) -> list[int]:
        """Addresses of functions that start with at least that many nops, in order."""
        found = zip(self._hot[::2], self._hot[1::2], strict=True)
        return [address for address, count in found if count >= nops]

    def unit(self, name: str) -> dict[int, list[Symbol]]:
        """Local functions and variables of the units of a name, by group."""
        found: dict[int, list[Symbol]] = {}
        keys = self._units.keys
        at = bisect_left(keys, key := crc(name))
        try:
            while at < len(keys) and keys[at] == key:
                members = self._members[self._ends[at - 1] if at else 0 : self._ends[at]]
                symbols = [self.symbol(index) for index in members]
                if symbols and symbols[0].unit == name:
                    found[self._units.refs[at]] = symbols
                at += 1
        except IndexError:
            raise self.damaged() from None
        return found

    def split(self) -> list[Symbol]:
        """Functions that are parts of others: ``.cold`` and ``.part`` pieces."""
        return [self.symbol(index) for index in self._split]

    def words(self, address: int, size: int) -> list[int]:
        """Places in code that hold an address from ``address`` on, ``size`` bytes long."""
        keys = self._values.keys
        return list(self._values.refs[bisect_left(keys, address) : bisect_left(keys, address + max(size, 1))])


class DebugIndex:
    """Answers questions about what the debugging information defines: variables, layouts of types, functions."""

    def __init__(self, tables: dict[str, bytes], where: str) -> None:
        self._where = where
        self._strings = tables["debug_strings"]
        self._units = tables["units"]
        self._records = tables["variables"]
        self._names = _Table(tables["variable_names"], tables["variable_refs"])
        self._layouts = tables["layouts"]
        self._layout_names = _Table(tables["layout_names"], tables["layout_refs"])
        self._functions = tables["functions"]
        self._function_names = _Table(tables["function_names"], tables["function_refs"])
        self.present = bool(self._units)
        """There is debugging information."""
        self.problem = tables["debug_problem"].decode("utf-8", "replace")
        """What is wrong with a part of the debugging information, or empty."""
        self.touched = 0
        """Records that were read; tests count it."""

    def _variable(self, index: int) -> DebugVariable:
        self.touched += 1
        try:
            name, function, unit, address, entry, type_, flags = _VARIABLE.unpack_from(
                self._records, index * _VARIABLE.size
            )
            return DebugVariable(
                _text(self._strings, name), _text(self._strings, function), self._unit_name(unit),
                address if flags & _ADDRESS else None, bool(flags & _EXTERNAL), entry, _text(self._strings, type_),
            )  # fmt: skip
        except _ERRORS:
            raise self._damaged() from None

    def _unit_name(self, number: int) -> str:
        return _text(self._strings, _UNIT.unpack_from(self._units, number * _UNIT.size)[0])

    def _layout(self, index: int) -> DebugLayout:
        self.touched += 1
        try:
            digest, name, unit, entry, size, flags = _LAYOUT.unpack_from(self._layouts, index * _LAYOUT.size)
            text = _text(self._strings, name)
            return DebugLayout(
                text, f"{digest:016x}", self._unit_name(unit), unit, size, bool(flags & _OWN), bool(flags & _COMPLETE),
                entry,
            )  # fmt: skip
        except _ERRORS:
            raise self._damaged() from None

    def _function(self, index: int) -> DebugFunction:
        self.touched += 1
        try:
            address, name, unit, signature, entry = _FUNCTION.unpack_from(self._functions, index * _FUNCTION.size)
            text = _text(self._strings, name)
            return DebugFunction(
                text, self._unit_name(unit), unit, address, _text(self._strings, signature), entry
            )  # fmt: skip
        except _ERRORS:
            raise self._damaged() from None

    def layouts(self, name: str) -> list[DebugLayout]:
        """A struct, union or enumeration as each unit knows it that does."""
        return [found for found in map(self._layout, self._layout_names.get(crc(name))) if found.name == name]

    def functions(self, name: str) -> list[DebugFunction]:
        """The functions whose symbol has that name."""
        return [found for found in map(self._function, self._function_names.get(crc(name))) if found.name == name]

    def every_function(self) -> list[DebugFunction]:
        """All functions."""
        return [self._function(index) for index in range(len(self._functions) // _FUNCTION.size)]

    def every_variable(self) -> list[DebugVariable]:
        """All variables."""
        return [self._variable(index) for index in range(len(self._records) // _VARIABLE.size)]

    def _damaged(self) -> ElfError:
        return ElfError(f"{self._where}: the index of the firmware is damaged", hint="delete it, it is made again")

    def named(self, name: str) -> list[DebugVariable]:
        """All variables of a name, in the order of .debug_info."""
        return [v for v in map(self._variable, self._names.get(crc(name))) if v.name == name]

    def of_unit(self, name: str) -> list[DebugVariable]:
        """Variables of all units whose file is called so, whatever folder it is in."""
        found: list[DebugVariable] = []
        firsts = [first for _, first in _UNIT.iter_unpack(self._units)] + [len(self._records) // _VARIABLE.size]
        for number, (at, first) in enumerate(_UNIT.iter_unpack(self._units)):
            try:
                unit = _text(self._strings, at)
            except ValueError:
                raise self._damaged() from None
            if posixpath.basename(unit.replace("\\", "/")) == name:
                found += map(self._variable, range(first, firsts[number + 1]))
        return found


def read_file(path: Path) -> tuple[Stamp, dict[str, bytes]] | None:
    """Stamp and tables of an index file, None when there is none that can be used."""
    try:
        return unpack(path.read_bytes())
    except OSError:
        return None
