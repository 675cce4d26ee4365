"""A region that comes back from a backup: what others hold of its rooms is taken back, and everything goes on."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from federation_pair import Side, with_sides
from moonbow.base.errors import Unavailable
from moonbow.base.ids import new_id
from moonbow.federation import recovery
from moonbow.federation.model import CopiesAnswer, TailAnswer, pack, unpack
from moonbow.timeline import policy, transactions
from moonbow.timeline.model import Row
from support import eventually_async
from timeline_stores import dense, make_room, person, room, rows, say

ADA, BOB, FAR, AMY = person(1), person(2), person(1, "apac"), person(1, "na")
HERE, NEAR, NEW, THERE = room(1), room(2), room(3), room(1, "apac")


async def same(one: Side, other: Side, ident: str, head: int) -> bool:
    ours, theirs = await rows(one.store, ident), await rows(other.store, ident)
    return len(ours) == head and ours == theirs


async def before(sides: dict[str, Side]) -> None:
    emea, apac = sides["emea"], sides["apac"]
    await make_room(emea.store, HERE, ADA, BOB, FAR)
    await make_room(emea.store, NEAR, ADA, BOB)
    await make_room(apac.store, THERE, FAR, ADA)
    await eventually_async(lambda: same(emea, apac, THERE, 2))
    for n in range(5):
        await say(emea.store, ADA, HERE, f"HERE {n}")
        await say(apac.store, FAR, HERE, f"HERE {n}")
        await say(emea.store, ADA, THERE, f"THERE {n}")
    await eventually_async(lambda: same(emea, apac, HERE, 13))
    await eventually_async(lambda: same(emea, apac, THERE, 7))


async def since(sides: dict[str, Side]) -> None:
    """What happens after the backup, and is lost where it rested at home."""
    emea, apac = sides["emea"], sides["apac"]
    await make_room(emea.store, NEW, BOB, FAR)
    direct = new_id("dir", "emea")
    assert policy.direct_home(ADA, FAR) == "apac"
    assert policy.direct_home(ADA, AMY) == "emea"
    await make_room(emea.store, direct, ADA, AMY)
    await say(emea.store, ADA, NEAR, "only here")
    for n in range(5, 9):
        await say(emea.store, ADA, HERE, f"HERE {n}")
        await say(apac.store, FAR, HERE, f"HERE {n}")
        await say(emea.store, ADA, THERE, f"THERE {n}")
        await say(apac.store, FAR, NEW, f"NEW {n}")
    await eventually_async(lambda: same(emea, apac, HERE, 21))
    await eventually_async(lambda: same(emea, apac, THERE, 11))
    await eventually_async(lambda: same(emea, apac, NEW, 6))
    await eventually_async(lambda: same(emea, sides["na"], direct, 2))
    await eventually_async(lambda: _settled(apac))


async def _settled(side: Side) -> bool:
    return not await side.store.read(lambda reads: reads.outbox_heads("emea", "", 10))


async def _begin(sides: dict[str, Side]) -> None:
    await sides["emea"].store.write(transactions.begin_epoch, 1_800_000_000, ("apac", "na"))


def play(folder: Path, scenario: object, *regions: str, running: bool = True) -> None:
    asyncio.run(with_sides(folder, scenario, *regions, running=running))  # type: ignore[arg-type]


@pytest.fixture
def lost(tmp_path: Path) -> Path:
    """Three regions of which emea was restored: its disk is as it was before `since`."""
    play(tmp_path, before, "emea", "apac", "na")
    shutil.copytree(tmp_path / "emea", tmp_path / "backup")
    play(tmp_path, since, "emea", "apac", "na")
    shutil.rmtree(tmp_path / "emea")
    (tmp_path / "backup").rename(tmp_path / "emea")
    play(tmp_path, _begin, "emea", running=False)
    return tmp_path


def test_what_copies_hold_is_taken_back_and_all_goes_on(lost: Path) -> None:
    async def go(sides: dict[str, Side]) -> None:
        emea, apac = sides["emea"], sides["apac"]
        await emea.federation.recover()
        assert await same(emea, apac, HERE, 21)
        assert await same(emea, apac, NEW, 6)
        assert await same(emea, sides["na"], (await _direct(emea)), 2)
        assert len(await rows(emea.store, NEAR)) == 2, "what no other region held is lost"
        tasks = [asyncio.create_task(side.federation.run()) for side in sides.values()]
        await eventually_async(lambda: same(emea, apac, THERE, 11))
        answers = [await say(emea.store, ADA, HERE, "HERE again"), await say(apac.store, FAR, HERE, "HERE again")]
        answers += [await say(emea.store, ADA, THERE, "THERE again"), await say(apac.store, FAR, NEW, "NEW again")]
        assert [answer.state for answer in answers] == ["placed", "kept", "kept", "kept"]
        await eventually_async(lambda: same(emea, apac, HERE, 23))
        await eventually_async(lambda: same(emea, apac, THERE, 12))
        await eventually_async(lambda: same(emea, apac, NEW, 7))
        await eventually_async(lambda: _settled(apac))
        for ident in (HERE, THERE, NEW):
            found = await rows(emea.store, ident)
            assert dense(found)
            entries = [row.entry for row in found if row.entry]
            assert len(set(entries)) == len(entries)
        for task in tasks:
            assert not task.done(), task.exception()
            task.cancel()

    play(lost, go, "emea", "apac", "na", running=False)


async def _direct(side: Side) -> str:
    found = await side.store.read(lambda reads: reads.direct_room(policy.pair_of(ADA, AMY)))
    assert found is not None
    return found


def test_lost_texts_are_as_good_as_erased_and_the_others_are_whole(lost: Path) -> None:
    async def go(sides: dict[str, Side]) -> None:
        emea, apac = sides["emea"], sides["apac"]
        await emea.federation.recover()
        found = await rows(emea.store, HERE)
        mine = [row.entry or "" for row in found if row.author == ADA and row.kind == "entry"]
        answers = await emea.store.read(policy.bodies_for, "apac", HERE, mine, 21)
        assert [answer.state for answer in answers] == ["ok"] * 5 + ["erased"] * 4
        far = [row.entry or "" for row in found if row.author == FAR and row.kind == "entry"]
        answers = await apac.store.read(policy.bodies_for, "emea", HERE, far, 21)
        assert [answer.state for answer in answers] == ["ok"] * 9

    play(lost, go, "emea", "apac", "na", running=False)


def test_nothing_is_given_up_before_every_region_was_heard(lost: Path) -> None:
    async def go(sides: dict[str, Side]) -> None:
        emea = sides["emea"]
        emea.line.cut.add("na")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await emea.federation.recover()
        assert await emea.store.read(transactions.unheard) == ["na"]
        emea.line.cut.clear()
        async with asyncio.timeout(5):
            await emea.federation.recover()
        assert await emea.store.read(transactions.unheard) == []
        assert len(emea.line.asked) < 100

    play(lost, go, "emea", "apac", "na", running=False)


def test_sites_that_take_back_at_once_miss_nothing(lost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another gateway has added meanwhile is no sign that there is nothing more to come."""

    async def go(sides: dict[str, Side]) -> None:
        emea = sides["emea"]
        ask, times = emea.line.request, 0

        async def request(region: str, op: str, payload: bytes, timeout_s: float = 5.0) -> bytes:
            nonlocal times
            answer = await ask(region, op, payload, timeout_s)
            if op != recovery.TAIL_OP:
                return answer
            some = [row for row in unpack(answer, TailAnswer).rows if row.stream == HERE][:3]
            if times < 2:  # the other gateway has asked the same, and is first
                times += 1
                await emea.store.write(transactions.take_back, some)
            return pack(TailAnswer(some, True))

        monkeypatch.setattr(emea.line, "request", request)
        await recovery.take_back(emea.store, emea.line, "apac")
        assert times == 2
        assert await same(emea, sides["apac"], HERE, 21)

    play(lost, go, "emea", "apac", running=False)


def test_a_region_that_was_never_restored_asks_nobody(tmp_path: Path) -> None:
    async def go(sides: dict[str, Side]) -> None:
        await sides["emea"].federation.recover()
        assert sides["emea"].line.asked == []

    play(tmp_path, go, "emea", "apac", running=False)


def test_only_the_home_itself_is_given_copies(lost: Path) -> None:
    async def go(sides: dict[str, Side]) -> None:
        apac = sides["apac"]
        assert set((await apac.store.read(recovery.copies_of, "emea", "")).heads) == {HERE, NEW}
        assert (await apac.store.read(recovery.copies_of, "na", "")).heads == {}
        from moonbow.federation.process import tail_rows

        assert (await apac.store.read(tail_rows, "na", {HERE: 0})).rows == []
        assert len((await apac.store.read(tail_rows, "emea", {HERE: 13})).rows) == 8

    play(lost, go, "apac", running=False)


def test_what_cannot_be_is_not_taken_back(lost: Path) -> None:
    """Rows of rooms homed elsewhere, out of order, or of no room; and an answer that never comes to an end."""

    async def go(sides: dict[str, Side]) -> None:
        emea = sides["emea"]
        bad = [
            Row(THERE, 12, "entry", "ent_apac_1", FAR, None, 6, 1),
            Row(HERE, 16, "entry", "ent_apac_2", FAR, None, 6, 1),
            Row(HERE, 14, "nonsense", "ent_apac_3", FAR, None, 6, 1),
        ]

        def answer(region: str, op: str, payload: bytes) -> bytes:
            return pack(
                CopiesAnswer({HERE: 99, THERE: 99, "rom_x": 1}) if op == recovery.COPIES_OP else TailAnswer(bad, True)
            )

        emea.line.answer = answer
        assert await recovery.take_back(emea.store, emea.line, "apac") == 0
        emea.line.answer = lambda region, op, payload: b"\xc1"
        with pytest.raises(Unavailable):
            await recovery.take_back(emea.store, emea.line, "na")
        assert len(await rows(emea.store, HERE)) == 13

    play(lost, go, "emea", "apac", running=False)
