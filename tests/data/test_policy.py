"""How a data node starts: tables of what happened, and laws over any set of reports."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.data.model import Position
from moonbow.data.policy import (
    ALONE_S,
    GATHER_S,
    LEFT_OUT_S,
    REFORM_S,
    ROOM_BYTES,
    Action,
    Reports,
    count_held,
    decide_running,
    decide_start,
    is_apart,
    lacks_room,
    stop_turn,
)
from moonbow.wire.data import DataReport

NODES, WITNESSES = ("a", "b"), ("w",)
ONE, TWO = "1" * 8, "2" * 8  # histories
ALL = ("ia", "ib", "iw")


def report(site: str, seqno: int = 10, members: tuple[str, ...] = (), **more: object) -> DataReport:
    """A stopped node with data; in a view if `members` are given."""
    view = {"me": f"i{site}", "view": "v" + "".join(members), "members": members} if members else {}
    given = {"known": True, "history": ONE if seqno >= 0 else "", "seqno": seqno, **view, **more}
    return DataReport(site=site, **given)  # type: ignore[arg-type]


def reports(*heard: DataReport) -> Reports:
    return Reports(NODES, WITNESSES, {one.site: one for one in heard})


def witness(**more: object) -> DataReport:
    return report("w", -1, **more)  # type: ignore[arg-type]


def ran_on(**more: object) -> DataReport:
    """A witness that outlived the nodes."""
    return witness(running=True, **more)


def reforming(site: str) -> DataReport:
    """A node or witness that was started from its saved view."""
    return report(site, 9 if site in NODES else -1, ALL, running=True, reforming=True)


@pytest.mark.parametrize(
    ("me", "heard", "action", "why"),
    [
        ("a", [report("a", -1), report("b", -1), witness()], "begin", "nobody holds more"),
        ("b", [report("a", -1), report("b", -1), witness()], "wait", "a holds more, or as much and goes first"),
        ("a", [report("a", -1), report("b", 5)], "wait", "b holds more"),
        ("b", [report("a", -1), report("b", 5)], "begin", "more than its 5 changes"),
        ("a", [report("a", 9)], "wait", "not known what b holds"),
        ("a", [report("a", 9), report("b", known=False, running=True)], "wait", "not known what b holds"),
        ("a", [report("a", 9), witness()], "wait", "not known what b holds"),
        ("w", [witness()], "wait", "a witness waits"),
        ("w", [report("a", 9, primary=True), witness()], "join", "a serves"),
        ("a", [report("a", 12), report("b", 9, primary=True)], "join", "b serves"),
        ("a", [report("a", 9), report("b", 9, history=TWO)], "wait", "different histories"),
        ("a", [report("a", 9, ALL), report("b", 10, ALL), witness(members=ALL)], "reform", "all 3"),
        ("w", [report("a", 9, ALL), report("b", 10, ALL), witness(members=ALL)], "reform", "all 3"),
        ("a", [report("a", 12, ("ia", "iw")), report("b", 9, ALL), witness(members=("ia", "iw"))], "reform", "all 2"),
        ("b", [report("a", 12, ("ia", "iw")), report("b", 9, ALL), witness(members=("ia", "iw"))], "wait", "a finds together"),
        ("b", [report("b", 9, ALL), witness(members=("ia", "iw"))], "wait", "not known what a holds"),
        ("a", [report("a", 9, ALL), report("b", 9, ALL)], "wait", "others of the last component may come"),
        ("a", [report("a", 9, ALL), report("b", 10, ALL), ran_on(members=ALL)], "wait", "b holds more"),
        ("b", [report("a", 9, ALL), report("b", 10, ALL), ran_on(members=ALL)], "begin", "more than its 10 changes"),
        ("b", [reforming("a"), report("b", 10, ALL), reforming("w")], "reform", "all 3"),
        ("a", [report("a", 9, safe=True)], "wait", "not known what b holds"),
        ("b", [report("a", 9), report("b", 9, safe=True)], "begin", "nobody holds more"),
        ("a", [report("a", known=False), report("b", 5)], "wait", "its own position"),
    ],
)  # fmt: skip
def test_at_first_sight(me: str, heard: list[DataReport], action: str, why: str) -> None:
    decision = decide_start(me, reports(*heard))
    assert decision.action == action
    assert why in decision.why


def test_a_node_that_could_not_apply_a_change_does_not_count_it() -> None:
    assert count_held(Position(ONE, 301), spoilt=True) == Position(ONE, 300)
    assert count_held(Position(ONE, 301), spoilt=False) == Position(ONE, 301)
    assert count_held(Position(), spoilt=True) == Position()


def test_a_node_starts_where_there_is_room() -> None:
    assert not lacks_room(ROOM_BYTES)
    assert lacks_room(5 * 1_048_576 + 17) == "its disk is full: 5 MB are free, 256 MB wanted"


def test_who_waits_long_enough_for_others_begins_without_them() -> None:
    saved = reports(report("a", 9, ALL), report("b", 9, ALL))
    assert decide_start("a", saved, waited_s=GATHER_S).action == "begin"
    last = reports(report("a", 9, safe=True))
    assert decide_start("a", last, waited_s=ALONE_S - 0.1).action == "wait"
    assert decide_start("a", last, waited_s=ALONE_S).action == "begin"
    assert decide_start("a", reports(report("a", 9)), waited_s=1e9).action == "wait"


def test_the_operators_word_stands_above_what_is_unknown_but_not_above_what_is_known() -> None:
    assert decide_start("a", reports(report("a", 9)), forced=True).action == "begin"
    assert decide_start("a", reports(report("a", 12), report("b", 9, history=TWO)), forced=True).action == "begin"
    assert decide_start("a", reports(report("a", 9), report("b", 10)), forced=True).action == "wait"
    assert decide_start("a", reports(report("a", 9), report("b", 3, primary=True)), forced=True).action == "join"
    assert decide_start("w", reports(witness()), forced=True).action == "wait"


def test_a_running_node_is_restarted_only_for_what_does_not_mend_itself() -> None:
    serving = report("b", 20, ("ib", "iw"), primary=True, running=True)
    left_out = reports(report("a", 9, ALL, running=True), serving, witness(members=("ib", "iw")))
    assert is_apart("a", left_out, "join")
    assert decide_running("a", left_out, REFORM_S - 1, "join", answers=True) is None
    decided = decide_running("a", left_out, REFORM_S, "join", answers=True)
    assert decided == ("join", "b serves, and it did not find there in 25 s")
    assert decide_running("a", left_out, LEFT_OUT_S, "reform", answers=False) is not None
    receiving = msgspec.structs.replace(serving, members=("ia", "ib"))
    assert not is_apart("a", reports(report("a", -1, ("ia", "ib"), running=True), receiving), "join")
    assert not is_apart("a", reports(report("a", 9, running=True)), "begin")


def test_two_that_cannot_find_a_majority_begin_anew_and_one_alone_does_not() -> None:
    apart = reports(report("a", 9, ALL, running=True), report("b", 8, ALL, running=True))
    assert is_apart("a", apart, "join")
    decided = decide_running("a", apart, REFORM_S, "join", answers=True)
    assert decided is not None
    assert decided.action == "begin"
    assert decide_running("b", apart, REFORM_S, "join", answers=True) is None
    alone = reports(report("a", 9, ALL, running=True), witness(members=ALL))
    assert decide_running("a", alone, 1e6, "join", answers=True) is None


def test_who_found_nobody_does_not_stay() -> None:
    alone = reports(report("a", 9, ALL, running=True), witness(members=ALL, running=True))
    for how, answers in (("reform", False), ("join", False), ("reform", True)):
        assert decide_running("a", alone, REFORM_S - 1, how, answers) is None
        decided = decide_running("a", alone, REFORM_S, how, answers)
        assert decided == ("wait", "it found nobody in 25 s")


def test_who_leaves_last_comes_first() -> None:
    turns = {site: stop_turn(NODES, site) for site in ("w", "b", "a")}
    assert turns == {"w": 0, "b": 1, "a": 2}


views = st.sampled_from([(), ALL, ("ia", "iw"), ("ib", "iw"), ("ia", "ib"), ("ia",)])
nodes = st.builds(
    lambda seqno, members, more: (seqno, members, more),
    st.integers(-1, 3),
    views,
    st.fixed_dictionaries({
        "known": st.booleans(), "safe": st.booleans(), "running": st.booleans(), "primary": st.booleans(),
    }),
)  # fmt: skip
worlds = st.fixed_dictionaries({}, optional={"a": nodes, "b": nodes, "w": nodes})


def _reports(found: dict[str, tuple[int, tuple[str, ...], dict[str, bool]]]) -> Reports:
    return reports(*(report(site, seqno, members, **more) for site, (seqno, members, more) in found.items()))


@given(worlds, st.sampled_from([0.0, GATHER_S, ALONE_S, 1e6]), st.sets(st.sampled_from(["a", "b", "w"])))
def test_for_one_set_of_reports_at_most_one_begins(found: dict, waited_s: float, forced: set[str]) -> None:  # type: ignore[type-arg]
    known = _reports(found)
    decided = {site: decide_start(site, known, site in forced, waited_s) for site in known.heard}
    beginning = [site for site, decision in decided.items() if decision.action == "begin"]
    assert len(beginning) <= 1
    assert not beginning or all(decision.action != "reform" for decision in decided.values())
    for site in beginning:
        own = known.heard[site]
        assert not any(one.primary for name, one in known.heard.items() if name in NODES and name != site)
        assert all(one.seqno <= own.seqno for one in known.of_nodes())
        assert site in NODES
        assert own.known
        assert site in forced or not known.unknown() or (own.safe and waited_s >= ALONE_S)


@given(
    worlds,
    st.sampled_from([0.0, LEFT_OUT_S, REFORM_S, 1e6]),
    st.sampled_from(["join", "reform", "begin"]),
    st.booleans(),
)
def test_nobody_running_begins_while_another_may_hold_more(
    found: dict, apart_s: float, how: Action, answers: bool
) -> None:  # type: ignore[type-arg]
    known = _reports(found)
    decided = {site: decide_running(site, known, apart_s, how, answers) for site in known.heard}
    beginning = [site for site, decision in decided.items() if decision and decision.action == "begin"]
    assert len(beginning) <= 1
    for site in beginning:
        assert not known.unknown() or known.heard[site].safe
        assert all(one.seqno <= known.heard[site].seqno for one in known.of_nodes())
