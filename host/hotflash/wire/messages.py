"""The wire protocol's messages. Generated from bootloader/protocol.toml: do not edit."""
# ruff: noqa: E501

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, ClassVar

from hotflash.wire.codec import Message

if TYPE_CHECKING:
    from hotflash.wire.codec import Reader, Writer

VERSION = 1
"""Version of the wire protocol."""


class Channel(IntEnum):
    """Channels."""

    CONTROL = 1
    """Requests of the host, replies of the device."""
    LOG = 2
    """The application's log."""
    TELEMETRY = 3
    """Live variables and probes (reserved)."""
    FAULT = 4
    """Unasked reports: boot, parked."""


class Status(IntEnum):
    """Status."""

    OK = 0
    """Done."""
    E_OP = 1
    """Unknown operation, or not allowed in this mode."""
    E_FORMAT = 2
    """The message is cut short, too long, or a field is out of range."""
    E_BUILD = 3
    """The build tag is not that of the application that runs."""
    E_GEN = 4
    """Linked against another generation than the live one."""
    E_BUSY = 5
    """Another transaction is open."""
    E_NOTXN = 6
    """No transaction is open."""
    E_NOMEM = 7
    """Does not fit; a Shortage record follows."""
    E_RANGE = 8
    """An address, offset, hook or handle is outside what it may name."""
    E_SEAL = 9
    """The transaction's CRC differs: something is missing or damaged; send it again."""
    E_FRAMES = 10
    """A safe commit found frames of functions that it replaces."""
    E_FAULT = 11
    """The access ended in a bus error."""
    E_DENIED = 12
    """Refused by the monitor: its own UART or memory, or a peripheral not asked for."""
    E_FLASH = 13
    """Erase or program failed, or would set a bit that only an erase can set."""
    E_CRC = 14
    """The image in flash is not the one announced; a byte follows, the reason."""
    E_NOUNDO = 15
    """There is no generation to go back to."""
    E_LOST = 16
    """The monitor's state was trampled: only a reset is accepted."""
    E_NOAPP = 17
    """No hot application runs."""
    E_STATE = 18
    """Not possible as things are; a byte follows, the reason."""
    E_TRIAL = 19
    """A trial runs: confirm it or roll it back first."""


class Reason(IntEnum):
    """Reasons."""

    NONE = 0
    """The application was started."""
    NO_HEADER = 1
    """No application: no image header in flash."""
    VERSION = 2
    """The image header has another version."""
    RANGES = 3
    """The image header's ranges are not this board's."""
    ABI = 4
    """The application needs a newer bootloader."""
    CRC = 5
    """The application's CRC is wrong."""
    UNFINISHED = 6
    """The application was not programmed completely."""
    OTHER = 7
    """The header is not that of the image announced."""
    ASKED = 8
    """Asked to wait."""
    NOT_PARKED = 9
    """The application is not parked."""
    CONTEXT_LOST = 10
    """Where the application was is lost: it can be restarted or reset."""
    NO_CONSENT = 11
    """The process stack is in use, as by an RTOS, and the application registered no on_restart."""
    NO_TICK = 12
    """The board has no periodic interrupt that could end a trial."""


REASON_TEXTS: dict[int, str] = {
    0: "the application was started",
    1: "no application: no image header in flash",
    2: "the image header has another version",
    3: "the image header's ranges are not this board's",
    4: "the application needs a newer bootloader",
    5: "the application's CRC is wrong",
    6: "the application was not programmed completely",
    7: "the header is not that of the image announced",
    8: "asked to wait",
    9: "the application is not parked",
    10: "where the application was is lost: it can be restarted or reset",
    11: "the process stack is in use, as by an RTOS, and the application registered no on_restart",
    12: "the board has no periodic interrupt that could end a trial",
}
"""What a :class:`Reason` means, for people."""


class Memory(IntEnum):
    """Memories."""

    CODE_HEAP = 1
    """Code heap."""
    DATA_HEAP = 2
    """Data heap."""
    SPARE_HOOKS = 3
    """Spare hooks."""


MEMORY_TEXTS: dict[int, str] = {
    1: "code heap",
    2: "data heap",
    3: "spare hooks",
}
"""What a :class:`Memory` means, for people."""


class SlotKind(IntEnum):
    """Slot kinds."""

    FREE = 0
    """Unused block."""
    CODE = 1
    """One version of one function with its literals, or a private piece of one."""
    CONST = 2
    """A constant, shared by content."""
    STUB = 3
    """Static entry of a function that is new in a patch; owns a spare hook."""
    VAR = 4
    """A new variable; its bytes are in the data heap."""
    LIST = 5
    """A transaction's list of (address, value) pairs: the undo record after the commit."""


class CommitMode(IntEnum):
    """Modes."""

    NOW = 0
    """New calls reach new code, old frames finish in old code."""
    SAFE = 1
    """Only when no frame of a replaced function exists."""


class HelloFlag(IntFlag):
    """Hello flags."""

    APP_VALID = 1
    """A valid application is in flash."""
    APP_HOT = 2
    """It was built and written with patch points (not PLAIN)."""
    APP_RUNS = 4
    """It runs; without this bit the bootloader waits for `flash`."""
    MPU = 8
    """The core has an MPU."""
    STATE_LOST = 16
    """The monitor's state was trampled."""
    AUTH = 32
    """Reserved: pushes must be authenticated."""
    PRIO_ZERO = 64
    """The application runs an interrupt at priority 0, above the monitor's receiver."""
    PENDSV_ZERO = 128
    """PendSV is at priority 0: a context switch may delay the monitor."""
    TXN_OPEN = 256
    """A transaction is open."""
    UNDO = 512
    """There is a generation to go back to."""
    PARKED = 1024
    """The application stands still; Record says why."""
    FINAL = 2048
    """It cannot be continued, only restarted or reset."""
    RECORD = 4096
    """Record has something to tell, of this boot or the last."""
    TRIAL = 8192
    """The live generation is on trial: without Confirm the device rolls it back."""
    WATCHDOG = 16384
    """The board's watchdog catches an application that masks interrupts for ever."""
    TICK = 32768
    """The board has the periodic interrupt that trials need."""


class ProtectFlag(IntFlag):
    """Protect flags."""

    HEAP = 1
    """Code heap: executable and read-only."""
    HOOKS = 2
    """Hook table: read-only."""
    FLASH = 4
    """Flash: executable and read-only."""
    RAM = 8
    """Other memory: not executable."""
    STACK = 16
    """A guard below the main stack."""
    TAKEN = 32
    """The application has changed the MPU's settings; the other flags say what still holds."""


class SlotFlag(IntFlag):
    """Slot flags."""

    BOUND = 1
    """A hook runs it."""
    UNDO = 2
    """The undo record holds it."""
    FRAME = 4
    """The last scan found a frame, or a word that may be one."""
    OPEN = 8
    """Belongs to the open transaction."""


class ReadFlag(IntFlag):
    """Read flags."""

    PERIPHERAL = 1
    """The address may be a peripheral's."""


class ParkReason(IntEnum):
    """Park reasons."""

    ASKED = 1
    """A host asked for it."""
    ATTENTION = 2
    """A host's attention sequence, from a handler that did not return."""
    FAULT = 3
    """An exception: CFSR and HFSR say which."""
    WATCHDOG = 4
    """The watchdog's interrupt: interrupts were masked for too long."""
    RESTART = 5
    """On the way to a restart; never in a record."""


class ParkWord(IntEnum):
    """Park words."""

    R0 = 0
    """R0 to r12, sp, lr, pc as they were; sp as it was before the exception's frame."""
    SP = 13
    """R13."""
    LR = 14
    """R14."""
    PC = 15
    """R15: after a fault, of the instruction that faulted."""
    XPSR = 16
    """0: no frame could be stacked, so r0 to r3, r12, lr, pc are not known."""
    CFSR = 17
    """ARMv7-M ARM B3.2.15."""
    HFSR = 18
    """B3.2.16."""
    MMFAR = 19
    """B3.2.18."""
    BFAR = 20
    """B3.2.19."""
    EXC_RETURN = 21
    """Lr of the exception that parked (B1.5.8)."""
    MSP = 22
    """Main stack pointer, at the exception's frame if that is there."""
    PSP = 23
    """Process stack pointer; 0: not in use."""
    MASKS = 24
    """PRIMASK bit 0, FAULTMASK bit 1, CONTROL bits 8 to 15, BASEPRI bits 16 to 23."""
    REASON = 25
    """Park reason."""
    FLAGS = 26
    """Bit 0: final, cannot be continued."""
    GENERATION = 27
    """Live generation."""
    BOOT = 28
    """The boot count in which it happened."""
    SYSTEM = 29
    """SHCSR: active system exceptions (B3.2.13)."""
    ACTIVE = 30
    """Eight words, NVIC_IABR: active external interrupts (B3.4.7)."""


class Op(IntEnum):
    """Operations of the control channel."""

    HELLO = 1
    STATUS = 2
    SLOTS = 3
    HOOKS = 4
    RECORD = 5
    STACK = 6
    BEGIN = 16
    WRITE = 17
    COMMIT = 18
    ABORT = 19
    ROLLBACK = 20
    GC = 21
    PIN = 22
    CONFIRM = 23
    READ = 32
    POKE = 33
    FLASH_BEGIN = 48
    FLASH_ERASE = 49
    FLASH_WRITE = 50
    FLASH_END = 51
    RESET = 64
    PARK = 65
    CONTINUE = 66
    RESTART = 67


class Dep(Message):
    """A slot that is used: of this transaction by its ordinal, or an existing one by its handle."""

    ref: int = 0
    """Ordinal * 2, or handle * 2 + 1."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.ref)

    @classmethod
    def unpack(cls, r: Reader) -> Dep:
        """Takes the fields from ``r``."""
        return cls(
            ref=r.uv(),
        )


class SlotRequest(Message):
    """One allocation of BEGIN. Payloads follow each other, without gaps, in the transaction's image in this order; records with `zero` set have none there."""

    kind: int = 0
    """Slot kind; bit 7 set: zero-filled, no bytes in the image (VAR only)."""
    length: int = 0
    """Payload in bytes; the device adds header and trap padding."""
    align: int = 0
    """Log2 of the payload's alignment, 0 to 5; VAR only, the code heap always gives 32 bytes."""
    ident: int = 0
    """Who it is: CRC-32 of the identity string (docs/SPEC.md, Identities)."""
    hash: int = 0
    """What it contains: see docs/SPEC.md, Content hashes."""
    deps: tuple[Dep, ...] = ()
    """Slots that this one uses."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u8(self.kind)
        w.uv(self.length)
        w.u8(self.align)
        w.u32(self.ident)
        w.u64(self.hash)
        w.uv(len(self.deps))
        for dep in self.deps:
            dep.pack(w)

    @classmethod
    def unpack(cls, r: Reader) -> SlotRequest:
        """Takes the fields from ``r``."""
        return cls(
            kind=r.u8(),
            length=r.uv(),
            align=r.u8(),
            ident=r.u32(),
            hash=r.u64(),
            deps=tuple(Dep.unpack(r) for _ in range(r.count())),
        )


class Grant(Message):
    """Where a slot was placed, in the order of the requests."""

    address: int = 0
    """Of the payload."""
    handle: int = 0
    """The slot's handle: (header address - code heap's base) / 32."""
    hook: int = 0
    """STUB: the spare hook it owns, plus 1; others: 0."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u32(self.address)
        w.uv(self.handle)
        w.uv(self.hook)

    @classmethod
    def unpack(cls, r: Reader) -> Grant:
        """Takes the fields from ``r``."""
        return cls(
            address=r.u32(),
            handle=r.uv(),
            hook=r.uv(),
        )


class Pair(Message):
    """A hook to be bound at commit."""

    hook: int = 0
    """Index into the hook table."""
    target: int = 0
    """0: the hook's initial value (the base image's function); n + 1: the transaction's slot with ordinal n."""
    skip: int = 0
    """Bytes from the payload's start to the body's entry (the slot's own nops)."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.hook)
        w.uv(self.target)
        w.u8(self.skip)

    @classmethod
    def unpack(cls, r: Reader) -> Pair:
        """Takes the fields from ``r``."""
        return cls(
            hook=r.uv(),
            target=r.uv(),
            skip=r.u8(),
        )


class Word(Message):
    """A data word to be stored at commit."""

    address: int = 0
    """Word-aligned, in application RAM or the data heap."""
    value: int = 0
    """New value."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u32(self.address)
        w.u32(self.value)

    @classmethod
    def unpack(cls, r: Reader) -> Word:
        """Takes the fields from ``r``."""
        return cls(
            address=r.u32(),
            value=r.u32(),
        )


class Range(Message):
    """Code that must have no frame at a safe commit (a base image's body, .cold and .part pieces); replaced slots need not be named."""

    address: int = 0
    """First byte."""
    length: int = 0
    """Bytes."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u32(self.address)
        w.uv(self.length)

    @classmethod
    def unpack(cls, r: Reader) -> Range:
        """Takes the fields from ``r``."""
        return cls(
            address=r.u32(),
            length=r.uv(),
        )


class Slot(Message):
    """One block of the code heap in use."""

    handle: int = 0
    """(header address - code heap's base) / 32."""
    kind: int = 0
    """Slot kind."""
    flags: int = 0
    """Slot flags."""
    hook: int = 0
    """Hook that it is for, plus 1; 0: none."""
    refs: int = 0
    """Counted references: hooks, slots, hooks of the undo record, pins, open transaction."""
    address: int = 0
    """Of the payload."""
    length: int = 0
    """Payload in bytes."""
    ident: int = 0
    """As given in BEGIN."""
    hash: int = 0
    """As given in BEGIN."""
    generation: int = 0
    """Generation in which it went live."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.handle)
        w.u8(self.kind)
        w.u8(self.flags)
        w.uv(self.hook)
        w.uv(self.refs)
        w.u32(self.address)
        w.uv(self.length)
        w.u32(self.ident)
        w.u64(self.hash)
        w.uv(self.generation)

    @classmethod
    def unpack(cls, r: Reader) -> Slot:
        """Takes the fields from ``r``."""
        return cls(
            handle=r.uv(),
            kind=r.u8(),
            flags=r.u8(),
            hook=r.uv(),
            refs=r.uv(),
            address=r.u32(),
            length=r.uv(),
            ident=r.u32(),
            hash=r.u64(),
            generation=r.uv(),
        )


class Frame(Message):
    """A frame that keeps a safe commit from happening."""

    address: int = 0
    """PC, return address, or the PC of a stacked exception frame."""
    where: int = 0
    """Address of the stack word; 0 to 16: a register, r0 first, 15 the PC."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u32(self.address)
        w.u32(self.where)

    @classmethod
    def unpack(cls, r: Reader) -> Frame:
        """Takes the fields from ``r``."""
        return cls(
            address=r.u32(),
            where=r.u32(),
        )


class Shortage(Message):
    """What there is too little of: the body of a reply with E_NOMEM."""

    memory: int = 0
    """Memory."""
    needed: int = 0
    """Bytes, or hooks."""
    free: int = 0
    """Bytes, or hooks; perhaps not in one piece."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u8(self.memory)
        w.uv(self.needed)
        w.uv(self.free)

    @classmethod
    def unpack(cls, r: Reader) -> Shortage:
        """Takes the fields from ``r``."""
        return cls(
            memory=r.u8(),
            needed=r.uv(),
            free=r.uv(),
        )


class HookValue(Message):
    """A hook and where it leads."""

    hook: int = 0
    """Index."""
    value: int = 0
    """Entry address with the Thumb bit."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.hook)
        w.u32(self.value)

    @classmethod
    def unpack(cls, r: Reader) -> HookValue:
        """Takes the fields from ``r``."""
        return cls(
            hook=r.uv(),
            value=r.u32(),
        )


class HelloRequest(Message):
    """Opens a conversation: forgets the cached reply, negotiates the version. Always accepted."""

    OP: ClassVar[Op] = Op.HELLO

    min_version: int = 0
    """Oldest wire version the host speaks."""
    max_version: int = 0
    """Newest."""
    nonce: int = 0
    """Echoed."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u8(self.min_version)
        w.u8(self.max_version)
        w.u32(self.nonce)

    @classmethod
    def unpack(cls, r: Reader) -> HelloRequest:
        """Takes the fields from ``r``."""
        return cls(
            min_version=r.u8(),
            max_version=r.u8(),
            nonce=r.u32(),
        )


class HelloReply(Message):
    """Reply to HelloRequest."""

    OP: ClassVar[Op] = Op.HELLO

    version: int = 0
    """The version that will be spoken; 0: none in common."""
    nonce: int = 0
    """The request's."""
    flags: int = 0
    """Hello flags."""
    core: int = 0
    """SCB CPUID register (ARMv7-M ARM B3.2.3)."""
    boot_count: int = 0
    """Resets since power was applied, as far as RAM tells."""
    generation: int = 0
    """Live generation; 0: base."""
    chunk: int = 0
    """Largest payload of WRITE, FLASH_WRITE and of a READ's reply, in bytes."""
    credits: int = 0
    """Requests of full size that may be unanswered at a time."""
    abi: int = 0
    """Services ABI: major * 65536 + minor."""
    heap_base: int = 0
    """Code heap."""
    heap_size: int = 0
    """Bytes."""
    heap_free: int = 0
    """Bytes in free blocks."""
    data_base: int = 0
    """Data heap."""
    data_size: int = 0
    """Bytes."""
    data_free: int = 0
    """Bytes."""
    hook_base: int = 0
    """Hook table."""
    hook_capacity: int = 0
    """Entries."""
    hook_count: int = 0
    """Entries used by the image."""
    flash_base: int = 0
    """The application's flash."""
    flash_size: int = 0
    """Bytes."""
    flash_page: int = 0
    """Bytes an erase takes."""
    build_id: bytes = bytes(20)
    """The application's GNU build ID; zeros: none."""
    board: str = ""
    """Board name."""
    monitor: str = ""
    """Version of the bootloader, as in the package."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u8(self.version)
        w.u32(self.nonce)
        w.u32(self.flags)
        w.u32(self.core)
        w.u32(self.boot_count)
        w.uv(self.generation)
        w.uv(self.chunk)
        w.uv(self.credits)
        w.u32(self.abi)
        w.u32(self.heap_base)
        w.uv(self.heap_size)
        w.uv(self.heap_free)
        w.u32(self.data_base)
        w.uv(self.data_size)
        w.uv(self.data_free)
        w.u32(self.hook_base)
        w.uv(self.hook_capacity)
        w.uv(self.hook_count)
        w.u32(self.flash_base)
        w.uv(self.flash_size)
        w.uv(self.flash_page)
        w.id20(self.build_id)
        w.text(self.board)
        w.text(self.monitor)

    @classmethod
    def unpack(cls, r: Reader) -> HelloReply:
        """Takes the fields from ``r``."""
        return cls(
            version=r.u8(),
            nonce=r.u32(),
            flags=r.u32(),
            core=r.u32(),
            boot_count=r.u32(),
            generation=r.uv(),
            chunk=r.uv(),
            credits=r.uv(),
            abi=r.u32(),
            heap_base=r.u32(),
            heap_size=r.uv(),
            heap_free=r.uv(),
            data_base=r.u32(),
            data_size=r.uv(),
            data_free=r.uv(),
            hook_base=r.u32(),
            hook_capacity=r.uv(),
            hook_count=r.uv(),
            flash_base=r.u32(),
            flash_size=r.uv(),
            flash_page=r.uv(),
            build_id=r.id20(),
            board=r.text(),
            monitor=r.text(),
        )


class StatusRequest(Message):
    """Counters since boot."""

    OP: ClassVar[Op] = Op.STATUS

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> StatusRequest:
        """Takes the fields from ``r``."""
        del r
        return cls()


class StatusReply(Message):
    """Reply to StatusRequest."""

    OP: ClassVar[Op] = Op.STATUS

    uptime: int = 0
    """Microseconds, wraps."""
    log_dropped: int = 0
    """Log lines dropped because the line could not keep up."""
    rx_overrun: int = 0
    """Bytes lost in the receive ring or the UART."""
    rx_bad: int = 0
    """Frames dropped for their CRC, coding or length."""
    commits: int = 0
    """Commits and rollbacks."""
    masked_last: int = 0
    """Instructions with interrupts masked in the last commit."""
    masked_max: int = 0
    """The most so far, in a commit or a heap write."""
    scan_words: int = 0
    """Words read by the last reaper pass."""
    scan_us: int = 0
    """Microseconds that the longest reaper pass held up threads."""
    stall_us: int = 0
    """Microseconds that the longest masked collection kept interrupts out."""
    drift: int = 0
    """Reference counts that a recount found wrong; must be 0."""
    hooks_bound: int = 0
    """Hooks that do not have their initial value."""
    stack_free: int = 0
    """Bytes of the monitor's stack never used."""
    protection: int = 0
    """Protection flags: what the MPU keeps from the application."""
    trial_us: int = 0
    """Microseconds until the device takes the generation on trial back; 0: no trial runs."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u32(self.uptime)
        w.u32(self.log_dropped)
        w.u32(self.rx_overrun)
        w.u32(self.rx_bad)
        w.u32(self.commits)
        w.u32(self.masked_last)
        w.u32(self.masked_max)
        w.u32(self.scan_words)
        w.u32(self.scan_us)
        w.u32(self.stall_us)
        w.u32(self.drift)
        w.uv(self.hooks_bound)
        w.uv(self.stack_free)
        w.u8(self.protection)
        w.u32(self.trial_us)

    @classmethod
    def unpack(cls, r: Reader) -> StatusReply:
        """Takes the fields from ``r``."""
        return cls(
            uptime=r.u32(),
            log_dropped=r.u32(),
            rx_overrun=r.u32(),
            rx_bad=r.u32(),
            commits=r.u32(),
            masked_last=r.u32(),
            masked_max=r.u32(),
            scan_words=r.u32(),
            scan_us=r.u32(),
            stall_us=r.u32(),
            drift=r.u32(),
            hooks_bound=r.uv(),
            stack_free=r.uv(),
            protection=r.u8(),
            trial_us=r.u32(),
        )


class SlotsRequest(Message):
    """Lists the slots in use in address order; also runs the reaper."""

    OP: ClassVar[Op] = Op.SLOTS

    after: int = 0
    """0: from the start; else handle + 1 of the last slot seen."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.after)

    @classmethod
    def unpack(cls, r: Reader) -> SlotsRequest:
        """Takes the fields from ``r``."""
        return cls(
            after=r.uv(),
        )


class SlotsReply(Message):
    """Reply to SlotsRequest."""

    OP: ClassVar[Op] = Op.SLOTS

    generation: int = 0
    """Live generation."""
    more: int = 0
    """1: ask again."""
    slots: tuple[Slot, ...] = ()
    """This page."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.generation)
        w.u8(self.more)
        w.uv(len(self.slots))
        for slot in self.slots:
            slot.pack(w)

    @classmethod
    def unpack(cls, r: Reader) -> SlotsReply:
        """Takes the fields from ``r``."""
        return cls(
            generation=r.uv(),
            more=r.u8(),
            slots=tuple(Slot.unpack(r) for _ in range(r.count())),
        )


class HooksRequest(Message):
    """Lists hooks that do not have their initial value."""

    OP: ClassVar[Op] = Op.HOOKS

    first: int = 0
    """First index."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.first)

    @classmethod
    def unpack(cls, r: Reader) -> HooksRequest:
        """Takes the fields from ``r``."""
        return cls(
            first=r.uv(),
        )


class HooksReply(Message):
    """Reply to HooksRequest."""

    OP: ClassVar[Op] = Op.HOOKS

    next: int = 0
    """First index of the next page; 0: no more."""
    hooks: tuple[HookValue, ...] = ()
    """This page."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.next)
        w.uv(len(self.hooks))
        for hook in self.hooks:
            hook.pack(w)

    @classmethod
    def unpack(cls, r: Reader) -> HooksReply:
        """Takes the fields from ``r``."""
        return cls(
            next=r.uv(),
            hooks=tuple(HookValue.unpack(r) for _ in range(r.count())),
        )


class RecordRequest(Message):
    """What was found when the application was parked last. Kept in RAM over a reset. Accepted also with the state lost."""

    OP: ClassVar[Op] = Op.RECORD

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> RecordRequest:
        """Takes the fields from ``r``."""
        del r
        return cls()


class RecordReply(Message):
    """Reply to RecordRequest."""

    OP: ClassVar[Op] = Op.RECORD

    words: bytes = b""
    """38 words in the order of the park words; empty: nothing was recorded."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.raw(self.words)

    @classmethod
    def unpack(cls, r: Reader) -> RecordReply:
        """Takes the fields from ``r``."""
        return cls(
            words=r.rest(),
        )


class StackRequest(Message):
    """Where the application is: the context that the monitor's handler interrupted, or that is parked, and what is on its stack, all of one moment."""

    OP: ClassVar[Op] = Op.STACK

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> StackRequest:
        """Takes the fields from ``r``."""
        del r
        return cls()


class StackReply(Message):
    """Reply to StackRequest."""

    OP: ClassVar[Op] = Op.STACK

    data: bytes = b""
    """20 words: r0 to r12, sp, lr, pc, xPSR (0: no frame was stacked), 1 when sp is the process stack's, main and process stack pointer; then the stack from sp on, as much as fits."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.raw(self.data)

    @classmethod
    def unpack(cls, r: Reader) -> StackReply:
        """Takes the fields from ``r``."""
        return cls(
            data=r.rest(),
        )


class BeginRequest(Message):
    """Opens a transaction and allocates all its slots, or none. First runs the reaper."""

    OP: ClassVar[Op] = Op.BEGIN

    generation: int = 0
    """Generation that it is linked against."""
    build_tag: int = 0
    """First four bytes of the build ID, as a little-endian word."""
    flags: int = 0
    """Bit 0: give up the undo record if memory is short; bit 1: collect constants if memory is short."""
    pairs: int = 0
    """Pairs and words that the commit will bind."""
    slots: tuple[SlotRequest, ...] = ()
    """What to allocate."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.generation)
        w.u32(self.build_tag)
        w.u8(self.flags)
        w.uv(self.pairs)
        w.uv(len(self.slots))
        for slot in self.slots:
            slot.pack(w)

    @classmethod
    def unpack(cls, r: Reader) -> BeginRequest:
        """Takes the fields from ``r``."""
        return cls(
            generation=r.uv(),
            build_tag=r.u32(),
            flags=r.u8(),
            pairs=r.uv(),
            slots=tuple(SlotRequest.unpack(r) for _ in range(r.count())),
        )


class BeginReply(Message):
    """Reply to BeginRequest."""

    OP: ClassVar[Op] = Op.BEGIN

    grants: tuple[Grant, ...] = ()
    """One per slot."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(len(self.grants))
        for grant in self.grants:
            grant.pack(w)

    @classmethod
    def unpack(cls, r: Reader) -> BeginReply:
        """Takes the fields from ``r``."""
        return cls(
            grants=tuple(Grant.unpack(r) for _ in range(r.count())),
        )


class WriteRequest(Message):
    """Bytes of the open transaction's image. May come in any order, more than once, and span slots."""

    OP: ClassVar[Op] = Op.WRITE

    offset: int = 0
    """From the image's start."""
    data: bytes = b""
    """1 to `chunk` bytes."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.offset)
        w.raw(self.data)

    @classmethod
    def unpack(cls, r: Reader) -> WriteRequest:
        """Takes the fields from ``r``."""
        return cls(
            offset=r.uv(),
            data=r.rest(),
        )


class WriteReply(Message):
    """Reply to WriteRequest."""

    OP: ClassVar[Op] = Op.WRITE

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> WriteReply:
        """Takes the fields from ``r``."""
        del r
        return cls()


class CommitRequest(Message):
    """Seals the transaction and binds it. On E_SEAL and E_FRAMES the transaction stays open; on any other error it is gone."""

    OP: ClassVar[Op] = Op.COMMIT

    mode: int = 0
    """Commit mode."""
    crc: int = 0
    """CRC-32 over the BEGIN request from its `generation` on, then the image, then this request from `trial` on."""
    trial: int = 0
    """0, or seconds, at most 1800, in which Confirm must come: the device rolls back otherwise."""
    pairs: tuple[Pair, ...] = ()
    """Hooks to bind."""
    words: tuple[Word, ...] = ()
    """Data words to store."""
    ranges: tuple[Range, ...] = ()
    """Safe mode: more code that must have no frame."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u8(self.mode)
        w.u32(self.crc)
        w.uv(self.trial)
        w.uv(len(self.pairs))
        for pair in self.pairs:
            pair.pack(w)
        w.uv(len(self.words))
        for word in self.words:
            word.pack(w)
        w.uv(len(self.ranges))
        for range_ in self.ranges:
            range_.pack(w)

    @classmethod
    def unpack(cls, r: Reader) -> CommitRequest:
        """Takes the fields from ``r``."""
        return cls(
            mode=r.u8(),
            crc=r.u32(),
            trial=r.uv(),
            pairs=tuple(Pair.unpack(r) for _ in range(r.count())),
            words=tuple(Word.unpack(r) for _ in range(r.count())),
            ranges=tuple(Range.unpack(r) for _ in range(r.count())),
        )


class CommitReply(Message):
    """Reply to CommitRequest."""

    OP: ClassVar[Op] = Op.COMMIT

    generation: int = 0
    """The new generation."""
    masked: int = 0
    """Instructions executed with interrupts masked."""
    frames: tuple[Frame, ...] = ()
    """Frames of replaced functions, at most 8: E_FRAMES: they are in the way; OK: they finish in old code."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.generation)
        w.uv(self.masked)
        w.uv(len(self.frames))
        for frame in self.frames:
            frame.pack(w)

    @classmethod
    def unpack(cls, r: Reader) -> CommitReply:
        """Takes the fields from ``r``."""
        return cls(
            generation=r.uv(),
            masked=r.uv(),
            frames=tuple(Frame.unpack(r) for _ in range(r.count())),
        )


class AbortRequest(Message):
    """Frees the open transaction's slots. No error when none is open."""

    OP: ClassVar[Op] = Op.ABORT

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> AbortRequest:
        """Takes the fields from ``r``."""
        del r
        return cls()


class AbortReply(Message):
    """Reply to AbortRequest."""

    OP: ClassVar[Op] = Op.ABORT

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> AbortReply:
        """Takes the fields from ``r``."""
        del r
        return cls()


class RollbackRequest(Message):
    """Binds the generation before; makes a new generation. A second one redoes. `base` unbinds everything."""

    OP: ClassVar[Op] = Op.ROLLBACK

    generation: int = 0
    """Live generation, as a guard against repeats."""
    base: int = 0
    """1: back to the base image."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.generation)
        w.u8(self.base)

    @classmethod
    def unpack(cls, r: Reader) -> RollbackRequest:
        """Takes the fields from ``r``."""
        return cls(
            generation=r.uv(),
            base=r.u8(),
        )


class RollbackReply(Message):
    """Reply to RollbackRequest."""

    OP: ClassVar[Op] = Op.ROLLBACK

    generation: int = 0
    """The new generation."""
    masked: int = 0
    """Instructions executed with interrupts masked."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.generation)
        w.uv(self.masked)

    @classmethod
    def unpack(cls, r: Reader) -> RollbackReply:
        """Takes the fields from ``r``."""
        return cls(
            generation=r.uv(),
            masked=r.uv(),
        )


class GcRequest(Message):
    """Collects constants, stubs and variables that nothing refers to, with interrupts masked."""

    OP: ClassVar[Op] = Op.GC

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> GcRequest:
        """Takes the fields from ``r``."""
        del r
        return cls()


class GcReply(Message):
    """Reply to GcRequest."""

    OP: ClassVar[Op] = Op.GC

    freed: int = 0
    """Slots."""
    bytes: int = 0
    """Bytes of the code heap."""
    stall_us: int = 0
    """Microseconds with interrupts masked."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.freed)
        w.uv(self.bytes)
        w.uv(self.stall_us)

    @classmethod
    def unpack(cls, r: Reader) -> GcReply:
        """Takes the fields from ``r``."""
        return cls(
            freed=r.uv(),
            bytes=r.uv(),
            stall_us=r.uv(),
        )


class PinRequest(Message):
    """Adds or removes the host's pin on a slot."""

    OP: ClassVar[Op] = Op.PIN

    handle: int = 0
    """Slot."""
    pin: int = 0
    """1: add, 0: remove."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.handle)
        w.u8(self.pin)

    @classmethod
    def unpack(cls, r: Reader) -> PinRequest:
        """Takes the fields from ``r``."""
        return cls(
            handle=r.uv(),
            pin=r.u8(),
        )


class PinReply(Message):
    """Reply to PinRequest."""

    OP: ClassVar[Op] = Op.PIN

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> PinReply:
        """Takes the fields from ``r``."""
        del r
        return cls()


class ConfirmRequest(Message):
    """Ends the trial: its generation stays. No error when none runs."""

    OP: ClassVar[Op] = Op.CONFIRM

    generation: int = 0
    """Live generation: E_GEN when the trial was rolled back meanwhile."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.generation)

    @classmethod
    def unpack(cls, r: Reader) -> ConfirmRequest:
        """Takes the fields from ``r``."""
        return cls(
            generation=r.uv(),
        )


class ConfirmReply(Message):
    """Reply to ConfirmRequest."""

    OP: ClassVar[Op] = Op.CONFIRM

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> ConfirmReply:
        """Takes the fields from ``r``."""
        del r
        return cls()


class ReadRequest(Message):
    """Reads memory in accesses of the given width; survives bus errors."""

    OP: ClassVar[Op] = Op.READ

    address: int = 0
    """First byte."""
    length: int = 0
    """1 to `chunk` bytes."""
    width: int = 0
    """1, 2, 4; 0: the widest that the address and length allow."""
    flags: int = 0
    """Read flags."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u32(self.address)
        w.uv(self.length)
        w.u8(self.width)
        w.u8(self.flags)

    @classmethod
    def unpack(cls, r: Reader) -> ReadRequest:
        """Takes the fields from ``r``."""
        return cls(
            address=r.u32(),
            length=r.uv(),
            width=r.u8(),
            flags=r.u8(),
        )


class ReadReply(Message):
    """Reply to ReadRequest."""

    OP: ClassVar[Op] = Op.READ

    data: bytes = b""
    """What was read; empty with an error status."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.raw(self.data)

    @classmethod
    def unpack(cls, r: Reader) -> ReadReply:
        """Takes the fields from ``r``."""
        return cls(
            data=r.rest(),
        )


class PokeRequest(Message):
    """Writes memory in accesses of the given width; survives bus errors. Not for flash, code heap or hooks."""

    OP: ClassVar[Op] = Op.POKE

    address: int = 0
    """First byte."""
    width: int = 0
    """As in Read."""
    flags: int = 0
    """Read flags."""
    data: bytes = b""
    """1 to `chunk` bytes."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u32(self.address)
        w.u8(self.width)
        w.u8(self.flags)
        w.raw(self.data)

    @classmethod
    def unpack(cls, r: Reader) -> PokeRequest:
        """Takes the fields from ``r``."""
        return cls(
            address=r.u32(),
            width=r.u8(),
            flags=r.u8(),
            data=r.rest(),
        )


class PokeReply(Message):
    """Reply to PokeRequest."""

    OP: ClassVar[Op] = Op.POKE

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> PokeReply:
        """Takes the fields from ``r``."""
        del r
        return cls()


class FlashBeginRequest(Message):
    """Takes the valid mark from the application by erasing the page that holds it. Only while the bootloader waits (E_OP otherwise: send Reset with mode 1 first)."""

    OP: ClassVar[Op] = Op.FLASH_BEGIN

    length: int = 0
    """Bytes of the image."""
    mark: int = 0
    """Offset of the 16-byte valid mark from the image's start."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u32(self.length)
        w.u32(self.mark)

    @classmethod
    def unpack(cls, r: Reader) -> FlashBeginRequest:
        """Takes the fields from ``r``."""
        return cls(
            length=r.u32(),
            mark=r.u32(),
        )


class FlashBeginReply(Message):
    """Reply to FlashBeginRequest."""

    OP: ClassVar[Op] = Op.FLASH_BEGIN

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> FlashBeginReply:
        """Takes the fields from ``r``."""
        del r
        return cls()


class FlashEraseRequest(Message):
    """Erases pages of the application's flash. At most 16 per request."""

    OP: ClassVar[Op] = Op.FLASH_ERASE

    page: int = 0
    """First page, counted from `flash_base`."""
    count: int = 0
    """Pages."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.uv(self.page)
        w.uv(self.count)

    @classmethod
    def unpack(cls, r: Reader) -> FlashEraseRequest:
        """Takes the fields from ``r``."""
        return cls(
            page=r.uv(),
            count=r.uv(),
        )


class FlashEraseReply(Message):
    """Reply to FlashEraseRequest."""

    OP: ClassVar[Op] = Op.FLASH_ERASE

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> FlashEraseReply:
        """Takes the fields from ``r``."""
        del r
        return cls()


class FlashWriteRequest(Message):
    """Programs bytes into erased flash. Writing the same bytes again is no error; the valid mark cannot be written."""

    OP: ClassVar[Op] = Op.FLASH_WRITE

    offset: int = 0
    """From `flash_base`."""
    data: bytes = b""
    """1 to `chunk` bytes."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u32(self.offset)
        w.raw(self.data)

    @classmethod
    def unpack(cls, r: Reader) -> FlashWriteRequest:
        """Takes the fields from ``r``."""
        return cls(
            offset=r.u32(),
            data=r.rest(),
        )


class FlashWriteReply(Message):
    """Reply to FlashWriteRequest."""

    OP: ClassVar[Op] = Op.FLASH_WRITE

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> FlashWriteReply:
        """Takes the fields from ``r``."""
        del r
        return cls()


class FlashEndRequest(Message):
    """Checks the image as the boot does and programs the valid mark."""

    OP: ClassVar[Op] = Op.FLASH_END

    length: int = 0
    """Bytes."""
    crc: int = 0
    """Image CRC (docs/SPEC.md, Image header)."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u32(self.length)
        w.u32(self.crc)

    @classmethod
    def unpack(cls, r: Reader) -> FlashEndRequest:
        """Takes the fields from ``r``."""
        return cls(
            length=r.u32(),
            crc=r.u32(),
        )


class FlashEndReply(Message):
    """Reply to FlashEndRequest."""

    OP: ClassVar[Op] = Op.FLASH_END

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> FlashEndReply:
        """Takes the fields from ``r``."""
        del r
        return cls()


class ResetRequest(Message):
    """Resets the board after the reply has left."""

    OP: ClassVar[Op] = Op.RESET

    mode: int = 0
    """0: boot the application; 1: wait in the bootloader."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u8(self.mode)

    @classmethod
    def unpack(cls, r: Reader) -> ResetRequest:
        """Takes the fields from ``r``."""
        return cls(
            mode=r.u8(),
        )


class ResetReply(Message):
    """Reply to ResetRequest."""

    OP: ClassVar[Op] = Op.RESET

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> ResetReply:
        """Takes the fields from ``r``."""
        del r
        return cls()


class ParkRequest(Message):
    """Stops the application between two instructions. The reply comes when it was asked for; Hello says when it is done. No error when it is parked."""

    OP: ClassVar[Op] = Op.PARK

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> ParkRequest:
        """Takes the fields from ``r``."""
        del r
        return cls()


class ParkReply(Message):
    """Reply to ParkRequest."""

    OP: ClassVar[Op] = Op.PARK

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> ParkReply:
        """Takes the fields from ``r``."""
        del r
        return cls()


class ContinueRequest(Message):
    """Lets the parked application go on exactly where it was; after a fault it repeats the instruction. E_STATE when it is not parked or cannot go on."""

    OP: ClassVar[Op] = Op.CONTINUE

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> ContinueRequest:
        """Takes the fields from ``r``."""
        del r
        return cls()


class ContinueReply(Message):
    """Reply to ContinueRequest."""

    OP: ClassVar[Op] = Op.CONTINUE

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> ContinueReply:
        """Takes the fields from ``r``."""
        del r
        return cls()


class RestartRequest(Message):
    """Leaves all that runs, handlers included, runs the registered cleanups, and calls `main` on a fresh stack; all state is kept. E_STATE under an RTOS that did not register for it."""

    OP: ClassVar[Op] = Op.RESTART

    main: int = 0
    """Static entry of main, Thumb bit set."""

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        w.u32(self.main)

    @classmethod
    def unpack(cls, r: Reader) -> RestartRequest:
        """Takes the fields from ``r``."""
        return cls(
            main=r.u32(),
        )


class RestartReply(Message):
    """Reply to RestartRequest."""

    OP: ClassVar[Op] = Op.RESTART

    def pack(self, w: Writer) -> None:
        """Appends the fields to ``w``."""
        del w

    @classmethod
    def unpack(cls, r: Reader) -> RestartReply:
        """Takes the fields from ``r``."""
        del r
        return cls()
