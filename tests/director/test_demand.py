"""Expected load: from questions and reported clients, learnt at home, smooth, and not chasing what it moved itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.director.addresses import Ranges
from moonbow.director.demand import SMOOTH_S, estimate, weigh_cells
from moonbow.director.model import SLICES, Demand, DoorHealth, Load, Map, Plan, SiteHealth
from moonbow.director.snapshot import Snapshot, take_snapshot
from moonbow.director.spill import expected_loads
from moonbow.world import World

LONG_S = 1e9


@pytest.fixture(scope="module")
def calm(laptop: World, ranges: Ranges) -> Snapshot:
    return take_snapshot(laptop, ranges)


def load(connections: int, cpu: float = 0.1) -> Load:
    return Load(connections, cpu, 10_000, 0.0)


def cells_in(compiled: Map, region: str) -> list[int]:
    return [
        SLICES * number + part
        for number, bucket in enumerate(compiled.buckets)
        if bucket.region == region
        for part in range(SLICES)
    ]


def clients_of(compiled: Map, demand: Demand, region: str) -> float:
    return sum(demand.cells[cell] for cell in cells_in(compiled, region))


HOME = {"paris": load(600), "frankfurt": load(400), "singapore": load(50), "tokyo": load(150)}


@settings(deadline=None)
@given(data=st.data())
def test_a_region_at_home_has_the_clients_its_sites_report(laptop: World, calm: Snapshot, data: st.DataObject) -> None:
    cells = st.integers(0, len(calm.plans["door"].cells) - 1)
    questions = data.draw(st.dictionaries(cells, st.integers(0, 10_000), max_size=40))
    loads = {name: load(data.draw(st.integers(0, 9_000))) for name in HOME}
    demand = estimate(laptop, calm.map, questions, loads, calm.plans["door"])
    for region in laptop.regions:
        reported = sum(loads[ref.site.name].connections for ref in laptop.primaries(region))
        assert clients_of(calm.map, demand, region) == pytest.approx(reported)
        asked = {cell: questions.get(cell, 0) for cell in cells_in(calm.map, region)}
        for one, two in zip(asked, list(asked)[1:], strict=False):
            if asked[one] and asked[two]:
                ratio = demand.cells[one] * asked[two]
                assert ratio == pytest.approx(demand.cells[two] * asked[one])
    assert sum(expected_loads(calm.plans["door"], demand).values()) == pytest.approx(sum(demand.cells))


def test_who_asks_nothing_is_spread_over_its_addresses(laptop: World, calm: Snapshot) -> None:
    asked = weigh_cells(laptop, calm.map, {})
    for region in laptop.regions:
        assert sum(asked[cell] for cell in cells_in(calm.map, region)) == pytest.approx(1.0)
    only = cells_in(calm.map, "emea")[5]
    some = weigh_cells(laptop, calm.map, {only: 7, 10**9: 3})
    assert [number for number in cells_in(calm.map, "emea") if some[number]] == [only]


def test_what_was_learnt_at_home_is_kept_while_away(laptop: World, ranges: Ranges, calm: Snapshot) -> None:
    """After a failover the others report more, and nobody reports for those that died; demand is what it was."""
    questions = dict.fromkeys(range(len(calm.plans["door"].cells)), 3.0)
    before = estimate(laptop, calm.map, questions, HOME, calm.plans["door"])
    dead = SiteHealth((DoorHealth(False, "gone"),) * 2)
    health = dict(calm.health) | {"paris": dead, "frankfurt": dead, "capetown": SiteHealth((DoorHealth(False),))}
    plan = take_snapshot(laptop, ranges, calm.map, health).plans["door"]
    away = {"singapore": load(600), "tokyo": load(600)}
    after = estimate(laptop, calm.map, questions, away, plan, before, LONG_S)
    assert after.cells == pytest.approx(before.cells)
    assert after.scales == before.scales


def test_moving_a_cell_does_not_change_what_is_expected_of_it(laptop: World, calm: Snapshot) -> None:
    """Its clients stay where they are for hours; a loop that believed its eyes would move more and more."""
    questions = dict.fromkeys(range(len(calm.plans["door"].cells)), 3.0)
    before = estimate(laptop, calm.map, questions, HOME, calm.plans["door"])
    plan = calm.plans["door"]
    spilled = Plan("door", plan.pools, (*plan.cells[:-1], (plan.cells[-1] + 1) % len(plan.pools)))
    after = estimate(laptop, calm.map, questions, HOME, spilled, before, LONG_S)
    assert after.cells == pytest.approx(before.cells)


def test_it_moves_smoothly(laptop: World, calm: Snapshot) -> None:
    plan = calm.plans["door"]
    before = estimate(laptop, calm.map, {}, HOME, plan)
    doubled = {name: load(2 * found.connections) for name, found in HOME.items()}
    soon = estimate(laptop, calm.map, {}, doubled, plan, before, 1.0)
    late = estimate(laptop, calm.map, {}, doubled, plan, before, 20 * SMOOTH_S)
    for region in laptop.regions:
        was, now, then = (clients_of(calm.map, demand, region) for demand in (before, soon, late))
        assert was < now < 1.1 * was
        assert then == pytest.approx(2 * was, rel=1e-3)
    assert estimate(laptop, calm.map, {}, doubled, plan, before, 0.0).cells == pytest.approx(before.cells)


def test_a_busy_processor_makes_a_site_smaller(laptop: World, calm: Snapshot) -> None:
    busy = HOME | {"paris": load(5_000, 0.95), "tokyo": load(100, 0.99)}
    found = estimate(laptop, calm.map, {}, busy, calm.plans["door"]).capacities
    assert found["paris"] == pytest.approx(5_000 * 0.85 / 0.95)
    assert found["frankfurt"] == 10_000.0
    assert found["tokyo"] == 10_000.0, "few clients are not what makes it busy"
    assert found["capetown"] == 10_000.0


def test_without_reports_nobody_is_anywhere(laptop: World, calm: Snapshot) -> None:
    assert not any(estimate(laptop, calm.map, {1: 5.0}, {}, calm.plans["door"]).cells)
