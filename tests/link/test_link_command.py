"""``hotflash link`` and ``hotflash diff``: the command line, and what debuggers make of the ELF."""

from __future__ import annotations

import json
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from intelhex import IntelHex

from hotflash.cli import main as command
from hotflash.elf.firmware import Firmware
from hotflash.elf.object import ObjectFile
from tests.dwarf import open_elf, variables
from tests.link.toolchain import HOT, Workshop, run

HOSTED = [flag for flag in HOT if flag != "-ffreestanding"]
APP = """
#include <string.h>
int counter = 7; static int hidden; const char *name = "first"; volatile long long big;
__attribute__((noipa)) int step(int x) { static int calls; return counter += x + ++calls + ++hidden; }
__attribute__((noipa)) const char *text(void) { return name; }
__attribute__((noipa)) int quiet(int x) {
    big = x;
    return x * 3;
}
int start(void) { return step(1) + quiet(2) + text()[0]; }
"""
EDITS = (
    ("return counter += x", "int fresh_call(int);\n    counter += fresh_call(x);\n    return counter += x"),
    (
        "int start",
        "int added = 9;\nint fresh_call(int x) {\n    added += x;\n    return (int)(big / added);\n}\nint start",
    ),
    ("return name", 'return name ? "a text that is new" : name'),
)
EDITED = reduce(lambda text, edit: text.replace(*edit), EDITS, APP)
STORE = f"a.c:{EDITED[: EDITED.index('big = x;')].count(chr(10)) + 1}"
"""A line of ``quiet``."""
AT = 0x20040000
Build = tuple[ObjectFile, Firmware, ObjectFile]
"""The application's object, the application, and its object after an edit."""


class Bench:
    """A project with an application, and the command line in it."""

    def __init__(self, shop: Workshop, capsys: pytest.CaptureFixture[str], folder: Path, build: Build) -> None:
        self.shop, self.capsys, self.folder = shop, capsys, folder
        self.base, self.firmware, self._edited = build
        self.elf = str(self.firmware.path)

    def edited(self, *flags: str) -> ObjectFile:
        return self.shop.compile(EDITED, flags=[*HOSTED, *flags]) if flags else self._edited

    def run(self, *arguments: str | Path, code: int = 0) -> tuple[str, str]:
        status = command.run([str(a) for a in arguments])
        out, err = self.capsys.readouterr()
        assert status == code, out + err
        return out, err

    def link(self, *arguments: str | Path, output: str = "out.elf") -> tuple[Path, dict[str, Any]]:
        target = self.folder / output
        out, _ = self.run("link", *arguments, "--elf", self.elf, "--at", hex(AT), "-o", target, "--json")
        return target, json.loads(out)


@pytest.fixture(scope="module")
def build(shop: Workshop) -> Build:
    base = shop.compile(APP, flags=HOSTED)
    return base, shop.firmware(base), shop.compile(EDITED, flags=HOSTED)


@pytest.fixture
def bench(
    shop: Workshop, build: Build, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hotflash.toml").touch()
    return Bench(shop, capsys, tmp_path, build)


def symbols(path: Path) -> dict[str, int]:
    lines = [line.split() for line in run("arm-none-eabi-nm", path).splitlines()]
    return {name: int(value, 16) for value, _, name in lines}


def lines_of(path: Path, *arguments: str) -> list[str]:
    return run("arm-none-eabi-addr2line", "-e", path, *arguments).splitlines()


def quiet_lines(path: Path) -> set[str]:
    start = symbols(path)["quiet"]
    return {Path(line).name for line in lines_of(path, *(hex(start + at) for at in range(8, 14, 2)))}


# --------------------------------------------------------------------------------------------- link


def test_all_functions_are_linked_and_bound_to_the_application(bench: Bench) -> None:
    obj = bench.edited()
    target, report = bench.link(obj.name)
    found = symbols(target)
    assert {"step", "text", "quiet", "start", "fresh_call", "__aeabi_ldivmod"} <= set(found)
    assert "counter" not in found, "the application's variable stays the only one"
    assert report["kind"] == "link"
    assert report["format"] == "elf"
    assert report["build_id"] == bench.firmware.build_id.hex()
    image = open_elf(target)
    names = {s.name: s for s in image.iter_sections()}
    assert (
        names[".text.step"]["sh_addr"]
        == found["step"]
        == AT + next(s["address"] - AT for s in report["slots"] if s["name"] == "step")
    )
    counter = bench.firmware.symbol("counter")
    assert counter is not None
    assert counter.address.to_bytes(4, "little") in names[".text.step"].data()
    bound = {b["function"]: b["value"] for b in report["bindings"]}
    nops = 2 * bench.firmware.header.nops
    assert bound["step"] == found["step"] + nops + 1
    assert bound["fresh_call"] == found["fresh_call"] + nops + 1
    sites = {site.name: site for site in bench.firmware.sites}
    words = {b["function"]: b["address"] for b in report["bindings"]}
    assert words["step"] == bench.firmware.header.hook_base + 4 * sites["step"].hook
    assert words["fresh_call"] not in {bench.firmware.header.hook_base + 4 * s.hook for s in sites.values()}


def test_elf_hex_and_binary_hold_the_same(bench: Bench) -> None:
    obj = bench.edited()
    image = open_elf(bench.link(obj.name)[0])
    content = IntelHex(str(bench.link(obj.name, output="out.hex")[0]))
    flat = bench.link(obj.name, output="out.bin")[0].read_bytes()
    assert content.minaddr() == AT
    assert AT + len(flat) == content.maxaddr() + 1
    loaded = [s for s in image.iter_segments() if s["p_type"] == "PT_LOAD"]
    assert loaded
    for segment in loaded:
        start, data = segment["p_vaddr"], segment.data().ljust(segment["p_memsz"], b"\0")
        assert content.tobinstr(start=start, size=len(data)) == data
        assert flat[start - AT : start - AT + len(data)] == data
        assert segment["p_offset"] % segment["p_align"] == start % segment["p_align"]


def test_lines_are_those_of_the_object(bench: Bench) -> None:
    """Every instruction's line, asked of the ELF by address and of the object by section and offset."""
    obj = bench.edited()
    target, _ = bench.link(obj.name)
    found = symbols(target)
    for name in ("step", "text", "quiet", "start", "fresh_call"):
        size = next(s.size for s in obj.symbols if s.name == name)
        offsets = [hex(at) for at in range(0, size, 2)]
        ours = lines_of(target, *(hex(found[name] + at) for at in range(0, size, 2)))
        theirs = lines_of(Path(obj.name), "-j", f".text.{name}", *offsets)
        known = [pair for pair in zip(ours, theirs, strict=True) if not pair[1].endswith(":?")]
        assert len(known) > 2, name
        assert all(mine == his for mine, his in known)
    assert lines_of(target, "-f", hex(found["quiet"] + 8))[0] == "quiet"


@pytest.mark.parametrize("flags", [["-gdwarf-4"], ["-gdwarf-5"], ["-g3"], ["-gdwarf-5", "-gz"]], ids=" ".join)
def test_debug_information_leads_to_the_live_variables(bench: Bench, flags: list[str]) -> None:
    obj = bench.edited(*flags)
    target, report = bench.link(obj.name)
    where = variables(open_elf(target))
    for name in ("counter", "hidden", "big"):
        symbol = bench.firmware.symbol(name)
        assert symbol is not None
        assert where[name] == symbol.address
    assert where["added"] == next(s["address"] for s in report["slots"] if s["name"] == "added")
    calls = next(v for v in bench.firmware.variables if v.name.startswith("calls"))
    assert where["calls"] == calls.address
    assert quiet_lines(target) >= {STORE}
    run("arm-none-eabi-objdump", "--dwarf=info,decodedline,frames,ranges,aranges", target)


def test_only_what_changed(bench: Bench) -> None:
    obj = bench.edited()
    target, report = bench.link(obj.name, "--changed")
    found = symbols(target)
    assert {"step", "text", "fresh_call"} <= set(found)
    assert not {"quiet", "start"} & set(found)
    assert {b["function"] for b in report["bindings"]} == {"step", "text", "fresh_call"}
    dwarf = open_elf(target).get_dwarf_info()
    low = {
        die.attributes["DW_AT_name"].value.decode(): die.attributes["DW_AT_low_pc"].value
        for unit in dwarf.iter_CUs()
        for die in unit.iter_DIEs()
        if die.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in die.attributes and "DW_AT_name" in die.attributes
    }
    assert low["quiet"] == 0, "what stays where it was is the application's ELF's to describe"
    assert low["step"] == found["step"] + 2 * bench.firmware.header.nops


def test_two_objects_with_their_debug_information(bench: Bench) -> None:
    other = bench.shop.compile("extern int counter;\nint twin(int x) {\n    return counter - x;\n}\n", "b.c", HOSTED)
    target, _ = bench.link(bench.edited().name, other.name)
    found = symbols(target)
    assert lines_of(target, hex(found["twin"] + 10))[0].endswith("b.c:3")
    assert quiet_lines(target) >= {STORE}


def test_new_variables_where_they_are_wanted(bench: Bench) -> None:
    obj = bench.edited()
    target, report = bench.link(obj.name, "--data-at", "0x20010004")
    added = next(s for s in report["slots"] if s["name"] == "added")
    assert (added["kind"], added["section"], added["address"]) == ("var", ".data.added", 0x20010004)
    assert symbols(target)["added"] == 0x20010004
    bench.run("link", obj.name, "--elf", bench.elf, "--at", hex(AT), "--data-at", "0x1000", "-o", "o.bin", code=2)
    assert not (bench.folder / "o.bin").exists()


def test_far_apart_the_code_reaches_the_application_all_the_same(bench: Bench) -> None:
    target, _ = bench.link(bench.base.name)
    assert "__step_veneer" in symbols(target)
    near = bench.folder / "near.elf"
    bench.run("link", bench.base.name, "--elf", bench.elf, "--at", "0x100000", "-o", near)
    assert "__step_veneer" not in symbols(near)


def test_what_cannot_be_linked_is_refused_and_nothing_written(bench: Bench) -> None:
    target = bench.folder / "out.elf"
    target.write_text("kept")
    _, err = bench.run("link", bench.base.name, "--elf", bench.elf, "--at", hex(AT), "--changed", "-o", target, code=5)
    assert "nothing to link" in err
    broken = bench.shop.compile("int gone(int); int step(int x) { return gone(x); }", flags=HOSTED)
    _, err = bench.run("link", broken.name, "--elf", bench.elf, "--at", hex(AT), "-o", target, code=5)
    assert "undefined symbol gone, needed by step" in err
    assert target.read_text() == "kept"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at", "0x20040010", "-o", "o.elf"], "is not a multiple of 32"),
        (["--at", "zz", "-o", "o.elf"], "is no address"),
        (["--at", "0x100000000", "-o", "o.elf"], "not in the 32-bit address space"),
        (["-o", "o.elf"], "Missing option '--at'"),
        (["--at", "0x20040000", "-o", "o.out"], "does not tell the format"),
        (["--at", "0x20040000", "-o", "none/o.elf"], "cannot write"),
        (["--at", "0x20040000", "--live", "-o", "o.elf"], "--live writes what the board runs"),
    ],
)  # fmt: skip
def test_usage(bench: Bench, arguments: list[str], message: str) -> None:
    _, err = bench.run("link", bench.base.name, "--elf", bench.elf, *arguments, code=2)
    assert message in err


def test_without_an_application(bench: Bench) -> None:
    _, err = bench.run("link", bench.base.name, "--at", hex(AT), "-o", "o.elf", code=2)
    assert "no application to link against" in err
    assert "--elf" in err


# --------------------------------------------------------------------------------------------- diff


def test_diff_says_what_and_why(bench: Bench) -> None:
    out, _ = bench.run("diff", bench.edited().name, "--elf", bench.elf)
    first, *rest = out.splitlines()
    assert first.startswith("diff  a.c.o  against the base image: 3 functions, ")
    assert any(line.startswith("  replace step (a.c), ") and "differs from the base image" in line for line in rest)
    assert any(line.startswith("  new fresh_call (a.c), ") and "not in the firmware" in line for line in rest)
    assert any("with __aeabi_ldivmod from libgcc.a(" in line and "fresh_call needs it" in line for line in rest)
    assert "  new variable added, 4 bytes" in rest
    assert not any("quiet" in line or "start" in line for line in rest)


def test_diff_of_what_is_unchanged(bench: Bench) -> None:
    out, err = bench.run("diff", bench.base.name, "--elf", bench.elf)
    assert out == "diff  a.c.o  against the base image: nothing changed (4 functions as they are)\n"
    assert not err


def test_diff_as_json_is_what_a_push_would_do(bench: Bench) -> None:
    obj = bench.edited()
    out, _ = bench.run("diff", obj.name, "--elf", bench.elf, "--json")
    report = json.loads(out)
    assert (report["version"], report["kind"], report["state"]) == (1, "diff", "changed")
    assert {c["function"]: c["action"] for c in report["changes"]} == {
        "step": "replace", "text": "replace", "fresh_call": "new",
    }  # fmt: skip
    assert {s["kind"] for s in report["slots"]} == {"code", "const", "stub", "var"}
    assert report["size"] == sum(s["size"] for s in report["slots"])
    assert report["helpers"][0]["name"] == "__aeabi_ldivmod"
    assert not (bench.folder / ".hotflash").exists()


def test_diff_of_what_would_be_refused(bench: Bench) -> None:
    broken = bench.shop.compile("int gone(int); int step(int x) { return gone(x); }", flags=HOSTED)
    _, err = bench.run("diff", broken.name, "--elf", bench.elf, code=5)
    assert "undefined symbol gone, needed by step" in err
    _, err = bench.run("diff", bench.folder / "none.o", "--elf", bench.elf, code=2)
    assert "cannot read" in err


def test_help_has_an_example(bench: Bench) -> None:
    for name in ("link", "diff", "push"):
        out, _ = bench.run(name, "--help")
        assert f"Example: hotflash {name} " in out.replace("\n", " ").replace("  ", " ")
