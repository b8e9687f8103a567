"""What a fault's registers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotflash.wire.messages import ParkReason, SlotKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hotflash.session.names import Names
    from hotflash.session.results import Backtrace
    from hotflash.wire.events import Fault, Registers
    from hotflash.wire.messages import HelloReply, Slot

# Bits of the Configurable Fault Status Register (ARMv7-M ARM B3.2.15).
_CFSR = (
    (0, "MemManage", "instruction fetch from a place that is not executable"),
    (1, "MemManage", "data access that the memory protection forbids"),
    (3, "MemManage", "while returning from an exception"),
    (4, "MemManage", "while entering an exception: the stack has overflowed"),
    (5, "MemManage", "while saving floating-point state"),
    (8, "BusFault", "instruction fetch from memory that is not there"),
    (9, "BusFault", "data access to memory that is not there"),
    (10, "BusFault", "data access to memory that is not there, some instructions ago"),
    (11, "BusFault", "while returning from an exception"),
    (12, "BusFault", "while entering an exception: the stack points nowhere"),
    (13, "BusFault", "while saving floating-point state"),
    (16, "UsageFault", "undefined instruction"),
    (17, "UsageFault", "no Thumb state: a jump to an even address"),
    (18, "UsageFault", "a return from an exception with a bad value in lr or pc"),
    (19, "UsageFault", "no such coprocessor: floating point without FPU, or FPU off"),
    (24, "UsageFault", "unaligned access"),
    (25, "UsageFault", "division by zero"),
)
_MMARVALID = 1 << 7
_BFARVALID = 1 << 15
# Bits of the HardFault Status Register (B3.2.16).
_HFSR_VECTTBL = 1 << 1
_HFSR_DEBUGEVT = 1 << 31
_REGISTERS = (*(f"r{number}" for number in range(13)), "sp", "lr", "pc")
_EXC_RETURN = 0xFF000000
_GUARD = 128  # bytes, and its alignment
_HEADER = 32  # bytes before a slot's payload (docs/SPEC.md, Code heap)


@dataclass(frozen=True)
class FaultReport:
    """A fault, or another parking, decoded."""

    cause: str
    place: str
    """Function and offset of the faulting instruction; the bare address where nobody knows."""
    caller: str
    """The same for the link register; empty where it holds no return address."""
    registers: dict[str, int]
    context: str = ""
    """Thread or handlers, innermost first, in words."""
    generation: int = 0
    """Live when it happened."""
    suspects: tuple[str, ...] = ()
    """Functions of the newest generation among the places: what a rollback would take back."""
    final: bool = False
    """The application cannot be continued."""
    backtrace: Backtrace | None = None
    """The calls under way; None when the application does not stand there any more."""

    @property
    def headline(self) -> str:
        """What happened, in a line."""
        return f"the application faulted: {self.cause}" if self.cause else "the application is parked"

    @property
    def text(self) -> str:
        """The report for people, several lines."""
        lines = [self.headline]
        if self.backtrace is not None and self.backtrace.calls:
            lines += [f"  {line}" for line in self.backtrace.lines]
        else:
            lines.append(f"  at {self.place}")
            if self.caller:
                lines.append(f"  lr: {self.caller}")
        if self.context:
            lines.append(f"  in {self.context}, generation {self.generation}")
        cells = [f"{name:>4} {value:08x}" for name, value in self.registers.items()]
        lines += ["  " + "  ".join(cells[at : at + 6]) for at in range(0, len(cells), 6)]
        return "\n".join(lines)


def cause(registers: Registers, what: Callable[[int], str] = lambda _: "") -> str:
    """Cause of a fault in words; ``what`` says what the memory protection has at an address."""
    reasons = [f"{kind}, {text}" for bit, kind, text in _CFSR if registers.cfsr >> bit & 1]
    if registers.cfsr & _MMARVALID:
        owner = what(registers.mmfar)
        reasons.append(f"address {registers.mmfar:#010x}" + (f", {owner}" if owner else ""))
    if registers.cfsr & _BFARVALID:
        reasons.append(f"address {registers.bfar:#010x}")
    if registers.hfsr & _HFSR_VECTTBL:
        reasons.append("HardFault, the vector table could not be read")
    if registers.hfsr & _HFSR_DEBUGEVT:
        reasons.append("HardFault, a breakpoint instruction without a debugger")
    return "; ".join(reasons) or "HardFault"


_PARKED = {
    ParkReason.ASKED: "the application is parked: somebody asked for it",
    ParkReason.ATTENTION: "the application is parked, out of a handler that did not return",
    ParkReason.FAULT: "the application is parked: it faulted",
    ParkReason.WATCHDOG: "the application is parked: it had masked interrupts for too long",
}


def parked_text(registers: Registers) -> str:
    """Why the application is parked, in a line."""
    return _PARKED.get(ParkReason(registers.reason), "the application is parked")


_FAULTS = (3, 4, 5, 6)
_EXCEPTIONS = {
    2: "NMI",
    3: "HardFault",
    4: "MemManage",
    5: "BusFault",
    6: "UsageFault",
    11: "SVCall",
    12: "DebugMonitor",
    14: "PendSV",
    15: "SysTick",
}


def exception_name(number: int) -> str:
    """An exception by its number (ARMv7-M ARM B1.5.2)."""
    return _EXCEPTIONS.get(number, f"interrupt {number - 16}" if number >= 16 else f"exception {number}")


def _context(registers: Registers) -> str:
    inner = registers.exception
    if not registers.xpsr:
        return "an unknown place: no exception frame was stacked"
    if not inner:
        return f"a thread on the {'process' if registers.exc_return & 4 else 'main'} stack"
    others = [exception_name(number) for number in registers.active if number != inner and number not in _FAULTS]
    more = f" (active besides: {', '.join(others)})" if others else ""
    return f"the handler of {exception_name(inner)}{more}"


def protected(address: int, hello: HelloReply, names: Names | None, slots: Sequence[Slot]) -> str:
    """What an address is that the memory protection has something against; empty: nothing known."""
    firmware = names.firmware if names is not None else None
    if 0 <= address - hello.heap_base < hello.heap_size:
        for slot in slots:
            if -_HEADER <= address - slot.address < slot.length:
                name = names.slot(slot).function if names is not None else ""
                return f"in slot {slot.handle} of the code heap" + (
                    f": {name} (generation {slot.generation})" if name else ""
                )
        return "in the code heap, where no slot is"
    hook = (address - hello.hook_base) // 4
    if 0 <= hook < hello.hook_capacity:
        site = firmware.site_of_hook(hook) if firmware is not None else None
        return "in the hook table" + (f": the hook of {site.name}" if site is not None else "")
    if 0 <= address - hello.flash_base < hello.flash_size:
        return "in flash"
    limit = firmware.header.stack_limit if firmware is not None else 0
    if limit and 0 <= address - limit < 2 * _GUARD:  # the guard begins at the next multiple
        return "in the guard of the main stack, which has overflowed"
    return ""


def decode(fault: Fault, explain: Callable[[Registers], FaultReport]) -> FaultReport:
    """A fault's report; one whose frame was cut short has its text alone."""
    if fault.registers is None:
        return FaultReport(fault.text or "its report was cut short", "an unknown place", "", {})
    return explain(fault.registers)


def describe(
    registers: Registers,
    names: Names | None,
    slots: Sequence[Slot],
    hello: HelloReply | None = None,
    trace: Backtrace | None = None,
) -> FaultReport:
    """Names the places of a record of a parking; one that was no fault has no cause. ``names`` None: none are known."""

    def place(address: int) -> str:
        named = names.address(address, slots) if names is not None else None
        return f"{address & ~1:#010x} {named}" if named else f"{address:#010x}"

    link = registers.r[14]
    shown = dict(zip(_REGISTERS, registers.r, strict=False))
    shown |= {"xpsr": registers.xpsr, "cfsr": registers.cfsr, "hfsr": registers.hfsr}
    # A return address is attributed by the call before it, which may be the last instruction of a function.
    places = [registers.r[15]] + ([] if link >= _EXC_RETURN or not link & 1 else [link - 2])
    called = [call.address - 2 for call in trace.calls[1:]] if trace is not None else []
    return FaultReport(
        cause=cause(registers, lambda address: protected(address, hello, names, slots) if hello is not None else "")
        if registers.reason == ParkReason.FAULT
        else "",
        place=place(places[0]),
        caller=place(places[1]) if len(places) > 1 else "",
        registers=shown,
        context=_context(registers),
        generation=registers.generation,
        suspects=_suspects([*places, *called], registers.generation, names, slots),
        final=registers.final,
        backtrace=trace,
    )


def _suspects(places: Sequence[int], generation: int, names: Names | None, slots: Sequence[Slot]) -> tuple[str, ...]:
    found = []
    for slot in slots:
        inside = any(slot.address <= place & ~1 < slot.address + slot.length for place in places)
        if generation and slot.kind == SlotKind.CODE and slot.generation == generation and inside:
            found.append((names.slot(slot).function if names is not None else "") or f"slot {slot.handle}")
    return tuple(found)
