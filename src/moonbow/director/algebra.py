"""The algebra of health: how looks become a state, and how states combine.  Pure; the clock is an argument.

Laws: what is combined is as bad as its worst part; an operator's order beats any look; down after 2 failures in a row,
up after 3 passes and not before the hold-down is over.  The hold-down is the minimum stay in failover; it doubles each
time a thing goes down, up to a limit, and halves with every calm minute that it stays up.  So a thing that oscillates
for T seconds changes at most 2 * (2 + log2(limit / stay) + T / calm + T / limit) times, however it goes about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .model import DoorHealth, Overrides, SiteHealth, Verdict

WELL, DRAINED, UNFIT, DECLARED_DOWN = 0, 1, 2, 3


class Rules(NamedTuple):
    """How fast health moves."""

    fails_down: int = 2
    passes_up: int = 3
    stay_s: float = 1.0
    hold_max_s: float = 64.0
    calm_s: float = 60.0


USUAL = Rules()


def judge_door(before: DoorHealth, passed: bool, why: str, now_s: float, rules: Rules = USUAL) -> DoorHealth:
    """A door's health after one more look.  The very first look decides at once, and holds nothing back."""
    fails = 0 if passed else before.fails + 1
    passes = before.passes + 1 if passed else 0
    if before.up is None:
        return DoorHealth(passed, why, fails, passes, now_s)
    if before.up:
        if fails >= rules.fails_down:
            return DoorHealth(False, why, fails, passes, now_s, next_hold_s(before, now_s, rules))
        return before._replace(why=why if passed else before.why, fails=fails, passes=passes)
    held = now_s < before.since_s + before.hold_s
    if passes >= rules.passes_up and not held:
        return DoorHealth(True, why, fails, passes, now_s, before.hold_s)
    if passes >= rules.passes_up:
        why = f"answers again, but is held back {before.hold_s:.0f} s after it went down"
    elif passed:
        why = before.why
    return before._replace(why=why, fails=fails, passes=passes)


def next_hold_s(before: DoorHealth, now_s: float, rules: Rules = USUAL) -> float:
    """How long a thing that goes down now is held down: twice the last time, halved for every calm spell since."""
    calm_spells = int(max(0.0, now_s - before.since_s) / rules.calm_s)
    left_s = before.hold_s / 2 ** min(calm_spells, 64)
    return min(rules.hold_max_s, max(rules.stay_s, 2 * left_s)) if left_s >= rules.stay_s / 2 else rules.stay_s


def settle(before: DoorHealth, up: bool, why: str, now_s: float, rules: Rules = USUAL) -> DoorHealth:
    """As `judge_door` for a judgement that is settled in itself, as a quorum's: it counts at once, but is held down."""
    return judge_door(before, up, why, now_s, rules._replace(fails_down=1, passes_up=1))


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """As bad as the worst, with the reasons of all that are not well."""
    found = [verdict for verdict in verdicts if verdict.trouble]
    if not found:
        return Verdict(WELL, "healthy")
    return Verdict(max(verdict.trouble for verdict in found), "; ".join(verdict.why for verdict in found))


def site_trouble(health: SiteHealth) -> str:
    """Why no door of a site can be used; empty if one can.  A door not probed yet is given the benefit of the doubt."""
    if health.trouble or any(door.up is not False for door in health.doors):
        return health.trouble
    reasons = sorted({door.why for door in health.doors})
    return f"all {len(health.doors)} doors are down: {'; '.join(reasons)}"


def judge_site(name: str, health: SiteHealth, overrides: Overrides) -> Verdict:
    """One site by itself: the operator's word first, then what is seen of it."""
    if name in overrides.down:
        return Verdict(DECLARED_DOWN, _said("declared down", name, overrides))
    trouble = site_trouble(health)
    seen = Verdict(UNFIT if trouble else WELL, trouble)
    if name in overrides.drain:
        return combine((Verdict(DRAINED, _said("drained", name, overrides)), seen))
    if name in overrides.up:
        return Verdict(WELL, _said("declared up", name, overrides))
    return combine((seen,))


def _said(what: str, name: str, overrides: Overrides) -> str:
    return f"{what} by {overrides.said.get(name, 'the operator')}"


def doors_of(health: SiteHealth) -> tuple[int, ...]:
    """The doors of a site worth naming: those not known to be down, or all when all are."""
    return tuple(no for no, door in enumerate(health.doors) if door.up is not False) or tuple(range(len(health.doors)))
