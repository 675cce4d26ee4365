"""The contract suite runs once for every adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from galera_cluster import SITES
from timeline_stores import Adapter, MariaAdapter, SqliteAdapter


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.slow)])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Adapter:
    if request.param == "sqlite":
        return SqliteAdapter(tmp_path)
    return MariaAdapter(request.getfixturevalue("galera_node").state, SITES[0])
