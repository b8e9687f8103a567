"""A patch that defines what the firmware has as weak: live, or told to wait for the next flash."""

from __future__ import annotations

import pytest

from hotflash.errors import LinkError
from tests.link.machine import Bench
from tests.link.test_changes import changed
from tests.link.test_state import START, bench
from tests.link.toolchain import Workshop

WEAK = (
    """
int seen;
__attribute__((weak)) int callback(int x) { return x + 1; }
__attribute__((weak, noinline)) int other(int x) { return x + 2; }
int (*const table[])(int) = {callback, other};
int f(int x) { return callback(x) * 100 + other(x) * 10 + table[x & 1](0); }
"""
    + START
)
ALIASES = (
    """
int last;
void fallback(void) { last = 1; }
void irq1(void) __attribute__((weak, alias("fallback")));
void irq2(void) __attribute__((weak, alias("fallback")));
void (*const vectors_too[])(void) = {irq1, irq2, fallback};
int f(int x) { vectors_too[x](); return last; }
"""
    + START
)


def test_a_weak_function_is_overridden_at_its_own_site(shop: Workshop) -> None:
    device = bench(shop, a=WEAK)
    assert device.call("f", 0) == 100 + 20 + 1
    made = device.run(shop.compile("int callback(int x) { return x + 7; }\n", "b.c"))
    assert [(change.function, change.action) for change in made.changes] == [("callback", "replace")]
    assert device.call("f", 0) == 700 + 20 + 7, "direct calls and pointers reach it"
    assert device.call("callback", 1) == 8
    device.run(shop.compile(WEAK))
    assert device.call("f", 0) == 121, "the weak one again"


def test_weak_and_strong_pushed_together(shop: Workshop) -> None:
    device = bench(shop, a=WEAK)
    edited = WEAK.replace("x + 1;", "x + 3;").replace("x + 2;", "x + 4;")
    device.run(shop.compile(edited), shop.compile("int callback(int x) { return x + 7; }\n", "b.c"))
    assert device.call("f", 0) == 700 + 40 + 7


@pytest.mark.parametrize("name", ["irq1", "irq2"])
def test_an_alias_of_something_shared_waits_for_the_next_flash(shop: Workshop, name: str) -> None:
    device = bench(shop, a=ALIASES)
    with pytest.raises(LinkError) as caught:
        device.run(shop.compile(f"extern int last; void {name}(void) {{ last = 5; }}\n", "b.c"))
    assert f"{name} shares its code with" in caught.value.message
    assert "live after reflash" in caught.value.message
    assert not device.slots
    assert [device.call("f", n) for n in range(3)] == [1, 1, 1]


def test_the_shared_function_itself_is_replaced_for_all(shop: Workshop) -> None:
    device = bench(shop, a=ALIASES)
    made = device.run(shop.compile(ALIASES.replace("last = 1", "last = 9")))
    assert len(made.changes) == 1
    assert [device.call("f", n) for n in range(3)] == [9, 9, 9]


def test_the_firmware_has_the_strong_one_already(shop: Workshop) -> None:
    device = bench(shop, a=WEAK, b="int callback(int x) { return x + 50; }")
    made = device.run(shop.compile(WEAK.replace("x + 1;", "x + 3;").replace("x + 2;", "x + 4;")))
    assert changed(made) == {"other"}, "the weak definition is not linked"
    assert device.call("f", 0) == 5000 + 40 + 50


def test_a_weak_function_that_nothing_defined(shop: Workshop) -> None:
    base = (
        """
    __attribute__((weak)) int missing(int); int f(int x) { return missing ? missing(x) : -1; }
    int g(int x) { return x; }
    """
        + START
    )
    device = Bench(shop.firmware(shop.compile(base)))
    assert device.call("f", 1) == 0xFFFFFFFF
    strong = shop.compile("int missing(int x) { return x + 100; }", "b.c")
    made = device.run(strong)
    assert not made.changes
    assert made.notes == ("new, and used by nothing that goes: missing",)
    device.run(shop.compile(base.replace("return x;", "return x + missing(1);")), strong)
    assert device.call("g", 1) == 102
    assert device.call("f", 1) == 101, "it changed with the symbol that it tests"
