"""hotflash.mk, ``hotflash.sdk`` and the linker script fragments say the same, and say what is wrong."""

from __future__ import annotations

import re
import shutil
import struct
from pathlib import Path

import pytest

from hotflash import sdk
from hotflash.board import Board
from hotflash.elf.firmware import Firmware
from hotflash.image.header import MAGIC
from tests.system.sdk_builds import BLINK, ROOT, run, sections, symbols

BOARD = "mps2-an386"
PRINT = """include {root}/hotflash.mk
all:
	@printf '%s\\n' $(HF_CFLAGS) -- $(HF_LDFLAGS) -- $(HF_SOURCES) -- $(HF_BOARD_CFLAGS)
"""


def from_make(tmp_path: Path, *settings: str) -> list[list[str]]:
    (tmp_path / "Makefile").write_text(PRINT.format(root=ROOT))
    words = run("make", "-s", f"BOARD={BOARD}", *settings, cwd=tmp_path).splitlines()
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "--":
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


@pytest.mark.parametrize(
    ("settings", "nops", "hooks"),
    [([], 4, None), (["HOTFLASH_NOPS=6"], 6, None), (["HOTFLASH_HOOKS=2000"], 4, 2000)],
    ids=["default", "nops", "hooks"],
)
def test_make_and_python_give_the_same_flags(tmp_path: Path, settings: list[str], nops: int, hooks: int | None) -> None:
    board = Board.find(BOARD)
    cflags, ldflags, sources, core = from_make(tmp_path, *settings)
    assert core == list(board.cflags)
    assert sorted(cflags) == sorted(sdk.cflags(nops=nops))
    assert sorted(ldflags) == sorted(sdk.ldflags(board, nops=nops, hooks=hooks))
    assert [Path(source) for source in sources] == list(sdk.app_sources())


def test_release_flags_are_the_same(tmp_path: Path) -> None:
    board = Board.find(BOARD)
    cflags, ldflags, sources, _ = from_make(tmp_path, "HOTFLASH=0")
    assert sorted(cflags) == sorted(sdk.cflags(hot=False))
    assert sorted(ldflags) == sorted(sdk.ldflags(board, hot=False))
    assert sources == []


def test_hotflash_setting_must_be_a_switch(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(PRINT.format(root=ROOT))
    output = run("make", "-s", f"BOARD={BOARD}", "HOTFLASH=yes", cwd=tmp_path, ok=False)
    assert "HOTFLASH is 1 or 0, not yes" in output


@pytest.fixture
def app(tmp_path: Path) -> Path:
    copy = tmp_path / "blink"
    shutil.copytree(BLINK, copy, ignore=shutil.ignore_patterns("build", "plain", ".hotflash"))
    return copy


def link(app: Path, *settings: str, ok: bool = True) -> str:
    return run("make", f"HOTFLASH_SDK={ROOT}", f"BOARD={BOARD}", *settings, cwd=app, ok=ok)


def elf_of(app: Path) -> Path:
    return app / "build" / BOARD / "blink.elf"


def test_header_is_plain_and_complete(app: Path) -> None:
    link(app)
    memory = sections(elf_of(app))
    address, data = memory[".vectors"]
    names = symbols(elf_of(app))
    board = Board.find(BOARD)
    at = names["__hf_header"] - address
    words = struct.unpack_from("<48I", data, at)
    assert at == board.vectors * 4
    assert words[0] == MAGIC
    assert words[1] == 192 << 16 | 1
    assert words[2] == 0  # flags: PLAIN
    assert words[3] == names["__hf_header"]
    assert words[4] == board.regions["HF_APP"].origin
    header = (sdk.include_dir() / "hotflash.h").read_text()
    abi = re.search(r"#define HF_SERVICES_ABI (0x\w+)u", header)
    assert abi is not None
    assert words[7] == int(abi[1], 16)
    assert words[8] == board.vectors
    assert words[9] == board.regions["HF_HOOKS"].origin
    assert words[10] == 1024
    assert words[13:15] == (board.regions["HF_RAM"].origin, board.regions["HF_RAM"].end)
    assert words[15] == 4
    assert words[5:7] == words[11:13] == (0, 0)
    assert set(words[16:39]) == {0}
    assert words[39] == names["__hf_stack_limit"]
    assert words[40:44] == (0xFFFFFFFF,) * 4
    assert words[44:48] == (0,) * 4
    note = data[at + 192 : at + 192 + 36]
    assert note[:16] == struct.pack("<III4s", 4, 20, 3, b"GNU\0")
    assert note[16:] == Firmware.load(elf_of(app)).build_id
    assert any(note[16:])
    assert names["__hf_services"] == board.services


@pytest.mark.parametrize("collect", [True, False], ids=["gc", "no-gc"])
def test_list_of_patch_points_is_nowhere(app: Path, collect: bool) -> None:
    makefile = app / "Makefile"
    assert "-Wl,--gc-sections " in makefile.read_text()
    if not collect:
        makefile.write_text(makefile.read_text().replace("-Wl,--gc-sections ", ""))
    link(app)
    objects = run("arm-none-eabi-readelf", "-SW", f"build/{BOARD}/pattern.o", cwd=app)
    assert "__patchable_function_entries" in objects  # the compiler did write it
    memory = sections(elf_of(app))
    # newlib without --gc-sections brings .init_array and .fini_array; nothing else may come
    assert set(memory) - {".init_array", ".fini_array", ".init", ".fini", ".eh_frame"} == {
        ".vectors",
        ".text",
        ".rodata",
        ".ARM.exidx",
        ".data",
        ".bss",
    } & set(memory)
    sites = {struct.pack("<I", site.address) for site in Firmware.load(elf_of(app)).sites}
    data = memory[".data"][1]
    found = [offset for offset in range(0, len(data), 4) if data[offset : offset + 4] in sites]
    assert found == []


def test_six_nops(app: Path) -> None:
    link(app, "HOTFLASH_NOPS=6")
    firmware = Firmware.load(elf_of(app))
    assert firmware.header.nops == 6
    assert "bounce" in {site.name for site in firmware.sites}


def test_hook_capacity(app: Path) -> None:
    link(app, "HOTFLASH_HOOKS=2500")
    assert Firmware.load(elf_of(app)).header.hook_capacity == 2500
    elf_of(app).unlink()
    output = link(app, "HOTFLASH_HOOKS=8193", ok=False)
    assert "__hf_hook_capacity exceeds the board's HF_HOOKS" in output


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("app.ld", "        INCLUDE hotflash.ld\n", "", "undefined symbol `__hf_header'"),
        (
            "app.ld",
            "INCLUDE memory.ld",
            "MEMORY { FLASH : ORIGIN = 0, LENGTH = 1M RAM : ORIGIN = 0x20000000, LENGTH = 1M }",
            "board's memory.ld",
        ),
        (
            "Makefile",
            "-T app.ld $(HF_LDFLAGS)",
            "-T app.ld $(filter-out -Wl$(comma)--build-id%,$(HF_LDFLAGS))",
            "no build ID",
        ),
        ("Makefile", "$(HF_LDFLAGS)\n", "$(HF_LDFLAGS) -Wl,--defsym=__hf_nops=5\n", "__hf_nops is 4 or 6"),
        (
            "app.ld",
            "        KEEP(*(.vectors))\n",
            "        KEEP(*(.vectors)) . += 4K;\n",
            "belongs behind the vector table",
        ),
    ],
    ids=["no-include", "own-memory", "no-build-id", "nops", "far"],
)
def test_link_says_what_is_missing(app: Path, file: str, old: str, new: str, message: str) -> None:
    path = app / file
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    if file == "Makefile":
        path.write_text("comma := ,\n" + path.read_text())
    assert message in link(app, ok=False)
