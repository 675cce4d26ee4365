"""The contract suite runs once for every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.mongo import mongo_server

from galera_cluster import SITES
from timeline_stores import Adapter, MariaAdapter, MongoAdapter, SealedSqliteAdapter, SqliteAdapter

SERVERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("mariadb", "mongodb")]


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mongo_server(tmp_path_factory.mktemp("mongodb")) as server:
        yield server.address


@pytest.fixture(params=["sqlite", "sqlite-sealed", *SERVERS])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Adapter]:
    if request.param == "sqlite":
        yield SqliteAdapter(tmp_path)
    elif request.param == "sqlite-sealed":
        sealed = SealedSqliteAdapter(tmp_path)
        yield sealed
        asyncio.run(sealed.vault.close())
    elif request.param == "mongodb":
        yield MongoAdapter.new(request.getfixturevalue("mongodb"))
    else:
        yield MariaAdapter(request.getfixturevalue("galera_node").state, SITES[0])
