"""Thread-local variables of a linked application (ELF Handling For Thread-Local Storage; AAELF32, 5.6.1.8).

The thread pointer points to a control block of 8 bytes; the variables follow, aligned as their segment wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hotflash.elf import format as elf

if TYPE_CHECKING:
    from hotflash.elf.format import Container

_PT_TLS = 7
_CONTROL_BLOCK = 8


class ThreadVariable(NamedTuple):
    """One thread-local variable."""

    offset: int
    """From the thread pointer, in bytes."""
    size: int
    head: int
    """Bytes between the thread pointer and the first variable."""


def head_size(align: int) -> int:
    """Bytes from the thread pointer to thread-local variables that are aligned to ``align``."""
    return -(-_CONTROL_BLOCK // align) * align


def thread_variables(container: Container) -> dict[tuple[str, str], ThreadVariable | None]:
    """All of a linked program: by unit (empty for global and weak ones) and name; None where that is ambiguous."""
    c = container
    align = 1
    for at in range(c.phoff, c.phoff + c.phnum * elf.PHDR.size, elf.PHDR.size):
        kind, *_, wanted = elf.PHDR.unpack_from(c.data, at)
        if kind == _PT_TLS and wanted and not wanted & (wanted - 1):
            align = wanted
    head = head_size(align)
    found: dict[tuple[str, str], ThreadVariable | None] = {}
    for symbol in elf.read_symbols(c, keep_sections=False):
        if symbol.kind == elf.STT_TLS and symbol.section != elf.SHN_UNDEF:
            key = symbol.unit, symbol.name
            variable = ThreadVariable(symbol.value + head, symbol.size, head)
            found[key] = None if key in found else variable
    return found
