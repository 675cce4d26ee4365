"""Real data agents, real Galera: a cluster that forms, loses a site with its disk, and starts again from cold."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from galera_cluster import SITES, WITNESS, Cluster, running
from support import eventually

pytestmark = pytest.mark.slow
PAUSE_S_MAX = 4.0  # of writes after the loss of a site


class Writer:
    """Writes row after row at one site, and remembers which were acknowledged, and when."""

    def __init__(self, cluster: Cluster, site: str) -> None:
        self.cluster, self.site = cluster, site
        self.acked: list[tuple[float, int]] = []
        self.refused: set[int] = set()  # codes of errors
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        eventually(lambda: len(self.acked) > 20, within_s=20)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def rows(self) -> set[int]:
        return {row for _, row in self.acked}

    def longest_pause_s(self) -> float:
        """The longest time without an acknowledgement, until now."""
        times = [at for at, _ in self.acked]
        return max(after - before for before, after in zip(times, [*times[1:], time.monotonic()], strict=True))

    def _write(self) -> None:
        number = SITES.index(self.site)
        sql: pymysql.connections.Connection[pymysql.cursors.Cursor] | None = None
        while not self._ended.is_set():
            number += len(SITES)
            try:
                sql = sql or self.cluster.connect(self.site, read_timeout=6, write_timeout=6)
                with sql.cursor() as cursor:
                    cursor.execute("INSERT INTO acked VALUES (%s)", (number,))
                self.acked.append((time.monotonic(), number))
            except (pymysql.MySQLError, OSError) as error:
                self.refused.add(error.args[0])
                with contextlib.suppress(pymysql.MySQLError, OSError):
                    sql = sql.close() if sql else None
                sql = None
                self._ended.wait(0.05)


def rows_at(cluster: Cluster, site: str) -> set[int]:
    with cluster.connect(site) as sql, sql.cursor() as cursor:
        cursor.execute("SET wsrep_sync_wait = 1")
        cursor.execute("SELECT id FROM acked")
        return {row[0] for row in cursor.fetchall()}


def empty_table(cluster: Cluster) -> None:
    with cluster.connect(SITES[0]) as sql, sql.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS acked (id INT PRIMARY KEY)")
        cursor.execute("DELETE FROM acked")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A complete cluster that every test here leaves complete."""
    with running(tmp_path_factory.mktemp("galera")) as cluster:
        cluster.until_redundant()
        yield cluster


def test_one_node_serves_by_the_operators_word(galera_node: Cluster) -> None:
    with galera_node.connect("paris") as sql, sql.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id INT PRIMARY KEY)")
        cursor.execute("INSERT INTO t VALUES (1)")
        assert cursor.execute("SELECT * FROM t") == 1
        cursor.execute("DROP TABLE t")
    said = galera_node.status("paris")
    assert (said["ready"], said["redundant"], said["size"], said["expected"]) == (True, False, 1, 3)
    assert not (galera_node.folder("paris") / "force").exists()


def test_a_site_is_lost_with_its_disk_and_comes_back(cluster: Cluster) -> None:
    empty_table(cluster)
    with Writer(cluster, "frankfurt") as writer:
        began = len(writer.acked)
        cluster.kill("paris")
        cluster.delete("paris")
        eventually(lambda: len(writer.acked) > began + 100, within_s=20)
        assert writer.longest_pause_s() <= PAUSE_S_MAX
        eventually(lambda: cluster.status("frankfurt")["redundant"] is False)
        cluster.start("paris")
        cluster.until_redundant()
        print(f"\npause {writer.longest_pause_s():.2f} s, {len(writer.acked)} acked, refused {writer.refused}")
    assert writer.rows() <= rows_at(cluster, "paris") == rows_at(cluster, "frankfurt")


def test_a_whole_region_starts_again_from_cold_by_itself(cluster: Cluster) -> None:
    empty_table(cluster)
    with Writer(cluster, "paris") as one, Writer(cluster, "frankfurt") as other:
        cluster.kill(*SITES, WITNESS)
    began = time.monotonic()
    cluster.start(*SITES, WITNESS)
    cluster.until_redundant()
    print(f"\ncold start {time.monotonic() - began:.1f} s; {[cluster.status(s)['doing'] for s in (*SITES, WITNESS)]}")
    assert one.rows() | other.rows() <= rows_at(cluster, "paris") == rows_at(cluster, "frankfurt")


@pytest.mark.long
def test_a_node_that_hangs_is_left_out_and_comes_back_by_itself(cluster: Cluster) -> None:
    empty_table(cluster)
    with Writer(cluster, "frankfurt") as writer:
        pid = cluster.engine_pid("paris")
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(8)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert writer.longest_pause_s() <= PAUSE_S_MAX
        cluster.until_redundant()
        assert cluster.engine_pid("paris") == pid
    assert writer.rows() <= rows_at(cluster, "paris")


@pytest.mark.long
def test_a_witness_with_a_stale_view_joins_the_others(cluster: Cluster) -> None:
    stale = (cluster.folder(WITNESS) / "gvwstate.dat").read_text()
    cluster.kill(*SITES, WITNESS)
    cluster.start(*SITES)
    cluster.until_ready(*SITES)
    (cluster.folder(WITNESS) / "gvwstate.dat").write_text(stale)
    cluster.start(WITNESS)
    cluster.until_redundant()
    cluster.kill("paris")
    time.sleep(PAUSE_S_MAX)
    with cluster.connect("frankfurt") as sql, sql.cursor() as cursor:  # the witness's vote counts
        cursor.execute("CREATE TABLE IF NOT EXISTS acked (id INT PRIMARY KEY)")
        cursor.execute("DELETE FROM acked")
    cluster.start("paris")
    cluster.until_redundant()


@pytest.mark.long
def test_an_orderly_stop_knows_who_may_begin_alone(tmp_path: Path, cluster: Cluster) -> None:
    cluster.stop(WITNESS, "frankfurt", "paris")
    cluster.start("paris")
    cluster.until_ready("paris")
    assert cluster.status("paris")["why"] == "it left an orderly stop as the last"
    cluster.start("frankfurt", WITNESS)
    cluster.until_redundant()


@pytest.mark.long
def test_a_node_that_may_be_behind_waits_for_the_other(cluster: Cluster) -> None:
    cluster.kill("frankfurt")
    empty_table(cluster)  # written without frankfurt
    cluster.kill("paris", WITNESS)
    cluster.start("frankfurt", WITNESS)
    eventually(lambda: "not known what paris" in cluster.status("frankfurt")["why"], within_s=20)
    with pytest.raises(AssertionError):
        cluster.until_ready("frankfurt", within_s=25)
    cluster.start("paris")
    cluster.until_redundant()
