"""One small world for all tests of the audit, and copies of it to be broken."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from audited_world import Lived, copy_state, live_once


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    return live_once(tmp_path_factory.mktemp("audited"))


@pytest.fixture
def state(lived: Lived, tmp_path: Path) -> Iterator[Path]:
    copy_state(lived.state, tmp_path / "state")
    yield tmp_path / "state"
    shutil.rmtree(tmp_path / "state")
