"""Whole objects at given addresses (tests/link/whole.py): what the comparisons with GNU ld stand on."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hotflash.errors import ElfError, LinkError
from hotflash.link import thumb
from tests.link.toolchain import HOT, Workshop
from tests.link.whole import Known, in_sequence, link

CODE = """
extern int other(int); extern int far_away(int); extern int outside; int common; static int zero[3] = {0};
int (*const table[])(int) = { other, far_away };
int twice(int x) { zero[x & 1] += common; return other(x) + far_away(x) + other(outside) + far_away(2); }
"""
FLAGS = [*HOT, "-fcommon"]
KNOWN = {"far_away": Known(0x08001000, function=True), "outside": Known(0x20003000, function=False)}


def test_objects_find_each_other_and_veneers_make_room(shop: Workshop) -> None:
    a, b = shop.compile(CODE, flags=FLAGS), shop.compile("int other(int x) { return x + 1; } int common = 7;", "b.c")
    linked = link([a, b], KNOWN.get, in_sequence(0x20000000), wide=True)
    parts = {part.name: part for part in linked.parts}
    places = sorted((p.address, p.size, p.align) for p in linked.parts if p.address is not None)
    assert len(places) == len(linked.parts)
    assert all(at % align == 0 for at, _, align in places)
    assert all(at + size <= after for (at, size, _), (after, _, _) in pairwise(places))
    other = linked.value(b, next(s for s in b.symbols if s.name == "other"))
    assert other == (parts[".text.other"].address or 0) + 1
    assert parts[".rodata.table"].data == other.to_bytes(4, "little") + (0x08001001).to_bytes(4, "little")
    assert parts[".text.twice"].data.count(thumb.veneer(0x08001001)) == 1
    assert parts[".text.twice"].size == len(parts[".text.twice"].data)
    assert KNOWN["outside"].address.to_bytes(4, "little") in parts[".text.twice"].data
    common = next(s for s in a.symbols if s.name == "common")
    assert linked.value(a, common) == parts[".data.common"].address, "a definition beats a common symbol"


def test_a_comdat_group_comes_once(shop: Workshop) -> None:
    source = '\t.section .text.f,"axG",%progbits,f,comdat\n\t.weak f\n\t.type f,%function\n\t.thumb_func\nf:\tbx lr\n'
    linked = link([shop.assemble(source), shop.assemble(source, "b.S")], KNOWN.get, in_sequence(0), wide=True)
    assert [p.name for p in linked.parts if p.name == ".text.f"] == [".text.f"]


def test_an_undefined_symbol_is_named(shop: Workshop) -> None:
    obj = shop.compile(CODE, flags=FLAGS)
    with pytest.raises(LinkError, match=r"undefined symbol other, needed by .*\(\..*\+0x"):
        link([obj], KNOWN.get, in_sequence(0), wide=True)


def test_a_symbol_defined_twice_is_refused(shop: Workshop) -> None:
    objects = [shop.compile("int twin(void) { return 1; }", unit) for unit in ("a.c", "b.c")]
    with pytest.raises(LinkError, match="twin is defined in"):
        link(objects, KNOWN.get, in_sequence(0), wide=True)


def test_a_function_that_claims_to_be_longer_than_its_section_ends_with_it(shop: Workshop) -> None:
    source = "\t.text\n\tnop\n\tnop\n\t.global f\n\t.type f,%function\n\t.thumb_func\nf:\tbx lr\n\t.size f, 6\n"
    obj = shop.assemble(source)
    linked = link([obj], KNOWN.get, in_sequence(0x1000), wide=True)
    assert linked.value(obj, next(s for s in obj.symbols if s.name == "f")) == 0x1005
    assert next(p for p in linked.parts if p.name == ".text").data == bytes.fromhex("00bf00bf7047")


def test_a_function_behind_its_section_is_refused(shop: Workshop) -> None:
    with pytest.raises(ElfError, match=r"f .* reaches behind the end of its section"):
        shop.assemble("\t.text\n\tbx lr\n\t.global f\n\t.type f,%function\n\t.set f, .+8\n")
