"""Spill-over: never beyond capacity while an allowed site has room, never where a cell may not go, and it comes to rest."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.director.model import SLICES, Demand, Group, Plan, Pool, Spill
from moonbow.director.plans import make_plan
from moonbow.director.spill import NOTHING, USUAL, expected_loads, spill_over

SITES = ("a1", "a2", "b1", "b2", "c1", "c2")
STEPS_MAX = 200


class Case(NamedTuple):
    """Buckets with their usable groups, whether their first choice is lost, and the demand."""

    groups: tuple[tuple[Group, ...], ...]
    lost: tuple[bool, ...]
    demand: Demand

    @property
    def plan(self) -> Plan:
        pools = (Pool(groups[0].sites, lost, "x") for groups, lost in zip(self.groups, self.lost, strict=True))
        return make_plan("door", ((pool,) * SLICES for pool in pools))

    def names(self, cell: int) -> set[str]:
        return {name for group in self.groups[cell // SLICES] for name in group.sites}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    buckets = draw(st.integers(1, 4))
    groups: list[tuple[Group, ...]] = []
    for _ in range(buckets):
        order = draw(st.permutations(SITES))[: draw(st.integers(1, len(SITES)))]
        cuts = sorted({0, len(order), *draw(st.lists(st.integers(0, len(order)), max_size=3))})
        groups.append(tuple(Group("x", tuple(order[a:b])) for a, b in pairwise(cuts)))
    lost = tuple(draw(st.booleans()) for _ in range(buckets))
    size = draw(st.sampled_from([1.0, 10.0, 100.0]))
    part = st.one_of(st.just(size), st.floats(0, size), st.just(0.0))
    cells = tuple(clients for _ in range(buckets) for clients in draw(st.lists(part, min_size=SLICES, max_size=SLICES)))
    capacities = {name: draw(st.one_of(st.integers(1, 2_000), st.just(16 * int(size)))) for name in SITES}
    return Case(tuple(groups), lost, Demand(cells, {name: float(most) for name, most in capacities.items()}))


def placed(case: Case, spill: Spill, cell: int) -> tuple[str, ...]:
    natural = case.plan.pools[case.plan.cells[cell]].sites
    return (spill.moved[cell],) if cell in spill.moved else natural


def loads_of(case: Case, spill: Spill) -> dict[str, float]:
    loads = dict.fromkeys(SITES, 0.0)
    for cell, clients in enumerate(case.demand.cells):
        sites = placed(case, spill, cell)
        for name in sites:
            loads[name] += clients / len(sites)
    return loads


def step(case: Case, before: Spill, now_s: float) -> Spill:
    return spill_over(case.plan, lambda bucket: case.groups[bucket], case.demand, before, now_s)


def check(case: Case, spill: Spill) -> None:
    """What must hold after every step."""
    loads = loads_of(case, spill)
    for name in SITES:
        assert abs(loads[name] - spill.loads[name]) < 1e-6, "what it says is what it does"
    for cell, site in spill.moved.items():
        assert site in case.names(cell), "a cell goes only where it may"
    over = {name for name in SITES if loads[name] > case.demand.capacities[name] + 1e-6}
    for cell, clients in enumerate(case.demand.cells):
        here = placed(case, spill, cell)
        if not clients or over.isdisjoint(here):
            continue
        for name in case.names(cell) - over:
            rest = loads[name] - (clients / len(here) if name in here else 0.0)
            assert rest + clients > case.demand.capacities[name] - 1e-6, f"{name} has room for a cell of {here}"


@settings(max_examples=200, deadline=None)
@given(case=cases(), other=cases())
def test_never_over_capacity_while_an_allowed_site_has_room(case: Case, other: Case) -> None:
    """From nothing, and from whatever was before."""
    first = step(case, NOTHING, 0.0)
    check(case, first)
    changed = case._replace(demand=case.demand._replace(cells=(other.demand.cells * 4)[: len(case.demand.cells)]))
    for now_s in (1.0, 11.0, 21.0):
        first = step(changed, first, now_s)
        check(changed, first)
    flipped = changed._replace(lost=tuple(not lost for lost in changed.lost))
    check(flipped, step(flipped, first, 22.0))


@settings(max_examples=100, deadline=None)
@given(case=cases(), other=cases())
def test_finally_it_rests_and_rest_is_kept(case: Case, other: Case) -> None:
    before = step(
        case._replace(demand=other.demand._replace(cells=(other.demand.cells * 4)[: len(case.demand.cells)])),
        NOTHING,
        0.0,
    )
    for number in range(STEPS_MAX):
        after = step(case, before, USUAL.step_s * (number + 1))
        if after.moved == before.moved:
            break
        before = after
    else:
        raise AssertionError("it swings")
    for number in range(3):
        assert step(case, after, 1e6 + number * USUAL.step_s).moved == after.moved


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_nothing_moves_that_need_not(case: Case) -> None:
    natural = expected_loads(case.plan, case.demand)
    full = {name: load / case.demand.capacities[name] for name, load in natural.items()}
    moved = step(case, NOTHING, 0.0).moved
    if max(full.values()) <= USUAL.high:
        assert not moved
    if max(full.values()) <= 1.0:
        for cell in moved:
            assert any(full[name] > USUAL.high for name in placed(case, NOTHING, cell)), (
                "only from where it is too full"
            )
        assert all(after <= max(USUAL.low, full[name]) + 1e-6 for name, after in fills(case, moved).items()), (
            "comfortable"
        )
    if max(full.values()) <= 1.0 and not any(case.lost):
        assert len(moved) <= USUAL.slices_max * len(case.plan.pools), "by choice only a few at a time"
    assert step(case, NOTHING, 0.0) == step(case, NOTHING, 0.0), "always the same"


def fills(case: Case, moved: Mapping[int, str]) -> dict[str, float]:
    return {name: load / case.demand.capacities[name] for name, load in loads_of(case, Spill(moved)).items()}


def small(load: float, lost: bool = False) -> Case:
    """One bucket of 16 cells, at home in a1 (capacity 100), then b1 and c1 (100 each)."""
    groups = (Group("a", ("a1",)), Group("b", ("b1",)), Group("c", ("c1",)))
    return Case((groups,), (lost,), Demand((load / SLICES,) * SLICES, dict.fromkeys(SITES, 100.0)))


def test_a_step_moves_two_slices_and_the_next_two_wait() -> None:
    case = small(98.0)
    one = step(case, NOTHING, 0.0)
    assert one.moved == {14: "b1", 15: "b1"}
    assert one.loads["a1"] < 90.0
    assert step(case, one, 1.0).moved == one.moved
    calm = small(70.0)
    waiting = step(calm, one, 1.0)
    assert waiting.moved == one.moved, "not before the next step"
    assert not step(calm, waiting, 11.0).moved
    between = small(85.0)
    assert step(between, one, 11.0).moved == one.moved, "between the watermarks all stays as it was"


def test_no_more_than_two_slices_move_by_choice_however_small_they_are() -> None:
    case = small(0.0)._replace(demand=Demand((8.0,) * 12 + (1.0,) * 4, dict.fromkeys(SITES, 100.0)))
    one = step(case, NOTHING, 0.0)
    assert one.moved == {14: "b1", 15: "b1"}
    two = step(case, one, 10.0)
    assert two.moved == {12: "b1", 13: "b1", 14: "b1", 15: "b1"}


def test_pain_is_shared_when_there_is_no_room_at_all() -> None:
    """Strangers spread over all that they may use."""
    found = step(small(600.0, lost=True), NOTHING, 0.0)
    assert max(found.loads.values()) <= 250.0
    assert min(found.loads[name] for name in ("a1", "b1", "c1")) >= 150.0


def test_beyond_capacity_all_that_must_goes_at_once_and_over_several_sites() -> None:
    case = small(240.0)
    found = step(case, NOTHING, 0.0)
    assert all(load <= 100.0 for load in found.loads.values())
    assert {found.moved[cell] for cell in found.moved} == {"b1", "c1"}


def test_a_failover_takes_no_more_than_there_is_room_for() -> None:
    """Everybody of a region that is lost would go to b1; natives of b1 come first."""
    lost = (Group("b", ("b1",)), Group("c", ("c1",)))
    native = (Group("b", ("b1",)),)
    clients = (5.0,) * SLICES
    case = Case((lost, native), (True, False), Demand(clients + clients, dict.fromkeys(SITES, 100.0)))
    found = step(case, NOTHING, 0.0)
    assert not any(cell >= SLICES for cell in found.moved), "natives stay"
    assert found.loads["b1"] <= 90.0
    assert found.loads["c1"] <= 90.0
    narrow = case._replace(demand=case.demand._replace(capacities=dict.fromkeys(SITES, 50.0)))
    check(narrow, step(narrow, NOTHING, 0.0))


def test_who_can_go_elsewhere_makes_room_for_who_cannot() -> None:
    bound = (Group("a", ("a1",)),)
    free = (Group("a", ("a1",)), Group("b", ("b1",)))
    clients = (5.0,) * SLICES
    case = Case((bound, free), (True, False), Demand(clients + clients, dict.fromkeys(SITES, 100.0)))
    found = step(case, NOTHING, 0.0)
    assert found.loads["a1"] <= 100.0
    assert all(cell >= SLICES for cell in found.moved)
