"""Decides whether a request to another region is tried, so that a region that is cut off costs time only at first.

Pure: times are seconds of a monotonic clock, given by the caller.  Laws: a silent region is open; an open one closes
only by an answer to a probe; while it is open no request of a user waits for it.

    closed     requests pass; SILENCE_S without a beat or answer, or FAILURES_MAX failures in a row, open it
    open       requests fail at once; every PROBE_S one probe of the bus itself is due
    half_open  a probe is on its way: its answer closes, its failure opens again
"""

from __future__ import annotations

from typing import Literal

import msgspec

SILENCE_S = 3.0
FAILURES_MAX = 3
PROBE_S = 1.0

State = Literal["closed", "open", "half_open"]


class Breaker(msgspec.Struct, frozen=True):
    """What is known of one region.  `since` is when it was last heard before it opened."""

    heard_at: float
    failures: int = 0
    state: State = "closed"
    since: float | None = None
    probed_at: float = float("-inf")
    reason: str = ""


def beat(breaker: Breaker, now: float) -> Breaker:
    """A heartbeat came.  It shows one direction only, so it does not close an open breaker; the next probe may."""
    return msgspec.structs.replace(ticked(breaker, now), heard_at=now)


def answered(breaker: Breaker, now: float) -> Breaker:
    """A request or probe was answered, with a result or a refusal: the way there and back works."""
    return Breaker(heard_at=now)


def failed(breaker: Breaker, now: float) -> Breaker:
    """A request or probe had no answer."""
    failures = min(breaker.failures + 1, FAILURES_MAX)
    failing = msgspec.structs.replace(breaker, failures=failures)
    if breaker.state != "closed":
        return msgspec.structs.replace(failing, state="open")
    if failures >= FAILURES_MAX:
        return _opened(failing, f"{FAILURES_MAX} requests in a row had no answer")
    return failing


def ticked(breaker: Breaker, now: float) -> Breaker:
    """Time passed."""
    if breaker.state == "closed" and now - breaker.heard_at > SILENCE_S:
        return _opened(breaker, f"no heartbeat for {SILENCE_S:g} s")
    return breaker


def forgiven(breaker: Breaker, now: float) -> Breaker:
    """We ourselves were stopped until `now`: a region's silence meanwhile says nothing."""
    return msgspec.structs.replace(breaker, heard_at=now) if breaker.state == "closed" else breaker


def may_call(breaker: Breaker, now: float) -> bool:
    """Whether a user's request is worth trying."""
    return ticked(breaker, now).state == "closed"


def probe_due(breaker: Breaker, now: float) -> bool:
    """Whether the bus should ask the region if it is back."""
    return breaker.state == "open" and now - breaker.probed_at >= PROBE_S


def probing(breaker: Breaker, now: float) -> Breaker:
    """A probe was sent."""
    return msgspec.structs.replace(breaker, state="half_open", probed_at=now)


def _opened(breaker: Breaker, reason: str) -> Breaker:
    return msgspec.structs.replace(breaker, state="open", since=breaker.heard_at, reason=reason)
