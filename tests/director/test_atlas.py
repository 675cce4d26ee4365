"""The map of the address space: full cover, most specific rule, minimal scope."""

from __future__ import annotations

from bisect import bisect_right
from ipaddress import IPv4Address, IPv6Address, ip_network

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.director.addresses import Ranges, make_ranges
from moonbow.director.atlas import (
    bucket_for,
    compile_map,
    country_rule,
    find,
    place_address,
    rank_sites,
    scope,
    subnet_changes,
)
from moonbow.director.model import Map, Table
from moonbow.world import World

CODES = st.sampled_from([None, "DE", "FR", "US", "JP", "ZA", "CN", "EU", "BR", "AU"])
REGIONS = st.sampled_from(["emea", "de", "na", "apac", "cn"])


def ranges_of(bits: int) -> st.SearchStrategy[list[tuple[int, str | None]]]:
    return st.lists(st.tuples(st.integers(0, (1 << bits) - 1), CODES), max_size=12).map(
        lambda rows: sorted(dict(rows).items())
    )


@st.composite
def subnets(draw: st.DrawFn) -> dict[str, str]:
    found: dict[str, str] = {}
    for _ in range(draw(st.integers(0, 6))):
        six = draw(st.booleans())
        length = draw(st.integers(0, 128 if six else 32))
        address = draw(st.integers(0, (1 << (128 if six else 32)) - 1))
        network = ip_network(((IPv6Address if six else IPv4Address)(address), length), strict=False)
        found[str(network)] = draw(REGIONS)
    return found


def with_subnets(world: World, rules: dict[str, str]) -> World:
    return msgspec.structs.replace(world, traffic=msgspec.structs.replace(world.traffic, subnets=rules))


def expected_bucket(world: World, ranges: Ranges, address: IPv4Address | IPv6Address):
    placed = place_address(world, ranges, address)
    return bucket_for(world, placed.region, placed.at)


def edges_of(table: Table, rules: dict[str, str]) -> set[int]:
    """The addresses at which something might go wrong by one."""
    top = (1 << table.bits) - 1
    marks = {0, top, *table.starts}
    for text in rules:
        network = ip_network(text)
        if network.max_prefixlen == table.bits:
            marks |= {int(network[0]), int(network[-1])}
    return {mark for start in marks for mark in (start - 1, start, start + 1) if 0 <= mark <= top}


@settings(max_examples=60, deadline=None)
@given(four=ranges_of(32), six=ranges_of(64), rules=subnets())
def test_every_address_is_in_the_bucket_that_its_rules_say(planet: World, four, six, rules) -> None:
    world, ranges = with_subnets(planet, rules), make_ranges("x", four, six)
    compiled = compile_map(world, ranges)
    for table, kind in ((compiled.v4, IPv4Address), (compiled.v6, IPv6Address)):
        assert table.starts[0] == 0
        assert table.starts == sorted(set(table.starts))
        assert all(a != b for a, b in zip(table.buckets, table.buckets[1:], strict=False)), "neighbours differ"
        for address in edges_of(table, rules):
            bucket = compiled.buckets[table.buckets[find(table, address)]]
            assert bucket == expected_bucket(world, ranges, kind(address))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    bits = draw(st.sampled_from([32, 128]))
    starts = sorted({0, *draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=20))})
    return Table(bits, starts, [number % 2 for number in range(len(starts))])


@settings(max_examples=400, deadline=None)
@given(table=tables(), data=st.data())
def test_scope_is_the_shortest_prefix_inside_the_range(table: Table, data) -> None:
    near = st.sampled_from(table.starts).map(lambda start: max(0, start - 1))
    address = data.draw(st.one_of(st.integers(0, (1 << table.bits) - 1), near))
    at = find(table, address)
    length = scope(table, at, address)

    def inside(prefix: int) -> bool:
        shift = table.bits - prefix
        low = address >> shift << shift
        high = low + (1 << shift) - 1
        return bisect_right(table.starts, low) - 1 == bisect_right(table.starts, high) - 1 == at

    assert inside(length), "the answer is the same everywhere in the scope"
    assert length == 0 or not inside(length - 1), "no shorter scope is true"


def test_the_most_specific_rule_wins(planet: World, ranges: Ranges) -> None:
    world = with_subnets(planet, {"53.0.0.0/16": "na", "53.0.7.0/24": "apac", "2001:660::/48": "de"})
    said = {text: place_address(world, ranges, IPv4Address(text)) for text in ("53.0.7.9", "53.0.8.9", "53.1.0.1")}
    assert [(placed.region, placed.rule) for placed in said.values()] == [
        ("apac", "subnet 53.0.7.0/24"),
        ("na", "subnet 53.0.0.0/16"),
        ("de", "country DE"),
    ]
    assert place_address(world, ranges, IPv6Address("2001:660::1")).region == "de"
    assert place_address(world, ranges, IPv6Address("2001:660:1::1")).rule == "continent Europe"
    assert place_address(world, ranges, IPv4Address("240.0.0.1")).rule == "default"


def test_codes_that_are_no_country_fall_to_the_default(planet: World) -> None:
    assert country_rule(planet, "EU") == ("emea", "default")
    assert country_rule(planet, None) == ("emea", "default")


def test_nested_rules_that_end_together_leave_nothing_behind(planet: World) -> None:
    world = with_subnets(planet, {"10.0.0.0/8": "na", "10.255.0.0/16": "de", "10.255.255.0/24": "cn"})
    top = 11 << 24
    assert subnet_changes(world, 32) == [
        (10 << 24, "na"),
        (top - 65536, "de"),
        (top - 256, "cn"),
        (top, None),
    ]
    everything = with_subnets(planet, {"0.0.0.0/0": "na", "::/0": "de"})
    assert subnet_changes(everything, 32) == [(0, "na")]
    assert subnet_changes(everything, 128) == [(0, "de")]


def test_a_world_of_one_answer_has_one_bucket_and_no_scope(solo: World, ranges: Ranges) -> None:
    compiled = compile_map(solo, ranges)
    assert isinstance(compiled, Map)
    assert len(compiled.buckets) == 1
    assert scope(compiled.v4, 0, 12345) == 0


def test_sites_are_ranked_by_nearness_and_an_edge_must_earn_it(laptop: World) -> None:
    def order(at: tuple[float, float] | None) -> list[tuple[str, ...]]:
        return [group.sites for group in rank_sites(laptop, "emea", at)]

    assert order((51, 9)) == [("frankfurt",), ("paris",), ("capetown",)]
    assert order((-27, 28)) == [("capetown",), ("frankfurt", "paris")], "250 km more or less are the same"
    assert order((30, 31))[0] == ("frankfurt",), "Cairo is nearer to Europe"
    assert order(None) == [("paris", "frankfurt"), ("capetown",)]
