"""Spill-over: which cells go elsewhere because a site is full, or would be after a failover.  Pure.

Natives first: cells whose first choice is up keep it while it has room; those that lost theirs, and those that find
it full, go to the next sites of their order, as far as these have room.  A site is left above the high watermark and
returned to below the low one, a few slices a step, so nothing swings; only what is needed to stay within capacity
moves at once.

Laws: while a site is over its capacity, none of its cells has an allowed site with room; a cell goes only to sites
of its own order (so a sealed region never leaks); with the same demand, steps come to rest, and rest is kept; a cell
that need not move does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from .model import SLICES, Demand, Group, Plan, Pool, Spill

NOTHING = Spill()
_HAIR = 1e-9  # what sums of fractions may be off by


class Limits(NamedTuple):
    """Watermarks as parts of capacity; how many slices of a site may move by choice in one step."""

    high: float = 0.9
    low: float = 0.75
    slices_max: int = 2
    step_s: float = 10.0


USUAL = Limits()


def expected_loads(plan: Plan, demand: Demand) -> dict[str, float]:
    """The clients that each site carries if everybody goes where the plan says; sites of one pool share evenly."""
    loads = dict.fromkeys(demand.capacities, 0.0)
    for at in range(0, len(plan.cells), SLICES):
        if plan.is_split(at // SLICES):
            for cell in range(at, at + SLICES):
                _add(loads, plan.pools[plan.cells[cell]].sites, demand.cells[cell])
        else:
            _add(loads, plan.pools[plan.cells[at]].sites, sum(demand.cells[at : at + SLICES]))
    return loads


def _add(loads: dict[str, float], sites: Sequence[str], clients: float) -> None:
    for name in sites:
        loads[name] += clients / len(sites)


def spill_over(
    plan: Plan,
    options: Callable[[int], Sequence[Group]],
    demand: Demand,
    before: Spill = NOTHING,
    now_s: float = 0.0,
    limits: Limits = USUAL,
) -> Spill:
    """What moves off the plan; nothing while all is well.  `options` gives a bucket's usable groups, best first."""
    loads = expected_loads(plan, demand)
    hot = {name for name, load in loads.items() if load > limits.high * demand.capacities[name]}
    if not hot and not before.moved:
        return Spill({}, loads, before.stepped_at_s)
    return _Placing(plan, options, demand, before, now_s, limits, loads, hot).run()


def pool_for(plan: Plan, cell: int, site: str) -> Pool:
    """The pool of a cell that was moved to `site`."""
    natural = plan.pools[plan.cells[cell]]
    return Pool((site,), True, f"{' and '.join(natural.sites)} would be too full; {site} has room for this slice")


class _Placing:
    """Cells put one after the other where there is room."""

    def __init__(
        self,
        plan: Plan,
        options: Callable[[int], Sequence[Group]],
        demand: Demand,
        before: Spill,
        now_s: float,
        limits: Limits,
        loads: dict[str, float],
        hot: set[str],
    ) -> None:
        self.plan, self.demand, self.before, self.limits = plan, demand, before, limits
        self.loads = loads
        self.at: dict[int, tuple[str, ...]] = {}
        self.now_s = now_s
        self.allowance = limits.slices_max if now_s >= before.stepped_at_s + limits.step_s else 0
        self.stepped: Counter[tuple[str, ...]] = Counter()
        self.cells = self._concerned(hot)
        self.options = {bucket: options(bucket) for bucket in {cell // SLICES for cell in self.cells}}

    def run(self) -> Spill:
        """Natives at home, then those that may come home, then those without a home, then all who found no room."""
        for cell in self.cells:
            _add(self.loads, self.natural(cell), -self.demand.cells[cell])
        moved = self.before.moved
        strangers = [cell for cell in self.cells if self.pool(cell).degraded]
        natives = [cell for cell in self.cells if not self.pool(cell).degraded]
        waiting = [cell for cell in natives if cell not in moved and not self.stays(cell)]
        waiting += [cell for cell in natives if cell in moved and not self.returns(cell)]
        waiting += [cell for cell in strangers if not (self.returns(cell) if cell in moved else self.fits_home(cell))]
        for cell in [cell for cell in waiting if not self.finds_room(cell)]:
            self.squeeze(cell)
        self.relieve()
        found = {cell: sites[0] for cell, sites in self.at.items() if sites != self.natural(cell)}
        return Spill(found, self.loads, self.now_s if self.stepped else self.before.stepped_at_s)

    def _concerned(self, hot: set[str]) -> list[int]:
        """All cells of buckets that touch a hot site or have moved cells, slice by slice."""
        buckets = {cell // SLICES for cell in self.before.moved if cell < len(self.plan.cells)}
        hot_pools = {number for number, pool in enumerate(self.plan.pools) if not hot.isdisjoint(pool.sites)}
        for bucket in range(len(self.plan.cells) // SLICES):
            if not hot_pools.isdisjoint(self.plan.cells[SLICES * bucket : SLICES * bucket + SLICES]):
                buckets.add(bucket)
        found = sorted(SLICES * bucket + number for bucket in buckets for number in range(SLICES))
        return sorted(found, key=lambda cell: cell % SLICES)

    def pool(self, cell: int) -> Pool:
        return self.plan.pools[self.plan.cells[cell]]

    def natural(self, cell: int) -> tuple[str, ...]:
        return self.plan.pools[self.plan.cells[cell]].sites

    def fits(self, cell: int, sites: tuple[str, ...], part: float) -> bool:
        """Whether sites stay within a part of their capacity with one cell more."""
        each = self.demand.cells[cell] / len(sites)
        return all(self.loads[name] + each <= part * self.demand.capacities[name] + _HAIR for name in sites)

    def put(self, cell: int, sites: tuple[str, ...]) -> bool:
        _add(self.loads, sites, self.demand.cells[cell])
        self.at[cell] = sites
        return True

    def may_step(self, sites: tuple[str, ...]) -> bool:
        """Whether one more slice of these sites may move by choice now; it is counted."""
        if self.stepped[sites] >= self.allowance:
            return False
        self.stepped[sites] += 1
        return True

    def fits_home(self, cell: int) -> bool:
        home = self.natural(cell)
        return not self.demand.cells[cell] or (self.fits(cell, home, self.limits.high) and self.put(cell, home))

    def stays(self, cell: int) -> bool:
        """At home below the high watermark; above it a few may leave, and all must beyond capacity."""
        home = self.natural(cell)
        if self.fits_home(cell):
            return True
        return self.fits(cell, home, 1.0) and not self.may_step(home) and self.put(cell, home)

    def returns(self, cell: int) -> bool:
        """Home again below the low watermark, a few at a time."""
        home = self.natural(cell)
        if not self.demand.cells[cell]:
            return self.put(cell, home)
        return self.fits(cell, home, self.limits.low) and self.may_step(home) and self.put(cell, home)

    def finds_room(self, cell: int) -> bool:
        """Where it was moved before, or else the first group of its order with a site below the low watermark."""
        kept = self.before.moved.get(cell)
        if kept in self.names(cell) and self.fits(cell, (kept,), self.limits.high):
            return self.put(cell, (kept,))
        found = self.roomy(cell, self.limits.low)
        return found is not None and self.put(cell, (found,))

    def squeeze(self, cell: int) -> None:
        """No room below the watermarks: up to capacity, rather at home; beyond it where it hurts least."""
        home = self.natural(cell)
        is_native = not self.pool(cell).degraded
        found = None if is_native and self.fits(cell, home, 1.0) else self.roomy(cell, 1.0)
        if found is None and not is_native and not self.fits(cell, home, 1.0):
            found = min(self.names(cell), key=lambda name: self.fill(cell, name), default=None)
        self.put(cell, home if found is None else (found,))

    def relieve(self) -> None:
        """Move cells off sites beyond capacity while any can go: one may have taken another's only room."""
        again = True
        while again:
            again = False
            for name in [name for name, load in self.loads.items() if self.is_over(name)]:
                for cell in [cell for cell in reversed(self.cells) if name in self.at.get(cell, ())]:
                    again = (self.is_over(name) and self.move_off(cell, name)) or again

    def is_over(self, name: str) -> bool:
        return self.loads[name] > self.demand.capacities[name] + _HAIR

    def move_off(self, cell: int, name: str) -> bool:
        sites = self.at[cell]
        _add(self.loads, sites, -self.demand.cells[cell])
        found = self.roomy(cell, 1.0, beside=name)
        self.put(cell, sites if found is None else (found,))
        return found is not None

    def names(self, cell: int) -> list[str]:
        return [name for group in self.options[cell // SLICES] for name in group.sites]

    def fill(self, cell: int, name: str) -> float:
        return (self.loads[name] + self.demand.cells[cell]) / self.demand.capacities[name]

    def roomy(self, cell: int, part: float, beside: str = "") -> str | None:
        """In the first group that has one, the emptiest site that stays within a part of its capacity."""
        for group in self.options[cell // SLICES]:
            fitting = [name for name in group.sites if name != beside and self.fits(cell, (name,), part)]
            if fitting:
                return min(fitting, key=lambda name: (self.fill(cell, name), name))
        return None


def moved_pools(plan: Plan, moved: Mapping[int, str]) -> dict[int, Pool]:
    """The pools of all moved cells."""
    return {cell: pool_for(plan, cell, site) for cell, site in moved.items()}
