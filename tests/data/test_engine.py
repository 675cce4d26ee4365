"""The engine of a site as a process: what is made by programs of others is whole, or not there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from moonbow.base.errors import ConfigError
from moonbow.data.adapters.engine import Node
from moonbow.data.galera import node_settings
from moonbow.data.model import Position
from moonbow.world import load_world

WORLD = load_world(Path(__file__).parents[2] / "worlds" / "laptop-engines.toml")
INSTALLER = """#!/bin/sh
for word in "$@"; do case "$word" in --datadir=*) mkdir -p "${word#--datadir=}/mysql";; esac; done
echo "io_setup() failed with EAGAIN"
exit 1
"""


def test_tables_that_were_made_by_half_are_not_taken_for_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mariadb-install-db").write_text(INSTALLER)
    (tmp_path / "bin" / "mariadb-install-db").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin:/usr/sbin")
    (tmp_path / "sites" / "paris").mkdir(parents=True)
    node = Node(node_settings(WORLD, WORLD.site("paris"), tmp_path, "root"), tmp_path / "sql.log")
    node.prepare()
    with pytest.raises(ConfigError, match="EAGAIN"):
        asyncio.run(node.start("begin", Position()))
    assert not node.settings.data.exists()
    assert not node.running
