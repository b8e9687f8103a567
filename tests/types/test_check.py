"""What the table does not reach: generations, objects that say nothing, C++, hints, and how much is read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hotflash.elf.dwarf import Dwarf
from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from hotflash.errors import RefusedError, TypesError
from hotflash.link import plan
from hotflash.session.checked import checked_plan
from hotflash.types import check
from hotflash.types.objects import ObjectTypes
from hotflash.types.pairing import Repeat
from hotflash.wire.messages import Range
from tests.link.device import Device
from tests.link.toolchain import Workshop, run
from tests.types.project import Build, Project
from tests.types.table import FILES, PAIR, STEP, Case, _c, _h, _u


@pytest.fixture(scope="module")
def project(shop: Workshop) -> Project:
    return Project(shop, FILES)


BOTH = [*STEP, _c("counter * 3", "counter * b"), _u("step(3)", "step(3, 4)")]


def refusal(project: Project, objects: list[ObjectFile], live: list[list[ObjectFile]] | None = None) -> TypesError:
    found = project.judge(objects, live).refusal
    assert found is not None
    return found


# ------------------------------------------------------------------------------------------ generations


def test_what_was_pushed_counts_and_not_the_base_image(project: Project) -> None:
    live = [project.objects(BOTH, ["core.c", "user.c"], Build())]
    again = [*BOTH, _c("counter * b", "counter * b + 1")]
    verdict = project.judge(project.objects(again, ["core.c"], Build()), live)
    assert verdict.refusal is None
    assert not verdict.safe
    assert "u_step (user.c" in refusal(project, project.objects([], ["core.c"], Build()), live).message
    assert "user.c calls step" in refusal(project, project.objects([], ["user.c"], Build()), live).message
    back = project.judge(project.objects([], ["core.c", "user.c"], Build()), live)
    assert back.refusal is None
    assert back.safe


def test_callers_that_were_pushed_do_not_count_with_their_base_version(project: Project) -> None:
    """Who does not call any more is no caller."""
    live = [project.objects([_u("step(3)", "3")], ["user.c"], Build())]
    changed = project.objects([*STEP, _c("counter * 3", "counter * b")], ["core.c"], Build())
    verdict = project.judge(changed, live)
    assert verdict.refusal is None
    assert verdict.safe


def test_layouts_of_pushed_objects(project: Project) -> None:
    edits = [PAIR, _c("p.left + p.right", "p.left - p.right"), _c("pair_t p = {a, b}", "pair_t p = {b, a}")]
    live = [project.objects(edits, ["core.c", "user.c"], Build())]
    other = [*edits, _c("p.left - p.right", "p.left * p.right")]
    assert project.judge(project.objects(other, ["core.c"], Build()), live).refusal is None
    old = [_c("p.left + p.right", "p.left * p.right")]
    assert "pair_t is laid out differently" in refusal(project, project.objects(old, ["core.c"], Build()), live).message


def test_a_variable_that_was_pushed_keeps_its_type(project: Project) -> None:
    new = [_c("int counter;", "int counter; int extra;"), _c("a * 2 + counter", "a * 2 + ++extra")]
    live = [project.objects(new, ["core.c"], Build())]
    assert project.judge(project.objects([*new, _c("++extra", "--extra")], ["core.c"], Build()), live).refusal is None
    other = [_c("int counter;", "int counter; float extra;"), _c("a * 2 + counter", "a * 2 + (int)++extra")]
    found = refusal(project, project.objects(other, ["core.c"], Build()), live)
    assert "extra (int32 -> float32)" in found.message
    assert found.migrations[0].address is None


# ---------------------------------------------------------------------------------------- what is said


def test_the_command_that_pushes_all_of_it(project: Project) -> None:
    changed = project.objects([*STEP, _c("counter * 3", "counter * b")], ["core.c"], Build())
    folder = Path(changed[0].name).parent
    assert refusal(project, changed).hint == (
        f"push all of it together: `hotflash push {changed[0].name}` and the object of user.c"
    )
    (folder / "user.o").write_bytes(b"")
    assert refusal(project, changed).hint == (
        f"push all of it together: `hotflash push {changed[0].name} {folder / 'user.o'}`"
    )


def test_callers_are_listed_with_their_lines(project: Project) -> None:
    line = 1 + FILES["user.c"][: FILES["user.c"].index("step(3)")].count("\n")
    message = refusal(project, project.objects([*STEP, _c("counter * 3", "b")], ["core.c"], Build())).message
    assert f"u_step (user.c:{line})" in message
    assert "int32(int32, int32) instead of int32(int32)" in message


def test_migrations_say_what_moves(project: Project) -> None:
    case = [_h("{ short p; short q; }", "{ short q; int more; short p; }"), _c("outers[i].tail++", "outers[i].tail--")]
    migration = next(
        m for m in refusal(project, project.objects(case, ["core.c"], Build())).migrations if m.variable == "outers"
    )
    assert (migration.old.size, migration.new.size, migration.in_place) == (48, 96, False)
    steps = {step.field: step for step in migration.steps}
    moved = steps["[].in[].p"]
    assert (moved.action, moved.old and moved.old.offset, moved.new and moved.new.offset) == ("moved", 16, 96)
    assert moved.repeats == (Repeat(3, 128, 256), Repeat(2, 32, 96))
    assert steps["[].in[].more"].action == "added"


def test_renames_and_new_starts_are_taken_into_account(project: Project) -> None:
    edits = [_h("int speed;", "short velocity;"), _c("state.speed", "state.velocity"), _c("].speed", "].velocity")]
    objects = project.objects(edits, ["core.c"], Build())

    def actions(**stated: object) -> dict[str, str]:
        _, verdict = checked_plan(
            objects,
            project.firmware,
            Device(project.firmware).live,
            None,
            list,
            **stated,  # type: ignore[arg-type]
        )
        (migration,) = [m for m in verdict.migrations if m.variable == "state"]
        assert verdict.refusal is not None
        assert bool(migration.unstated) == ("would be lost" in verdict.refusal.message)
        return {step.field: step.action for step in migration.unstated} or {s.field: s.action for s in migration.steps}

    assert actions()["velocity"] == "added"
    assert actions(renames={"speed": "velocity"}) == {"velocity": "narrowed"}
    assert actions(renames={"speed": "velocity"}, reinit=["state"])["velocity"] == "narrowed"


def test_functions_that_stay_with_an_instance_on_their_stack_must_not_run(project: Project) -> None:
    edits = [_h("struct frame { int a; int b; }", "struct frame { int b; int a; }")]
    objects = project.objects(edits, ["core.c"], Build())
    device = Device(project.firmware)
    made, verdict = checked_plan(objects, project.firmware, device.live, None, list)
    assert made is not None
    assert verdict.refusal is None
    assert verdict.safe
    assert {change.function for change in made.changes} == {"frame_fill", "frame_user"}
    assert [(Path(obj.name).name, names) for obj, names in verdict.frames] == [
        ("core.o", frozenset({"frame_holder", "frame_owner"}))
    ]
    symbol = project.firmware.symbol("frame_holder")
    assert symbol is not None
    ranges = device.commit(made).ranges
    assert [r for r in ranges if r.address == symbol.address] == [Range(symbol.address, symbol.size)]


# ------------------------------------------------------------------------------- what says nothing


def test_an_object_without_debug_information(project: Project) -> None:
    changed = project.objects([_c("a * 2", "a * 3")], ["core.c"], Build(dwarf="-g0"))
    found = refusal(project, changed)
    assert "no debug information" in found.message
    assert "quiet" in found.message
    assert "--no-type-check" in (found.hint or "")
    assert project.judge(project.objects([], ["core.c"], Build(dwarf="-g0"))).refusal is None  # nothing goes


def test_a_firmware_without_debug_information(shop: Workshop) -> None:
    silent = Project(shop, FILES, Build(dwarf="-g0"))
    found = refusal(silent, silent.objects([_c("a * 2", "a * 3")], ["core.c"], Build()))
    assert "core.c of the firmware: no debug information" in found.message


def test_damaged_debug_information_is_said(project: Project) -> None:
    changed = project.objects([_c("a * 2", "a * 3")], ["core.c"], Build())[0]
    data = bytearray(Path(changed.name).read_bytes())
    section = next(s for s in changed.sections if s.name == ".debug_abbrev")
    data[section.offset + 2 : section.offset + 40] = b"\xff" * 38
    with pytest.raises(Exception, match="debug information cannot be read") as error:
        project.judge([ObjectFile.parse(bytes(data), changed.name)])
    assert getattr(error.value, "exit_code", 1) == 5


@pytest.mark.parametrize("build", [Build(), Build("clang"), Build(more=("-fdebug-types-section",))], ids=str)
def test_damage_anywhere_is_an_error_of_ours(project: Project, build: Build) -> None:
    changed = project.objects([_c("a * 2", "a * 3")], ["core.c"], build)[0]
    data = Path(changed.name).read_bytes()
    sections = [s for s in changed.sections if s.name.startswith((".debug_info", ".debug_a", ".debug_str")) and s.size]
    said = 0
    for seed in range(60):
        chooser = random.Random(seed)
        damaged = bytearray(data)
        for _ in range(chooser.choice((1, 1, 2, 5))):
            section = chooser.choice(sections)
            damaged[section.offset + chooser.randrange(section.size)] = chooser.randrange(256)
        try:
            obj = ObjectFile.parse(bytes(damaged), "damaged.o")
            code = {s.index for s in obj.sections if s.code and s.alloc and s.size}
            assert check.judge({obj: code}, project.firmware).summary is not None
        except RefusedError:
            said += 1
    assert said > 10


# -------------------------------------------------------------------------------------------------- C++


CPP = {
    "shape.h": """
namespace geo {
struct Size { int w, h; };
class Shape { public: virtual int area() const; virtual void grow(int by); int scale; Size size; };
template <typename T> struct Box { T value; int count; };
enum class Mode : unsigned char { A, B };
}
int measure(geo::Shape *s);
int count(geo::Box<int> b);
""",
    "core.cpp": """
#include "shape.h"
namespace geo {
int Shape::area() const { return size.w * size.h * scale; }
void Shape::grow(int by) { size.w += by; }
}
static int calls;
int measure(geo::Shape *s) { calls++; return s->area(); }
int count(geo::Box<int> b) { calls++; return b.value * b.count; }
int modes(int x) { volatile geo::Mode m = x ? geo::Mode::A : geo::Mode::B; return (int)m; }
namespace { struct Size { char c; }; }
int hidden(int x) { volatile Size s = {(char)x}; return s.c; }
extern "C" int start() { return modes(1) + hidden(2); }
extern "C" void __cxa_pure_virtual() {}
void operator delete(void *) noexcept {}
namespace __cxxabiv1 { struct __class_type_info { virtual void f(); }; void __class_type_info::f() {} }
""",
    "user.cpp": """
#include "shape.h"
static geo::Shape mine;
int user() { mine.grow(2); geo::Box<int> b = {1, 2}; return measure(&mine) + count(b); }
""",
}
CPP_FLAGS = ("-fno-rtti", "-fno-exceptions", "-fno-threadsafe-statics")
CPP_CASES = [
    Case("code alone", [("core.cpp", "* scale", "+ scale")], "core", "ok"),
    Case("a virtual function more", [("shape.h", "virtual void", "virtual int twice() { return 2; } virtual void"),
                                     ("core.cpp", "calls++; return s->area()", "return s->twice()")],
         "core", "left", "struct geo::Shape"),
    Case("virtual functions swapped", [("shape.h", "virtual int area() const; virtual void grow(int by);",
                                        "virtual void grow(int by); virtual int area() const;")],
         "core", "left", "struct geo::Shape"),
    Case("a virtual function's parameter", [("shape.h", "grow(int by)", "grow(long long by)"),
                                            ("core.cpp", "grow(int by)", "grow(long long by)"),
                                            ("core.cpp", "size.w += by", "size.w += (int)by"),
                                            ("core.cpp", "* scale", "+ scale")], "core", "left", "struct geo::Shape"),
    Case("a nested type", [("shape.h", "int w, h;", "int h, w;"), ("core.cpp", "* scale", "+ scale")],
         "core", "left", "struct geo::Shape"),
    Case("a template's field", [("shape.h", "T value; int count;", "int count; T value;")], "core", "left",
         "struct geo::Box<int>"),
    Case("a scoped enumeration", [("shape.h", "{ A, B }", "{ B, A }")], "core", "safe"),
    Case("an overload's parameter", [("shape.h", "int measure(geo::Shape *s)", "int measure(geo::Shape *s, int x)"),
                                     ("core.cpp", "int measure(geo::Shape *s)", "int measure(geo::Shape *s, int x)")],
         "core", "ok"),
]  # fmt: skip


@pytest.fixture(scope="module")
def cpp(shop: Workshop) -> Project:
    return Project(shop, CPP, Build(more=CPP_FLAGS))


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("case", CPP_CASES, ids=lambda case: case.name)
def test_classes(cpp: Project, case: Case, compiler: str) -> None:
    from tests.types.test_table import verdict_of

    verdict = cpp.judge(cpp.objects(case.edits, ["core.cpp"], Build(compiler, "-Os", more=CPP_FLAGS)))
    message = verdict.refusal.message if verdict.refusal else ""
    assert verdict_of(verdict) == case.verdict, message or verdict
    assert case.says in message


# --------------------------------------------------------------------------------- how much is read


def _large(functions: int) -> dict[str, str]:
    types = "".join(
        f"struct t{n} {{ int a{n}; short b; struct t{max(n - 1, 0)} *next; unsigned char c[{n % 7 + 1}]; float d; }};\n"
        for n in range(functions // 4)
    )
    bodies = "".join(
        f"static struct t{n // 4} v{n};\nint f{n}(struct t{n // 4} *p, int x)\n{{\n    int sum = x * {n};\n"
        f"    for (int i = 0; i < x; i++) {{\n        sum += p->b + v{n}.b;\n        v{n}.a{n // 4}++;\n    }}\n"
        f"    if (sum > {n})\n        p->c[0]++;\n    return sum;\n}}\n"
        for n in range(functions)
    )
    calls = " + ".join(f"f{n}(&v{n}, 1)" for n in range(functions))
    return {"large.c": f"{types}{bodies}int start(void) {{ return {calls}; }}\n"}


def test_a_changed_function_of_a_large_file_is_checked_by_reading_little(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = Project(shop, _large(160))
    assert large.files["large.c"].count("\n") > 2000 - 160
    objects = large.objects([("large.c", "sum = x * 77;", "sum = x * 78;")], ["large.c"], Build())
    index = shop.path(".idx")
    Firmware.load(large.firmware.path, index=index)
    firmware = Firmware.load(large.firmware.path, index=index)
    assert firmware.indexed
    made = plan(objects, firmware, Device(firmware).live)
    read: list[Dwarf] = []

    def counted(obj: ObjectFile) -> ObjectTypes:
        types = ObjectTypes(obj)
        read.append(types.shapes.dwarf)
        return types

    monkeypatch.setattr(check, "ObjectTypes", counted)
    before = firmware.bytes_read, firmware.debug.touched
    verdict = check.judge(made.sent, firmware)
    assert verdict.refusal is None
    assert not verdict.safe
    assert firmware.bytes_read == before[0]  # of the firmware's own debug information nothing
    entries = sum(info.read for info in read)
    assert entries < 12_000, entries
    assert firmware.debug.touched - before[1] < 600


def test_the_debug_information_of_an_unchanged_firmware_is_read_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = project.shop.path(".idx")
    Firmware.load(project.firmware.path, index=index)
    firmware = Firmware.load(project.firmware.path, index=index)
    made = plan(project.objects([_c("a * 2", "a * 3")], ["core.c"], Build()), firmware, Device(firmware).live)
    monkeypatch.setattr(Firmware, "container", property(lambda _: pytest.fail("the firmware's sections were read")))
    assert check.judge(made.sent, firmware).refusal is None


def test_strings_behind_relocations_with_values(project: Project, tmp_path: Path) -> None:
    """objcopy keeps what clang and GCC never write: relocations against symbols that have values."""
    changed = project.objects([_c("a * 2", "a * 3")], ["core.c"], Build())[0]
    types = ObjectTypes(changed)
    linked = tmp_path / "together.o"
    user = project.objects([], ["user.c"], Build())[0]
    run("arm-none-eabi-ld", "-r", changed.name, user.name, "-o", linked)
    both = ObjectTypes(ObjectFile.load(linked))
    assert both.signature("quiet") == types.signature("quiet") == "int32(int32)"
    assert both.signature("u_pair") == "int32(void)"
    assert both.layouts["struct live"].layout == types.layouts["struct live"].layout
