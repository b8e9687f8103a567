"""Reads layouts and signatures from debugging information, of linked firmware and of objects alike.

Only what is asked for is read, and each entry once. Names of structs that are local to a function end in ``(local)``:
nobody else can use them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from hotflash.elf import dwarf
from hotflash.elf.dwarf import DwarfError
from hotflash.elf.layout import VOID, Array, Field, Layout, Pointer, Scalar, Shape
from hotflash.elf.typeinfo import MODIFIERS, POINTERS, RECORDS, bit_range, counts, enumerators, member_offset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hotflash.elf.dwarf import Dwarf, Entry, Unit

# DWARF 5, 7.8, table 7.11, with signed and unsigned characters as the numbers that they are.
_KINDS = {2: "bool", 3: "complex", 4: "float", 5: "int", 6: "int", 7: "uint", 8: "uint", 0x10: "uint"}
_NAMED = {*RECORDS, dwarf.TAG_ENUMERATION}
_DEPTH = 64
_TEXT = 16
"""Characters of a type's text that count as one step of work."""
_PARTS = 65_536
"""Members that a struct may have, with those inside of them; more is a damaged file."""
_MAX_TEXT = 1 << 16
"""Characters of a type's text; the index reads no longer ones."""
_MAX_BODY = 1 << 20
"""Characters of what a struct with a name is described by."""
_LOCAL = " (local)"
_ASSEMBLY = {0x8001, 0x31}
"""DW_LANG_Mips_Assembler, which GNU as writes, and DW_LANG_Assembly (DWARF 6)."""
_PLAIN_C = {0x01, 0x02, 0x0C, 0x1D, 0x2C}
"""DW_LANG_C89, C, C99, C11, C17."""


class Outlined(NamedTuple):
    """An entry outside of functions."""

    offset: int
    tag: int
    scope: str
    """Namespaces and classes around it, each with ``::`` behind."""


class Instance(NamedTuple):
    """A variable or parameter of a function."""

    name: str
    type: Shape
    owner: str
    """The function; the one that was inlined for what came with it."""


class Known(NamedTuple):
    """A struct, union or enumeration."""

    layout: Layout
    entry: Entry
    own: bool
    """It is declared in the file that most functions of its unit are in: not in a header."""
    complete: bool = True
    """False: only its name is known here."""


class FunctionEntry(NamedTuple):
    """A function that a unit defines."""

    name: str
    """As its symbol is called."""
    address: int
    """Where its code starts, behind the nops; 0 when that is not one place. In objects it means nothing."""
    entry: Entry


class Use(NamedTuple):
    """What the debugging information says that a function uses."""

    layouts: dict[str, Known]
    """Complete structs, unions and enumerations by name, those behind pointers included."""
    declared: dict[str, Known]
    """Those of which only the name is known."""
    automatic: list[Instance]
    """What it may keep on its stack."""
    statics: list[Instance]
    """Variables of its own that outlive its calls."""
    pointed: set[str]
    """Texts of what its pointers point to."""


class Shapes:
    """Types and functions of one file's debugging information.

    Its methods raise DwarfError where that is damaged.
    """

    def __init__(self, info: Dwarf) -> None:
        self.dwarf = info
        self._shapes: dict[int, Shape] = {}
        self._texts: dict[int, str] = {}
        self._typedefs: dict[int, str] = {}
        self._outlines: dict[int, dict[int, Outlined]] = {}
        self._files: dict[int, int] = {}
        self._recent: tuple[int, dict[int, Entry]] = (-1, {})

    # ---------------------------------------------------------------------------------- outline

    def outline(self, unit: Unit) -> dict[int, Outlined]:
        """The entries of a unit that are outside of functions, by offset; members are not among them."""
        found = self._outlines.get(unit.offset)
        if found is None:
            found = self._outlines[unit.offset] = {item.offset: item for item in self._outline(unit)}
        return found

    def _outline(self, unit: Unit) -> Iterator[Outlined]:
        into = {dwarf.TAG_NAMESPACE} if _is_plain(unit) else {dwarf.TAG_NAMESPACE, *RECORDS}
        stack: list[tuple[Iterator[tuple[int, int]], str]] = [(dwarf.children(unit, unit.first), "")]
        while stack:
            entries, scope = stack[-1]
            for offset, tag in entries:
                yield Outlined(offset, tag, scope)
                if tag in into:
                    if len(stack) > _DEPTH:
                        raise DwarfError("scopes are nested too deep")
                    inner = dwarf.Entry(unit, offset)
                    if inner.children:
                        stack.append((dwarf.children(unit, offset), f"{scope}{inner.name}::"))
                        break
            else:
                stack.pop()

    def _entry(self, unit: Unit, offset: int) -> Entry:
        """An entry of a unit's outline; those of the unit that was asked about last are kept."""
        if self._recent[0] != unit.offset:
            self._recent = unit.offset, {}
        known = self._recent[1]
        if offset not in known:
            known[offset] = dwarf.Entry(unit, offset)
        return known[offset]

    def _scope(self, entry: Entry) -> str | None:
        """The scope that a type is declared in; None for one of a function."""
        *_, declared = entry.origins()
        found = self.outline(declared.unit).get(declared.offset)
        return found.scope if found is not None else None

    # ------------------------------------------------------------------------------------ types

    def text(self, entry: Entry | None, depth: int = 0) -> str:
        """Canonical text of the type that an entry describes."""
        if entry is None:
            return VOID.text
        found = self._texts.get(entry.offset)
        if found is None:
            if depth > _DEPTH:
                raise DwarfError("types are nested too deep")
            found = self._text(entry, depth + 1)
            self._bound(len(found))
            self._texts[entry.offset] = found
        return found

    def _bound(self, length: int, limit: int = _MAX_TEXT) -> None:
        """Counts characters.

        Types without names are spelled out where they are used, and in each other: a short file can describe one
        whose text doubles with each level.
        """
        if length > limit:
            raise DwarfError(f"a type takes more than {limit} characters to describe")
        self.dwarf.spend(length // _TEXT)

    def _text(self, entry: Entry, depth: int) -> str:
        tag = entry.tag
        if tag == dwarf.TAG_TYPEDEF or tag in MODIFIERS:
            target = entry.resolved(dwarf.AT_TYPE)
            if tag == dwarf.TAG_TYPEDEF:
                self._christen(entry, target)
            return self.text(target, depth)
        if tag in POINTERS:
            return Pointer(self.text(entry.resolved(dwarf.AT_TYPE), depth), POINTERS[tag]).text
        if tag == dwarf.TAG_SUBROUTINE:
            return self._call(entry, depth)
        if tag in _NAMED:
            name = self.name(entry)
            if name:
                return name
        return self._shape_of(entry, depth).text

    def _christen(self, entry: Entry, target: Entry | None) -> None:
        """A struct without a tag is called by its typedef."""
        while target is not None and target.tag in MODIFIERS:
            target = target.resolved(dwarf.AT_TYPE)
        if target is not None and target.tag in _NAMED and target.offset not in self._typedefs and not target.name:
            self._typedefs[target.offset] = self._qualified(entry, "")

    def _qualified(self, entry: Entry, kind: str) -> str:
        scope = self._scope(entry)
        return f"{kind}{scope or ''}{entry.name}{_LOCAL if scope is None else ''}"

    def name(self, entry: Entry) -> str:
        """What a struct, union or enumeration is known by; empty when it has no name."""
        entry = _defined(entry)
        if entry.offset in self._typedefs:
            return self._typedefs[entry.offset]
        if not entry.name or entry.name.startswith("._"):  # a name that GCC made up for a type unit
            return ""
        kind = "enum " if entry.tag == dwarf.TAG_ENUMERATION else _kind(entry.tag)
        return self._qualified(entry, kind)

    def named(self, entry: Entry, name: str) -> Shape:
        """The type that an entry describes, when it is known that it goes by ``name``."""
        if not entry.name and name:
            self._typedefs.setdefault(entry.offset, name)
        return self.shape(entry)

    def shape(self, entry: Entry | None) -> Shape:
        """The type that an entry describes; a struct that is only declared has no size."""
        return self._shape_at(entry, 0)

    def _shape_at(self, entry: Entry | None, depth: int) -> Shape:
        if entry is None:
            return VOID
        found = self._shapes.get(entry.offset)
        if found is None:
            if depth > _DEPTH:
                raise DwarfError("types are nested too deep")
            found = self._shapes[entry.offset] = self._shape_of(entry, depth + 1)
        return found

    def _shape_of(self, entry: Entry, depth: int) -> Shape:
        tag = entry.tag
        if tag == dwarf.TAG_TYPEDEF or tag in MODIFIERS:
            target = entry.resolved(dwarf.AT_TYPE)
            if tag == dwarf.TAG_TYPEDEF:
                self._christen(entry, target)
            return self._shape_at(target, depth)
        size = _number(entry, dwarf.AT_BYTE_SIZE)
        if tag in POINTERS:
            to = self.text(entry.resolved(dwarf.AT_TYPE), depth)
            return Pointer(to, POINTERS[tag], size or (8 if tag == dwarf.TAG_PTR_TO_MEMBER and "(" in to else 4))
        if tag == dwarf.TAG_BASE:
            return Scalar(_KINDS.get(_number(entry, dwarf.AT_ENCODING), "raw"), size)
        if tag == dwarf.TAG_ARRAY:
            result = self._shape_at(entry.resolved(dwarf.AT_TYPE), depth)
            for count in reversed(counts(entry)):
                result = Array(result, count)
            return result
        if tag == dwarf.TAG_ENUMERATION:
            entry = _defined(entry)
            size = _number(entry, dwarf.AT_BYTE_SIZE)
            return Layout(self.name(entry), "enum", size, (), _values(entry, size))
        if tag in RECORDS:
            return self._record(_defined(entry), depth)
        if tag == dwarf.TAG_SUBROUTINE:
            return Scalar("raw", 0)
        return Scalar("raw", size)

    def _record(self, entry: Entry, depth: int) -> Shape:
        name, kind = self.name(entry), _kind(entry.tag).strip()
        if dwarf.AT_DECLARATION in entry.attributes:
            return Layout(name, kind, 0)
        fields: list[Field] = []
        virtuals: list[tuple[int, str]] = []
        for item in entry:
            if item.tag in (dwarf.TAG_MEMBER, dwarf.TAG_INHERITANCE):
                if not item.flag(dwarf.AT_EXTERNAL) and not item.flag(dwarf.AT_DECLARATION):
                    fields.append(self._field(item, depth))
            elif item.tag == dwarf.TAG_SUBPROGRAM and dwarf.AT_VTABLE_ELEMENT in item.attributes:
                number = _virtual(item)
                virtuals.append((number, f"{item.name}: {self.signature(item, depth)}"))
        fields.sort(key=lambda field: (field.offset, field.bits or 0, field.name))
        size = _number(entry, dwarf.AT_BYTE_SIZE)
        found = Layout(name, kind, size, tuple(fields), (), tuple(sorted(virtuals)))
        if found.parts > _PARTS:
            raise DwarfError(f"{name or kind} has more than {_PARTS} parts")
        length = sum(len(what) for _, what in virtuals)
        length += sum(len(field.name) + _length(field.type) for field in fields)
        self._bound(length, _MAX_BODY if name else _MAX_TEXT)
        return found

    def _field(self, item: Entry, depth: int) -> Field:
        type_ = self._shape_at(item.resolved(dwarf.AT_TYPE), depth)
        name = item.name
        if dwarf.AT_BIT_SIZE in item.attributes:
            offset, bits = bit_range(item, type_.size)
            return Field(name, offset, type_, bits)
        if item.tag == dwarf.TAG_INHERITANCE:
            name = f":{type_.text}"
        elif name.startswith("_vptr"):  # GCC calls it _vptr.A, clang _vptr$A
            name = "_vptr"
            type_ = Pointer("void")
        return Field(name, 8 * member_offset(item), type_)

    # -------------------------------------------------------------------------------- functions

    def signature(self, entry: Entry, depth: int = 0) -> str:
        """How a function is called: its result's and its parameters' types.

        A clone's own entry may lack parameters: those of what it is a clone of count.
        """
        *_, declared = entry.origins()
        return self._call(declared, depth)

    def _call(self, entry: Entry, depth: int) -> str:
        result = self.text(entry.resolved(dwarf.AT_TYPE), depth)
        parameters, open_, length = [], False, len(result)
        for item in entry:
            if item.tag == dwarf.TAG_PARAMETER:
                parameters.append(self.text(item.resolved(dwarf.AT_TYPE), depth))
                length += len(parameters[-1])
                if length > _MAX_TEXT:
                    break
            elif item.tag == dwarf.TAG_UNSPECIFIED:
                open_ = True
        self._bound(length)
        if open_ and parameters:  # `f()` without a prototype is called as `f(void)` is
            parameters.append("...")
        return f"{result}({', '.join(parameters) or 'void'})"

    def functions(self, unit: Unit) -> Iterator[FunctionEntry]:
        """The functions of a unit that have code, as far as it says how they are called: assemblers do not."""
        if unit.top.number(dwarf.AT_LANGUAGE) in _ASSEMBLY:
            return
        for item in self.outline(unit).values():
            if item.tag != dwarf.TAG_SUBPROGRAM:
                continue
            entry = self._entry(unit, item.offset)
            low = entry.attributes.get(dwarf.AT_LOW_PC)
            if low is None and dwarf.AT_RANGES not in entry.attributes:
                continue
            address = 0
            if low is not None and isinstance(low[1], int):
                address = low[1] if low[0] == dwarf.FORM_ADDR else self.dwarf.address(low[1], unit)
            yield FunctionEntry(_symbol(entry), address, entry)

    def declarations(self, unit: Unit) -> Iterator[tuple[str, Entry]]:
        """The functions with a prototype that a unit declares and does not define, by the names of their symbols."""
        for item in self.outline(unit).values():
            if item.tag == dwarf.TAG_SUBPROGRAM:
                entry = self._entry(unit, item.offset)
                if dwarf.AT_DECLARATION in entry.attributes and (
                    not _is_plain(unit) or entry.flag(dwarf.AT_PROTOTYPED)
                ):
                    yield _symbol(entry), entry

    def variables(self, unit: Unit) -> Iterator[tuple[str, Entry]]:
        """The variables outside of functions that a unit defines or declares, by the names of their symbols."""
        for item in self.outline(unit).values():
            if item.tag == dwarf.TAG_VARIABLE:
                entry = self._entry(unit, item.offset)
                yield _symbol(entry), entry

    def layouts(self, unit: Unit, functions: Iterable[FunctionEntry]) -> dict[str, Known]:
        """The structs, unions and enumerations that a unit knows, by name.

        GCC describes a class with virtual functions only where its table is, and declares it elsewhere, whatever is
        done with it there: so in C++ the declared ones are among them. Types in type units are known where they are
        used, so there the bodies of functions are read as well.
        """
        typed = (*_NAMED, dwarf.TAG_TYPEDEF, dwarf.TAG_VARIABLE)
        outline = self.outline(unit).values()
        roots = [self._entry(unit, item.offset) for item in outline if item.tag in typed]
        if unit.type is not None:
            return {}
        found, declared, _ = self.reach(roots)
        if self.dwarf.has_type_units:
            use = self.use([function.entry for function in functions])
            found, declared = use.layouts | found, use.declared | declared
        return found if _is_plain(unit) else declared | found

    def _is_own(self, entry: Entry) -> bool:
        """Whether a type is declared in the file that most functions of its unit are in."""
        unit, file = entry.unit, entry.number(dwarf.AT_DECL_FILE)
        usual = self._files.get(unit.offset)
        if usual is None:
            usual = self._files[unit.offset] = self._usual_file(unit)
        return file is not None and file == usual

    def _usual_file(self, unit: Unit) -> int:
        files: Counter[int] = Counter()
        for item in self.outline(unit).values():
            if item.tag == dwarf.TAG_SUBPROGRAM:
                entry = self._entry(unit, item.offset)
                file = entry.number(dwarf.AT_DECL_FILE)
                if file is not None and dwarf.AT_LOW_PC in entry.attributes:
                    files[file] += 1
        return files.most_common(1)[0][0] if files else -1

    def use(self, entries: Iterable[Entry], types: Iterable[Entry] = ()) -> Use:
        """What functions with these entries use, and whoever uses values of ``types``."""
        roots: list[Entry] = list(types)
        automatic: list[Instance] = []
        statics: list[Instance] = []
        todo = [(entry, entry.name) for entry in entries]
        seen: set[int] = set()
        while todo:
            entry, owner = todo.pop()
            if entry.offset in seen:
                continue
            seen.add(entry.offset)
            target = entry.resolved(dwarf.AT_TYPE)
            if target is not None:
                roots.append(target)
            todo += [(origin, owner) for origin in entry.origins() if origin.offset != entry.offset]
            for item in entry:
                if item.tag in (dwarf.TAG_LEXICAL_BLOCK, dwarf.TAG_INLINED):
                    todo.append((item, item.name if item.tag == dwarf.TAG_INLINED else owner))
                elif item.tag in (dwarf.TAG_PARAMETER, dwarf.TAG_VARIABLE):
                    target = item.resolved(dwarf.AT_TYPE)
                    if target is not None:
                        roots.append(target)
                        kept = statics if _is_static(item) else automatic
                        kept.append(Instance(item.name, self.shape(target), owner))
                elif item.tag in (dwarf.TAG_CALL_SITE, dwarf.TAG_GNU_CALL_SITE):
                    callee = item.reference(dwarf.AT_CALL_ORIGIN) or item.reference(dwarf.AT_ABSTRACT_ORIGIN)
                    if callee is not None:
                        *_, declared = callee.origins()
                        roots += _called(declared)
        layouts, named, pointed = self.reach(roots)
        return Use(layouts, named, automatic, statics, pointed)

    def reach(self, roots: Iterable[Entry]) -> tuple[dict[str, Known], dict[str, Known], set[str]]:
        """What types lead to: complete layouts and declared ones by name, and the texts of what pointers point to."""
        found: dict[str, Known] = {}
        declared: dict[str, Known] = {}
        pointed: set[str] = set()
        seen: set[int] = set()
        todo = list(roots)
        while todo:
            entry = todo.pop()
            if entry.offset in seen:
                continue
            seen.add(entry.offset)
            tag = entry.tag
            if tag in _NAMED:
                entry = _defined(entry)
                seen.add(entry.offset)
                shape = self.shape(entry)
                if not isinstance(shape, Layout):
                    continue
                if dwarf.AT_DECLARATION in entry.attributes:
                    declared.setdefault(shape.name, Known(shape, entry, own=False, complete=False))
                    continue
                if shape.name and not shape.name.endswith(_LOCAL):
                    found.setdefault(shape.name, Known(shape, entry, self._is_own(entry)))
                if shape.kind != "enum":
                    todo += [t for item in entry if (t := _typed(item)) is not None]
                continue
            if tag == dwarf.TAG_SUBROUTINE:
                todo += _called(entry)
                continue
            target = entry.resolved(dwarf.AT_TYPE)
            if tag == dwarf.TAG_TYPEDEF:
                self._christen(entry, target)
            elif tag in POINTERS:
                pointed.add(self.text(target))
            if target is not None:
                todo.append(target)
        return found, declared, pointed


def _is_plain(unit: Unit) -> bool:
    """Whether a unit is written in C, where nothing but functions has scopes in it."""
    return unit.top.number(dwarf.AT_LANGUAGE) in _PLAIN_C


def _symbol(entry: Entry) -> str:
    """What the symbol of a function or variable is called."""
    found = entry.find(dwarf.AT_LINKAGE_NAME) or entry.find(dwarf.AT_MIPS_LINKAGE_NAME)
    return entry.unit.dwarf.text(found[1], found[0].unit) if found is not None else entry.name


def _typed(item: Entry) -> Entry | None:
    """The type of a member that is a part of each value, or None."""
    if item.tag not in (dwarf.TAG_MEMBER, dwarf.TAG_INHERITANCE) or item.flag(dwarf.AT_EXTERNAL):
        return None
    return item.resolved(dwarf.AT_TYPE)


def _called(entry: Entry) -> list[Entry]:
    """The types that callers of a function or function type handle."""
    found = [entry.resolved(dwarf.AT_TYPE)]
    found += [item.resolved(dwarf.AT_TYPE) for item in entry if item.tag == dwarf.TAG_PARAMETER]
    return [item for item in found if item is not None]


def _is_static(item: Entry) -> bool:
    if item.tag == dwarf.TAG_PARAMETER:
        return False
    if item.flag(dwarf.AT_EXTERNAL) or item.flag(dwarf.AT_DECLARATION):
        return True
    found = item.find(dwarf.AT_LOCATION)
    code = found[1][1] if found is not None else b""
    first = code[0] if isinstance(code, bytes) and code else 0
    return first in (dwarf.OP_ADDR, dwarf.OP_ADDRX, dwarf.OP_GNU_ADDR_INDEX)


def _defined(entry: Entry) -> Entry:
    """The definition behind an entry that stands for a type unit's type (DWARF 5, 5.7.1)."""
    if dwarf.AT_SIGNATURE in entry.attributes and dwarf.AT_BYTE_SIZE not in entry.attributes:
        return entry.reference(dwarf.AT_SIGNATURE) or entry
    return entry


def _length(shape: Shape) -> int:
    """About how many characters a type's text has."""
    while isinstance(shape, Array):
        shape = shape.element
    if isinstance(shape, Layout):
        return len(shape.name) or len(shape.body)
    return len(shape.to) if isinstance(shape, Pointer) else 1


def _kind(tag: int) -> str:
    return "union " if tag == dwarf.TAG_UNION else "struct "


def _number(entry: Entry, attribute: int) -> int:
    found = entry.find(attribute)
    return found[1][1] if found is not None and isinstance(found[1][1], int) else 0


def _values(entry: Entry, size: int) -> tuple[tuple[str, int], ...]:
    """Enumerators as numbers without a sign: compilers choose forms that do not tell."""
    return tuple(sorted((name, value % (1 << 8 * min(size, 8))) for name, value in enumerators(entry)))


def _virtual(item: Entry) -> int:
    """Number in the table of virtual functions: ``DW_OP_constu n`` (DWARF 5, 5.7.8), or a plain number."""
    value = item.attributes[dwarf.AT_VTABLE_ELEMENT][1]
    if isinstance(value, int):
        return value
    if value[:1] == b"\x10":  # DW_OP_constu
        return dwarf.uleb(value, 1)[0]
    return value[0] - 0x30 if value and 0x30 <= value[0] < 0x50 else -1  # DW_OP_lit0 to DW_OP_lit31
