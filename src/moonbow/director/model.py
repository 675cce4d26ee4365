"""Frozen values of the director: the map of the address space, health, the operator's wishes, a decision."""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
    """Sites of one region that are equally near to a client."""

    region: str
    sites: tuple[str, ...]


class Bucket(NamedTuple):
    """Networks that are answered alike: their region, and all groups they may be sent to, best first."""

    region: str
    groups: tuple[Group, ...]


class Table(NamedTuple):
    """A full cover of an address family: sorted starts (the first is 0), and the number of each range's bucket."""

    bits: int
    starts: list[int]
    buckets: list[int]


class Map(NamedTuple):
    """The address space compiled for one world.  `tops[k]` is the range of k << 16, to shorten IPv4's search."""

    buckets: tuple[Bucket, ...]
    v4: Table
    v6: Table


class DoorHealth(NamedTuple):
    """What is believed of one door.  `fails` and `passes` count probes in a row; `up` is None before the first."""

    up: bool | None = None
    why: str = "not probed yet"
    fails: int = 0
    passes: int = 0
    since_s: float = 0.0  # Unix time of the last change of `up`


class SiteHealth(NamedTuple):
    """The doors of one site, in their order."""

    doors: tuple[DoorHealth, ...]


class Overrides(NamedTuple):
    """The operator's word, stronger than any probe: sites to keep clients away from, kindly or at once."""

    drain: frozenset[str] = frozenset()
    down: frozenset[str] = frozenset()


class Verdict(NamedTuple):
    """Whether a site may be offered.  `trouble`: 0 none, 1 drained but well, 2 not healthy, 3 declared down."""

    trouble: int
    why: str


class Skipped(NamedTuple):
    """A site that is not offered, and why."""

    site: str
    why: str


class Decision(NamedTuple):
    """Where the clients of a bucket are sent.

    `answer` are the sites named in DNS (equally near), `ordered` all usable ones, best first; `degraded` when the
    client's first choice is not among them.
    """

    answer: tuple[str, ...]
    ordered: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    reason: str
    degraded: bool
