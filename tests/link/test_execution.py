"""Library functions linked into a heap return, bit for bit, what the firmware's own copies return."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from functools import cached_property
from itertools import product
from pathlib import Path

import pytest

from hotflash.elf import format as elf
from hotflash.elf.archive import Archive
from hotflash.elf.object import ObjectFile
from hotflash.elf.threads import thread_variables
from hotflash.link import reloc
from tests.link.archives import MULTILIBS, archive
from tests.link.core import FLASH, HEAP, MODELS, RAM, Core, Result
from tests.link.whole import Known, in_sequence, link

SEED = os.environ.get("HOTFLASH_TEST_SEED") or str(random.randrange(1 << 32))
"""Drawn anew for every run; a failure names it."""

FUNCTIONS, CALLS = 25, 12
BUFFER, THREAD = RAM + 0xE0000, RAM + 0xD0000

# What comes back and the arguments: d double, f float, i int, l long long, q two of these, v nothing, p pointer to a
# buffer, s pointer to a string.
SIGNATURES = {
    "d d": "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh exp exp2 expm1 log log2 log10 log1p sqrt cbrt "
           "fabs floor ceil trunc round rint nearbyint logb erf erfc tgamma lgamma j0 j1 y0 y1 significand exp10",
    "i d": "ilogb lround lrint __aeabi_d2iz __aeabi_d2uiz __aeabi_d2f",
    "l d": "llround llrint __aeabi_d2lz __aeabi_d2ulz",
    "d dd": "pow atan2 fmod hypot fmax fmin fdim remainder copysign nextafter drem __aeabi_dadd __aeabi_dsub "
            "__aeabi_dmul __aeabi_ddiv",
    "i dd": "__aeabi_dcmplt __aeabi_dcmpeq __aeabi_dcmpgt __aeabi_dcmpun",
    "d ddd": "fma",
    "d di": "ldexp scalbn scalbln",
    "d id": "jn yn",
    "d dp": "frexp modf",
    "d ddp": "remquo",
    "v dpp": "sincos",
    "f f": "sinf cosf tanf asinf acosf atanf sinhf coshf tanhf asinhf acoshf atanhf expf exp2f expm1f logf log2f "
           "log10f log1pf sqrtf cbrtf fabsf floorf ceilf truncf roundf rintf nearbyintf erff erfcf tgammaf lgammaf "
           "j0f j1f y0f y1f",
    "i f": "lroundf lrintf ilogbf __aeabi_f2iz __aeabi_f2uiz",
    "l f": "__aeabi_f2lz __aeabi_f2ulz __aeabi_f2d",
    "f ff": "powf atan2f fmodf hypotf fmaxf fminf fdimf remainderf copysignf nextafterf __aeabi_fadd __aeabi_fsub "
            "__aeabi_fmul __aeabi_fdiv",
    "i ff": "__aeabi_fcmplt __aeabi_fcmpeq",
    "f fff": "fmaf",
    "f fi": "ldexpf scalbnf",
    "f fp": "frexpf modff",
    "v fpp": "sincosf",
    "l ii": "__aeabi_idivmod __aeabi_uidivmod",
    "i ii": "__aeabi_idiv __aeabi_uidiv",
    "i i": "abs labs ffs isalpha isdigit toupper tolower __aeabi_i2f __aeabi_ui2f __clzsi2 __popcountsi2 __ctzsi2",
    "l i": "__aeabi_i2d __aeabi_ui2d",
    "l l": "llabs __aeabi_l2d __aeabi_ul2d",
    "i l": "__aeabi_l2f __aeabi_ul2f __clzdi2 __popcountdi2 __ctzdi2",
    "q ll": "__aeabi_ldivmod __aeabi_uldivmod",
    "l ll": "__aeabi_lmul",
    "i ll": "__aeabi_lcmp __aeabi_ulcmp",
    "l li": "__aeabi_llsl __aeabi_llsr __aeabi_lasr",
    "i s": "strlen atoi atol",
    "d s": "atof",
    "i ss": "strcmp strcasecmp strstr strspn strcspn strpbrk",
    "i ps": "strcpy stpcpy",
    "i psi": "strncpy memcpy memmove",
    "i spi": "strtol strtoul",
    "l spi": "strtoll strtoull",
    "d sp": "strtod",
    "f sp": "strtof",
    "i pii": "memset",
}  # fmt: skip
SOFT_CALLS = "__aeabi_"
"""Names of the run-time ABI (RTABI32): floating point in core registers, whatever the variant."""


LIBRARIES = {
    "newlib": (("libm.a", "libgcc.a", "libc.a"), "nosys.specs"),
    "picolibc": (("picolibc.a", "libgcc.a"), "picolibc.specs"),
}


class Program:
    """A firmware with all of the functions, linked by GNU ld, and its libraries' members by what they define."""

    def __init__(self, multilib: str, library: str, folder: Path) -> None:
        self.multilib = multilib
        self.name = f"{library} for {multilib}"
        names, specs = LIBRARIES[library]
        self.archives = [Archive.open(archive(multilib, name)) for name in names]
        self.signatures = {
            name: signature
            for signature, names in SIGNATURES.items()
            for name in names.split()
            if any(name in a.symbols for a in self.archives)
        }
        out = folder / "firmware.elf"
        script = folder / "script.ld"
        script.write_text(
            f"SECTIONS {{ .text {FLASH:#x} : {{ *(.text* .rodata*) }} .ARM.exidx : {{ *(.ARM.exidx* .ARM.extab*) }}\n"
            f".data {RAM:#x} : {{ *(.data*) }} .tdata : {{ *(.tdata*) }} .tbss : {{ *(.tbss*) }}\n"
            ".bss : { *(.bss* COMMON) } end = .; _end = .; }"
        )
        wanted = [f"-Wl,--undefined={name}" for name in self.signatures]
        command = ["arm-none-eabi-gcc", "-mthumb", *MULTILIBS[multilib], "-nostartfiles", "-Wl,-e0", "-T", str(script),
                   *wanted, "-lm", "-lgcc", "-lc", f"--specs={specs}", "-w", "-Wl,--no-warnings",
                   "-Wl,--no-warn-rwx-segments", "-o", str(out)]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        self.container = elf.open_container(out.read_bytes(), "firmware", (elf.ET_EXEC,))
        self.known: dict[str, Known] = {}
        for symbol in elf.read_symbols(self.container, keep_sections=False):
            if symbol.kind != elf.STT_TLS and symbol.bind != elf.STB_LOCAL and symbol.section != elf.SHN_UNDEF:
                function = symbol.kind == elf.STT_FUNC
                self.known[symbol.name] = Known(symbol.value & ~1 if function else symbol.value, function)

        for (_, name), variable in thread_variables(self.container).items():
            if variable is not None:
                self.known[name] = Known(variable.offset, function=False, thread=True)

    def core(self) -> Core:
        """A core with the firmware in it, and a block of thread-local variables (picolibc's ``errno``)."""
        made = Core(self.multilib)
        if "__tls" in self.known:
            made.write(self.known["__tls"].address, THREAD.to_bytes(4, "little"))
        for section in self.container.sections:
            if section.alloc and section.data:
                made.write(section.address, section.data)
        return made

    def member(self, name: str) -> tuple[str, ObjectFile] | None:
        """The first member that defines a name."""
        for found in self.archives:
            offset = found.symbols.get(name)
            if offset is not None:
                member = next(m for m in found if m.offset == offset)
                return f"{found.name}({member.name})", ObjectFile.parse(found.read(member), found.label(member))
        return None

    def closure(self, name: str, draw: random.Random, share: float) -> list[ObjectFile]:
        """A function's member and those that it needs; a ``share`` of these, and all state, stays the firmware's."""
        found: dict[str, ObjectFile] = {}
        wanted = [name]
        while wanted:
            asked = wanted.pop()
            member = self.member(asked)
            if member is None or member[0] in found or (found and draw.random() < share):
                continue
            key, obj = member
            if found and any(s.writable and s.alloc and s.size for s in obj.sections):
                continue
            found[key] = obj
            wanted += [s.name for s in obj.symbols if s.section == elf.SHN_UNDEF and s.name]
        return list(found.values())

    @cached_property
    def names(self) -> list[str]:
        """The functions to choose from."""
        return sorted(self.signatures)


def arguments(signature: str, draw: random.Random, *, hard: bool) -> tuple[tuple[int, ...], tuple[int, ...], bytes]:
    """Core registers, floating-point registers, and what the buffer holds (AAPCS32, 6.5 and 7.1.2)."""
    words: list[int] = []
    singles: list[int] = []
    buffer = bytearray(draw.randbytes(256))
    at = 0
    for letter in signature:
        if letter in "df":
            number = draw.choice((draw.uniform(-4, 4), draw.uniform(-1e3, 1e3), draw.gauss(0, 1e30), draw.random(),
                                  float(draw.randrange(-9, 9)), float("inf"), float("nan"), 5e-324))  # fmt: skip
            if letter == "f":
                bits = int.from_bytes(struct.pack("<f", max(min(number, 3e38), -3e38)), "little")
                (singles if hard else words).append(bits)
            else:
                low, high = struct.unpack("<II", struct.pack("<d", number))
                target = singles if hard else words
                target += [0] * (len(target) % 2) + [low, high]
        elif letter == "l":
            words += [0] * (len(words) % 2) + [
                draw.getrandbits(32),
                draw.choice((0, draw.getrandbits(32), 1, 2**32 - 1)),
            ]
        elif letter == "i":
            words.append(draw.choice((draw.randrange(1, 60), draw.getrandbits(5) + 1, draw.getrandbits(6))))
        else:
            if letter == "s":
                text = draw.choice(("12345", "-0.00123e4abc", "0x1fp3", "hello, world", "  +77", "aab", "ab"))
                buffer[at : at + len(text) + 1] = text.encode() + b"\0"
            words.append(BUFFER + at)
            at += 64
    return tuple(words), tuple(singles), bytes(buffer)


def returned(kind: str, result: Result, *, hard: bool) -> tuple[int, ...]:
    """The registers that hold what a function returns (AAPCS32, 6.4 and 7.1.2)."""
    if hard and kind in "df":
        return result.floats[: 1 + (kind == "d")]
    return result.registers[: {"v": 0, "i": 1, "f": 1, "l": 2, "d": 2, "q": 4}[kind]]


PROGRAMS = list(product(MODELS, LIBRARIES))


@pytest.fixture(scope="module", params=PROGRAMS, ids=[" ".join(program) for program in PROGRAMS])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    multilib, library = request.param
    return Program(multilib, library, tmp_path_factory.mktemp("program"))


def test_functions_in_the_heap_return_what_the_firmwares_return(program: Program) -> None:
    draw = random.Random(f"{SEED}/{program.name}")
    wide = program.multilib != "v6-m"
    veneers = 0
    for name in draw.sample(program.names, FUNCTIONS):
        where = f"{name} of {program.name}, HOTFLASH_TEST_SEED={SEED}"
        objects = program.closure(name, draw, draw.choice((0.0, 0.5, 1.0)))
        base = HEAP + draw.randrange(0, 0x10000, 8)
        linked = link(objects, program.known.get, in_sequence(base), wide=wide)
        symbol = next(s for s in objects[0].symbols if s.name == name and s.section != elf.SHN_UNDEF)
        moved = linked.value(objects[0], symbol)
        own = program.known[name]
        assert moved is not None
        assert moved >= HEAP
        assert own.address < HEAP
        veneers += sum(p.size - p.section.size for p in linked.parts if p.section is not None)
        theirs, ours = program.core(), program.core()
        for part in linked.parts:
            assert part.address is not None
            ours.write(part.address, part.data)
        kind, signature = program.signatures[name].split()
        hard = theirs.hard and not name.startswith(SOFT_CALLS)
        for _ in range(CALLS):
            words, singles, buffer = arguments(signature, draw, hard=hard)
            results: list[Result] = []
            for core, address in ((theirs, own.address), (ours, moved)):
                core.write(BUFFER, buffer)
                results.append(core.call(address, words, singles, buffer=BUFFER, length=len(buffer)))
            what = f"{where}: {[hex(word) for word in words + singles]}"
            assert returned(kind, results[1], hard=hard) == returned(kind, results[0], hard=hard), what
            assert results[1].buffer == results[0].buffer, what
            assert results[1].saved == results[0].saved, what
            assert results[1].saved[8] == 0, f"{what}: the stack pointer moved"
            assert ours.read(THREAD, 256) == theirs.read(THREAD, 256), f"{what}: thread-local variables"
    assert veneers > 0


def test_errno_in_the_heap_is_the_firmwares(program: Program) -> None:
    if "errno" not in program.known or not program.known["errno"].thread:
        return  # newlib's is a member of a structure that a function returns
    core = program.core()
    objects = program.closure("strtol", random.Random(1), 1.0)
    linked = link(objects, program.known.get, in_sequence(HEAP), wide=program.multilib != "v6-m")
    for part in linked.parts:
        core.write(part.address or 0, part.data)
    kinds = {kind for obj in objects for s in obj.sections if s.alloc for _, kind, _, _ in obj.relocations(s.index)}
    assert reloc.TLS_LE32 in kinds
    core.write(BUFFER, b"99999999999999\0")
    moved = linked.value(objects[0], next(s for s in objects[0].symbols if s.name == "strtol"))
    assert moved is not None
    assert core.call(moved, (BUFFER, 0, 10)).registers[0] == 0x7FFFFFFF
    assert core.read(THREAD + program.known["errno"].address, 4) == (34).to_bytes(4, "little")  # ERANGE


def test_a_wrong_address_would_be_seen(program: Program) -> None:
    """The comparison above notices when a constant or a call leads elsewhere."""
    draw = random.Random(5)
    objects = program.closure("sin", draw, 1.0)
    known = dict(program.known)
    known["__kernel_sin"], known["__kernel_cos"] = known["__kernel_cos"], known["__kernel_sin"]
    known["_sin"], known["_cos"] = known.get("_cos", known["cos"]), known.get("_sin", known["sin"])
    linked = link(objects, known.get, in_sequence(HEAP), wide=program.multilib != "v6-m")
    core = program.core()
    for part in linked.parts:
        core.write(part.address or 0, part.data)
    symbol = next(s for s in objects[0].symbols if s.name == "sin")
    moved = linked.value(objects[0], symbol)
    assert moved is not None
    words, singles, _ = arguments("d", draw, hard=core.hard)
    wrong, right = (core.call(at, words, singles) for at in (moved, program.known["sin"].address))
    assert returned("d", wrong, hard=core.hard) != returned("d", right, hard=core.hard)
