"""The laws of `stores.policy`, for every error and every standing of the nodes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moonbow.stores.policy import AWAY, MISCONFIGURED, OVERTAKEN, Standing, decide_failure

CODES = st.sampled_from(sorted(AWAY | MISCONFIGURED | OVERTAKEN)) | st.integers(0, 5_000)


@given(CODES, st.booleans(), st.booleans())
def test_nothing_that_may_stand_is_done_twice_unless_it_may_be(code: int, committing: bool, repeatable: bool) -> None:
    verdict = decide_failure(code, committing=committing, repeatable=repeatable)
    if code in AWAY:
        assert verdict == ("unknown" if committing and not repeatable else "elsewhere")
    elif code in OVERTAKEN:
        assert verdict == "again"  # the engine says that it was rolled back
    else:
        assert verdict == ("config" if code in MISCONFIGURED else "broken")


EVENTS = st.lists(st.tuples(st.sampled_from(["answered", "failed"]), st.floats(0, 5)), max_size=40)


@given(EVENTS)
def test_the_own_node_is_asked_whenever_it_is_well_and_looked_at_seldom_when_it_is_not(
    events: list[tuple[str, float]],
) -> None:
    standing, now, well, looked_at = Standing(2, 4.0), 0.0, True, -100.0
    for outcome, pause in events:
        now += pause
        assert standing.choose(now) == (0 if well else 1)
        if not well:
            if standing.due(now) is None:
                continue
            assert now - looked_at >= 2.0 - 1e-6  # doubled with every failure
            assert standing.due(now) is None, "one look at a time"
        looked_at, well = now, outcome == "answered"
        if well:
            standing.answered(0)
        else:
            standing.failed(0, now)
    assert well or standing.due(now + 16.0) == 0


def test_no_work_waits_for_a_node_in_trouble_while_another_is_well() -> None:
    standing = Standing(2, 4.0)
    standing.failed(0, 0.0)
    assert [standing.choose(now) for now in (0.0, 2.0, 100.0)] == [1, 1, 1]
    assert [standing.due(now) for now in (1.9, 2.0, 2.1, 9.9, 10.0)] == [None, 0, None, None, 0]  # a look may hang too
    standing.answered(0)
    assert [standing.choose(6.0), standing.choose(6.0)] == [0, 0]
    assert standing.due(100.0) is None
    standing.failed(0, 7.0)
    standing.failed(1, 8.0)
    assert standing.choose(8.1) == 0  # the trouble of both stands; its own ends first
