"""What Knot is to hold follows from a snapshot, keeps every law on the way from one to the next, and survives its file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.director.adapters.knot_control import ITEMS, Decoder, encode_command, records_of
from moonbow.director.atlas import compile_map
from moonbow.director.knot_buckets import label_of, slice_label
from moonbow.director.knot_config import known_sets, parse_views, render_views
from moonbow.director.knot_records import (
    Records,
    RecordSet,
    bridge,
    decide_records,
    digest_of,
    keep_views,
    plan_edits,
    service_names,
)
from moonbow.director.model import SERVICES, SLICES, Map, Overrides
from moonbow.director.snapshot import Snapshot, take_snapshot
from moonbow.director.zone import addresses_of, ttl_of
from moonbow.world import World

SERVERS = {"ns": ("127.0.0.1",)}


@pytest.fixture(scope="module")
def compiled(planet: World, ranges) -> Map:  # type: ignore[no-untyped-def]
    return compile_map(planet, ranges)


SITES = [
    "paris",
    "marseille",
    "johannesburg",
    "manama",
    "frankfurt",
    "berlin",
    "montreal",
    "ashburn",
    "seattle",
    "saopaulo",
    "singapore",
    "jurong",
    "tokyo",
    "sydney",
    "melbourne",
    "shanghai",
    "lyon",
]
wishes = st.builds(
    Overrides,
    drain=st.frozensets(st.sampled_from(SITES), max_size=4),
    down=st.frozensets(st.sampled_from(SITES), max_size=8),
    weights=st.dictionaries(st.sampled_from(SITES), st.integers(0, 100), max_size=4),
)


def snapshot_of(planet: World, ranges, compiled: Map, wanted: Overrides) -> Snapshot:  # type: ignore[no-untyped-def]
    return take_snapshot(planet, ranges, compiled, overrides=wanted)


def led_to(records: Records, sets, owner: str, label: str, number: int) -> set[str]:  # type: ignore[no-untyped-def]
    """The addresses that the views give a cell, as Knot would: its slice's view, or else its bucket's."""
    rows = records.views.get((owner, f"{label};{slice_label(number)}")) or records.views[owner, label]
    if rows[0][0] != "CNAME":
        return {data for _, data in rows}
    target = rows[0][1]
    return {text for kind in ("A", "AAAA") if (target, kind) in sets for text in sets[target, kind].data}


@given(wanted=wishes)
@settings(max_examples=25, deadline=None)
def test_every_cell_leads_to_its_pool(planet: World, ranges, compiled: Map, wanted: Overrides) -> None:  # type: ignore[no-untyped-def]
    snapshot = snapshot_of(planet, ranges, compiled, wanted)
    records = decide_records(snapshot, SERVERS)
    domain = f"{planet.domain}."
    for service in SERVICES:
        for bucket, of in enumerate(compiled.buckets):
            for number in range(SLICES):
                pool = snapshot.plans[service].pool(bucket, number)
                wanted_here = set(addresses_of(snapshot, service, pool.sites))
                for owner in service_names(service, domain):
                    assert led_to(records, records.sets, owner, label_of(of), number) == wanted_here
                    rows = records.views.get((owner, f"{label_of(of)};{slice_label(number)}"))
                    rows = rows or records.views[owner, label_of(of)]
                    if rows[0][0] == "CNAME":
                        assert records.sets[rows[0][1], "A"].ttl_s == ttl_of(pool)


def allowed(some: Snapshot, region: str) -> set[str]:
    """The addresses that clients of a region may ever be told."""
    world = some.world
    regions = (region, *world.regions[region].resilient)
    sites = [ref.site.name for ref in world.sites() if ref.region in regions and ref.site.kind != "witness"]
    return {text for service in SERVICES for text in addresses_of(some, service, sites)}


@given(first=wishes, second=wishes)
@settings(max_examples=25, deadline=None)
def test_nothing_leaks_in_any_state_between_two_decisions(
    planet: World,
    ranges,
    compiled: Map,
    first: Overrides,
    second: Overrides,  # type: ignore[no-untyped-def]
) -> None:
    before, after = (snapshot_of(planet, ranges, compiled, wanted) for wanted in (first, second))
    old, new = decide_records(before, SERVERS), decide_records(after, SERVERS)
    between = bridge(new, old.views, old.sets, old.labels)
    inside = {region: allowed(before, region) for region in planet.regions}
    sealed = {text for name, region in planet.regions.items() if region.sealed for text in inside[name]}
    regions = {label_of(bucket): bucket.region for bucket in compiled.buckets}
    for sets in (old.sets, between, new.sets):
        for (owner, _), held in sets.items():
            label = owner.partition(".")[0]
            region = regions.get(label) or regions.get(label.rpartition("-")[0])
            if region:
                assert set(held.data) <= inside[region], (owner, region)
            else:
                assert not sealed & set(held.data), owner
    # Every view of either set leads somewhere while the record sets between are in place.
    domain = f"{planet.domain}."
    for records in (old, new):
        for owner, key in records.views:
            label, _, number = key.partition(";")
            if owner != domain:
                assert led_to(records, between, owner, label, int(number or 0))


@given(first=wishes, second=wishes)
@settings(max_examples=15, deadline=None)
def test_edits_lead_from_one_state_to_the_other_and_none_is_idle(
    planet: World,
    ranges,
    compiled: Map,
    first: Overrides,
    second: Overrides,  # type: ignore[no-untyped-def]
) -> None:
    old, new = (decide_records(snapshot_of(planet, ranges, compiled, of), SERVERS).sets for of in (first, second))
    held = {key: (found.ttl_s, set(found.data)) for key, found in old.items()}
    edits = plan_edits(old, new)
    for edit in edits:
        key = (edit.owner, edit.kind)
        if edit.command == "zone-set":
            ttl_s, data = held.setdefault(key, (edit.ttl_s, set()))
            assert ttl_s == edit.ttl_s
            assert edit.data not in data
            data.add(edit.data)
        elif edit.data:
            held[key][1].remove(edit.data)
        else:
            del held[key]
    assert {key: RecordSet(ttl_s, tuple(sorted(data))) for key, (ttl_s, data) in held.items()} == new
    touched = {(edit.owner, edit.kind) for edit in edits}
    assert touched == {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    assert plan_edits(new, new) == []


def test_a_bucket_that_only_the_database_knows_keeps_its_answers(planet: World, ranges, compiled: Map) -> None:  # type: ignore[no-untyped-def]
    records = decide_records(snapshot_of(planet, ranges, compiled, Overrides()), SERVERS)
    gone = label_of(compiled.buckets[3])

    def without(label: str) -> Records:
        sets = {key: held for key, held in records.sets.items() if not key[0].startswith(label)}
        views = {view: rows for view, rows in records.views.items() if not view[1].startswith(label)}
        return Records(sets, views, records.labels - {label})

    fewer = without(gone)
    assert bridge(fewer, records.views, records.sets, records.labels) == records.sets
    assert keep_views(fewer, records.views, records.labels) == records.views
    # As soon as the database forgets it, so does the zone.
    assert keep_views(fewer, records.views, fewer.labels) == fewer.views
    assert bridge(fewer, fewer.views, records.sets, fewer.labels) == fewer.sets


@given(wanted=wishes)
@settings(max_examples=10, deadline=None)
def test_views_survive_their_file(planet: World, ranges, compiled: Map, wanted: Overrides) -> None:  # type: ignore[no-untyped-def]
    views = decide_records(snapshot_of(planet, ranges, compiled, wanted), SERVERS).views
    assert parse_views(render_views(f"{planet.domain}.", views, digest_of(views))) == (digest_of(views), views)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@given(
    commands=st.lists(st.dictionaries(st.sampled_from(ITEMS), texts, max_size=4), max_size=5),
    cuts=st.lists(st.integers(1, 9)),
)
def test_what_is_encoded_is_decoded_however_it_arrives(commands: list[dict[str, str]], cuts: list[int]) -> None:
    data = b"".join(map(encode_command, commands))
    decoder, found = Decoder(), []
    while data:
        size = cuts.pop() if cuts else 1_000
        found += decoder.feed(data[:size])
        data = data[size:]
    assert found == [[command] for command in commands]


@pytest.mark.parametrize("data", [b"\x07", b"\x10\x00\x01a", b"\x01\x1d\x00\x01a"])
def test_what_no_knotd_sends_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"unknown|out of place"):
        Decoder().feed(data)


def test_items_that_do_not_exist_are_not_sent() -> None:
    for command in ({"nobody": "x"}, {"cmd": "a\0b"}, {"data": "x" * 65_536}):
        with pytest.raises(ValueError, match="no item"):
            encode_command(command)


def test_records_that_knot_makes_itself_are_not_ours() -> None:
    rows = [
        ("a.", "A", "30", "192.0.2.2"),
        ("a.", "A", "30", "192.0.2.1"),
        ("a.", "RRSIG", "30", "x"),
        ("a.", "SOA", "5", "y"),
    ]
    units = [{"owner": owner, "type": kind, "ttl": ttl, "data": data} for owner, kind, ttl, data in rows]
    assert known_sets(records_of([units])) == {("a.", "A"): RecordSet(30, ("192.0.2.1", "192.0.2.2"))}
