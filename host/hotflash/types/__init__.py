"""Variables of the firmware by name, with their C types: where they are, how they read, how they are written.

::

    found = types.variable(firmware, "motor.c:state.speed[2]")
    text = types.format_value(found.type, device.read(found.address, found.size))
    data = types.parse_value(found.type, "1200")
"""

from hotflash.types.model import Array, Base, Bits, Enum, Field, Pointer, Record, Type
from hotflash.types.parse import parse_value
from hotflash.types.path import TypedVariable, resolver, symbolizer, variable
from hotflash.types.text import JsonValue, format_value, to_json

__all__ = [
    "Array",
    "Base",
    "Bits",
    "Enum",
    "Field",
    "JsonValue",
    "Pointer",
    "Record",
    "Type",
    "TypedVariable",
    "format_value",
    "parse_value",
    "resolver",
    "symbolizer",
    "to_json",
    "variable",
]
