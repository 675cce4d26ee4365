"""Decides where a region's backups are kept, when the next is due, which have had their time, and what a restore takes.

Laws: a backup never leaves its region, and rests at another site than it was taken from if the region has one;
the newest good archive of data is never pruned; an archive of keys is always pruned when its time is up, and nothing
restores it afterwards; all of the last day stands, and of older days and weeks the last of each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from moonbow.world import Backup, RegionData, SiteRef, World

from .model import Archive

DAY_S = 86_400.0
FIRST_S = 300.0  # after a region has started: a world that is only tried out makes no backups
AGAIN_FIRST_S, AGAIN_MAX_S = 60.0, 3600.0  # after a backup that failed: doubled each time


class Places(NamedTuple):
    """From which site a region's backups are taken and at which they are kept; `warning` is a sentence, or empty."""

    taken_from: SiteRef
    kept_at: SiteRef
    warning: str = ""


def why_not(place: str, data: RegionData) -> tuple[str, ...]:
    """Why a region with these engines cannot be copied or restored: a sentence for each, none if it can."""
    engines = (
        ("sql", data.sql, ("sqlite", "galera")),
        ("documents", data.documents, ("sql",)),
        ("objects", data.objects, ("directory", "seaweedfs")),
    )
    return tuple(
        f"{place}.data.{field}: backups do not know {engine} yet; copy it with that engine's own tools"
        for field, engine, known in engines
        if engine not in known
    )


def restoring_folder(state: Path, region: str) -> Path:
    """Where a region is built before it takes its place; left there by a restore that was broken off."""
    return state / "regions" / f".restoring.{region}"


class Due(NamedTuple):
    """When the next backup is to begin (Unix seconds), and why."""

    at: float
    reason: str


def choose_places(world: World, region: str) -> Places:
    """Taken at the region's first primary site, kept at its next one, else at its witness, else where it was taken."""
    first, *others = world.primaries(region)
    witnesses = [ref for ref in world.sites() if ref.region == region and ref.site.kind == "witness"]
    if found := [*others, *witnesses]:
        return Places(first, found[0])
    warning = f"region {region} has one site, so its backups lie beside its data: copy {first.site.name}'s elsewhere"
    return Places(first, first, warning)


def next_due(
    settings: Backup, archives: Iterable[Archive], started_at: float, failed: Sequence[float], now: float
) -> Due:
    """When to take the next backup; `failed` are the times of those that failed since the last that did not.

    Archives that a clock dated which ran ahead count for nothing.
    """
    good = (a.manifest.taken_at for a in archives if a.manifest.kind == "data" and a.good)
    last = max((taken_at for taken_at in good if taken_at <= now), default=None)
    if failed:
        wait_s = min(AGAIN_MAX_S, AGAIN_FIRST_S * 2.0 ** min(len(failed) - 1, 10))
        return Due(failed[-1] + wait_s, f"the last {len(failed)} failed")
    if last is None:
        return Due(started_at + FIRST_S, "there is none yet")
    return Due(max(last + 3600.0 * settings.every_h, started_at), "the last one is old enough")


def expired(settings: Backup, archive: Archive, now: float) -> bool:
    """Whether an archive of keys must not be used any more."""
    manifest = archive.manifest
    return manifest.kind == "keys" and now - manifest.taken_at > DAY_S * settings.keys_keep_days


def plan_pruning(settings: Backup, archives: Sequence[Archive], now: float) -> dict[str, str]:
    """The archives to remove, each with the reason."""
    found = {
        archive.manifest.id: f"keys are kept for {settings.keys_keep_days} days"
        for archive in archives
        if expired(settings, archive, now)
    }
    data = sorted((a for a in archives if a.manifest.kind == "data"), key=lambda a: a.manifest.id, reverse=True)
    good = [a.manifest.id for a in data if a.good]
    kept = _last_of_each(data, settings.keep_days, _day) | _last_of_each(data, settings.keep_weeks, _week)
    for archive in data:
        ident = archive.manifest.id
        young = now - archive.manifest.taken_at <= DAY_S
        if good and ident < good[0] and ident not in kept and not (young and archive.good):
            found[ident] = "newer ones stand for its day and its week" if archive.good else "it was not found good"
    return found


def newest_keys(settings: Backup, archives: Iterable[Archive], key_id: str, now: float) -> Archive | None:
    """The keys that a restore takes: the newest there are, whichever data they go with; None if all have ended.

    Who was erased meanwhile has no key in them, and the older ones are not asked.
    """
    mine = (a for a in archives if a.manifest.kind == "keys" and a.manifest.key_id == key_id)
    found = [a for a in mine if a.manifest.taken_at <= now]  # one of a clock that ran ahead would never end
    newest = max(found, key=lambda a: a.manifest.id, default=None)
    return None if newest is None or expired(settings, newest, now) else newest


def _last_of_each(archives: Sequence[Archive], count: int, unit: Callable[[float], Hashable]) -> set[str]:
    """Ids of the newest good archive of each of the last `count` days or weeks that have one; newest first."""
    found: dict[Hashable, str] = {}
    for archive in archives:
        if archive.good:
            found.setdefault(unit(archive.manifest.taken_at), archive.manifest.id)
    return set(list(found.values())[:count])


def _day(at: float) -> Hashable:
    return datetime.fromtimestamp(at, UTC).date()


def _week(at: float) -> Hashable:
    return tuple(datetime.fromtimestamp(at, UTC).isocalendar())[:2]
