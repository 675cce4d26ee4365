"""What the director tells the launcher, the command line and gateways about its answers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .values import Door, Value

OrderKind = Literal["drain", "down", "up", "weight", "canary"]


class DoorStatus(Value, frozen=True):
    """One door as the director's prober sees it.  `since` is when `up` last changed, RFC 3339 in UTC."""

    address: str
    port: int
    up: bool
    why: str
    since: str | None = None


class SiteLoad(Value, frozen=True):
    """What a site says of its load: connected clients and how many it is made for, CPU and errors as shares (0..1)."""

    connections: int
    capacity: int
    cpu: float
    errors: float


class SiteStatus(Value, frozen=True):
    """One site: `healthy` says whether answers may name it, `why` says it in words; `override` is the operator's.

    `at` is latitude and longitude in degrees; `voters` are the sites whose directors watch its doors, `disputed` says
    that they do not agree; `weight` (percent of what nearness gives) and `canary` (of 16 slices) are the operator's;
    `flaps` counts how often its doors changed since the director started; `load` is null while the site is silent.
    """

    site: str
    region: str
    city: str
    kind: Literal["primary", "edge", "witness"]
    healthy: bool
    why: str
    override: Literal["drain", "down", "up"] | None
    doors: list[DoorStatus]
    at: tuple[float, float]
    sealed: bool = False
    voters: list[str] = []
    disputed: bool = False
    capacity: int = 0
    load: SiteLoad | None = None
    weight: int = 100
    canary: int = 0
    flaps: int = 0


class DirectorStatus(Value, frozen=True):
    """A director at a glance.  `snapshot` counts its changes of mind; `digest` stands for all that it answers.

    `site` is whose director speaks.  `frozen` says why its decisions stand still, empty if they do not; `age_s` is how
    old the health is that it answers from, 0 while that is live; `silent` are directors not heard of.  `degraded` are
    buckets away from their first choice, `spilled` slices sent elsewhere because of load.
    """

    world: str
    domain: str
    snapshot: int
    changed_at: str
    addresses: str
    buckets: int
    sites: list[SiteStatus]
    site: str = ""
    digest: str = ""
    frozen: str = ""
    age_s: float = 0.0
    silent: list[str] = []
    degraded: int = 0
    spilled: int = 0
    orders: int = 0


class RankedSite(Value, frozen=True):
    """A site in the order in which one client should try them.  `km` from the client's country, if that is known."""

    site: str
    region: str
    city: str
    kind: Literal["primary", "edge", "witness"]
    km: int | None
    why: str


class Explanation(Value, frozen=True):
    """Why a client gets the doors it gets: where it is, which rule placed it, what was answered and what was skipped.

    `network` is the widest network around the address that gets the same answers; `sites` are usable ones, best first;
    `pool` the names of those answered, in `slice` (0..15) of `bucket`; `frozen` says why decisions stand still, if they
    do; `live` is false when no director was asked and every site was taken to be healthy.
    """

    address: str
    network: str
    country: str | None
    continent: str | None
    rule: str
    region: str
    reason: str
    ttl_s: int
    answer: list[Door]
    sites: list[RankedSite]
    skipped: list[RankedSite]
    live: bool = True
    snapshot: int = 0
    service: str = "door"
    pool: list[str] = []
    slice: int = 0
    bucket: int = -1
    frozen: str = ""
    digest: str = ""


class Order(Value, frozen=True):
    """A wish of an operator in force.  `until` is when it ends by itself; times are RFC 3339 in UTC.

    `value`: percent of what nearness gives for a weight, slices (0..16) for a canary, 0 for the rest.
    """

    id: str
    kind: OrderKind
    target: str
    value: int
    who: str
    why: str
    at: str
    until: str | None


class Orders(Value, frozen=True):
    """All orders in force, oldest first."""

    orders: list[Order]


class NewOrder(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """An order to give: to a site, or to a region for all its sites.  It ends by itself after `for_s` seconds.

    `value` is percent of what nearness gives (0..100) for a weight, slices (0..16) for a canary, nothing for others.
    `force` gives it even if other sites would be overloaded by it; `who` is for those who cannot be known otherwise.
    """

    kind: OrderKind
    target: Annotated[str, Meta(min_length=1, max_length=64)]
    value: Annotated[int, Meta(ge=0, le=100)] | None = None
    why: Annotated[str, Meta(max_length=200)] = ""
    for_s: Annotated[float, Meta(ge=1, le=2_592_000)] | None = None
    force: bool = False
    who: Annotated[str, Meta(max_length=64)] = ""


class NewDrain(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/operator/director/orders`: send the clients of a site elsewhere for a while, 24 hours at most.

    The reason is one of a few words, for orders are known in every region, and what a person writes is not.
    """

    site: Annotated[str, Meta(min_length=1, max_length=64)]
    why: Literal["maintenance", "trouble", "trial"]
    for_s: Annotated[float, Meta(ge=60, le=86_400)]
    force: bool = False


class OrderGiven(Value, frozen=True):
    """An order given, or taken back; what it says about clients and sites happens in the seconds that follow."""

    order: Order


class Change(Value, frozen=True):
    """One change of mind: the number of the snapshot, and what changed with it, in words that say who and why."""

    number: int
    at: str
    digest: str
    words: list[str]


class History(Value, frozen=True):
    """The last changes of mind of one director, the newest first."""

    site: str
    changes: list[Change]


class Share(Value, frozen=True):
    """What part (0..1) of the clients of a group is sent to a site."""

    site: str
    share: float


class Flow(Value, frozen=True):
    """Where a group of networks is sent now: countries of one continent, or one network that has a rule of its own.

    `at` is the middle of where they are, null for a network that is nowhere; `part` is what they are (0..1) of all
    clients of the world; `to` are the sites, the largest share first; `degraded` when they are away from their first
    choice.
    """

    name: str
    region: str
    countries: list[str]
    at: tuple[float, float] | None
    part: float
    to: list[Share]
    degraded: bool


class Flows(Value, frozen=True):
    """Who goes where for one service, the largest groups first.

    `by` is what parts are measured in: `clients` as foreseen, or the number of `addresses`.
    """

    service: str
    snapshot: int
    by: Literal["clients", "addresses"]
    flows: list[Flow]


class Forecast(Value, frozen=True):
    """What a site, or a region's sites, would carry: clients before and after, and how many they are made for."""

    name: str
    region: str
    capacity: int
    before: int
    after: int
    over: bool
    usable: bool


class Simulation(Value, frozen=True):
    """What would be if these were down: nothing of it is applied.

    `part` (0..1) of all clients, or while there are few of all addresses, would move; `problems` are why it should not
    be done, in words; `over` the sites that would carry more than they can, and more than now.
    """

    down: list[str]
    sites: list[Forecast]
    regions: list[Forecast]
    part: float
    over: list[str]
    problems: list[str]
    by: Literal["clients", "addresses"]
    flows: list[Flow]


class Refusal(Value, frozen=True):
    """Why a director refused: a stable code, the words, and the place of the fault, if one field is to blame."""

    code: str
    detail: str
    place: str | None = None


decode_explanation = msgspec.json.Decoder(Explanation).decode
decode_status = msgspec.json.Decoder(DirectorStatus).decode
