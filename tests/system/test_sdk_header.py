"""hotflash.h: the layout that docs/SPEC.md fixes, and nothing at all in a release."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.system.sdk_builds import ROOT, run

if TYPE_CHECKING:
    from pathlib import Path

STRICT = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wmissing-prototypes", "-Wconversion", "-Wundef", "-Werror"]
MACHINE = ["-mcpu=cortex-m4", "-mthumb", "-Os", "-ffunction-sections", f"-I{ROOT}/bootloader/include"]

USES = """
#include <hotflash.h>
int expensive(void);
void application(const char *text, uint32_t length);
void application(const char *text, uint32_t length)
{
    int local = expensive();
    hf_log("a text that must not be in a release");
    hf_log_write(text, length);
    hf_log_write("another", (uint32_t)expensive());
    hf_clock_changed();
    (void)hf_micros();
    (void)hf_generation();
    (void)local;
}
"""
WITHOUT = """
#include <stdint.h>
int expensive(void);
void application(const char *text, uint32_t length);
void application(const char *text, uint32_t length)
{
    int local = expensive();
    (void)text;
    (void)length;
    (void)local;
}
"""


def compile_c(folder: Path, name: str, source: str, *flags: str) -> Path:
    (folder / f"{name}.c").write_text(source)
    run("arm-none-eabi-gcc", *MACHINE, *STRICT, *flags, "-c", f"{name}.c", "-o", f"{name}.o", cwd=folder)
    return folder / f"{name}.o"


def code(path: Path) -> list[str]:
    listing = run("arm-none-eabi-objdump", "-dr", "--no-show-raw-insn", path.name, cwd=path.parent)
    return [line for line in listing.splitlines() if re.match(r"\s*[0-9a-f]+:", line)]


def test_services_are_laid_out_as_specified(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "SPEC.md").read_text()
    table = page.split("## Services")[1].split("## ")[0]
    assert "HF_BOOT + 0x400" in table
    rows = dict(re.findall(r"^\| (\d+) \| function \| `\w+ (\w+)\(", table, re.MULTILINE))
    assert len(rows) == 7
    checks = "".join(
        f'_Static_assert(offsetof(struct hf_services, {name}) == {offset}, "{name}");\n'
        for offset, name in rows.items()
    )
    compile_c(
        tmp_path,
        "layout",
        f"#include <stddef.h>\n#include <hotflash.h>\n{checks}"
        '_Static_assert(sizeof(struct hf_services) == 64, "size");\n'
        f'_Static_assert(HF_SERVICES_MAGIC == 0x{re.findall(r"magic 0x([0-9A-F]+)", table)[0]}u, "magic");\n',
        "-DHOTFLASH=1",
    )


@pytest.mark.parametrize("flags", [("-DHOTFLASH=0",), ()], ids=["0", "undefined"])
def test_release_compiles_to_nothing(tmp_path: Path, flags: tuple[str, ...]) -> None:
    release = compile_c(tmp_path, "release", USES, *flags)
    without = compile_c(tmp_path, "without", WITHOUT)
    assert code(release) == code(without)
    assert b"a text that must not" not in release.read_bytes()
    assert b"__hf_services" not in release.read_bytes()


def test_hot_build_calls_the_services(tmp_path: Path) -> None:
    hot = compile_c(tmp_path, "hot", USES, "-DHOTFLASH=1")
    text = "\n".join(code(hot))
    assert "__hf_services" in text
    assert len(re.findall(r"R_ARM_THM_CALL\s+expensive", text)) == 2
    assert b"a text that must not" in hot.read_bytes()


@pytest.mark.parametrize("hot", [0, 1])
def test_header_is_usable_from_cpp(tmp_path: Path, hot: int) -> None:
    (tmp_path / "app.cpp").write_text(USES.replace("(void)local;", "").replace("int local = ", ""))
    warnings = [flag for flag in STRICT if flag not in ("-std=c11", "-Wmissing-prototypes")]
    run("arm-none-eabi-gcc", *MACHINE, *warnings, f"-DHOTFLASH={hot}", "-fsyntax-only", "app.cpp", cwd=tmp_path)


@pytest.mark.parametrize("hot", [0, 1])
def test_glue_is_clean(tmp_path: Path, hot: int) -> None:
    glue = ROOT / "bootloader" / "app" / "hf_app.c"
    run("arm-none-eabi-gcc", *MACHINE, *STRICT, f"-DHOTFLASH={hot}", "-c", glue, "-o", "glue.o", cwd=tmp_path)
