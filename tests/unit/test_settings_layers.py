from __future__ import annotations

import os
from pathlib import Path

import pytest

from hotflash import settings
from hotflash.errors import UsageError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a project folder, nothing of this machine's settings visible."""
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "config" / "hotflash").mkdir(parents=True)
    monkeypatch.chdir(project)
    for name in list(os.environ):
        if name.startswith("HOTFLASH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def write_layers(home: Path, monkeypatch: pytest.MonkeyPatch, upto: int) -> None:
    if upto >= 1:
        (home / "config" / "hotflash" / "config.toml").write_text("baud = 1000\n")
    if upto >= 2:
        (home / "project" / "hotflash.toml").write_text("baud = 2000\n")
    if upto >= 3:
        monkeypatch.setenv("HOTFLASH_BAUD", "3000")


@pytest.mark.parametrize(
    ("layers", "flag", "baud", "source"),
    [
        (0, None, 115200, "default"),
        (1, None, 1000, "config.toml"),
        (2, None, 2000, "hotflash.toml"),
        (3, None, 3000, "HOTFLASH_BAUD"),
        (3, "4000", 4000, "--baud"),
    ],
)
def test_each_layer_wins_over_those_below(
    home: Path, monkeypatch: pytest.MonkeyPatch, *, layers: int, flag: str | None, baud: int, source: str
) -> None:
    write_layers(home, monkeypatch, layers)
    loaded = settings.load({"baud": flag})
    assert loaded.baud == baud
    assert loaded.source("baud").endswith(source)


def test_layers_are_merged_by_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_layers(home, monkeypatch, 2)
    (home / "project" / "hotflash.toml").write_text('board = "mps2-an386"\n')
    loaded = settings.load()
    assert (loaded.baud, loaded.board) == (1000, "mps2-an386")


def test_pyproject_table_counts_unless_hotflash_toml_is_there(home: Path) -> None:
    (home / "project" / "pyproject.toml").write_text('[tool.hotflash]\nport = "/dev/ttyA"\nconnect-timeout = 3\n')
    loaded = settings.load()
    assert (loaded.port, loaded.connect_timeout) == ("/dev/ttyA", 3.0)
    (home / "project" / "hotflash.toml").write_text('port = "/dev/ttyB"\n')
    assert settings.load().port == "/dev/ttyB"


def test_paths_count_from_where_they_are_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = home / "project" / "src"
    below.mkdir()
    (home / "project" / "hotflash.toml").write_text(
        'elf = "build/app.elf"\nboard = "boards/mine"\nboard_path = ["b"]\n'
    )
    monkeypatch.chdir(below)
    loaded = settings.load()
    project = (home / "project").resolve()
    assert loaded.elf == project / "build" / "app.elf"
    assert loaded.board == str(project / "boards" / "mine")
    assert loaded.board_path == (project / "b",)
    monkeypatch.setenv("HOTFLASH_ELF", "here.elf")
    assert settings.load().elf == project / "src" / "here.elf"
    monkeypatch.setenv("HOTFLASH_BOARD_PATH", f"x{os.pathsep}y")
    assert settings.load().board_path == (project / "src" / "x", project / "src" / "y")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("baud = 0", "hotflash.toml", "1 to"),
        ('baud = "fast"', "hotflash.toml", "whole number"),
        ("baud = true", "hotflash.toml", "whole number"),
        ('mode = "sometimes"', "hotflash.toml", "auto, now, safe"),
        ("deadline = nan", "hotflash.toml", "seconds"),
        ("port = 3", "hotflash.toml", "text"),
        ("board_path = 3", "hotflash.toml", "list"),
        ("prot = 'x'", "hotflash.toml", "prot"),
        ("port = ", "hotflash.toml", "TOML"),
        ("port = '\xff'", "hotflash.toml", "TOML"),
    ],
)
def test_bad_files_are_named_with_place_and_wish(home: Path, text: str, where: str, what: str) -> None:
    (home / "project" / "hotflash.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError) as caught:
        settings.load()
    assert where in caught.value.message
    assert what in caught.value.message


def test_a_misspelt_name_is_corrected(home: Path) -> None:
    (home / "project" / "hotflash.toml").write_text("prot = 'x'\n")
    with pytest.raises(UsageError) as caught:
        settings.load()
    assert caught.value.hint == "did you mean 'port'?"


def test_bad_variables_and_flags_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del home
    monkeypatch.setenv("HOTFLASH_DEADLINE", "soon")
    with pytest.raises(UsageError, match="HOTFLASH_DEADLINE"):
        settings.load()
    monkeypatch.delenv("HOTFLASH_DEADLINE")
    with pytest.raises(UsageError, match="--connect-timeout"):
        settings.load({"deadline": "1", "connect_timeout": "-1"})


def test_foreign_variables_are_no_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del home
    monkeypatch.setenv("HOTFLASH_SDK", "/somewhere")
    monkeypatch.setenv("HOTFLASH_PORT", "")  # empty counts as not set
    assert settings.load().port is None


def test_project_is_the_nearest_with_marks_then_git(home: Path) -> None:
    outer = home / "outer"
    inner = outer / "lib" / "src"
    inner.mkdir(parents=True)
    assert settings.find_project(inner) == inner
    (outer / "lib" / ".git").write_text("gitdir: elsewhere\n")  # a submodule
    assert settings.find_project(inner) == outer / "lib"
    (outer / ".hotflash").mkdir()
    assert settings.find_project(inner) == outer
    (inner / "hotflash.toml").touch()
    assert settings.find_project(inner) == inner
