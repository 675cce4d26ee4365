"""The algebra of health: worst wins, the operator's word beats all, and nothing flaps for long."""

from __future__ import annotations

from math import log2

from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.director.algebra import Rules, combine, judge_door, judge_site, next_hold_s, settle
from moonbow.director.model import DoorHealth, Overrides, SiteHealth, Verdict

RULES = Rules(stay_s=1.0, hold_max_s=16.0, calm_s=30.0)
UP, DOWN = DoorHealth(True, "answers"), DoorHealth(False, "refuses connections")


def watched(looks: list[tuple[float, bool]], rules: Rules = RULES, quorum: bool = False) -> list[tuple[float, bool]]:
    """The changes (when, to what) of a door that is looked at after each of the pauses given."""
    judge = settle if quorum else judge_door
    door = judge(DoorHealth(), True, "answers", 0.0, rules)
    now_s, changes = 0.0, []
    for pause_s, passed in looks:
        now_s += pause_s
        after = judge(door, passed, "answers" if passed else "hangs", now_s, rules)
        if after.up is not door.up:
            changes.append((now_s, bool(after.up)))
        door = after
    return changes


LOOKS = st.lists(st.tuples(st.sampled_from([0.25, 0.5, 1.0, 5.0, 29.0, 31.0]), st.booleans()), max_size=600)


@st.composite
def oscillations(draw: st.DrawFn) -> list[tuple[float, bool]]:
    """The worst an enemy can do: just enough failures and passes, over and over, with a rest now and then."""
    looks: list[tuple[float, bool]] = []
    for _ in range(draw(st.integers(1, 60))):
        looks += [(0.25, False)] * draw(st.integers(1, 3))
        looks += [(0.25, True)] * draw(st.integers(1, 80))
        looks += [(draw(st.sampled_from([0.25, 10.0, 31.0, 100.0])), True)]
    return looks


@settings(max_examples=200, deadline=None)
@given(looks=st.one_of(LOOKS, oscillations()), quorum=st.booleans())
def test_always_a_bounded_number_of_changes(looks: list[tuple[float, bool]], quorum: bool) -> None:
    changes = watched(looks, RULES, quorum)
    lasted_s = sum(pause_s for pause_s, _ in looks)
    doublings = log2(RULES.hold_max_s / RULES.stay_s)
    bound = 2 * (2 + doublings + lasted_s / RULES.calm_s + lasted_s / RULES.hold_max_s)
    assert len(changes) <= bound
    downs = [at_s for at_s, up in changes if not up]
    ups = [at_s for at_s, up in changes if up]
    assert all(up_s - down_s >= RULES.stay_s for down_s, up_s in zip(downs, ups, strict=False)), "the minimum stay"


def test_down_fast_up_slowly() -> None:
    looks = [(0.25, passed) for passed in (False, True, False, False, True, True, True, True, True)]
    assert watched(looks) == [(1.0, False), (2.0, True)], "up after three passes, and a second at least"


def test_the_hold_down_doubles_and_is_forgiven() -> None:
    calm = DoorHealth(True, "answers", 0, 9, 0.0, 8.0)
    assert next_hold_s(calm, 1.0, RULES) == 16.0
    assert next_hold_s(calm, 31.0, RULES) == 8.0
    assert next_hold_s(calm, 61.0, RULES) == 4.0
    assert next_hold_s(calm, 1e9, RULES) == RULES.stay_s
    assert next_hold_s(calm._replace(hold_s=16.0), 1.0, RULES) == RULES.hold_max_s
    assert next_hold_s(calm._replace(hold_s=0.0), 1.0, RULES) == RULES.stay_s
    assert next_hold_s(calm, -1e6, RULES) == 16.0, "a clock that goes back forgives nothing"


def test_a_door_that_is_held_back_says_so() -> None:
    door = DoorHealth(False, "hangs", 2, 0, 100.0, 8.0)
    for number in range(4):
        door = judge_door(door, True, "answers", 101.0 + number, RULES)
    assert door.up is False
    assert door.why == "answers again, but is held back 8 s after it went down"
    assert judge_door(door, True, "answers", 108.0, RULES).up


VERDICTS = st.lists(st.builds(Verdict, st.integers(0, 3), st.sampled_from(["a", "b", "c"])), max_size=5)


@given(some=VERDICTS, more=VERDICTS)
def test_combine_is_as_bad_as_the_worst(some: list[Verdict], more: list[Verdict]) -> None:
    found = combine(some + more)
    assert found.trouble == max((verdict.trouble for verdict in some + more), default=0)
    assert found.trouble == combine([combine(some), combine(more)]).trouble
    assert found.trouble == combine(more + some).trouble
    assert found.why


@given(door=st.sampled_from([UP, DOWN]), trouble=st.sampled_from(["", "its store is lost"]), wish=st.integers(0, 7))
def test_the_operators_word_beats_every_look(door: DoorHealth, trouble: str, wish: int) -> None:
    here = frozenset({"paris"})
    none: frozenset[str] = frozenset()
    drain, down, up = (here if wish & bit else none for bit in (1, 2, 4))
    said = {"paris": "kim: new kernel"}
    health = SiteHealth((door,), trouble)
    found = judge_site("paris", health, Overrides(drain, down, up, said=said))
    ill = door.up is False or bool(trouble)
    if down:
        assert found == Verdict(3, "declared down by kim: new kernel")
    elif drain:
        assert found.trouble == (2 if ill else 1)
        assert found.why.startswith("drained by kim: new kernel")
    elif up:
        assert found == Verdict(0, "declared up by kim: new kernel")
    else:
        assert found.trouble == (2 if ill else 0)
    assert judge_site("lyon", health, Overrides(drain, down, up)).trouble == (2 if ill else 0)
