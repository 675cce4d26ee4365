"""What load to expect, put together from what all directors of a plane were asked and what their sites carry.  No I/O.

The first living director of the world file leads: it alone moves slices by choice, the others follow what it says it
moved, so that all answer alike; whoever leads next goes on from there.
Law: while all clients together would fit into the smallest site, nothing is foreseen and nothing is moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import exp

from moonbow.wire.views import CELLS_MAX, SiteView
from moonbow.world import World

from .demand import estimate
from .model import Demand, Load, Map, Plan, Spill
from .spill import NOTHING, USUAL

ASKED_S = 3_600.0  # over which questions are remembered
LEAST = 0.01  # questions left of a cell before it is forgotten


class Forecast:
    """What one director foresees.  `asked` are its own questions by cell, fading over an hour."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: dict[int, float] = {}
        self.demand: Demand | None = None
        self._before: Demand | None = None
        self._map = ""
        self._totals: dict[int, int] = {}

    def count(self, compiled: Map, totals: Mapping[tuple[str, int], int], passed_s: float) -> None:
        """After `passed_s`; `totals` are all questions so far by service and cell.  Another map begins anew."""
        doors = {cell: number for (service, cell), number in totals.items() if service == "door"}
        if compiled.digest != self._map:
            self._map, self._totals, self.asked = compiled.digest, doors, {}
            return
        fade = exp(-passed_s / ASKED_S)
        asked = {cell: count * fade for cell, count in self.asked.items()}
        for cell, number in doors.items():
            if number > self._totals.get(cell, 0):
                asked[cell] = asked.get(cell, 0.0) + number - self._totals.get(cell, 0)
        self.asked = {cell: count for cell, count in asked.items() if count > LEAST}
        self._totals = doors

    def start_anew(self) -> None:
        """Another map numbers its cells otherwise: nothing is foreseen until the next look, which knows the scales."""
        self._before, self.demand = self.demand and self.demand._replace(cells=()), None

    def told(self) -> dict[int, int]:
        """What to tell the peers: the cells asked from most."""
        most = sorted(self.asked.items(), key=lambda item: -item[1])[:CELLS_MAX]
        return {cell: round(count) for cell, count in most if round(count)}

    def foresee(
        self, compiled: Map, views: Iterable[SiteView], loads: Mapping[str, Load], plan: Plan, passed_s: float
    ) -> Demand | None:
        """The demand from now on; None while nothing could overload anybody."""
        smallest = min(ref.site.capacity for ref in self.world.sites() if ref.site.kind != "witness")
        crowded = any(load.cpu > USUAL.high for load in loads.values())
        if not crowded and sum(load.connections for load in loads.values()) <= USUAL.low * smallest:
            self.demand = None
            return None
        asked = dict(self.asked)
        for view in views:
            if view.map == compiled.digest:
                for cell, count in view.asked.items():
                    asked[cell] = asked.get(cell, 0.0) + count
        self.demand = estimate(self.world, compiled, asked, loads, plan, self.demand or self._before, passed_s)
        return self.demand


def follow(compiled: Map, leader: SiteView | None, own: Spill, now_s: float) -> Spill:
    """What had spilled over before: one's own word if one leads (`leader` is None), else the leader's.

    A follower takes no step of its own: its last one is always now.
    """
    if leader is None:
        return own
    if leader.map != compiled.digest:
        return own._replace(stepped_at_s=now_s)
    return NOTHING._replace(moved=dict(leader.moved), stepped_at_s=now_s)
