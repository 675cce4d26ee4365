"""A region on MariaDB Galera is copied while it serves, and put back into a cluster that holds nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pymysql
import pytest

from backup_region import ADA, BEA, REGION, back_up, erase, furnish, objects, read_texts, say, write_object
from galera_cluster import BREAK_SLOT, TEXT, Cluster
from moonbow.backup.adapters.node import lone_node
from moonbow.backup.process import check_backup, erased_people, restore_region, shelf_of
from moonbow.base.errors import ConfigError, Unavailable
from moonbow.launch.state import prepare_state
from moonbow.stores.backup_galera import GaleraDatabases
from moonbow.world import SqlWay, World, backup_way, parse_world, sql_way
from swallower import Swallower

RENEWED = {"timeline_meta", "applied", "family", "shared", "shared_log", "shared_head"}
OF_ERASED = {"post", "body", "person", "credential", "erased", "release", "revocation", "person_key", "key_secret"}
OF_ERASED |= {"key_changes"}


class Region(NamedTuple):
    """A region whose database runs, and whose files rest in a folder."""

    world: World
    state: Path

    def way(self) -> SqlWay:
        """How its processes reach the database."""
        return sql_way(self.world, self.state, REGION, "paris")


@pytest.fixture(scope="module")
def region(galera_node: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Region:
    """Of a node that serves, with people, messages and files, and nothing of other tests."""
    with galera_node.connect("paris", database=None) as db, db.cursor() as cursor:
        cursor.execute("DROP DATABASE moonbow")
        cursor.execute("CREATE DATABASE moonbow CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    state = tmp_path_factory.mktemp("region") / "state"
    state.mkdir()
    (state / "pki").symlink_to(galera_node.state / "pki")
    made_world(state, galera_node.world.slot)
    return Region(furnish(state), state)


def made_world(state: Path, slot: int) -> World:
    """The folder of a world like that of the node, but for its files' engine; its region is furnished by nobody yet."""
    text = TEXT.format(slot=slot).replace('objects = "seaweedfs"', 'objects = "directory"')
    world = parse_world(text)
    prepare_state(world, text, state)
    return world


def rows(way: SqlWay) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    with opened(way) as db, db.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        names = [name for (name,) in cursor.fetchall()]
        found: dict[str, list[tuple[Any, ...]]] = {}
        for name in names:
            cursor.execute(f"SELECT * FROM `{name}`")
            found[name] = sorted(cursor.fetchall(), key=repr)
    return found


def opened(way: SqlWay, **more: Any) -> Any:
    given: dict[str, Any] = {
        "host": way.hosts[0], "port": way.port, "user": way.user, "database": way.database, "ssl_ca": str(way.ca),
        "ssl_cert": str(way.cert), "ssl_key": str(way.key), "ssl_verify_identity": True, "connect_timeout": 2,
    }  # fmt: skip
    return pymysql.connect(**given | more)


def second() -> None:
    """Backups are named by the second."""
    time.sleep(1.0 - time.time() % 1)


def test_every_row_and_object_comes_back_in_an_empty_cluster(region: Region, tmp_path: Path) -> None:
    world, state, target = region.world, region.state, tmp_path / "state"
    second()
    before, before_objects = rows(region.way()), objects(state / "regions" / REGION)
    ident, keys = back_up(world, state)
    asyncio.run(say(world, state, BEA, 3))
    asyncio.run(erase(world, state, ADA))
    shelf_of(world, state, REGION).note_erased(asyncio.run(erased_people(world, state, REGION)))
    with pytest.raises(ConfigError, match=r"a world runs at 127\.190\.1\.1 already"):  # never into what serves
        asyncio.run(restore_region(world, state, copied_world(state, tmp_path), REGION, ident, None))
    with pytest.raises(ConfigError, match="not empty"):
        GaleraDatabases(region.way()).place("sql", tmp_path, tmp_path)
    there = empty_world(target)
    key = state / "regions" / REGION / "keys" / "backup.key"
    restored = asyncio.run(restore_region(world, state, target, REGION, ident, key))
    assert (restored.erased, restored.keys and restored.keys.id) == ((ADA,), keys)
    assert restored.data.engine == "galera"
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f-]{27}:\d+", restored.data.position)
    assert "safe_to_bootstrap: 1" in (target / "sites" / "paris" / "sql" / "data" / "grastate.dat").read_text()
    asyncio.run(look(there, target, before))
    assert objects(target / "regions" / REGION) == before_objects
    assert [path.name for path in (target / "regions").iterdir()] == [REGION]
    assert check(world, state, ident) == check(world, state, keys) == ()
    with pytest.raises(ConfigError, match=r"sql: region emea is not empty \(data\)"):
        asyncio.run(restore_region(world, state, target, REGION, ident, key))


async def look(world: World, state: Path, before: dict[str, list[tuple[Any, ...]]]) -> None:
    """Start the restored node as an operator's look would, and see."""
    async with lone_node(world, state, REGION):
        after = rows(sql_way(world, state, REGION))
        assert {name for name in after if after[name] != before[name]} <= RENEWED | OF_ERASED
        assert after.keys() == before.keys()
        assert after["timeline_meta"][0][-1] >= time.time() - 120, "a new epoch"
        assert after["family"] == [], "everybody signs in anew"
        assert [row[0] for row in after["person"]] == [BEA]
        assert await read_texts(world, state, ADA) == [None] * 20
        assert None not in (found := await read_texts(world, state, BEA))
        assert len(found) == 20, "what was said after the backup is lost"


def copied_world(state: Path, folder: Path) -> Path:
    """Another folder with the certificates of `state`, in the same slot."""
    shutil.copytree(state / "pki", folder / "same" / "pki")
    return folder / "same"


def empty_world(state: Path) -> World:
    """Another world's folder, in a slot of its own, whose region has never run; with the same secret for logins."""
    world = made_world(state, BREAK_SLOT)
    (state / "secrets" / "login.key").unlink()
    return world


def check(world: World, state: Path, ident: str) -> tuple[str, ...]:
    return asyncio.run(check_backup(world, state, REGION, ident, None)).faults


def test_keys_are_in_their_own_archive_and_nothing_is_readable(region: Region) -> None:
    world, state = region.world, region.state
    (text,) = asyncio.run(say(world, state, BEA, 1))
    second()
    shelf = shelf_of(world, state, REGION)
    idents = back_up(world, state)
    data, keys = (shelf.archive(ident).manifest for ident in idents)
    in_data, in_keys = (set().union(*(one.rows for one in manifest.payloads)) for manifest in (data, keys))
    assert in_keys == {"company_key", "person_key", "key_secret", "key_changes"}
    assert in_data.isdisjoint(in_keys)
    assert {"post", "body", "person", "layout", "stream"} <= in_data
    kept = b"".join(path.read_bytes() for path in shelf.root.rglob("*") if path.is_file())
    assert BEA.encode() in repr(rows(region.way())).encode(), "the control"
    for secret in (text.encode(), b"p1@x", BEA.encode(), bytes([3]) * 1000):
        assert secret not in kept
    assert {path.stat().st_mode & 0o077 for path in shelf.root.rglob("*")} == {0}
    assert not (state / "regions" / REGION / ".backup").exists()


def test_who_copies_may_read_and_nothing_else(region: Region) -> None:
    way = backup_way(region.world, region.state, REGION)
    with opened(way) as db, db.cursor() as cursor:
        assert cursor.execute("SELECT * FROM post") > 0
        for wrong in ("DELETE FROM post", "CREATE TABLE t(a INT)", "INSERT INTO gone VALUES ('x')", "DROP TABLE gone"):
            with pytest.raises(pymysql.err.OperationalError, match="denied"):
                cursor.execute(wrong)
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("SELECT * FROM mysql.global_priv")
    other = region.way()
    for shown in ({"ssl_cert": str(other.cert), "ssl_key": str(other.key)}, {"ssl_cert": None, "ssl_key": None}):
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            opened(way, **shown)


def test_a_node_that_goes_away_leaves_nothing_half_copied(region: Region, tmp_path: Path) -> None:
    way = backup_way(region.world, region.state, REGION)
    between = Swallower(way.hosts[0], way.port)
    databases = GaleraDatabases(way._replace(port=between.port, hosts=way.hosts[:1]))
    try:
        assert databases.names("data") == ("sql",)
        asked = between.seen["answer"]
        databases.copy("sql", tmp_path / "whole")
        answers = between.seen["answer"] - asked
        for part in (2, 4, 8):
            lost = between.lost
            between.lose("answer", answers // part)
            try:
                databases.copy("sql", tmp_path / "sql")
            except Unavailable:
                assert not (tmp_path / "sql").exists()
            else:  # it came in fewer pieces this time
                assert between.lost == lost
                (tmp_path / "sql").unlink()
        assert between.lost > 0
    finally:
        between.close()


def test_without_a_node_it_is_said_what_to_do(region: Region, tmp_path: Path) -> None:
    nobody = backup_way(region.world, region.state, REGION)._replace(hosts=("127.9.9.9",))
    with pytest.raises(Unavailable, match="moonbow up"):
        GaleraDatabases(nobody).copy("sql", tmp_path / "sql")


@pytest.mark.long  # the same is held against SQLite each time
def test_a_full_disk_is_said_and_older_backups_stand(region: Region) -> None:
    world, state = region.world, region.state
    write_object(state, "8/fil_8", os.urandom(3_000_000))
    second()
    back_up(world, state)
    before = {one.manifest.id for one in shelf_of(world, state, REGION).archives()}
    second()
    full = subprocess.run(
        [sys.executable, "-c", FULL, str(state)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": "src"}, timeout=60,
    )  # fmt: skip
    assert full.returncode != 0
    assert "older ones stand" in full.stderr
    assert os.strerror(errno.EFBIG) in full.stderr
    assert {one.manifest.id for one in shelf_of(world, state, REGION).archives()} == before
    assert not (state / "regions" / REGION / ".backup").exists()


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
from moonbow.backup.process import take_backup
from moonbow.world import load_world
state = Path(sys.argv[1])
asyncio.run(take_backup(load_world(state / "world.toml"), state, "emea"))
"""


@pytest.mark.long
def test_a_site_that_vanishes_while_it_is_written_to(region: Region) -> None:
    """The folder of the sister site goes away in the middle: nothing is counted, and the next backup is whole."""
    world, state = region.world, region.state
    shelf = shelf_of(world, state, REGION)
    gone = shelf.root.with_name("gone")
    second()

    def report(step: object) -> None:
        if shelf.root.exists() and str(getattr(step, "what", "")).startswith("seal"):
            shelf.root.rename(gone)

    from moonbow.backup.process import take_backup

    with pytest.raises(ConfigError, match="nothing of this backup is kept"):
        asyncio.run(take_backup(world, state, REGION, report))
    assert shelf.archives() == []
    shutil.rmtree(shelf.root, ignore_errors=True)
    gone.rename(shelf.root)
    second()
    for ident in back_up(world, state):
        assert check(world, state, ident) == ()
    assert not list(shelf.root.glob(".*.partial"))
