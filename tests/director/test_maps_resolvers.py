"""Rules for DNS resolvers: they beat all others, and only where the client's network is not told."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import dns.edns
import dns.message
import msgspec
from hypothesis import given, settings

from moonbow.director.addresses import Ranges, make_ranges
from moonbow.director.atlas import bucket_for, compile_map, find, find_resolver, place_address
from moonbow.director.dns import Responder
from moonbow.director.snapshot import take_snapshot
from moonbow.world import World

from .test_atlas import ranges_of, subnets


def ruled(world: World, resolvers: dict[str, str], nets: dict[str, str] | None = None) -> World:
    traffic = msgspec.structs.replace(world.traffic, resolvers=resolvers, subnets=nets or {})
    return msgspec.structs.replace(world, traffic=traffic)


@settings(max_examples=60, deadline=None)
@given(four=ranges_of(32), six=ranges_of(64), nets=subnets(), resolvers=subnets())
def test_a_resolver_is_in_the_bucket_that_its_rules_say(planet: World, four, six, nets, resolvers) -> None:
    world, ranges = ruled(planet, resolvers, nets), make_ranges("x", four, six)
    compiled = compile_map(world, ranges)
    assert compiled[1:3] == compile_map(ruled(planet, {}, nets), ranges)[1:3], "clients are where they were"
    for bits, table, kind in ((32, compiled.v4, IPv4Address), (128, compiled.v6, IPv6Address)):
        marks = {0, (1 << bits) - 1, *table.starts}
        marks |= {
            int(end) for net in map(ip_network, resolvers) if net.max_prefixlen == bits for end in (net[0], net[-1])
        }
        for address in {near for mark in marks for near in (mark - 1, mark, mark + 1) if 0 <= near < 1 << bits}:
            bucket = find_resolver(compiled, bits, address)
            assert (bucket is None) == (not any(kind(address) in ip_network(net) for net in resolvers))
            placed = place_address(world, ranges, kind(address), told=False)
            found = compiled.buckets[table.buckets[find(table, address)] if bucket is None else bucket]
            assert found == bucket_for(world, placed.region, placed.at)


def ask(responder: Responder, source: str, net: str = "") -> set[str]:
    options = [dns.edns.ECSOption(net, 24)] if net else []
    message = dns.message.make_query("moonbow.localhost", "A", use_edns=0, options=options)
    reply = responder.respond(message.to_wire(), source)
    assert reply is not None
    return {record.address for rrset in dns.message.from_wire(reply).answer for record in rrset}


def test_a_far_resolver_gets_its_clients_doors_until_it_names_them(laptop: World, ranges: Ranges) -> None:
    """A resolver in France that is known to serve Japan."""
    plain, moved = (
        Responder(take_snapshot(world, ranges)) for world in (laptop, ruled(laptop, {"194.2.0.53/32": "apac"}))
    )
    assert ask(plain, "194.2.0.53") != ask(moved, "194.2.0.53")
    assert ask(moved, "194.2.0.53") <= {"127.111.1.11", "127.111.1.12", "127.111.2.11", "127.111.2.12"}
    assert ask(moved, "194.2.0.53", "194.2.7.0") == ask(plain, "194.2.0.53", "194.2.7.0")
    assert ask(moved, "194.2.0.54") == ask(plain, "194.2.0.54")


def test_why_speaks_of_the_rule_that_decided(laptop: World, ranges: Ranges) -> None:
    responder = Responder(take_snapshot(ruled(laptop, {"194.2.0.53/32": "apac"}), ranges))

    def why(source: str, net: str = "") -> str:
        options = [dns.edns.ECSOption(net, 24)] if net else []
        message = dns.message.make_query("why.moonbow.localhost", "TXT", use_edns=0, options=options, payload=1232)
        reply = responder.respond(message.to_wire(), source)
        assert reply is not None
        return " ".join(rrset.to_text() for rrset in dns.message.from_wire(reply).answer)

    assert "194.2.0.53/32 is in FR; rule: resolver 194.2.0.53/32; region: apac" in why("194.2.0.53")
    assert "region: emea" in why("194.2.0.53", "194.2.7.0")
    assert "region: emea" in why("194.2.0.54")
