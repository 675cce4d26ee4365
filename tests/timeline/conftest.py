"""The contract suite runs once for every adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from galera_cluster import SITES
from mongo_server import mongo_server
from timeline_stores import Adapter, MariaAdapter, MongoAdapter, SqliteAdapter


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mongo_server(tmp_path_factory.mktemp("mongodb")) as address:
        yield address


@pytest.fixture(params=["sqlite", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mariadb", "mongodb"))])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Adapter:
    if request.param == "sqlite":
        return SqliteAdapter(tmp_path)
    if request.param == "mongodb":
        return MongoAdapter.new(request.getfixturevalue("mongodb"))
    return MariaAdapter(request.getfixturevalue("galera_node").state, SITES[0])
