"""All that one director knows: its own looks, what its peers see, what it has judged from both.  No I/O; time is given.

Laws: the own view is always fresh; a peer's view counts from when we heard it, on our clock; a view of doors that the
world does not have is not taken; after a restart the remembered health is the judgement until something fresh is known;
who is alone waits 2 s before it takes sites out, and who freezes goes back that far: doors do not fall silent at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from moonbow.wire.views import SeenDoor, SiteLoad, SiteView
from moonbow.world import SiteRef, World, plane_of

from .algebra import USUAL, Rules, judge_door
from .memory import Memory, age_health
from .model import DoorHealth, Load, SiteHealth, View
from .quorum import FRESH_S, Judged, judge_views, nothing_judged, watchers_of
from .snapshot import unknown_health

WHY_LETTERS_MAX = 200
BLINDED_S = 2.0  # how long it takes at most until all doors have failed to answer somebody who is cut off


class Knowledge:
    """What the director at site `me` knows."""

    def __init__(self, world: World, me: SiteRef, memory: Memory | None = None, rules: Rules = USUAL) -> None:
        self.world, self.rules = world, rules
        self.me = me.site.name
        self.peers = tuple(found.site.name for found in plane_of(world, me.region) if found.site.name != self.me)
        self.own: dict[str, tuple[DoorHealth, ...]] = {}
        self.load: Load | None = None
        self.trouble = ""
        self.views: dict[str, View] = {}
        self.said: dict[str, SiteView] = {}
        self.flaps: dict[str, int] = {}
        remembered = {name: age_health(site) for name, site in memory.health.items()} if memory else {}
        self.judged = nothing_judged(unknown_health(world) | remembered)
        self._number = 0
        self._out: set[str] = set()
        self._losing_at_s = float("-inf")
        self._present, self._watched = frozenset[str](), frozenset[str]()
        self._lately: deque[tuple[float, Judged]] = deque([(0.0, self.judged)])

    def watched(self, now_s: float) -> frozenset[str]:
        """The sites that this director watches among those heard; its own is one of them only while nobody else is."""
        present, world = self.present(now_s), self.world
        if present != self._present:
            names = (ref.site.name for ref in world.sites() if ref.site.kind != "witness")
            found = (name for name in names if self._is_near(name) and self.me in watchers_of(world, name, present))
            self._present, self._watched = present, frozenset(found)
        return self._watched

    def _is_near(self, site: str) -> bool:
        """Whether a site is of our plane: directors do not even ask the doors of the others."""
        home, other = self.world.site(self.me).region, self.world.site(site).region
        return home == other or not (self.world.regions[home].sealed or self.world.regions[other].sealed)

    def watch(self, sites: frozenset[str]) -> None:
        """From now on look at these sites and our own; what was seen of others is dropped."""
        counts = {name: self.world.site(name).site.doors for name in sites | {self.me}}
        self.own = {name: self.own.get(name, (DoorHealth(),) * count) for name, count in counts.items()}

    def look(self, site: str, door: int, passed: bool, why: str, now_s: float) -> bool:
        """After one look at a door; whether there is something new to tell."""
        doors = self.own[site]
        before = doors[door]
        rules = self.rules if before.hold_s else self.rules._replace(passes_up=1)  # what was never up has not flapped
        after = judge_door(before, passed, why[:WHY_LETTERS_MAX], now_s, rules)
        self.own[site] = (*doors[:door], after, *doors[door + 1 :])
        return before.up is not after.up or before.why != after.why

    def measure(self, load: Load | None, trouble: str) -> bool:
        """What was found inside the own site; whether there is something new to tell at once."""
        news = trouble != self.trouble
        self.load, self.trouble = load, trouble[:WHY_LETTERS_MAX]
        return news

    def hear(self, observer: str, said: SiteView, now_s: float) -> bool:
        """What a peer says; whether it is something new to judge."""
        if observer not in self.peers:
            return False
        doors = {
            name: tuple(DoorHealth(*_fields(door)) for door in found)
            for name, found in said.doors.items()
            if (known := self.judged.sites.get(name)) is not None and len(known.doors) == len(found)
        }
        load = None
        if said.load is not None:
            capacity = self.world.site(observer).site.capacity
            load = Load(said.load.connections, said.load.cpu, capacity, said.load.errors)
        self.said[observer] = said
        before = self.views.get(observer)
        after = self.views[observer] = View(observer, now_s, doors, load, said.trouble)
        return before is None or (before.doors, before.trouble) != (after.doors, after.trouble)

    def present(self, now_s: float) -> frozenset[str]:
        """The sites whose directors are heard now, our own among them."""
        return frozenset((self.me, *(name for name, view in self.views.items() if now_s - view.at_s <= FRESH_S)))

    def leader(self, now_s: float) -> SiteView | None:
        """What the first director of the world file that lives says last; None if that is ourselves."""
        present = self.present(now_s)
        first = next(ref.site.name for ref in self.world.sites() if ref.site.name in present)
        return None if first == self.me else self.said[first]

    def view(self, map_digest: str, asked: Mapping[int, int], moved: Mapping[int, str]) -> SiteView:
        """What to tell the peers now."""
        self._number += 1
        doors = {
            name: [SeenDoor(*door) for door in found]
            for name, found in self.own.items()
            if any(door.up is not None for door in found)
        }
        load = SiteLoad(self.load.connections, self.load.cpu, self.load.errors) if self.load else None
        return SiteView(self.me, self._number, doors, self.trouble, load, map_digest, dict(asked), dict(moved))

    def has_looked(self) -> bool:
        """Whether every door that is asked has been asked once."""
        return all(door.up is not None for doors in self.own.values() for door in doors)

    def judge(self, now_s: float) -> bool:
        """Judge anew; whether the health of any site, or being frozen, changed by it."""
        if self._is_losing_sight(now_s):
            return False
        mine = View(self.me, now_s, self.own, self.load, self.trouble)
        views, before = (mine, *self.views.values()), self.judged
        after = judge_views(self.world, self.me, views, now_s, before, self.rules)
        if after.frozen and not before.frozen:  # what was judged while we were losing sight is not to be trusted
            kept = self._lately[0][1]
            after = after._replace(sites=kept.sites, own=kept.own)
        self.judged = after
        self._lately.append((now_s, after))
        while len(self._lately) > 1 and self._lately[1][0] < now_s - BLINDED_S:
            self._lately.popleft()
        for name, site in after.sites.items():
            if any(_flipped(old, new) for old, new in zip(before.sites[name].doors, site.doors, strict=True)):
                self.flaps[name] = self.flaps.get(name, 0) + 1
        return before.frozen != after.frozen or _words(before.sites) != _words(after.sites)

    def _is_losing_sight(self, now_s: float) -> bool:
        """Whether nobody else is heard, and other sites began to fail so lately that all of them may yet."""
        out = {name for name, doors in self.own.items() if name != self.me and all(door.up is False for door in doors)}
        if not out <= self._out:
            self._losing_at_s = now_s
        self._out = out
        is_alone = bool(self.peers) and len(self.present(now_s)) == 1
        return is_alone and now_s - self._losing_at_s < BLINDED_S and len(out) < len(self.own.keys() - {self.me})


def _fields(door: SeenDoor) -> tuple[bool | None, str, int, int, float, float]:
    return door.up, door.why, door.fails, door.passes, door.since_s, door.hold_s


def _flipped(old: DoorHealth, new: DoorHealth) -> bool:
    return old.up is not None and old.up is not new.up


def _words(sites: Mapping[str, SiteHealth]) -> list[tuple[str, str, list[tuple[bool | None, str]]]]:
    """What of health shows in a decision or its reason: not the counts of looks."""
    return [(name, site.trouble, [(door.up, door.why) for door in site.doors]) for name, site in sites.items()]
