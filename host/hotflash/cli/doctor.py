"""``doctor``: checks what hotflash needs, one line each, with what to do next."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hotflash.cli import output
from hotflash.cli.context import App, shared_options
from hotflash.errors import HotflashError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotflash.settings import Settings

_MIN_GCC = 9
_STYLE = {"ok": {"fg": "green"}, "warn": {"fg": "yellow"}, "fail": {"fg": "red"}}


@dataclass(frozen=True)
class Check:
    """The outcome of one check."""

    name: str
    state: str
    """``ok``, ``warn`` or ``fail``."""
    text: str
    next: str = ""
    """What to do."""


@click.command()
@click.argument("elf", required=False, type=click.Path(dir_okay=False))
@shared_options(board=True)
def doctor(app: App, elf: str | None) -> None:
    """Check tools, settings, port, board and ELF. Exit code 1 when something fails."""
    checks = list(_all(app, elf))
    failed = any(check.state == "fail" for check in checks)
    if app.json:
        output.data_json("doctor", {"checks": checks, "failed": failed})
    else:
        for check in checks:
            state = click.style(f"{check.state:<4}", bold=check.state != "ok", **_STYLE[check.state])  # type: ignore[arg-type]
            output.data(f"{state}  {check.name:<16} {check.text}")
            if check.next:
                output.data(f"{'':22} -> {check.next}")
    if failed:
        click.get_current_context().exit(1)


def _all(app: App, elf: str | None) -> Iterator[Check]:
    try:
        settings = app.settings()
    except HotflashError as error:
        yield Check("settings", "fail", error.message, error.hint or "")
        return
    yield from _tools(settings)
    yield from _project(app, settings)
    path = Path(elf) if elf is not None else settings.elf
    if path is not None:
        yield _elf(path)
    yield from _board(app, settings)


def _version(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else None


def _tools(settings: Settings) -> Iterator[Check]:
    compiler = f"{settings.toolchain}gcc"
    line = _version([compiler, "--version"])
    version = re.search(r"\b(\d+)\.(\d+)\.(\d+)\b", line or "")
    if line is None or version is None:
        yield Check("compiler", "fail", f"{compiler} does not run", "sudo apt install gcc-arm-none-eabi")
    elif int(version[1]) < _MIN_GCC:
        yield Check("compiler", "fail", f"{line}: too old for patch points", f"install GCC {_MIN_GCC} or newer")
    else:
        yield Check("compiler", "ok", line)
        if version[0] == "12.2.1":
            yield Check(
                "compiler",
                "warn",
                "GCC 12.2.1 may emit a volatile store in a loop once too often when a flag like `static int first` "
                "is in it",
                "add -fno-move-loop-stores where device registers are written in loops",
            )
    for tool, package, why in (
        ("make", "make", "builds the bootloader"),
        ("qemu-system-arm", "qemu-system-arm", "`hotflash sim`"),
    ):
        path = shutil.which(tool)
        if path is None:
            yield Check(tool, "warn", f"not installed: {why} will not work", f"sudo apt install {package}")
        else:
            yield Check(tool, "ok", (_version([path, "--version"]) or path))


def _project(app: App, settings: Settings) -> Iterator[Check]:
    from hotflash.board import Board, board_names
    from hotflash.settings import project_file

    file = project_file(app.store.project)
    given = ", ".join(f"{name} from {source}" for name, source in settings.sources.items())
    yield Check(
        "project",
        "ok",
        f"{app.store.project}, {file.name if file else 'no hotflash.toml'}; {given or 'all settings are defaults'}",
    )
    try:
        from hotflash import sdk

        names = board_names(settings.board_path)
        yield Check("sdk", "ok", f"{sdk.sdk_root()}, boards {', '.join(names)}")
        if settings.board is not None:
            board = Board.find(settings.board, settings.board_path)
            yield Check("board files", "ok", f"{board.title}, {board.path}")
    except HotflashError as error:
        yield Check("board files", "fail", error.message, error.hint or "")
    builds = app.store.builds()
    yield Check("store", "ok", f"{app.store.root}, {output.plural(len(builds), 'build')}")
    for build in builds:
        try:
            app.store.journal(build.build_id)
        except (ValueError, HotflashError) as error:
            yield Check(
                "store",
                "warn",
                f"the journal of build {build.build_id.hex()[:12]} is damaged: {error}",
                "it is rebuilt from the stored objects when the board is next asked",
            )


def _elf(path: Path) -> Check:
    from hotflash.elf.firmware import Firmware

    try:
        firmware = Firmware.load(path)
        sites = len(firmware.sites)
    except HotflashError as error:
        return Check("elf", "fail", error.message, error.hint or "")
    plain = [symbol.name for symbol in firmware.functions if symbol.nops < firmware.header.nops]
    if not sites:
        return Check(
            "elf", "fail", f"{path}: no function has a patch point", "compile with what `hotflash sdk --cflags` prints"
        )
    return Check(
        "elf",
        "ok",
        f"{path}: build {firmware.build_id.hex()[:12]}, {output.plural(sites, 'patch point')}, "
        f"{output.plural(len(plain), 'function')} without",
    )


def _board(app: App, settings: Settings) -> Iterator[Check]:
    from hotflash.session import Session, ports
    from hotflash.wire.messages import HelloFlag

    try:
        choice = ports.choose(settings, app.store)
    except HotflashError as error:
        yield Check("port", "warn", error.message, error.hint or "")
        return
    try:
        session = Session.connect(settings, app.store)
    except HotflashError as error:
        yield Check("port", "fail", f"{choice.url} (from {choice.source}): {error.message}", error.hint or "")
        return
    with session:
        hello = session.hello
        yield Check("port", "ok", f"{choice.url} (from {choice.source})")
        yield Check(
            "board",
            "ok",
            f"{hello.board}, bootloader {hello.monitor}, wire {hello.version}, "
            f"ABI {hello.abi >> 16}.{hello.abi & 0xFFFF}",
        )
        if not hello.flags & HelloFlag.APP_RUNS:
            yield Check("application", "warn", "none runs: the bootloader waits", "`hotflash flash APP.elf`")
            return
        try:
            firmware = session.firmware
        except HotflashError as error:
            yield Check("application", "fail", error.message, error.hint or "")
            return
        yield Check(
            "application",
            "ok",
            f"build {hello.build_id.hex()[:12]} is known, generation {hello.generation}, {firmware.path}",
        )
        given = settings.elf
        if given is not None and given.is_file():
            yield _newer(given, hello.build_id)
        lost = session.lost()
        if lost:
            yield Check("edits", "warn", output.lost_edits(lost))
        for warning in session.warnings:
            yield Check("store", "warn", warning)
        session.warnings.clear()


def _newer(path: Path, running: bytes) -> Check:
    from hotflash.elf.firmware import Firmware

    try:
        build_id = Firmware.load(path).build_id
    except HotflashError as error:
        return Check("elf", "fail", error.message, error.hint or "")
    if build_id == running:
        return Check("elf", "ok", f"{path} is what the board runs")
    return Check(
        "elf",
        "ok",
        f"{path} is build {build_id.hex()[:12]}, newer than what the board runs; pushes go by the stored one",
    )
