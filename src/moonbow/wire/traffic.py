"""What the director tells the launcher, the command line and gateways about its answers."""

from __future__ import annotations

from typing import Literal

import msgspec

from .values import Door, Value


class DoorStatus(Value, frozen=True):
    """One door as the director's prober sees it.  `since` is when `up` last changed, RFC 3339 in UTC."""

    address: str
    port: int
    up: bool
    why: str
    since: str | None = None


class SiteStatus(Value, frozen=True):
    """One site: `healthy` says whether answers may name it, `why` says it in words; `override` is the operator's."""

    site: str
    region: str
    city: str
    kind: Literal["primary", "edge", "witness"]
    healthy: bool
    why: str
    override: Literal["drain", "down"] | None
    doors: list[DoorStatus]


class DirectorStatus(Value, frozen=True):
    """The director at a glance.  `snapshot` counts its changes of mind since it started."""

    world: str
    domain: str
    snapshot: int
    changed_at: str
    addresses: str
    buckets: int
    sites: list[SiteStatus]


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


decode_explanation = msgspec.json.Decoder(Explanation).decode
decode_status = msgspec.json.Decoder(DirectorStatus).decode
