"""Mutated packets by the hundred thousand: none breaks the desk, none gets an answer or a scope that is not true."""

from __future__ import annotations

import random
from bisect import bisect_right

import dns.exception
import dns.message
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from moonbow.director import codec
from moonbow.director.addresses import Ranges
from moonbow.director.codec import Fault, read_query
from moonbow.director.cookies import Jar
from moonbow.director.desk import Desk
from moonbow.director.dns import Printer
from moonbow.director.dnssec import ZoneKey
from moonbow.director.limiter import Rates
from moonbow.director.model import Overrides
from moonbow.director.policy import TTL_DEGRADED_S
from moonbow.director.slices import cell_scope, slice_of
from moonbow.director.snapshot import Snapshot, take_snapshot
from moonbow.director.zone import addresses_of
from moonbow.world import World

from .nameservers import AFRICA, FRANCE, JAPAN, ZONE, query

NOW = 1_700_000_000
SOURCE = bytes([194, 2, 0, 53])
PARSED_SHARE = 20  # one reply in so many is read by dnspython as well
KINDS = ("A", "A", "AAAA", "TXT", "SOA", "NS", "DNSKEY", "ANY", "NSEC", "CAA", "TYPE128")
NAMES = ("", "door.", "api.", "edge.", "turn.", "why.", "media.why.", "no.", "ns.")
NETS = (None, FRANCE, JAPAN, AFRICA, "53.0.0.0/8", "2001:660::/48", "2400:4000::/56", "0.0.0.0/0", "194.2.0.77/32")
PIECES = (b"\xff\xff", b"\0\0", b"\xc0\x0c", b"\0\x08", b"\0\x29", b"\0\x0a", b"\0\1\x18\0", b"\0\2\x38\0", b"\x80\0")


@pytest.fixture(scope="module")
def snapshot(laptop: World, ranges: Ranges) -> Snapshot:
    """One with split buckets, so that slices matter."""
    return take_snapshot(laptop, ranges, overrides=Overrides(weights={"paris": 40, "tokyo": 70}), changed_at_s=NOW)


@pytest.fixture(scope="module")
def desk(laptop: World, snapshot: Snapshot) -> Desk:
    key = ZoneKey(ec.derive_private_key(7, ec.SECP256R1()))
    return Desk(Printer(laptop, key).make(snapshot, NOW), Jar(bytes(32), NOW), Rates(0))


def seeds() -> list[bytes]:
    found = []
    for label in NAMES:
        for kind in KINDS:
            for net in NETS:
                found.append(query(label + ZONE, kind, net, want_dnssec=net != AFRICA).to_wire())
    found += [query(label + ZONE).to_wire() for label in NAMES]
    found.append(query("example.com").to_wire())
    return found


def mutate(dice: random.Random, packet: bytes) -> bytes:
    found = bytearray(packet)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(found) + 1)
        match dice.randrange(6):
            case 0:
                found[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del found[at : at + dice.randint(1, 8)]
            case 2:
                found[at:at] = dice.randbytes(dice.randint(1, 8))
            case 3:
                found[-3:] = dice.randbytes(3)
            case 4 if at < len(found):
                found[at] ^= 1 << dice.randrange(8)
            case _:
                found[at : at + 2] = dice.choice(PIECES)
        if not found:
            break
    return bytes(found)


def truth(snapshot: Snapshot, packet: bytes) -> tuple[set[bytes], int, int] | None:
    """(addresses, TTL, scope) that an A query for a service deserves, by another way than the responder's; None for others."""
    found = read_query(packet)
    label = found.key[: -len(codec.name_wire(ZONE))]
    service = {
        b"": "door",
        b"\4door": "door",
        b"\3api": "door",
        b"\4edge": "edge",
        b"\5media": "media",
        b"\4turn": "turn",
    }.get(label)
    if service is None or not found.key.endswith(codec.name_wire(ZONE)) or found.kind != codec.A or found.klass != 1:
        return None
    subnet = found.edns.subnet if found.edns else None
    told = subnet is not None and subnet.source > 0
    address, bits = (subnet.address, 32 if subnet.family == 1 else 128) if told else (int.from_bytes(SOURCE, "big"), 32)
    table = snapshot.map.v4 if bits == 32 else snapshot.map.v6
    at = bisect_right(table.starts, address) - 1
    pool = snapshot.plans[service].pool(table.buckets[at], slice_of(bits, address))
    scope = cell_scope(table, at, address, snapshot.plans[service].is_split(table.buckets[at])) if told else 0
    four = {bytes(map(int, text.split("."))) for text in addresses_of(snapshot, service, pool.sites)}
    return four, TTL_DEGRADED_S if pool.degraded else 30, scope


def check(desk: Desk, packet: bytes, *, tcp: bool, parse: bool) -> None:
    reply = desk.handle_stream(packet, SOURCE) if tcp else desk.handle(packet, SOURCE)
    if reply is None:
        assert len(packet) < 12 or packet[2] & 0x80, "silence is for what is no query"
        return
    assert reply[:2] == packet[:2]
    assert reply[2] & 0x80
    assert tcp or len(reply) <= 1232
    if parse:
        dns.message.from_wire(reply)
    try:
        query_ = read_query(packet)
    except Fault:
        assert reply[3] & 0xF in (codec.FORMERR, codec.NOTIMP)
        return
    expected = truth(desk.responder.snapshot, packet)
    if expected is None or (query_.edns and query_.edns.version) or reply[2] & 2:
        return
    check_answer(reply, query_, *expected)


def check_answer(reply: bytes, asked: codec.Query, addresses: set[bytes], ttl_s: int, scope: int) -> None:
    at = 12 + len(asked.question)
    assert reply[12:at] == asked.question
    head = b"\xc0\x0c\0\1\0\1" + ttl_s.to_bytes(4, "big") + b"\0\4"
    found = set()
    while reply[at : at + len(head)] == head:
        found.add(reply[at + len(head) : at + len(head) + 4])
        at += len(head) + 4
    assert found == addresses
    if asked.edns and asked.edns.subnet:
        family, source, _, raw = asked.edns.subnet
        option = bytes([0, 8, 0, 4 + len(raw), 0, family, source, scope]) + raw
        assert option in reply[at:], "the subnet comes back with its true scope"


def run(desk: Desk, seed: int, count: int) -> None:
    dice, packets = random.Random(seed), seeds()
    chosen = dice.choices(packets, k=1_000)
    for number in range(count):
        if number % 1_000 == 0:
            chosen = dice.choices(packets, k=1_000)
            desk.tick(NOW)
        check(desk, mutate(dice, chosen[number % 1_000]), tcp=number % 10 == 0, parse=number % PARSED_SHARE == 0)


def test_every_unharmed_packet_gets_the_truth_twice(desk: Desk) -> None:
    for packet in seeds() * 2:
        check(desk, packet, tcp=False, parse=True)


def test_a_hundred_thousand_mutated_packets(desk: Desk) -> None:
    run(desk, 7, 100_000)


@pytest.mark.long
def test_three_million_mutated_packets(desk: Desk) -> None:
    for part in range(30):
        run(desk, 100 + part, 100_000)
