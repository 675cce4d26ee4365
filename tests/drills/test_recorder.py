"""The recorder writes events down as they are; measures and reports read them back."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import msgspec
from rich.console import Console

from moonbow.drills.history import Done, History
from moonbow.drills.laws import Verdict
from moonbow.drills.measure import Spread, answer_times, numbers, showing_times, spread
from moonbow.drills.private import in_slot
from moonbow.drills.recorder import Recorder
from moonbow.drills.report import Report, save_report, show_report
from moonbow.sdk import BodyEvent, CaughtUp, Connected, Door, Ended, Lost, Posted, Room, RoomEvent, Row
from moonbow.world import parse_world

DOOR = Door(site="paris", region="emea", city="Paris", url="", address="127.0.0.1", port=1)


class Clock:
    """A clock that goes when told."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def room(ident: str, head: int) -> Room:
    return Room(
        id=ident, region="emea", kind="group", creator="usr_emea_1", title=None, title_state="ok", head=head, no=0,
        read=0, unread=0, members=2, others=[], joined=True, last_at=None,
    )  # fmt: skip


def entry(seq: int, text: str | None, state: str = "ok") -> Row:
    body = None if text is None else {"kind": "text", "text": text}
    return Row(stream="rom_emea_1", seq=seq, kind="entry", at="", no=seq, id=f"ent_{seq}", body=body, state=state)  # type: ignore[arg-type]


def test_what_is_owed_begins_at_the_first_sight_of_a_room() -> None:
    recorder = Recorder(Clock())
    recorder.take("ann", Connected("paris", "Paris", DOOR, False, [room("rom_emea_1", 4)]))
    recorder.take("ann", RoomEvent(room=room("rom_emea_2", 9)))
    recorder.take("ann", Connected("paris", "Paris", DOOR, True, [room("rom_emea_1", 8), room("rom_emea_3", 3)]))
    owed = {(began.room, began.head) for began in recorder.history.began}
    assert owed == {("rom_emea_1", 4), ("rom_emea_2", 0), ("rom_emea_3", 3)}


def test_rows_bodies_and_lines_are_written_with_their_times() -> None:
    clock = Clock()
    recorder = Recorder(clock)
    recorder.take("ann", Connected("paris", "Paris", DOOR, False, [room("rom_emea_1", 0)]))
    recorder.take("ann", CaughtUp())
    recorder.sent("bob", "rom_emea_1", "client-1", "hello")
    clock.at += 0.5
    recorder.answered(Posted(state="placed", client_id="client-1", id="ent_1", seq=1))
    recorder.take("ann", entry(1, None, "waiting"))
    clock.at += 0.5
    recorder.take("ann", BodyEvent(stream="rom_emea_1", id="ent_1", state="ok", body={"kind": "text", "text": "hello"}))
    recorder.take("ann", Lost("paris", DOOR, 1012, "drain"))
    recorder.take("ann", Ended("closed", "by the program"))
    recorder.take("ann", Ended("revoked", "elsewhere"))
    seen = recorder.history
    assert [(link.what, link.at) for link in seen.linked] == [("up", 0.0), ("down", 1.0), ("ended", 1.0)]
    assert seen.linked[1].reason == "1012 drain at the door of paris"
    assert answer_times(seen).max_s == 0.5
    assert showing_times(seen) == Spread(1, 1.0, 1.0, 1.0)
    assert numbers(seen)["connections lost"] == 1


def test_inbox_rows_are_not_rooms() -> None:
    recorder = Recorder(Clock())
    recorder.take("ann", Row(stream="inb_emea_1", seq=1, kind="added", at="", no=0, target="rom_emea_1"))
    assert recorder.history.shown == []


def test_spread_is_by_nearest_rank() -> None:
    assert spread([]) == Spread(0, 0.0, 0.0, 0.0)
    assert spread(float(n) for n in range(100)) == Spread(100, 50.0, 99.0, 99.0)


def report(*verdicts: Verdict) -> Report:
    return Report(
        drill="site-loss", world="laptop", seed=7, fast=True, started_at="2030-01-02T03:04:05+00:00", lasted_s=1.5,
        verdicts=list(verdicts), numbers={"time": Spread(1, 0.1, 0.2, 0.3)},
        done=[Done("kill [paris]", 0.5)],
    )  # fmt: skip


def test_report_is_read_back_and_shown(tmp_path: Path) -> None:
    broken = report(Verdict("always_x", False, "3 things: 1 faults", 1, ["[red]not markup[/]"]))
    path = save_report(broken, tmp_path / "reports", History())
    assert msgspec.json.decode(path.read_bytes(), type=Report) == broken
    assert path.with_suffix(".history.json").exists(), "what was seen is kept when a law is broken"
    out = StringIO()
    show_report(broken, Console(file=out, width=120))
    assert "BROKEN" in out.getvalue()
    assert "[red]not markup[/]" in out.getvalue()
    assert "kill [paris]" in out.getvalue()


def test_drill_without_laws_proves_nothing() -> None:
    assert not report().held
    assert report(Verdict("always_x", True, "fine")).held
    assert not report(Verdict("a", True, ""), Verdict("b", False, "")).held


def test_private_world_differs_in_its_slot_only() -> None:
    file = Path("worlds/laptop.toml")
    moved = parse_world(in_slot(file, 7))
    assert moved.slot == 7
    assert msgspec.structs.replace(moved, slot=0) == parse_world(file.read_text())
