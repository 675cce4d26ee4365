"""Spill-over: which cells go elsewhere because a site is full, or would be after a failover.  Pure.

Everybody starts where they were: moved cells there, the others where the plan says.  Then sites beyond capacity are
relieved at once; those above the high watermark send on whom they took over from others, and a few slices of their
own a step; who can come home and leave it below the low watermark does, a few slices a step.
Laws: while a site is over its capacity, none of its cells has an allowed site with room; a cell goes only to sites of
its own order (so a sealed region never leaks); a cell that need not move does not; with the same demand, steps come to
rest, for each but a return takes from a fuller site than it makes, and a return makes none fuller than the low mark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from .model import SLICES, Demand, Group, Plan, Pool, Spill

NOTHING = Spill()
_HAIR = 1e-9  # what sums of fractions may be off by


class Limits(NamedTuple):
    """Watermarks as parts of capacity; how many slices of a site may move by choice in one step (s)."""

    high: float = 0.9
    low: float = 0.75
    slices_max: int = 2
    step_s: float = 10.0
    pain: float = 0.25  # how much less full a full site must be to take from a fuller one


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
    if not before.moved and all(load <= limits.high * demand.capacities[name] for name, load in loads.items()):
        return Spill({}, loads, before.stepped_at_s)
    return _Settling(plan, options, demand, before, now_s, limits, loads).run()


def pool_for(plan: Plan, cell: int, site: str) -> Pool:
    """The pool of a cell that was moved to `site`."""
    natural = plan.pools[plan.cells[cell]]
    return Pool((site,), True, f"{' and '.join(natural.sites)} would be too full; {site} has room for this slice")


class _Settling:
    """Where all cells with clients are, and the moves from there.

    `cells` are in the order in which they leave: strangers, then natives, high slices first.
    """

    def __init__(
        self,
        plan: Plan,
        options: Callable[[int], Sequence[Group]],
        demand: Demand,
        before: Spill,
        now_s: float,
        limits: Limits,
        loads: dict[str, float],
    ) -> None:
        self.plan, self.demand, self.before, self.limits, self.loads = plan, demand, before, limits, loads
        self.now_s = now_s
        self.allowance = limits.slices_max if now_s >= before.stepped_at_s + limits.step_s else 0
        self.stepped: Counter[tuple[str, ...]] = Counter()
        concerned = [cell for cell, clients in enumerate(demand.cells) if clients]
        self.home = {cell: plan.pools[plan.cells[cell]].sites for cell in concerned}
        self.strangers = {cell for cell in concerned if plan.pools[plan.cells[cell]].degraded}
        self.cells = sorted(concerned, key=lambda cell: (cell not in self.strangers, -(cell % SLICES), -cell))
        self.options = {bucket: options(bucket) for bucket in {cell // SLICES for cell in self.cells}}
        self.at = dict(self.home)
        for cell, name in before.moved.items():
            if cell in self.at and name in self.names(cell):
                self.put(cell, (name,))

    def run(self) -> Spill:
        """All moves of one step."""
        while self.relieve() or self.share_pain():
            pass
        self.ease()
        self.come_home()
        while self.relieve():  # into what became free
            pass
        found = {cell: sites[0] for cell, sites in self.at.items() if sites != self.home[cell]}
        return Spill(found, self.loads, self.now_s if self.stepped else self.before.stepped_at_s)

    def relieve(self) -> bool:
        """Whether anything moved off sites beyond capacity: to where it is comfortable, else to where it just fits."""
        moved = False
        for name in [name for name in self.loads if self.fill(name) > 1.0 + _HAIR]:
            for cell in self.on(name):
                if self.fill(name) <= 1.0 + _HAIR:
                    break
                moved = self.leave(cell, name, self.limits.low) or self.leave(cell, name, 1.0) or moved
        return moved

    def share_pain(self) -> bool:
        """Without any room: whether a stranger moved from a full site to one clearly less full."""
        for name in [name for name in self.loads if self.fill(name) > 1.0 + _HAIR]:
            for cell in filter(self.strangers.__contains__, self.on(name)):
                if self.leave(cell, name, self.fill(name) - self.limits.pain):
                    return True
        return False

    def ease(self) -> None:
        """Off sites above the high watermark to comfortable ones: strangers at once, natives a few at a time."""
        for name in [name for name in self.loads if self.fill(name) > self.limits.high + _HAIR]:
            for cell in self.on(name):
                if self.fill(name) <= self.limits.high + _HAIR:
                    break
                home = self.home[cell]
                if cell in self.strangers:
                    self.leave(cell, name, self.limits.low)
                elif self.stepped[home] < self.allowance and self.leave(cell, name, self.limits.low):
                    self.stepped[home] += 1

    def come_home(self) -> None:
        """Home, where that stays below the low watermark; a few at a time, low slices first."""
        for cell in reversed(self.cells):
            here, home = self.at[cell], self.home[cell]
            if here == home or self.stepped[home] >= self.allowance:
                continue
            if here[0] not in home and not self.fits(cell, home, self.limits.low):
                continue
            self.put(cell, ())
            if self.fits(cell, home, self.limits.low):
                self.put(cell, home)
                self.stepped[home] += 1
            else:
                self.put(cell, here)

    def leave(self, cell: int, name: str, part: float) -> bool:
        """Move a cell off a site: home, or to the first group with room below a part of capacity.  Whether it did."""
        here, home = self.at[cell], self.home[cell]
        self.put(cell, ())
        if name not in home and self.fits(cell, home, part):
            return self.put(cell, home)
        found = self.roomy(cell, part, name)
        self.put(cell, here if found is None else (found,))
        return found is not None

    def put(self, cell: int, sites: tuple[str, ...]) -> bool:
        """Take a cell from where it is to `sites`."""
        _add(self.loads, self.at[cell], -self.demand.cells[cell])
        _add(self.loads, sites, self.demand.cells[cell])
        self.at[cell] = sites
        return True

    def on(self, name: str) -> list[int]:
        """The cells that a site has, in the order in which they leave."""
        return [cell for cell in self.cells if name in self.at[cell]]

    def names(self, cell: int) -> list[str]:
        return [name for group in self.options[cell // SLICES] for name in group.sites]

    def fill(self, name: str, more: float = 0.0) -> float:
        return (self.loads[name] + more) / self.demand.capacities[name]

    def fits(self, cell: int, sites: tuple[str, ...], part: float) -> bool:
        """Whether sites stay within a part of their capacity with one cell more."""
        each, loads, capacities = self.demand.cells[cell] / len(sites), self.loads, self.demand.capacities
        return all(loads[name] + each <= part * capacities[name] for name in sites)

    def roomy(self, cell: int, part: float, beside: str) -> str | None:
        """In the first group that has one, the emptiest site that stays within a part of its capacity."""
        for group in self.options[cell // SLICES]:
            fitting = [name for name in group.sites if name != beside and self.fits(cell, (name,), part)]
            if fitting:
                return min(fitting, key=lambda name: (self.fill(name, self.demand.cells[cell]), name))
        return None


def moved_pools(plan: Plan, moved: Mapping[int, str]) -> dict[int, Pool]:
    """The pools of all moved cells."""
    return {cell: pool_for(plan, cell, site) for cell, site in moved.items()}
