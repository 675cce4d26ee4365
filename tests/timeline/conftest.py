"""The contract suite runs once for every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from galera_cluster import SITES
from timeline_stores import Adapter, MariaAdapter, SealedSqliteAdapter, SqliteAdapter


@pytest.fixture(params=["sqlite", "sqlite-sealed", pytest.param("mariadb", marks=pytest.mark.slow)])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Adapter]:
    if request.param == "sqlite":
        yield SqliteAdapter(tmp_path)
    elif request.param == "sqlite-sealed":
        sealed = SealedSqliteAdapter(tmp_path)
        yield sealed
        asyncio.run(sealed.vault.close())
    else:
        yield MariaAdapter(request.getfixturevalue("galera_node").state, SITES[0])
