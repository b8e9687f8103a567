"""What is kept from one version of an object to the next changes nothing but the time that a link takes.

Whatever is linked here is linked twice: as a watching host does, that has linked earlier versions, and with nothing
kept, from a firmware that is read anew. Plans, bytes, bindings, notes and refusals have to be the same.
"""

from __future__ import annotations

import os
import random
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import pytest

from hotflash.elf import symbols
from hotflash.elf.firmware import Firmware
from hotflash.elf.format import symbol_source
from hotflash.elf.object import ObjectFile
from hotflash.errors import HotflashError
from hotflash.link import Plan, plan
from hotflash.link.fields import Fields
from hotflash.link.select import Linker
from tests.link.device import HEAP, Device
from tests.link.programs import Program
from tests.link.roundtrip import Builder, Tools
from tests.link.toolchain import Workshop

SEED = int(os.environ.get("HOTFLASH_SEED", "1"))


@dataclass
class Rebuilt:
    """Slots that were made from a known shape."""

    names: list[str] = field(default_factory=list)


@pytest.fixture
def rebuilt(monkeypatch: pytest.MonkeyPatch) -> Rebuilt:
    found, real = Rebuilt(), Linker._rebuild

    def rebuild(self: Linker, slot: object, piece: object, built: object) -> None:
        found.names.append(slot.where)  # type: ignore[attr-defined]
        real(self, slot, piece, built)  # type: ignore[arg-type]

    monkeypatch.setattr(Linker, "_rebuild", rebuild)
    return found


def told(made: Plan) -> tuple[object, ...]:
    """All that a plan says."""
    return made.requests, made.changes, made.unchanged, made.notes, made.labels, made.helpers


class Pair:
    """Two devices that get the same: one from a host that keeps what it can, one from hosts that just started."""

    def __init__(self, firmware: Firmware, heap: int = HEAP) -> None:
        self.warm, self.cold = Device(firmware, heap=heap), Device(Firmware.load(firmware.path), heap=heap)

    def _cold(self, names: list[str]) -> tuple[Plan, object]:
        kept = symbols.kept
        symbols.kept = symbols.TableCache()
        try:
            self.cold.firmware = Firmware.load(self.cold.firmware.path)
            return self.cold.push(*map(ObjectFile.load, names))
        finally:
            symbols.kept = kept

    def push(self, *objects: ObjectFile | str) -> Plan | None:
        """Pushes to both and compares; None when both refuse in the same words."""
        names = [obj if isinstance(obj, str) else obj.name for obj in objects]
        refused: HotflashError | None = None
        try:
            expected = self._cold(names)
        except HotflashError as error:
            refused = error
        if refused is not None:
            with pytest.raises(type(refused)) as found:
                self.warm.push(*map(ObjectFile.load, names))
            assert (found.value.message, found.value.hint) == (refused.message, refused.hint)
            return None
        made, linked = self.warm.push(*map(ObjectFile.load, names))
        assert told(made) == told(expected[0])
        assert linked == expected[1]
        assert self.warm.memory == self.cold.memory
        assert self.warm.hooks == self.cold.hooks
        return made


@pytest.mark.parametrize("tools", [Tools("-O1"), Tools("-Os"), Tools("-O2", extra=("-mslow-flash-data",)),
                                   Tools("-O2", "clang")], ids=str)  # fmt: skip
def test_generated_edits(tmp_path: Path, tools: Tools, rebuilt: Rebuilt) -> None:
    """Units of generated programs, edited again and again, pushed alone or together, with other states in between."""
    seed = SEED + len(str(tools))
    draw = random.Random(seed)
    builder = Builder(Workshop(tmp_path))
    program = Program(seed)
    firmware = builder.firmware(program, tools)
    other = builder.firmware(program.edited(), tools)
    pairs = [Pair(firmware), Pair(firmware, 0x00100000), Pair(other)]
    versions = [program]
    for _ in range(5):
        versions.append(versions[-1].edited())
    pushed = 0
    for number in range(24):
        version = versions[number] if number < len(versions) else draw.choice(versions)
        objects = builder.patches(version, tools)
        pair = pairs[0] if number % 4 else draw.choice(pairs)
        some = objects if number % 5 == 4 else [draw.choice(objects)]
        made = pair.push(*some)
        pushed += made is not None and bool(made.changes)
        for _ in range(number % 3):  # the same once more, to devices that have nothing yet
            Pair(firmware).push(*some)
    assert pushed > 6, f"seed {seed}"
    if tools.patch == "gcc":
        assert rebuilt.names, f"seed {seed}"


UNIT = """
extern int shared, other; int helper(int, ...); void text(const char *); int late(int);
static int kept; %(extra)s
int leaf(int x) { static int calls; calls += x * %(a)d; kept ^= calls; return helper(x, %(b)d) + shared; }
int first(int x) { text("%(text)s"); shared += leaf(x + %(a)d); other ^= kept; return helper(shared, other) + %(b)d; }
static __attribute__((noinline, noclone)) int again(int x)
{ if (x > %(b)d) return leaf(again(x - 1)); text("fixed"); return shared; }
int start(void) { return first(%(a)d) + again(%(b)d) + leaf(1); }
"""
OTHER = """
int shared %(value)s; int other; int helper(int x, ...) { return x + shared; }
void text(const char *t) { shared += *t; }
int late(int x) { return x; }
"""


def unit(a: int = 3, b: int = 5, text: str = "some text", extra: str = "") -> str:
    return UNIT % {"a": a, "b": b, "text": text, "extra": extra}


def test_versions_of_one_shape(shop: Workshop, rebuilt: Rebuilt) -> None:
    """Other constants and other texts of the same length: from the third version on slots are made from shapes."""
    firmware = shop.firmware(shop.compile(unit(1)), shop.compile(OTHER % {"value": ""}, "b.c"))
    pair = Pair(firmware)
    versions = [shop.compile(unit(9, 40 + n, f"text {n} here")) for n in range(4)]
    for version in [*versions, *versions[:2], versions[0]]:
        made = pair.push(version)
        assert made is not None
    assert {"leaf", "first"} <= set(rebuilt.names)
    assert "again" not in rebuilt.names  # its branch to its own start depends on its bytes
    known = len(rebuilt.names)
    pair.push(versions[0])
    assert len(rebuilt.names) == known  # it is live


def test_another_firmware(shop: Workshop) -> None:
    """The same object on two firmwares in turns: addresses are those of the one it is linked against."""
    objects = shop.compile(unit(1)), shop.compile(OTHER % {"value": ""}, "b.c")
    firmwares = [shop.firmware(*objects), shop.firmware(*reversed(objects))]
    shared = [next(s.address for s in f.variables if s.name == "shared") for f in firmwares]
    assert shared[0] != shared[1]
    pairs = [Pair(firmware) for firmware in firmwares]
    flash = [(p.warm.hello.flash_base, p.warm.hello.flash_size) for p in pairs]
    assert flash[0] == flash[1]
    for number in range(6):
        for pair in pairs:
            assert pair.push(shop.compile(unit(9, 30 + number)))
    assert pairs[0].warm.body("leaf") != pairs[1].warm.body("leaf")


def test_another_heap(shop: Workshop) -> None:
    """Whether branches need veneers follows from the device's heap, not from the last one."""
    firmware = shop.firmware(shop.compile(unit(1)), shop.compile(OTHER % {"value": ""}, "b.c"))
    far, near = Pair(firmware), Pair(firmware, 0x00100000)
    for number in range(5):
        version = shop.compile(unit(9, 30 + number))
        plans = far.push(version), near.push(version)
        assert plans[0]
        assert plans[1]
        sizes = [next(s.size for s in p.slots if s.where == "first") for p in plans if p is not None]
        assert sizes[0] > sizes[1]


def test_what_else_is_pushed_and_live(shop: Workshop) -> None:
    """New functions and variables, another object that defines what was the firmware's, and going back again."""
    firmware = shop.firmware(shop.compile(unit(1)), shop.compile(OTHER % {"value": ""}, "b.c"))
    pair = Pair(firmware)
    helpers = [shop.compile((OTHER % {"value": ""}).replace("return x +", f"return {n} + x +"), "b.c") for n in (1, 2)]
    new = "static int fresh(int x) { static int times; times += x; return late(times); }"
    new += "int (*volatile hold)(int) = fresh;"
    for number in range(3):
        plain = shop.compile(unit(9, 30 + number))
        more = shop.compile(unit(9, 30 + number, extra=new).replace("return first", "return hold(1) + first"))
        assert pair.push(plain)
        assert pair.push(plain, helpers[number % 2])
        assert pair.push(more)
        pair.push(helpers[(number + 1) % 2])
        assert pair.push(plain)
    base = shop.compile(unit(1))
    made = pair.push(base)
    assert made
    assert {c.action for c in made.changes} == {"revert"}


def test_a_constant_of_another_object(shop: Workshop) -> None:
    """A function uses the firmware's constant, unless the object that defines it comes along and has changed it."""
    user = "extern const int limits[4]; int use(int x) { return limits[x & 3] * %d; }"
    owner = "extern int use(int); const int limits[4] = {1, 2, 3, %d}; int start(void) { return use(1); }"
    firmware = shop.firmware(shop.compile(user % 1), shop.compile(owner % 4, "b.c"))
    pair = Pair(firmware)
    changed = shop.compile(owner % 5, "b.c")
    for number in range(3):
        alone, together = (shop.compile(user % n) for n in (10 + number, 20 + number))
        assert pair.push(alone)
        made = pair.push(together, changed)
        assert made
        assert "limits" in {slot.where for slot in made.slots} or number
        fresh = Pair(firmware)
        assert fresh.push(alone)
        made = fresh.push(together, changed)
        assert made
        assert "limits" in {slot.where for slot in made.slots}


ASSEMBLY = """
    .file "a.c"
    .section .rodata.str1.1,"aMS",%%progbits,1
.LC0:
    .asciz "%(text)s"
    .section .bss.count.0,"aw",%%nobits
    .balign 4
    .type count.0,%%object
count.0:
    .space 4
    .size count.0, 4
    .section .bss.count.1,"aw",%%nobits
    .balign 4
    .type count.1,%%object
count.1:
    .space 4
    .size count.1, 4
    .section .text.f,"ax",%%progbits
    .balign 4
    .global f
    .type f,%%function
    .thumb_func
f:
.Lf:
    .rept 4
    nop
    .endr
    movs r0, #%(number)d
    %(middle)s
    bl helper
    bx lr
    .balign 4
    .word count.%(first)d, .LC0 + 3
    .size f, . - f
    .section .text.g,"ax",%%progbits
    .balign 4
    .global g
    .type g,%%function
    .thumb_func
g:
    .rept 4
    nop
    .endr
    movs r0, #%(number)d
    bx lr
    .balign 4
    .word count.%(second)d
    .size g, . - g
"""


def assembly(number: int, first: int = 0, text: str = "abcdef", middle: str = "nop.w") -> str:
    return ASSEMBLY % {"number": number, "first": first, "second": 1 - first, "text": text, "middle": middle}


def test_same_symbols(shop: Workshop, rebuilt: Rebuilt) -> None:
    """What differs where symbols do not: statics change places, a text is cut in two, a function calls itself."""
    main = "int helper(int x) { return x; } int f(void), g(void); int start(void) { return f() + g(); }"
    firmware = shop.firmware(shop.assemble(assembly(1)), shop.compile(main, "b.c"))
    places = [next(s.address for s in firmware.variables if s.name == f"count.{n}") for n in range(2)]
    other = [{"first": 1}, {"text": "ab\\0def"}, {"middle": "bl .Lf"}]
    pair, number = Pair(firmware), 10
    known = shop.assemble(assembly(9))
    for change in [*other, *other]:
        for more in ({}, {}, {}, change, change, {}):
            number += 1
            version = shop.assemble(assembly(number, **more))  # type: ignore[arg-type]
            assert version.table is known.table
            assert pair.push(version)
            assert places[0].to_bytes(4, "little") in pair.warm.body("f")
            assert places[1].to_bytes(4, "little") in pair.warm.body("g")
    assert {"f", "g"} == set(rebuilt.names)


def test_a_live_variable_keeps_its_size(shop: Workshop) -> None:
    """A refusal is not forgotten, and refuses nothing but what it is about."""
    firmware = shop.firmware(shop.compile(unit(1)), shop.compile(OTHER % {"value": ""}, "b.c"))
    pair = Pair(firmware)
    assert pair.push(shop.compile(unit(9)))
    bad = shop.compile(unit(9, 7).replace("static int kept", "static long long kept"))
    for _ in range(3):
        assert pair.push(bad) is None
        assert pair.push(shop.compile(unit(9, 8)))
        assert pair.push(shop.compile(unit(9, 9)))


def test_damaged_versions(shop: Workshop, tmp_path: Path) -> None:
    """A version with a few other bytes, anywhere, is linked, or refused, as if it were the first."""
    firmware = shop.firmware(shop.compile(unit(1)), shop.compile(OTHER % {"value": ""}, "b.c"))
    pair = Pair(firmware)
    good = Path(shop.compile(unit(9, 50)).name).read_bytes()
    draw = random.Random(SEED)
    path = tmp_path / "damaged.o"
    for number in range(150):
        data = bytearray(good)
        for _ in range(draw.randrange(1, 3) if number % 3 else 0):
            data[draw.randrange(52, len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        pair.push(str(path))
        if number % 10 == 9:
            pair = Pair(firmware)


def calls(work: object) -> int:
    """How many Python functions something calls."""
    count = 0

    def count_calls(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        del frame, argument
        count += event == "call"

    sys.setprofile(count_calls)
    try:
        work()  # type: ignore[operator]
    finally:
        sys.setprofile(None)
    return count


def test_work_done(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next version of an object costs a fraction of the calls, and no field is taken apart again."""
    many = ""
    for number in range(20):
        text = re.sub(r"\b(first|again|leaf|start)\b", rf"\g<1>{number}", unit(1))
        many += re.sub(r"\bkept\b", f"kept{number}", text)
    many += "\nint start(void) { return " + " + ".join(f"start{n}()" for n in range(20)) + "; }"
    firmware = shop.firmware(shop.compile(many), shop.compile(OTHER % {"value": ""}, "b.c"))
    names = [shop.compile(many.replace("* 1", f"* {n}").replace("some text", f"text {n}")).name for n in (3, 5, 9)]
    visits = 0
    read = Fields._read

    def count_fields(self: Fields, data: bytes | bytearray) -> object:
        nonlocal visits
        visits += len(self.relocations)
        return read(self, data)

    monkeypatch.setattr(Fields, "_read", count_fields)
    monkeypatch.setattr(symbols, "kept", symbols.TableCache())
    device = Device(firmware)

    def once(name: str) -> tuple[int, int]:
        nonlocal visits
        visits = 0

        def work() -> None:
            made = plan([ObjectFile.load(name)], firmware, device.live)
            assert len(made.changes) >= 40
            made.link([*device.grant(made)])

        return calls(work), visits

    cold = once(names[0])
    for number in range(3):
        warm = once(names[(number + 1) % 3])
    assert cold[1] > 300
    assert warm[1] == 0
    assert warm[0] < cold[0] * 0.6, (cold, warm)


def test_room(shop: Workshop) -> None:
    """What is kept is bounded, the oldest goes first, and one that is too large is just not kept."""
    sources = [Path(shop.compile(f"int f{n}(void) {{ return {n}; }}").name) for n in range(4)]
    cache = symbols.TableCache(room=1)
    objects = [ObjectFile.load(source) for source in sources]
    tables = [symbol_source(obj.container) for obj in objects]
    assert cache.get(tables[0]).symbols == objects[0].symbols
    assert cache.size == 0
    size = max(len(t) + len(n) + 8 * len(f) for t, n, f in tables)
    cache = symbols.TableCache(room=2 * size)
    made = [cache.get(table) for table in tables[:2]]
    assert cache.get(tables[0]) is made[0]
    cache.get(tables[2])
    assert cache.size <= 2 * size
    assert cache.get(tables[0]) is made[0]
    assert cache.get(tables[1]) is not made[1]
