"""How fast sign-in may be tried: growing delays for each login and each network of clients.

Laws: an attempt is charged before the password is looked at, so parallel guesses pay like successive ones; a delay
never exceeds its ceiling; time alone forgives everything; the table never exceeds its bound.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network


@dataclass(frozen=True, slots=True)
class Rule:
    """`free` attempts cost nothing; then 1 s, doubled each time up to `delay_s_max`; halved each `half_life_s`."""

    free: int
    delay_s_max: float
    half_life_s: float


LOGIN_RULE = Rule(free=5, delay_s_max=300.0, half_life_s=300.0)
NETWORK_RULE = Rule(free=30, delay_s_max=60.0, half_life_s=60.0)
KEYS_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Trail:
    """Failed attempts so far, fading with time, and until when the next one must wait."""

    failures: float = 0.0
    at: float = 0.0
    until: float = 0.0


def faded(rule: Rule, trail: Trail, now: float) -> float:
    """The failures that still count at `now`."""
    return float(trail.failures * 0.5 ** (max(0.0, now - trail.at) / rule.half_life_s))


def decide_wait(trail: Trail, now: float) -> float:
    """Seconds to wait before the next attempt; 0 when it may be made now."""
    return max(0.0, trail.until - now)


def after_attempt(rule: Rule, trail: Trail, now: float) -> Trail:
    """The trail once an attempt has been charged."""
    failures = faded(rule, trail, now) + 1
    over = failures - rule.free
    delay = min(rule.delay_s_max, 2.0 ** min(over - 1, 30)) if over >= 1 else 0.0
    return Trail(failures, now, now + delay)


def after_refund(rule: Rule, trail: Trail, now: float) -> Trail:
    """The trail when an attempt turned out to be nobody's fault."""
    failures = max(0.0, faded(rule, trail, now) - 1)
    return Trail(failures, now, trail.until if failures >= rule.free + 1 else now)


def network_of(client: str) -> str:
    """The network that a client's address counts for: /24 or /48; "unknown" for what is no address."""
    try:
        address = ip_address(client)
    except ValueError:
        return "unknown"
    if mapped := getattr(address, "ipv4_mapped", None):
        address = mapped
    return str(ip_network((address, 24 if isinstance(address, IPv4Address) else 48), strict=False))


class Throttle:
    """Trails by key, the most recently used `keys_max` of them.  In memory of one process."""

    def __init__(self, rule: Rule, keys_max: int = KEYS_MAX) -> None:
        self.rule = rule
        self.keys_max = keys_max
        self._trails: OrderedDict[str, Trail] = OrderedDict()

    def __len__(self) -> int:
        return len(self._trails)

    def wait_s(self, key: str, now: float) -> float:
        """Seconds that `key` must wait; 0 when it may try."""
        trail = self._trails.get(key)
        return decide_wait(trail, now) if trail else 0.0

    def charge(self, key: str, now: float) -> None:
        """Count an attempt before it is made."""
        self._keep(key, after_attempt(self.rule, self._trails.get(key, Trail()), now))

    def refund(self, key: str, now: float) -> None:
        """Take one attempt back: it was right, or could not be judged."""
        if trail := self._trails.get(key):
            self._keep(key, after_refund(self.rule, trail, now))

    def forgive(self, key: str) -> None:
        """Forget `key`: the right password was given."""
        self._trails.pop(key, None)

    def _keep(self, key: str, trail: Trail) -> None:
        self._trails[key] = trail
        self._trails.move_to_end(key)
        while len(self._trails) > self.keys_max:
            self._trails.popitem(last=False)
