"""What is particular to MariaDB Galera: what is lost on the way, what another site changed, and a node that goes."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from galera_cluster import SITES, Cluster
from moonbow.stores.home import HomeRegion
from moonbow.stores.mariadb_link import Link, Lost
from moonbow.stores.timeline_mariadb import MariaTimeline
from moonbow.timeline import transactions
from moonbow.timeline.model import Answer, Known, Row
from moonbow.timeline.ports import Reads, Tx
from moonbow.vault.plain import Plain
from support import eventually_async
from swallower import Swallower
from timeline_stores import (
    HOME,
    MariaAdapter,
    Published,
    all_rows,
    dense,
    make_room,
    new_post,
    person,
    play,
    room,
    rows,
    say,
)

pytestmark = pytest.mark.slow
ADA, BOB, EVE = person(1), person(2), person(3)
ROOM, OTHER = room(1), room(2)


@pytest.fixture
def adapter(galera_node: Cluster) -> MariaAdapter:
    return MariaAdapter(galera_node.state, SITES[0])


@pytest.fixture
def way(adapter: MariaAdapter) -> Iterator[Swallower]:
    relay = Swallower(*adapter.nodes.hosts[0])
    yield relay
    relay.close()


@pytest.mark.parametrize("lost", ["answer", "request"])
def test_a_commit_of_which_nothing_is_heard_is_asked_for_again(
    adapter: MariaAdapter, way: Swallower, lost: str
) -> None:
    """The way to the database is cut as the answer to COMMIT comes, or as COMMIT leaves.  What was asked is placed
    once, and every one who asked gets the answer that counts."""
    seen: list[Known | None] = []
    asked = new_post(ADA, ROOM, "unheard")

    async def go() -> None:
        address, _ = adapter.nodes.hosts[0]
        store = MariaTimeline(replace(adapter.nodes, hosts=((address, way.port),)), HomeRegion(HOME), Plain())
        await make_room(store, ROOM, ADA)
        before = 0

        def count(tx: Tx) -> None:
            nonlocal before
            before = way.seen[lost]

        def look(tx: Tx) -> None:
            seen.append(tx.post(ADA, asked.client_id))

        def cut(tx: Tx) -> None:
            """The last of the batch: its commit is the last that is sent for it, as it was in the batch before."""
            if len(seen) == 1:
                way.lose(lost, commit)

        await _at_once(
            store, [(lambda tx: None,), *((transactions.post, new_post(ADA, ROOM, n)) for n in "ab"), (count,)]
        )
        commit = way.seen[lost] - before
        heard = Published(store)
        answers = await _at_once(
            store, [(look,), (transactions.post, asked), (transactions.post, new_post(ADA, ROOM, 2)), (cut,)]
        )
        assert way.lost == 1, "the trial: something was lost"
        assert store.retries == 1
        assert [known is not None for known in seen] == [False, lost == "answer"], "it had been committed, or not"
        assert [answer.seq for answer in answers[1:3]] == [4, 5]
        assert [f.row.entry for f in heard.fresh] == [answer.entry for answer in answers[1:3]], "both are published"
        again: Answer = await store.write(transactions.post, asked)
        assert again == answers[1]
        found = await rows(store, ROOM)
        assert dense(found)
        assert [row.entry for row in found[3:]] == [answer.entry for answer in answers[1:3]]
        store.close()

    asyncio.run(go())


def test_a_membership_that_another_hand_changed_meanwhile_counts(adapter: MariaAdapter) -> None:
    """An operation that waits for a stream's lock sees what was done under it."""

    async def go(store: MariaTimeline) -> None:
        await make_room(store, ROOM, ADA, BOB)
        other = adapter.open()
        begun, go_on = threading.Event(), threading.Event()

        def slowly(tx: Tx) -> object:
            done = transactions.change_member(tx, ROOM, ADA, BOB, False)
            begun.set()
            go_on.wait(1)
            return done

        leaving = asyncio.ensure_future(other.write(slowly))
        assert await asyncio.to_thread(begun.wait, 5)
        late = asyncio.ensure_future(say(store, BOB, ROOM, "late"))
        await asyncio.sleep(0.1)
        assert not late.done(), "the trial: it waits"
        go_on.set()
        await leaving
        assert (await late).code == "not_member"
        other.close()

    play(adapter, go)


def test_who_is_erased_while_they_write_has_written_nothing(adapter: MariaAdapter) -> None:
    """An erasure and a first message meet: the one that comes second sees the other."""

    async def go(store: MariaTimeline) -> None:
        await make_room(store, ROOM, ADA, BOB)
        other = adapter.open()
        begun, go_on = threading.Event(), threading.Event()

        def slowly(tx: Tx) -> int:
            count = transactions.erase_person(tx, BOB)
            begun.set()
            go_on.wait(1)
            return count

        erasing = asyncio.ensure_future(other.write(slowly))
        assert await asyncio.to_thread(begun.wait, 5)
        late = asyncio.ensure_future(say(store, BOB, ROOM, "late"))
        await asyncio.sleep(0.1)
        go_on.set()
        await erasing
        assert (await late).code == "person_erased"
        other.close()

    play(adapter, go)


def test_a_member_who_is_remembered_is_asked_for_again_after_another_hand(adapter: MariaAdapter) -> None:
    """Who may write is remembered from batch to batch; a membership or a person that ended elsewhere has ended here."""

    async def go(store: MariaTimeline) -> None:
        await make_room(store, ROOM, ADA, BOB, EVE)
        other = adapter.open()
        for turn in range(3):
            for who in (ADA, BOB, EVE):
                assert (await say(store, who, ROOM, f"{who} {turn}")).state == "placed"
        await other.write(transactions.change_member, ROOM, ADA, BOB, False)
        assert (await say(store, BOB, ROOM, "late")).code == "not_member"
        assert (await say(store, EVE, ROOM, "in time")).state == "placed"
        await other.write(transactions.erase_person, EVE)
        assert (await say(store, EVE, ROOM, "late")).code == "person_erased"
        assert (await say(store, ADA, ROOM, "last")).state == "placed"
        assert store.retries == 0, "nothing of this is a conflict"
        other.close()

    play(adapter, go)


def test_a_batch_in_which_something_is_sent_again_places_the_rest(adapter: MariaAdapter) -> None:
    async def go(store: MariaTimeline) -> None:
        await make_room(store, ROOM, ADA, BOB)
        first = new_post(ADA, ROOM, "first")
        placed = await store.write(transactions.post, first)
        new = [new_post(BOB, ROOM, n) for n in range(3)]
        answers = await _at_once(store, [(transactions.post, each) for each in (*new, first)])
        assert answers[-1] == placed
        assert [answer.seq for answer in answers[:-1]] == [4, 5, 6]
        assert store.retries == 0, "a client id that is known is no conflict"

    play(adapter, go)


BYTES = [0, 1, 250, 251, 16_000, 65_535, 65_536, 70_000, 3]


def test_rows_of_every_length_arrive_as_they_are(adapter: MariaAdapter) -> None:
    """Values on both sides of every way to say a length, and rows that do not fit the buffer."""
    link = Link(adapter.nodes, "SET SESSION autocommit = 1", several=True)
    link.ready()
    lengths = [*BYTES, *range(300), *BYTES]
    link.run("CREATE TEMPORARY TABLE many(no INT, n INT, t LONGTEXT, nothing INT, b LONGBLOB, d DECIMAL(9, 2))")
    for no, n in enumerate(lengths):
        link.run(f"INSERT INTO many VALUES ({no}, {n}, repeat('\u00e4', {n}), NULL, x'{'00ff' * n}', {n} / 4)")
    first, second = link.run("SELECT n, t, nothing, b, d FROM many ORDER BY no;SELECT 'next', NULL")
    link.drop()
    expected = [(n, "\u00e4" * n, None, b"\x00\xff" * n, Decimal(n) / 4) for n in lengths]
    assert [row == wanted for row, wanted in zip(first, expected, strict=True)] == [True] * len(lengths)
    assert second == (("next", None),)


# -- two sites -------------------------------------------------------------------------------------------------------


def test_two_sites_write_into_one_room(galera_cluster: Cluster) -> None:
    """Both nodes take what their own gateways ask; conflicts are run again, and nothing is lost, doubled or refused."""

    async def go() -> None:
        stores = [MariaAdapter(galera_cluster.state, site, empty=not n).open() for n, site in enumerate(SITES)]
        await make_room(stores[0], ROOM, ADA, BOB)
        answers = await asyncio.gather(
            *(_say_all(store, author, 150) for store, author in zip(stores, (ADA, BOB), strict=True))
        )
        assert sum(store.retries for store in stores) > 0, "the trial: they got in each other's way"
        placed = {answer.entry: answer.seq for some in answers for answer in some}
        assert len(placed) == 300
        for store in stores:
            found = await store.read_latest(_rows)
            assert dense(found)
            assert {row.entry: row.seq for row in found if row.kind == "entry"} == placed
            store.close()

    asyncio.run(go())


def test_nobody_is_refused_on_an_older_state(galera_cluster: Cluster) -> None:
    """Who is let in at one site may write at the other one at once, and reads there what was said here."""

    async def go() -> None:
        here, there = (MariaAdapter(galera_cluster.state, site, empty=not n).open() for n, site in enumerate(SITES))
        for n in range(60):
            await make_room(here, room(n), ADA)
            await here.write(transactions.change_member, room(n), ADA, BOB, True)
            assert (await say(there, BOB, room(n), n)).state == "placed"
            assert (await here.read_latest(lambda reads, n=n: reads.heads([room(n)]))) == {room(n): 3}
        here.close()
        there.close()

    asyncio.run(go())


def test_a_node_that_hangs_is_left_for_its_sister_and_returned_to(galera_cluster: Cluster) -> None:
    adapter = MariaAdapter(galera_cluster.state, SITES[0])
    pid = galera_cluster.engine_pid(SITES[0])

    async def go() -> None:
        store = adapter.open()
        await make_room(store, ROOM, ADA)
        nodes, loop = adapter.nodes, asyncio.get_running_loop()
        unlucky, other = Link(nodes, "SET autocommit = 1"), Link(nodes, "SET autocommit = 1")
        for link in (unlucky, other):
            link.ready()
        os.kill(pid, signal.SIGSTOP)
        try:
            began = loop.time()
            leaving = asyncio.create_task(asyncio.to_thread(_leave_together, unlucky, other))
            assert (await say(store, ADA, ROOM, "meanwhile")).seq == 2
            assert loop.time() - began < 7.5
            assert len(await rows(store, ROOM)) == 2
            await leaving
        finally:
            os.kill(pid, signal.SIGCONT)
        assert (await say(store, ADA, ROOM, "after")).seq == 3

        async def is_home() -> bool:
            await say(store, ADA, ROOM, loop.time())
            return store.place == 0

        await eventually_async(is_home, within_s=30)
        assert dense(await store.read_latest(_rows))
        store.close()

    asyncio.run(go())
    galera_cluster.until_redundant()


def _leave_together(unlucky: Link, other: Link) -> None:
    """One link waits in vain; the other, which was asked for nothing, does not have to."""
    with pytest.raises(Lost):
        unlucky.run("SELECT 1")
    assert other.place == 0
    other.ready()
    assert other.place == 1
    assert other.run("SELECT 1") == [((1,),)]
    other.drop()


async def _say_all(store: MariaTimeline, author: str, count: int) -> list[Answer]:
    """Eight at a time."""
    said: list[Answer] = []
    for start in range(0, count, 8):
        some = range(start, min(start + 8, count))
        said += await asyncio.gather(*(say(store, author, ROOM, f"{author}-{n}") for n in some))
    return said


def _rows(reads: Reads) -> list[Row]:
    return all_rows(reads, ROOM)


async def _at_once(store: MariaTimeline, works: list[tuple[Any, ...]]) -> list[Any]:
    """The answers of operations that run as one batch, in their order."""
    begun, go_on = threading.Event(), threading.Event()
    holding = asyncio.ensure_future(store.write(lambda tx: (begun.set(), go_on.wait(1))))
    assert await asyncio.to_thread(begun.wait, 5)
    waiting = [asyncio.ensure_future(store.write(*work)) for work in works]
    await asyncio.sleep(0)
    go_on.set()
    await holding
    return await asyncio.gather(*waiting)
