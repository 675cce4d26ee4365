"""Who may see what: the decisions that keep a text inside its region and a stranger outside a room."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from moonbow.base.ids import new_id
from moonbow.stores.timeline_batch import Work, run_batch
from moonbow.stores.timeline_rows import SCHEMA, SqliteEngine, SqliteReads
from moonbow.timeline import policy, transactions
from moonbow.timeline.model import Answer, Post, text_body
from moonbow.vault.plain import Plain


class Room:
    """A room in emea with Ada, and Kenji of apac who comes and goes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection, self.reads = connection, SqliteReads(connection, "emea", Plain())
        self.ada, self.kenji = new_id("usr", "emea"), new_id("usr", "apac")
        self.ident = self.write(transactions.create_room, new_id("rom", "emea"), self.ada, ())

    def write(self, work: Any, *args: Any) -> Any:
        done = Work(work, args, lambda result, error: None)
        run_batch(SqliteEngine(self.connection, "emea", Plain()), [done])
        assert done.error is None
        return done.result

    def say(self, text: str) -> Answer:
        post = Post(self.ada, self.ident, str(uuid.uuid4()), text_body(text))
        answer: Answer = self.write(transactions.post, post)
        return answer

    def member(self, join: bool) -> None:
        self.write(transactions.change_member, self.ident, self.ada, self.kenji, join)

    def ask(self, *answers: Answer, caller: str = "apac", as_of: int | None = None) -> list[str]:
        entries = [answer.entry or "" for answer in answers]
        highest = max(answer.seq or 0 for answer in answers) if as_of is None else as_of
        return [a.state for a in policy.bodies_for(self.reads, caller, self.ident, entries, highest)]

    def seen_by(self, person: str) -> list[tuple[int, str]]:
        return [(row.seq, row.kind) for row in policy.visible(self.reads, person, self.ident, 0, 100)[0]]


@pytest.fixture
def room() -> Iterator[Room]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    connection.execute("INSERT INTO meta(epoch) VALUES (1)")
    yield Room(connection)
    connection.close()


def test_a_region_gets_only_what_somebody_there_may_see(room: Room) -> None:
    before = room.say("before he came")
    room.member(True)
    while_there = room.say("while he was there")
    room.member(False)
    after = room.say("after he left")
    assert room.ask(before, while_there, after) == ["hidden", "ok", "hidden"]
    assert room.ask(before, while_there, after, caller="anz") == ["hidden", "hidden", "hidden"]


def test_nothing_is_answered_beyond_our_own_copy(room: Room) -> None:
    room.member(True)
    said = room.say("hello")
    assert room.ask(said, as_of=(said.seq or 0) + 1) == ["not_yet"]


def test_an_entry_of_another_room_is_hidden(room: Room) -> None:
    room.member(True)
    other = Room(room.connection)
    said = other.say("elsewhere")
    assert room.ask(said, as_of=1) == ["hidden"]


def test_redacted_text_is_erased_for_everybody(room: Room) -> None:
    room.member(True)
    said = room.say("regret")
    room.write(transactions.redact, room.ada, room.ident, said.entry)
    assert room.ask(said) == ["erased"]
    assert room.reads.bodies([said.entry or ""])[said.entry or ""].body is None


def test_one_who_left_still_learns_of_redactions_of_what_they_saw(room: Room) -> None:
    room.member(True)  # row 2
    seen = room.say("seen")  # row 3
    room.member(False)  # row 4
    unseen = room.say("unseen")  # row 5
    room.write(transactions.redact, room.ada, room.ident, unseen.entry)  # row 6
    room.write(transactions.redact, room.ada, room.ident, seen.entry)  # row 7
    assert room.seen_by(room.kenji) == [(2, "join"), (3, "entry"), (4, "leave"), (7, "redaction")]


def test_unread_counts_messages_of_others_only(room: Room) -> None:
    room.member(True)
    for n in range(3):
        room.say(str(n))
    room.write(transactions.post, Post(room.ada, room.ident, str(uuid.uuid4()), b'{"kind":"title"}', card=True))
    stream = room.reads.stream(room.ident)
    assert stream is not None
    assert policy.unread(room.reads, stream, room.kenji, 2) == 3
    assert policy.unread(room.reads, stream, room.ada, 2) == 0
    assert policy.unread(room.reads, stream, room.kenji, stream.head) == 0


def test_only_those_who_may_change_membership_do(room: Room) -> None:
    stranger = new_id("usr", "emea")
    for actor, person, join, state in (
        (stranger, stranger, True, "refused"),
        (stranger, room.kenji, True, "refused"),
        (room.ada, room.kenji, True, "done"),
        (room.kenji, room.ada, False, "refused"),
        (room.kenji, stranger, True, "done"),
        (stranger, stranger, False, "done"),
    ):
        assert room.write(transactions.change_member, room.ident, actor, person, join).state == state
