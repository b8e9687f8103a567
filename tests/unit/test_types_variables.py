"""Variables found by name in really compiled firmware, DWARF 2 to 5."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from hotflash import types
from hotflash.elf.firmware import Firmware
from hotflash.errors import ElfError, UsageError
from hotflash.types import dwarf
from tests.unit.hotapp import BOARD, STARTUP, compile_c, link, run

CLANG = next(filter(shutil.which, ("clang-19", "clang")), "clang-19")

MAIN = """
#include <stdbool.h>
#include <stdint.h>
#include "shared.h"
typedef enum { RED, GREEN = 5, BLUE = -3 } color_t;
enum flags { READ = 1, WRITE = 2, HUGE = 0xFFFFFFFF };
typedef struct node { int value; struct node *next; } node_t;
typedef struct {
    uint8_t a : 3; int8_t b : 5; uint16_t c : 9; uint32_t d : 20; color_t kind : 4;
    float f; color_t color; char name[8]; bool ok; int m[2][3];
    const char *const text; void (*call)(int); node_t *list; volatile node_t inner;
    union { uint32_t word; uint8_t bytes[4]; };
    struct { int16_t deep; } ;
} thing_t;
struct tail { int n; short rest[]; };
thing_t thing = { 5, -7, 300, 0xABCDE, BLUE, 1.5f, GREEN, "abc", true, {{1, 2, 3}, {4, 5, 6}}, "hey", 0, 0,
                  {7, 0}, {.word = 0x04030201}, {-2} };
volatile uint32_t counter = 3;
const volatile int16_t limit = 1000;
double ratio = 2.25;
long long big = -5;
unsigned long long huge = 0xFFFFFFFFFFFFFFFFull;
enum flags flags = HUGE;
node_t second = { 2, 0 }, first = { 1, &second };
void (*handler)(int);
static int16_t hidden = -7;
static int unused_static = 9;
struct tail tail = { 3, {1, 2} };
char matrix[2][4] = { "ab", "cd" };
uint8_t x[3] = { 1, 2, 3 };
extern int declared_only;
int never_used = 4;
static void action(int n) { static int calls = 11; calls += n; hidden++; }
int work(int n) { static int calls = 22; if (n) { static uint8_t nested = 33; calls += nested; } return calls++; }
int main(void) { handler = action; for (;;) { counter += work(1) + other(); handler(1); tail.n++; x[0]++; } }
"""
OTHER = """
#include "shared.h"
static long hidden = 77;
int shared_global = 88;
int other(void) { static int calls = 44; hidden++; return shared_global + calls++; }
"""
SHARED = "extern int shared_global;\nint other(void);\n"
ASSEMBLY = """
    .data
    .global table
    .type table, %object
    .size table, 8
    .align 2
table: .word 0x11223344, 0x55667788
    .global odd
    .type odd, %object
    .size odd, 3
odd: .byte 1, 2, 3
"""


def _build(folder: Path, *flags: str) -> Firmware:
    (folder / "shared.h").write_text(SHARED)
    objects = [
        compile_c(folder, "startup.c", STARTUP),
        compile_c(folder, "src/main.c", MAIN, "-I.", *flags),
        compile_c(folder, "lib/other.c", OTHER, "-I.", *flags),
        compile_c(
            folder,
            "lib/deep/other.c",
            OTHER.replace("88", "99")
            .replace("shared_global", "deep_global")
            .replace("other(", "deep_other(")
            .replace("77", "66"),
            "-I.",
            *flags,
        ),
    ]
    (folder / "table.s").write_text(ASSEMBLY)
    run("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-c", "table.s", "-o", "table.o", cwd=folder)
    keep = [
        f"-Wl,--undefined={name}"
        for name in (
            *("deep_other", "flags", "first", "ratio", "table", "odd", "thing", "limit", "big", "huge", "matrix"),
        )
    ]
    return Firmware.load(link(folder, [*objects, folder / "table.o"], "-Wl,--gc-sections", *keep))


@pytest.fixture(scope="module", params=["-gdwarf-5", "-gdwarf-4", "-gdwarf-2 -gstrict-dwarf"])
def firmware(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return _build(tmp_path_factory.mktemp("app"), *request.param.split())


def _shown(firmware: Firmware, expression: str) -> str:
    found = types.variable(firmware, expression)
    data = firmware.read(found.address, found.size)
    text = types.format_value(found.type, data, types.symbolizer(firmware))
    assert types.parse_value(found.type, text, data) == data
    json.dumps(types.to_json(found.type, data))
    return text


@pytest.mark.parametrize(
    ("expression", "name", "shown"),
    [
        ("counter", "uint32_t", "3"),
        ("limit", "int16_t", "1000"),
        ("ratio", "double", "2.25"),
        ("big", "long long int", "-5"),
        ("huge", "long long unsigned int", "18446744073709551615"),
        ("flags", "enum flags", "HUGE"),
        ("thing.a", "uint8_t:3", "5"),
        ("thing.b", "int8_t:5", "-7"),
        ("thing.c", "uint16_t:9", "300"),
        ("thing.d", "uint32_t:20", "703710"),
        ("thing.kind", "color_t:4", "BLUE"),
        ("thing.f", "float", "1.5"),
        ("thing.color", "color_t", "GREEN"),
        ("thing.name", "char[8]", '"abc"'),
        ("thing.name[1]", "char", "'b'"),
        ("thing.ok", "_Bool", "true"),
        ("thing.m", "int[2][3]", "{{1, 2, 3}, {4, 5, 6}}"),
        ("thing.m[1]", "int[3]", "{4, 5, 6}"),
        ("thing . m [ 1 ] [ 0x2 ]", "int", "6"),
        ("thing.call", "void (*)(int)", "0x00000000"),
        ("thing.list", "node_t *", "0x00000000"),
        ("thing.inner", "node_t", "{value = 7, next = 0x00000000}"),
        ("thing.word", "uint32_t", "67305985"),
        ("thing.bytes[3]", "uint8_t", "4"),
        ("thing.deep", "int16_t", "-2"),
        ("second.value", "int", "2"),
        ("first.value", "int", "1"),
        ("tail", "struct tail", "{n = 3, rest = {}}"),
        ("matrix", "char[2][4]", '{"ab", "cd"}'),
        ("matrix[1]", "char[4]", '"cd"'),
        ("x", "uint8_t[3]", "{1, 2, 3}"),
        ("main.c:hidden", "int16_t", "-7"),
        ("src/main.c:hidden", "int16_t", "-7"),
        ("lib/other.c:hidden", "long int", "77"),
        ("lib/deep/other.c:hidden", "long int", "66"),
        ("shared_global", "int", "88"),
        ("lib/other.c:shared_global", "int", "88"),
        ("deep_global", "int", "99"),
        ("action.calls", "int", "11"),
        ("main.c:action.calls", "int", "11"),
        ("work.calls", "int", "22"),
        ("work.nested", "uint8_t", "33"),
        ("other.calls", "int", "44"),
        ("table", "word[2]", "{0x11223344, 0x55667788}"),
        ("odd", "byte[3]", "{0x01, 0x02, 0x03}"),
    ],
)
def test_found_and_shown(firmware: Firmware, expression: str, name: str, shown: str) -> None:
    found = types.variable(firmware, expression)
    assert (found.type.name, _shown(firmware, expression)) == (name, shown)
    assert str(found.type) == name


def test_addresses_are_those_of_the_symbols(firmware: Firmware) -> None:
    for name in ("counter", "thing", "shared_global", "table"):
        symbol = firmware.symbol(name)
        assert symbol is not None
        assert types.variable(firmware, name).address == symbol.address
    thing = types.variable(firmware, "thing")
    assert types.variable(firmware, "thing.m[1][2]").address == types.variable(firmware, "thing.m").address + 20
    assert thing.unit.endswith("src/main.c")


def test_pointers_are_named(firmware: Firmware) -> None:
    assert _shown(firmware, "first") == f"{{value = 1, next = {_address(firmware, 'second'):#010x} <second>}}"
    symbolize = types.symbolizer(firmware)
    assert symbolize(_address(firmware, "matrix") + 5) == "matrix+5"
    work = firmware.symbol("work")
    assert work is not None
    assert symbolize(work.value) == "work"
    assert symbolize(work.value + 10) == "work+10"
    assert symbolize(0x40000000) is None
    resolve = types.resolver(firmware)
    assert resolve("work") == work.value
    assert resolve("first.next") == _address(firmware, "first") + 4
    assert resolve("thing.a") is None
    assert resolve("nothing") is None


def _address(firmware: Firmware, name: str) -> int:
    return types.variable(firmware, name).address


def test_writing_one_field_keeps_the_others(firmware: Firmware) -> None:
    found = types.variable(firmware, "thing")
    data = firmware.read(found.address, found.size)
    after = types.parse_value(found.type, "{kind = RED, m = {[1] = {[0] = 40}}}", data)
    shown = types.to_json(found.type, after)
    assert isinstance(shown, dict)
    before = types.to_json(found.type, data)
    assert isinstance(before, dict)
    assert shown.pop("m") == [[1, 2, 3], [40, 5, 6]]
    assert shown.pop("kind") == "RED"
    assert before.pop("m") != []
    assert before.pop("kind") == "BLUE"
    assert shown == before


@pytest.mark.parametrize(
    ("expression", "message", "hint"),
    [
        ("qqqqq", "no variable .qqqqq.", "read --help"),
        ("countr", "no variable 'countr'", "counter"),
        ("calls", "no variable 'calls'", "action.calls or deep_other.calls or other.calls or work.calls?"),
        ("hidden", "not clear: there are 3", "src/main.c:hidden"),
        ("main.c:deep_global", "no variable 'deep_global' in main.c", ""),
        ("never.c:counter", "in never.c", ""),
        ("never_used", "no place in memory: the linker removed it", ""),
        ("unused_static", "no place in memory|no variable", ""),
        ("declared_only", "no variable 'declared_only'", ""),
        ("work", "work is a function, at 0x", "work.x"),
        ("thing.nam", "thing_t has no field 'nam'", "did you mean .name"),
        ("thing.zzz", "has no field 'zzz'", "fields: a, b, c"),
        ("thing[0]", "not an array", ""),
        ("thing.m[2]", r"index 2 is outside of int\[2\]\[3\], 0 to 1", ""),
        ("thing.m[-1]", "index -1 is outside", ""),
        ("thing.m[one]", "'one' is not a whole number", ""),
        ("thing.m.x", "an array; name an element first", ""),
        ("thing.a.x", "not a struct", ""),
        ("first.next[0]", "a pointer, which is not followed", ""),
        ("first.next->value", "pointers are not followed", ""),
        ("counter counter", "cannot read 'counter'", ""),
        ("counter.", "cannot read", ""),
        ("", "cannot read ''", "name, unit.c:name"),
        ("12", "cannot read '12'", ""),
        ("nothing.0", "no symbol 'nothing.0'", ""),
    ],
)
def test_refused(firmware: Firmware, expression: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        types.variable(firmware, expression)
    assert hint in (error.value.hint or "")


def test_numbered_symbols_are_found_as_words(firmware: Firmware) -> None:
    names = [symbol.name for symbol in firmware.variables if symbol.name.startswith("nested.")]
    assert len(names) == 1
    assert _shown(firmware, names[0]) == "{0x21}"


def test_without_debug_information_by_the_symbol_table(tmp_path: Path) -> None:
    firmware = _build(tmp_path, "-g0")
    assert _shown(firmware, "counter") == "0x00000003"
    assert _shown(firmware, "main.c:hidden") == "{0xf9, 0xff}"
    stack = types.variable(firmware, "__stack")
    assert (stack.address, stack.size, stack.type.name) == (0x200C0000, 4, "word")
    with pytest.raises(UsageError, match="not clear"):
        types.variable(firmware, "hidden")
    stripped = tmp_path / "stripped.elf"
    run("arm-none-eabi-strip", "-g", firmware.path, "-o", stripped)
    assert Firmware.load(stripped).debug.present is False
    assert _shown(Firmware.load(stripped), "counter") == "0x00000003"


def test_compressed_debug_information(tmp_path: Path) -> None:
    assert _shown(_build(tmp_path, "-gdwarf-5", "-gz"), "thing.color") == "GREEN"
    elf = tmp_path / "compressed.elf"
    run("arm-none-eabi-objcopy", "--compress-debug-sections=zlib", tmp_path / "app.elf", elf)
    assert _shown(Firmware.load(elf), "work.calls") == "22"


@pytest.mark.parametrize("version", ["4", "5"])
def test_units_that_clang_compiled(tmp_path: Path, version: str) -> None:
    """Clang's DWARF 5 names strings and addresses by index."""
    (tmp_path / "shared.h").write_text(SHARED)
    (tmp_path / "main.c").write_text(MAIN.replace("uint8_t a : 3", "volatile uint8_t a : 3"))
    flags = ["--target=arm-none-eabi", *BOARD.cflags, "-O1", "-ffreestanding", "-g", f"-gdwarf-{version}"]
    run(CLANG, *flags, "-c", "main.c", "-o", "main.o", cwd=tmp_path)
    other = compile_c(tmp_path, "other.c", OTHER)
    startup = compile_c(tmp_path, "startup.c", STARTUP)
    firmware = Firmware.load(link(tmp_path, [startup, tmp_path / "main.o", other]))
    assert _shown(firmware, "thing.m") == "{{1, 2, 3}, {4, 5, 6}}"
    assert _shown(firmware, "thing.a") == "5"
    assert _shown(firmware, "thing.kind") == "BLUE"
    assert _shown(firmware, "thing.color") == "GREEN"
    assert _shown(firmware, "counter") == "3"
    assert _shown(firmware, "main.c:hidden") == "-7"
    assert _shown(firmware, "action.calls") == "11"
    assert _shown(firmware, "other.calls") == "44"
    assert types.variable(firmware, "thing.call").type.name == "void (*)(int)"


def test_only_the_entries_of_the_type_are_read(firmware: Firmware, tmp_path: Path) -> None:
    index = tmp_path / "index"
    Firmware.load(firmware.path, index=index)
    again = Firmware.load(firmware.path, index=index)
    types.variable(again, "deep_global")
    assert again.debug.touched == 1
    info = dwarf.DebugInfo.of(again).dwarf
    assert info.read <= 30, "the variable and its type, and their attributes"


def test_importing_does_not_load_pyelftools() -> None:
    code = "import sys, hotflash.types, hotflash.image.builder, hotflash.board, hotflash.sim; print(*sys.modules)"
    loaded = run(sys.executable, "-c", code).split()
    assert not {"elftools", "intelhex", "serial", "crcmod"} & set(loaded)


@pytest.mark.parametrize("section", [".debug_info", ".debug_abbrev", ".debug_str"])
def test_damaged_debug_information_is_one_error(firmware: Firmware, section: str) -> None:
    found = next(item for item in firmware.container.sections if item.name == section)
    if not found.data:
        pytest.skip(f"no {section}")
    data = firmware.path.read_bytes()
    at = data.index(found.data)
    for fill in (0x00, 0xFF, 0x7F):
        for start in (0, len(found.data) // 3):
            damaged = bytearray(data)
            damaged[at + start : at + len(found.data)] = bytes([fill]) * (len(found.data) - start)
            path = firmware.path.with_name("damaged.elf")
            path.write_bytes(damaged)
            with contextlib.suppress(ElfError, UsageError):  # anything else fails the test
                types.variable(Firmware.load(path), "thing.color")
