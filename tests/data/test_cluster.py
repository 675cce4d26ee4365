"""Real data agents, real Galera: a cluster that forms, loses a site with its disk, and starts again from cold."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

import pymysql
import pytest

from galera_cluster import SITES, WITNESS, Cluster
from support import eventually

pytestmark = pytest.mark.slow
PAUSE_S_MAX = 4.0  # of writes after the loss of a site
CANNOT_CONNECT, GONE, LOST, ACCESS_DENIED, NO_SECURE_TRANSPORT = 2003, 2006, 2013, 1045, 3159


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


@pytest.fixture
def cluster(galera_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster of the session, complete again after the test."""
    yield galera_cluster
    galera_cluster.heal()


def test_one_node_serves_by_the_operators_word(galera_node: Cluster) -> None:
    with galera_node.connect("paris") as sql, sql.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id INT PRIMARY KEY)")
        cursor.execute("INSERT INTO t VALUES (1)")
        assert cursor.execute("SELECT * FROM t") == 1
        cursor.execute("DROP TABLE t")
    said = galera_node.status("paris")
    assert (said["ready"], said["redundant"], said["size"], said["expected"]) == (True, False, 1, 3)
    assert not (galera_node.folder("paris") / "force").exists()


def test_only_the_regions_own_certificate_opens_the_database(galera_node: Cluster) -> None:
    def refused(**keys: object) -> int:
        with pytest.raises(pymysql.MySQLError) as caught:
            galera_node.connect("paris", **keys)
        return int(caught.value.args[0])

    own, none = galera_node.way("paris"), {"ssl_cert": None, "ssl_key": None}
    assert refused(**none) == ACCESS_DENIED
    node = own.cert.with_name("data-paris.crt")  # the right authority, another name
    assert refused(ssl_cert=str(node), ssl_key=str(node.with_suffix(".key"))) == ACCESS_DENIED
    mesh = own.cert.with_name("mesh-paris.crt")
    assert refused(ssl_cert=str(mesh), ssl_key=str(mesh.with_suffix(".key"))) in (GONE, LOST)
    assert refused(ssl_ca=str(own.ca.with_name("mesh-ca.crt"))) == CANNOT_CONNECT
    plain = {"ssl_ca": None, "ssl_verify_identity": False, "ssl_disabled": True, **none}
    assert refused(**plain) in (ACCESS_DENIED, NO_SECURE_TRANSPORT)


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
def test_the_engines_of_both_nodes_die_while_the_witness_lives(cluster: Cluster) -> None:
    for _ in range(3):  # whether an agent still takes its dead sister for one that serves is chance
        empty_table(cluster)
        with Writer(cluster, "paris") as one, Writer(cluster, "frankfurt") as other:
            starts = {site: cluster.status(site)["starts"] for site in SITES}
            for pid in [cluster.engine_pid(site) for site in SITES]:
                os.kill(pid, signal.SIGKILL)
            began = time.monotonic()
            eventually(lambda s=starts: all(cluster.status(site)["starts"] > s[site] for site in SITES), within_s=20)
            assert all("found nobody" not in cluster.status(site)["why"] for site in SITES)
            cluster.until_redundant()
            print(f"\nback after {time.monotonic() - began:.1f} s")
        assert one.rows() | other.rows() <= rows_at(cluster, "paris") == rows_at(cluster, "frankfurt")


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
def test_an_orderly_stop_knows_who_may_begin_alone(cluster: Cluster) -> None:
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


@pytest.mark.long
def test_a_site_that_dies_while_it_receives_everything_starts_over(cluster: Cluster) -> None:
    empty_table(cluster)
    cluster.kill("paris")
    cluster.delete("paris")
    cluster.start("paris")
    receiving = cluster.folder("paris") / "data" / "sst_in_progress"
    eventually(receiving.exists, within_s=20)
    cluster.kill("paris")
    cluster.start("paris")
    cluster.until_redundant()
    assert rows_at(cluster, "paris") == rows_at(cluster, "frankfurt")


@pytest.mark.long
def test_writes_pause_for_four_seconds_at_most_in_ten_losses_of_a_site(cluster: Cluster) -> None:
    pauses = []
    for number in range(10):
        lost, left = SITES[number % 2], SITES[(number + 1) % 2]
        empty_table(cluster)
        with Writer(cluster, left) as writer:
            began = len(writer.acked)
            cluster.kill(lost)
            eventually(lambda writer=writer, began=began: len(writer.acked) > began + 200, within_s=20)
            pauses.append(writer.longest_pause_s())
        cluster.heal()
        assert writer.rows() <= rows_at(cluster, lost)
    print("\npauses", *(f"{pause:.2f}" for pause in sorted(pauses)))
    assert sorted(pauses)[9] <= PAUSE_S_MAX


@pytest.mark.long
def test_an_agent_that_dies_takes_its_engine_along_and_the_next_one_recovers(cluster: Cluster) -> None:
    empty_table(cluster)
    pid = cluster.engine_pid("paris")
    with Writer(cluster, "frankfurt") as writer:
        agent = cluster.agents.pop("paris")
        agent.kill()  # it alone
        agent.wait(10)
        cluster.start("paris")
        cluster.until_redundant()
    assert cluster.engine_pid("paris") != pid
    assert writer.rows() <= rows_at(cluster, "paris")
