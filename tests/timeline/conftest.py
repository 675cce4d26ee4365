"""The contract suite runs once for every adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from timeline_stores import ADAPTERS, Adapter


@pytest.fixture(params=ADAPTERS, ids=[kind.name for kind in ADAPTERS])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Adapter:
    made: Adapter = request.param(tmp_path)
    return made
