"""The real command line on a terminal: a pseudo-terminal that a test types on and reads from."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from .observe import PATIENCE


class Terminal:
    """``hotflash`` with a terminal as its input, output and error output."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.text = ""
        """All that was written so far, colours taken out."""
        self._master, slave = pty.openpty()
        env = {name: value for name, value in os.environ.items() if not name.startswith("HOTFLASH_")}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hotflash", *arguments],
                cwd=folder,
                env={**env, "NO_COLOR": "1"},
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        finally:
            os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)

    def _read(self, end: float) -> bool:
        """Takes in what was written; false: nobody writes any more."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise AssertionError(f"nothing more was written; so far:\n{self.text}")
        try:
            data = os.read(self._master, 4096)
        except OSError:  # as Linux tells that the other side has closed
            return False
        self.text += re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", data.decode(errors="replace")).replace("\r\n", "\n")
        return bool(data)

    def wait(self, words: str) -> None:
        """Until these words were written."""
        end = time.monotonic() + PATIENCE
        while words not in self.text:
            if not self._read(end):
                raise AssertionError(f"ended without {words!r}:\n{self.text}")

    def type(self, keys: str) -> None:
        """Presses keys."""
        os.write(self._master, keys.encode())

    def kill(self) -> None:
        """Ends it without giving it a chance to say anything (SIGKILL)."""
        self._process.kill()
        self._process.wait(timeout=PATIENCE)

    def end(self) -> int:
        """Waits for the end; returns the exit status."""
        end = time.monotonic() + PATIENCE
        while self._read(end):
            pass
        return self._process.wait(timeout=PATIENCE)
