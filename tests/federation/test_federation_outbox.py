"""Effects leave in their order, arrive once, and no region or queue that is stuck holds up another."""

from __future__ import annotations

import asyncio
from pathlib import Path

from federation_pair import Side, with_sides
from moonbow.federation.process import SHIP_QUEUES_MAX
from moonbow.timeline import transactions
from moonbow.timeline.model import PlaceEntry
from support import eventually_async
from timeline_stores import dense, make_room, new_post, person, room, rows, say

ADA, FAR, AMY = person(1), person(1, "apac"), person(1, "na")
THERE = room(1, "apac")


async def invited(side: Side, who: str, *rooms: str) -> None:
    for ident in rooms:
        await side.store.write(lambda tx, i=ident: tx.set_seat(who, i, invited=True))  # type: ignore[misc]


async def fates(side: Side, who: str) -> list[tuple[str, str | None]]:
    """What became of a person's posts, by what their inbox says."""
    return [
        (row.kind, row.target) for row in await rows(side.store, "inb" + who[3:]) if row.kind in ("placed", "refused")
    ]


def test_kept_posts_are_placed_in_their_order(tmp_path: Path) -> None:
    async def go(sides: dict[str, Side]) -> None:
        emea, apac = sides["emea"], sides["apac"]
        await make_room(apac.store, THERE, FAR, ADA)
        await eventually_async(lambda: _copied(emea, 2))
        answers = [await say(emea.store, ADA, THERE, n) for n in range(100)]
        assert {answer.state for answer in answers} == {"kept"}
        await eventually_async(lambda: _copied(emea, 102))
        for side in (apac, emea):
            found = await rows(side.store, THERE)
            assert dense(found)
            assert [row.entry for row in found[2:]] == [answer.entry for answer in answers]
        assert await fates(emea, ADA) == [("placed", THERE)] * 100

    asyncio.run(with_sides(tmp_path, go, "emea", "apac"))


async def _copied(side: Side, head: int) -> bool:
    return len(await rows(side.store, THERE)) == head


def test_a_silent_region_holds_up_no_other(tmp_path: Path) -> None:
    """Hundreds of rooms wait for a region that does not answer; the one post to another region is placed."""

    async def go(sides: dict[str, Side]) -> None:
        emea, na = sides["emea"], sides["na"]
        emea.line.cut.add("apac")
        away = [room(n, "apac") for n in range(300)]
        await invited(emea, ADA, *away)
        await asyncio.gather(*(say(emea.store, ADA, ident, ident) for ident in away))
        near = room(1, "na")
        await make_room(na.store, near, AMY, ADA)
        await eventually_async(lambda: _knows(emea, near))
        await say(emea.store, ADA, near, "hello")
        await eventually_async(lambda: _fate(emea, near))
        asked = [region for region, _ in emea.line.asked].count("apac")
        assert asked < 1_000, "a silent region is not asked for every queue again and again"

    asyncio.run(with_sides(tmp_path, go, "emea", "na"))


async def _knows(side: Side, ident: str) -> bool:
    return bool(await rows(side.store, ident))


async def _fate(side: Side, ident: str) -> bool:
    return ("placed", ident) in await fates(side, ADA)


def test_a_stuck_queue_holds_up_no_other(tmp_path: Path) -> None:
    """The other side expects other numbers of many queues, as after a restore without a new epoch; the rest goes on."""

    async def go(sides: dict[str, Side]) -> None:
        emea, apac = sides["emea"], sides["apac"]
        stuck = [room(n, "apac") for n in range(2, 302)]
        for ident in stuck:
            await emea.store.write(_leave_a_hole, ident)
        await make_room(apac.store, room(999, "apac"), FAR, ADA)
        await eventually_async(lambda: _knows(emea, room(999, "apac")))
        await say(emea.store, ADA, room(999, "apac"), "hello")
        await eventually_async(lambda: _fate(emea, room(999, "apac")))

    asyncio.run(with_sides(tmp_path, go, "emea", "apac"))


def _leave_a_hole(tx: transactions.Tx, ident: str) -> None:
    """Queue numbers 1 and 2, and lose the first."""
    for _ in range(2):
        tx.enqueue("apac", ident, PlaceEntry("ent_emea_0", ADA, False))
    tx.dequeue("apac", ident, 1)


def test_many_queues_leave_a_bounded_number_at_a_time(tmp_path: Path) -> None:
    async def go(sides: dict[str, Side]) -> None:
        emea, apac = sides["emea"], sides["apac"]
        away = [room(n, "apac") for n in range(400)]
        await asyncio.gather(*(make_room(apac.store, ident, FAR, ADA) for ident in away))
        await invited(emea, ADA, *away)
        await asyncio.gather(*(say(emea.store, ADA, ident, ident) for ident in away))
        await eventually_async(lambda: _all_placed(emea, 400), within_s=15)
        assert emea.line.most_under_way <= SHIP_QUEUES_MAX + 2, "the sweep and the kicked tail ask as well"

    asyncio.run(with_sides(tmp_path, go, "emea", "apac"))


async def _all_placed(side: Side, count: int) -> bool:
    return len(await fates(side, ADA)) == count


def test_a_cut_is_mended_without_loss_or_doubles(tmp_path: Path) -> None:
    async def go(sides: dict[str, Side]) -> None:
        emea, apac = sides["emea"], sides["apac"]
        await make_room(apac.store, THERE, FAR, ADA)
        await eventually_async(lambda: _copied(emea, 2))
        for turn in range(4):
            emea.line.cut ^= {"apac"}
            apac.line.cut ^= {"emea"}
            posts = [new_post(ADA, THERE, f"{turn}-{n}") for n in range(20)]
            await asyncio.gather(*(emea.store.write(transactions.post, post) for post in posts))
        await eventually_async(lambda: _copied(emea, 82), within_s=10)
        placed = await rows(apac.store, THERE)
        assert len({row.entry for row in placed if row.entry}) == 80
        assert await rows(emea.store, THERE) == placed

    asyncio.run(with_sides(tmp_path, go, "emea", "apac"))


def test_a_region_that_was_away_for_a_moment_is_asked_again_by_itself(tmp_path: Path) -> None:
    """Nobody leads and nothing new is said: whoever had no answer asks again."""

    async def go(sides: dict[str, Side]) -> None:
        emea, apac = sides["emea"], sides["apac"]
        await make_room(apac.store, THERE, FAR, ADA)
        await eventually_async(lambda: _copied(emea, 2))
        emea.federation.leads = lambda: False
        emea.line.cut = {"apac"}
        before = len(emea.line.asked)
        await say(emea.store, ADA, THERE, "hello")
        await eventually_async(lambda: emea.line.asked[before:])
        emea.line.cut.clear()
        await eventually_async(lambda: _copied(emea, 3))

    asyncio.run(with_sides(tmp_path, go, "emea", "apac"))


def test_a_silent_region_is_asked_by_one_queue_at_a_time(tmp_path: Path) -> None:
    async def go(sides: dict[str, Side]) -> None:
        emea = sides["emea"]
        emea.line.cut = {"apac"}
        away = [room(n, "apac") for n in range(100)]
        await invited(emea, ADA, *away)
        await asyncio.gather(*(say(emea.store, ADA, ident, ident) for ident in away))
        await eventually_async(lambda: len(emea.line.asked) > SHIP_QUEUES_MAX // 2)
        before = len(emea.line.asked)
        await eventually_async(lambda: len(emea.line.asked) > before + 1)
        assert len(emea.line.asked) < before + 5

    asyncio.run(with_sides(tmp_path, go, "emea"))


def test_what_live_events_lost_is_fetched_after_trouble(tmp_path: Path) -> None:
    async def go(sides: dict[str, Side]) -> None:
        emea, apac = sides["emea"], sides["apac"]
        await make_room(apac.store, THERE, FAR, ADA)
        await eventually_async(lambda: _copied(emea, 2))
        emea.federation.leads = lambda: False
        apac.line.cut = {"emea"}
        await say(apac.store, FAR, THERE, "lost")
        await eventually_async(lambda: not apac.federation._outgoing)
        apac.line.cut.clear()
        assert not await _copied(emea, 3)
        emea.federation.trouble("reconnected")
        await eventually_async(lambda: _copied(emea, 3))

    asyncio.run(with_sides(tmp_path, go, "emea", "apac"))
