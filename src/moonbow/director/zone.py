"""The names of the world's zone and what stands at each, ready to send, with and without signatures.  Pure.

Laws: what is rendered of the same addresses is the same bytes; every record set that does not depend on the question is
signed when it is rendered, not when it is asked for.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from moonbow.world import World, door_address, site_address, world_address

from . import codec
from .codec import NOTHING, TURNS, Section, name_wire, record
from .dnssec import Signer
from .model import SERVICES, Pool
from .policy import TTL_DEGRADED_S, TTL_S, doors_of
from .recent import Recent
from .snapshot import Snapshot

ADDRESSES_MAX = 16  # in one answer
ZONE_TTL_S = 3_600
NEGATIVE_TTL_S = 30
RENDERED_MAX = 16_384
DOOR_LABELS = ("", "door.", "api.")
THROUGH_DOORS = frozenset({"door", "edge"})  # the others talk to the site itself
RFC8482 = b"\x07RFC8482\x00"

Orders = tuple[tuple[bytes, ...], ...]
Servers = Mapping[str, tuple[str, ...]]  # label of a name server -> its addresses


class Rendered(NamedTuple):
    """An answer section for those who want no signatures, and for those who do."""

    plain: Section
    signed: Section

    def of(self, do: bool) -> Section:
        """The one to send."""
        return self.signed if do else self.plain


EMPTY = Rendered(NOTHING, NOTHING)


class Name(NamedTuple):
    """One name: the service whose pools it has, the service that it explains, its fixed records, all its types."""

    service: str | None
    why: str | None
    fixed: Mapping[int, Rendered]
    kinds: tuple[int, ...]


class Renderer:
    """Renders and signs record sets, and keeps what it has rendered.  Without a signer nothing is signed."""

    def __init__(self, signer: Signer | None) -> None:
        self.signer = signer
        self._known: Recent[tuple[bytes, int, int, Orders], Rendered] = Recent(RENDERED_MAX)

    def fixed(self, owner: bytes, kind: int, ttl_s: int, *datas: bytes) -> Rendered:
        """A record set that is always sent in one order."""
        return self.turning(owner, kind, ttl_s, (datas,) * TURNS)

    def turning(self, owner: bytes, kind: int, ttl_s: int, orders: Orders) -> Rendered:
        """A record set in eight orders, or eight parts of one that is too long, each signed for itself."""
        key = (owner, kind, ttl_s, orders)
        found = self._known.get(key)
        if found is None:
            found = self._render(owner, kind, ttl_s, orders)
            self._known.put(key, found)
        return found

    def _render(self, owner: bytes, kind: int, ttl_s: int, orders: Orders) -> Rendered:
        if not orders[0]:
            return EMPTY
        plain = [b"".join(record(kind, ttl_s, data) for data in datas) for datas in orders]
        section = Section(len(orders[0]), tuple(plain))
        if self.signer is None:
            return Rendered(section, section)
        sets = [frozenset(datas) for datas in orders]
        made = {datas: record(codec.RRSIG, ttl_s, self.signer.sign(owner, kind, ttl_s, datas)) for datas in set(sets)}
        signed = tuple(records + made[datas] for records, datas in zip(plain, sets, strict=True))
        return Rendered(section, Section(section.records + 1, signed))


def turn_orders(datas: Sequence[bytes]) -> Orders:
    """`datas` in eight orders, the starts spread evenly; of more than `ADDRESSES_MAX` each turn has its part."""
    if not datas:
        return ((),) * TURNS
    turns = min(len(datas), TURNS)
    starts = [round(turn % turns * len(datas) / turns) for turn in range(TURNS)]
    return tuple(tuple((*datas[start:], *datas[:start])[:ADDRESSES_MAX]) for start in starts)


def addresses_of(snapshot: Snapshot, service: str, sites: Iterable[str]) -> list[str]:
    """The addresses of a service at `sites`: every site's first, then every site's second, …

    API, web and edge are reached through the doors that are up; media and TURN at the site's own address.
    """
    found: list[tuple[int, int, str]] = []
    for order, name in enumerate(sites):
        ref = snapshot.world.site(name)
        if service not in THROUGH_DOORS:
            found.append((0, order, site_address(snapshot.world, ref)))
            continue
        for turn, number in enumerate(doors_of(snapshot.health[name])):
            found.append((turn, order, door_address(snapshot.world, ref, number)))
    return [address for _, _, address in sorted(found)]


def pool_orders(snapshot: Snapshot, service: str, pool: Pool, kind: int) -> Orders:
    """The A or AAAA data of a pool."""
    family, mark = (socket.AF_INET6, True) if kind == codec.AAAA else (socket.AF_INET, False)
    addresses = addresses_of(snapshot, service, pool.sites)
    return turn_orders([socket.inet_pton(family, text) for text in addresses if (":" in text) is mark])


def ttl_of(pool: Pool) -> int:
    """Seconds that an answer of this pool may be remembered."""
    return TTL_DEGRADED_S if pool.degraded else TTL_S


def usual_servers(world: World) -> dict[str, tuple[str, ...]]:
    """The name servers of a world whose directors are all in one place."""
    return {"ns": (world_address(world),)}


def soa_data(zone: bytes, servers: Servers, changed_at_s: float) -> bytes:
    """Serial: the second of the last change.  Secondaries do not exist, so refresh and expiry only have to be sane."""
    first = name_wire(next(iter(servers)))[:-1] + zone
    times = struct.pack("!IIIII", int(changed_at_s) & 0xFFFFFFFF, 14_400, 3_600, 1_209_600, NEGATIVE_TTL_S)
    return first + b"\x0ahostmaster" + zone + times


def lay_out(snapshot: Snapshot, servers: Servers, renderer: Renderer) -> dict[bytes, Name]:
    """Every name of the zone by its wire form in lower case."""
    world, zone = snapshot.world, name_wire(snapshot.world.domain)
    names: dict[bytes, Name] = {}

    def put(
        label: str,
        *fixed: tuple[int, int, tuple[bytes, ...]],
        service: str | None = None,
        why: str | None = None,
    ) -> None:
        owner = name_wire(f"{label}{world.domain}")
        sets = {kind: renderer.fixed(owner, kind, ttl_s, *datas) for kind, ttl_s, datas in fixed}
        kinds = {*sets, *(service_kinds(snapshot, service) if service else ()), *((codec.TXT,) if why else ())}
        sets[codec.ANY] = renderer.fixed(owner, codec.HINFO, ZONE_TTL_S, RFC8482)
        names[owner] = Name(service, why, sets, tuple(sorted(kinds)))

    for label in DOOR_LABELS:
        put(label, *(_apex(world, zone, servers, snapshot.changed_at_s, renderer) if not label else ()), service="door")
    for service in SERVICES:
        if service != "door":
            put(f"{service}.", service=service)
        put(f"{service}.why.", why=service)
    put("why.", why="door")
    for label, addresses in servers.items():
        put(f"{label}.", *_host(addresses))
    return names


def service_kinds(snapshot: Snapshot, service: str) -> list[int]:
    """The address types that a service has anywhere; never none, so that its name exists."""
    sites = [ref.site.name for ref in snapshot.world.sites() if ref.site.kind != "witness"]
    found = {codec.AAAA if ":" in text else codec.A for text in addresses_of(snapshot, service, sites)}
    return sorted(found or {codec.A})


def _apex(
    world: World, zone: bytes, servers: Servers, changed_at_s: float, renderer: Renderer
) -> list[tuple[int, int, tuple[bytes, ...]]]:
    """SOA and NS; no public authority may certify names of a world that has its own; the key."""
    found = [
        (codec.SOA, ZONE_TTL_S, (soa_data(zone, servers, changed_at_s),)),
        (codec.NS, ZONE_TTL_S, tuple(name_wire(f"{label}.{world.domain}") for label in servers)),
        (codec.CAA, ZONE_TTL_S, (b"\x00\x05issue;", f"\0\5iodefmailto:hostmaster@{world.domain}".encode())),
    ]
    if renderer.signer is not None:
        found.append((codec.DNSKEY, ZONE_TTL_S, (renderer.signer.key.dnskey,)))
    return found


def _host(addresses: tuple[str, ...]) -> list[tuple[int, int, tuple[bytes, ...]]]:
    four = tuple(socket.inet_pton(socket.AF_INET, text) for text in addresses if ":" not in text)
    six = tuple(socket.inet_pton(socket.AF_INET6, text) for text in addresses if ":" in text)
    return [(kind, ZONE_TTL_S, datas) for kind, datas in ((codec.A, four), (codec.AAAA, six)) if datas]


def zone_names(world: World, servers: Servers | None = None) -> tuple[str, ...]:
    """Every name the responder knows, for people and tests."""
    labels = ["api", *SERVICES, "why", *(f"{label}.why" for label in SERVICES), *(servers or usual_servers(world))]
    return (world.domain, *(f"{label}.{world.domain}" for label in labels))
