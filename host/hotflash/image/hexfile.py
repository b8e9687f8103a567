"""Exports an image for other programmers: Intel HEX or plain binary, through the intelhex package.

An export carries the valid mark, since no device writes it. With the bootloader in the same file a board is
programmed for the first time with OpenOCD or a vendor's tool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hotflash.elf import format as elf
from hotflash.errors import ElfError, FitError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from hotflash.board import Board
    from hotflash.image.builder import Image

FORMATS: Final = ("hex", "bin")


def bootloader_pieces(path: Path, board: Board) -> list[tuple[int, bytes]]:
    """Return the bootloader's bytes by address, from ``boot.elf`` or a binary that starts at HF_BOOT.

    Raises :class:`ElfError` for a broken ELF, :class:`FitError` when it reaches out of HF_BOOT.
    """
    boot = board.regions["HF_BOOT"]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the bootloader {path}: {error.strerror or error}") from None
    pieces = _elf_pieces(data, path) if data[:4] == b"\x7fELF" else [(boot.origin, data)]
    if not any(piece for _, piece in pieces):
        raise ElfError(f"{path}: nothing to program")
    for address, piece in pieces:
        if not boot.holds(address, len(piece)):
            raise FitError(
                f"{path}: {len(piece)} bytes at {address:#010x} are outside of HF_BOOT of {board.name} "
                f"({boot.origin:#010x} to {boot.end:#010x})"
            )
    return pieces


def _elf_pieces(data: bytes, path: Path) -> list[tuple[int, bytes]]:
    container = elf.open_container(data, str(path), (elf.ET_EXEC,))
    end = container.phoff + container.phnum * elf.PHDR.size
    if container.phnum == 0 or container.phentsize != elf.PHDR.size or end > len(data):
        raise container.fail("has no usable program headers")
    segments = [p for p in elf.PHDR.iter_unpack(data[container.phoff : end]) if p[0] == elf.PT_LOAD]
    pieces = []
    for section in container.sections:
        if not section.alloc or not section.data:
            continue
        for _, _, virtual, physical, size, *_ in segments:
            if virtual <= section.address and section.address + section.size <= virtual + size:
                pieces.append((physical + section.address - virtual, section.data))
                break
    return sorted(pieces)


def export(
    image: Image, board: Board, output: Path, *, file_format: str | None = None, with_bootloader: Path | None = None
) -> int:
    """Write ``image``, with the valid mark set, to ``output``; return the number of bytes it programs.

    ``file_format`` is ``hex`` or ``bin``; None goes by the name's ending. ``with_bootloader`` is the bootloader's
    ``boot.elf`` or binary. A ``bin`` starts at HF_BOOT when it has the bootloader, else at HF_APP, gaps 0xFF.
    Raises :class:`UsageError` for another format or a file that cannot be written.
    """
    from intelhex import IntelHex

    suffix = output.suffix.lower().lstrip(".")
    chosen = file_format or {"ihex": "hex", "ihx": "hex"}.get(suffix, suffix)
    if chosen not in FORMATS:
        raise UsageError(
            f"{output}: {f'format {chosen!r} is' if chosen else 'no ending that tells the format;'} not known",
            hint=f"name it *.hex or *.bin, or choose the format: {', '.join(FORMATS)}",
        )
    content = IntelHex()
    content.padding = 0xFF
    pieces = [(image.base, image.marked)]
    if with_bootloader is not None:
        pieces += bootloader_pieces(with_bootloader, board)
    for address, piece in pieces:
        content.puts(address, piece)
    try:
        if chosen == "hex":
            content.write_hex_file(str(output))
        else:
            start = board.regions["HF_BOOT"].origin if with_bootloader is not None else image.base
            content.tobinfile(str(output), start=start)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror or error}") from None
    return len(content)
