"""Decisions: failover in the declared order, the operator's word, sealed regions, and when everything is down."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.base.errors import Refused
from moonbow.director.addresses import Ranges, make_ranges
from moonbow.director.algebra import doors_of, judge_door
from moonbow.director.atlas import bucket_for, compile_map
from moonbow.director.model import (
    SERVICES,
    Decision,
    Demand,
    DoorHealth,
    Group,
    Map,
    Overrides,
    Pool,
    SiteHealth,
    Verdict,
)
from moonbow.director.policy import TTL_DEGRADED_S, cells_of, decide, judge_sites
from moonbow.director.snapshot import decide_address, explain_address, take_snapshot
from moonbow.world import World

FRANCE, JAPAN, CHINA, AFRICA = (48.0, 3.0), (35.0, 138.0), (32.0, 116.0), (-27.0, 28.0)
UP, DOWN = DoorHealth(True, "answers"), DoorHealth(False, "refuses connections")


def decided(
    world: World, region: str, at: tuple[float, float], down: set[str] | None = None, wishes: Overrides | None = None
) -> Decision:
    health = {
        ref.site.name: SiteHealth((DOWN if ref.site.name in (down or set()) else UP,) * ref.site.doors)
        for ref in world.sites()
    }
    verdicts = judge_sites(world, health, wishes or Overrides())
    return decide(world, bucket_for(world, region, at), verdicts)


def test_failover_follows_the_declared_order(planet: World) -> None:
    steps = [
        ({}, ("paris",)),
        ({"paris"}, ("marseille",)),
        ({"paris", "marseille"}, ("frankfurt",)),
        ({"paris", "marseille", "frankfurt"}, ("berlin",)),
        ({"paris", "marseille", "frankfurt", "berlin"}, ("montreal",)),
        ({"paris", "marseille", "frankfurt", "berlin", "montreal"}, ("ashburn",)),
    ]
    for down, answer in steps:
        assert decided(planet, "emea", FRANCE, set(down)).answer == answer


def test_every_decision_says_why(planet: World) -> None:
    gone = decided(planet, "emea", FRANCE, {"paris", "marseille"})
    assert gone.reason == "no site of emea is usable; frankfurt is nearest in de, which it declared resilient"
    assert gone.degraded
    skipped = {site: why for site, why in gone.skipped}
    assert skipped["paris"] == "all 2 doors are down: refuses connections"
    assert skipped["manama"] == "an edge, and no primary site of emea can serve what it lets in"
    assert decided(planet, "emea", FRANCE).reason == "paris is the nearest site of emea"
    assert (
        decided(planet, "emea", FRANCE, {"paris"}).reason == "nearer sites of emea are not usable; marseille comes next"
    )


def test_an_edge_without_a_primary_behind_it_is_not_named(laptop: World) -> None:
    assert decided(laptop, "emea", AFRICA).answer == ("capetown",)
    assert decided(laptop, "emea", AFRICA, {"paris"}).answer == ("capetown",)
    assert decided(laptop, "emea", AFRICA, {"paris", "frankfurt"}).answer == ("singapore",)


def test_a_sealed_region_is_never_left_and_never_entered(planet: World) -> None:
    alone = decided(planet, "cn", CHINA, {"shanghai"})
    assert alone.answer == ("shanghai",)
    assert "a sealed region is never left" in alone.reason
    everyone_else = {ref.site.name for ref in planet.sites() if not planet.regions[ref.region].sealed}
    assert set(decided(planet, "apac", JAPAN, everyone_else).ordered) <= everyone_else


def test_the_operators_word_beats_the_probes(laptop: World) -> None:
    drained = decided(laptop, "emea", FRANCE, wishes=Overrides(drain=frozenset({"paris"})))
    assert drained.answer == ("frankfurt",)
    assert drained.skipped == (("paris", "drained by the operator"),)
    both = Overrides(drain=frozenset({"paris"}), down=frozenset({"frankfurt"}))
    assert decided(laptop, "emea", FRANCE, wishes=both).answer == ("tokyo",)


def test_when_nothing_is_usable_the_least_bad_own_sites_are_named(laptop: World) -> None:
    every = {ref.site.name for ref in laptop.sites()}
    lost = decided(laptop, "emea", FRANCE, every)
    assert set(lost.answer) == {"paris", "frankfurt"}
    assert lost.reason.startswith("no site of emea is usable, nor any of apac; its own ")
    assert lost.degraded
    kind = decided(laptop, "emea", FRANCE, every - {"frankfurt"}, Overrides(drain=frozenset({"frankfurt"})))
    assert kind.answer == ("frankfurt",), "drained but well is better than down"
    told = decided(laptop, "emea", FRANCE, every, Overrides(down=frozenset({"paris"})))
    assert told.answer == ("frankfurt",), "declared down comes last"


@given(data=st.data())
def test_always_somebody_is_named_and_never_a_worse_one_first(planet: World, data: st.DataObject) -> None:
    names = [ref.site.name for ref in planet.sites()]
    some = st.frozensets(st.sampled_from(names))
    region = data.draw(st.sampled_from(list(planet.regions)))
    wishes = Overrides(data.draw(some), data.draw(some))
    down = set(data.draw(some))
    found = decided(planet, region, data.draw(st.sampled_from([FRANCE, JAPAN, CHINA, AFRICA])), down, wishes)
    bad = down | wishes.drain | wishes.down
    region_of = {ref.site.name: ref.region for ref in planet.sites()}
    allowed = {region, *planet.regions[region].resilient}
    assert found.answer
    assert found.reason
    assert {region_of[name] for name in found.ordered} <= allowed
    if bad.isdisjoint(found.answer):
        assert found.ordered[: len(found.answer)] == found.answer
        assert bad.isdisjoint(found.ordered)
    else:
        assert {region_of[name] for name in found.answer} == {region}, "failing open stays at home"


def test_a_door_is_down_after_two_failures_and_up_after_three_successes() -> None:
    door = judge_door(DoorHealth(), True, "answers", 1.0)
    assert door.up
    seen = []
    for number, passed in enumerate([False, True, False, False, True, True, False, True, True, True]):
        door = judge_door(door, passed, "answers" if passed else "hangs", 2.0 + number)
        seen.append(door.up)
    assert seen == [True, True, True, False, False, False, False, False, False, True]
    assert door.since_s == 11.0
    assert door.why == "answers"
    assert judge_door(DoorHealth(), False, "refuses", 1.0).up is False, "the first look decides at once"


def test_only_doors_that_may_answer_are_named_unless_none_does() -> None:
    assert doors_of(SiteHealth((UP, DOWN, DoorHealth()))) == (0, 2)
    assert doors_of(SiteHealth((DOWN, DOWN))) == (0, 1)


@st.composite
def weighed(draw: st.DrawFn) -> Overrides:
    """Weights and canaries of some sites."""
    names = st.sampled_from(PLANET_SITES)
    weights = draw(st.dictionaries(names, st.integers(0, 100), max_size=5))
    canary = draw(st.dictionaries(names, st.integers(0, 16), max_size=2))
    return Overrides(weights=weights, canary=canary)


PLANET_SITES = (
    "paris",
    "marseille",
    "johannesburg",
    "frankfurt",
    "berlin",
    "montreal",
    "ashburn",
    "seattle",
    "shanghai",
)
SIDE_BY_SIDE = (0.0, 0.0)  # no place on earth: all sites of a region are equally near to it
PLACES = st.sampled_from([FRANCE, JAPAN, CHINA, AFRICA, None, SIDE_BY_SIDE])


def split(
    world: World, region: str, at: tuple[float, float] | None, wishes: Overrides, down: frozenset[str] = frozenset()
) -> tuple[Pool, ...]:
    verdicts = {
        ref.site.name: Verdict(2, "down") if ref.site.name in down else Verdict(0, "healthy") for ref in world.sites()
    }
    return cells_of(world, region, groups_at(world, region, at), verdicts, wishes)


def groups_at(world: World, region: str, at: tuple[float, float] | None) -> tuple[Group, ...]:
    groups = bucket_for(world, region, at).groups
    if at != SIDE_BY_SIDE:
        return groups
    regions = dict.fromkeys(group.region for group in groups)
    return tuple(Group(name, tuple(n for g in groups if g.region == name for n in g.sites)) for name in regions)


@settings(max_examples=300, deadline=None)
@given(wishes=weighed(), at=PLACES, region=st.sampled_from(["emea", "de", "na", "cn"]), data=st.data())
def test_only_the_slices_of_a_site_that_leaves_move(
    planet: World, wishes: Overrides, at: tuple[float, float] | None, region: str, data: st.DataObject
) -> None:
    """By failure or drain, whatever else is down already; and they come back to where they were."""
    down = data.draw(st.frozensets(st.sampled_from(PLANET_SITES), max_size=4))
    leaving = data.draw(st.sampled_from(PLANET_SITES))
    before = split(planet, region, at, wishes, down - {leaving})
    after = split(planet, region, at, wishes, down | {leaving})
    usable = {ref.site.name for ref in planet.sites()} - down - {leaving}
    for was, now in zip(before, after, strict=True):
        assert now.sites
        if leaving not in was.sites:
            assert now.sites == was.sites
        elif len(was.sites) > 1:
            assert set(now.sites) == set(was.sites) - {leaving}
        home = {planet.site(name).region for name in now.sites}
        assert home <= {region, *planet.regions[region].resilient}
        if not usable.issuperset(now.sites):
            allowed = {name for group in groups_at(planet, region, at) for name in group.sites}
            assert not usable & allowed, "a site that is down is named only when none is left"
    assert split(planet, region, at, wishes, down - {leaving}) == before, "always the same"


@settings(max_examples=300, deadline=None)
@given(wishes=weighed(), at=PLACES, region=st.sampled_from(["emea", "de", "na"]), data=st.data())
def test_a_raised_weight_takes_no_slice_away(
    planet: World, wishes: Overrides, at: tuple[float, float] | None, region: str, data: st.DataObject
) -> None:
    """Sites that share a pool have their part of it."""
    raised = data.draw(st.sampled_from(PLANET_SITES))
    weight = wishes.weights.get(raised, 100)
    more = wishes._replace(weights=dict(wishes.weights) | {raised: data.draw(st.integers(weight, 100))})
    before, after = (split(planet, region, at, wanted) for wanted in (wishes, more))
    parts = [sum(1 / len(pool.sites) for pool in pools if raised in pool.sites) for pools in (before, after)]
    assert parts[1] >= parts[0] - 1e-9
    if all(len(pool.sites) == 1 for pool in (*before, *after)):
        assert all(now.sites == (raised,) for was, now in zip(before, after, strict=True) if was.sites == (raised,))


def shares(pools: tuple[Pool, ...]) -> dict[tuple[str, ...], int]:
    return dict(Counter(pool.sites for pool in pools))


def test_weights_are_parts_of_what_nearness_gives(planet: World) -> None:
    half = split(planet, "emea", FRANCE, Overrides(weights={"paris": 50}))
    assert shares(half) == {("paris",): 8, ("marseille",): 8}
    assert {pool.reason for pool in half} == {
        "by weight, paris has 8 of 16 slices here",
        "by weight, marseille has 8 of 16 slices here",
    }
    assert not any(pool.degraded for pool in half)
    none = split(planet, "emea", FRANCE, Overrides(weights={"paris": 0}))
    assert shares(none) == {("marseille",): 16}
    lost = split(planet, "emea", FRANCE, Overrides(weights={"paris": 50}), frozenset({"marseille"}))
    assert lost[0].sites == ("paris",)
    assert lost[15].sites != ("marseille",)
    assert lost[15].degraded
    assert shares(split(planet, "cn", CHINA, Overrides(weights={"shanghai": 0}))) == {("shanghai",): 16}
    equal = split(planet, "emea", FRANCE, Overrides(weights={"tokyo": 5}))
    assert len(set(equal)) == 1, "what does not concern a bucket does not split it"


def test_a_canary_gets_its_slices_of_its_own_region_and_no_others(planet: World) -> None:
    tried = Overrides(canary={"marseille": 3})
    assert shares(split(planet, "emea", FRANCE, tried)) == {("marseille",): 3, ("paris",): 13}
    assert shares(split(planet, "de", FRANCE, tried)).keys() == {("frankfurt",)}
    ill = split(planet, "emea", FRANCE, tried, frozenset({"marseille"}))
    assert shares(ill) == {("paris",): 16}
    assert not any(pool.degraded for pool in ill), "a canary that falls is no failover"
    last = split(planet, "emea", FRANCE, tried, frozenset({"paris"}))
    assert {name for pool in last for name in pool.sites} <= {"marseille", "johannesburg", "manama"}
    assert shares(split(planet, "cn", CHINA, Overrides(canary={"shanghai": 2}))) == {("shanghai",): 16}


def test_every_service_has_its_own_pools(planet: World, ranges: Ranges) -> None:
    snapshot = take_snapshot(planet, ranges)
    pools = {service: explain_address(snapshot, IPv4Address("1.33.0.1"), None, service).pool for service in SERVICES}
    assert set(pools) == {"door", "edge", "media", "turn"}
    assert pools["media"] == pools["turn"] == ["tokyo"], "an edge serves these itself"
    without = {name: SiteHealth((DOWN, DOWN)) for name in ("singapore", "jurong")}
    stranded = take_snapshot(planet, ranges, health=dict(snapshot.health) | without)
    told = explain_address(stranded, IPv4Address("1.33.0.1"), None, "edge")
    assert told.pool != ["tokyo"]
    assert "no primary site of apac" in next(found.why for found in told.skipped if found.site == "tokyo")
    assert explain_address(stranded, IPv4Address("1.33.0.1"), None, "media").pool == ["tokyo"], "a relay needs nobody"
    with pytest.raises(Refused, match="no service 'mail'"):
        explain_address(snapshot, IPv4Address("1.33.0.1"), None, "mail")


@settings(max_examples=60, deadline=None)
@given(wishes=weighed(), down=st.frozensets(st.sampled_from(PLANET_SITES)), address=st.ip_addresses(), data=st.data())
def test_an_answer_is_the_same_in_all_of_its_scope(planet: World, ranges: Ranges, wishes, down, address, data) -> None:
    """For every service, and in full cover: any address at all has a cell with a pool."""
    health = {
        ref.site.name: SiteHealth((DOWN if ref.site.name in down else UP,) * ref.site.doors) for ref in planet.sites()
    }
    snapshot = take_snapshot(planet, ranges, COMPILED.setdefault("planet", compile_map(planet, ranges)), health, wishes)
    service = data.draw(st.sampled_from(SERVICES))
    told = explain_address(snapshot, address, None, service)
    assert told.pool
    network = ip_network(told.network)
    other = network[data.draw(st.integers(0, network.num_addresses - 1))]
    again = explain_address(snapshot, other, None, service)
    assert (again.pool, again.reason, again.ttl_s, again.bucket) == (told.pool, told.reason, told.ttl_s, told.bucket)
    _, decision = decide_address(snapshot, address, None, service)
    assert decision.answer == tuple(told.pool)
    assert set(decision.ordered).isdisjoint(name for name, _ in decision.skipped) or told.ttl_s == TTL_DEGRADED_S


COMPILED: dict[str, Map] = {}


@pytest.mark.parametrize("address", ["194.2.7.1", "194.3.255.255", "2001:660::1", "2001:660:ffff::"])
def test_a_split_bucket_is_answered_by_block(planet: World, ranges: Ranges, address: str) -> None:
    whole = take_snapshot(planet, ranges)
    halves = take_snapshot(planet, ranges, whole.map, overrides=Overrides(weights={"paris": 50}))
    client = ip_address(address)
    block = 16 if client.version == 4 else 32
    assert ip_network(explain_address(whole, client).network).prefixlen <= block
    told = explain_address(halves, client)
    assert ip_network(told.network).prefixlen == block
    seen = {explain_address(halves, client.__class__(int(client) ^ flip)).pool[0] for flip in (0, 1)}
    assert seen == {told.pool[0]}, "inside the block all is one"


def test_equal_decisions_have_equal_digests_and_others_have_not(planet: World, ranges: Ranges) -> None:
    one = take_snapshot(planet, ranges)
    two = take_snapshot(planet, ranges, number=7, changed_at_s=9.0)
    assert one.digest == two.digest
    others = [
        take_snapshot(planet, ranges, overrides=Overrides(drain=frozenset({"paris"}))),
        take_snapshot(planet, ranges, overrides=Overrides(canary={"marseille": 1})),
        take_snapshot(planet, ranges, overrides=Overrides(canary={"marseille": 2})),
        take_snapshot(planet, ranges, health=dict(one.health) | {"paris": SiteHealth((UP, DOWN))}),
        take_snapshot(planet, make_ranges("x", [])),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 1 + len(others)
    unseen = dict(one.health) | {"paris": SiteHealth((UP, DoorHealth(True, "in other words")))}
    assert take_snapshot(planet, ranges, health=unseen).digest == one.digest


def test_spill_over_shows_in_the_plan_with_its_reason(planet: World, ranges: Ranges) -> None:
    calm = take_snapshot(planet, ranges)
    number = calm.map.buckets.index(bucket_for(planet, "emea", (48.0, 3.0)))
    cells = [0.0] * len(calm.plans["door"].cells)
    cells[16 * number : 16 * number + 16] = [10.0] * 16
    demand = Demand(tuple(cells), {ref.site.name: 100.0 for ref in planet.sites()})
    full = take_snapshot(planet, ranges, calm.map, demand=demand)
    plan = full.plans["door"]
    assert plan.is_split(number)
    reasons = {pool.reason for pool in plan.pools if pool.sites == ("marseille",)}
    assert "paris would be too full; marseille has room for this slice" in reasons
    assert all(load <= 100.0 for load in full.spill.loads.values())
    assert full.plans["media"] == calm.plans["media"]


def test_heirs_of_unequal_weight_keep_what_they_inherited(planet: World) -> None:
    """Four sites side by side: whoever leaves next, after the first has, the others keep all that they have."""
    wishes = Overrides(weights={"paris": 100, "marseille": 70, "johannesburg": 40, "manama": 20})
    for first in wishes.weights:
        before = split(planet, "emea", SIDE_BY_SIDE, wishes, frozenset({first}))
        assert len({pool.sites for pool in before}) > 1
        for second in wishes.weights.keys() - {first}:
            after = split(planet, "emea", SIDE_BY_SIDE, wishes, frozenset({first, second}))
            kept = [now.sites == was.sites for was, now in zip(before, after, strict=True) if was.sites != (second,)]
            assert all(kept)
