"""The name server of the world's domain, without sockets: a question in, an answer out.

Names: the domain itself, `door.` and `api.` (the doors for this client), `edge.`, `media.`, `turn.` (the sites that
serve these), `why.` and `<service>.why.` (TXT: the same in words), the name servers.  All that can be rendered and
signed ahead is, when the snapshot is taken; a question only finds its cell.
Laws: the same snapshot and packet give the same reply; a tailored answer carries the shortest scope within which it is
the same (RFC 7871); the case of the question is kept; nothing that a client sends makes `answer` fail.
"""

from __future__ import annotations

import socket
from bisect import bisect_right
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from moonbow.world import World

from . import codec
from .addresses import Address
from .atlas import find, find_resolver
from .codec import (
    NOTHING,
    Fault,
    Query,
    Reply,
    Section,
    Subnet,
    build_edns,
    build_reply,
    name_wire,
    read_query,
    record,
    steady,
)
from .dnssec import Signer, Window, ZoneKey, nsec_data, window_at
from .model import SERVICES, SLICES, Map, Plan, Table
from .policy import TTL_DEGRADED_S
from .slices import cell_scope, slice_of
from .snapshot import Snapshot, explain_address, why_text
from .zone import (
    NEGATIVE_TTL_S,
    THROUGH_DOORS,
    Name,
    Rendered,
    Renderer,
    Servers,
    addresses_of,
    lay_out,
    pool_orders,
    service_kinds,
    soa_data,
    ttl_of,
    usual_servers,
)

WHY_BYTES_MAX = 2_048
Authority = tuple[int, bytes]
Replies = tuple[Reply, ...]


class Answer(NamedTuple):
    """A reply, whether another source would get another one, and the number of its cell (-1: it has none)."""

    reply: Reply
    by_source: bool = False
    cell: int = -1


class Client(NamedTuple):
    """Whose answer is wanted: an address, the range of the map that holds it, its bucket, whether the query told it."""

    address: int
    table: Table
    at: int
    bucket: int
    told: bool


class Service(NamedTuple):
    """A service ready to be answered: cells of its plan, which buckets are split, rendered pools by owner and type."""

    number: int
    cells: tuple[int, ...]
    split: tuple[bool, ...]
    rendered: dict[tuple[bytes, int], tuple[Rendered, ...]]


class Template:
    """All questions that are alike but for the client's address at their end, of a known number of whole bytes."""

    def __init__(
        self, query: Query, subnet: Subnet, table: Table, service: Service, base: int, replies: Replies
    ) -> None:
        self._table = table
        self._shift = table.bits - 8 * len(subnet.raw)
        self._service = service
        self._base = base
        self._replies = replies
        edns = query.edns
        assert edns is not None
        bare = build_edns(edns, codec.NOERROR, 0)
        self._tail = bare[: len(bare) - len(subnet.raw) - 1]

    def fill(self, raw: bytes) -> tuple[Reply, int]:
        """The reply for the address `raw`, and the number of its cell.  As `Responder.answer`, only faster."""
        table = self._table
        address = int.from_bytes(raw, "big") << self._shift
        at = bisect_right(table.starts, address) - 1
        bucket = table.buckets[at]
        cell = SLICES * bucket + slice_of(table.bits, address)
        length = cell_scope(table, at, address, self._service.split[bucket])
        found = self._replies[self._service.cells[cell]]
        return Reply(found.rcode, found.head, found.turns, b"%b%c%b" % (self._tail, length, raw)), self._base + cell


class Responder:
    """Answers for one snapshot.  Immutable: a new snapshot makes a new responder; `renderer` is handed on."""

    def __init__(self, snapshot: Snapshot, renderer: Renderer | None = None, servers: Servers | None = None) -> None:
        self.snapshot = snapshot
        self.renderer = renderer or Renderer(None)
        self.cells = SLICES * len(snapshot.map.buckets)
        servers = servers or usual_servers(snapshot.world)
        self._zone = name_wire(snapshot.world.domain)
        self._names = lay_out(snapshot, servers, self.renderer)
        self._services = {
            service: self._compile(number, snapshot.plans[service]) for number, service in enumerate(SERVICES)
        }
        self._soa = soa_data(self._zone, servers, snapshot.changed_at_s)
        self._soa_signature = b""
        if signer := self.renderer.signer:
            self._soa_signature = signer.sign(self._zone, codec.SOA, NEGATIVE_TTL_S, (self._soa,))

    @property
    def signer(self) -> Signer | None:
        """Who signs; None where the zone is not signed."""
        return self.renderer.signer

    def _compile(self, number: int, plan: Plan) -> Service:
        buckets = range(len(self.snapshot.map.buckets))
        rendered: dict[tuple[bytes, int], tuple[Rendered, ...]] = {}
        for kind in service_kinds(self.snapshot, plan.service):
            orders = [pool_orders(self.snapshot, plan.service, pool, kind) for pool in plan.pools]
            for owner, name in self._names.items():
                if name.service == plan.service:
                    rendered[owner, kind] = tuple(
                        self.renderer.turning(owner, kind, ttl_of(pool), order)
                        for pool, order in zip(plan.pools, orders, strict=True)
                    )
        return Service(number, tuple(plan.cells), tuple(plan.is_split(bucket) for bucket in buckets), rendered)

    def respond(self, packet: bytes, source: str, *, tcp: bool = False) -> bytes | None:
        """The whole reply to `packet` from the IP address `source`; None where silence is right."""
        try:
            query = read_query(packet)
        except Fault as fault:
            return fault.reply.finish(packet) if fault.reply else None
        return self.answer(query, packed(source), codec.size_limit(query, tcp)).reply.finish(packet)

    def answer(self, query: Query, source: bytes, limit: int, cookie: bytes = b"") -> Answer:
        """The answer of at most `limit` bytes for a query from a packed address, with `cookie` among its options.

        `Exhausted` where it takes a signature that the signer has no more leave to make.
        """
        if query.edns and query.edns.version:
            return Answer(build_reply(query, codec.BADVERS, limit=limit, cookie=cookie))
        if not query.question:
            return Answer(build_reply(query, codec.NOERROR, limit=limit, cookie=cookie))
        if query.kind == codec.NXNAME:
            return Answer(build_reply(query, codec.FORMERR, limit=limit, cookie=cookie))
        name = self._names.get(query.key)
        if query.klass != codec.IN or query.kind in (codec.AXFR, codec.IXFR) or not (name or self._is_ours(query.key)):
            return Answer(build_reply(query, codec.REFUSED, limit=limit, cookie=cookie))
        if name is None:
            return Answer(self._absent(query, None, limit, cookie))
        if fixed := name.fixed.get(query.kind):
            return Answer(build_reply(query, 0, fixed.of(self._signs(query)), limit=limit, cookie=cookie))
        if name.service and (pools := self._services[name.service].rendered.get((query.key, query.kind))):
            return self._tailored(query, self._services[name.service], pools, source, limit, cookie)
        if name.why and query.kind == codec.TXT:
            return self._explained(query, name.why, source, limit, cookie)
        if self.signer and query.kind in (codec.NSEC, codec.RRSIG):
            section = self._denial_asked_for(query, name)
            return Answer(build_reply(query, 0, section, limit=limit, cookie=cookie))
        return Answer(self._absent(query, name, limit, cookie))

    def template(self, query: Query, limit: int) -> Template | None:
        """What answers all queries like this one, whatever network of their length they tell; None if nothing does."""
        name, subnet = self._names.get(query.key), query.edns.subnet if query.edns else None
        if name is None or name.service is None or subnet is None or subnet.source != 8 * len(subnet.raw):
            return None
        service = self._services[name.service]
        pools = service.rendered.get((query.key, query.kind))
        if query.klass != codec.IN or not subnet.raw or not pools or (query.edns and query.edns.version):
            return None
        sections = [pool.of(self._signs(query)) for pool in pools]
        if not all(section.records for section in sections):
            return None
        replies = tuple(build_reply(query, codec.NOERROR, section, limit=limit) for section in sections)
        table = self.snapshot.map.v4 if subnet.family == 1 else self.snapshot.map.v6
        return Template(query, subnet, table, service, service.number * self.cells, replies)

    def _signs(self, query: Query) -> bool:
        return self.renderer.signer is not None and query.edns is not None and query.edns.do

    def _tailored(
        self, query: Query, service: Service, pools: tuple[Rendered, ...], source: bytes, limit: int, cookie: bytes
    ) -> Answer:
        address, table, at, bucket, told = self._client(query, source)
        cell = SLICES * bucket + slice_of(table.bits, address)
        section = pools[service.cells[cell]].of(self._signs(query))
        length = cell_scope(table, at, address, service.split[bucket]) if told else 0
        number = service.number * self.cells + cell
        if not section.records:
            return Answer(self._absent(query, self._names[query.key], limit, cookie, length), not told, number)
        return Answer(build_reply(query, 0, section, scope=length, limit=limit, cookie=cookie), not told, number)

    def _explained(self, query: Query, service: str, source: bytes, limit: int, cookie: bytes) -> Answer:
        address, table, _, _, told = self._client(query, source)
        client: Address = IPv4Address(address) if table.bits == 32 else IPv6Address(address)
        words = (
            explain_service(self.snapshot, service, client, told=told)
            .encode()[:WHY_BYTES_MAX]
            .decode("utf-8", "ignore")
        )
        data = codec.text_data(words)
        records = [record(codec.TXT, TTL_DEGRADED_S, data)]
        if self._signs(query):
            records.append(self._signature(query.key, codec.TXT, TTL_DEGRADED_S, data))
        length = table.bits if told else 0  # it speaks of this address: its country, slice and turn of doors
        return Answer(build_reply(query, 0, steady(records), scope=length, limit=limit, cookie=cookie), not told)

    def _client(self, query: Query, source: bytes) -> Client:
        """The client subnet, or else the resolver itself, for which there may be a rule of its own."""
        known: Map = self.snapshot.map
        subnet = query.edns.subnet if query.edns else None
        if subnet is not None and subnet.source:
            table = known.v4 if subnet.family == 1 else known.v6
            at = find(table, subnet.address)
            return Client(subnet.address, table, at, table.buckets[at], True)
        table = known.v4 if len(source) == 4 else known.v6
        address = int.from_bytes(source, "big")
        at, ruled = find(table, address), find_resolver(known, table.bits, address)
        return Client(address, table, at, table.buckets[at] if ruled is None else ruled, False)

    def _is_ours(self, key: bytes) -> bool:
        """Whether a name is the zone's or below it, label by label."""
        if not key.endswith(self._zone):
            return False
        at, start = 0, len(key) - len(self._zone)
        while at < start:
            at += key[at] + 1
        return at == start

    def _absent(self, query: Query, name: Name | None, limit: int, cookie: bytes, scope: int = 0) -> Reply:
        """No such name, or no such records at a name; the SOA says how long that may be remembered.

        Signed, the denial is compact (RFC 9824): an absent name has but the type NXNAME, and is said to be there.
        """
        owner = (0xC000 | 12 + len(query.key) - len(self._zone)).to_bytes(2, "big")
        soa = record(codec.SOA, NEGATIVE_TTL_S, self._soa, owner)
        rcode = codec.NOERROR if name else codec.NXDOMAIN
        authority: Authority = (1, soa)
        if self._signs(query):
            kinds = tuple(kind for kind in name.kinds if kind != query.kind) if name else (codec.NXNAME,)
            signature = record(codec.RRSIG, NEGATIVE_TTL_S, self._soa_signature, owner)
            authority = (4, soa + signature + b"".join(self._denial(query.key, kinds)))
            rcode = rcode if query.edns and query.edns.co else codec.NOERROR
        return build_reply(query, rcode, NOTHING, authority, scope, limit=limit, cookie=cookie)

    def _denial(self, owner: bytes, kinds: tuple[int, ...]) -> tuple[bytes, bytes]:
        data = nsec_data(owner, kinds)
        return record(codec.NSEC, NEGATIVE_TTL_S, data), self._signature(owner, codec.NSEC, NEGATIVE_TTL_S, data)

    def _denial_asked_for(self, query: Query, name: Name) -> Section:
        nsec, signature = self._denial(query.key, name.kinds)
        if query.kind == codec.RRSIG:
            return steady([signature])
        return steady([nsec, signature] if self._signs(query) else [nsec])

    def _signature(self, owner: bytes, kind: int, ttl_s: int, data: bytes) -> bytes:
        signer = self.renderer.signer
        assert signer is not None
        return record(codec.RRSIG, ttl_s, signer.sign_now(owner, kind, ttl_s, data))


def explain_service(snapshot: Snapshot, service: str, client: Address, *, told: bool = True) -> str:
    """Why a client is sent where it is for a service, on one line."""
    found = explain_address(snapshot, client, service=service, told=told)
    said = why_text(found)
    if service not in THROUGH_DOORS:  # these are not reached through doors
        skipped = "".join(f"; not {site.site}: {site.why}" for site in found.skipped)
        addresses = " ".join(addresses_of(snapshot, service, found.pool))
        said = f"{found.network}; rule: {found.rule}; region: {found.region}; {found.reason}; {addresses}{skipped}"
    return f"{said}; service {service}, slice {found.slice} of {SLICES}; {snapshot.number}-{snapshot.digest}"


def packed(source: str) -> bytes:
    """An IP address as text, packed; one of IPv4 within IPv6 as what it is."""
    try:
        return socket.inet_aton(source)
    except OSError:
        found = ip_address(source.partition("%")[0])
        mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
        return (mapped or found).packed


class Printer:
    """Makes responders, and carries what was rendered and signed from one to the next.  Without a key: unsigned."""

    def __init__(self, world: World, key: ZoneKey | None, servers: Servers | None = None) -> None:
        self._key = key
        self._zone = name_wire(world.domain)
        self._servers = servers
        self._window: Window | None = None
        self._renderer = Renderer(None)

    def is_due(self, now_s: float) -> bool:
        """Whether signatures made now would last longer than the last ones, so that a new responder is wanted."""
        return self._key is not None and window_at(now_s) != self._window

    def make(self, snapshot: Snapshot, now_s: float) -> Responder:
        """The responder of a snapshot at `now_s` (Unix seconds)."""
        if self._key is not None and self.is_due(now_s):
            self._window = window_at(now_s)
            self._renderer = Renderer(Signer(self._key, self._zone, self._window))
        return Responder(snapshot, self._renderer, self._servers)
