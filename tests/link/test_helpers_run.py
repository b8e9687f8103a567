"""Helpers from archives, executed: they compute what the firmware's own copies or Python compute."""

from __future__ import annotations

import random
import re
import struct

import pytest

from hotflash.elf.firmware import Firmware
from hotflash.toolchain import Archives
from tests.link.machine import Bench
from tests.link.toolchain import HOT, PLAIN, SECTIONS, Workshop

HARD = ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
LIBRARIES = ["-lm", "-lgcc", "-lc_nano", "-lgcc"]
CLANG = "clang-19"
CORE = ["-mcpu=cortex-m4", "-mthumb"]
HOSTED = [flag for flag in HOT if flag != "-ffreestanding"]
APP = """
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
union { int64_t whole; uint64_t natural; double real; float single; uint32_t words[2]; char text[64]; } out, x, y;
static char heap[4096];
void *_sbrk(int more) { static int used; used += more; return heap + used - more; }
#define STUB(name) int name(void) { return -1; }
STUB(_read) STUB(_write) STUB(_close) STUB(_lseek) STUB(_fstat) STUB(_isatty) STUB(_kill) STUB(_getpid)
void _exit(int code) { for (;;) { } }
__attribute__((noipa)) void calc(void) { out.words[0] = 1; }
__attribute__((noipa)) int fails(void) { return 7; }
int start(void) { calc(); return fails() + (_sbrk(0) != 0); }
"""


def pack(kind: str, value: float) -> bytes:
    return struct.pack(f"<{kind}", value).ljust(8, b"\0")


class Calculator(Bench):
    """Runs ``calc`` with operands in memory."""

    def calc(self, x: bytes, y: bytes = bytes(8), size: int = 8) -> bytes:
        for name, value in (("x", x), ("y", y), ("out", bytes(64))):
            symbol = self.firmware.symbol(name)
            assert symbol is not None
            self.machine.write(symbol.address, value)
        self.call("calc")
        symbol = self.firmware.symbol("out")
        assert symbol is not None
        return self.machine.read(symbol.address, size)


@pytest.fixture(scope="module")
def firmware(shop: Workshop) -> Firmware:
    return shop.firmware(shop.compile(APP, flags=HOSTED))


def patched(
    shop: Workshop, firmware: Firmware, body: str, compiler: str = "arm-none-eabi-gcc", abi: tuple[str, ...] = ()
) -> Calculator:
    board = Calculator(firmware)
    board.archives = Archives()
    source = APP.replace("out.words[0] = 1;", body)
    flags = [*HOSTED, *abi]
    if compiler == CLANG:  # it has headers of its own, but no C library's
        source = re.sub(r"#include <(?!stdint).*", "", source)
        flags = ["--target=arm-none-eabi", "-fshort-enums", *PLAIN, *SECTIONS]
    plan = board.run(shop.compile(source, flags=flags, compiler=compiler))
    assert plan.helpers
    return board


def numbers(count: int) -> list[tuple[int, int]]:
    """Pairs of 64-bit numbers, of all magnitudes, and the edges; a divisor is never 0."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    edges = [0, 1, 2, 3, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
    pairs = [(chance.choice(edges), chance.choice(edges[1:])) for _ in range(count // 2)]
    return pairs + [(chance.getrandbits(chance.randrange(1, 65)), 1 + chance.getrandbits(chance.randrange(1, 64)))
                    for _ in range(count - len(pairs))]  # fmt: skip


@pytest.mark.parametrize("compiler", ["arm-none-eabi-gcc", CLANG])
@pytest.mark.parametrize("operator", ["/", "%"])
def test_64_bit_division(shop: Workshop, firmware: Firmware, operator: str, compiler: str) -> None:
    board = patched(shop, firmware, f"out.natural = x.natural {operator} y.natural;", compiler)
    for a, b in numbers(60):
        expected = a // b if operator == "/" else a % b
        assert board.calc(struct.pack("<Q", a), struct.pack("<Q", b)) == struct.pack("<Q", expected)


def test_signed_division_rounds_to_zero(shop: Workshop, firmware: Firmware) -> None:
    board = patched(shop, firmware, "out.whole = x.whole / y.whole;")
    for a, b in ((-7, 2), (7, -2), (-7, -2), (-(1 << 63), 3), (5, 1 << 62), (-1, 1 << 40)):
        expected = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        assert board.calc(struct.pack("<q", a), struct.pack("<q", b)) == struct.pack("<q", expected)


FUNCTIONS = {
    "sinf": "f", "expf": "f", "logf": "f", "sqrtf": "f", "powf": "ff", "atan2f": "ff",
    "sin": "d", "atan": "d", "pow": "dd", "fmod": "dd",
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_mathematics_bit_for_bit(shop: Workshop, firmware: Firmware, name: str) -> None:
    """The firmware that was linked with libm, and the one that got it pushed."""
    kinds = FUNCTIONS[name]
    member = "single" if kinds[0] == "f" else "real"
    operands = f"x.{member}" + (f", y.{member}" if len(kinds) > 1 else "")
    body = f"out.{member} = {name}({operands});"
    whole = shop.compile(APP.replace("out.words[0] = 1;", body), flags=HOSTED)
    own = Calculator(shop.firmware(whole, libraries=LIBRARIES))
    assert own.firmware.symbol(name) is not None
    board = patched(shop, firmware, body)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(24):
        x, y = (pack(kinds[0], chance.choice((1, -1)) * 10 ** chance.uniform(-6, 6)) for _ in range(2))
        assert board.calc(x, y) == own.calc(x, y)
    for special in (0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1.0, -1.0):
        x = pack(kinds[0], special)
        assert board.calc(x, x) == own.calc(x, x)


@pytest.mark.parametrize("name", ["sinf", "powf", "atan"])
def test_hard_float_bit_for_bit(shop: Workshop, name: str) -> None:
    """The same for code that computes and passes arguments in the floating-point unit's registers."""
    kind = FUNCTIONS[name][0]
    member = "single" if kind == "f" else "real"
    operands = f"x.{member}" + (f", y.{member}" if len(FUNCTIONS[name]) > 1 else "")
    body = f"out.{member} = {name}({operands}) * x.{member};"
    whole = shop.compile(APP.replace("out.words[0] = 1;", body), flags=[*HOSTED, *HARD])
    own = Calculator(shop.firmware(whole, libraries=LIBRARIES, cpu=[*CORE, *HARD]))
    board = patched(shop, shop.firmware(shop.compile(APP, flags=[*HOSTED, *HARD]), cpu=[*CORE, *HARD]), body, abi=HARD)
    for value in (0.5, 1.0, 3.25, 10.0, 1e6, float("inf")):
        assert board.calc(pack(kind, value), pack(kind, 1.5)) == own.calc(pack(kind, value), pack(kind, 1.5))


def test_printf_with_its_heap(shop: Workshop, firmware: Firmware) -> None:
    """A large one: some 20 members, state of its own, and the application's ``_sbrk``."""
    board = patched(shop, firmware, 'snprintf(out.text, 64, "%d %s %08x|%-6c|", (int)x.words[0], y.text, 48879, 65);')
    for value in (0, -1, 2**31 - 1, -(2**31)):
        text = board.calc(struct.pack("<i", value), b"seven\0", 64).split(b"\0")[0]
        assert text == f"{value} seven 0000beef|A     |".encode()


def test_errno_is_set_where_it_is_read(shop: Workshop, firmware: Firmware) -> None:
    board = patched(shop, firmware, "errno = 0; out.words[0] = strtol(x.text, 0, 10); out.words[1] = errno;")
    assert board.calc(b"-123 \0") == struct.pack("<iI", -123, 0)
    assert board.calc(b"99999999999999\0") == struct.pack("<iI", 2**31 - 1, 34)
    assert board.calc(b"12\0") == struct.pack("<iI", 12, 0)


def test_state_of_a_library_lives_on_between_pushes(shop: Workshop, firmware: Firmware) -> None:
    """``strtok`` remembers where it was, in state that came with the first push."""
    board = patched(shop, firmware, 'strcpy(out.text, strtok(x.text, ","));')
    assert board.calc(b"one,two,three\0", size=4) == b"one\0"
    source = APP.replace("out.words[0] = 1;", 'strcpy(out.text, strtok(0, ",")); ')
    made = board.run(shop.compile(source, flags=HOSTED))
    assert {h.state for h in made.helpers} == {"live"}
    board.call("calc")
    symbol = firmware.symbol("out")
    assert symbol is not None
    assert board.machine.text(symbol.address) == b"two"
