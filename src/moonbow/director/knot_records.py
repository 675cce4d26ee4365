"""What Knot has to hold to answer as a snapshot says: record sets, views, and the edits between two states.  Pure.

A service's name is a geo view for each bucket: a CNAME to the bucket's pool, `<bucket>.<service>.pool`.  Slices that
are answered unlike most of their bucket get views of their own, to `<bucket>-1.<service>.pool` and so on.  The views
stand still while doors come and go: a decision edits the addresses of pools, and only those that change.  The zone's
own name can hold no CNAME: its views are the addresses themselves, and are loaded anew.

Laws: for every cell the views lead to the addresses of its pool; what a bucket may not be answered never stands at one
of its names, not even between two steps; equal decisions make equal records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from ipaddress import ip_address
from typing import NamedTuple

from .atlas import find
from .knot_buckets import label_of, slice_label
from .model import SERVICES, SLICES
from .snapshot import Snapshot
from .zone import ADDRESSES_MAX, DOOR_LABELS, Servers, addresses_of, ttl_of

POOLS = "pool"
DEFAULT = "default"
STATE = "_state"  # TXT: which record sets are in place, and which views are loaded
SAID_TTL_S = 0

Owner = str  # with a dot at the end, lower case


class RecordSet(NamedTuple):
    """Seconds to live, and the data of one owner and type."""

    ttl_s: int
    data: tuple[str, ...]


Key = tuple[Owner, str]
Sets = dict[Key, RecordSet]
View = tuple[Owner, str]  # a name, and the bucket or `bucket;slice` that is answered there
Views = dict[View, tuple[tuple[str, str], ...]]  # -> (type, data)


class Records(NamedTuple):
    """All that depends on decisions.  `labels` are the buckets that it speaks of."""

    sets: Sets
    views: Views
    labels: frozenset[str]


class Edit(NamedTuple):
    """One command of a transaction: `zone-set` or `zone-unset`; without data it takes away the whole set."""

    command: str
    owner: Owner
    kind: str
    ttl_s: int = 0
    data: str = ""


class Answer(NamedTuple):
    """What a pool comes to: its time to live and addresses."""

    ttl_s: int
    addresses: tuple[str, ...]


def decide_records(snapshot: Snapshot, servers: Servers) -> Records:
    """Record sets and views of a snapshot."""
    domain = f"{snapshot.world.domain}."
    found = Records({}, {}, frozenset(label_of(bucket) for bucket in snapshot.map.buckets))
    nobody = snapshot.map.v4.buckets[find(snapshot.map.v4, 0)]
    sealed = any(region.sealed for region in snapshot.world.regions.values())
    for service in SERVICES:
        pools, cells = _answers(snapshot, service), snapshot.plans[service].cells
        for bucket, of in enumerate(snapshot.map.buckets):
            numbers = cells[bucket * SLICES : (bucket + 1) * SLICES]
            _put_bucket(found, domain, service, label_of(of), [pools[number] for number in numbers])
        usual = Answer(pools[0].ttl_s, _own(servers)) if sealed else pools[cells[nobody * SLICES]]
        _put_addresses(found.sets, f"{DEFAULT}.{service}.{POOLS}.{domain}", usual)
        if service == "door":
            found.sets[domain, "A"] = RecordSet(usual.ttl_s, _of_type(usual.addresses, "A"))
    return found


def _answers(snapshot: Snapshot, service: str) -> list[Answer]:
    """What each pool of a service comes to."""
    found: list[Answer] = []
    for pool in snapshot.plans[service].pools:
        texts = addresses_of(snapshot, service, pool.sites)[:ADDRESSES_MAX]
        found.append(Answer(ttl_of(pool), tuple(str(ip_address(text)) for text in texts)))
    return found


def _own(servers: Servers) -> tuple[str, ...]:
    """Where those are sent who get here although no view has them, in a world that must not send them anywhere."""
    return next(iter(servers.values()))[:1]


def _put_bucket(into: Records, domain: str, service: str, label: str, answers: list[Answer]) -> None:
    # Most slices first; among equals the one that holds the lowest slice.
    variants = sorted(Counter(answers).items(), key=lambda item: (-item[1], answers.index(item[0])))
    for turn, (answer, _) in enumerate(variants):
        target = f"{label}{f'-{turn}' if turn else ''}.{service}.{POOLS}.{domain}"
        _put_addresses(into.sets, target, answer)
        keys = (
            [f"{label};{slice_label(no)}" for no, found in enumerate(answers) if found == answer] if turn else [label]
        )
        for key in keys:
            for owner in service_names(service, domain):
                direct = tuple((_type_of(text), text) for text in answer.addresses)
                into.views[owner, key] = direct if owner == domain else (("CNAME", target),)


def service_names(service: str, domain: str) -> list[Owner]:
    """The names at which a service is asked for."""
    return [f"{label}{domain}" for label in (DOOR_LABELS if service == "door" else (f"{service}.",))]


def _put_addresses(sets: Sets, owner: Owner, answer: Answer) -> None:
    for kind in ("A", "AAAA"):
        if data := _of_type(answer.addresses, kind):
            sets[owner, kind] = RecordSet(answer.ttl_s, data)


def _of_type(addresses: Iterable[str], kind: str) -> tuple[str, ...]:
    return tuple(sorted(text for text in addresses if _type_of(text) == kind))


def _type_of(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def targets_of(views: Views) -> set[Owner]:
    """The pools that views lead to."""
    return {data for rows in views.values() for kind, data in rows if kind == "CNAME"}


def bridge(wanted: Records, loaded: Views, known: Mapping[Key, RecordSet], labels: Iterable[str]) -> Sets:
    """The record sets to have while `loaded` views are in use: the wanted ones, and one for each of their other pools.

    A bucket's pool that is wanted no more gets what most of its bucket gets.  Pools of buckets in `labels` (those of
    the database in use) that the new map does not know keep what they have.
    """
    sets = dict(wanted.sets)
    owners = {owner for owner, _ in sets}
    old = frozenset(labels) - wanted.labels
    for target in targets_of(loaded) - owners:
        first, _, rest = target.partition(".")
        label = first if first in wanted.labels | old else first.rpartition("-")[0]
        source = target if label in old else f"{label}.{rest}"
        held = known if label in old else wanted.sets
        sets |= {(target, kind): held[source, kind] for kind in ("A", "AAAA") if (source, kind) in held}
    return sets


def keep_views(wanted: Records, loaded: Views, labels: Iterable[str]) -> Views:
    """The views to load: the wanted ones, and for buckets that only the database in use knows those loaded now."""
    old = frozenset(labels) - wanted.labels
    return {view: rows for view, rows in loaded.items() if view[1].partition(";")[0] in old} | wanted.views


def plan_edits(known: Mapping[Key, RecordSet], wanted: Mapping[Key, RecordSet]) -> list[Edit]:
    """The fewest edits that make `wanted` of `known`."""
    edits: list[Edit] = []
    for owner, kind in sorted(known.keys() - wanted.keys()):
        edits.append(Edit("zone-unset", owner, kind))
    for (owner, kind), new in sorted(wanted.items()):
        old = known.get((owner, kind))
        if old == new:
            continue
        if old and old.ttl_s != new.ttl_s:  # one set has one time to live
            edits.append(Edit("zone-unset", owner, kind))
            old = None
        had = frozenset(old.data) if old else frozenset[str]()
        # Add before taking away, so that a set keeps its place.
        edits += (Edit("zone-set", owner, kind, new.ttl_s, data) for data in new.data if data not in had)
        edits += (Edit("zone-unset", owner, kind, data=data) for data in sorted(had.difference(new.data)))
    return edits


def digest_of(held: Mapping[tuple[str, str], object]) -> str:
    """A short hash of record sets or views."""
    return blake2b(repr(sorted(held.items())).encode(), digest_size=8).hexdigest()
