"""The contract suite runs once for every adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline_stores import ADAPTERS, Adapter


@pytest.fixture(params=ADAPTERS, ids=[kind.name for kind in ADAPTERS])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Adapter]:
    made: Adapter = request.param(tmp_path)
    yield made
    made.close()
