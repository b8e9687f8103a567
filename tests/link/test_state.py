"""Live state is found by identity: patched code works on the variables that the firmware has, and on no copy."""

from __future__ import annotations

import pytest

from hotflash.errors import LinkError
from hotflash.wire.messages import SlotKind
from tests.link.machine import Bench
from tests.link.toolchain import CPU, HOT, SECTIONS, Workshop

START = "int start(void) { return 0; }\n"
CLANG = ["--target=arm-none-eabi", *CPU, "-g", "-Os", "-ffreestanding", "-fshort-enums", "-mno-global-merge"]
CLANG += SECTIONS


def bench(shop: Workshop, flags: list[str] | None = None, **units: str) -> Bench:
    """A running firmware of units by name; one of them defines ``start``."""
    return Bench(shop.firmware(*(shop.compile(text, f"{name}.c", flags) for name, text in units.items())))


def variables(device: Bench) -> int:
    """How many variables came with patches."""
    return sum(slot.kind == SlotKind.VAR for slot in device.slots)


def test_file_statics_of_one_name_in_two_units(shop: Workshop) -> None:
    text = "static int count; int NAME(int x) { count += x; return count; }\n"
    one, two = text.replace("NAME", "one"), text.replace("NAME", "two")
    device = bench(shop, a=one + START, b=two)
    device.call("one", 1)
    device.call("two", 50)
    device.run(shop.compile(two.replace("+= x", "+= 2 * x"), "b.c"))
    assert device.call("two", 5) == 60
    assert device.call("one", 1) == 2
    device.run(shop.compile(one.replace("+= x", "+= 3 * x") + START, "a.c"))
    assert device.call("one", 1) == 5
    assert device.call("two", 0) == 60
    assert variables(device) == 0


def test_two_units_of_one_name_are_told_apart_by_what_else_they_have(shop: Workshop) -> None:
    one = "static int count, red; int one(int x) { red++; count += x; return count + red; }\n"
    two = "static int count, blue; int two(int x) { blue += 2; count += x; return count + blue; }\n"
    device = Bench(shop.firmware(shop.compile(one + START, "unit.c"), shop.compile(two, "unit.c")))
    device.call("one", 100)
    device.call("two", 7)
    device.run(shop.compile(two.replace("blue += 2", "blue += 3"), "unit.c"))
    assert device.call("two", 0) == 7 + 5
    device.run(shop.compile(one.replace("red++", "red += 10") + START, "unit.c"))
    assert device.call("one", 0) == 100 + 11


def test_two_units_that_look_alike_are_refused(shop: Workshop) -> None:
    text = "static int count; int NAME(int x) { count += x; return count; }\n"
    one, two = text.replace("NAME", "one"), text.replace("NAME", "two")
    device = Bench(shop.firmware(shop.compile(one + START, "unit.c"), shop.compile(two, "unit.c")))
    with pytest.raises(LinkError, match=r"2 units called unit\.c that look alike"):
        device.run(
            shop.compile("static int count; int three(int x) { return x; }\n" + one.replace("+= x", "-= x"), "unit.c")
        )


def test_the_number_of_a_function_static_changes(shop: Workshop) -> None:
    base = (
        """
    int one(int x) { static int count; count += x; return count; }
    int two(int x) { static int count; count += x; return count; }
    """
        + START
    )
    edited = (
        """
    int zero(int x) { static int count = 1000; count += x; return count; }
    int two(int x) { static int count; count += 2 * x; return count; }
    int one(int x) { static int count; count += 3 * x + zero(1); return count; }
    """
        + START
    )
    device = bench(shop, a=base)
    names = {s.name for s in device.firmware.variables if s.name.startswith("count")}
    obj = shop.compile(edited)
    assert names == {"count.0", "count.1"}
    assert {s.name for s in obj.symbols if s.name.startswith("count")} == {*names, "count.2"}
    device.call("one", 1)
    device.call("two", 50)
    device.run(obj)
    assert device.call("one", 1) == 1 + 3 + 1001
    assert device.call("two", 5) == 60
    assert variables(device) == 1


BLOCKS = (
    """
int f(int x) { if (x & 1) { static int n = 10; n += x; return n; } else { static int n = 20; n += x; return n; } }
"""
    + START
)


@pytest.mark.parametrize("level", ["-O0", "-Os"])
@pytest.mark.parametrize("compiler", ["arm-none-eabi-gcc", "clang-19"])
def test_several_statics_of_one_name_in_one_function(shop: Workshop, level: str, compiler: str) -> None:
    device = bench(shop, [*HOT, level], a=BLOCKS)
    assert (device.call("f", 1), device.call("f", 2)) == (11, 22)
    flags = [*(HOT if compiler.endswith("gcc") else CLANG), level]
    device.run(shop.compile(BLOCKS.replace("return n; } else", "return n + 100; } else"), "a.c", flags, compiler))
    assert (device.call("f", 1), device.call("f", 2)) == (112, 24)
    assert variables(device) == 0


def test_one_more_static_of_that_name_in_the_function_is_refused(shop: Workshop) -> None:
    device = bench(shop, a=BLOCKS)
    device.call("f", 1)
    third = BLOCKS.replace("{ if", "{ if (x == 4) { static int n = 30; n += x; return n; } if")
    with pytest.raises(LinkError, match=r"the static n of a\.c used by f is, is ambiguous: the firmware has n\.\d at"):
        device.run(shop.compile(third))
    assert device.call("f", 1) == 12


def test_a_function_static_is_not_the_file_static_of_its_name(shop: Workshop) -> None:
    base = "static int count = 7; int f(int x) { count += x; return count; }\n" + START
    device = bench(shop, a=base)
    device.call("f", 1)
    edited = base.replace("count += x;", "count += x; { static char count = 100; count++; x = count; }")
    device.run(shop.compile(edited.replace("return count", "return count + x")))
    assert device.call("f", 2) == 8 + 2 + 101
    assert variables(device) == 1


@pytest.mark.parametrize("level", ["-O2", "-O0"])
def test_a_static_of_an_inlined_function(shop: Workshop, level: str) -> None:
    flags = [*HOT, level]
    base = (
        """
    static int next(int x) { static int count; count += x; return count; }
    __attribute__((noinline)) int f(int x) { return next(x); }
    int g(int x) { static int count; count += x; return count + next(0); }
    """
        + START
    )
    device = bench(shop, flags, a=base)
    device.call("f", 5)
    device.call("g", 100)
    device.run(shop.compile(base.replace("static int next", "static __attribute__((noinline)) int next")
                            .replace("return next(x)", "return 2 * next(x)"), flags=flags))  # fmt: skip
    assert device.call("f", 1) == 12
    assert device.call("g", 0) == 106
    assert variables(device) == 0


@pytest.mark.parametrize("level", ["-O2", "-O0"])
def test_a_static_that_its_user_inlines_is_not_the_users_own(shop: Workshop, level: str) -> None:
    flags = [*HOT, level]
    base = "int f(int x) { static int count = 500; count += x; return count; }\n" + START
    device = bench(shop, flags, a=base)
    device.call("f", 1)
    edited = (
        """
    static int next(int x) { static int count = 7; count += x; return count; }
    int f(int x) { return next(x); }
    """
        + START
    )
    device.run(shop.compile(edited, flags=flags))
    assert device.call("f", 1) == 8
    assert variables(device) == 1


@pytest.mark.parametrize("level", ["-O2", "-O0"])
def test_a_new_static_keeps_its_identity_whether_its_function_is_inlined_or_not(shop: Workshop, level: str) -> None:
    flags = [*HOT, level]
    device = bench(shop, flags, a="int f(int x) { return x; } int g(int x) { return x; }" + START)
    edited = (
        """
    static int next(int x) { static int count = 40; count += x; return count; }
    int f(int x) { return next(x); } int g(int x) { return x; }
    """
        + START
    )
    device.run(shop.compile(edited, flags=flags))
    assert device.call("f", 1) == 41
    edited = edited.replace("int g(int x) { return x; }", "int g(int x) { return next(x) + 1000; }")
    device.run(shop.compile(edited, flags=flags))
    assert device.call("g", 1) == 1042
    device.run(
        shop.compile(edited.replace("static int next", "static __attribute__((noinline)) int next"), flags=flags)
    )
    assert device.call("f", 1) == 43
    assert variables(device) == 1


def test_common_symbols(shop: Workshop) -> None:
    flags = [*HOT, "-fcommon"]
    base = "int shared; int f(int x) { shared += x; return shared; }\n" + START
    device = bench(shop, flags, a=base, b="int shared; int g(void) { return shared; }")
    device.call("f", 3)
    edited = "int fresh;\n" + base.replace("shared += x;", "shared += 2 * x; fresh += shared;")
    device.run(shop.compile(edited.replace("return shared", "return fresh"), flags=flags))
    assert device.call("f", 1) == 5
    assert device.call("g") == 5
    assert device.call("f", 0) == 10
    assert variables(device) == 1


@pytest.mark.parametrize("attribute", ["weak", 'visibility("hidden")', "used"])
def test_weak_and_hidden_variables(shop: Workshop, attribute: str) -> None:
    base = f"__attribute__(({attribute})) int state = 5; int f(int x) {{ state += x; return state; }}\n" + START
    device = bench(shop, a=base)
    device.call("f", 1)
    device.run(shop.compile(base.replace("+= x", "+= 10 * x")))
    assert device.call("f", 1) == 16
    assert device.machine.word("state") == 16
    assert variables(device) == 0


def test_a_weak_default_that_the_firmware_overrides(shop: Workshop) -> None:
    weak = "__attribute__((weak)) int state = 1; int f(int x) { state += x; return state; }\n" + START
    device = bench(shop, a=weak, b="int state = 100;")
    device.run(shop.compile(weak.replace("+= x", "-= x")))
    assert device.call("f", 1) == 99


@pytest.mark.parametrize("scope", ["int state[4];", "static int state[4];", "static"])
def test_a_changed_size_is_refused_with_both_sizes(shop: Workshop, scope: str) -> None:
    text = "GLOBAL int f(int x) { LOCAL state[x & 3] += x; return state[0]; }\n"
    inner = "static int state[4];" if scope == "static" else ""
    base = text.replace("GLOBAL", "" if inner else scope).replace("LOCAL", inner) + START
    device = bench(shop, a=base)
    with pytest.raises(LinkError, match=r"has 24 bytes in .*, but the live variable at 0x\w+ has 16"):
        device.run(shop.compile(base.replace("state[4]", "state[6]")))
    device.run(shop.compile(base.replace("+= x;", "+= x + 1;")))
    assert device.call("f", 4) == 5


def test_a_changed_size_of_a_variable_that_came_with_a_patch(shop: Workshop) -> None:
    base = "int f(int x) { return x; }\n" + START
    edited = "int fresh[2] = {1, 2}; int f(int x) { return fresh[1] += x; }\n" + START
    device = bench(shop, a=base)
    device.run(shop.compile(edited))
    assert device.call("f", 1) == 3
    with pytest.raises(LinkError, match=r"has 12 bytes in .*, but the live variable at .* has 8"):
        device.run(shop.compile(edited.replace("fresh[2]", "fresh[3]")))


def test_texts_and_constants(shop: Workshop) -> None:
    base = (
        """
    static const int table[] = {1, 2, 3, 4}; const char *volatile said;
    int f(int x) { said = "hello"; return table[x & 3]; } const char *g(void) { return "other"; }
    """
        + START
    )
    device = bench(shop, a=base)
    device.run(shop.compile(base.replace("return table[x & 3]", "return 2 * table[x & 3]")))
    assert {slot.kind for slot in device.slots} == {SlotKind.CODE}, "what the firmware has was sent again"
    assert device.call("f", 2) == 6
    assert device.machine.text(device.machine.word("said")) == b"hello"
    device.run(shop.compile(base.replace("hello", "hello, new world").replace("3, 4}", "30, 4}")))
    assert device.call("f", 2) == 30
    assert device.machine.text(device.machine.word("said")) == b"hello, new world"
    device.run(shop.compile(base.replace("hello", "other")))
    assert device.call("f", 2) == 3
    assert device.machine.word("said") == device.call("g"), "the text is in flash already"


def test_text_that_ends_another(shop: Workshop) -> None:
    base = 'const char *f(int x) { return x ? "one long text" : "text"; }\n' + START
    device = bench(shop, a=base)
    device.run(shop.compile(base.replace("one long text", "a longer text")))
    assert device.machine.text(device.call("f", 1)) == b"a longer text"
    assert device.machine.text(device.call("f", 0)) == b"text"


DATA = (
    """
typedef int (*fn)(int);
static int twice(int x) { return 2 * x; }
int thrice(int x) { return 3 * x; }
static int state = 5;
struct entry { const char *name; fn run; int *where; };
struct entry entries[2] = {{"twice", twice, &state}, {"thrice", thrice, &state}};
int f(int x) { *entries[0].where += 1; return entries[x & 1].run(10) + state; }
"""
    + START
)


def test_data_that_holds_addresses_of_functions(shop: Workshop) -> None:
    device = bench(shop, a=DATA)
    assert device.call("f", 0) == 26
    plan = device.run(shop.compile(DATA.replace("2 * x", "20 * x")))
    assert [change.function for change in plan.changes] == ["twice"]
    assert device.call("f", 0) == 207, "the table in RAM leads to the new version"
    assert device.call("f", 1) == 38


@pytest.mark.parametrize("compiler", ["arm-none-eabi-gcc", "clang-19"])
def test_static_function_behind_a_pointer_of_live_data(shop: Workshop, compiler: str) -> None:
    device = bench(shop, a=DATA)
    flags = HOT if compiler.endswith("gcc") else CLANG
    device.run(shop.compile(DATA.replace("2 * x", "20 * x"), flags=flags, compiler=compiler))
    assert device.call("f", 0) == 206


NEW = (
    """
typedef int (*fn)(int);
extern const char *const names[];
static int fresh_function(int x) { return x + 1000; }
int old(int x) { return x + 1; }
struct node { struct node *self; struct node *other; fn new_code; fn old_code; const char *name; int *global; };
int global = 3;
extern struct node second;
static struct node first = {&first, &second, fresh_function, old, "first", &global};
struct node second = {&second, &first, old, fresh_function, "second", 0};
int f(int x) {
    if (first.self != &first || first.other != &second || second.other != &first) return -1;
    if (first.new_code != fresh_function || second.new_code != old) return -2;
    (*first.global)++;
    return first.new_code(x) + second.new_code(0) + first.name[0] + global;
}
"""
    + START
)


def test_initialiser_of_a_new_variable(shop: Workshop) -> None:
    base = "int global = 3; int old(int x) { return x + 1; } int f(int x) { return global; }\n" + START
    device = bench(shop, a=base)
    device.run(shop.compile(NEW))
    assert device.call("f", 5) == 1005 + 1 + ord("f") + 4
    assert device.machine.word("global") == 4
    assert variables(device) == 2
    # A new version of the new function is reached through what the variable holds: its entry, not its slot.
    device.run(shop.compile(NEW.replace("x + 1000", "x + 2000")))
    assert device.call("f", 5) == 2005 + 1 + ord("f") + 5
    assert variables(device) == 2


def test_a_new_variable_is_initialised_once(shop: Workshop) -> None:
    base = "int f(int x) { return x; }\n" + START
    edited = "static int fresh = 100, zero; int f(int x) { fresh += x; zero++; return fresh + zero; }\n" + START
    device = bench(shop, a=base)
    device.run(shop.compile(edited))
    assert device.call("f", 1) == 102
    device.run(shop.compile(edited.replace("+= x", "+= 10 * x").replace("= 100", "= 500")))
    assert device.call("f", 1) == 113
    device.run(shop.compile(base))
    assert device.call("f", 1) == 1
    device.run(shop.compile(edited))
    assert device.call("f", 1) == 115, "it has kept its value while no code used it"


def test_a_changed_initialiser_is_said_and_keeps_the_live_value(shop: Workshop) -> None:
    base = "int state = 5; static int mine = 1; int f(int x) { state += x; mine++; return state + mine; }\n" + START
    device = bench(shop, a=base)
    plan = device.run(shop.compile(base.replace("= 5", "= 50").replace("= 1", "= 10")))
    assert not plan.changes
    assert sorted(note.split()[4] for note in plan.notes) == ["mine", "state"]
    assert device.call("f", 0) == 7


def test_a_name_that_becomes_static_or_global(shop: Workshop) -> None:
    base = "static int state = 5; int f(int x) { state += x; return state; }\n" + START
    device = bench(shop, a=base)
    device.call("f", 1)
    device.run(shop.compile(base.replace("static int state", "int state").replace("+= x", "+= 2 * x")))
    assert device.call("f", 1) == 8


def test_a_constant_that_becomes_a_variable(shop: Workshop) -> None:
    base = "static const int table[3] = {1, 2, 3}; int f(int x) { return table[x]; }\n" + START
    device = bench(shop, a=base)
    device.run(shop.compile(base.replace("return table", "return ++table").replace("const ", "")))
    assert (device.call("f", 1), device.call("f", 1)) == (3, 4)
    device.run(shop.compile(base))
    assert device.call("f", 1) == 2, "reverted: the base image's constant"


@pytest.mark.parametrize(
    ("values", "section"),
    [
        ("3] = {1, 2, 3}", ".rodata.f.table"),
        ("4] = {1, 2, 3, 4}", ".rodata.cst16"),
        ("4] = {1, 2, 3}", ".rodata.str4.4"),
    ],
)
def test_a_static_that_nothing_writes_to_any_more(shop: Workshop, values: str, section: str) -> None:
    base = (
        f"""
    int other(int x) {{ static int table[] = {{7, 8, 9}}; return table[x] += x; }}
    int f(int x) {{ static int table[{values}; return ++table[x]; }}
    """
        + START
    )
    device = bench(shop, a=base)
    device.call("f", 1)
    edited = base.replace("return ++table[x]", "return 100 * table[x]")
    obj = shop.compile(edited, flags=CLANG, compiler="clang-19")  # GCC leaves it where it is
    assert any(s.name == section for s in obj.sections), "clang has another place for it"
    device.run(obj)
    assert device.call("f", 1) == 300
    assert device.call("other", 2) == 11


CLANG_STATE = (
    """
struct pair { int a; short b; };
static struct pair both; static unsigned flag;
int f(int x) {
    static struct pair inner = {40, 2};
    both.a += x; inner.b++; inner.a += x;
    return both.a + inner.a + inner.b;
}
int g(int x) { both.b += x; return both.b + f(0); }
int h(int x) { if (x) flag = 7; return flag; }
"""
    + START
)


def test_variables_that_clang_keeps_in_parts(shop: Workshop) -> None:
    device = bench(shop, a=CLANG_STATE)
    device.call("f", 5)
    device.call("g", 3)
    obj = shop.compile(CLANG_STATE.replace("both.a += x", "both.a += 100 * x").replace("if (x) flag = 7", "flag += x"),
                       flags=CLANG, compiler="clang-19")  # fmt: skip
    assert {"both.0", "both.1", "f.inner.0", "f.inner.1"} <= {s.name for s in obj.symbols}
    device.run(obj)
    assert device.call("f", 1) == 105 + 46 + 5
    assert device.call("g", 1) == 4 + 105 + 46 + 6
    assert variables(device) == 0


def test_a_new_variable_that_clang_keeps_in_parts(shop: Workshop) -> None:
    device = bench(shop, a=START + "int f(int x) { return x; } int g(int x) { return x; } int h(int x) { return x; }")
    edited = CLANG_STATE.replace("if (x) flag = 7", "flag += x")
    device.run(shop.compile(edited, flags=CLANG, compiler="clang-19"))
    assert device.call("f", 5) == 5 + 45 + 3
    device.run(shop.compile(edited.replace("inner.b++", "inner.b += 10"), flags=HOT))
    assert device.call("f", 0) == 5 + 45 + 13, "GCC's build finds the same variable, in one piece"


def test_a_variable_that_clang_keeps_as_one_bit_is_refused(shop: Workshop) -> None:
    device = bench(shop, a=CLANG_STATE)
    with pytest.raises(LinkError, match=r"flag of a\.c is a byte that may tell two values apart, as clang has it"):
        device.run(shop.compile(CLANG_STATE, flags=CLANG, compiler="clang-19"))


@pytest.mark.parametrize("apart", [False, True])
def test_globals_that_clang_merges(shop: Workshop, apart: bool) -> None:
    text = "int f(int x) { a += x; b -= x; return a * b; }\n" + START
    # GCC lays statics out in reverse.
    device = bench(shop, a=("static int a, b; " if apart else "static int b, a; ") + text)
    device.call("f", 3)
    flags = [*CLANG, "-O3", "-mglobal-merge"]
    edited = "static int a, b; " + text.replace("a * b", "a * b * 2")
    obj = shop.compile(edited, flags=flags, compiler="clang-19")
    assert any("Merged" in s.name for s in obj.sections)
    if not apart:
        device.run(obj)
        assert device.call("f", 1) == -32 & 0xFFFFFFFF
        return
    with pytest.raises(LinkError, match=r"_MergedGlobals, which holds several variables \(a, b\)") as caught:
        device.run(obj)
    assert "-mno-global-merge" in (caught.value.hint or "")


def test_common_symbols_take_the_largest_size(shop: Workshop) -> None:
    flags = [*HOT, "-fcommon"]
    base = "int shared[2]; int f(int x) { return shared[1] += x; }\n" + START
    device = bench(shop, flags, a=base, b="int shared[6]; int g(void) { return shared[5]; }")
    device.run(shop.compile(base.replace("+= x", "-= x"), flags=flags))
    assert device.call("f", 1) == 0xFFFFFFFF
    with pytest.raises(LinkError, match=r"has 32 bytes in .*, but the live variable at .* has 24"):
        device.run(shop.compile(base.replace("shared[2]", "shared[8]"), flags=flags))
