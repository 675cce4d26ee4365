"""What moves between two maps: the same as counting every address of a small space."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.director.addresses import Ranges, make_ranges
from moonbow.director.atlas import bucket_for, place_address
from moonbow.director.mapdiff import BIGGEST_SHOWN, Change, count_prefixes, diff_maps, prefixes_of, share_regions
from moonbow.world import World

from .test_atlas import with_subnets

BLOCKS = 64  # each family is cut into this many equal parts, small enough to count every one
CODES = st.sampled_from([None, "DE", "FR", "US", "JP", "CN"])
COLUMN = st.lists(CODES, min_size=BLOCKS, max_size=BLOCKS) | CODES.map(lambda code: [code] * BLOCKS)


@st.composite
def maps(draw: st.DrawFn) -> Ranges:
    columns = [[(n << bits - 6, code) for n, code in enumerate(draw(COLUMN))] for bits in (32, 64)]
    return make_ranges("drawn", *columns)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, str]:
    found: dict[str, str] = {}
    for _ in range(draw(st.integers(0, 4))):
        bits, length = draw(st.sampled_from([32, 128])), draw(st.integers(0, 6))
        start = draw(st.integers(0, (1 << length) - 1)) << bits - length
        network = ip_network(((IPv4Address if bits == 32 else IPv6Address)(start), length))
        found[str(network)] = draw(st.sampled_from(["de", "na", "apac"]))
    return found


def fewest(marks: list[object], wanted: object) -> int:
    """The fewest prefixes that hold just the blocks marked `wanted`: by halving, as a tree would."""
    if all(mark == wanted for mark in marks):
        return 1
    if wanted not in marks:
        return 0
    half = len(marks) // 2
    return fewest(marks[:half], wanted) + fewest(marks[half:], wanted)


def count(world: World, bits: int, before: Ranges, after: Ranges) -> tuple[Counter, Counter, int, int, list]:
    """Everything about one family, block by block."""
    kind, size = (IPv4Address, 1 << 26) if bits == 32 else (IPv6Address, 1 << 122)
    regions: Counter = Counter()
    countries: Counter = Counter()
    known = reordered = 0
    marks: list[object] = []
    for block in range(BLOCKS):
        sides = [place_address(world, ranges, kind(block * size)) for ranges in (before, after)]
        one, other = sides
        known += size if one.country or other.country else 0
        marks.append((one.region, other.region) if one.region != other.region else None)
        if one.region != other.region:
            regions[one.region, other.region] += size
        elif bucket_for(world, one.region, one.at) != bucket_for(world, other.region, other.at):
            reordered += size
        if one.country != other.country:
            countries[one.country or "--", other.country or "--"] += size
    return regions, countries, known, reordered, marks


@settings(max_examples=80, deadline=None)
@given(before=maps(), after=maps(), nets=rules())
def test_a_difference_is_what_counting_says(planet: World, before: Ranges, after: Ranges, nets) -> None:
    world = with_subnets(planet, nets)
    diff = diff_maps(world, before, after)
    for bits, change in ((32, diff.v4), (128, diff.v6)):
        regions, countries, known, reordered, marks = count(world, bits, before, after)
        assert {(pair.before, pair.after): pair.addresses for pair in change.regions} == regions
        assert {(pair.before, pair.after): pair.addresses for pair in change.countries} == countries
        assert (change.known, change.reordered) == (known, reordered)
        assert {(pair.before, pair.after): pair.prefixes for pair in change.regions} == {
            pair: fewest(marks, pair) for pair in regions
        }
        assert change.moved == sum(regions.values())
        assert 0 <= change.ratio <= 1
        look_at_biggest(world, change, before, after)
    turned = diff_maps(world, after, before)
    for one, other in ((diff.v4, turned.v4), (diff.v6, turned.v6)):
        assert {(p.before, *p[2:]) for p in one.regions} == {(p.after, *p[2:]) for p in other.regions}
        assert (one.moved, one.prefixes, one.reordered) == (other.moved, other.prefixes, other.reordered)


def look_at_biggest(world: World, change: Change, before: Ranges, after: Ranges) -> None:
    nets = [ip_network(moved.prefix) for moved in change.biggest]
    assert all(a.prefixlen <= b.prefixlen for a, b in pairwise(nets))
    assert len(nets) <= BIGGEST_SHOWN
    assert bool(nets) == bool(change.regions)
    for moved, net in zip(change.biggest, nets, strict=True):
        for address in (net[0], net[-1]):
            one, other = (place_address(world, ranges, address) for ranges in (before, after))
            assert (one.region, other.region) == (moved.region_before, moved.region_after)
            assert (one.country, other.country) == (moved.country_before, moved.country_after)


@given(maps(), rules())
def test_a_map_differs_in_nothing_from_itself(planet: World, ranges: Ranges, nets) -> None:
    diff = diff_maps(with_subnets(planet, nets), ranges, ranges)
    for change in (diff.v4, diff.v6):
        assert (change.countries, change.regions, change.biggest, change.reordered) == ((), (), (), 0)


@given(st.integers(0, 1 << 12), st.integers(0, 1 << 12))
def test_prefixes_cover_a_range_and_are_fewest(start: int, end: int) -> None:
    found = list(prefixes_of(12, start, end))
    covered = [address for first, length in found for address in range(first, first + (1 << 12 - length))]
    assert covered == list(range(start, end))
    assert all(first % (1 << 12 - length) == 0 for first, length in found)
    marks: list[object] = [start <= address < end for address in range(1 << 12)]
    assert count_prefixes(12, start, end) == len(found) == fewest(marks, True)


def test_rules_for_subnets_keep_their_networks_where_they_are(planet: World) -> None:
    before, after = make_ranges("a", [(0, "DE")]), make_ranges("b", [(0, "US")])
    free = diff_maps(planet, before, after)
    assert (free.v4.ratio, free.v4.prefixes) == (1.0, 1)
    held = diff_maps(with_subnets(planet, {"0.0.0.0/1": "emea", "192.0.0.0/2": "cn"}), before, after)
    assert (held.v4.ratio, held.v4.prefixes, held.v4.country_ratio) == (0.25, 1, 1.0)
    assert held.v4.biggest[0].prefix == "128.0.0.0/2"


def test_shares_of_regions(planet: World) -> None:
    ranges = make_ranges("a", [(0, "DE"), (1 << 30, "US"), (1 << 31, None)])
    shares = share_regions(planet, ranges)
    assert (shares["de"], shares["na"], shares["emea"]) == ((0.5, 0.0), (0.5, 0.0), (0.0, 0.0))
    assert msgspec.json.encode(shares)
