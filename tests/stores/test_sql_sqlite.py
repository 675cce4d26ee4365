"""`stores.sql` on a file: threads that wait, and callers that must not."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, func, insert, select, text

from directory_stores import EMEA
from moonbow.base.errors import Broken, Unavailable
from moonbow.stores.sql import WAITING_MAX, Sql

TABLES = MetaData()
drop = Table("drop", TABLES, Column("no", Integer, primary_key=True))
COUNT = select(func.count(drop.c.no))
ADD = insert(drop)


def count(db: Connection) -> int:
    return db.scalar(COUNT) or 0


def test_threads_write_one_after_the_other_and_a_failed_work_leaves_nothing(tmp_path: Path) -> None:
    sql = Sql.sqlite(tmp_path / "drops.db", EMEA, TABLES)

    def add() -> None:
        for _ in range(20):
            sql.run(lambda db: db.execute(ADD, {"no": count(db) + 1}))

    def fail(db: Connection) -> None:
        db.execute(ADD, {"no": 1_000})
        raise KeyError("changed my mind")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(KeyError):
        sql.run(fail)
    with pytest.raises(Broken):
        sql.run(lambda db: db.execute(ADD, {"no": 1}))
    assert sql.look(count) == 80
    asyncio.run(sql.close())


def test_more_waiting_than_allowed_are_sent_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        sql = Sql.sqlite(tmp_path / "drops.db", EMEA, TABLES)
        gate = threading.Event()
        first = asyncio.create_task(sql.write(lambda _: gate.wait(20)))
        others = [asyncio.create_task(sql.write(lambda db: db.execute(ADD, {}))) for _ in range(WAITING_MAX - 1)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="store_unavailable"):
            await sql.write(count)
        assert await sql.read(count) == 0  # readers do not wait for writers
        for other in others[5:]:
            other.cancel()
        await asyncio.gather(*others[5:], return_exceptions=True)
        gate.set()
        await asyncio.gather(first, *others[:5])
        assert await sql.write(count) == 5
        await sql.close()

    asyncio.run(scenario())


def test_emptying_the_log_does_not_hold_up_readers(tmp_path: Path) -> None:
    async def scenario() -> None:
        sql = Sql.sqlite(tmp_path / "drops.db", EMEA, TABLES)
        with closing(sqlite3.connect(tmp_path / "drops.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            scrubbing = asyncio.create_task(sql.scrub())
            await asyncio.sleep(0.1)
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert await sql.read(count) == 0
            assert loop.time() - began < 1.0
            other.execute("ROLLBACK")
            await scrubbing
        await sql.close()

    asyncio.run(scenario())


def test_a_log_that_cannot_be_emptied_is_not_called_empty(tmp_path: Path) -> None:
    """Somebody reads an older state, as a backup does: what was erased can still be read in the log."""
    path, log = tmp_path / "drops.db", tmp_path / "drops.db-wal"

    async def scenario() -> None:
        sql = Sql.sqlite(path, EMEA, TABLES)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            await sql.write(lambda db: db.execute(text("CREATE TABLE drop_me (a)")))
            with pytest.raises(Unavailable, match="emptied"):
                await sql.scrub()
            assert log.stat().st_size > 0
            other.execute("COMMIT")
            await sql.scrub()
            assert log.stat().st_size == 0
        await sql.close()

    asyncio.run(scenario())
