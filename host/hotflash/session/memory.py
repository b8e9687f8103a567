"""Reading and writing the target's memory, by variable or by address."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hotflash.errors import UsageError
from hotflash.session.results import ReadReport, WriteReport

if TYPE_CHECKING:
    from hotflash.session.core import Session

MAX_LENGTH = 1 << 20
"""Most bytes that one read asks for; larger requests are typing mistakes more often than not."""
_LINE = 16
_WIDTHS = (0, 1, 2, 4)


def parse_address(text: str) -> int | None:
    """An address that was given as a number (0x..., decimal), None for anything else."""
    if not re.fullmatch(r"0[xX][0-9a-fA-F_]+|\d[\d_]*", text):
        return None
    try:
        address = int(text, 0)
    except ValueError:
        raise UsageError(f"{text}: not an address", hint="hexadecimal addresses start with 0x") from None
    if address >= 1 << 32:
        raise UsageError(f"{text}: addresses have 32 bits")
    return address


def hex_dump(address: int, data: bytes, width: int = 1) -> str:
    """Lines of 16 bytes with their addresses; ``width`` groups bytes into little-endian numbers."""
    lines = []
    width = width or 1
    for offset in range(0, len(data), _LINE):
        part = data[offset : offset + _LINE]
        cells = [
            f"{int.from_bytes(part[at : at + width], 'little'):0{2 * width}x}" for at in range(0, len(part), width)
        ]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        columns = _LINE // width * (2 * width + 1) - 1
        lines.append(f"{address + offset:#010x}  {' '.join(cells):<{columns}}  |{text}|")
    return "\n".join(lines)


def _check_span(address: int, length: int, width: int) -> None:
    if width not in _WIDTHS:
        raise UsageError(f"a width of {width} bytes: 1, 2 or 4 are possible")
    if not 1 <= length <= MAX_LENGTH:
        raise UsageError(f"{length} bytes: 1 to {MAX_LENGTH} are possible")
    if address + length > 1 << 32:
        raise UsageError(f"{length} bytes from {address:#010x} reach beyond the end of memory")
    if width and (address % width or length % width):
        raise UsageError(f"{length} bytes at {address:#010x} are not aligned to accesses of {width}")


def read(
    session: Session, what: str, *, length: int | None, count: int | None, width: int, peripheral: bool
) -> ReadReport:
    """See :meth:`Session.read`."""
    if length is not None and count is not None:
        raise UsageError("--length and --count exclude each other")
    address = parse_address(what)
    if address is not None:
        step = width or 4
        size = length if length is not None else step * (count if count is not None else 1)
        _check_span(address, size, width)
        data = session.device.read(address, size, width=width, peripheral=peripheral)
        numbers = [int.from_bytes(data[at : at + step], "little") for at in range(0, len(data), step)]
        if length is None:
            text = " ".join(f"{number:#0{2 + 2 * step}x}" for number in numbers)
            text = text if len(numbers) == 1 else hex_dump(address, data, step)
        else:
            text = hex_dump(address, data, width)
        value = numbers[0] if length is None and count is None else data.hex() if length is not None else numbers
        return ReadReport(what, address, size, "", data, text, value)

    from hotflash import types

    variable = types.variable(session.firmware, what)
    if length is not None or width or count is not None:
        step = width or 1
        size = length if length is not None else step * count if count is not None else variable.type.size
        _check_span(variable.address, size, width)
        data = session.device.read(variable.address, size, width=width, peripheral=peripheral)
        return ReadReport(what, variable.address, size, "", data, hex_dump(variable.address, data, width), data.hex())
    size = variable.type.size
    _check_span(variable.address, size, 0)
    data = session.device.read(variable.address, size, width=_natural(variable.address, size), peripheral=peripheral)
    return ReadReport(
        name=what,
        address=variable.address,
        length=size,
        type=str(variable.type),
        data=data,
        text=types.format_value(variable.type, data, types.symbolizer(session.firmware)),
        value=types.to_json(variable.type, data),
    )


def _natural(address: int, size: int) -> int:
    # One access for what fits one, so that a value that the application changes is never read half old, half new.
    return size if size in (1, 2, 4) and address % size == 0 else 0


def write(session: Session, what: str, value: str, *, width: int, peripheral: bool) -> WriteReport:
    """See :meth:`Session.write`."""
    address = parse_address(what)
    if address is not None:
        step = width or 4
        _check_span(address, step, step)
        try:
            number = int(value, 0)
        except ValueError:
            raise UsageError(
                f"{value}: an address takes a number", hint="name a variable to write as its type"
            ) from None
        if not -(1 << (8 * step - 1)) <= number < 1 << 8 * step:
            raise UsageError(f"{value} does not fit {step} bytes", hint="--width says how many")
        data = (number & ((1 << 8 * step) - 1)).to_bytes(step, "little")
        old = session.device.read(address, step, width=step, peripheral=peripheral)
        session.device.write(address, data, width=step, peripheral=peripheral)
        digits = 2 + 2 * step
        return WriteReport(
            what,
            address,
            "",
            f"{int.from_bytes(old, 'little'):#0{digits}x}",
            f"{int.from_bytes(data, 'little'):#0{digits}x}",
        )
    if width:
        raise UsageError("--width goes with an address; a variable has the width of its type")

    from hotflash import types

    firmware = session.firmware
    variable = types.variable(firmware, what)
    size = variable.type.size
    _check_span(variable.address, size, 0)
    natural = _natural(variable.address, size)
    old = session.device.read(variable.address, size, width=natural, peripheral=peripheral)
    data = types.parse_value(variable.type, value, old, name=what, resolve=types.resolver(firmware))
    symbolize = types.symbolizer(firmware)
    session.device.write(variable.address, data, width=natural, peripheral=peripheral)
    return WriteReport(
        name=what,
        address=variable.address,
        type=str(variable.type),
        old=types.format_value(variable.type, old, symbolize),
        new=types.format_value(variable.type, data, symbolize),
    )
