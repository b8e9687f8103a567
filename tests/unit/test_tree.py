"""The repository agrees with itself: generated files, links, board folders, commands in the README."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hotflash.board import Board, board_names

ROOT = Path(__file__).parents[2]
TOP = ("bench", "boards", "bootloader", "cmake", "docs", "examples", "host", "renode", "tests", ".ci", ".github")
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def tracked() -> list[Path]:
    """The files of the repository; of an exported tree without git, all that a build has not made."""
    if (ROOT / ".git").exists():
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    made = {".venv", "build", ".hotflash", "__pycache__"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.relative_to(ROOT).parts)]


def test_generated_files_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hotflash.wire.generate", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run python -m hotflash.wire.generate"


# Written in pieces, so that this file does not find itself.
PRIVATE = re.compile("|".join(["/wo" + r"rk/\w", "/ro" + r"ot/\w", "/ho" + r"me/\w", r"\biss" + r"ue #?\d"]))


def test_nothing_refers_to_somebodys_machine() -> None:
    files = tracked()
    assert len(files) > 50
    found = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(text.splitlines(), 1) if PRIVATE.search(line)
        ]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_pages_name_files_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not link.startswith(("http://", "https://"))]
    quoted = re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [name for name in quoted if "/" in name and name.split("/")[0] in TOP and not (ROOT / name).exists()]
    assert missing == []


def test_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:`|^)make ([a-z][\w-]*)(?:`|$)", pages, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_readme_lists_every_board() -> None:
    names = board_names()
    assert names
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in names:
        assert f"`{name}`" in readme
        assert Board.find(name).title


def test_board_page_explains_every_key() -> None:
    page = (ROOT / "docs" / "BOARDS.md").read_text(encoding="utf-8")
    for name in board_names():
        description = (ROOT / "boards" / name / "board.toml").read_text()
        table = ""
        for line in description.splitlines():
            header = re.match(r"\[(\w+)\]", line)
            key = re.match(r"(\w+) *=", line)
            if header:
                table = header[1] + "."
            elif key:
                assert f"`{table}{key[1]}`" in page, f"{name}: {table}{key[1]}"


def test_continuous_integration_runs_the_readme_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert "make test" in script.read_text()
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "test.yml").read_text()


def test_wheel_carries_the_sdk() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for name in ("bootloader", "boards", "cmake", "hotflash.mk"):
        assert f'"{name}" = "hotflash/_sdk/{name}"' in text
        assert (ROOT / name).exists()
