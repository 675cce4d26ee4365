"""What if: loads before anything is applied, and what should be refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.base.errors import Refused
from moonbow.director.addresses import Ranges
from moonbow.director.demand import estimate
from moonbow.director.model import Demand, DoorHealth, Load, Overrides, SiteHealth
from moonbow.director.simulate import Outcome, simulate
from moonbow.director.snapshot import Snapshot, take_snapshot, unknown_health
from moonbow.world import World


def snapshot_of(world: World, ranges: Ranges, clients: dict[str, int], capacity: float = 10_000.0) -> Snapshot:
    """Every primary site carries what is said, and everybody is at home."""
    empty = take_snapshot(world, ranges)
    names = [ref.site.name for ref in world.sites() if ref.site.kind == "primary"]
    loads = {name: Load(clients.get(name, 0), 0.1, 10_000, 0.0) for name in names}
    demand = estimate(world, empty.map, {}, loads, empty.plans["door"])
    demand = demand._replace(capacities=dict.fromkeys(demand.capacities, capacity))
    return take_snapshot(world, ranges, empty.map, demand=demand)


def loads(outcome: Outcome) -> dict[str, tuple[int, int]]:
    return {found.name: (round(found.now), round(found.then)) for found in outcome.sites}


def test_a_dead_region_is_carried_by_those_it_declared(laptop: World, ranges: Ranges) -> None:
    snapshot = snapshot_of(laptop, ranges, {"paris": 1_000, "frankfurt": 1_000, "singapore": 200, "tokyo": 100})
    found = simulate(snapshot, down=["emea"])
    after = {site.name: site.then for site in found.sites}
    assert after["paris"] == after["frankfurt"] == after["capetown"] == 0
    assert after["singapore"] + after["tokyo"] == pytest.approx(2_300)
    regions = {region.name: (round(region.now), round(region.then), region.capacity) for region in found.regions}
    assert regions == {"emea": (2_000, 0, 0.0), "apac": (300, 2_300, 20_000.0)}
    assert found.moved == pytest.approx(2_000 / 2_300)
    assert not found.problems
    assert snapshot.plans["door"] == simulate(snapshot).after.plans["door"], "nothing was applied"


def test_what_would_overload_a_target_is_said(laptop: World, ranges: Ranges) -> None:
    snapshot = snapshot_of(laptop, ranges, {"paris": 950, "frankfurt": 950, "singapore": 200}, 1_000.0)
    found = simulate(snapshot, drain=["paris", "frankfurt"])
    assert {site.name for site in found.overloaded} <= {"singapore", "tokyo", "capetown"}
    assert found.overloaded
    assert "clients, and can carry 1000" in found.problems[0]
    assert not simulate(snapshot, drain=["capetown"]).problems
    assert simulate(snapshot, down=["emea", "apac"]).stranded == ("emea", "apac")


def test_who_is_stranded_already_is_no_reason_against_another_wish(laptop: World, ranges: Ranges) -> None:
    dead = SiteHealth((DoorHealth(False, "refuses connections"),) * 2)
    health = {
        name: dead if name in ("paris", "frankfurt", "capetown") else site
        for name, site in unknown_health(laptop).items()
    }
    overrides = Overrides(down=frozenset({"singapore", "tokyo"}))
    snapshot = take_snapshot(laptop, ranges, health=health, overrides=overrides)
    assert set(snapshot.plans["door"].pools[0].sites) <= {"paris", "frankfurt"}, "named all the same"
    assert not simulate(snapshot, drain=["capetown"]).problems
    assert not simulate(snapshot, overrides=Overrides(up=frozenset({"paris"}))).problems


def test_what_is_over_already_is_no_reason_against_another_wish(laptop: World, ranges: Ranges) -> None:
    snapshot = snapshot_of(laptop, ranges, {"paris": 9_000, "frankfurt": 9_000, "singapore": 9_000}, 1_000.0)
    assert not simulate(snapshot).problems
    assert simulate(snapshot).moved == 0.0


def test_weights_and_canaries_can_be_tried(planet: World, ranges: Ranges) -> None:
    snapshot = snapshot_of(planet, ranges, {"paris": 800, "marseille": 800})
    found = simulate(snapshot, overrides=Overrides(weights={"paris": 0}))
    assert loads(found)["paris"][1] == 0
    halved = simulate(snapshot, overrides=Overrides(weights={"paris": 50}))
    before, after = loads(halved)["paris"]
    assert 0.4 * before < after < 0.7 * before


def test_nobody_is_lost_and_unknown_names_are_refused(planet: World, ranges: Ranges) -> None:
    with pytest.raises(Refused, match="no site or region 'mars'"):
        simulate(take_snapshot(planet, ranges), down=["mars"])
    assert not simulate(take_snapshot(planet, ranges), down=["emea"]).problems, "without anybody nothing overloads"


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_always_everybody_is_somewhere_and_sealed_regions_keep_to_themselves(
    planet: World, ranges: Ranges, data: st.DataObject
) -> None:
    names = [ref.site.name for ref in planet.sites()]
    clients = {name: data.draw(st.integers(0, 3_000)) for name in names}
    snapshot = snapshot_of(planet, ranges, clients, float(data.draw(st.sampled_from([500, 2_000, 10_000]))))
    some = st.sets(st.sampled_from([*names, *planet.regions]), max_size=4)
    found = simulate(snapshot, down=data.draw(some), drain=data.draw(some))
    demand = snapshot.demand
    assert isinstance(demand, Demand)
    assert sum(site.now for site in found.sites) == pytest.approx(sum(demand.cells))
    assert sum(site.then for site in found.sites) == pytest.approx(sum(demand.cells))
    assert sum(region.then for region in found.regions) == pytest.approx(sum(demand.cells))
    home = {ref.site.name: ref.region for ref in planet.sites()}
    for plan in found.after.plans.values():
        for cell, number in enumerate(plan.cells):
            region = found.after.map.buckets[cell // 16].region
            served = {home[name] for name in plan.pools[number].sites}
            assert served <= {region, *planet.regions[region].resilient}
            if planet.regions[region].sealed or any(planet.regions[other].sealed for other in served):
                assert served == {region}, "a sealed region never leaks, in or out"
