"""Slices: the same everywhere, spread evenly, and dealt so that little moves."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.director.atlas import find
from moonbow.director.model import SLICES, Table
from moonbow.director.slices import BLOCK_BITS, SPREAD, cell_scope, claim, deal, inherit, slice_of

FAMILIES = st.sampled_from([32, 128])
WEIGHTS = st.integers(0, 100)


@st.composite
def places(draw: st.DrawFn) -> tuple[Table, int]:
    """A table, and an address that is as often as not at the edge of a range."""
    bits = draw(FAMILIES)
    top = (1 << bits) - 1
    starts = sorted({0, *draw(st.lists(st.integers(0, top), max_size=20))})
    near = st.tuples(st.sampled_from(starts), st.integers(-3, 3)).map(lambda pair: min(top, max(0, sum(pair))))
    return Table(bits, starts, list(range(len(starts)))), draw(st.one_of(st.integers(0, top), near))


def test_known_slices_never_change() -> None:
    """Caches and other directors go by them: a change here is a change of every split answer."""
    assert [slice_of(32, block << 16) for block in (0, 1, 2, 3, 0x0C00, 0xC202)] == [0, 9, 3, 13, 9, 4]
    assert slice_of(128, 0x2001_0660 << 96) == slice_of(128, (0x2001_0660 << 96) + (1 << 96) - 1)
    assert {slice_of(128, block << 96) for block in range(0x2A00_0000, 0x2A00_0040)} == set(range(SLICES))


@given(bits=FAMILIES, data=st.data())
def test_a_block_is_of_one_slice_and_its_neighbour_of_another(bits: int, data: st.DataObject) -> None:
    shift = bits - BLOCK_BITS[bits]
    block = data.draw(st.integers(0, (1 << BLOCK_BITS[bits]) - 2))
    inside = data.draw(st.integers(0, (1 << shift) - 1))
    assert slice_of(bits, (block << shift) + inside) == slice_of(bits, block << shift) in range(SLICES)
    assert slice_of(bits, block << shift) != slice_of(bits, block + 1 << shift)


def test_slices_are_of_one_size() -> None:
    counts = Counter(slice_of(32, block << 16) for block in range(65_536))
    assert max(counts.values()) - min(counts.values()) <= 65_536 // 100


@settings(max_examples=400, deadline=None)
@given(place=places(), split=st.booleans())
def test_scope_is_the_shortest_prefix_of_one_cell(place: tuple[Table, int], split: bool) -> None:
    table, address = place
    length = cell_scope(table, find(table, address), address, split)
    shift = table.bits - BLOCK_BITS[table.bits]

    def alike(prefix: int) -> bool:
        wide = table.bits - prefix
        low = address >> wide << wide
        high = low + (1 << wide) - 1
        if find(table, low) != find(table, high):
            return False
        blocks = range(low >> shift, (low >> shift) + min(2, (high >> shift) - (low >> shift) + 1))
        return not split or len({slice_of(table.bits, block << shift) for block in blocks}) == 1

    assert alike(length), "bucket and slice are the same everywhere in the scope"
    assert length == 0 or not alike(length - 1), "no shorter scope is true"


@settings(deadline=None)
@given(shares=st.lists(WEIGHTS, min_size=1, max_size=6).filter(any), data=st.data())
def test_a_share_gets_its_part_and_never_loses_by_being_raised(shares: list[int], data: st.DataObject) -> None:
    names = [f"site{number}" for number in range(len(shares))]
    before = deal(dict(zip(names, shares, strict=True)))
    assert len(before) == SLICES
    for name, share in zip(names, shares, strict=True):
        assert abs(before.count(name) - SLICES * share / sum(shares)) < 1.0 + 1e-9
    raised = data.draw(st.sampled_from(names))
    more = dict(zip(names, shares, strict=True))
    more[raised] += data.draw(st.integers(1, 100))
    after = deal(more)
    assert all(new == raised for old, new in zip(before, after, strict=True) if old == raised)
    if len(names) == 2:
        assert all(new in (old, raised) for old, new in zip(before, after, strict=True)), "nothing else moves"


@given(one=st.integers(0, SLICES), two=st.integers(0, SLICES), more=st.integers(0, SLICES))
def test_canaries_get_what_they_want_while_there_is_any(one: int, two: int, more: int) -> None:
    taken = claim({"a": one, "b": two})
    counts = Counter(taken.values())
    assert counts["a"] == one
    assert counts["b"] == min(two, SLICES - one)
    raised = claim({"a": min(SLICES, one + more), "b": two})
    assert all(raised[number] == "a" for number, name in taken.items() if name == "a")
    assert sorted(SPREAD) == list(range(SLICES))
    beginning = sorted(SPREAD[:4])
    assert beginning == [0, 4, 8, 12], "four canary slices are taken evenly from everybody"


@given(names=st.sets(st.sampled_from(list("abcdefgh")), min_size=2), part=st.integers(0, 15), data=st.data())
def test_only_the_slices_of_who_leaves_are_inherited_anew(names: set[str], part: int, data: st.DataObject) -> None:
    weights = {name: data.draw(st.integers(1, 100)) for name in sorted(names)}
    heir = inherit(part, sorted(names), weights)
    gone = data.draw(st.sampled_from(sorted(names)))
    if gone != heir:
        assert inherit(part, sorted(names - {gone}), weights) == heir
    assert inherit(part, sorted(names), weights | {heir: 100}) == heir, "more weight never loses a slice"
