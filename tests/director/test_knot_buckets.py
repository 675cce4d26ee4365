"""The bucket database agrees with the map and the slices everywhere, and its prefixes are the scopes."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.director.addresses import make_ranges
from moonbow.director.atlas import compile_map, find
from moonbow.director.knot_buckets import build_database, label_of, slice_label
from moonbow.director.knot_mmdb import MARKER, Tree, encode_database, look_up
from moonbow.director.model import Map, Table
from moonbow.director.slices import BLOCK_BITS, cell_scope, slice_of
from moonbow.world import World

pytestmark = pytest.mark.slow

V4_BLOCK_END = 1 << 96  # the IPv6 block before it, ::/32, holds IPv4 and is cut finer


@pytest.fixture(scope="module")
def compiled(planet: World, ranges) -> Map:  # type: ignore[no-untyped-def]
    return compile_map(planet, ranges)


@cache
def _database(digest: str) -> dict[str, bytes]:
    return {}


def database_of(compiled: Map) -> bytes:
    held = _database(compiled.digest)
    if not held:
        held["data"] = build_database(compiled)
    return held["data"]


def says(compiled: Map, data: bytes, bits: int, address: int) -> None:
    table = compiled.v4 if bits == 32 else compiled.v6
    at = find(table, address)
    leaf, length = look_up(data, bits, address)
    number = slice_of(bits, address)
    assert leaf == {"bucket": label_of(compiled.buckets[table.buckets[at]]), "slice": slice_label(number)}
    assert length == cell_scope(table, at, address, True)


@given(address=st.integers(0, 2**32 - 1))
@settings(max_examples=300, deadline=None)
def test_every_v4_address_has_its_cell_and_scope(compiled: Map, address: int) -> None:
    says(compiled, database_of(compiled), 32, address)


@given(address=st.integers(V4_BLOCK_END, 2**128 - 1) | st.integers(0x2000 << 112, (0x4000 << 112) - 1))
@settings(max_examples=300, deadline=None)
def test_every_v6_address_has_its_cell_and_scope(compiled: Map, address: int) -> None:
    says(compiled, database_of(compiled), 128, address)


def test_both_sides_of_every_border_have_their_cells(compiled: Map) -> None:
    data = database_of(compiled)
    for table in (compiled.v4, compiled.v6):
        lowest = 0 if table.bits == 32 else V4_BLOCK_END
        for start in table.starts:
            for address in (start - 1, start):
                if lowest <= address:
                    says(compiled, data, table.bits, address)


@st.composite
def tables(draw: st.DrawFn, bits: int, buckets: int) -> Table:
    """Any full cover: borders at any length of prefix, neighbours unlike."""
    lengths = draw(st.lists(st.integers(1, bits), min_size=3, max_size=12))
    borders = {draw(st.integers(0, (1 << length) - 1)) << bits - length for length in lengths}
    starts, numbers = [0], [0]
    for start in sorted(borders - {0}):
        starts.append(start)
        numbers.append((numbers[-1] + draw(st.integers(1, buckets - 1))) % buckets)
    return Table(bits, starts, numbers)


@given(data=st.data(), v4=tables(32, 3), v6=tables(128, 2))
@settings(max_examples=2, deadline=None)
def test_any_map_is_covered_whole(planet: World, ranges, data, v4: Table, v6: Table) -> None:  # type: ignore[no-untyped-def]
    some = compile_map(planet, ranges).buckets[:3]
    made = Map(some, v4, v6, "any")
    written = build_database(made)
    for table in (v4, v6):
        lowest = 0 if table.bits == 32 else V4_BLOCK_END
        for _ in range(20):
            near = data.draw(st.sampled_from(table.starts)) + data.draw(st.integers(-2, 2))
            address = near if data.draw(st.booleans()) else data.draw(st.integers(lowest, (1 << table.bits) - 1))
            if lowest <= address < 1 << table.bits:
                says(made, written, table.bits, address)


def test_the_same_map_makes_the_same_file_and_progress_rises_to_the_end(compiled: Map) -> None:
    told: list[tuple[int, int]] = []
    assert build_database(compiled, lambda done, of: told.append((done, of))) == database_of(compiled)
    total = len(compiled.v4.starts) + len(compiled.v6.starts)
    assert told[-1] == (total, total)
    assert told == sorted(told)
    assert all(0 <= done <= of == total for done, of in told)


def test_a_label_follows_from_the_bucket_alone(planet: World, ranges) -> None:  # type: ignore[no-untyped-def]
    whole = compile_map(planet, ranges)
    less = compile_map(planet, make_ranges("less", [(ranges.v4[1], "JP")]))
    known = {label_of(bucket): bucket for bucket in whole.buckets}
    assert len(known) == len(whole.buckets)
    assert less.buckets != whole.buckets
    for bucket in set(less.buckets) & set(whole.buckets):
        assert known[label_of(bucket)] == bucket


def test_slices_are_the_top_of_a_product_as_the_builder_assumes() -> None:
    for bits, block in BLOCK_BITS.items():
        for number in (0, 1, 2, 3, 1000, 65535):
            assert slice_of(bits, number << bits - block) == number * 0x9E3779B1 % 2**32 >> 28


def test_wide_records_when_there_is_much_to_say() -> None:
    leaves = [{"bucket": f"{number:05}" * 40, "slice": "00"} for number in range(90_000)]
    small = encode_database(Tree([~0], [~89_999], 0), leaves[:2] + leaves[2:], "test", "wide")
    assert look_up(small, 128, 1 << 127)[0]["bucket"] == "89999" * 40
    assert look_up(small, 128, 0) == (leaves[0], 1)
    assert small.index(MARKER) > 1 << 24
