"""How what several directors see becomes one judgement of every door.  Pure; the clock is an argument.

Every site is watched by up to three others.  A door is down when more than half of its fresh watchers say so; on a tie
it stays as it was.  A site's word on itself counts only against it: what is broken inside, nobody sees from outside.
Laws: a stale view (older than 3 s) does not vote; a watcher to which everything looks down is itself cut off, and not
heard while anybody else is; a director that is alone with such a view freezes: it keeps what was last decided; a
judgement changes as slowly as health does (`algebra.settle`), however watchers flutter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

from moonbow.world import World

from .algebra import USUAL, Rules, settle
from .model import DoorHealth, Load, SiteHealth, View

FRESH_S = 3.0
WATCHERS_MAX = 3
BLIND_MIN = 2  # sites that must all look down before a watcher doubts itself
ERRORS_DOWN = 0.5  # of a site's answers are 5xx: it is unfit, whatever its health page says


class Disagreement(NamedTuple):
    """A door on which fresh watchers do not agree."""

    site: str
    door: int
    say_up: tuple[str, ...]
    say_down: tuple[str, ...]


class Judged(NamedTuple):
    """The health of all sites as the quorum has it, and what speaks against trusting it.

    `own` is each site's word on itself as a state; `heard` are the fresh views, `blind` those of them not believed.
    """

    sites: Mapping[str, SiteHealth]
    own: Mapping[str, DoorHealth] = {}
    loads: Mapping[str, Load] = {}
    frozen: bool = False
    why: str = ""
    disagreements: tuple[Disagreement, ...] = ()
    heard: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()


def watchers_of(world: World, site: str, present: Collection[str] | None = None) -> tuple[str, ...]:
    """The primary sites that watch a site, by rendezvous; of the `present` ones if given.  Alone, it watches itself.

    Sites of other regions come first, so that a region is not judged only from within; sealed regions, whose
    directors no others hear, watch themselves.
    """
    home = world.site(site).region
    primaries = [ref for ref in world.sites() if ref.site.kind == "primary" and _hear(world, home, ref.region)]
    others = [ref for ref in primaries if ref.site.name != site and (present is None or ref.site.name in present)]
    ranked = sorted(others, key=lambda ref: (_draw(site, ref.site.name), ref.site.name))
    abroad = [ref.site.name for ref in ranked if ref.region != home]
    within = [ref.site.name for ref in ranked if ref.region == home]
    chosen = (*abroad[:2], *within[:1], *abroad[2:], *within[1:])
    return chosen[:WATCHERS_MAX] or (site,)


def _hear(world: World, home: str, other: str) -> bool:
    return home == other or not (world.regions[home].sealed or world.regions[other].sealed)


def _draw(site: str, watcher: str) -> bytes:
    return blake2b(f"{site}<{watcher}".encode(), digest_size=8).digest()


def judge_views(
    world: World, me: str, views: Iterable[View], now_s: float, before: Judged, rules: Rules = USUAL
) -> Judged:
    """The judgement of the director at site `me`, whose own view is among `views`."""
    fresh = {view.observer: view for view in views if now_s - view.at_s <= FRESH_S}
    blind = frozenset(name for name, view in fresh.items() if is_blind(view))
    seeing = {name: view for name, view in fresh.items() if name not in blind}
    heard = tuple(sorted(fresh))
    if not seeing and (not fresh or me in blind):
        why = "everything looks down from here" if me in blind else "nothing fresh was heard"
        return before._replace(
            frozen=True, why=f"{why}: what was last decided is kept", heard=heard, blind=tuple(blind)
        )
    sites: dict[str, SiteHealth] = {}
    own: dict[str, DoorHealth] = {}
    disputed: list[Disagreement] = []
    for name, known in before.sites.items():
        doors = tuple(
            _judge_door(name, number, door, seeing or fresh, fresh, now_s, disputed, rules)
            for number, door in enumerate(known.doors)
        )
        own[name] = _judge_self(fresh.get(name), before.own.get(name, DoorHealth()), now_s, rules)
        sites[name] = SiteHealth(doors, own[name].why if own[name].up is False else "")
    loads = {name: view.load for name, view in fresh.items() if view.load is not None}
    return Judged(sites, own, loads, False, "", tuple(disputed), heard, tuple(sorted(blind)))


def is_blind(view: View) -> bool:
    """Whether all that a director sees of others is down, so that it is more likely cut off itself."""
    states = [
        any(door.up is not False for door in doors) for name, doors in view.doors.items() if name != view.observer
    ]
    return len(states) >= BLIND_MIN and not any(states)


def _judge_door(
    site: str,
    number: int,
    before: DoorHealth,
    seeing: Mapping[str, View],
    fresh: Mapping[str, View],
    now_s: float,
    disputed: list[Disagreement],
    rules: Rules,
) -> DoorHealth:
    votes = _votes(site, number, seeing) or _votes(site, number, fresh)
    if not votes:
        return before
    say_up = tuple(sorted(name for name, door in votes.items() if door.up))
    say_down = tuple(sorted(name for name, door in votes.items() if not door.up))
    if say_up and say_down:
        disputed.append(Disagreement(site, number, say_up, say_down))
    if len(say_up) == len(say_down):
        return before if before.up is not None else settle(before, True, "watchers do not agree", now_s, rules)
    up = len(say_up) > len(say_down)
    reasons = sorted({door.why for door in votes.values() if bool(door.up) is up})
    return settle(before, up, "answers" if up else "; ".join(reasons), now_s, rules)


def _votes(site: str, number: int, views: Mapping[str, View]) -> dict[str, DoorHealth]:
    """What each view says of a door.  Nobody is its own watcher, unless nobody else watches it."""
    found = {
        name: view.doors[site][number]
        for name, view in views.items()
        if number < len(view.doors.get(site, ())) and view.doors[site][number].up is not None
    }
    return {name: door for name, door in found.items() if name != site} or found


def _judge_self(view: View | None, before: DoorHealth, now_s: float, rules: Rules) -> DoorHealth:
    """What a site says of itself: unfit when it names a trouble, or when most of its answers are errors."""
    if view is None:  # a word lapses with its speaker: whether the site is there is for others to see
        return settle(before, True, "says nothing", now_s, rules) if before.up is False else before
    trouble = view.trouble
    if not trouble and view.load is not None and view.load.errors >= ERRORS_DOWN:
        trouble = f"{view.load.errors:.0%} of its answers are errors"
    return settle(before, not trouble, trouble or "says that it is well", now_s, rules)


def nothing_judged(sites: Mapping[str, SiteHealth]) -> Judged:
    """Before the first view."""
    return Judged(sites)
