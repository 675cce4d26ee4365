"""Frozen values of the director: the map of the address space, health, the operator's wishes, a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

SLICES = 16  # parts of a bucket, told apart by a hash of the client's network
SERVICES = ("door", "edge", "media", "turn")


class Group(NamedTuple):
    """Sites of one region that are equally near to a client."""

    region: str
    sites: tuple[str, ...]


class Bucket(NamedTuple):
    """Networks that are answered alike: their region, and all groups they may be sent to, best first.

    `groups` is the order for doors, where an edge counts as farther than it is; `near` the order by distance alone,
    for what an edge serves itself.
    """

    region: str
    groups: tuple[Group, ...]
    near: tuple[Group, ...] = ()


class Table(NamedTuple):
    """A full cover of an address family: sorted starts (the first is 0), and the number of each range's bucket."""

    bits: int
    starts: list[int]
    buckets: list[int]


class Map(NamedTuple):
    """The address space compiled for one world.  `digest` stands for all of it: equal maps, equal digests.

    `resolvers` holds the rules for resolvers that do not tell their client's network, IPv4 and IPv6: a range's bucket
    is negative where there is no such rule and the resolver counts as a client.
    """

    buckets: tuple[Bucket, ...]
    v4: Table
    v6: Table
    digest: str = ""
    resolvers: tuple[Table, Table] = (Table(32, [0], [-1]), Table(128, [0], [-1]))
    sizes: tuple[int, ...] = ()


class Pool(NamedTuple):
    """The sites named in one answer; `degraded` when they are not the client's first choice: then the TTL is short."""

    sites: tuple[str, ...]
    degraded: bool
    reason: str


class Plan(NamedTuple):
    """What one service answers everywhere: `cells[16 * bucket + slice]` is the number of the pool in `pools`.

    Pools are numbered in the order in which cells first use them, so equal decisions make equal plans.
    """

    service: str
    pools: tuple[Pool, ...]
    cells: Sequence[int]

    def pool(self, bucket: int, slice_no: int) -> Pool:
        """The pool of one cell."""
        return self.pools[self.cells[SLICES * bucket + slice_no]]

    def is_split(self, bucket: int) -> bool:
        """Whether the slices of a bucket are not all answered alike."""
        cells = self.cells[SLICES * bucket : SLICES * bucket + SLICES]
        return any(number != cells[0] for number in cells)


class DoorHealth(NamedTuple):
    """What is believed of one door.  `fails` and `passes` count probes in a row; `up` is None before the first."""

    up: bool | None = None
    why: str = "not probed yet"
    fails: int = 0
    passes: int = 0
    since_s: float = 0.0  # Unix time of the last change of `up`
    hold_s: float = 0.0  # how long it is, or last was, held down from when it went down


class SiteHealth(NamedTuple):
    """The doors of one site, in their order; `trouble` is what makes it unfit beside them, empty for nothing."""

    doors: tuple[DoorHealth, ...]
    trouble: str = ""


class Load(NamedTuple):
    """What a site carries: connected clients, CPU in use (0..1), and its errors as a share (0..1) of its answers."""

    connections: int
    cpu: float
    capacity: int
    errors: float


class View(NamedTuple):
    """What one site sees of the others' doors, and says of itself: its load, and what makes it unfit, if anything.

    `at_s` is when we heard it, on our own clock.
    """

    observer: str
    at_s: float
    doors: Mapping[str, tuple[DoorHealth, ...]]
    load: Load | None = None
    trouble: str = ""


class Overrides(NamedTuple):
    """The operator's word, stronger than any probe, by site.

    `drain` and `down` keep clients away, kindly or at once; `up` offers a site whatever probes say; `weights` are
    percent of what a site would be given by nearness (0..100, 100 where nothing is said); `canary` is how many of the
    16 slices of its own region's networks a site is tried on; `said` is who wanted it and why: of drain, down and up by
    site, of the rest by words as in `weight of paris`.
    """

    drain: frozenset[str] = frozenset()
    down: frozenset[str] = frozenset()
    up: frozenset[str] = frozenset()
    weights: Mapping[str, int] = {}
    canary: Mapping[str, int] = {}
    said: Mapping[str, str] = {}


class Demand(NamedTuple):
    """Clients to be expected: of each cell, beside what each site can carry; `scales` is clients per question asked.

    `scales` is by region, learnt while the region's clients were all at home.
    """

    cells: tuple[float, ...]
    capacities: Mapping[str, float]
    scales: Mapping[str, float] = {}


class Spill(NamedTuple):
    """Cells answered otherwise than nearness says, because of load: cell -> site.

    `loads` are the clients each site is expected to carry then; `stepped_at_s` is when cells last moved by choice.
    """

    moved: Mapping[int, str] = {}
    loads: Mapping[str, float] = {}
    stepped_at_s: float = float("-inf")


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
