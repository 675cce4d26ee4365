"""`stores.sql` on a real cluster: sites that write at once, a node that is not there, an answer that is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, bindparam, delete, insert, select, update

from directory_stores import EMEA, OnGalera, emptied
from galera_cluster import Cluster, running
from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import new_id
from moonbow.directory.model import Family, PersonRow
from moonbow.stores.shared_sql import SHARED, SharedSql
from moonbow.stores.sql import Sql
from moonbow.stores.tables import KEPT
from moonbow.wire.shared import Login
from moonbow.world import SqlWay
from support import free_port

pytestmark = pytest.mark.slow
NOW = 1_800_000_000.0
TABLES = MetaData()
tally = Table(
    "tally", TABLES, Column("name", String(20), primary_key=True), Column("count", Integer, nullable=False), **KEPT
)
COUNT = select(tally.c.count).where(tally.c.name == "it")
KEEP = update(tally).where(tally.c.name == "it").values(count=bindparam("kept"))


def play(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


@asynccontextmanager
async def counting(*ways: SqlWay) -> AsyncIterator[list[Sql]]:
    """Databases at these ways, with a tally that stands at 0."""
    opened = [Sql.galera(way, EMEA, TABLES) for way in ways]
    try:
        await opened[0].write(lambda db: db.execute(delete(tally)))
        await opened[0].write(lambda db: db.execute(insert(tally), {"name": "it", "count": 0}))
        yield opened
    finally:
        for sql in opened:
            await sql.close()


def add_one(db: Connection) -> int:
    """Read, then write, and no word of locks: what any work may do."""
    count = (db.scalar(COUNT) or 0) + 1
    db.execute(KEEP, {"kept": count})
    return count


def test_sites_that_count_at_once_miss_nothing(galera_cluster: Cluster) -> None:
    async def scenario() -> None:
        async with counting(galera_cluster.way("paris"), galera_cluster.way("frankfurt")) as sites:
            seen = await asyncio.gather(*(sites[no % 2].write(add_one) for no in range(40)))
            assert sorted(seen) == list(range(1, 41))

    play(scenario())


def test_who_writes_sees_what_was_acknowledged_anywhere(galera_cluster: Cluster) -> None:
    async def scenario() -> None:
        async with counting(galera_cluster.way("paris"), galera_cluster.way("frankfurt")) as sites:
            for no in range(1, 61):
                assert await sites[no % 2].write(add_one) == no
                assert await sites[1 - no % 2].write(lambda db: db.scalar(COUNT)) == no

    play(scenario())


def test_a_log_is_told_with_what_a_sister_site_has_just_added(galera_cluster: Cluster) -> None:
    """A login is claimed at one site, and the region that it is for asks the other: it must not hear of none."""

    async def scenario() -> None:
        one, other = (Sql.galera(galera_cluster.way(site), EMEA, SHARED) for site in ("paris", "frankfurt"))
        try:
            for no in range(60):
                said = await SharedSql(one).append([Login(f"{no:064x}", "k1", "apac", 0)], NOW)
                told = await SharedSql(other).tail("emea", said[-1].epoch, said[-1].seq - 1, 10)
                assert told == said
        finally:
            await one.close()
            await other.close()

    play(scenario())


def test_a_site_whose_node_does_not_answer_asks_its_sister(galera_cluster: Cluster) -> None:
    way = galera_cluster.way("paris")

    async def scenario() -> None:
        nobody = "127.9.9.9"
        async with counting(way._replace(hosts=(nobody, *way.hosts))) as (sql,):
            assert await sql.write(add_one) == 1
            assert await sql.read(lambda db: db.scalar(COUNT)) in (0, 1)  # the sister may show it a moment later
        with pytest.raises(Unavailable, match="store_unavailable"):
            Sql.galera(way._replace(hosts=(nobody,)), EMEA, TABLES, within_s=1.0)

    play(scenario())


@pytest.mark.long
@pytest.mark.parametrize("blow", [signal.SIGSTOP, signal.SIGKILL])
def test_a_node_that_is_lost_under_load_costs_one_wait(tmp_path: Path, blow: signal.Signals) -> None:
    async def scenario(cluster: Cluster) -> None:
        async with counting(cluster.way("paris")) as (sql,):
            pid, waits = cluster.engine_pid("paris"), list[float]()
            for no in range(1, 401):
                if no == 50:
                    os.kill(pid, blow)
                began = time.monotonic()
                assert await sql.write(add_one) == no
                waits.append(time.monotonic() - began)
            assert max(waits) < 9.0
            assert sum(wait > 1.0 for wait in waits) <= 1  # afterwards it is looked at beside all works
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    with running(tmp_path) as cluster:
        cluster.until_redundant()
        play(scenario(cluster))


class Deaf:
    """A way in between that, once it is `armed`, lets one more request pass, and no answer; then all is as before."""

    def __init__(self, host: str, port: int) -> None:
        self.port = free_port(host)
        self.armed = False
        self._target = (host, port)
        self._server = socket.create_server((host, self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, there = self._server.accept()[0], socket.create_connection(self._target)
                for source, sink, answers in ((here, there, False), (there, here, True)):
                    threading.Thread(target=self._pass_on, args=(source, sink, answers), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError), source, sink:
            while said := source.recv(65_536):
                if answers and self.armed:
                    self.armed = False
                    sink.shutdown(socket.SHUT_RDWR)
                    return
                sink.sendall(said)


@contextmanager
def deaf(way: SqlWay) -> Iterator[tuple[SqlWay, Deaf]]:
    between = Deaf(way.hosts[0], way.port)
    try:
        yield way._replace(hosts=way.hosts[:1], port=between.port), between
    finally:
        between.close()


@pytest.mark.parametrize("repeatable", [True, False])
def test_an_answer_lost_at_the_commit(galera_cluster: Cluster, repeatable: bool) -> None:
    runs: list[int] = []

    async def scenario() -> None:
        with deaf(galera_cluster.way("paris")) as (way, between):
            async with counting(way) as (sql,):

                def work(db: Connection) -> int:
                    count = add_one(db)
                    between.armed = not runs  # what is asked next is the commit
                    runs.append(count)
                    return count

                if repeatable:
                    assert await sql.write(work) == 2
                    assert runs == [1, 2]
                else:
                    with pytest.raises(Unavailable, match="outcome_unknown"):
                        await sql.write(work, repeatable=False)
                    assert await sql.read(lambda db: db.scalar(COUNT)) == 1  # it stands

    play(scenario())


def test_what_two_sites_end_is_numbered_in_the_order_of_its_commits(galera_cluster: Cluster) -> None:
    async def scenario() -> None:
        backing = OnGalera(emptied(galera_cluster, "paris", "frankfurt"))
        sites = [backing.open(), backing.open()]
        ada = someone("Ada")
        await sites[0].create_person(ada, "x")
        families = [session(ada, no) for no in range(12)]
        for family in families:
            await sites[0].open_family(family, 50)
        read: list[int] = []

        async def follow() -> None:
            while len(read) < len(families):
                read.extend(item.no for item in await sites[1].revocations(read[-1] if read else 0))

        ends = [sites[no % 2].end_sessions(ada.id, family.sid, NOW) for no, family in enumerate(families)]
        await asyncio.gather(follow(), *ends)
        assert read == list(range(1, len(families) + 1))
        for site in sites:
            await site.close()

    play(scenario())


def test_nobody_signs_in_while_another_site_erases_them(galera_cluster: Cluster) -> None:
    async def scenario() -> None:
        backing = OnGalera(emptied(galera_cluster, "paris", "frankfurt"))
        sites = [backing.open(), backing.open()]
        people = [someone(f"P{no}") for no in range(20)]
        for person in people:
            await sites[0].create_person(person, "x")
        for person in people:
            tried, _ = await asyncio.gather(
                sites[0].open_family(session(person, 0), 50), sites[1].erase_person(person.id, NOW),
                return_exceptions=True,
            )  # fmt: skip
            assert not isinstance(tried, BaseException) or isinstance(tried, Refused)
        ended = {item.sid for item in await sites[1].revocations(0)}
        with galera_cluster.connect("paris") as db, db.cursor() as cursor:
            cursor.execute("SET wsrep_sync_wait = 1")
            cursor.execute("SELECT sid FROM family")
            assert cursor.fetchall() == ()
        assert ended <= {session(person, 0).sid for person in people}
        for site in sites:
            await site.close()

    play(scenario())


def someone(name: str) -> PersonRow:
    ident = new_id("usr", "emea")
    return PersonRow(
        id=ident, company="org_emea_0000000000000000000000000a", name=name, role="member", login=ident,
        login_hash=ident, made_at=NOW,
    )  # fmt: skip


def session(of: PersonRow, no: int) -> Family:
    return Family(
        handle=f"h{of.id}{no}", sid=f"f{of.id}{no}", person=of.id, secret="s", previous=None, turned_at=NOW,
        made_at=NOW + no, expires_at=NOW + 1_000,
    )  # fmt: skip
