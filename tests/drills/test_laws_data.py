"""Each law on a region's stores holds over what is sound, and fails over its planted fault."""

from __future__ import annotations

import pytest

from moonbow.drills import laws_data
from moonbow.drills.history import Answered, History, Sent, Uploaded

ROOM, OTHER = "rom_emea_1", "rom_emea_2"


def shared() -> History:
    """Two files that came back as they were sent."""
    seen = History()
    seen.uploaded = [Uploaded("ann", "fil_1", "a.bin", "d1", 1.0), Uploaded("ann", "fil_2", "b.bin", "d2", 2.0)]
    seen.fetched = {"fil_1": "d1", "fil_2": "d2"}
    seen.listed = {"ann": ["a.bin", "b.bin"]}
    return seen


def test_files_that_come_back_once_and_as_they_were_are_no_fault() -> None:
    assert laws_data.finally_no_acked_file_is_lost(shared()).held
    assert laws_data.finally_no_file_stands_twice(shared()).held


def test_a_file_that_is_lost_changed_or_doubled_is_noticed() -> None:
    lost, changed, doubled = shared(), shared(), shared()
    del lost.fetched["fil_1"]
    changed.fetched["fil_2"] = "d1"
    doubled.listed["ann"].append("a.bin")
    assert "is not there" in laws_data.finally_no_acked_file_is_lost(lost).evidence[0]
    assert "came back changed" in laws_data.finally_no_acked_file_is_lost(changed).evidence[0]
    assert "ann has a.bin 2 times" in laws_data.finally_no_file_stands_twice(doubled).evidence[0]


def writing(*placed: tuple[str, str, float]) -> History:
    """Messages by (author, room), each placed at a time."""
    seen = History()
    for no, (author, room, at) in enumerate(placed):
        seen.sent.append(Sent(author, room, f"c{no}", f"text {no}", at - 0.1))
        seen.answered.append(Answered(f"c{no}", "placed", f"ent_{no}", no + 1, None, at))
    return seen


def test_a_pause_lasts_from_the_fault_or_an_answer_to_the_next_or_the_end() -> None:
    seen = writing(("ann", ROOM, 9.9), ("ann", ROOM, 12.0), ("bob", OTHER, 13.0), ("bob", ROOM, 15.5))
    seen.answered.append(Answered("c2", "kept", "ent_2", None, None, 14.0))
    assert laws_data.write_pause_s(seen, [ROOM], 10.0, 16.0) == pytest.approx(3.5)
    assert laws_data.write_pause_s(seen, [ROOM, OTHER], 10.0, 16.0) == pytest.approx(2.5)
    assert laws_data.write_pause_s(seen, [ROOM], 10.0, 16.0, ["ann"]) == pytest.approx(4.0)
    assert laws_data.write_pause_s(History(), [ROOM], 10.0, 16.0) == pytest.approx(6.0)


def test_who_cannot_write_in_time_breaks_the_law() -> None:
    assert laws_data.eventually_written_again(2.5, 4.0).held
    verdict = laws_data.eventually_written_again(4.5, 4.0, "people of paris")
    assert not verdict.held
    assert "people of paris: longest pause 4.50 s, 4 s allowed" in verdict.said


def test_sites_that_differ_or_were_not_looked_at_are_noticed() -> None:
    same = {"stream": "a", "body": "b"}
    assert laws_data.finally_sites_hold_the_same({"paris": same, "frankfurt": dict(same)}).held
    other = laws_data.finally_sites_hold_the_same({"paris": same, "frankfurt": {**same, "body": "c"}})
    assert other.evidence == ["body differs between paris and frankfurt"]
    assert not laws_data.finally_sites_hold_the_same({"paris": same, "frankfurt": {"stream": "a"}}).held
    assert not laws_data.finally_sites_hold_the_same({"paris": same}).held
    assert not laws_data.finally_sites_hold_the_same({"paris": {}, "frankfurt": {}}).held
