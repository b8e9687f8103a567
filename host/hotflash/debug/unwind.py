"""Walks a stack: from the registers of a core that stands still back to where everything began.

Each step asks the call frame information of the code at hand. Two things it does not know: a patch point, an entry
stub and a veneer are left as a function is entered; and an exception handler's return address is EXC_RETURN
(ARMv7-M ARM B1.5.8), behind which the registers that the core stacked lie (B1.5.6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotflash.debug.cfi import AT_ENTRY, LR, PC, SP
from hotflash.errors import HotflashError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotflash.debug.cfi import Row, Rule

MOST = 64
"""Frames that are walked; a stack that has overflowed has more."""
EXC_RETURN = 0xFF000000
_RESET = 0xFFFFFFFF
"""LR after a reset (B1.4.1)."""
_FROM_PROCESS = 1 << 2
_BASIC = 1 << 4
_ALIGNED = 1 << 9
_STACKED = (0, 1, 2, 3, 12, 14, 15)


@dataclass(frozen=True)
class State:
    """A core that stands still."""

    registers: tuple[int, ...]
    """r0 to r12, sp, lr, pc."""
    exception: int = 0
    """Number of the exception whose handler runs, 0 in thread mode (xPSR bits 8 to 0)."""
    process: bool = False
    """sp is the process stack pointer."""
    main: int = 0
    """Main stack pointer."""
    psp: int = 0
    """Process stack pointer."""


@dataclass(frozen=True)
class Frame:
    """A function under way."""

    address: int
    """Of the instruction that runs next; of a caller, the address that it will be returned to."""
    code: int
    """Address that says which function and line it is: for a return address the call before it."""
    stack: int
    """Canonical frame address: the stack pointer before the function was called."""
    exception: int = 0
    """Number of the exception that this frame is the handler of, where the walk left it; else 0."""


@dataclass(frozen=True)
class Trace:
    """Frames, innermost first, and why there are no more."""

    frames: tuple[Frame, ...]
    end: str
    """Empty: the walk came to where the program began; else what stopped it, in words."""


def unwind(
    state: State,
    row: Callable[[int], Row | None],
    at_entry: Callable[[int], bool],
    read: Callable[[int, int], bytes],
    *,
    most: int = MOST,
) -> Trace:
    """The frames of a core that stands still.

    ``row`` gives the unwinding rules at an address, ``at_entry`` says whether an address is code that leaves all
    registers as they were at a function's entry, ``read`` reads the target's memory and raises
    :class:`~hotflash.errors.HotflashError` where there is none.
    """
    walk = _Walk(state, read)
    frames: list[Frame] = []
    first = True
    while True:
        address = walk.registers[PC] & ~1
        code = address if first or walk.exact else address - 2
        rules = AT_ENTRY if (first or walk.exact) and at_entry(code) else row(code)
        if rules is None:
            known = "no unwinding information" if frames or address else "no code"
            frames.append(Frame(address, code, walk.registers[SP]))
            return Trace(tuple(frames), f"{known} at {address:#010x}")
        if len(frames) >= most:
            return Trace(tuple(frames), f"more than {most} frames")
        before = walk.registers[SP]
        try:
            cfa = walk.step(rules)
        except HotflashError as error:
            frames.append(Frame(address, code, before))
            return Trace(tuple(frames), f"the stack cannot be read: {error.message}")
        if cfa is None:
            frames.append(Frame(address, code, before))
            return Trace(tuple(frames), f"the rules at {address:#010x} are beyond this walk")
        left = walk.exception
        exceptional = EXC_RETURN <= walk.registers[PC] < _RESET
        frames.append(Frame(address, code, cfa, left if exceptional else 0))
        if exceptional:
            try:
                walk.leave_exception()
            except HotflashError as error:
                return Trace(tuple(frames), f"the exception's frame cannot be read: {error.message}")
            first = False
            continue
        if walk.ended or walk.registers[PC] & ~1 in (0, _RESET & ~1):
            return Trace(tuple(frames), "")
        if cfa < before or (cfa == before and not (first or walk.was_exact)):
            return Trace(tuple(frames), "the stack does not grow: damaged")
        first = False


class _Walk:
    """The registers as they were in the frame that the walk has come to."""

    def __init__(self, state: State, read: Callable[[int, int], bytes]) -> None:
        self.registers = list(state.registers)
        self.exception = state.exception
        self.exact = True
        """PC is the instruction itself, not a return address."""
        self.was_exact = True
        """The same of the frame before."""
        self.ended = False
        """The rules say that there is no caller."""
        self._main, self._process = state.main, state.psp
        if state.process:
            self._process = state.registers[SP]
        elif state.registers[SP]:
            self._main = state.registers[SP]
        self._on_process = state.process
        self._read = read

    def _word(self, address: int) -> int:
        return int.from_bytes(self._read(address & 0xFFFFFFFF, 4), "little")

    def step(self, row: Row) -> int | None:
        """Goes to the caller; the frame's CFA, or None when the rules cannot be followed."""
        if not 0 <= row.base < 16:
            return None
        cfa = self.registers[row.base] + row.offset & 0xFFFFFFFF
        caller = list(self.registers)
        caller[SP] = cfa
        for number, rule in row.rules.items():
            if number < 16 and number != PC:
                value = self._value(number, rule, cfa)
                if value is None and number == row.returns:
                    self.ended = True
                elif value is not None:
                    caller[number] = value
        caller[PC] = caller[row.returns] if row.returns < 16 else 0
        self.was_exact, self.exact = self.exact, False
        self.registers = caller
        return cfa

    def _value(self, number: int, rule: Rule, cfa: int) -> int | None:
        if rule.kind == "offset":
            return self._word(cfa + rule.value)
        if rule.kind == "value":
            return cfa + rule.value & 0xFFFFFFFF
        if rule.kind == "register" and rule.value < 16:
            return self.registers[rule.value]
        return self.registers[number] if rule.kind == "same" else None

    def leave_exception(self) -> None:
        """Takes back what the core stacked when it entered the exception (ARMv7-M ARM B1.5.6 to B1.5.8)."""
        returns = self.registers[PC]
        # Handlers run on the main stack: where it stands now is known from the walk.
        if not self._on_process:
            self._main = self.registers[SP]
        self._on_process = bool(returns & _FROM_PROCESS)
        at = self._process if self._on_process else self._main
        raw = self._read(at, 32)
        words = [int.from_bytes(raw[i : i + 4], "little") for i in range(0, 32, 4)]
        for number, value in zip(_STACKED, words, strict=False):
            self.registers[number] = value
        xpsr = words[7]
        at += 0x20 if returns & _BASIC else 0x68
        at += 4 if xpsr & _ALIGNED else 0
        self.registers[SP] = at
        if self._on_process:
            self._process = at
        else:
            self._main = at
        self.exception = xpsr & 0x1FF
        self.was_exact, self.exact = True, True


__all__ = ["EXC_RETURN", "LR", "MOST", "Frame", "State", "Trace", "unwind"]
