"""What a restore has left beside a store is read from the first moment, and moves into it once, whatever comes between."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from moonbow.base.errors import Broken, Unavailable
from moonbow.files.adapters.objects import ObjectsDirectory
from moonbow.files.ports import Missing
from moonbow.files.restored import Restored, bring_in

from .room import Place, person, play

ADA, BEN = person(1), person(2)
CONTENTS = {f"fil_{no % 3}/{no}": os.urandom(100 + no) for no in range(9)}
Step = Callable[[str, str], Awaitable[None]]


class Stepping(ObjectsDirectory):
    """A directory that asks `step` before and after every call: there a test cuts in, or breaks off."""

    def __init__(self, folder: Path, step: Step) -> None:
        super().__init__(folder)
        self.step = step

    async def put(self, key: str, content: bytes) -> None:
        await self.step("before put", key)
        await super().put(key, content)
        await self.step("after put", key)

    async def delete(self, keys: list[str]) -> None:  # type: ignore[override]
        for key in keys:
            await self.step("before delete", key)
        await super().delete(keys)


async def nothing(what: str, key: str) -> None:
    """No step does anything."""


def left(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def made(tmp_path: Path, step: Step = nothing) -> tuple[Restored, ObjectsDirectory, Path]:
    """A store, and beside it what a restore has left."""
    folder, store = tmp_path / "objects", Stepping(tmp_path / "store", step)
    for key, content in CONTENTS.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(content)
    return Restored(store, Stepping(folder, step), folder), store, folder


def test_everything_moves_and_the_folder_is_gone(tmp_path: Path) -> None:
    objects, _, folder = made(tmp_path)
    (folder / "fil_0" / "9#1").write_bytes(b"half written when the region's disk was lost")
    assert asyncio.run(objects.bring_in()) == len(CONTENTS)
    assert not folder.exists()
    assert left(tmp_path / "store") == CONTENTS
    assert asyncio.run(objects.bring_in()) == 0
    assert not objects.is_left
    asyncio.run(asyncio.wait_for(bring_in(objects, 60.0), 5.0))  # ends at once

    async def read() -> None:
        assert [await objects.get(key) for key in CONTENTS] == list(CONTENTS.values())
        assert sorted(await objects.keys("fil_0", 9)) == ["fil_0/0", "fil_0/3", "fil_0/6"]
        await objects.delete(["fil_0/0"])
        with pytest.raises(Missing):
            await objects.get("fil_0/0")
        assert await objects.keys("nothing", 9) == []

    asyncio.run(read())


def test_it_is_read_at_every_step_and_listed_once(tmp_path: Path) -> None:
    steps: list[str] = []

    async def step(what: str, key: str) -> None:
        steps.append(what)
        for wanted, content in CONTENTS.items():
            assert await objects.get(wanted) == content
        found = await objects.keys("fil_1", 9)
        assert sorted(found) == ["fil_1/1", "fil_1/4", "fil_1/7"]

    objects, _, _ = made(tmp_path, step)
    asyncio.run(objects.bring_in())
    assert len(steps) == 3 * len(CONTENTS)


@pytest.mark.parametrize("what", ["before put", "after put", "before delete"])
def test_broken_off_at_any_step_it_goes_on_where_it_was(tmp_path: Path, what: str) -> None:
    for broken in range(len(CONTENTS)):
        seen = 0

        async def step(now: str, key: str) -> None:
            nonlocal seen
            seen += now == what
            if now == what and seen > broken:  # noqa: B023
                raise Unavailable("objects_unavailable", "gone")

        place = tmp_path / str(broken)
        objects, _, folder = made(place, step)
        with pytest.raises(Unavailable):
            asyncio.run(objects.bring_in())
        assert {**left(place / "store"), **left(folder)} == CONTENTS
        rest = ObjectsDirectory(folder)
        again = Restored(ObjectsDirectory(place / "store"), rest, folder)
        asyncio.run(again.bring_in())
        assert left(place / "store") == CONTENTS
        assert not folder.exists()


@pytest.mark.parametrize("moment", ["before put", "after put", "before delete"])
def test_what_is_deleted_while_it_moves_is_gone_for_good(tmp_path: Path, moment: str) -> None:
    """As the sweeper does for whoever is erased."""
    deleting: list[str] = []

    async def step(what: str, key: str) -> None:
        if what == moment and not deleting:
            deleting.append(key)
            await objects.delete([key])

    objects, _, folder = made(tmp_path, step)
    asyncio.run(objects.bring_in())
    (gone,) = set(deleting)
    assert left(tmp_path / "store") == {key: content for key, content in CONTENTS.items() if key != gone}
    assert not folder.exists()


def test_what_the_store_has_is_newer_and_stays(tmp_path: Path) -> None:
    objects, store, _ = made(tmp_path)
    asyncio.run(objects.put("fil_0/0", b"a thumbnail, made again"))
    assert asyncio.run(objects.get("fil_0/0")) == b"a thumbnail, made again"
    asyncio.run(objects.bring_in())
    assert asyncio.run(store.get("fil_0/0")) == b"a thumbnail, made again"


def test_a_copy_that_is_not_what_was_stored_does_not_count(tmp_path: Path) -> None:
    async def step(what: str, key: str) -> None:
        if (what, key) == ("after put", "fil_1/4"):
            (tmp_path / "store" / key).write_bytes(b"x")

    objects, _, folder = made(tmp_path, step)
    with pytest.raises(Broken, match="fil_1/4 is not what was stored"):
        asyncio.run(objects.bring_in())
    assert left(folder) == {"fil_1/4": CONTENTS["fil_1/4"]}
    assert asyncio.run(objects.get("fil_1/4")) == CONTENTS["fil_1/4"]
    assert "fil_1/4" not in left(tmp_path / "store")


def test_one_moves_at_a_time_and_a_store_that_is_away_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        away = 2

        async def step(what: str, key: str) -> None:
            nonlocal away
            if what == "before put":
                assert await other.bring_in() == 0, "somebody else moves them"
                away -= 1
                if away >= 0:
                    raise Unavailable("objects_unavailable", "no leading master yet")

        objects, store, folder = made(tmp_path, step)
        other = Restored(store, ObjectsDirectory(folder), folder)
        await asyncio.wait_for(bring_in(objects, 0.01), 30.0)
        assert left(tmp_path / "store") == CONTENTS

    with caplog.at_level(logging.WARNING, "moonbow.files"):
        asyncio.run(scenario())
    assert "could not be brought in" in caplog.text


def test_whoever_is_erased_again_leaves_the_folder_too(tmp_path: Path) -> None:
    """As after a restore: the erased person's files have come back from the archive, and are still beside the store."""

    async def scenario(places: dict[str, Place]) -> None:
        emea = places["emea"]
        erased, stays = await emea.upload(ADA, b"hers" * 100_000), await emea.upload(BEN, b"his" * 100_000)
        folder = emea.folder / "objects"
        objects = Restored(ObjectsDirectory(emea.folder / "store"), emea.objects, folder)
        emea.files.shelf.objects = objects
        assert await emea.read(ADA, erased.id) == b"hers" * 100_000
        await emea.files.erase(ADA)
        emea.now += 1
        assert await emea.files.sweep() == 1
        names = {path.parent.name for path in emea.resting()}
        assert names == {stays.id}
        await objects.bring_in()
        assert {path.split("/")[0] for path in left(emea.folder / "store")} == {stays.id}
        assert await emea.read(BEN, stays.id) == b"his" * 100_000
        emea.files.shelf.objects = emea.objects

    play(tmp_path, scenario)
