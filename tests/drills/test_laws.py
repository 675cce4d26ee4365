"""Each law of the drills holds over an honest history and fails over one with its fault planted."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.drills import laws
from moonbow.drills.history import Answered, Began, Filled, History, Line, Linked, Sent, Shown

READERS = ["ann", "bob", "cem", "dia"]
ROOMS = ["rom_a", "rom_b"]
replace = msgspec.structs.replace


def honest(seed: int) -> History:
    """A history as a sound service would make it: two rooms, four people, lost lines, late bodies, kept posts."""
    rng, seen, now = random.Random(seed), History(), 0.0
    rooms: dict[str, list[Line]] = {room: [] for room in ROOMS}
    cursor = {(reader, room): 0 for reader in READERS for room in ROOMS}
    up = dict.fromkeys(READERS, True)
    for reader in READERS:
        seen.linked.append(Linked(reader, "up", "paris", "", 0.0))
        seen.began += [Began(reader, room, 0) for room in ROOMS]

    def show(reader: str) -> None:
        for room in ROOMS:
            for line in rooms[room][cursor[reader, room] :]:
                late = line.text is not None and rng.random() < 0.2
                seen.shown.append(Shown(reader, room, replace(line, text=None, state="waiting") if late else line, now))
                if late and line.id is not None:
                    seen.filled.append(Filled(reader, room, line.id, line.text, "ok", now + 0.1))
            cursor[reader, room] = len(rooms[room])

    for no in range(rng.randrange(30, 60)):
        now += rng.random()
        author, room = rng.choice(READERS), rng.choice(ROOMS)
        sent = Sent(author, room, f"client-{no}", f"text {no}", now)
        seen.sent.append(sent)
        if no > 20 and rng.random() < 0.2:
            seen.answered.append(Answered(sent.client_id, "refused", None, None, "not_member", now + 0.1))
            continue
        line = Line(len(rooms[room]) + 1, "entry", f"ent_{no}", author, None, sent.text, "ok")
        if rng.random() < 0.3:
            seen.answered.append(Answered(sent.client_id, "kept", line.id, None, None, now + 0.1))
        rooms[room].append(line)
        seen.answered.append(Answered(sent.client_id, "placed", line.id, line.seq, None, now + 0.2))
        now += 0.3
        for reader in READERS:
            if not up[reader] and rng.random() < 0.5:
                up[reader] = True
                show(reader)
                seen.linked.append(Linked(reader, "up", "frankfurt", "", now))
            elif up[reader] and rng.random() < 0.1:
                up[reader] = False
                seen.linked.append(Linked(reader, "down", "paris", "1006", now))
            elif up[reader]:
                show(reader)
    for reader in READERS:
        show(reader)
        if not up[reader]:
            seen.linked.append(Linked(reader, "up", "frankfurt", "", now))
        seen.final[reader] = {room: list(lines) for room, lines in rooms.items()}
    return seen


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_laws_hold_over_honest_histories(seed: int) -> None:
    assert [verdict for verdict in laws.standard_laws(honest(seed)) if not verdict.held] == []


def drop_from_every_reading(seen: History, rng: random.Random) -> None:
    line = rng.choice(seen.final["ann"]["rom_a"])
    for rooms in seen.final.values():
        rooms["rom_a"].remove(line)


def stand_twice(seen: History, rng: random.Random) -> None:
    line = rng.choice(seen.final["ann"]["rom_a"])
    for rooms in seen.final.values():
        rooms["rom_a"].append(replace(line, seq=len(rooms["rom_a"]) + 1, id="ent_again"))


def place_the_refused(seen: History, rng: random.Random) -> None:
    answer = next(a for a in seen.answered if a.state == "placed")
    seen.answered.append(replace(answer, state="refused"))


def lie_about_the_place(seen: History, rng: random.Random) -> None:
    no = rng.choice([no for no, a in enumerate(seen.answered) if a.seq is not None])
    seen.answered[no] = replace(seen.answered[no], seq=(seen.answered[no].seq or 0) + 1)


def show_again(seen: History, rng: random.Random) -> None:
    seen.shown.append(rng.choice(seen.shown))


def show_one_less(seen: History, rng: random.Random) -> None:
    seen.shown.remove(rng.choice(seen.shown))


def swap_for_one_reader(seen: History, rng: random.Random) -> None:
    lines = seen.final["bob"]["rom_a"]
    a, b = rng.sample(range(len(lines)), 2)
    lines[a], lines[b] = replace(lines[b], seq=lines[a].seq), replace(lines[a], seq=lines[b].seq)


def other_text_on_screen(seen: History, rng: random.Random) -> None:
    no = rng.choice([no for no, shown in enumerate(seen.shown) if shown.line.state == "ok"])
    seen.shown[no] = replace(seen.shown[no], line=replace(seen.shown[no].line, text="something else"))


def forget_a_late_body(seen: History, rng: random.Random) -> None:
    seen.filled.remove(rng.choice(seen.filled))


def end_a_session(seen: History, rng: random.Random) -> None:
    seen.linked.append(Linked("cem", "ended", "paris", "revoked", 1.0))


def place_against_the_authors_order(seen: History, rng: random.Random) -> None:
    seen.sent += [Sent("ann", "rom_a", "late-1", "first", 900.0), Sent("ann", "rom_a", "late-2", "second", 902.0)]
    seen.answered.append(Answered("late-1", "kept", "ent_l1", None, None, 901.0))
    seen.answered.append(Answered("late-2", "kept", "ent_l2", None, None, 903.0))
    head = len(seen.final["ann"]["rom_a"])
    wrong = [
        Line(head + 1, "entry", "ent_l2", "ann", None, "second", "ok"),
        Line(head + 2, "entry", "ent_l1", "ann", None, "first", "ok"),
    ]
    for reader in READERS:
        seen.final[reader]["rom_a"] += wrong
        seen.shown += [Shown(reader, "rom_a", line, 904.0) for line in wrong]


def leave_a_place_empty(seen: History, rng: random.Random) -> None:
    for rooms in seen.final.values():
        rooms["rom_a"][-1] = replace(rooms["rom_a"][-1], seq=rooms["rom_a"][-1].seq + 1)


PLANTED: list[tuple[Callable[[History, random.Random], None], str]] = [
    (drop_from_every_reading, "finally_no_acked_message_is_lost"),
    (stand_twice, "finally_no_message_stands_twice"),
    (place_the_refused, "finally_refused_is_nowhere"),
    (lie_about_the_place, "always_answers_are_true"),
    (show_again, "always_rows_come_once_and_in_order"),
    (show_one_less, "finally_everyone_was_shown_everything"),
    (other_text_on_screen, "finally_everyone_was_shown_everything"),
    (forget_a_late_body, "finally_everyone_was_shown_everything"),
    (swap_for_one_reader, "finally_all_see_the_same_order"),
    (leave_a_place_empty, "finally_order_is_dense"),
    (place_against_the_authors_order, "finally_authors_order_is_kept"),
    (end_a_session, "always_signed_in"),
]


@pytest.mark.parametrize(("plant", "law"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_planted_fault_is_caught(plant: Callable[[History, random.Random], None], law: str, seed: int) -> None:
    seen = honest(seed)
    plant(seen, random.Random(seed))
    broken = {verdict.law: verdict for verdict in laws.standard_laws(seen) if not verdict.held}
    assert law in broken
    assert broken[law].evidence


def test_every_standard_law_has_a_planted_fault() -> None:
    assert {law for _, law in PLANTED} == {verdict.law for verdict in laws.standard_laws(honest(1))}


def linked(*what: tuple[str, float]) -> History:
    seen = History()
    seen.linked = [Linked("ann", "up", "paris", "", 0.0)]
    seen.linked += [Linked("ann", kind, "paris", "", at) for kind, at in what]  # type: ignore[arg-type]
    return seen


def test_back_in_time_counts_from_the_fault_to_the_last_up() -> None:
    seen = linked(("down", 10.1), ("up", 10.5), ("down", 10.6), ("up", 11.0))
    assert laws.back_times(seen, ["ann"], 10.0) == {"ann": pytest.approx(1.0)}
    assert laws.eventually_back(seen, ["ann"], 10.0, 3.0).held
    assert not laws.eventually_back(seen, ["ann"], 10.0, 0.9).held


def test_who_never_comes_back_breaks_the_law() -> None:
    assert not laws.eventually_back(linked(("down", 10.1)), ["ann"], 10.0, 3.0).held
    assert not laws.eventually_back(History(), ["ann"], 10.0, 3.0).held


def test_who_was_never_down_is_back_at_once_and_undisturbed() -> None:
    assert laws.back_times(linked(), ["ann"], 10.0) == {"ann": 0.0}
    assert laws.always_undisturbed(linked(), ["ann"], 0.0).held
    assert not laws.always_undisturbed(linked(("down", 1.0), ("up", 1.1)), ["ann"], 0.0).held


def test_shown_too_late_or_never_is_noticed() -> None:
    seen = History()
    seen.sent = [Sent("ann", "rom_a", "c", "hello", 1.0)]
    line = Line(1, "entry", "ent_1", "ann", None, "hello", "ok")
    seen.final = {"bob": {"rom_a": [line]}}
    assert not laws.eventually_shown(seen, "near", ["rom_a"], (0.0, 2.0), 5.0).held
    seen.shown = [Shown("bob", "rom_a", line, 4.0)]
    assert laws.eventually_shown(seen, "near", ["rom_a"], (0.0, 2.0), 3.5).held
    assert not laws.eventually_shown(seen, "near", ["rom_a"], (0.0, 2.0), 2.5).held
    assert laws.eventually_shown(seen, "near", ["rom_a"], (0.0, 2.0), 2.5, counted_from=3.0).held
    assert laws.eventually_shown(seen, "near", ["rom_a"], (2.0, 3.0), 0.0).held, "sent at another time"
    assert laws.eventually_shown(seen, "near", ["rom_b"], (0.0, 2.0), 0.0).held, "another room"


def test_redacted_text_and_rows_after_removal_are_noticed() -> None:
    line = Line(5, "entry", "ent_5", "ann", None, "hello", "ok")
    seen = History(final={"bob": {"rom_a": [line]}})
    assert not laws.finally_redacted_is_gone(seen, {"ent_5"}).held
    assert laws.finally_redacted_is_gone(seen, {"ent_6"}).held
    assert not laws.finally_removed_sees_nothing_more(seen, {("bob", "rom_a"): 4}).held
    assert laws.finally_removed_sees_nothing_more(seen, {("bob", "rom_a"): 5}).held
