"""Expressions that name a variable or a part of it, and where it is.

::

    name                 a global variable, or the only static one of that name
    unit.c:name          a static variable of a compile unit; ``src/unit.c`` where the name alone is not enough
    function.name        a static variable of a function; ``unit.c:function.name``
    ....field[3].x       members and elements of any of these
"""

from __future__ import annotations

import difflib
import posixpath
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hotflash.errors import UsageError
from hotflash.types.dwarf import DebugInfo
from hotflash.types.model import Array, Bits, Pointer, Record, Type, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hotflash.elf.firmware import Firmware, Symbol
    from hotflash.elf.index import DebugVariable

_HEAD = re.compile(r"\s*(?:(?P<unit>[^:\[\]]+):)?(?P<name>[A-Za-z_$][\w$]*)")
_STEP = re.compile(r"\s*(?:\.\s*(?P<field>[A-Za-z_$][\w$]*)|\[\s*(?P<index>[^\]]*?)\s*\]|(?P<arrow>->))")


@dataclass(frozen=True)
class TypedVariable:
    """A variable, or a part of one, in the target's memory."""

    name: str
    """The expression that found it."""
    address: int
    """Of the first byte; for a bit-field of the first byte that holds any of its bits."""
    type: Type
    unit: str = ""
    """The compile unit it is defined in, as the compiler was given it; empty when nothing says."""

    @property
    def size(self) -> int:
        """Bytes to read or write."""
        return self.type.size


def variable(firmware: Firmware, expression: str) -> TypedVariable:
    """Find what an expression names.

    A symbol without debug information has the type of the words, or bytes, that the symbol table says it has.
    Raises :class:`UsageError` when nothing or more than one thing is meant.
    """
    exact = _symbol_only(firmware, expression)
    if exact is not None:
        return exact
    match = _HEAD.match(expression)
    if match is None:
        raise UsageError(
            f"cannot read {expression!r}", hint="name, unit.c:name or function.name, then .field and [index]"
        )
    unit, name = match["unit"], match["name"]
    unit = unit.strip() if unit else None
    steps = _steps(expression, match.end())
    info = DebugInfo.of(firmware)
    found = _choose(firmware, expression, info.find(name), unit)
    if found is None and steps and isinstance(steps[0], str):
        found = _choose(firmware, expression, info.find(steps[0], name), unit)
        if found is not None:
            steps = steps[1:]
    if found is not None:
        start = TypedVariable(expression, found.address or 0, info.type_of(found), found.unit)
    else:
        start = _untyped(firmware, expression, name, unit)
    for step in steps:
        start = _select(start, step)
    return start


def _steps(expression: str, at: int) -> list[str | int]:
    steps: list[str | int] = []
    while expression[at:].strip():
        match = _STEP.match(expression, at)
        if match is None:
            raise UsageError(f"cannot read {expression[at:].strip()!r} in {expression!r}", hint="use .field or [index]")
        if match["arrow"]:
            raise UsageError(
                f"{expression!r}: pointers are not followed", hint="read the pointer, then what it points to by name"
            )
        if match["field"]:
            steps.append(match["field"])
        else:
            try:
                steps.append(int(match["index"], 0))
            except ValueError:
                raise UsageError(f"{expression!r}: the index {match['index']!r} is not a whole number") from None
        at = match.end()
    return steps


def _select(start: TypedVariable, step: str | int) -> TypedVariable:
    type_ = start.type
    if isinstance(step, int):
        if isinstance(type_, Array):
            if not 0 <= step < type_.count:
                raise UsageError(f"{start.name}: index {step} is outside of {type_.name}, 0 to {type_.count - 1}")
            return replace(start, address=start.address + step * type_.element.size, type=type_.element)
        kind = "a pointer, which is not followed" if isinstance(type_, Pointer) else type_.name
        raise UsageError(f"{start.name}: [{step}] of {kind}: not an array")
    if not isinstance(type_, Record):
        kind = "an array; name an element first" if isinstance(type_, Array) else "not a struct or union"
        raise UsageError(f"{start.name}: .{step}: {type_.name} is {kind}")
    field = type_.field(step)
    if field is None:
        names = [member.name for member in type_.fields]
        close = difflib.get_close_matches(step, names, n=1)
        hint = f"did you mean .{close[0]}?" if close else f"fields: {', '.join(names)}"
        raise UsageError(f"{start.name}: {type_.name} has no field {step!r}", hint=hint)
    return replace(start, address=start.address + field.offset, type=field.type)


def _same_unit(asked: str, unit: str) -> bool:
    asked, unit = posixpath.normpath(asked), posixpath.normpath(unit)
    return asked == unit or unit.endswith(f"/{asked}") or asked.endswith(f"/{unit}")


def _choose(
    firmware: Firmware, expression: str, found: Sequence[DebugVariable], unit: str | None
) -> DebugVariable | None:
    if unit is not None:
        found = [item for item in found if _same_unit(unit, item.unit)]
    placed = {
        item.address: item for item in reversed(found) if item.address is not None and _placed(firmware, item.address)
    }
    if not placed:
        if found:
            first = found[0]
            why = "the compiler kept it out of memory" if first.address is None else "the linker removed it as unused"
            raise UsageError(f"{expression}: {first.name} of {first.unit} has no place in memory: {why}")
        return None
    candidates = list(placed.values())
    if unit is None and (globals_ := [item for item in candidates if item.external and not item.function]):
        candidates = globals_
    if len(candidates) > 1:
        places = ", ".join(
            sorted(f"{item.unit}:{f'{item.function}.' if item.function else ''}{item.name}" for item in candidates)
        )
        raise UsageError(f"{expression} is not clear: there are {len(candidates)}", hint=f"one of: {places}")
    return candidates[0]


def _placed(firmware: Firmware, address: int) -> bool:
    """Whether the firmware has memory there; the linker gives what it drops the address 0 or none."""
    return any(s.virtual <= address < s.virtual + s.memory for s in firmware.segments)


def _symbol_only(firmware: Firmware, expression: str) -> TypedVariable | None:
    """A symbol whose name is no expression of ours, such as ``calls.0``."""
    if re.fullmatch(r"[A-Za-z_$][\w$]*\.\d+", expression.strip()) is None:
        return None
    name = expression.strip()
    symbols = _locals(firmware, name)
    if len(symbols) != 1:
        raise UsageError(f"no symbol {name!r}" if not symbols else f"{len(symbols)} symbols are called {name!r}")
    return _as_words(expression, symbols[0])


def _locals(firmware: Firmware, name: str) -> list[Symbol]:
    return [symbol for symbol in firmware.named(name) if symbol.bind == "local"]


def _untyped(firmware: Firmware, expression: str, name: str, unit: str | None) -> TypedVariable:
    symbols = [symbol for symbol in _locals(firmware, name) if symbol.kind != "function"]
    if unit is not None:
        symbols = [symbol for symbol in symbols if _same_unit(unit, symbol.unit)]
    else:
        symbol = firmware.symbol(name)
        if symbol is not None and symbol.kind == "function":
            raise UsageError(
                f"{expression}: {name} is a function, at {symbol.address:#010x}", hint=f"{name}.x names its static x"
            )
        if symbol is not None and symbol.bind != "local":
            symbols = [symbol]
    if len(symbols) > 1:
        places = ", ".join(sorted({f"{symbol.unit}:{name}" for symbol in symbols}))
        raise UsageError(f"{expression} is not clear: there are {len(symbols)}", hint=f"one of: {places}")
    if not symbols:
        raise UsageError(f"no variable {name!r}{f' in {unit}' if unit else ''}", hint=_suggest(firmware, name))
    return _as_words(expression, symbols[0])


def _as_words(expression: str, symbol: Symbol) -> TypedVariable:
    # A label of the linker script has no size: a word is what people look for behind it.
    return TypedVariable(expression, symbol.address, raw(symbol.size or 4), symbol.unit)


def _suggest(firmware: Firmware, name: str) -> str:
    found = DebugInfo.of(firmware).find(name, "*")
    statics = [item for item in found if item.address is not None and _placed(firmware, item.address)]
    if statics:
        return "did you mean " + " or ".join(sorted({f"{item.function}.{item.name}" for item in statics})) + "?"
    names = sorted({symbol.name for symbol in firmware.variables if "." not in symbol.name})
    close = difflib.get_close_matches(name, names, n=3)
    return f"did you mean {' or '.join(close)}?" if close else "hotflash read --help says how variables are named"


def symbolizer(firmware: Firmware) -> Callable[[int], str | None]:
    """Return a function that names an address: ``work``, ``work+4``, ``table+12``, or None when nothing is there."""

    def symbolize(address: int) -> str | None:
        near = firmware.symbols_near(address & ~1) or firmware.object_near(address)
        if near is None:
            return None
        symbol, offset = near
        return f"{symbol.name}+{offset}" if offset else symbol.name

    return symbolize


def resolver(firmware: Firmware) -> Callable[[str], int | None]:
    """Return a function that finds what ``&name`` is worth; functions have their Thumb bit set."""

    def resolve(name: str) -> int | None:
        symbol = firmware.symbol(name)
        if symbol is not None and symbol.kind == "function":
            return symbol.value
        try:
            found = variable(firmware, name)
        except UsageError:
            return None
        return None if isinstance(found.type, Bits) else found.address

    return resolve
