"""Whatever people do, at once or in turn, through one process or another, and whenever the power fails: the store and
a model of it in plain Python say the same."""

from __future__ import annotations

import asyncio
import copy
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galera_cluster import SITES, Cluster
from moonbow.base.errors import Refused
from moonbow.timeline import policy, transactions
from moonbow.timeline.model import Answer as Posted
from moonbow.timeline.model import Applied, Notice, PlaceEntry, Result
from moonbow.timeline.ports import Reads, Store, Tx
from timeline_model import Answer, Model
from timeline_stores import (
    HOME,
    Adapter,
    MariaAdapter,
    SqliteAdapter,
    all_rows,
    new_post,
    person,
    quick_folder,
    room,
    texts,
)

FAR = person(9, "apac")
LOCAL = [person(n) for n in range(1, 4)]
PEOPLE = [*LOCAL, FAR]
ROOMS = [room(n) for n in range(1, 4)]

who, anybody, where = st.sampled_from(LOCAL), st.sampled_from(PEOPLE), st.sampled_from(ROOMS)
number = st.integers(0, 4)
operations = st.one_of(
    st.tuples(st.just("post"), who, where, number, st.integers(0, 2)),
    st.tuples(st.just("post"), who, where, number, st.just(0)),
    st.tuples(st.just("member"), st.just(ROOMS[0]), st.just(LOCAL[0]), st.sampled_from([LOCAL[1], FAR]), st.booleans()),
    st.tuples(st.just("redact"), who, where, number),
    st.tuples(st.just("member"), where, who, anybody, st.booleans()),
    st.tuples(st.just("erase"), who),
    st.tuples(st.just("mark_read"), who, where, st.integers(0, 40)),
    st.tuples(st.just("afar"), where, st.integers(-1, 2)),
)
steps = st.tuples(
    st.lists(operations, min_size=1, max_size=12), st.sampled_from([0, 1]), st.sampled_from(["", "", "", "during", "after"])
)  # fmt: skip


class Machine:
    """A store opened by two processes, its model, and power cuts: from then on only what the disk held counts."""

    def __init__(self, adapter: Adapter, folder: Path) -> None:
        self.folder, self.cuts = folder, 0
        self.model = Model()
        self.model.far = FAR
        self.adapter = adapter
        self.stores: list[Store] = []

    def open(self) -> None:
        self.stores = [self.adapter.open(), self.adapter.open()]

    def close(self) -> None:
        for store in self.stores:
            store.close()

    def image(self) -> SqliteAdapter:
        """The disk as it is now, in a folder of its own."""
        assert isinstance(self.adapter, SqliteAdapter), "only a file can be copied as it is"
        self.cuts += 1
        beside = self.folder / f"cut{self.cuts}"
        beside.mkdir()
        for name in ("timeline.db", "timeline.db-wal"):
            if (file := self.adapter.path.with_name(name)).exists():
                shutil.copy(file, beside / name)
        return SqliteAdapter(beside)

    def power_is_back(self, image: SqliteAdapter) -> None:
        self.close()
        self.adapter = image
        self.open()

    async def begin(self) -> None:
        self.open()
        for n, ident in enumerate(ROOMS):
            people = [LOCAL[n], FAR] if n else [LOCAL[0], *LOCAL[1:]]
            await self.stores[0].write(transactions.create_room, ident, people[0], tuple(people[1:]))
            self.model.create(ident, people)
        await self.check()

    async def step(self, asked: list[tuple[Any, ...]], through: int, cut: str) -> None:
        """Several operations at once through one process; they are one batch, in their order."""
        store = self.stores[through]
        before = copy.deepcopy(self.model) if cut == "during" else None
        images: list[SqliteAdapter] = []
        plans = [self.plan(*operation) for operation in asked]
        begun, go_on = threading.Event(), threading.Event()
        holding = asyncio.ensure_future(store.write(lambda tx: (begun.set(), go_on.wait(30))))
        await asyncio.sleep(0)
        assert begun.wait(30)  # from here on all that is asked waits together
        waiting = [asyncio.ensure_future(store.write(work)) for work, _ in plans]
        if before is not None:
            waiting.append(asyncio.ensure_future(store.write(lambda tx: images.append(self.image()))))
        await asyncio.sleep(0)
        go_on.set()
        await holding
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        for (_, expect), answer in zip(plans, answers, strict=False):
            if isinstance(answer, BaseException) and not isinstance(answer, Refused):
                raise answer
            said = _plain(answer)
            assert said == expect(said)
        if before is not None:
            await self.check()
            self.model = before
            self.power_is_back(images[0])
        elif cut:
            self.power_is_back(self.image())
        await self.check()

    def plan(self, kind: str, *args: Any) -> tuple[Callable[[Tx], Any], Callable[[Answer], Answer]]:
        """An operation on the store, and what the model makes of it once the store has answered."""
        model = self.model
        match kind, args:
            case "post", (author, ident, name, text):
                post = new_post(author, ident, name, f"{text}")
                return (lambda tx: transactions.post(tx, post)), lambda said: model.post(
                    author, ident, post.client_id, f"{text}", str(said[1]) if said[0] == "placed" else None
                )
            case "redact", (actor, ident, n):
                entries = [line.entry for line in model.rooms[ident].lines if line.entry]
                entry = entries[n % len(entries)] if entries else f"ent_{HOME}_0"
                if not entries:
                    return (lambda tx: transactions.redact(tx, actor, ident, entry)), lambda said: (
                        "noop",
                        None,
                        "entry_unknown",
                    )
                return (lambda tx: transactions.redact(tx, actor, ident, entry)), lambda said: _result(
                    model.redact(actor, ident, entry)
                )
            case "member", (ident, actor, somebody, join):
                return (lambda tx: transactions.change_member(tx, ident, actor, somebody, join)), lambda said: _result(
                    model.member(ident, actor, somebody, join)
                )
            case "erase", (somebody,):
                return (lambda tx: transactions.erase_person(tx, somebody)), lambda said: model.erase(somebody)
            case "mark_read", (somebody, ident, seq):
                return (lambda tx: transactions.mark_read(tx, somebody, ident, seq)), lambda said: model.mark_read(
                    somebody, ident, seq
                )
            case _, (ident, step):
                out_no = max(1, len(model.applied.get(ident, [])) + 1 + step)
                effect = PlaceEntry(f"ent_apac_{ident[-3:]}{out_no:010d}", FAR, False)
                return (
                    lambda tx: transactions.apply(tx, "apac", 1, ident, [(out_no, effect)])
                ), lambda said: model.from_afar(ident, out_no, effect.entry)
        raise AssertionError(kind)

    async def check(self) -> None:
        for store in self.stores:
            for ident in ROOMS:
                await store.read(self.check_room, ident)
            entries = list(self.model.texts)
            assert await texts(store, entries) == list(self.model.texts.values())
            told = await store.read(lambda reads: reads.outgoing("apac", "inb" + FAR[3:], 1_000))
            assert [out.effect for out in told] == [Notice(*notice) for notice in self.model.told]
            assert [out.out_no for out in told] == list(range(1, len(told) + 1))

    def check_room(self, reads: Reads, ident: str) -> None:
        model, found = self.model.rooms[ident], all_rows(reads, ident)
        stream = reads.stream(ident)
        assert stream is not None
        assert [row.seq for row in found] == list(range(1, len(model.lines) + 1))
        assert [(row.kind, row.entry, row.author, row.target) for row in found] == model.lines
        assert {row.seq for row in found if row.gone} == model.gone
        counted = 0
        for row in found:
            counted += row.kind == "entry"
            assert row.no == counted
        assert (stream.head, stream.no) == (len(found), counted)
        assert {name for name, _ in reads.members(stream)} == model.members()
        for somebody in PEOPLE:
            assert [r.seq for r in policy.visible(reads, somebody, ident, 0, 10_000)[0]] == model.visible(somebody)
        for somebody in LOCAL:
            read = self.model.read.get((somebody, ident), 0)
            assert reads.seat(somebody, ident)[0] == read
            if model.is_member(somebody):
                assert policy.unread(reads, stream, somebody, read) == model.unread(somebody, read)


def _plain(answer: Any) -> Answer:
    """Any answer as a tuple that a model can say as well."""
    match answer:
        case Refused():
            return ("raised", answer.code)
        case Posted("placed", entry, seq):
            return ("placed", entry, seq)
        case Posted(state, _, _, code):
            return (state, code)
        case Result(state, seq, code):
            return (state, seq, code)
        case [Applied(_, None, expected)]:
            return ("expected", expected)
        case [Applied(_, Result(state, seq, code))]:
            return (state, seq, code)
        case _:
            return (answer,)


def _result(answer: Answer) -> Answer:
    return (answer[0], None, answer[1])


def run(story: list[tuple[list[tuple[Any, ...]], int, str]], other: Adapter | None = None) -> None:
    async def go(folder: Path) -> None:
        machine = Machine(other or SqliteAdapter(folder), folder)
        try:
            await machine.begin()
            for asked, through, cut in story:
                await machine.step(asked, through, "" if other else cut)
        finally:
            machine.close()

    with quick_folder() as folder:
        asyncio.run(go(folder))


@settings(max_examples=80, deadline=None)
@given(st.lists(steps, min_size=3, max_size=12))
def test_store_and_model_agree(story: list[tuple[list[tuple[Any, ...]], int, str]]) -> None:
    run(story)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(story=st.lists(steps, min_size=3, max_size=8))
def test_mariadb_and_model_agree(galera_node: Cluster, story: list[tuple[list[tuple[Any, ...]], int, str]]) -> None:
    run(story, MariaAdapter(galera_node.state, SITES[0]))


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(story=st.lists(steps, max_size=20))
def test_mariadb_and_model_agree_for_long(
    galera_node: Cluster, story: list[tuple[list[tuple[Any, ...]], int, str]]
) -> None:
    run(story, MariaAdapter(galera_node.state, SITES[0]))


@pytest.mark.long
@settings(max_examples=1_500, deadline=None)
@given(st.lists(steps, max_size=30))
def test_store_and_model_agree_for_long(story: list[tuple[list[tuple[Any, ...]], int, str]]) -> None:
    run(story)
