"""What goes is what changed, by content: no more than that, and all of it."""

from __future__ import annotations

import pytest

from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from hotflash.link import Plan, plan
from tests.link.device import Device
from tests.link.machine import Bench
from tests.link.test_state import CLANG, START
from tests.link.toolchain import HOT, Workshop

LEVELS = ["-O0", "-Og", "-O1", "-O2", "-O3", "-Os", "-Oz"]


def changed(made: Plan) -> set[str]:
    return {change.function for change in made.changes}


def offline(firmware: Firmware, *objects: ObjectFile) -> Plan:
    return plan(objects, firmware, Device(firmware).live)


FILE = (
    """
struct point { int x, y; };
static const int primes[] = {2, 3, 5, 7, 11, 13};
static const char *const names[] = {"zero", "one", "two"};
static int total; int shared[4]; const char *volatile said; volatile float level;
static int hidden(int x) { static int calls; return ++calls + x; }
int large(int x) { return x * 123456789 + 987654321; }
int tables(int x) { said = names[x % 3]; return primes[x % 6] + shared[x & 3]; }
int choose(int x) {
    switch (x) { case 0: return large(x); case 1: return tables(2); case 2: said = "two"; return 3;
    case 3: return hidden(x); case 4: return total++; case 5: return 77; case 6: return x * x; default: return -1; }
}
float real(float x) { level = x * 1.5f; return level / 3.25f; }
__attribute__((noinline)) static int inner(int x) { struct point p = {x, 5}; shared[1] = p.y; return p.x; }
int outer(int x) { return inner(x) + inner(2 * x); }
int again(int x) { return x < 2 ? 1 : x * again(x - 1) + again(x - 2); }
int loop(const char *s) { int n = 0; while (*s++) n++; total += n; return n; }
"""
    + START
)


@pytest.mark.parametrize("level", LEVELS)
def test_a_comment_or_a_moved_line_pushes_nothing(shop: Workshop, level: str) -> None:
    flags = [*HOT, level]
    firmware = shop.firmware(shop.compile(FILE, flags=flags))
    made = offline(
        firmware, shop.compile("/* a comment */\n\n\n" + FILE.replace("{ int n", "{\n\n    int n"), flags=flags)
    )
    assert changed(made) == set()
    assert made.unchanged > 8
    assert not made.requests


@pytest.mark.parametrize("level", LEVELS)
def test_moved_functions_and_variables_push_nothing(shop: Workshop, level: str) -> None:
    flags = [*HOT, level, "-fno-toplevel-reorder"]
    parts = [f"int f{n}(int x) {{ static int calls; calls += x; return calls + {n}; }}\n" for n in range(4)]
    text = 'int v@ = @; static const char *const t@ = "text @"; const char *g@(void) { v@++; return t@; }\n'
    data = [text.replace("@", str(n)) for n in range(4)]
    firmware = shop.firmware(shop.compile("".join([*parts, *data, START]), flags=flags))
    made = offline(firmware, shop.compile("".join([START, *data[::-1], *parts[::-1]]), flags=flags))
    assert changed(made) == set()


def test_other_texts_move_offsets_in_merged_strings(shop: Workshop) -> None:
    base = 'const char *f(void) { return "common"; } const char *g(void) { return "green"; }\n' + START
    firmware = shop.firmware(shop.compile(base))
    made = offline(
        firmware, shop.compile('const char *a(void) { return "another"; }\n' + base.replace("green", "red, red"))
    )
    assert changed(made) == {"g"}


def test_clang_objects_are_compared_with_what_is_live(shop: Workshop) -> None:
    firmware = shop.firmware(shop.compile(FILE))
    device = Bench(firmware)
    obj = shop.compile(FILE, flags=CLANG, compiler="clang-19")
    assert "choose" in changed(device.run(obj))
    assert changed(device.run(shop.compile("/* a comment */\n\n" + FILE, flags=CLANG, compiler="clang-19"))) == set()
    made = device.run(shop.compile(FILE.replace("return 77", "return 78"), flags=CLANG, compiler="clang-19"))
    assert changed(made) == {"choose"}
    assert device.call("choose", 5) == 78
    reverted = device.run(shop.compile(FILE))
    assert {change.action for change in reverted.changes} == {"revert"}
    assert device.call("choose", 5) == 77
    assert not device.hooks


@pytest.mark.parametrize("level", LEVELS)
def test_a_change_pushes_the_function_alone(shop: Workshop, level: str) -> None:
    flags = [*HOT, level]
    firmware = shop.firmware(shop.compile(FILE, flags=flags))
    for old, new, who in (
        ("123456789", "123456788", "large"), ("1.5f", "1.25f", "real"), ("return -1", "return -2", "choose"),
        ('said = "two"', 'said = "three"', "choose"), ("x < 2", "x < 3", "again"), ("x * x", "x + x", "choose"),
    ):  # fmt: skip
        assert changed(offline(firmware, shop.compile(FILE.replace(old, new), flags=flags))) == {who}, old


def test_a_changed_constant_pushes_its_users(shop: Workshop) -> None:
    firmware = shop.firmware(shop.compile(FILE))
    assert changed(offline(firmware, shop.compile(FILE.replace("11, 13", "11, 17")))) == {"tables"}
    assert changed(offline(firmware, shop.compile(FILE.replace('"one", "two"', '"one", "deux"')))) == {"tables"}


INLINED = (
    """
volatile int port;
static inline __attribute__((always_inline)) int innermost(int x) { port = x; return x + 1; }
static int middle(int x) { return innermost(x) * 2; }
int one(int x) { return middle(x); }
int two(int x) { return middle(x) + 5; }
int three(int x) { return x; }
"""
    + START
)


@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os"])
def test_an_inlined_callee_pushes_its_callers(shop: Workshop, level: str) -> None:
    flags = [*HOT, level]
    device = Bench(shop.firmware(shop.compile(INLINED, flags=flags)))
    made = device.run(shop.compile(INLINED.replace("x + 1", "x + 10"), flags=flags))
    assert changed(made) == ({"middle"} if level == "-O0" else {"one", "two"})
    assert (device.call("one", 1), device.call("two", 1), device.call("three", 1)) == (22, 27, 1)


CLONES = (
    """
volatile int port;
static __attribute__((noinline)) int scale(int x, int by) {
    port = by; for (int i = 0; i < by; i++) x += port * i; return x; }
int one(int x) { return scale(x, 3); }
int two(int x) { return scale(x + 1, 3); }
struct big { int a, b, c, d; };
static __attribute__((noinline)) int field(struct big *p, int unused) { port = p->b; return p->b * 3 + p->c; }
int three(int x) { struct big b = {x, x + 1, x + 2, x + 3}; return field(&b, 7); }
void rare(int) __attribute__((cold, noinline)); void rare(int x) { port = x; }
__attribute__((noinline)) void use(int x) { port = x; }
int four(int x) {
    if (__builtin_expect(x == 99, 0)) { rare(1); port = x * 17; rare(2); port = x * 19; rare(3); return port; }
    return x + 4;
}
static int split(int *p) {
    if (__builtin_expect(!p, 1)) return 0;
    port = *p; for (int i = 0; i < 9; i++) port += p[0] * i;
    use(port); use(port * 3); use(port * 7); port ^= p[1]; use(5); return port; }
int five(int x) { int p[2] = {x, x}; return split(x ? p : 0) + 1; }
int six(int x) { int p[2] = {x, x}; return split(x & 1 ? p : 0) + 2; }
int main(void) { port = 5; return one(1) + two(2); }
"""
    + START
)


def test_clones_and_cold_functions_are_followed(shop: Workshop) -> None:
    flags = [*HOT, "-O2"]
    obj = shop.compile(CLONES, flags=flags)
    names = {s.name for s in obj.symbols}
    sections = {s.name for s in obj.sections}
    for suffix in (".constprop.", ".isra.", ".part."):
        assert any(suffix in name for name in names), (suffix, sorted(names))
    assert ".text.startup.main" in sections
    assert any(name.startswith(".text.unlikely.") for name in sections)
    firmware = shop.firmware(obj)
    assert changed(offline(firmware, shop.compile("\n\n" + CLONES, flags=flags))) == set()
    for old, new, who, argument in (
        ("port * i; return x", "port * i + 1; return x", {"one", "two", "main"}, "one"),
        ("p->b * 3", "p->b * 5", {"three"}, "three"),
        ("x * 19", "x * 23", {"four"}, "four"),
        ("port += p[0] * i", "port += p[0] * i + 1", {"five", "six"}, "five"),
        ("port = 5", "port = 6", {"main"}, "main"),
    ):
        device = Bench(firmware)
        edited = CLONES.replace(old, new)
        assert edited != CLONES
        made = device.run(shop.compile(edited, flags=flags))
        assert changed(made) == who, old
        fresh = Bench(shop.firmware(shop.compile(edited, flags=flags)))
        for value in (1, 99):
            assert device.call(argument, value) == fresh.call(argument, value), old


SWITCH = (
    """
volatile int port; const char *volatile said;
int many(int x) {
    switch (x) {
    case 0: port = 1; return 5; case 1: port++; return 11; case 2: return port; case 3: said = "three"; return 6;
    case 4: return port * 3; case 5: port = 9; return 1; case 6: return x + port; default: return 100; } }
int constants(int x) {
    switch (x) { case 0: return 12; case 1: return 99; case 2: return -5; case 3: return 1234567; case 4: return 3;
    case 5: return 8; default: return 0; } }
int wide(int x) {
    switch (x) {
    case 0: port = 1; port += x; port ^= 5; port = 7; port++; port = 123456; port ^= 654321; port = port * 11; break;
    case 1: port = 2; port += x; port ^= 6; port = 8; port++; port = 223456; port ^= 754321; port = port * 13; break;
    case 2: port = 3; port += x; port ^= 7; port = 9; port++; port = 323456; port ^= 854321; port = port * 17; break;
    case 3: port = 4; port += x; port ^= 8; port = 1; port++; port = 423456; port ^= 954321; port = port * 19; break;
    case 4: port = 5; port += x; port ^= 9; port = 2; port++; port = 523456; port ^= 154321; port = port * 23; break;
    default: port = 0; }
    return port; }
"""
    + START
)


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3", "-Os"])
@pytest.mark.parametrize("compiler", ["arm-none-eabi-gcc", "clang-19"])
def test_switch_tables(shop: Workshop, level: str, compiler: str) -> None:
    flags = [*HOT, level]
    firmware = shop.firmware(shop.compile(SWITCH, flags=flags))
    if compiler.endswith("gcc"):
        assert changed(offline(firmware, shop.compile("\n" + SWITCH, flags=flags))) == set()
    edited = SWITCH.replace("return x + port; default", "return x + port + 1; case 7: return 70; default").replace(
        "case 5: return 8;", "case 5: return 9; case 6: return 55;").replace("port * 19", "port * 21")  # fmt: skip
    device, fresh = Bench(firmware), Bench(shop.firmware(shop.compile(edited, flags=flags)))
    patch = flags if compiler.endswith("gcc") else [*CLANG, level]
    assert changed(device.run(shop.compile(edited, "a.c", patch, compiler))) == {"many", "constants", "wide"} | (
        {"start"} if compiler == "clang-19" else set()
    )
    for name in ("many", "constants", "wide"):
        for value in range(-1, 9):
            assert device.call(name, value & 0xFFFFFFFF) == fresh.call(name, value & 0xFFFFFFFF), (name, value)


ASSERTS = (
    """
void fail(const char *file, int line); int last_line; const char *last_file;
void fail(const char *file, int line) { last_file = file; last_line = line; }
#define CHECK(c) ((c) ? (void)0 : fail(__FILE__, __LINE__))
int one(int x) { CHECK(x > 1); return x + 3; }
int two(int x) { CHECK(x > 2);
    CHECK(x > 3 &&
          x > 4); return x; }
int three(int x) { return x + 7; }
int four(int x) { CHECK(x > 4); return x * 3; }
"""
    + START
)


@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os"])
def test_functions_that_differ_by_line_numbers_are_said(shop: Workshop, level: str) -> None:
    flags = [*HOT, level]
    device = Bench(shop.firmware(shop.compile(ASSERTS, flags=flags)))
    device.call("four", 0)
    before = device.machine.word("last_line")
    made = device.run(shop.compile("/* more\n * lines\n */\n" + ASSERTS.replace("x * 3", "x * 5"), flags=flags))
    reasons = {change.function: change.reason for change in made.changes}
    assert reasons == {
        "one": "differs from the base image by line numbers only",
        "two": "differs from the base image by line numbers only",
        "four": "differs from the base image",
    }
    assert made.notes == ("one, two differ from the base image only by what __LINE__ and __FILE__ are there",)
    device.call("four", 0)
    assert device.machine.word("last_line") == before + 3, "the number is right, too"


def test_a_line_in_the_middle_of_the_file(shop: Workshop) -> None:
    firmware = shop.firmware(shop.compile(ASSERTS))
    made = offline(firmware, shop.compile(ASSERTS.replace("int three", "\n\nint three")))
    assert {change.function for change in made.changes} == {"four"}
    assert "line numbers" in made.changes[0].reason


def test_another_name_of_the_file_is_said(shop: Workshop) -> None:
    firmware = shop.firmware(shop.compile('#line 10 "one/a.c"\n' + ASSERTS))
    made = offline(firmware, shop.compile('#line 20 "another/a.c"\n' + ASSERTS))
    assert {change.reason for change in made.changes} == {
        "differs from the base image by line numbers and the file's name only"
    }
    assert {change.function for change in made.changes} == {"one", "two", "four"}


@pytest.mark.parametrize(("old", "new"), [("return 5", "return 7"), ("return 3", "return 4")])
def test_a_number_that_happens_to_change_is_no_line_number(shop: Workshop, old: str, new: str) -> None:
    base = "\nint f(int x) {\n    return 3;\n}\n\nint g(int x) {\n    x++;\n    return 5;\n}\n" + START
    made = offline(shop.firmware(shop.compile(base)), shop.compile(base.replace(old, new)))
    assert [change.reason for change in made.changes] == ["differs from the base image"]


def test_without_debug_information_no_reason_is_guessed(shop: Workshop) -> None:
    flags = [*HOT, "-g0"]
    firmware = shop.firmware(shop.compile(ASSERTS, flags=flags))
    made = offline(firmware, shop.compile("\n" + ASSERTS, flags=flags))
    assert changed(made) == {"one", "two", "four"}
    assert {change.reason for change in made.changes} == {"differs from the base image"}


CONSTANTS = """
extern const int *const cross[2];
int value(int x);
const int table[3] = { 1, 2, 3 };
int (*const actions[2])(int) = { value, 0 };
const int *const circle[2] = { table, (const int *)&cross };
"""
USER = """
extern int (*const actions[2])(int);
extern const int *const circle[2];
extern const int table[3];
const int *const cross[2] = { (const int *)&circle, table };
int value(int x);
int value(int x) { return x + table[x & 1]; }
int user(int x);
int user(int x) { return actions[x & 1](x) + *circle[0] + *cross[1]; }
int start(void);
int start(void) { for (;;) { user(1); } }
"""


def test_constants_of_another_object_are_the_same_alone_and_together(shop: Workshop) -> None:
    """What a function refers to decides about it, not which objects are pushed beside it."""
    constants = shop.compile(CONSTANTS, "constants.c")
    user = shop.compile(USER, "user.c")
    firmware = shop.firmware(user, constants)
    edited = shop.compile(USER.replace("actions[x & 1](x) +", "actions[x & 1](x) -"), "user.c")
    for first, second in (([edited], [edited, constants]), ([constants, edited], [edited])):
        device = Device(firmware)
        assert {c.function for c in device.push(*first)[0].changes} == {"user"}
        assert device.push(*second)[0].empty
    changed = shop.compile(CONSTANTS.replace("2, 3", "2, 4"), "constants.c")
    assert {c.function for c in Device(firmware).push(user, changed)[0].changes} == {"user", "value"}
