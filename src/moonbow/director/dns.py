"""The name server of the world's domain, without sockets: a packet in, a packet or nothing out.

Names: the domain itself, `door.` and `api.` (A: the doors for this client), `why.` (TXT: the same in words), `ns.`.
Every decision is rendered once, when the snapshot is taken; a query only finds its bucket.
Laws: the same snapshot and packet give the same reply; a tailored answer carries the shortest scope within which it
is the same (RFC 7871); the case of the question is kept; nothing that a client sends makes `respond` fail.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from moonbow.world import World, door_address, world_address

from . import codec
from .addresses import Address
from .atlas import find, find_resolver, scope
from .codec import Fault, Query, build_reply, join_records, name_wire, read_query, record
from .model import Decision
from .policy import TTL_DEGRADED_S, TTL_S, doors_of
from .snapshot import Snapshot, explain_address, why_text

ADDRESSES_MAX = 16  # doors in one answer
TURNS_MAX = 8  # orders of one answer; the query's id picks one
WHY_BYTES_MAX = 2_048
NEGATIVE_TTL_S = 30
ZONE_TTL_S = 3_600
_RFC8482 = b"\x07RFC8482\x00"

Turns = tuple[tuple[int, bytes], ...]


class Responder:
    """Answers for one snapshot.  Immutable: a new snapshot makes a new responder."""

    def __init__(self, snapshot: Snapshot) -> None:
        world = snapshot.world
        self._snapshot = snapshot
        self._zone = name_wire(world.domain)
        self._doors = frozenset({self._zone, name_wire(f"door.{world.domain}"), name_wire(f"api.{world.domain}")})
        self._why = name_wire(f"why.{world.domain}")
        self._ns = name_wire(f"ns.{world.domain}")
        self._names = self._doors | {self._why, self._ns}
        self._turns = tuple(render_doors(snapshot, decision) for decision in snapshot.decisions)
        self._soa = _soa_data(self._ns, self._zone, snapshot)
        self._own = {
            (self._zone, codec.NS): record(codec.NS, ZONE_TTL_S, self._ns),
            (self._zone, codec.SOA): record(codec.SOA, ZONE_TTL_S, self._soa),
            (self._ns, codec.A): record(codec.A, ZONE_TTL_S, socket.inet_aton(world_address(world))),
        }

    def respond(self, packet: bytes, source: str, *, tcp: bool = False, small: bool = False) -> bytes | None:
        """The reply to `packet` from the IP address `source`; None where silence is right.

        `small` leaves out all records of replies beyond 512 bytes (truncated): for a flood of spoofed questions.
        """
        try:
            query = read_query(packet)
        except Fault as fault:
            return fault.reply
        limit = codec.UDP_BYTES_PLAIN if small else codec.size_limit(query, tcp)
        return self._answer(query, source, limit)

    def _answer(self, query: Query, source: str, limit: int) -> bytes:
        if query.edns and query.edns.version:
            return build_reply(query, codec.BADVERS, limit=limit)
        if query.klass != codec.IN or query.kind in (codec.AXFR, codec.IXFR) or not self._is_ours(query.key):
            return build_reply(query, codec.REFUSED, limit=limit)
        if query.kind == codec.A and query.key in self._doors:
            return self._answer_doors(query, source, limit)
        if query.kind == codec.TXT and query.key == self._why:
            return self._answer_why(query, source, limit)
        if own := self._own.get((query.key, query.kind)):
            return build_reply(query, codec.NOERROR, (1, own), limit=limit)
        if query.key not in self._names:
            return build_reply(query, codec.NXDOMAIN, authority=self._authority(query), limit=limit)
        if query.kind == codec.ANY:
            return build_reply(query, codec.NOERROR, (1, record(codec.HINFO, ZONE_TTL_S, _RFC8482)), limit=limit)
        return build_reply(query, codec.NOERROR, authority=self._authority(query), limit=limit)

    def _answer_doors(self, query: Query, source: str, limit: int) -> bytes:
        address, bits, told = _client(query, source)
        table = self._snapshot.map.v4 if bits == 32 else self._snapshot.map.v6
        at = find(table, address)
        ruled = None if told else find_resolver(self._snapshot.map, bits, address)
        turns = self._turns[table.buckets[at] if ruled is None else ruled]
        answer = turns[query.ident % len(turns)]
        authority = b"" if answer[0] else self._authority(query)
        length = scope(table, at, address) if told else 0
        return build_reply(query, codec.NOERROR, answer, authority, length, limit=limit)

    def _answer_why(self, query: Query, source: str, limit: int) -> bytes:
        address, bits, told = _client(query, source)
        table = self._snapshot.map.v4 if bits == 32 else self._snapshot.map.v6
        client: Address = IPv4Address(address) if bits == 32 else IPv6Address(address)
        text = why_text(explain_address(self._snapshot, client)).encode()[:WHY_BYTES_MAX].decode("utf-8", "ignore")
        answer = join_records([record(codec.TXT, TTL_DEGRADED_S, codec.text_data(text))])
        length = scope(table, find(table, address), address) if told else 0
        return build_reply(query, codec.NOERROR, answer, scope=length, limit=limit)

    def _is_ours(self, key: bytes) -> bool:
        """Whether a name is the zone's or below it, label by label."""
        if len(key) <= len(self._zone):
            return key == self._zone
        if not key.endswith(self._zone):
            return False
        at, start = 0, len(key) - len(self._zone)
        while at < start:
            at += key[at] + 1
        return at == start

    def _authority(self, query: Query) -> bytes:
        """The SOA that says how long a "no" may be remembered; its owner is the tail of the name asked."""
        owner = struct.pack("!H", 0xC000 | 12 + len(query.key) - len(self._zone))
        return record(codec.SOA, NEGATIVE_TTL_S, self._soa, owner)


def render_doors(snapshot: Snapshot, decision: Decision) -> Turns:
    """The A records of a decision, in up to `TURNS_MAX` orders, sites taking turns so that the first ones spread."""
    ttl_s = TTL_DEGRADED_S if decision.degraded else TTL_S
    records = [record(codec.A, ttl_s, socket.inet_aton(ip)) for ip in door_addresses(snapshot, decision)]
    turns = min(len(records), TURNS_MAX)
    if not turns:
        return ((0, b""),)
    step = len(records) / turns
    orders = (records[(start := round(turn * step)) :] + records[:start] for turn in range(turns))
    return tuple(join_records(order[:ADDRESSES_MAX]) for order in orders)


def door_addresses(snapshot: Snapshot, decision: Decision) -> list[str]:
    """The IPv4 addresses of the doors of a decision's sites: every site's first, then every site's second, …"""
    found: list[tuple[int, int, str]] = []
    for order, name in enumerate(decision.answer):
        ref = snapshot.world.site(name)
        for turn, number in enumerate(doors_of(snapshot.health[name])):
            found.append((turn, order, door_address(snapshot.world, ref, number)))
    return [address for _, _, address in sorted(found) if ":" not in address]


def _client(query: Query, source: str) -> tuple[int, int, bool]:
    """(address, bits of its family, whether the query told it): the client subnet, or else the resolver itself."""
    subnet = query.edns.subnet if query.edns else None
    if subnet is not None and subnet.source:
        return subnet.address, 32 if subnet.family == 1 else 128, True
    try:
        return int.from_bytes(socket.inet_aton(source), "big"), 32, False
    except OSError:
        found = ip_address(source.partition("%")[0])
        mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
        return (int(mapped), 32, False) if mapped else (int(found), 128, False)


def _soa_data(ns: bytes, zone: bytes, snapshot: Snapshot) -> bytes:
    """Serial: the second of the last change.  Secondaries do not exist, so refresh and expiry only have to be sane."""
    serial = int(snapshot.changed_at_s) & 0xFFFFFFFF
    return ns + b"\x0ahostmaster" + zone + struct.pack("!IIIII", serial, 3_600, 600, 604_800, NEGATIVE_TTL_S)


def zone_names(world: World) -> tuple[str, ...]:
    """Every name the responder knows, for people and tests."""
    return (world.domain, *(f"{label}.{world.domain}" for label in ("door", "api", "why", "ns")))
