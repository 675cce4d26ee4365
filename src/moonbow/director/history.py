"""What changed between two states of mind, in words for people.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .model import Overrides, Verdict
from .snapshot import Snapshot

WORDS_MAX = 40  # sentences of one change


def changes_between(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """One sentence for each site, order, input and service that changed; empty if only times or counts did."""
    return tuple(_changes(before, after))[:WORDS_MAX]


def _changes(before: Snapshot, after: Snapshot) -> Iterator[str]:
    for site, verdict in after.verdicts.items():
        yield from _site(site, before.verdicts.get(site), verdict)
    yield from _wishes(before.overrides, after.overrides)
    if before.ranges.source != after.ranges.source or before.map.digest != after.map.digest:
        yield f"the address map is now of {after.ranges.source}"
    for service, plan in after.plans.items():
        was = before.plans[service]
        if len(was.cells) != len(plan.cells):
            continue
        moved = sum(was.pools[a].sites != plan.pools[b].sites for a, b in zip(was.cells, plan.cells, strict=True))
        if moved:
            yield f"{service}: {moved} of {len(plan.cells)} slices are sent elsewhere"


def _site(site: str, before: Verdict | None, after: Verdict) -> Iterator[str]:
    if before is None or (before.trouble == 0) != (after.trouble == 0):
        yield f"{site} {'is out' if after.trouble else 'is in'}: {after.why}"
    elif before.why != after.why:
        yield f"{site}: {after.why}"


def _wishes(before: Overrides, after: Overrides) -> Iterator[str]:
    for kind in ("drain", "down", "up"):
        was, now = getattr(before, kind), getattr(after, kind)
        for site in sorted(now - was):
            yield f"{kind} of {site} by {after.said.get(site, 'the operator')}"
        for site in sorted(was - now):
            yield f"{kind} of {site} ended"
    for kind in ("weights", "canary"):
        was, now = getattr(before, kind), getattr(after, kind)
        for site in sorted({*was, *now}):
            if was.get(site) != now.get(site):
                value, what = now.get(site), f"{kind.removesuffix('s')} of {site}"
                who = after.said.get(what, "the operator")
                yield f"{what} ended" if value is None else f"{what}: {value}, by {who}"
