from __future__ import annotations

from pathlib import Path

import pytest

from tests.link.toolchain import Workshop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder: Path = tmp_path_factory.mktemp("shop")
    return Workshop(folder)
