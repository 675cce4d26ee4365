"""The responder against dnspython: same answers, right scopes, right refusals, and no packet that breaks it."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.director.addresses import Ranges
from moonbow.director.atlas import find, scope
from moonbow.director.dns import Responder
from moonbow.director.model import DoorHealth, SiteHealth
from moonbow.director.snapshot import Snapshot, take_snapshot
from moonbow.director.zone import ADDRESSES_MAX, addresses_of, zone_names
from moonbow.world import World, parse_world

ZONE = "moonbow.localhost"
FRANCE, JAPAN, AFRICA, NOWHERE = "194.2.0.0/24", "1.33.0.0/24", "196.10.52.0/24", "240.0.0.0/24"
HERE = "127.110.0.1"


@pytest.fixture(scope="session")
def snapshot(laptop: World, ranges: Ranges) -> Snapshot:
    return take_snapshot(laptop, ranges, changed_at_s=1_700_000_000.0)


@pytest.fixture(scope="session")
def responder(snapshot: Snapshot) -> Responder:
    return Responder(snapshot)


def query(name: str, kind: str = "A", net: str | None = None, **edns) -> dns.message.Message:
    options = []
    if net:
        network = ip_network(net)
        options = [dns.edns.ECSOption(str(network.network_address), network.prefixlen)]
    if options or edns:
        return dns.message.make_query(name, kind, use_edns=0, options=options, **edns)
    return dns.message.make_query(name, kind)


def asked(responder: Responder, message: dns.message.Message, source: str = "194.2.0.53", **how) -> dns.message.Message:
    reply = responder.respond(message.to_wire(), source, **how)
    assert reply is not None
    found = dns.message.from_wire(reply)
    assert message.is_response(found)
    return found


def addresses_in(message: dns.message.Message) -> list[str]:
    return [record.address for rrset in message.answer for record in rrset]


def scope_in(message: dns.message.Message) -> int | None:
    return next((option.scopelen for option in message.options if isinstance(option, dns.edns.ECSOption)), None)


@pytest.mark.parametrize(
    ("net", "sites", "length"),
    [
        (FRANCE, ["127.110.1.11", "127.110.1.12"], 15),
        (JAPAN, ["127.111.2.11", "127.111.2.12"], 16),
        (AFRICA, ["127.110.3.11"], 22),
        ("194.2.0.0/16", ["127.110.1.11", "127.110.1.12"], 15),
        ("2001:660::/48", ["127.110.1.11", "127.110.1.12"], 32),
        ("2400:4000::/32", ["127.111.2.11", "127.111.2.12"], 22),
    ],
)
def test_doors_by_client_subnet(responder: Responder, net: str, sites: list[str], length: int) -> None:
    for name in (ZONE, f"door.{ZONE}", f"api.{ZONE}"):
        found = asked(responder, query(name, net=net), source="9.9.9.9")
        assert sorted(addresses_in(found)) == sites
        assert scope_in(found) == length
        assert found.flags & dns.flags.AA


def test_without_a_subnet_the_resolver_stands_for_its_clients(responder: Responder) -> None:
    for source, first in (("1.33.0.9", "127.111.2"), ("196.10.52.1", "127.110.3"), ("::ffff:1.33.0.9", "127.111.2")):
        plain = asked(responder, query(ZONE), source)
        assert {address.rpartition(".")[0] for address in addresses_in(plain)} == {first}
        declined = asked(responder, query(ZONE, net="0.0.0.0/0"), source)
        assert sorted(addresses_in(declined)) == sorted(addresses_in(plain))
        assert scope_in(declined) == 0
    assert len(addresses_in(asked(responder, query(ZONE), "2001:660::53"))) == 2


def test_case_is_kept_and_orders_turn(responder: Responder) -> None:
    name = "dOOr.MoonBow.lOcalhost"
    message = query(name, net=FRANCE)
    reply = responder.respond(message.to_wire(), "9.9.9.9")
    assert dns.name.from_text(name).to_wire() in reply
    firsts = set()
    for number in range(8):
        message.id = number
        firsts.add(addresses_in(asked(responder, message))[0])
    assert firsts == {"127.110.1.11", "127.110.1.12"}


def reference(snapshot: Snapshot, message: dns.message.Message, records: list[str], length: int) -> bytes:
    """The answer as dnspython builds it."""
    reply = dns.message.make_response(message, our_payload=1232)
    reply.flags |= dns.flags.AA
    reply.flags &= ~dns.flags.RA
    for record in records:  # one by one, because an RRset is shuffled when it is written
        reply.answer.append(dns.rrset.from_text(message.question[0].name, 30, "IN", "A", record))
    options = [
        dns.edns.ECSOption(option.address, option.srclen, length)
        for option in message.options
        if isinstance(option, dns.edns.ECSOption)
    ]
    if message.edns >= 0:
        reply.use_edns(0, message.ednsflags & dns.flags.DO, 1232, options=options)
    return reply.to_wire()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_the_reply_is_what_dnspython_would_build(snapshot: Snapshot, responder: Responder, data: st.DataObject) -> None:
    six = data.draw(st.booleans())
    bits = 128 if six else 32
    table = snapshot.map.v6 if six else snapshot.map.v4
    near = st.sampled_from(table.starts)
    address = data.draw(st.one_of(near, st.integers(0, (1 << bits) - 1)))
    length = data.draw(st.integers(1, bits))
    address = address >> (bits - length) << (bits - length)
    do = data.draw(st.booleans())
    label = data.draw(st.sampled_from(["", "DOOR.", "api."]))
    client = IPv6Address(address) if six else IPv4Address(address)
    message = query(label + ZONE, net=f"{client}/{length}", want_dnssec=do)
    at = find(table, address)
    expected = addresses_of(snapshot, "door", snapshot.plans["door"].pool(table.buckets[at], 0).sites)
    reply = responder.respond(message.to_wire(), "9.9.9.9")
    records = addresses_in(dns.message.from_wire(reply))
    assert sorted(records) == sorted(expected)
    assert reply == reference(snapshot, message, records, scope(table, at, address))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_answers_are_constant_inside_a_returned_scope(
    snapshot: Snapshot, responder: Responder, data: st.DataObject
) -> None:
    address = data.draw(st.one_of(st.sampled_from(snapshot.map.v4.starts), st.integers(0, 2**32 - 1)))
    told = asked(responder, query(ZONE, net=f"{ip_address(address)}/32"))
    shift = 32 - scope_in(told)
    other = data.draw(st.integers(0, (1 << shift) - 1)) | address >> shift << shift
    again = asked(responder, query(ZONE, net=f"{ip_address(other)}/32"))
    assert sorted(addresses_in(again)) == sorted(addresses_in(told))
    assert scope_in(again) == scope_in(told)


def test_why_says_the_decision_in_words(responder: Responder) -> None:
    found = asked(responder, query(f"why.{ZONE}", "TXT", net=AFRICA))
    text = b"".join(found.answer[0][0].strings).decode()
    assert text.startswith("196.10.52.0/22 is in ZA; rule: default; region: emea; capetown is the nearest site of emea")
    assert "127.110.3.11" in text
    assert scope_in(found) == 32, "it speaks of one address: its country, its slice, its turn of the doors"


def test_a_long_why_comes_back_over_tcp(laptop: World, ranges: Ranges) -> None:
    bad = DoorHealth(False, "no answer within 350 ms, and a good many other reasons besides, one longer than the other")
    health = {ref.site.name: SiteHealth((bad,) * ref.site.doors) for ref in laptop.sites()}
    responder = Responder(take_snapshot(laptop, ranges, health=health))
    message = query(f"why.{ZONE}", "TXT")
    short = asked(responder, message)
    assert short.flags & dns.flags.TC
    assert not short.answer
    assert len(asked(responder, message, tcp=True).answer[0][0].strings) > 2
    assert not asked(responder, query(f"why.{ZONE}", "TXT", payload=1232)).flags & dns.flags.TC


def test_zone_records_and_absence(responder: Responder) -> None:
    ns = asked(responder, query(ZONE, "NS"))
    assert ns.answer[0][0].target.to_text() == f"ns.{ZONE}."
    assert addresses_in(asked(responder, query(f"ns.{ZONE}"))) == [HERE]
    soa = asked(responder, query(ZONE, "SOA")).answer[0][0]
    assert (soa.serial, soa.minimum) == (1_700_000_000, 30)
    for name, kind, rcode in ((f"nope.{ZONE}", "A", 3), (f"a.door.{ZONE}", "A", 3), (f"door.{ZONE}", "AAAA", 0)):
        found = asked(responder, query(name, kind, net=FRANCE))
        assert found.rcode() == rcode
        assert not found.answer
        assert found.authority[0].name.to_text() == f"{ZONE}."
        assert found.authority[0].rdtype == dns.rdatatype.SOA
        assert scope_in(found) == 0, "a no is the same for everybody"
    for name in zone_names(responder.snapshot.world):
        minimal = asked(responder, query(name, "ANY"))
        assert [rrset.rdtype for rrset in minimal.answer] == [dns.rdatatype.HINFO]


def edited(change: Callable[[bytearray], None], message: dns.message.Message | None = None) -> bytes:
    packet = bytearray((message or query(ZONE)).to_wire())
    change(packet)
    return bytes(packet)


def opcode(packet: bytearray) -> None:
    packet[2] |= dns.opcode.STATUS << 3


def two_questions(packet: bytearray) -> None:
    packet[5] = 2


def pointer(packet: bytearray) -> None:
    packet[12:14] = b"\xc0\x0c"


def trailing(packet: bytearray) -> None:
    packet.extend(b"junk")


def long_label(packet: bytearray) -> None:
    packet[12:12] = bytes([64]) + b"x" * 64


def inside_a_label() -> dns.message.Message:
    """The zone's bytes at the end of a name of one label: not below the zone."""
    return dns.message.make_query(dns.name.Name([b"x\x07moonbow\x09localhost", b""]), "A")


@pytest.mark.parametrize(
    ("packet", "rcode"),
    [
        (dns.message.make_query("version.bind", "TXT", "CH").to_wire(), dns.rcode.REFUSED),
        (query("example.com").to_wire(), dns.rcode.REFUSED),
        (query("xmoonbow.localhost").to_wire(), dns.rcode.REFUSED),
        (query(ZONE, "AXFR").to_wire(), dns.rcode.REFUSED),
        (edited(opcode), dns.rcode.NOTIMP),
        (edited(two_questions), dns.rcode.FORMERR),
        (edited(pointer), dns.rcode.FORMERR),
        (edited(trailing), dns.rcode.FORMERR),
        (edited(long_label), dns.rcode.FORMERR),
        (inside_a_label().to_wire(), dns.rcode.REFUSED),
        (dns.message.make_query(ZONE, "A", use_edns=1).to_wire(), dns.rcode.BADVERS),
    ],
)
def test_what_is_refused(responder: Responder, packet: bytes, rcode: int) -> None:
    reply = responder.respond(packet, "194.2.0.53")
    assert reply[:2] == packet[:2]
    assert dns.message.from_wire(reply).rcode() == rcode


@pytest.mark.parametrize(
    "option",
    [
        b"",
        b"\0\1\x18",
        b"\0\1\x18\0\xc2\2",  # too short
        b"\0\1\x18\0\xc2\2\0\0",  # too long
        b"\0\1\x18\5\xc2\2\0",  # scope in a query
        b"\0\1\x21\0\xc2\2\0\0\0",  # /33
        b"\0\1\x17\0\xc2\2\1",  # bit beyond the prefix
        b"\0\3\x18\0\xc2\2\0",  # no such family
        b"\0\0\x18\0\xc2\2\0",  # no family, but an address
        b"\0\2\x81\0" + bytes(17),  # /129
    ],
)
def test_a_malformed_subnet_is_a_format_error(responder: Responder, option: bytes) -> None:
    message = dns.message.make_query(ZONE, "A", use_edns=0, options=[dns.edns.GenericOption(8, option)])
    reply = dns.message.from_wire(responder.respond(message.to_wire(), "194.2.0.53"))
    assert reply.rcode() == dns.rcode.FORMERR


def test_silence_is_kept_where_an_answer_could_loop(responder: Responder) -> None:
    assert responder.respond(b"", "1.2.3.4") is None
    assert responder.respond(b"short", "1.2.3.4") is None
    assert responder.respond(edited(lambda packet: packet.__setitem__(2, 0x80)), "1.2.3.4") is None


def test_many_doors_are_bounded_and_take_turns(ranges: Ranges) -> None:
    sites = "".join(f'{{ name = "s{n}", city = "S", at = [48.0, 2.0], doors = 8 }},' for n in range(9))
    head = 'name = "many"\ndomain = "many.test"\nslot = 5\n[traffic]\ndefault = "emea"\n'
    world = parse_world(f'{head}[regions.emea]\ntitle = "E"\nsites = [{sites}]\n')
    responder = Responder(take_snapshot(world, ranges))
    message, seen = query("many.test"), set()
    for number in range(16):
        message.id = number
        found = addresses_in(asked(responder, message))
        assert len(found) == ADDRESSES_MAX
        seen |= set(found)
    assert len(seen) > 4 * ADDRESSES_MAX


def seeds() -> list[bytes]:
    kinds = ("A", "AAAA", "TXT", "SOA", "NS", "ANY")
    names = (ZONE, f"door.{ZONE}", f"why.{ZONE}", f"no.{ZONE}", "example.com", ".")
    nets = (None, FRANCE, "2001:660::/48", "0.0.0.0/0")
    return [query(name, kind, net=net).to_wire() for name in names for kind in kinds for net in nets]


def check(responder: Responder, packet: bytes, tcp: bool) -> None:
    reply = responder.respond(packet, "194.2.0.53", tcp=tcp)
    if reply is not None:
        assert reply[:2] == packet[:2]
        assert reply[2] & 0x80
        assert tcp or len(reply) <= 1232
        dns.message.from_wire(reply)


def test_twenty_thousand_mutated_packets_break_nothing(responder: Responder) -> None:
    dice, packets = random.Random(7), seeds()
    for _ in range(20_000):
        packet = bytearray(dice.choice(packets))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(packet) + 1)
            match dice.randrange(4):
                case 0:
                    packet[at : at + 1] = bytes([dice.randrange(256)])
                case 1:
                    del packet[at : at + dice.randint(1, 8)]
                case 2:
                    packet[at:at] = dice.randbytes(dice.randint(1, 8))
                case _:
                    packet[at : at + 2] = dice.choice([b"\xff\xff", b"\0\0", b"\xc0\x0c", b"\0\x08", b"\0\x29"])
            if not packet:
                break
        check(responder, bytes(packet), tcp=dice.random() < 0.2)


@settings(max_examples=300, deadline=None)
@given(packet=st.binary(max_size=600), tcp=st.booleans())
def test_garbage_breaks_nothing(responder: Responder, packet: bytes, tcp: bool) -> None:
    check(responder, packet, tcp)


def test_the_zone_survives_a_source_with_a_scope(responder: Responder) -> None:
    assert addresses_in(asked(responder, query(ZONE), "fe80::1%lo"))
    assert socket.inet_aton(HERE)
