"""What is particular to the embedded store: its settings, its writer's thread, its layout, and a disk that is full."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moonbow.base import limits
from moonbow.base.errors import Broken, Unavailable
from moonbow.stores.timeline_rows import open_connection
from moonbow.stores.timeline_sqlite import SqliteTimeline
from moonbow.timeline import transactions
from moonbow.timeline.ports import Tx
from support import eventually
from timeline_stores import SqliteAdapter, make_room, new_post, person, play, room, rows, say, texts

ADA, ROOM = person(1), room(1)


@pytest.fixture
def adapter(tmp_path: Path) -> SqliteAdapter:
    return SqliteAdapter(tmp_path)


def test_a_commit_is_on_the_disk_before_it_is_answered(tmp_path: Path) -> None:
    db = open_connection(tmp_path / "x.db")
    wanted = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "temp_store": 2}
    assert {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted} == wanted
    db.close()


def test_a_store_of_another_layout_is_not_touched(adapter: SqliteAdapter) -> None:
    db = sqlite3.connect(adapter.path)
    db.executescript("CREATE TABLE meta(epoch INTEGER); PRAGMA user_version = 7")
    db.close()

    async def go() -> None:
        with pytest.raises(Broken, match="layout 7"):
            adapter.open()

    asyncio.run(go())


def test_what_is_no_store_is_not_opened(adapter: SqliteAdapter) -> None:
    adapter.path.write_bytes(b"this is a shopping list, not a database" * 200)

    async def go() -> None:
        with pytest.raises(Unavailable):
            adapter.open()

    asyncio.run(go())


def test_what_waits_is_committed_before_the_end(adapter: SqliteAdapter) -> None:
    async def go() -> None:
        store = adapter.open()
        await make_room(store, ROOM, ADA)
        waiting = [asyncio.ensure_future(say(store, ADA, ROOM, n)) for n in range(1_000)]
        await asyncio.sleep(0)
        store.close()
        assert {answer.state for answer in await asyncio.gather(*waiting)} == {"placed"}
        with pytest.raises(Unavailable, match="closing"):
            await say(store, ADA, ROOM, "late")

    asyncio.run(go())
    assert len(play(adapter, lambda store: rows(store, ROOM))) == 1_001


def test_the_queue_has_an_end_and_the_clock_runs(adapter: SqliteAdapter) -> None:
    """While one transaction hangs, its time is seen, and only so much may wait behind it."""
    go_on = threading.Event()

    def hang(tx: Tx) -> None:
        go_on.wait(30)

    async def go() -> None:
        store = adapter.open()
        hanging = asyncio.ensure_future(store.write(hang))
        await asyncio.sleep(0)
        eventually(lambda: store.busy_s() > 0)

        def another() -> bool:
            store.submit(lambda tx: None, (), lambda result, error: None)
            return True

        for _ in range(limits.COMMIT_QUEUE_MAX):
            another()
        with pytest.raises(Unavailable, match="busy"):
            another()
        eventually(lambda: store.busy_s() > 0.05)
        go_on.set()
        await hanging

        def has_room() -> bool:
            with contextlib.suppress(Unavailable):
                return another()
            return False

        eventually(has_room)
        store.close()
        assert store.busy_s() == 0

    asyncio.run(go())


def test_somebody_who_cannot_take_an_answer_disturbs_nobody(
    adapter: SqliteAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    def trip(result: Any, error: Any) -> None:
        raise ValueError("no room for an answer")

    async def go() -> None:
        store = adapter.open()
        await make_room(store, ROOM, ADA)
        store.submit(transactions.post, (new_post(ADA, ROOM, "first"),), trip)
        assert (await say(store, ADA, ROOM, "second")).seq == 3
        store.close()

    asyncio.run(go())
    assert "an answer could not be taken" in caplog.text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk needs the right to mount one")
def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    adapter = SqliteAdapter(small_disk)

    async def fill(store: SqliteTimeline) -> list[str]:
        kept: list[str] = []
        while True:
            answer = await say(store, ADA, ROOM, len(kept), "x" * 5_000)
            kept.append(answer.entry or "")
            assert len(kept) < 1_000

    async def go() -> None:
        store = adapter.open()
        await make_room(store, ROOM, ADA)
        with pytest.raises(Unavailable, match=r"store_unavailable.*full"):
            await fill(store)
        found = await rows(store, ROOM)
        assert all(await texts(store, [row.entry or "" for row in found[1:]])), "what was kept can be read"
        before = len(found)
        with pytest.raises(Unavailable):
            await asyncio.gather(*(say(store, ADA, ROOM, f"more-{n}", "x" * 5_000) for n in range(50)))
        assert len(await rows(store, ROOM)) == before
        await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
        assert (await say(store, ADA, ROOM, "room again", "x" * 5_000)).seq == before + 1
        store.close()

    asyncio.run(go())
