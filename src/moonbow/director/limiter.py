"""Response-rate limiting: how many replies over UDP a network gets, so that nobody floods somebody else through us.

Laws: a network that asks less than the rate is never limited; one that asks more gets about the rate, and of the rest
every `slip`-th as a short reply that says "come over TCP"; memory is bounded, whatever sources are made up.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

PREFIXES_MAX = 65_536
BIG_REPLY_BYTES = 512
BIG_COSTS = 10  # replies


class Rates(NamedTuple):
    """Replies a second to one /24 or /56 (0: no limit), and which of the limited ones get a short reply (0: none)."""

    per_s: int = 1_000
    slip: int = 2


class Said(enum.Enum):
    """What becomes of a reply beyond the limit."""

    SLIP = 1
    DROP = 2


def cost_of(size: int) -> int:
    """What a reply of `size` bytes counts."""
    return BIG_COSTS if size > BIG_REPLY_BYTES else 1


class Limiter:
    """Counts by prefix in windows of a second; who went over the rate takes the excess, up to a rate, along.

    The counts are open, so that the desk can count without a call: it adds a reply's cost to `counts[prefix]`, the
    network being a /24 of IPv4 or a /56 of IPv6, and asks `judge` when that exceeds `allowed`.
    """

    def __init__(self, rates: Rates) -> None:
        self.rates = rates
        self.allowed = rates.per_s or 1 << 62
        self.counts: dict[bytes, int] = {}
        self.overflows = 0
        self._turn = 0

    def judge(self, prefix: bytes) -> Said:
        """What to do with a reply that may not go."""
        self.counts[prefix] = min(self.counts[prefix], 2 * self.allowed)
        if not self.rates.slip:
            return Said.DROP
        self._turn = (self._turn + 1) % self.rates.slip
        return Said.DROP if self._turn else Said.SLIP

    def tick(self) -> None:
        """A second has passed."""
        allowed = self.allowed
        self.counts = {prefix: count - allowed for prefix, count in self.counts.items() if count > allowed}

    def trim(self) -> None:
        """Forget those that asked little, if there are too many: such a flood is too broad to be limited by network."""
        if len(self.counts) > PREFIXES_MAX:
            self.overflows += 1
            busy = sorted(self.counts.items(), key=lambda item: -item[1])[: PREFIXES_MAX // 8]
            self.counts = dict(busy)
