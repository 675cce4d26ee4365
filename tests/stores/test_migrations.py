"""An older database becomes a newer one while programs of both kinds use it, on each engine."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Index, Integer, MetaData, String, Table, func, insert, inspect, select

from directory_stores import EMEA, open_directory_at
from galera_cluster import Cluster
from moonbow.base.errors import ConfigError
from moonbow.directory.model import PersonRow, Turn
from moonbow.stores.migrations import Step, add_column
from moonbow.stores.sql import Sql
from moonbow.stores.tables import KEPT
from support import eventually

OLD, NEW = MetaData(), MetaData()
old_note = Table("note", OLD, Column("no", Integer, primary_key=True, autoincrement=False), **KEPT)
new_note = Table(
    "note",
    NEW,
    Column("no", Integer, primary_key=True, autoincrement=False),
    Column("size", Integer, nullable=False, server_default="7"),
    Column("said", String(20)),
    **KEPT,
)
Index("note_by_size", new_note.c.size)
tag = Table("tag", NEW, Column("word", String(20), primary_key=True), **KEPT)
EXPAND = (Step(2, add_column(new_note.c.size)), Step(3, add_column(new_note.c.said)))
Open = Callable[..., Sql]


@pytest.fixture(params=["sqlite", pytest.param("galera", marks=pytest.mark.slow)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens one empty database as programs of different layouts do; on Galera each at another site than the last."""
    made: list[Sql] = []

    def keep(sql: Sql) -> Sql:
        made.append(sql)
        return sql

    if request.param == "sqlite":
        yield lambda metadata, steps: keep(Sql.sqlite(tmp_path / "notes.db", EMEA, metadata, steps=steps))
    else:
        cluster: Cluster = request.getfixturevalue("galera_cluster")
        with cluster.connect("paris") as db, db.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS note, tag, layout, made_for")
        ways = [cluster.way("paris"), cluster.way("frankfurt")]
        yield lambda metadata, steps: keep(Sql.galera(ways[len(made) % 2], EMEA, metadata, steps=steps))
    for sql in made:
        asyncio.run(sql.close())


class Busy:
    """A program of the old kind that writes and reads until it is stopped."""

    def __init__(self, sql: Sql) -> None:
        self.acknowledged = 0
        self.faults: list[BaseException] = []
        self._sql = sql
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self._sql.run(self._add)
                self.acknowledged += 1
                assert self._sql.look(numbers) == list(range(self.acknowledged))
            except BaseException as fault:
                self.faults.append(fault)
                return

    def _add(self, db: Connection) -> None:
        seen = numbers(db)
        if seen[-1:] != [self.acknowledged]:  # else an earlier run was committed, and its answer lost
            assert seen == list(range(self.acknowledged))
            db.execute(insert(old_note), {"no": self.acknowledged})

    def goes_on(self) -> None:
        """Wait until it has done some more, without a fault."""
        after = self.acknowledged + 10
        eventually(lambda: self.faults or self.acknowledged >= after, 20)
        assert self.faults == []

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()


def numbers(db: Connection) -> list[int]:
    return list(db.scalars(select(old_note.c.no).order_by(old_note.c.no)))


def test_old_programs_go_on_while_a_new_one_changes_the_tables(opened: Open) -> None:
    old = Busy(opened(OLD, ()))
    try:
        old.goes_on()
        new = opened(NEW, EXPAND)
        old.goes_on()
        new.run(lambda db: db.execute(insert(tag), {"word": "new"}))
        opened(OLD, ())  # one that is started again meanwhile
        old.goes_on()
    finally:
        old.stop()
    rows = new.run(lambda db: db.execute(select(new_note).order_by(new_note.c.no)).all())
    assert rows == [(no, 7, None) for no in range(old.acknowledged)]
    assert "note_by_size" in new.run(lambda db: [index["name"] for index in inspect(db).get_indexes("note")])


def test_a_step_is_made_once_and_after_a_crash_in_its_middle_again(opened: Open) -> None:
    asked: list[str] = []

    def crash(db: Connection) -> None:
        asked.append("crash")
        EXPAND[0].change(db)
        raise KeyError("the power went")

    def finish(db: Connection) -> None:
        asked.append("finish")
        EXPAND[0].change(db)

    opened(OLD, ())
    with pytest.raises(KeyError):
        opened(NEW, (Step(2, crash), EXPAND[1]))
    for _ in range(2):
        new = opened(NEW, (Step(2, finish), EXPAND[1]))
        new.run(lambda db: db.execute(select(func.count(new_note.c.size))).all())
    assert asked == ["crash", "finish"]


def test_a_database_that_only_newer_programs_understand_is_refused(opened: Open) -> None:
    opened(NEW, EXPAND)
    opened(OLD, ())
    opened(NEW, (*EXPAND, Step(4, lambda db: None, oldest=2)))
    opened(NEW, EXPAND[:1])
    with pytest.raises(ConfigError, match="layout 4, for releases that know 2"):
        opened(OLD, ())


def test_a_directory_of_the_first_release_keeps_its_people(tmp_path: Path) -> None:
    """`directory_v1.sql` is a file of that release: three people, one of them erased, and all revocations pruned."""
    path = tmp_path / "directory.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(Path(__file__).with_name("directory_v1.sql").read_text())

    async def scenario() -> None:
        store = open_directory_at(path, EMEA)
        org = "org_emea_0000000000000000000000000a"
        people = [row for _, row in await store.people(org, "", None, 10)]
        assert [row.name for row in people] == ["Ada Okafor", "Zoë Ångström"]
        ada, zoe = people
        found = await store.credential(ada.login_hash)
        assert found is not None
        assert (found.person, found.password) == (ada.id, "$argon2id$hash0")
        turn, family, _ = await store.turn_family(
            "handle00", lambda family: Turn(verdict="rotated", family=family), 1_800_000_001.0
        )
        assert (turn.verdict, family and family.person) == ("rotated", ada.id)
        assert [item.no for item in await store.end_sessions(ada.id, None, 1.0)] == [5, 6]
        assert len(await store.erased()) == len(await store.releases()) == 1
        assert (await store.shared.login(zoe.login_hash)) is not None
        assert [key.kid for key in await store.shared.keys()] == ["key_emea_1"]
        again = PersonRow(**{name: getattr(ada, name) for name in ada.__struct_fields__} | {"login_hash": "f" * 64})
        await store.erase_person(ada.id, 2.0)
        await store.create_person(again, "$argon2id$new")
        assert len(await store.releases()) == 2
        await store.close()

    asyncio.run(scenario())


@pytest.mark.slow
def test_an_index_that_is_called_as_a_table_is_not_taken_for_it(galera_cluster: Cluster) -> None:
    """The timeline, which lies in the same database, has an index called `person`."""
    metadata = MetaData()
    tag = Table("tag", metadata, Column("no", Integer, primary_key=True, autoincrement=False))
    with galera_cluster.connect("paris") as db, db.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS note, tag, layout, made_for")
        cursor.execute("CREATE TABLE note(no INT PRIMARY KEY, size INT, KEY tag(size))")
    sql = Sql.galera(galera_cluster.way("paris"), EMEA, metadata, steps=())
    try:
        assert sql.look(lambda db: db.execute(select(tag)).all()) == []
    finally:
        sql.shut()
