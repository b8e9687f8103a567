"""Boards: a folder with ``board.toml`` (facts for the host), ``memory.ld`` (the memory map) and ``board.c``.

A board is named by its folder's name, looked up in the folders of the setting ``board_path`` and then among
those that come with hotflash, or by the folder's path. docs/BOARDS.md says what each key means.
"""

from __future__ import annotations

import difflib
import itertools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from hotflash import sdk
from hotflash.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ARCHS: Final = ("armv6m", "armv7m", "armv8m")
WATCHDOGS: Final = ("none", "reset", "nmi")
"""What the bootloader's watchdog does about masked interrupts: an NMI leads into the monitor."""
LACKS: Final = ("mpu", "vtor", "fpu", "break", "watchdog", "flash")
"""What a board may say that it lacks."""
REGIONS: Final = ("HF_BOOT", "HF_APP", "HF_HOOKS", "HF_MONITOR", "HF_DATA", "HF_HEAP", "HF_RAM")
"""Memory regions that every board's ``memory.ld`` has."""
ALIASES: Final = {"FLASH": "HF_APP", "RAM": "HF_RAM"}
"""Aliases that applications' linker scripts use, and the region that each must name."""
SERVICES_OFFSET: Final = 0x400
"""The services table, from the start of HF_BOOT (docs/SPEC.md, Services)."""

_SYSTEM_VECTORS = 16  # initial SP and 15 exceptions: ARMv7-M ARM B1.5.2, table B1-4
_MAX_IRQ = 495  # ARMv7-M ARM B1.5.2: up to 496 external interrupts


@dataclass(frozen=True)
class Region:
    """One region of a memory map."""

    name: str
    attributes: str
    origin: int
    """First byte."""
    length: int
    """Bytes."""

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.origin + self.length

    def holds(self, address: int, length: int = 1) -> bool:
        """Whether all of ``length`` bytes from ``address`` are inside."""
        return self.origin <= address and address + length <= self.end


@dataclass(frozen=True)
class Qemu:
    """How QEMU emulates a board."""

    machine: str
    """Value of ``-machine``."""
    serial: int
    """Which ``-serial`` is the monitor's UART, counted from 0."""
    args: tuple[str, ...] = ()
    """More arguments."""


@dataclass(frozen=True)
class Board:
    """The facts of a board."""

    path: Path
    """The board's folder, absolute."""
    name: str
    """As the folder's name, and as the bootloader says in HELLO."""
    title: str
    """For people."""
    arch: str
    """One of :data:`ARCHS`."""
    cpu: str
    """As for GCC's ``-mcpu``."""
    cflags: tuple[str, ...]
    """Compiler flags of core and ABI."""
    vectors: int
    """Words of the vector table that the part has."""
    baud: int
    """The monitor's UART rate, bits per second."""
    lacks: frozenset[str]
    """What the board does not have, of :data:`LACKS`."""
    rx_irq: int
    """External interrupt number of UART receive."""
    tx_irq: int
    """Of UART transmit; may be the same."""
    soft_irq: int
    """Of the interrupt that the monitor pends by software."""
    tick_irq: int | None
    """Of the periodic timer's; None: the board has none, so no trials."""
    watchdog: str
    """One of :data:`WATCHDOGS`."""
    execute_ram: bool
    """Whether an MPU leaves all memory executable, for applications with code in RAM."""
    regions: Mapping[str, Region]
    """The memory map, by region name; aliases included."""
    qemu: Qemu | None
    """None: no emulation known."""

    @classmethod
    def find(cls, name_or_path: str | Path, board_path: Iterable[str | Path] = ()) -> Board:
        """Return the board of that name or in that folder.

        ``board_path`` are folders of board folders that are searched before hotflash's own. Raises
        :class:`UsageError` when there is none, or when its files are not right.
        """
        text = str(name_or_path)
        if not text:
            raise UsageError("no board named", hint=f"boards: {', '.join(board_names(board_path)) or 'none'}")
        given = Path(name_or_path).expanduser()
        if given.name == "board.toml" and given.is_file():
            given = given.parent
        if (given / "board.toml").is_file():
            return cls.load(given)
        if "/" in text:
            raise UsageError(
                f"{text} is not a board: it has no board.toml",
                hint="a board is a folder with board.toml, memory.ld and board.c; see docs/BOARDS.md",
            )
        for parent in _search(board_path):
            if (parent / text / "board.toml").is_file():
                return cls.load(parent / text)
        names = board_names(board_path)
        close = difflib.get_close_matches(text, names, n=1)
        known = f"boards: {', '.join(names) or 'none'}; another one is named by its folder's path or by board_path"
        raise UsageError(f"no board {text!r}", hint=f"did you mean {close[0]!r}? {known}" if close else known)

    @classmethod
    def load(cls, folder: str | Path) -> Board:
        """Read the board in ``folder``; :class:`UsageError` names the file and the key that is wrong."""
        path = Path(folder).expanduser().resolve()
        file = path / "board.toml"
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{file}: {error}") from error
        table = _Table(file, "", data)
        irq = table.table("irq")
        qemu_table = table.optional_table("qemu")
        qemu = None
        if qemu_table is not None:
            qemu = Qemu(
                machine=qemu_table.text("machine"),
                serial=qemu_table.number("serial", 0, 7, default=0),
                args=qemu_table.texts("args", default=()),
            )
            qemu_table.done()
        board = cls(
            path=path,
            name=table.text("name"),
            title=table.text("title"),
            arch=table.choice("arch", ARCHS),
            cpu=table.text("cpu"),
            cflags=table.texts("cflags"),
            vectors=table.number("vectors", _SYSTEM_VECTORS + 1, _SYSTEM_VECTORS + _MAX_IRQ + 1),
            baud=table.number("baud", 300, 12_000_000),
            lacks=frozenset(table.choices("lacks", LACKS, default=())),
            rx_irq=irq.number("rx", 0, _MAX_IRQ),
            tx_irq=irq.number("tx", 0, _MAX_IRQ),
            soft_irq=irq.number("soft", 0, _MAX_IRQ),
            tick_irq=irq.optional_number("tick", 0, _MAX_IRQ),
            watchdog=table.choice("watchdog", WATCHDOGS, default="none"),
            execute_ram=table.flag("execute_ram"),
            regions=read_memory_map(path / "memory.ld"),
            qemu=qemu,
        )
        irq.done()
        table.done()
        board._check(file)
        return board

    def _check(self, file: Path) -> None:
        if self.name != self.path.name:
            raise UsageError(
                f"{file}: name is {self.name!r} but the folder is called {self.path.name!r}",
                hint="give both the same name; hf_board.name in board.c is the third",
            )
        numbers = {"rx": self.rx_irq, "tx": self.tx_irq, "soft": self.soft_irq, "tick": self.tick_irq}
        for key, irq in numbers.items():
            if irq is None:
                continue
            if _SYSTEM_VECTORS + irq >= self.vectors:
                raise UsageError(
                    f"{file}: irq.{key} = {irq} is outside of the vector table, "
                    f"which has {self.vectors} words ({_SYSTEM_VECTORS} + interrupts)"
                )
        if self.soft_irq in (self.rx_irq, self.tx_irq):
            raise UsageError(f"{file}: irq.soft = {self.soft_irq} is the UART's; it must be one that nothing uses")
        memory = self.path / "memory.ld"
        for name in REGIONS:
            if name not in self.regions:
                raise UsageError(f"{memory}: no region {name}", hint=f"a board has {', '.join(REGIONS)}")
        for alias, name in ALIASES.items():
            region = self.regions.get(alias)
            if region is None or region.origin != self.regions[name].origin:
                raise UsageError(f"{memory}: {alias} is not {name}", hint=f'add REGION_ALIAS("{alias}", {name})')
        ordered = sorted((self.regions[name] for name in REGIONS), key=lambda region: region.origin)
        for low, high in itertools.pairwise(ordered):
            if low.end > high.origin:
                raise UsageError(
                    f"{memory}: {low.name} ({low.origin:#010x} to {low.end:#010x}) overlaps {high.name} "
                    f"({high.origin:#010x} to {high.end:#010x})"
                )
        # VTOR takes addresses that are multiples of the table's size rounded up to a power of two, 128
        # bytes at least (ARMv7-M ARM B3.2.5).
        align = max(128, 1 << (self.vectors * 4 - 1).bit_length())
        if "vtor" not in self.lacks and self.regions["HF_APP"].origin % align:
            raise UsageError(
                f"{memory}: HF_APP starts at {self.regions['HF_APP'].origin:#010x}; a vector table of "
                f"{self.vectors} words has to be aligned to {align} bytes"
            )
        if "mpu" not in self.lacks and self.arch != "armv8m":  # ARMv8-M regions have bounds instead
            self._check_protection(memory)

    def _check_protection(self, memory: Path) -> None:
        """Each protected range gets one MPU region, which must hold nothing else."""
        heap, hooks = self.regions["HF_HEAP"], self.regions["HF_HOOKS"]
        if heap.length & (heap.length - 1) or heap.origin % heap.length:
            raise UsageError(
                f"{memory}: HF_HEAP ({heap.length} bytes at {heap.origin:#010x}) does not fit one MPU region",
                hint="make its size a power of two and align it to that",
            )
        boot, app = self.regions["HF_BOOT"], self.regions["HF_APP"]
        if boot.origin > app.origin:
            raise UsageError(
                f"{memory}: HF_BOOT lies behind HF_APP; one MPU region from the first to the other is needed"
            )
        flash = Region("HF_BOOT and HF_APP", "", boot.origin, app.end - boot.origin)
        for part, own in ((hooks, ("HF_HOOKS",)), (flash, ("HF_BOOT", "HF_APP"))):
            covered = mpu_cover(part.origin, part.length)
            for name in REGIONS:
                other = self.regions[name]
                if name not in own and covered.origin < other.end and other.origin < covered.end:
                    raise UsageError(
                        f"{memory}: the MPU region that {part.name} needs ({covered.origin:#010x} to "
                        f"{covered.end:#010x}) would make {name} read-only as well",
                        hint=f"move {name}, or align {part.name}: a region is a power of two, or some eighths of it",
                    )

    @property
    def services(self) -> int:
        """Address of the bootloader's services (docs/SPEC.md, Services)."""
        return self.regions["HF_BOOT"].origin + SERVICES_OFFSET


def mpu_cover(first: int, length: int) -> Region:
    """What the smallest PMSAv7 region around a range covers, in whole eighths (ARMv7-M ARM B3.5.8 and B3.5.9).

    The bootloader computes the same (``cover`` in ``bootloader/arch/armv7m/mpu.c``). ``length`` is at least 1.
    """
    last = first + length - 1
    bits = max(5, (first ^ last).bit_length())
    eighth = 1 << (bits - 3)
    low, high = first // eighth * eighth, (last // eighth + 1) * eighth
    if bits < 8:  # no eighths below 256 bytes
        low, high = first >> bits << bits, (first >> bits << bits) + (1 << bits)
    return Region("", "", low, high - low)


def board_names(board_path: Iterable[str | Path] = ()) -> list[str]:
    """Return the names of all boards that :meth:`Board.find` finds by name, sorted."""
    names = set()
    for parent in _search(board_path):
        if parent.is_dir():
            names |= {folder.name for folder in parent.iterdir() if (folder / "board.toml").is_file()}
    return sorted(names)


def _search(board_path: Iterable[str | Path]) -> list[Path]:
    return [*(Path(folder).expanduser() for folder in board_path), sdk.boards_dir()]


class _Table:
    """A TOML table whose keys are all checked: each getter marks its key as known."""

    def __init__(self, file: Path, prefix: str, data: dict[str, Any]) -> None:
        self._file = file
        self._prefix = prefix
        self._data = data
        self._known: set[str] = set()

    def _error(self, key: str, message: str, hint: str | None = None) -> UsageError:
        return UsageError(f"{self._file}: {self._prefix}{key}: {message}", hint=hint)

    def _get(self, key: str, kind: type, what: str, default: Any = None) -> Any:
        self._known.add(key)
        if key not in self._data:
            if default is None:
                raise self._error(key, f"missing; {what} is needed")
            return default
        value = self._data[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self._error(key, f"{value!r} is not {what}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value: str = self._get(key, str, "a text", default)
        if not value:
            raise self._error(key, "empty")
        return value

    def number(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value: int = self._get(key, int, f"a whole number from {low} to {high}", default)
        if not low <= value <= high:
            raise self._error(key, f"{value} is not a whole number from {low} to {high}")
        return value

    def optional_number(self, key: str, low: int, high: int) -> int | None:
        if key not in self._data:
            self._known.add(key)
            return None
        return self.number(key, low, high)

    def flag(self, key: str) -> bool:
        """True or false; false when it is not there."""
        value: bool = self._get(key, bool, "true or false", default=False)
        return value

    def texts(self, key: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        value = self._get(key, list, "a list of texts", None if default is None else list(default))
        for item in value:
            if not isinstance(item, str):
                raise self._error(key, f"{item!r} is not a text")
        return tuple(value)

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        return self._one_of(key, self.text(key, default), choices)

    def choices(self, key: str, choices: Sequence[str], default: Sequence[str]) -> list[str]:
        return [self._one_of(key, value, choices) for value in self.texts(key, default)]

    def _one_of(self, key: str, value: str, choices: Sequence[str]) -> str:
        if value not in choices:
            raise self._error(key, f"{value!r} is not one of {', '.join(choices)}")
        return value

    def table(self, key: str) -> _Table:
        value = self._get(key, dict, f"a table [{self._prefix}{key}]")
        return _Table(self._file, f"{self._prefix}{key}.", value)

    def optional_table(self, key: str) -> _Table | None:
        if key not in self._data:
            self._known.add(key)
            return None
        return self.table(key)

    def done(self) -> None:
        """Refuse the keys that nobody asked for."""
        for key in self._data:
            if key not in self._known:
                close = difflib.get_close_matches(key, sorted(self._known), n=1)
                raise self._error(
                    key, "no such key", f"did you mean {close[0]!r}?" if close else f"keys: {', '.join(self._known)}"
                )


# ------------------------------------------------------------------------------------------ memory.ld

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_MEMORY = re.compile(r"\bMEMORY\s*\{([^}]*)\}")
_REGION = re.compile(
    r"\s*([A-Za-z_.][\w.]*)\s*(?:\(([^)]*)\))?\s*:\s*(?:ORIGIN|org|o)\s*=\s*(.*?)\s*,?\s*\b(?:LENGTH|len|l)\s*=\s*"
    r"(.*?)\s*(?=[A-Za-z_.][\w.]*\s*(?:\([^)]*\))?\s*:|\Z)",
    re.DOTALL,
)
_ALIAS = re.compile(r'\bREGION_ALIAS\s*\(\s*"?([\w.]+)"?\s*,\s*"?([\w.]+)"?\s*\)')
_TOKEN = re.compile(r"\s*(?:(0[xX][0-9a-fA-F]+|\d+)([kKmM])?\b|(ORIGIN|LENGTH)\s*\(\s*([\w.]+)\s*\)|([-+*/()]))")


def read_memory_map(file: Path) -> Mapping[str, Region]:
    """Read the regions and aliases of a linker script's MEMORY block.

    Numbers are decimal, octal (leading 0) or hexadecimal with the suffixes K and M; ``+ - * /``, parentheses,
    ``ORIGIN(region)`` and ``LENGTH(region)`` of earlier regions are understood, as GNU ld does.
    Raises :class:`UsageError`.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    text = _COMMENT.sub(" ", text)
    block = _MEMORY.search(text)
    if block is None:
        raise UsageError(f"{file}: no MEMORY block")
    regions: dict[str, Region] = {}
    body, at = block[1], 0
    while body[at:].strip():
        match = _REGION.match(body, at)
        if match is None:
            raise UsageError(
                f"{file}: cannot read {' '.join(body[at:].split())[:60]!r} in the MEMORY block",
                hint="expected: NAME (rx) : ORIGIN = 0x..., LENGTH = ...K",
            )
        name, attributes, origin, length = match.groups()
        if name in regions:
            raise UsageError(f"{file}: region {name} is there twice")
        region = Region(
            name,
            (attributes or "").strip(),
            _Expression(file, name, origin, regions).value(),
            _Expression(file, name, length, regions).value(),
        )
        if region.length <= 0 or region.origin < 0 or region.end > 1 << 32:
            raise UsageError(f"{file}: region {name} is empty or reaches outside of the 32-bit address space")
        regions[name] = region
        at = match.end()
    for alias, name in _ALIAS.findall(text):
        if name not in regions:
            raise UsageError(f"{file}: REGION_ALIAS({alias}, {name}): no region {name}")
        regions[alias] = regions[name]
    return MappingProxyType(regions)


class _Expression:
    """Evaluates a linker script's constant expression by precedence climbing over its tokens."""

    def __init__(self, file: Path, region: str, text: str, regions: Mapping[str, Region]) -> None:
        self._where = f"{file}: region {region}"
        self._text = text
        self._tokens: list[int | str] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._error()
            number, suffix, function, operand, sign = match.groups()
            if number is not None:
                octal = len(number) > 1 and number[0] == "0" and number[1] not in "xX"
                try:
                    value = int(number, 8 if octal else 0)
                except ValueError:
                    raise self._error() from None
                self._tokens.append(value << {"k": 10, "m": 20, "": 0}[(suffix or "").lower()])
            elif function is not None:
                if operand not in regions:
                    raise UsageError(f"{self._where}: {function}({operand}): no such region before it")
                region_ = regions[operand]
                self._tokens.append(region_.origin if function == "ORIGIN" else region_.length)
            else:
                self._tokens.append(sign)
            at = match.end()
        self._tokens.reverse()

    def _error(self) -> UsageError:
        return UsageError(
            f"{self._where}: cannot compute {self._text.strip()!r}",
            hint="numbers (0x..., K, M), + - * / ( ), ORIGIN(region) and LENGTH(region) are understood",
        )

    def value(self) -> int:
        result = self._sum()
        if self._tokens:
            raise self._error()
        return result

    def _sum(self) -> int:
        result = self._product()
        while self._tokens and self._tokens[-1] in ("+", "-"):
            result += self._product() if self._tokens.pop() == "+" else -self._product()
        return result

    def _product(self) -> int:
        result = self._primary()
        while self._tokens and self._tokens[-1] in ("*", "/"):
            sign, right = self._tokens.pop(), self._primary()
            if sign == "/" and right == 0:
                raise self._error()
            result = result * right if sign == "*" else result // right
        return result

    def _primary(self) -> int:
        if not self._tokens:
            raise self._error()
        token = self._tokens.pop()
        if isinstance(token, int):
            return token
        if token == "-":  # noqa: S105 - a minus sign
            return -self._primary()
        if token == "(":  # noqa: S105 - a parenthesis
            result = self._sum()
            if not self._tokens or self._tokens.pop() != ")":
                raise self._error()
            return result
        raise self._error()
