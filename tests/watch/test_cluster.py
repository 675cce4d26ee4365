"""A region's cluster is walked by SQL, node by node: real MariaDB, the house's own tables."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from galera_cluster import Cluster
from moonbow.base.ids import new_id
from moonbow.launch.pki import ensure_pki
from moonbow.stores.directory_sql import DIRECTORY_TABLES
from moonbow.stores.erasures_sql import ERASURES
from moonbow.stores.home import HomeRegion
from moonbow.stores.process import open_timeline
from moonbow.stores.snapshot_galera import is_bound, is_refused, look_at_node
from moonbow.stores.sql import Sql
from moonbow.stores.vault_sql import KEYS
from moonbow.vault.plain import Plain
from moonbow.watch.book import Book
from moonbow.watch.catalogue import STORES
from moonbow.watch.tables import stores_in, walk_store

pytestmark = [pytest.mark.engines, pytest.mark.slow]


async def _open_timeline(node: Cluster, home: HomeRegion) -> None:
    open_timeline(node.world, node.state, home, "paris", Plain()).close()


def test_rows_of_a_node_are_judged_and_its_locks_tried(galera_node: Cluster, tmp_path: Path) -> None:
    home, way = HomeRegion(galera_node.region), galera_node.way("paris")
    sql = Sql.galera(way, home, *DIRECTORY_TABLES, ERASURES, KEYS)
    asyncio.run(_open_timeline(galera_node, home))
    with look_at_node(way) as view:
        layout_before = set(view.tables())
    us, them = new_id("usr", "emea"), new_id("usr", "apac")
    company = new_id("org", "emea")
    with galera_node.connect("paris") as connection, connection.cursor() as cursor:
        for person in (us, them):
            cursor.execute("INSERT INTO erased VALUES (%s, 1)", (person,))
        cursor.execute("INSERT INTO `release` (login_hash, company) VALUES ('h', %s)", (company,))
        cursor.execute("CREATE TABLE audited_elsewhere (id INT PRIMARY KEY)")
        connection.commit()
    try:
        book = Book()
        store = next(store for store in stores_in(galera_node.world, galera_node.state, []) if store.site == "paris")
        walk_store(galera_node.world, store, book)
        of_other_tests = layout_before - {table for tables in STORES.values() for table in tables}
        found = {(found.code, found.table) for found in book.findings()}
        assert {("foreign_record", "erased"), ("unknown_table", "audited_elsewhere")} <= found
        assert {table for code, table in found if code == "foreign_record"} == {"erased"}
        assert [found.key for found in book.findings() if found.table == "erased"] == [them]
        assert {table for code, table in found if code == "unknown_table"} <= {"audited_elsewhere", *of_other_tests}
        assert not [one for one in book.findings() if one.code == "unknown_column"]
        assert book.rows >= 3

        other = tmp_path / "other"
        pki = ensure_pki(galera_node.world, other)  # another world's authority: nobody whom this node knows
        stranger = next(pki.glob("sql-*.crt"))
        assert is_refused(way, stranger, stranger.with_suffix(".key"))[0] is True
        bus = galera_node.state / "pki" / "bus-r-emea.crt"
        assert is_refused(way, bus, bus.with_suffix(".key"))[0] is True
        assert is_refused(way, way.cert, way.key)[0] is False
        assert is_refused(way._replace(port=1), way.cert, way.key)[0] is None
        assert is_bound(way, HomeRegion("apac"))[0] is True
    finally:
        with galera_node.connect("paris") as connection, connection.cursor() as cursor:
            cursor.execute("DROP TABLE audited_elsewhere")
            cursor.execute("DELETE FROM erased WHERE person IN (%s, %s)", (us, them))
            cursor.execute("DELETE FROM `release` WHERE company = %s", (company,))
            connection.commit()
        asyncio.run(sql.close())


def test_a_node_that_does_not_run_is_said_to_be_unseen(galera_node: Cluster) -> None:
    book = Book()
    store = next(store for store in stores_in(galera_node.world, galera_node.state, []) if store.site == "frankfurt")
    walk_store(galera_node.world, store, book)
    assert [(control.code, control.place, control.held) for control in book.controls] == [
        ("rows_unseen", "frankfurt/sql", None)
    ]
    assert not book.findings()
