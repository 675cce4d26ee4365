"""Numbers out of a history: how long answers, showings and outages took."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from .history import History
from .laws import back_times


class Spread(msgspec.Struct, frozen=True):
    """Percentiles of something measured, in seconds; `count` tells how far to trust them."""

    count: int
    p50_s: float
    p99_s: float
    max_s: float


def spread(values: Iterable[float]) -> Spread:
    """Percentiles by nearest rank; zeros when there is nothing."""
    found = sorted(values)
    if not found:
        return Spread(0, 0.0, 0.0, 0.0)

    def rank(ratio: float) -> float:
        return found[min(len(found) - 1, int(ratio * len(found)))]

    return Spread(len(found), rank(0.5), rank(0.99), found[-1])


def answer_times(seen: History) -> Spread:
    """From the first sending of a message to its first answer."""
    sent = {one.client_id: one.at for one in seen.sent}
    first: dict[str, float] = {}
    for answer in seen.answered:
        first.setdefault(answer.client_id, answer.at)
    return spread(at - sent[client_id] for client_id, at in first.items())


def showing_times(seen: History) -> Spread:
    """From the first sending of a message to each showing of its text, live or after a resume."""
    sent = {one.text: one.at for one in seen.sent}
    texts = [(shown.line.text, shown.at) for shown in seen.shown] + [(filled.text, filled.at) for filled in seen.filled]
    return spread(at - sent[text] for text, at in texts if text is not None and text in sent)


def outage_times(seen: History, readers: Collection[str], since: float) -> Spread:
    """From `since` until each of these readers was up again with everything missed."""
    return spread(back_times(seen, readers, since).values())


def numbers(seen: History) -> dict[str, Spread | int]:
    """What every report says."""
    return {
        "messages sent": len(seen.sent),
        "rows shown": len(seen.shown),
        "connections lost": sum(link.what == "down" for link in seen.linked),
        "time to answer": answer_times(seen),
        "time to screen": showing_times(seen),
    }
