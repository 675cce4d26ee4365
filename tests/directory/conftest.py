"""A seeded world, made once and copied for each test."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from directory_house import NOW, WORLD
from directory_stores import Backing, OnGalera, OnSqlite, emptied
from moonbow.directory.seed import seed


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the world after its first start."""
    folder = tmp_path_factory.mktemp("seeded")
    (folder / "world.toml").write_text(WORLD)
    asyncio.run(seed(folder, NOW))
    return folder


@pytest.fixture
def state(seeded: Path, tmp_path: Path) -> Path:
    """A fresh copy of it."""
    return shutil.copytree(seeded, tmp_path / "state")


@pytest.fixture(params=["sqlite", "galera"])
def backing(request: pytest.FixtureRequest, tmp_path: Path) -> Backing:
    """An empty database of each engine."""
    if request.param == "sqlite":
        return OnSqlite(tmp_path / "directory.db")
    return OnGalera(emptied(request.getfixturevalue("galera_node"), "paris"))
