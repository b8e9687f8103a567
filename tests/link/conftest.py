from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.link.toolchain import Workshop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder: Path = tmp_path_factory.mktemp("shop")
    return Workshop(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Sums what round trips noted (``record_property``), in whichever process they ran."""
    sums: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        noted = [(name, value) for name, value in report.user_properties if name.startswith("edits ")]
        sums.update({name: int(value) for name, value in noted if isinstance(value, int)})
        sums["programs"] += bool(noted)
    if sums["programs"]:
        terminalreporter.write_line(
            f"round trips: {sums['programs']} programs, {sums['edits compared']} edits compared, "
            f"{sums['edits refused']} refused"
        )
