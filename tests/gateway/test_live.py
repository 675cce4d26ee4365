"""Corner cases of the live core, as playbooks: rows in, what a session is shown out."""

from __future__ import annotations

from moonbow.gateway.live import Item, Live, Session, Snapshot
from moonbow.timeline.model import Row

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
