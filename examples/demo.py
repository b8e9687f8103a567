"""The demo: an emulated board runs examples/blink; one line of it is edited, pushed and seen live.

Started by ``make demo``; needs ``hotflash``, ``make``, ``arm-none-eabi-gcc`` and ``qemu-system-arm`` on PATH. Works in
a copy of the example in a temporary folder and leaves nothing behind. Ends with 1 when what it shows does not happen.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

BLINK = Path(__file__).resolve().parent / "blink"
SDK = BLINK.parents[1]
BOARD = os.environ.get("BOARD", "mps2-an386")
SOURCE = "pattern.c"
OLD, NEW = "(position + 1)", "(position + 3)"
BEFORE, AFTER = 6, 6
KEPT, MOST = 4, 2000  # lines with the old step that are shown after the push, and that may come
WIDTH, STEP = 32, 3  # lamps, and how many the light moves at a time in the new version
LINE = re.compile(r"^ *(\d+)  ([.O]+)  run$")
BAUD, BITS = 115200, 10  # of a real line: bits a second, and bits a byte
PATIENCE = 20.0  # seconds for anything to happen

COLOR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def paint(text: str, code: str) -> str:
    """``text`` in an ANSI colour, where there is a terminal that wants it."""
    return f"\x1b[{code}m{text}\x1b[0m" if COLOR else text


def title(text: str) -> None:
    """A headline of the demo."""
    print(f"\n{paint(text, '1')}", flush=True)


class DemoError(Exception):
    """What was to be shown did not come true."""


def run(*command: str, folder: Path, show: bool = True) -> tuple[str, float]:
    """Runs a command to its end; returns what it printed to stdout, and the milliseconds it took."""
    if show:
        print(paint(f"$ {' '.join(command)}", "36"), flush=True)
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    spent = (time.perf_counter() - started) * 1e3
    if done.returncode != 0:
        raise DemoError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout, spent


def _print(line: str) -> None:
    print(f"  {line}".replace("O", paint("O", "1;33")), flush=True)


class Monitor:
    """``hotflash monitor`` in the background, its lines one by one."""

    def __init__(self, folder: Path) -> None:
        command = ["hotflash", "monitor"]
        print(paint(f"$ {' '.join(command)} &", "36"), flush=True)
        self._process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _next(self) -> tuple[str, tuple[int, int] | None]:
        """The next line; number and position of the light in it."""
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 - a pipe was asked for
        line = stream.readline()
        if not line:
            assert self._process.stderr is not None  # noqa: S101 - likewise
            raise DemoError(f"the monitor ended early\n{self._process.stderr.read()}".rstrip())
        match = LINE.match(line.rstrip("\n"))
        return line.rstrip(), (int(match[1]), match[2].index("O")) if match else None

    def show(self, count: int) -> list[tuple[int, int]]:
        """Prints the next ``count`` lines; returns number and position of the light in each."""
        seen: list[tuple[int, int]] = []
        while len(seen) < count:
            line, found = self._next()
            _print(line)
            if found:
                seen.append(found)
        return seen

    def show_change(self, last: tuple[int, int], count: int) -> list[tuple[int, int]]:
        """The lines from ``last`` on until the light moves by three, the latest of them printed, and ``count`` more."""
        seen, lines = [last], []
        while len(seen) < 2 or (seen[-1][1] - seen[-2][1]) % WIDTH != STEP:
            line, found = self._next()
            lines.append(line)
            if found:
                seen.append(found)
            if len(seen) > MOST:
                raise DemoError(f"{MOST} lines after the push the light still moves as before")
        if len(lines) > KEPT:
            print(paint(f"  ... {len(lines) - KEPT} lines while it was compiled and pushed", "2"))
        for line in lines[-KEPT:]:
            _print(line)
        return [*seen[1:], *self.show(count)]

    def close(self) -> None:
        """Ends the process."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.communicate(timeout=PATIENCE)


def edit(file: Path) -> None:
    """Changes the one line, and shows the difference."""
    before = file.read_text(encoding="utf-8")
    if before.count(OLD) != 1:
        raise DemoError(f"{file.name} does not have {OLD!r} once")
    after = before.replace(OLD, NEW)
    file.write_text(after, encoding="utf-8")
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), file.name, file.name, n=2, lineterm="")
    for line in lines:
        code = {"+": "32", "-": "31", "@": "36"}.get(line[:1])
        print(f"  {paint(line, code) if code else line}".rstrip())


def check(before: list[tuple[int, int]], after: list[tuple[int, int]]) -> None:
    """State went on: no line is missing, and the light moves on from where it was, with the new step."""
    lines = [*before, *after]
    if [number for number, _ in lines] != list(range(before[0][0], before[0][0] + len(lines))):
        raise DemoError(f"lines are missing or came twice: {[number for number, _ in lines]}")
    steps = [(second - first) % WIDTH for (_, first), (_, second) in pairwise(lines)]
    change = steps.index(STEP) if STEP in steps else len(steps)
    if steps != [1] * change + [STEP] * (len(steps) - change) or not BEFORE - 1 <= change < len(steps):
        raise DemoError(f"the light moved by {steps}, not by 1 and then by 3")


def demo(folder: Path) -> None:
    """All of it, in a copy of the example."""
    shutil.copytree(BLINK, folder, ignore=shutil.ignore_patterns("build", "plain", ".hotflash"))
    (folder / ".hotflash").mkdir()
    make = ("make", "-s", f"BOARD={BOARD}", f"HOTFLASH_SDK={SDK}")
    build = f"build/{BOARD}"

    title("1. An emulated board, with the bootloader and nothing else")
    run("hotflash", "sim", "--detach", "--board", BOARD, folder=folder)
    monitor = None
    try:
        title("2. The application: compiled, linked, programmed over the wire")
        _, build_ms = run(*make, folder=folder)
        print(f"  built in {build_ms:,.0f} ms")
        output, _ = run("hotflash", "flash", f"{build}/blink.elf", folder=folder)
        print(f"  {output.strip()}")

        title("3. It runs: a timer interrupt moves a light one lamp at a time, the main loop prints it")
        monitor = Monitor(folder)
        before = monitor.show(BEFORE)

        title(f"4. One line of {SOURCE} is edited and pushed; the board goes on running")
        edit(folder / SOURCE)
        started = time.perf_counter()
        _, compile_ms = run(*make, f"{build}/pattern.o", folder=folder)
        output, push_ms = run("hotflash", "push", "--json", f"{build}/pattern.o", folder=folder)
        total_ms = (time.perf_counter() - started) * 1e3
        report = json.loads(output)
        names = ", ".join(change["function"] for change in report["changes"])
        print(f"  {names}: generation {report['generation']}, {report['size']} bytes of code,", end=" ")
        print(f"{report['wire_tx'] + report['wire_rx']} bytes on the wire, {report['masked']} instructions masked")

        title("5. The same program, the same state, the new function: three lamps at a time")
        after = monitor.show_change(before[-1], AFTER)
        check(before, after)
    finally:
        if monitor is not None:
            monitor.close()
        run("hotflash", "sim", "--stop", folder=folder, show=False)

    stages = report["milliseconds"]
    line_ms = (report["wire_tx"] + report["wire_rx"]) * BITS / BAUD * 1e3
    title("From saved to live")
    rows = [
        ("compile", compile_ms, "make, arm-none-eabi-gcc"),
        ("link", stages["link"], "against what the board runs"),
        (
            "wire",
            stages["wire"],
            f"allocate and upload; the emulated line has no speed, 115200 baud add {line_ms:.0f} ms",
        ),
        ("commit", stages["commit"], "seal and bind"),
        (
            "command",
            push_ms - stages["link"] - stages["wire"] - stages["commit"],
            "start of the tool, asking the board what it runs",
        ),
        ("total", total_ms, ""),
    ]
    for name, spent, what in rows:
        print(f"  {name:8}{spent:8.1f} ms" + (f"  {paint(what, '2')}" if what else ""))


def main() -> int:
    """Runs the demo; 0, or 1 with the reason."""
    with tempfile.TemporaryDirectory(prefix="hotflash-demo-") as parent:
        try:
            demo(Path(parent) / "blink")
        except DemoError as error:
            print(f"{paint('demo failed:', '31')} {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
