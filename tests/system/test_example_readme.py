"""What the README tells to paste works, and so does the demo."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.system.sdk_builds import BLINK, ROOT, run


def test_readme_example_works_when_pasted(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    setup, *commands = block.splitlines()
    assert setup == 'make setup && export PATH="$PWD/.venv/bin:$PATH" && cd examples/blink'
    folder = tmp_path / "tree" / "examples" / "blink"
    shutil.copytree(BLINK, folder, ignore=shutil.ignore_patterns("build", "plain", ".hotflash"))
    for name in ("hotflash.mk", "bootloader", "boards"):
        (tmp_path / "tree" / name).symlink_to(ROOT / name)
    source = (folder / "pattern.c").read_text()
    script = "set -e\n" + "\n".join(commands)
    try:
        output = run("bash", "-c", script, cwd=folder)
    finally:
        subprocess.run(
            [Path(sys.executable).parent / "hotflash", "sim", "--stop"], cwd=folder, capture_output=True, check=False
        )
    pictures = re.findall(r"^ *(\d+)  ([.O]{32})  run$", output, re.MULTILINE)
    assert len(pictures) == 10, output
    positions = [picture.index("O") for _, picture in pictures]
    steps = [(after - before) % 32 for before, after in itertools.pairwise(positions)]
    assert steps[:4] == [1] * 4, output
    assert steps[5:] == [3] * 4, output
    assert int(pictures[5][0]) > int(pictures[4][0])
    assert "generation 1" in output
    assert "generation 2" in output
    assert (folder / "pattern.c").read_text() == source


def test_demo_shows_what_it_promises(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        cwd=tmp_path,
        env={**environment, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "+    return (position + 3) % STRIP_LAMPS;" in done.stdout
    for stage in ("compile", "link", "wire", "commit", "total"):
        assert re.search(rf"^  {stage} +[\d.]+ ms", done.stdout, re.MULTILINE), stage
    assert list(tmp_path.iterdir()) == []  # it has cleaned up
