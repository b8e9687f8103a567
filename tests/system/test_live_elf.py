"""What a board runs, written as an ELF and compared without it: ``link --live`` and ``diff``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from hotflash.toolchain import Archives
from tests.dwarf import open_elf, variables
from tests.system.observe import turns
from tests.system.project import Project

VALUE = "return x + 1;\n}\n\n__attribute__((noinline)) int same_unit"
REST = "\n}\n\n__attribute__((noinline)) int same_unit"
EDIT = (
    VALUE,
    f"static int seen_here;\n    seen_here += fresh(x);\n    return (int)(x * 70000000490LL / seen.direct);{REST}",
)
FRESH = (
    '#include "app.h"',
    '#include "app.h"\nint fresh(int x);\n__attribute__((noinline)) int fresh(int x)\n{\n    return x ^ counter;\n}\n',
)


@pytest.fixture
def dut(board_dut: Any) -> Any:
    """The board on its base image, its loop running."""
    board_dut.reset()
    board_dut.session.status()  # the journal learns of it
    turns(board_dut)
    return board_dut


def line_of(elf: Path, address: int) -> str:
    command = ["arm-none-eabi-addr2line", "-e", str(elf), hex(address)]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()).name


def symbol(image: ELFFile, name: str) -> int:
    table = image.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    (found,) = table.get_symbol_by_name(name) or []
    return int(found["st_value"])


def test_the_live_generation_as_an_elf(
    dut: Any, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.edit("work.c", FRESH, EDIT)
    obj = project.compile("work.c")
    dut.push(obj)
    turns(dut)
    target = tmp_path / "live.elf"

    report = json.loads(dut.run("link", "--live", "-o", str(target), "--json", check=True).stdout)

    assert report["generation"] == 1
    image = open_elf(target)
    live = {slot.address: slot for slot in dut.session.slots().slots if slot.kind != "list"}
    sections = {s["sh_addr"]: s for s in image.iter_sections() if s["sh_addr"]}
    assert sections.keys() == live.keys()
    for address, section in sections.items():
        assert section["sh_size"] == live[address].size
        if section["sh_type"] == "SHT_PROGBITS":
            assert section.data() == dut.session.device.read(address, section["sh_size"])
    names = {section.name for section in sections.values()}
    assert {".text.value", ".text.fresh", ".text.__aeabi_ldivmod", ".text.__udivmoddi4"} <= names

    value, fresh = symbol(image, "value"), symbol(image, "fresh")
    bound = {binding["function"]: binding["value"] for binding in report["bindings"]}
    assert bound["value"] == value + 2 * dut.session.firmware.header.nops
    source = (project.folder / "work.c").read_text()
    line = source[: source.index("return x ^ counter")].count("\n") + 1
    assert f"work.c:{line}" in {line_of(target, fresh - 1 + at) for at in range(8, 20, 2)}
    new = next(slot for slot in live.values() if slot.kind == "var")
    where = variables(image)
    assert where["seen_here"] == new.address
    assert where["counter"] == dut.session.read("counter").address

    monkeypatch.setitem(dut.session.__dict__, "archives", Archives("no-such-prefix-"))
    partial = dut.session.export_live(target)
    assert any(note.startswith("value of work.c: undefined symbol __aeabi_ldivmod") for note in partial.notes)
    assert any(note.startswith("value at 0x") for note in partial.notes)
    assert symbol(open_elf(target), "value") == value

    dut.run("rollback", "--base", check=True)
    done = dut.run("link", "--live", "-o", str(tmp_path / "none.elf"))
    assert done.returncode == 5
    assert "no edit is live" in done.stderr
    assert not (tmp_path / "none.elf").exists()


def test_diff_goes_by_the_journal(dut: Any, project: Project) -> None:
    def compare(*arguments: str) -> Any:
        elf = str(project.folder / "build" / "app.elf")
        done = dut.run("diff", str(obj), *arguments, "--elf", elf, "--json", check=True)
        return json.loads(done.stdout)

    project.edit("work.c", FRESH, EDIT)
    obj = project.compile("work.c")
    expected = compare()
    assert expected["against"] == "the base image"
    pushed = dut.push(obj)
    assert [(c["function"], c["action"], c["size"], c["reason"]) for c in expected["changes"]] == [
        (c.function, c.action, c.size, c.reason) for c in pushed.changes
    ]
    assert expected["size"] == pushed.size

    same = compare()
    assert same["state"] == "unchanged"
    assert same["against"].startswith("what the journal says is live: edits of work.o")
    assert compare("--base")["size"] == expected["size"]

    project.edit("work.c", ("return x ^ counter;", "return x & counter;"))
    obj = project.compile("work.c")
    expected = compare()
    pushed = dut.push(obj)
    assert (
        [(c["function"], c["reason"]) for c in expected["changes"]]
        == [(c.function, c.reason) for c in pushed.changes]
        == [("fresh", "differs from the version that was pushed before")]
    )
    assert expected["size"] == pushed.size

    project.restore("work.c")
    obj = project.compile("work.c")
    assert [c["action"] for c in compare()["changes"]] == ["revert"] * len(dut.push(obj).changes)
