"""The laws of `stores.policy`, for every error and every standing of the nodes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moonbow.stores.policy import AWAY, MISCONFIGURED, OVERTAKEN, choose_node, decide_failure

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


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5), st.floats(0, 100))
def test_the_first_node_without_trouble_is_asked(until: list[float], now: float) -> None:
    chosen = choose_node(until, now)
    if any(time <= now for time in until):
        assert until[chosen] <= now
        assert all(time > now for time in until[:chosen])
    else:
        assert until[chosen] == min(until)
