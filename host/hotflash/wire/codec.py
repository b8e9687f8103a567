"""Little-endian primitives of the wire protocol, mirrored by ``bootloader/src/hf_codec.h``."""

from __future__ import annotations

import struct
from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any, ClassVar, NoReturn, dataclass_transform

from hotflash.errors import WireError


@dataclass_transform(frozen_default=True)
class Message:
    """Makes frozen dataclasses of its subclasses; all fields have defaults.

    They behave as with ``@dataclass(frozen=True)`` but share the methods that it would compile for each of them at
    every start of the tool: there are some sixty, and that took a seventh of a push from a cold shell.
    """

    _names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        dataclass(init=False, repr=False, eq=False)(cls)
        cls._names = tuple(field.name for field in fields(cls))  # type: ignore[arg-type]  # it is one now

    def __init__(self, *values: Any, **named: Any) -> None:
        names = self._names
        if len(values) > len(names):
            raise TypeError(f"{self.__class__.__name__} has {len(names)} fields, not {len(values)}")
        own = self.__dict__  # the class has the defaults
        own.update(zip(names, values, strict=False))
        for name, value in named.items():
            if name in own or name not in names:
                raise TypeError(
                    f"{self.__class__.__name__}: {'two values for' if name in own else 'no'} field {name!r}"
                )
            own[name] = value

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self._names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message) or other.__class__ is not self.__class__:
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in zip(self._names, self._values(), strict=True))
        return f"{self.__class__.__name__}({', '.join(shown)})"


class Writer:
    """Builds a message field by field."""

    def __init__(self) -> None:
        self.data = bytearray()

    def u8(self, value: int) -> None:
        """One byte, 0 to 255."""
        self.data.append(value)

    def u16(self, value: int) -> None:
        """Two bytes."""
        self.data += value.to_bytes(2, "little")

    def u32(self, value: int) -> None:
        """Four bytes."""
        self.data += value.to_bytes(4, "little")

    def u64(self, value: int) -> None:
        """Eight bytes."""
        self.data += value.to_bytes(8, "little")

    def uv(self, value: int) -> None:
        """ULEB128 (DWARF 5, 7.6), 0 to 2**32 - 1, one to five bytes."""
        if not 0 <= value < 1 << 32:
            raise ValueError(f"{value} does not fit a 32-bit variable-length field")
        while value > 0x7F:
            self.data.append(value & 0x7F | 0x80)
            value >>= 7
        self.data.append(value)

    def id20(self, value: bytes) -> None:
        """Twenty raw bytes."""
        if len(value) != 20:
            raise ValueError(f"an id has 20 bytes, not {len(value)}")
        self.data += value

    def text(self, value: str) -> None:
        """Length and UTF-8."""
        raw = value.encode()
        self.uv(len(raw))
        self.data += raw

    def raw(self, value: bytes) -> None:
        """Bytes to the message's end."""
        self.data += value


class Reader:
    """Takes a message apart; a message that is too short raises :class:`WireError`."""

    def __init__(self, data: bytes | memoryview, at: int = 0) -> None:
        self._data = bytes(data)
        self._at = at

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise WireError("the device's message is shorter than its layout says")
        part = self._data[self._at : end]
        self._at = end
        return part

    def u8(self) -> int:
        """One byte."""
        return self._take(1)[0]

    def u16(self) -> int:
        """Two bytes."""
        return int.from_bytes(self._take(2), "little")

    def u32(self) -> int:
        """Four bytes."""
        return int(struct.unpack("<I", self._take(4))[0])

    def u64(self) -> int:
        """Eight bytes."""
        return int.from_bytes(self._take(8), "little")

    def uv(self) -> int:
        """ULEB128 of at most 32 bits."""
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 28:
                raise WireError("a variable-length number of the device has more than five bytes")
        if value >= 1 << 32:
            raise WireError("a variable-length number of the device has more than 32 bits")
        return value

    def count(self) -> int:
        """The number of records that follow; each has at least one byte."""
        value = self.uv()
        if value > len(self._data) - self._at:
            raise WireError("the device announces more records than its message can hold")
        return value

    def id20(self) -> bytes:
        """Twenty raw bytes."""
        return self._take(20)

    def text(self) -> str:
        """Length and UTF-8."""
        return self._take(self.uv()).decode("utf-8", "replace")

    def rest(self) -> bytes:
        """All that is left."""
        return self._take(len(self._data) - self._at)
