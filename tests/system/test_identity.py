"""Live state by identity on a running board: statics of one name, and C++ objects with their vtables."""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.observe import turns
from tests.system.project import Project

TWIN = """
#include "app.h"
static int count = START;
int NAME(int x);
__attribute__((noinline)) int NAME(int x)
{
    static int calls;
    calls++;
    count += x;
    return count - calls;
}
"""
SHAPE = """
struct Shape {
    int size;
    explicit Shape(int s) : size(s) {}
    virtual int area() const = 0;
};
struct Square : Shape {
    using Shape::Shape;
    __attribute__((noinline)) int area() const override { return size * size; }
};
extern "C" void __cxa_pure_virtual() { for (;;) {} }
inline void *operator new(decltype(sizeof 0), void *where) noexcept { return where; }
static char room[sizeof(Square)] __attribute__((aligned(4)));
static Shape *shape;
extern "C" int volatile twins[3];
extern "C" int left_twin(int), right_twin(int);
extern "C" void identity();
extern "C" __attribute__((noinline)) void identity()
{
    if (!shape)
        shape = new (room) Square(5);
    twins[0] = left_twin(0);
    twins[1] = right_twin(0);
    twins[2] = shape->area();
}
int volatile twins[3];
"""
LEFT = TWIN.replace("NAME", "left_twin").replace("START", "100000")
RIGHT = TWIN.replace("NAME", "right_twin").replace("START", "200000")


@pytest.fixture(scope="module")
def built(board: Any, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("identity"), board)
    for name, text in (("left.c", LEFT), ("right.c", RIGHT), ("shape.cpp", SHAPE)):
        (project.folder / name).write_text(text, encoding="utf-8")
    project.edit("main.c", ("    seen.turns++;", "    identity();\n    seen.turns++;"),
                 ('#include "app.h"\n', '#include "app.h"\nvoid identity(void);\n'))  # fmt: skip
    project.link()
    return project


@pytest.fixture
def dut(board_dut: Any) -> Any:
    board_dut.reset()
    turns(board_dut)
    return board_dut


def values(dut: Any) -> list[int]:
    turns(dut)
    return list(dut.read("twins"))


def test_statics_of_one_name_in_two_units(dut: Any, built: Project) -> None:
    (built.folder / "right.c").write_text(RIGHT.replace("count += x", "count += x + 10"), encoding="utf-8")
    before = dut.read("left.c:count")
    result = dut.push(built.compile("right.c"))
    assert [change.function for change in result.changes] == ["right_twin"]
    calls = dut.read("right_twin.calls")
    assert calls > 0
    values(dut)
    assert dut.read("left.c:count") == before == 100000
    assert dut.read("right.c:count") > 200000
    assert dut.read("right_twin.calls") > calls


def test_a_virtual_call_of_an_object_that_lives(dut: Any, built: Project) -> None:
    assert values(dut)[2] == 25
    (built.folder / "shape.cpp").write_text(SHAPE.replace("size * size", "size * size + 1000"), encoding="utf-8")
    result = dut.push(built.compile("shape.cpp"))
    assert [change.function for change in result.changes] == ["_ZNK6Square4areaEv"]
    assert values(dut)[2] == 1025, "constructed by the old code, called through the table in flash"
