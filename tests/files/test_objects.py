"""The contract of objects, on every adapter: a directory of this machine, S3 as SeaweedFS speaks it, a whole region's."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from bench.seaweed import Weed, weed

from files.weeds import Weeds
from galera_cluster import SITES
from moonbow.base.errors import Unavailable
from moonbow.files.adapters import objects
from moonbow.files.adapters.objects import AWAY_S, ObjectsDirectory, ObjectsSites, open_s3
from moonbow.files.ports import Missing, Objects, Stored
from moonbow.files.restored import Restored

Work = Callable[[Objects], Awaitable[None]]
Run = Callable[[Work], None]


ENGINES = (pytest.param("s3", marks=pytest.mark.engines), pytest.param("region", marks=pytest.mark.engines))


@pytest.fixture(scope="module", params=["directory", "restored", *ENGINES])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "directory":
        yield lambda work: asyncio.run(_on(lambda: ObjectsDirectory(folder / "objects"), work))
    elif request.param == "restored":  # where a restore has left nothing but a folder of another file
        ObjectsDirectory(folder / "left")
        yield lambda work: asyncio.run(_on(lambda: _restored(folder), work))
    elif request.param == "region":  # what one site was asked, its sister is asked next
        weeds: Weeds = request.getfixturevalue("weeds")
        sites = itertools.cycle(SITES)
        yield lambda work: asyncio.run(_on(lambda: weeds.open(next(sites)), work))
    else:
        with weed(folder) as server:
            yield lambda work: asyncio.run(_on(lambda: open_s3(server.place), work))


def _restored(folder: Path) -> Restored:
    return Restored(ObjectsDirectory(folder / "store"), ObjectsDirectory(folder / "left"), folder / "left")


async def _on(opened: Callable[[], Objects], work: Work) -> None:
    await work(opened())


def test_what_was_put_is_there_for_everybody(run: Run) -> None:
    content = os.urandom(1_048_576 + 28)

    async def put(store: Objects) -> None:
        await store.put("fil_1/000", content)
        await store.put("fil_1/001", b"")
        await store.put("fil_1/001", b"replaced")

    async def get(store: Objects) -> None:
        assert await store.get("fil_1/000") == content
        assert await store.get("fil_1/001") == b"replaced"

    run(put)
    run(get)


def test_keys_are_those_below_a_prefix(run: Run) -> None:
    async def work(store: Objects) -> None:
        for key in ("fil_2/a", "fil_2/b", "fil_22/c", "avatars/usr_1/t"):
            await store.put(key, b"x")
        assert sorted(await store.keys("fil_2", 100)) == ["fil_2/a", "fil_2/b"]
        assert len(await store.keys("fil_2", 1)) == 1
        assert await store.keys("avatars/usr_1", 10) == ["avatars/usr_1/t"]
        assert await store.keys("nothing", 10) == []

    run(work)


def test_what_was_deleted_is_gone_and_deleting_again_is_no_fault(run: Run) -> None:
    async def work(store: Objects) -> None:
        await store.put("fil_3/a", b"x")
        await store.put("fil_3/b", b"y")
        await store.delete(["fil_3/a", "fil_3/never"])
        await store.delete(["fil_3/a"])
        await store.delete([])
        with pytest.raises(Missing):
            await store.get("fil_3/a")
        assert await store.keys("fil_3", 10) == ["fil_3/b"]
        await store.delete(["fil_3/b"])
        await store.put("fil_3/c", b"z")
        assert await store.get("fil_3/c") == b"z"

    run(work)


def test_many_at_once(run: Run) -> None:
    async def work(store: Objects) -> None:
        contents = {f"fil_4/{no:03d}": os.urandom(20_000) for no in range(40)}
        await asyncio.gather(*(store.put(key, content) for key, content in contents.items()))
        found = await asyncio.gather(*(store.get(key) for key in contents))
        assert dict(zip(contents, found, strict=True)) == contents

    run(work)


@pytest.mark.parametrize("run", ENGINES, indirect=True)
def test_a_list_names_everything_once_and_a_mark_changes_with_the_content(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PAGE", 3)
    sizes = {f"fil_5/{no}": no for no in range(7)} | {"fil_5a/x": 1_048_604, "fil_5/sub/x": 3}

    async def listed(store: Objects) -> dict[str, Stored]:
        assert isinstance(store, ObjectsSites)
        found, after = list[Stored](), ""
        while page := await store.page(after):
            assert len(page) <= 3
            found, after = found + page, page[-1].key
        names = [one.key for one in found]
        assert len(set(names)) == len(names)
        return {one.key: one for one in found if one.key.startswith("fil_5")}

    async def work(store: Objects) -> None:
        for key, size in sizes.items():
            await store.put(key, os.urandom(size))
        before = await listed(store)
        assert {key: one.bytes for key, one in before.items()} == sizes
        await store.put("fil_5/4", os.urandom(4))
        await store.delete(["fil_5/0"])
        after = await listed(store)
        assert {key for key in before if after.get(key) != before[key]} == {"fil_5/0", "fil_5/4"}

    run(work)


def test_nothing_counts_before_the_disk_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and every folder that leads to it are synced before `put` returns."""
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    root = tmp_path / "objects"
    asyncio.run(ObjectsDirectory(root).put("avatars/usr_1/t", b"x"))
    assert synced == [str(root / "avatars/usr_1/t"), str(root / "avatars/usr_1"), str(root / "avatars"), str(root)]


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    store = ObjectsDirectory(root)
    asyncio.run(store.put("fil_1/a", b"x"))
    old, new, alone = root / "fil_1/b#1", root / "fil_1/c#2", root / "fil_2/a#1"
    alone.parent.mkdir()
    for path in (old, new, alone):
        path.write_bytes(b"half")
    for path in (old, alone, root / "fil_1/a"):
        os.utime(path, (1.0, 1.0))
    assert asyncio.run(store.keys("fil_1", 10)) == ["fil_1/a"]
    assert {path.name for path in (root / "fil_1").iterdir()} == {"a", "c#2"}
    assert asyncio.run(store.keys("fil_2", 10)) == asyncio.run(store.keys("fil_3", 10)) == []
    assert not alone.parent.exists()


def test_a_store_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "RETRY_S", 0.5)
    store = open_s3(objects.S3Place("http://127.99.7.9:9", "objects", "key", "secret"))
    for call in (lambda: store.put("a/b", b"x"), lambda: store.get("a/b"), lambda: store.keys("a", 1)):
        with pytest.raises(Unavailable) as caught:
            asyncio.run(_awaited(call))
        assert caught.value.code == "objects_unavailable"
        assert "secret" not in str(caught.value)


def test_a_sister_site_is_asked_while_the_own_one_is_away(tmp_path: Path) -> None:
    now = 0.0
    asked: list[str] = []

    class Noted(ObjectsDirectory):
        async def get(self, key: str) -> bytes:
            asked.append(key)
            return await super().get(key)

    closed = objects.S3Place("http://127.99.7.9:9", "objects", "key", "secret")
    own, sister = open_s3(closed)._sites[0], Noted(tmp_path / "sister")
    store = ObjectsSites([own, sister], clock=lambda: now)

    async def work() -> None:
        nonlocal now
        await store.put("fil_1/a", b"x")
        assert store._order() == [1, 0], "it failed just now"
        assert await store.get("fil_1/a") == b"x"
        now = AWAY_S + 1
        assert store._order() == [0, 1], "the own site is tried again"
        assert await store.get("fil_1/a") == b"x"

    asyncio.run(work())
    assert asked == ["fil_1/a"] * 2


def test_what_one_site_does_not_have_yet_another_may(tmp_path: Path) -> None:
    own, sister = (ObjectsDirectory(tmp_path / name) for name in ("own", "sister"))
    store = ObjectsSites([own, sister])

    async def work() -> None:
        await sister.put("fil_1/a", b"x")
        assert await store.get("fil_1/a") == b"x"
        with pytest.raises(Missing):
            await store.get("fil_1/never")

    asyncio.run(work())


async def _awaited(call: Callable[[], Awaitable[object]]) -> None:
    await call()


@pytest.mark.engines
@pytest.mark.slow
def test_a_store_that_comes_back_within_half_a_minute_is_waited_for(tmp_path: Path) -> None:
    """What an upload meets when the leading master is lost: everything it asks fails for a while."""
    server = Weed(tmp_path, "127.99.7.2")
    server.start()
    try:
        server.make_bucket()
        store = open_s3(server.place)

        async def scenario() -> None:
            server.kill()
            waiting = asyncio.create_task(store.put("fil_1/b", b"meanwhile"))
            await asyncio.sleep(2.0)
            assert not waiting.done()
            server.start()
            await waiting
            assert await store.get("fil_1/b") == b"meanwhile"

        asyncio.run(scenario())
    finally:
        server.kill()
