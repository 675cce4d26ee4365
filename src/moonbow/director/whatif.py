"""What-if as operators see it: an outage, or an order not yet given, with its figures and its arrows.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moonbow.base.errors import Refused
from moonbow.wire import traffic
from moonbow.wire.traffic import NewOrder

from . import simulate
from .demand import estimate
from .flows import trace_flows
from .model import SLICES, Demand, Load, Map, Plan
from .orders import Order, Orders, give, order_problems, overrides_at, sites_of
from .simulate import Forecast, Outcome
from .snapshot import Snapshot


def foresee(snapshot: Snapshot, loads: Mapping[str, Load], asked: Mapping[int, float]) -> Demand | None:
    """The demand that counts: what is foreseen, or what follows from the clients that are there; None without any."""
    if snapshot.demand is not None:
        return snapshot.demand
    if not any(load.connections for load in loads.values()):
        return None
    return estimate(snapshot.world, snapshot.map, asked, loads, snapshot.plans["door"])


def describe_outage(
    snapshot: Snapshot, demand: Demand | None, down: Sequence[str], sizes: Sequence[int]
) -> traffic.Simulation:
    """What would be if these sites or regions died.  `Refused` for a name that nobody knows, or none at all."""
    for name in down:
        if not sites_of(snapshot.world, name):
            raise Refused("target_unknown", f"there is no site or region {name!r} with doors", place="down")
    if not down:
        raise Refused("target_unknown", "name sites or regions, by comma", place="down")
    return describe_outcome(snapshot, simulate.simulate(snapshot, demand, down=down), down, sizes)


def describe_outcome(
    snapshot: Snapshot, outcome: Outcome, down: Sequence[str], sizes: Sequence[int]
) -> traffic.Simulation:
    """An outcome for people and programs; `down` is what it is an outcome of.

    A few clients say little about who goes where: parts are of addresses until the director itself foresees clients.
    """
    foreseen = snapshot.demand is not None
    after = outcome.after._replace(demand=snapshot.demand)
    part = outcome.moved if foreseen else moved_addresses(snapshot.map, snapshot.plans["door"], after.plans["door"])
    return traffic.Simulation(
        down=list(down),
        sites=[_forecast(found) for found in outcome.sites],
        regions=[_forecast(found) for found in outcome.regions],
        part=round(part, 6),
        over=[found.name for found in outcome.overloaded],
        problems=find_problems(snapshot, outcome),
        by="clients" if foreseen else "addresses",
        flows=trace_flows(after, sizes),
    )


def _forecast(found: Forecast) -> traffic.Forecast:
    return traffic.Forecast(
        name=found.name,
        region=found.region,
        capacity=round(found.capacity),
        before=round(found.now),
        after=round(found.then),
        over=found.is_overloaded,
        usable=found.usable,
    )


def moved_addresses(compiled: Map, before: Plan, after: Plan) -> float:
    """The part (0..1) of all IPv4 addresses whose answer changes."""
    moved = [0] * len(compiled.buckets)
    for cell, (was, now) in enumerate(zip(before.cells, after.cells, strict=True)):
        moved[cell // SLICES] += before.pools[was].sites != after.pools[now].sites
    whole = sum(compiled.sizes) or 1
    return sum(size * slices / SLICES for size, slices in zip(compiled.sizes, moved, strict=True)) / whole


def weigh_order(snapshot: Snapshot, demand: Demand | None, orders: Orders, wanted: NewOrder, now_s: float) -> Outcome:
    """What would follow from an order.  `Refused` if it makes no sense."""
    until_s = None if wanted.for_s is None else now_s + wanted.for_s
    order = Order("new", wanted.kind, wanted.target, wanted.value or 0, wanted.who, wanted.why, now_s, until_s)
    if problems := order_problems(order, snapshot.world):
        raise Refused("order_invalid", "; ".join(problem.removeprefix("order new: ") for problem in problems))
    wishes = overrides_at(snapshot.world, give(orders, order), now_s)
    return simulate.simulate(snapshot, demand, overrides=wishes)


def find_problems(before: Snapshot, outcome: Outcome) -> list[str]:
    """Why something should not be done, in words: who would be overloaded, and who left without any site."""
    deserted = (
        f"no site of {name} would be left to serve the people whose data rests there"
        for name in before.world.regions
        if _is_served(before, name) and not _is_served(outcome.after, name)
    )
    return [*outcome.problems, *deserted]


def refuse_harm(before: Snapshot, outcome: Outcome) -> None:
    """`Refused` (409) with the figures if an order should not be given."""
    if problems := find_problems(before, outcome):
        raise Refused("would_overload", "; ".join(problems), status=409)


def _is_served(snapshot: Snapshot, region: str) -> bool:
    """Whether any of a region's primary sites is usable."""
    return any(not snapshot.verdicts[ref.site.name].trouble for ref in snapshot.world.primaries(region))
