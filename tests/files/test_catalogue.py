"""The contract of the catalogue on every engine: SQLite, and a MariaDB Galera node seen by two processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from directory_stores import emptied
from moonbow.base import limits
from moonbow.base.errors import Broken, Refused
from moonbow.base.ids import new_id
from moonbow.files.model import Avatar, ContentRange, Facts, File, Part, Share, Usage
from moonbow.stores.files_sql import FILES_TABLES, SHARES_MAX, SqlFiles
from moonbow.stores.home import HomeRegion
from moonbow.stores.sql import Sql

EMEA = HomeRegion("emea")
ADA, BEN = "usr_emea_1", "usr_emea_2"
Open = Callable[[], SqlFiles]


@pytest.fixture(params=["sqlite", "galera"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Another process's view of one empty database."""
    if request.param == "sqlite":
        return lambda: SqlFiles(Sql.sqlite(tmp_path / "files.db", EMEA, FILES_TABLES))
    way = emptied(request.getfixturevalue("galera_node"), "paris")
    return lambda: SqlFiles(Sql.galera(way, EMEA, FILES_TABLES))


def play(opened: Open, scenario: Callable[[SqlFiles, SqlFiles], Awaitable[None]]) -> None:
    """A scenario with two processes."""

    async def inside() -> None:
        one, other = opened(), opened()
        try:
            await scenario(one, other)
        finally:
            await one.close()
            await other.close()

    asyncio.run(inside())


def file(owner: str = ADA, size: int = 100, due_at: float | None = 50.0) -> File:
    return File(
        id=new_id("fil", "emea"), owner=owner, name=b"\0\xffsealed", size=size, received=0, state="uploading",
        type="application/octet-stream", made_at=1.5, expires_at=None, due_at=due_at,
    )  # fmt: skip


def test_a_file_that_is_announced_again_is_the_same_one(opened: Open) -> None:
    async def scenario(one: SqlFiles, other: SqlFiles) -> None:
        first, again = (replace(file(), client_id="0b5a1e3c-8d1e-4a51-9c55-0f6c4d0e7a11") for _ in range(2))
        made = await asyncio.gather(one.create(first), other.create(again))
        assert made[0] == made[1]
        assert made[0] in (first, again)
        assert [file.id for file in await one.page(ADA, None, 10)] == [made[0].id]
        assert (await other.create(replace(file(BEN), client_id=first.client_id))).owner == BEN
        assert (await one.create(file())).id != made[0].id, "without one it is another file"

    play(opened, scenario)


def test_a_file_grows_by_its_parts_in_whatever_process(opened: Open) -> None:
    async def scenario(one: SqlFiles, other: SqlFiles) -> None:
        new = file()
        await one.create(new)
        await one.create(new)  # its outcome was unknown
        assert await other.file(new.id, fresh=True) == new
        grown, kept = await one.add_part(new.id, ContentRange(0, 59, 100), "a", 9.0)
        assert kept
        assert (grown.received, grown.state, grown.parts) == (60, "uploading", 1)
        assert await other.add_part(new.id, ContentRange(0, 59, 100), "b", 9.0) == (grown, False)
        assert await other.add_part(new.id, ContentRange(0, 59, 100), "a", 9.0) == (grown, True), (
            "its outcome was unknown"
        )
        with pytest.raises(Refused):
            await other.add_part(new.id, ContentRange(50, 99, 100), "c", 9.0)
        whole, _ = await other.add_part(new.id, ContentRange(60, 99, 100), "d", 9.0)
        assert (whole.received, whole.state, whole.due_at) == (100, "checking", 9.0)
        assert await one.parts(new.id) == [Part(0, 60, "a"), Part(60, 40, "d")]

    play(opened, scenario)


def test_of_two_who_send_the_same_part_one_is_kept(opened: Open) -> None:
    async def scenario(one: SqlFiles, other: SqlFiles) -> None:
        for _ in range(10):
            new = file()
            await one.create(new)
            wanted = [ContentRange(0, 49, 100), ContentRange(0, 69, 100)] * 3
            sides = [one, other] * 3
            tries = (
                side.add_part(new.id, said, str(no), 9.0)
                for no, (side, said) in enumerate(zip(sides, wanted, strict=True))
            )
            done = await asyncio.gather(*tries, return_exceptions=True)
            (part,) = await one.parts(new.id)
            found = await other.file(new.id, fresh=True)
            assert found is not None
            assert (found.received, found.parts) == (part.size, 1)
            assert [no for no, one in enumerate(done) if isinstance(one, tuple) and one[1]] in ([int(part.attempt)], [])

    play(opened, scenario)


def test_a_quota_holds_whoever_asks_at_once(opened: Open) -> None:
    async def scenario(one: SqlFiles, other: SqlFiles) -> None:
        most, fit = limits.FILE_BYTES_MAX, limits.FILE_QUOTA_BYTES // limits.FILE_BYTES_MAX
        tries = (side.create(file(size=most)) for side in (one, other) * 7)
        done = await asyncio.gather(*tries, return_exceptions=True)
        assert [isinstance(made, File) for made in done].count(True) == fit == 10
        assert {str(fault).split(":")[0] for fault in done if not isinstance(fault, File)} == {"quota_exceeded"}
        assert await one.usage(ADA) == Usage(fit * most, fit, fit)
        await other.create(file(BEN, most))
        for _ in range(limits.UPLOADS_MAX - 1):
            await other.create(file(BEN, 1))
        with pytest.raises(Refused, match="uploads_too_many"):
            await one.create(file(BEN, 1))

    play(opened, scenario)


def test_one_of_many_looks_and_says_what_became_of_it(opened: Open) -> None:
    async def scenario(one: SqlFiles, other: SqlFiles) -> None:
        new = file()
        await one.create(new)
        await one.add_part(new.id, ContentRange(0, 99, 100), "a", 9.0)
        claims = await asyncio.gather(*(side.put_off(new.id, 0, 99.0 + no) for no, side in enumerate((one, other) * 3)))
        assert claims.count(True) == 1
        won = 99.0 + claims.index(True)
        assert await other.put_off(new.id, 0, won), "the claim stood, and nothing was heard of it"
        assert not await other.put_off(new.id, 0, won + 0.5)
        facts = Facts(type="image/png", width=3, height=4, thumbnail=True)
        ready = await other.settle(new.id, facts, None)
        assert ready is not None
        assert (ready.state, ready.type, ready.width, ready.height, ready.thumbnail) == (
            "ready",
            "image/png",
            3,
            4,
            True,
        )
        late = await one.settle(new.id, Facts(type="text/plain", refused="infected"), None)
        assert late == ready, "the first word stands"
        assert await one.due(1e9, 10) == []

    play(opened, scenario)


def test_what_is_due_and_what_is_gone(opened: Open) -> None:
    async def scenario(one: SqlFiles, other: SqlFiles) -> None:
        early, late, own = file(due_at=10.0), file(due_at=20.0), file(due_at=None)
        for new in (late, early, own):
            await one.create(new)
        await one.add_part(early.id, ContentRange(0, 9, 100), "a", 0.0)
        await one.share([early.id], Share("rom_emea_1", "c" * 36))
        assert [one.id for one in await other.due(15.0, 10)] == [early.id]
        assert [one.id for one in await other.due(25.0, 10)] == [early.id, late.id]
        assert len(await other.due(25.0, 1)) == 1
        assert await one.delete(early.id, 5.0)
        assert not await other.delete(early.id, 5.0)
        assert await one.file(early.id) is None
        assert await one.shares(early.id) == []
        with pytest.raises(Refused, match="file_unknown"):
            await other.add_part(early.id, ContentRange(10, 19, 100), "b", 0.0)
        (gone,) = await other.due(6.0, 10)
        assert (gone.id, gone.gone, gone.name) == (early.id, True, b"")
        await other.forget(early.id)
        await other.forget(own.id)  # only what is gone can be forgotten
        assert await one.due(6.0, 10) == []
        assert await one.parts(early.id) == []
        assert [one.id for one in await one.page(ADA, None, 10)] == sorted([late.id, own.id], reverse=True)

    play(opened, scenario)


def test_pages_shares_and_pictures(opened: Open) -> None:
    async def scenario(one: SqlFiles, other: SqlFiles) -> None:
        made = [file(size=1) for _ in range(5)]
        for new in made:
            await one.create(new)
        idents = sorted((new.id for new in made), reverse=True)
        assert [f.id for f in await one.page(ADA, None, 2)] == idents[:2]
        assert [f.id for f in await one.page(ADA, idents[1], 9)] == idents[2:]
        assert await one.page(BEN, None, 9) == []
        assert {f.id for f in await one.files([*idents, "fil_emea_x"])} == set(idents)
        for no in range(SHARES_MAX):
            await one.share(idents[:1], Share("rom_emea_1", f"{no:036d}"))
        await other.share(idents[:2], Share("rom_emea_1", f"{3:036d}"))
        with pytest.raises(Refused, match="shares_too_many"):
            await other.share(idents[:1], Share("rom_emea_1", "x" * 36))
        assert len(await one.shares(idents[0])) == SHARES_MAX
        assert await one.shares(idents[1]) == [Share("rom_emea_1", f"{3:036d}")]
        first, second = (Avatar(person=ADA, tag=tag, type="image/webp", size=9, made_at=1.0) for tag in "ab")
        assert await one.set_avatar(ADA, first) is None
        assert await other.set_avatar(ADA, second) == first
        assert await one.avatar(ADA) == second
        assert await one.avatars([ADA, BEN]) == {ADA: "b"}
        assert await one.erase(ADA, 7.0) == {"files": 5, "shares": SHARES_MAX + 1, "avatars": 1}
        assert (await other.avatar(ADA), await other.usage(ADA)) == (None, Usage(0, 0, 0))
        assert len(await other.due(7.0, 10)) == 5

    play(opened, scenario)


def test_a_catalogue_opens_for_its_own_region_only(tmp_path: Path) -> None:
    asyncio.run(SqlFiles(Sql.sqlite(tmp_path / "files.db", EMEA, FILES_TABLES)).close())
    with pytest.raises(Broken):
        Sql.sqlite(tmp_path / "files.db", HomeRegion("apac"), FILES_TABLES)
