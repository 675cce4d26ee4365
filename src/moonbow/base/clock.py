"""Beats: loops that wait for the same beat wake their process once, and wake-ups are what an idle world pays for."""

from __future__ import annotations


def to_next_beat(interval_s: float, now: float) -> float:
    """Seconds from `now` until the next whole multiple of `interval_s` on the same clock; never 0."""
    return interval_s - now % interval_s
