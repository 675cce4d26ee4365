"""Corner cases of the live core, as playbooks: rows in, what a session is shown out."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from moonbow.base.errors import Unavailable
from moonbow.gateway.flow import Flow
from moonbow.gateway.live import Item, Live, Open, Session, Snapshot
from moonbow.timeline.model import Row
from moonbow.timeline.ports import Store
from support import eventually_async

ROOM, ADA, BOB = "rom_emea_1", "usr_emea_1", "usr_emea_2"


def row(seq: int, kind: str, target: str | None = None) -> Item:
    return Item(Row(ROOM, seq, kind, None, BOB, target, 0, 1_000), None)


def test_a_late_leave_parts_nobody_who_was_shown_the_join_after_it() -> None:
    """Two devices, one room: the second reads beyond what live rows have told so far."""
    live = Live("emea")
    shown: dict[str, list[bytes]] = {"first": [], "second": []}
    sessions = [Session(name, ADA, frames.append) for name, frames in shown.items()]
    for session in sessions:
        live.add(session)
    live.begin(sessions[0], ROOM)
    live.opened(sessions[0], ROOM, Snapshot([], 1, True), 0.0)
    live.begin(sessions[1], ROOM)
    live.opened(sessions[1], ROOM, Snapshot([row(2, "leave", ADA), row(3, "join", ADA)], 3, True), 0.0)
    live.rows([row(2, "leave", ADA), row(3, "join", ADA)], 0.0)
    before = len(shown["second"])
    live.rows([row(4, "join", BOB)], 0.0)
    assert len(shown["second"]) == before + 1
    assert sessions[1] in live.streams[ROOM].sessions


def test_a_snapshot_older_than_what_was_pushed_leaves_no_hole() -> None:
    """A node may be a moment behind the bus, and a session registers after its snapshot was read."""
    live = Live("emea")
    shown: dict[str, list[bytes]] = {"first": [], "second": []}
    sessions = [Session(name, ADA, frames.append) for name, frames in shown.items()]
    for session, head in zip(sessions, (5, 5), strict=True):
        live.add(session)
        live.begin(session, ROOM, head)
        live.opened(session, ROOM, Snapshot([], head, True), 0.0)
        live.rows([row(6, "join", BOB)], 0.0)
    assert [work.session for work in live.work] == [sessions[1]], "the second is to be opened anew, from a newer state"
    live.opened(sessions[1], ROOM, Snapshot([row(6, "join", BOB)], 6, True), 0.0)
    live.rows([row(7, "leave", BOB)], 0.0)
    assert len(shown["first"]) == len(shown["second"]) == 2


def test_a_room_that_a_snapshot_does_not_have_yet_is_announced_before_its_rows() -> None:
    """The invitation has arrived, the room's order has not; rows come live before the session registers."""
    live = Live("emea")
    early, late = (Session(name, ADA, list[bytes]().append) for name in ("early", "late"))
    live.add(early)
    live.begin(early, ROOM, 8)
    live.opened(early, ROOM, Snapshot([], 8, True), 0.0)
    live.rows([row(9, "join", BOB)], 0.0)
    live.add(late)
    live.begin(late, ROOM, 0)
    live.opened(late, ROOM, Snapshot([], 0, False), 0.0)
    assert live.work == [Open(late, ROOM, announce=True)]


class Fickle:
    """A store that answers as often as it is told to, then not for the moment."""

    region = "emea"

    def __init__(self) -> None:
        self.answers = 0
        self.asked = 0

    async def read(self, work: object, *args: object) -> object:
        self.asked += 1
        if self.asked > self.answers:
            raise Unavailable("busy", "too many reads are waiting here")
        return [], {"inb" + ADA[3:]: (0, True), ROOM: (5, True)}

    read_latest = read


def test_a_store_that_is_away_leaves_no_half_session_and_ends_no_loop() -> None:
    async def go() -> None:
        store = Fickle()
        flow = Flow("gwy_emea_1", cast(Store, store))
        for answers in (0, 1):
            store.answers, store.asked = answers, 0
            with pytest.raises(Unavailable):
                await flow.hello(Session("half", ADA, [].append))
            assert not flow.live.people
            assert not any(stream.sessions for stream in flow.live.streams.values())
        store.answers = 0
        session = Session("whole", ADA, [].append)
        flow.live.add(session)
        flow.live.work.append(Open(session, ROOM))
        flow.live.begin(session, ROOM)
        flow._work.set()
        running, before = asyncio.create_task(flow.run()), store.asked
        await eventually_async(lambda: store.asked > before + 1)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(go())
