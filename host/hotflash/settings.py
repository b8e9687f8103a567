"""Settings, and where each of them came from.

From strongest to weakest: command line flags, ``HOTFLASH_*`` environment variables, the project's
``hotflash.toml`` (or ``[tool.hotflash]`` in its ``pyproject.toml``), the user's
``$XDG_CONFIG_HOME/hotflash/config.toml``, defaults. Relative paths in a file count from that file's
folder, those in flags and variables from the current one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotflash.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROJECT_FILE = "hotflash.toml"
MODES = ("auto", "now", "safe")
ON_FAULT = ("ask", "auto", "never")
COLLECT = ("asked", "pressure")
LIBCS = ("auto", "nano", "newlib", "picolibc")


@dataclass(frozen=True)
class Settings:
    """What the commands go by. Times are seconds."""

    port: str | None = None
    """Serial device or any pyserial URL; None: nobody chose one."""
    baud: int = 115200
    """Line rate in bits per second, 1 to 12,000,000; without meaning for socket URLs."""
    board: str | None = None
    """Name of a board of the SDK, or the path of a board's folder."""
    board_path: tuple[Path, ...] = ()
    """Folders that are searched for boards before the SDK's own."""
    elf: Path | None = None
    """The application's ELF, where the project wants to name one."""
    mode: str = "auto"
    """Commit mode: ``now``, ``safe``, or ``auto``: one function now, several safe."""
    deadline: float = 5.0
    """How long a safe commit is tried, 0 to 3600."""
    connect_timeout: float = 2.0
    """How long a silent port is waited for, 0.05 to 600."""
    collect: str = "asked"
    """When constants, stubs and variables that nothing uses are collected, which masks interrupts: ``asked`` by `gc`,
    or also under ``pressure``, when a push does not fit. Nobody is held up while the application is parked:
    then a push always may."""
    on_fault: str = "ask"
    """Whether `monitor` rolls the newest generation back when the application faults in it: ``ask`` on a terminal,
    ``auto``, that is without asking, or ``never``."""
    toolchain: str = "arm-none-eabi-"
    """Prefix of the compiler's and binutils' names."""
    libc: str = "auto"
    """Which of the compiler's C libraries helpers come from; ``auto``: the one that the firmware has parts of."""
    archives: tuple[Path, ...] = ()
    """Archives of the project that helpers may come from, searched before the compiler's."""
    type_check: bool = True
    """Whether a push compares signatures and layouts with what is live, and refuses what does not fit."""
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where each value that is not a default came from, in words for people."""

    def source(self, name: str) -> str:
        """Where the value of ``name`` came from."""
        return self.sources.get(name, "default")


def _text(value: object, base: Path) -> str:
    del base
    if not isinstance(value, str) or not value:
        raise ValueError("a text is wanted")
    return value


def _port(value: object, base: Path) -> str:
    # A relative device path in a settings file would mean something else in every folder.
    del base
    return _text(value, Path())


def _board(value: object, base: Path) -> str:
    text = _text(value, base)
    return str((base / text).resolve()) if "/" in text or text.startswith(".") else text


def _path(value: object, base: Path) -> Path:
    try:
        return (base / Path(_text(value, base)).expanduser()).resolve()
    except RuntimeError as error:  # ~ of somebody who has no home here
        raise ValueError(str(error)) from None


def _paths(value: object, base: Path) -> tuple[Path, ...]:
    parts = value.split(os.pathsep) if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)):
        raise ValueError("a list of paths is wanted")  # noqa: TRY004 (reported as a bad setting, not a bug)
    return tuple(_path(str(part), base) for part in parts if part)


def _whole(low: int, high: int) -> Callable[[object, Path], int]:
    def convert(value: object, base: Path) -> int:
        del base
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError("a whole number is wanted")  # noqa: TRY004
        try:
            number = int(value)
        except ValueError:
            raise ValueError("a whole number is wanted") from None
        if not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high} is wanted")
        return number

    return convert


def _seconds(low: float, high: float) -> Callable[[object, Path], float]:
    def convert(value: object, base: Path) -> float:
        del base
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError("a number of seconds is wanted")  # noqa: TRY004
        try:
            number = float(value)
        except ValueError:
            raise ValueError("a number of seconds is wanted") from None
        if not low <= number <= high:  # also refuses NaN
            raise ValueError(f"seconds from {low:g} to {high:g} are wanted")
        return number

    return convert


def _switch(value: object, base: Path) -> bool:
    del base
    found = value if isinstance(value, bool) else _SWITCHES.get(str(value).lower())
    if found is None:
        raise ValueError("true or false is wanted")
    return found


def _one_of(words: tuple[str, ...]) -> Callable[[object, Path], str]:
    def convert(value: object, base: Path) -> str:
        text = _text(value, base)
        if text not in words:
            raise ValueError(f"one of {', '.join(words)} is wanted")
        return text

    return convert


_SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_CONVERT: dict[str, Callable[[object, Path], Any]] = {
    "port": _port,
    "baud": _whole(1, 12_000_000),
    "board": _board,
    "board_path": _paths,
    "elf": _path,
    "mode": _one_of(MODES),
    "on_fault": _one_of(ON_FAULT),
    "collect": _one_of(COLLECT),
    "deadline": _seconds(0, 3600),
    "connect_timeout": _seconds(0.05, 600),
    "toolchain": _text,
    "libc": _one_of(LIBCS),
    "archives": _paths,
    "type_check": _switch,
}
"""Each setting's conversion from a flag, a variable or a file."""

# Variables of the same prefix that are no settings.
_OTHER_VARIABLES = {"HOTFLASH_DEBUG", "HOTFLASH_PROJECT"}


def find_project(start: Path | None = None) -> Path:
    """The project's folder: the nearest one upwards with ``.hotflash/``, settings or ``.git``; else ``start``.

    A folder with hotflash's own marks wins over a ``.git`` that is nearer, so that a submodule
    inside a project belongs to the project.
    """
    start = (start or Path.cwd()).resolve()
    repository = None
    for folder in (start, *start.parents):
        if (folder / ".hotflash").is_dir() or (folder / PROJECT_FILE).is_file() or _has_table(folder):
            return folder
        if repository is None and (folder / ".git").exists():
            repository = folder
    return repository or start


def user_file(env: Mapping[str, str] | None = None) -> Path:
    """Path of the user's settings; need not exist."""
    env = os.environ if env is None else env
    config = env.get("XDG_CONFIG_HOME")
    base = Path(config) if config else Path(env.get("HOME") or Path.home()) / ".config"
    return base / "hotflash" / "config.toml"


def _load_toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the settings: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # also numbers and nesting beyond what the parser takes
        raise UsageError(f"{path}: not valid TOML: {error}") from error


def _has_table(folder: Path) -> bool:
    path = folder / "pyproject.toml"
    try:
        return b"[tool.hotflash" in path.read_bytes()
    except OSError:
        return False


def project_file(project: Path) -> Path | None:
    """The file with the project's settings; ``hotflash.toml`` wins over ``pyproject.toml``."""
    if (project / PROJECT_FILE).is_file():
        return project / PROJECT_FILE
    return project / "pyproject.toml" if _has_table(project) else None


def _from_file(path: Path) -> dict[str, object]:
    table: object = _load_toml(path)
    if path.name == "pyproject.toml":
        tool = table.get("tool", {}) if isinstance(table, dict) else {}
        table = tool.get("hotflash", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise UsageError(f"{path}: [tool.hotflash] is not a table")
    return {key.replace("-", "_"): value for key, value in table.items()}


def _unknown(name: str, where: str) -> UsageError:
    import difflib

    close = difflib.get_close_matches(name, list(_CONVERT), 1)
    known = ", ".join(_CONVERT)
    return UsageError(
        f"{where}: there is no setting '{name}'",
        hint=f"did you mean '{close[0]}'?" if close else f"settings: {known}",
    )


def load(
    flags: Mapping[str, object] | None = None,
    *,
    project: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Settings:
    """Puts the settings together.

    ``flags`` are those given on the command line (None values count as not given). Raises
    :class:`UsageError` for a file that is no TOML, an unknown name or a value out of range, naming
    the place that it came from.
    """
    env = os.environ if env is None else env
    project = find_project() if project is None else project
    here = Path.cwd()
    layers: list[tuple[str, Path, dict[str, object], bool]] = []
    user = user_file(env)
    if user.is_file():
        layers.append((str(user), user.parent, _from_file(user), True))
    file = project_file(project)
    if file is not None:
        layers.append((str(file), file.parent, _from_file(file), True))
    variables = {
        name.removeprefix("HOTFLASH_").lower(): value
        for name, value in env.items()
        if name.startswith("HOTFLASH_") and value and name not in _OTHER_VARIABLES
    }
    # Foreign HOTFLASH_* variables (a makefile's own, say) are no error, unlike a typing mistake in a file.
    layers.append(("environment", here, {k: v for k, v in variables.items() if k in _CONVERT}, False))
    layers.append(("command line", here, {k: v for k, v in (flags or {}).items() if v is not None}, True))

    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for where, base, table, strict in layers:
        for name, value in table.items():
            convert = _CONVERT.get(name)
            label = f"HOTFLASH_{name.upper()}" if where == "environment" else where
            if where == "command line":
                label = f"--{name.replace('_', '-')}"
            if convert is None:
                if strict:
                    raise _unknown(name, where)
                continue
            try:
                values[name] = convert(value, base)
            except ValueError as error:
                raise UsageError(f"{label}: {name} = {value!r}: {error}") from None
            sources[name] = label
    return Settings(**values, sources=sources)
