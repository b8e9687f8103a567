"""C++ objects: inline functions and templates, virtual calls, what is constructed, what is thrown."""

from __future__ import annotations

import pytest

from hotflash.elf.object import ObjectFile
from hotflash.errors import LinkError
from tests.link.machine import Bench
from tests.link.test_changes import changed
from tests.link.test_state import CLANG, variables
from tests.link.toolchain import HOT, Workshop

CXX = "arm-none-eabi-g++"
FLAGS = [*HOT, "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-std=c++17"]
START = 'extern "C" int start() { return 0; }\n'
HEADER = """
extern "C" void *memcpy(void *, const void *, unsigned);
inline void *operator new(unsigned, void *where) noexcept { return where; }
template <typename T> struct Filter {
    T sum{}; int count = 0;
    __attribute__((noinline)) T feed(T x) { sum += x; count++; return sum / count; }
};
__attribute__((noinline)) inline int shared(int x) { static int calls = 10; calls++; return x * 2 + calls; }
struct Shape {
    int size; explicit Shape(int s) : size(s) {}
    virtual int area() const = 0; virtual int sides() const { return 0; }
};
"""
PURE = 'extern "C" void __cxa_pure_virtual() { for (;;) {} } void operator delete(void *, unsigned) noexcept {}\n'
SHAPES = (
    HEADER
    + """
struct Square : Shape {
    using Shape::Shape;
    __attribute__((noinline)) int area() const override { return size * size; }
    int sides() const override { return 4; }
};
static char room[64];
static Shape *shape;
static Filter<int> filter;
extern "C" int make(int s) { shape = new (room) Square(s); return s; }
extern "C" int ask(int x) { return shape->area() * 10 + shape->sides() + x; }
extern "C" int feed(int x) { return filter.feed(x); }
extern "C" int one(int x) { return shared(x); }
"""
    + PURE
    + START
)
OTHER = HEADER + 'extern "C" int two(int x) { return shared(x) + 1000; }\n'


def firmware(shop: Workshop, **units: str) -> Bench:
    return Bench(shop.firmware(*(shop.compile(text, f"{name}.cpp", FLAGS, CXX) for name, text in units.items())))


def patch(shop: Workshop, text: str, unit: str = "a.cpp", compiler: str = CXX) -> ObjectFile:
    flags = FLAGS if compiler == CXX else [*CLANG, "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"]
    return shop.compile(text, unit, flags, compiler)


def test_nothing_changed(shop: Workshop) -> None:
    device = firmware(shop, a=SHAPES, b=OTHER)
    made = device.run(patch(shop, "// moved\n" + SHAPES), patch(shop, "// moved\n\n" + OTHER, "b.cpp"))
    assert changed(made) == set()
    assert made.unchanged > 8


def test_an_inline_function_of_two_objects(shop: Workshop) -> None:
    device = firmware(shop, a=SHAPES, b=OTHER)
    device.call("one", 0)
    edit = ("x * 2 + calls", "x * 3 + calls")
    made = device.run(patch(shop, SHAPES.replace(*edit)), patch(shop, OTHER.replace(*edit), "b.cpp"))
    assert changed(made) == {"_Z6sharedi"}
    assert len(made.changes) == 1, "it is one function, however many objects have it"
    assert device.call("one", 5) == 15 + 12
    assert device.call("two", 5) == 1000 + 15 + 13, "one copy of its static"
    assert variables(device) == 0


def test_pushing_one_of_the_objects_that_have_an_inline_function(shop: Workshop) -> None:
    device = firmware(shop, a=SHAPES, b=OTHER)
    device.run(patch(shop, OTHER.replace("x * 2 + calls", "x * 3 + calls"), "b.cpp"))
    assert device.call("one", 5) == 15 + 11
    assert device.call("two", 5) == 1000 + 15 + 12


def test_templates(shop: Workshop) -> None:
    device = firmware(shop, a=SHAPES)
    device.call("feed", 10)
    edited = SHAPES.replace("sum / count", "sum / count + 1")
    assert changed(device.run(patch(shop, edited))) == {"_ZN6FilterIiE4feedEi"}
    assert device.call("feed", 20) == 16
    fresh = "static Filter<unsigned> fresh; return fresh.feed(x) + "
    edited = SHAPES.replace("return filter.feed(x)", fresh + "filter.feed(x)")
    made = device.run(patch(shop, edited))
    assert {(c.function, c.action) for c in made.changes} == {
        ("feed", "replace"), ("_ZN6FilterIiE4feedEi", "revert"), ("_ZN6FilterIjE4feedEj", "new"),
    }  # fmt: skip
    assert device.call("feed", 30) == 20 + 30


@pytest.mark.parametrize("compiler", [CXX, "clang++-19"])
def test_a_virtual_call_through_the_firmwares_vtable(shop: Workshop, compiler: str) -> None:
    device = firmware(shop, a=SHAPES)
    device.call("make", 5)
    assert device.call("ask", 0) == 254
    device.run(patch(shop, SHAPES.replace("size * size", "size * size + 1"), compiler=compiler))
    assert device.call("ask", 0) == 264, "the object that lives, through the table in flash"
    device.run(patch(shop, SHAPES.replace("->area() * 10", "->area() * 100"), compiler=compiler))
    assert device.call("ask", 0) == 2504
    device.call("make", 6)
    assert device.call("ask", 0) == 3604


CIRCLE = SHAPES.replace("static char room", """
struct Circle : Square {
    using Square::Square;
    int area() const override { return size * 3; }
    virtual int fresh() const { return 77; }
};
static char room""").replace("new (room) Square(s)", "new (room) Circle(s)").replace(
    "+ x; }", "+ x + static_cast<Circle *>(shape)->fresh() * 1000; }")  # fmt: skip


def test_a_vtable_that_the_patch_brings(shop: Workshop) -> None:
    device = firmware(shop, a=SHAPES)
    device.call("make", 5)
    made = device.run(patch(shop, CIRCLE))
    assert "_ZNK6Circle4areaEv" in {c.function for c in made.changes if c.action == "new"}
    device.call("make", 5)
    assert device.call("ask", 1) == 77000 + 150 + 4 + 1
    device.run(patch(shop, CIRCLE.replace("size * 3", "size * 4")))
    assert device.call("ask", 1) == 77000 + 200 + 4 + 1, "the object that lives, through the patch's table"
    device.run(patch(shop, CIRCLE.replace("return 77", "return 78")))
    assert device.call("ask", 1) == 78000 + 150 + 4 + 1


def test_a_changed_vtable_layout_is_refused(shop: Workshop) -> None:
    device = firmware(shop, a=SHAPES)
    sides = "virtual int sides() const { return 0; }"
    edited = SHAPES.replace(sides, sides + " virtual int more() { return 5; }").replace("->sides()", "->more()")
    with pytest.raises(LinkError, match=r"_ZTV6Square has 20 bytes, but the firmware's at 0x\w+ has 16: virtual"):
        device.run(patch(shop, edited))
    assert not device.slots


def test_another_override_is_for_new_objects_and_said(shop: Workshop) -> None:
    device = firmware(shop, a=SHAPES)
    device.call("make", 5)
    made = device.run(patch(shop, SHAPES.replace("    int sides() const override { return 4; }\n", "")))
    assert any(note.startswith("_ZTV6Square changed: objects that are constructed from now on") for note in made.notes)
    assert device.call("ask", 0) == 254
    device.call("make", 5)
    assert device.call("ask", 0) == 250


def test_a_new_object_with_a_constructor_is_refused(shop: Workshop) -> None:
    device = firmware(shop, a=SHAPES)
    edited = SHAPES.replace('extern "C" int feed', 'extern int volatile source; int volatile source = 3;\n'
                            'struct Built { int n; Built() : n(source) {} }; static Built built;\n'
                            'extern "C" int feed').replace("filter.feed(x)", "filter.feed(x) + built.n")  # fmt: skip
    with pytest.raises(LinkError) as caught:
        device.run(patch(shop, edited))
    assert "the new variable _ZL5built is constructed at start-up, by _GLOBAL__sub_I_" in caught.value.message
    assert not device.slots


def test_an_object_that_the_firmware_has_constructed_is_used(shop: Workshop) -> None:
    text = (
        SHAPES
        + """
    int volatile source = 3; struct Built { int n; Built() : n(source) {} }; Built built;
    extern "C" int get(int x) { return built.n + x; }
    """
    )
    device = firmware(shop, a=text)
    symbol = device.firmware.symbol("built")
    assert symbol is not None
    device.machine.write(symbol.address, (41).to_bytes(4, "little"))
    made = device.run(patch(shop, text.replace("built.n + x", "built.n + 2 * x")))
    assert any("constructors (.init_array) do not run again" in note for note in made.notes)
    assert device.call("get", 1) == 43


def test_a_function_static_with_a_constructor_is_constructed_when_first_used(shop: Workshop) -> None:
    device = firmware(shop, a=SHAPES)
    edited = SHAPES.replace("return filter.feed(x);", "static Square mine(x); return mine.area() + ++mine.size;")
    device.run(patch(shop, edited))
    assert device.call("feed", 4) == 16 + 5
    assert device.call("feed", 9) == 25 + 6


THROWING = """
extern "C" void sink(int);
__attribute__((noinline)) int risky(int x) { if (x == 99) throw 5; return x + 1; }
int safe(int x) { sink(x); return x * 2; }
int caught(int x) { try { return risky(x); } catch (int) { return -1; } }
"""
RUNTIME = """
void sink(int x) {} void *__cxa_allocate_exception(unsigned n) { return 0; }
void __cxa_throw(void *a, void *b, void *c) { for (;;); } void *__cxa_begin_catch(void *p) { return p; }
void __cxa_end_catch(void) {} void __cxa_end_cleanup(void) {} int __gxx_personality_v0(void) { return 0; }
void *_ZTIi; int __aeabi_unwind_cpp_pr0, __aeabi_unwind_cpp_pr1; int start(void) { return 0; }
"""


@pytest.fixture
def throwing(shop: Workshop) -> Bench:
    flags = [*HOT, "-fexceptions"]
    return Bench(shop.firmware(shop.compile(RUNTIME, "c.c"), shop.compile(THROWING, "a.cpp", flags, CXX)))


@pytest.mark.parametrize(
    ("old", "new", "who"), [("throw 5", "throw 6", "_Z5riskyi"), ("return -1", "return -2", "_Z6caughti")]
)
def test_throwing_and_catching_are_refused(shop: Workshop, throwing: Bench, old: str, new: str, who: str) -> None:
    with pytest.raises(LinkError, match=f"{who} throws, catches or cleans up after exceptions .*__cxa_"):
        throwing.run(shop.compile(THROWING.replace(old, new), "a.cpp", [*HOT, "-fexceptions"], CXX))
    assert not throwing.slots


def test_what_throws_may_stay_while_other_functions_go(shop: Workshop, throwing: Bench) -> None:
    made = throwing.run(shop.compile(THROWING.replace("x * 2", "x * 3"), "a.cpp", [*HOT, "-fexceptions"], CXX))
    assert changed(made) == {"_Z4safei"}
    assert made.notes == (
        "exceptions cannot pass through pushed code: thrown below _Z4safei they end in std::terminate",
    )
    assert throwing.call("_Z4safei", 5) == 15
    without = 'extern "C" void sink(int); int safe(int x) { sink(x); return x * 4; }\n'
    assert not throwing.run(patch(shop, without)).notes
    assert throwing.call("_Z4safei", 5) == 20
