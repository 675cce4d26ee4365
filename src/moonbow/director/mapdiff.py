"""What changes for a world when one address map takes the place of another.  Pure.

Laws: the sizes of the pairs add up to what moves, and so do their prefixes; every address that moves is in exactly one
of the prefixes; equal maps have an empty difference, and swapping them swaps every pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import merge, nlargest
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, NamedTuple, TypeVar

from moonbow.world import World

from .addresses import Ranges
from .atlas import bucket_for, country_rule, subnet_changes
from .geography import country
from .model import Bucket

BIGGEST_SHOWN = 12
T = TypeVar("T")


class Pair(NamedTuple):
    """Addresses that go from one region, or country, to another; `prefixes` is the fewest that hold just them."""

    before: str
    after: str
    addresses: int
    prefixes: int


class Moved(NamedTuple):
    """A network that changes region: the widest prefix of which all addresses do, from and to the same places."""

    prefix: str
    region_before: str
    region_after: str
    country_before: str | None
    country_after: str | None


class Change(NamedTuple):
    """What changes in one family.  `known` counts the addresses that one of the maps knows a country of.

    `reordered` addresses stay in their region and get its sites in another order.
    """

    known: int
    regions: tuple[Pair, ...]
    countries: tuple[Pair, ...]
    reordered: int
    biggest: tuple[Moved, ...]

    @property
    def moved(self) -> int:
        """How many addresses change region."""
        return sum(pair.addresses for pair in self.regions)

    @property
    def prefixes(self) -> int:
        """How many prefixes change region."""
        return sum(pair.prefixes for pair in self.regions)

    @property
    def ratio(self) -> float:
        """The share (0..1) of known addresses that change region."""
        return self.moved / self.known if self.known else 0.0

    @property
    def country_ratio(self) -> float:
        """The share (0..1) of known addresses that change country."""
        return sum(pair.addresses for pair in self.countries) / self.known if self.known else 0.0


class Diff(NamedTuple):
    """Both families, and the names of the maps that were compared."""

    before: str
    after: str
    v4: Change
    v6: Change

    @property
    def ratio(self) -> float:
        """The greater of the families' shares (0..1) of known addresses that change region."""
        return max(self.v4.ratio, self.v6.ratio)


class Side(NamedTuple):
    """Where a network is by one of the maps."""

    country: str | None
    region: str
    bucket: Bucket


class Segment(NamedTuple, Generic[T]):
    """Addresses from `start` to before `end`, and what is true of them."""

    start: int
    end: int
    said: T


def diff_maps(world: World, before: Ranges, after: Ranges) -> Diff:
    """What moves in `world` when `after` takes the place of `before`."""
    locate = _locator(world)
    return Diff(
        before.source, after.source, _diff(world, 32, before, after, locate), _diff(world, 128, before, after, locate)
    )


def share_regions(world: World, ranges: Ranges) -> dict[str, tuple[float, float]]:
    """The shares (0..1) of known IPv4 and IPv6 addresses that each region has."""
    locate, found = _locator(world), {region: [0.0, 0.0] for region in world.regions}
    for family, bits in enumerate((32, 128)):
        sizes = dict.fromkeys(world.regions, 0)
        for start, end, (code, _, rule) in _segments(world, bits, ranges, ranges):
            sizes[locate(code, rule).region] += end - start if code else 0
        known = sum(sizes.values())
        for region, size in sizes.items():
            found[region][family] = size / known if known else 0.0
    return {region: (four, six) for region, (four, six) in found.items()}


Locate = Callable[[str | None, str | None], Side]


def _locator(world: World) -> Locate:
    known: dict[tuple[str | None, str | None], Side] = {}

    def locate(code: str | None, rule: str | None) -> Side:
        found = known.get((code, rule))
        if found is None:
            region, place = rule or country_rule(world, code)[0], country(code)
            found = known[code, rule] = Side(code, region, bucket_for(world, region, place.at if place else None))
        return found

    return locate


def _diff(world: World, bits: int, before: Ranges, after: Ranges, locate: Locate) -> Change:
    known = reordered = 0
    changed: list[Segment[tuple[Side, Side]]] = []
    for segment in _segments(world, bits, before, after):
        one, other, rule = segment.said
        size = segment.end - segment.start
        known += size if one or other else 0
        if one != other:
            sides = locate(one, rule), locate(other, rule)
            changed.append(Segment(segment.start, segment.end, sides))
            if sides[0].region == sides[1].region and sides[0].bucket != sides[1].bucket:
                reordered += size
    moved = [segment for segment in changed if segment.said[0].region != segment.said[1].region]
    regions = _pairs(bits, ((start, end, (one.region, other.region)) for start, end, (one, other) in moved))
    named = ((start, end, (one.country or "--", other.country or "--")) for start, end, (one, other) in changed)
    return Change(known, regions, _pairs(bits, named), reordered, _biggest(bits, moved))


def _segments(
    world: World, bits: int, before: Ranges, after: Ranges
) -> Iterator[Segment[tuple[str | None, str | None, str | None]]]:
    """The whole space in pieces in which (country before, country after, region of the subnet rule) are constant."""
    sides: list[Iterable[tuple[int, int, str | None]]] = [_countries(before, bits, 0), _countries(after, bits, 1)]
    sides.append((start, 2, region) for start, region in subnet_changes(world, bits))
    said: list[str | None] = [None, None, None]
    at = 0
    for start, side, value in merge(*sides, key=lambda change: change[0]):
        if start != at:
            yield Segment(at, start, (said[0], said[1], said[2]))
            at = start
        said[side] = value
    yield Segment(at, 1 << bits, (said[0], said[1], said[2]))


def _countries(ranges: Ranges, bits: int, side: int) -> Iterator[tuple[int, int, str | None]]:
    names: tuple[str | None, ...] = (None, *ranges.countries[1:])
    if bits == 32:
        return ((start, side, names[code]) for start, code in zip(ranges.v4, ranges.v4_country, strict=True))
    return ((start << 64, side, names[code]) for start, code in zip(ranges.v6, ranges.v6_country, strict=True))


def _pairs(bits: int, segments: Iterable[tuple[int, int, tuple[str, str]]]) -> tuple[Pair, ...]:
    """The sizes of all (before, after), the greatest first; neighbours of one pair count together."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for start, end, pair in _joined(segments):
        addresses, prefixes = found.get(pair, (0, 0))
        found[pair] = addresses + end - start, prefixes + count_prefixes(bits, start, end)
    pairs = (Pair(*pair, *sizes) for pair, sizes in found.items())
    return tuple(sorted(pairs, key=lambda pair: (-pair.addresses, pair.before, pair.after)))


def _joined(segments: Iterable[tuple[int, int, T]]) -> Iterator[Segment[T]]:
    last: Segment[T] | None = None
    for start, end, said in segments:
        if last is not None and last.end == start and last.said == said:
            last = Segment(last.start, end, said)
            continue
        if last is not None:
            yield last
        last = Segment(start, end, said)
    if last is not None:
        yield last


def _biggest(bits: int, moved: Iterable[Segment[tuple[Side, Side]]]) -> tuple[Moved, ...]:
    named = ((start, end, (a.region, b.region, a.country, b.country)) for start, end, (a, b) in moved)
    every = (
        (length, start, said) for first, end, said in _joined(named) for start, length in prefixes_of(bits, first, end)
    )
    shown = nlargest(BIGGEST_SHOWN, every, key=lambda prefix: (-prefix[0], -prefix[1]))
    kind = IPv4Address if bits == 32 else IPv6Address
    return tuple(Moved(f"{kind(start)}/{length}", *said) for length, start, said in shown)


def prefixes_of(bits: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The fewest prefixes, as (first address, length), that hold the addresses from `start` to before `end`."""
    while start < end:
        free = (start & -start).bit_length() - 1 if start else bits
        free = min(free, (end - start).bit_length() - 1)
        yield start, bits - free
        start += 1 << free


def count_prefixes(bits: int, start: int, end: int) -> int:
    """How many prefixes `prefixes_of` gives."""
    return sum(1 for _ in prefixes_of(bits, start, end))
