"""The state of all sites, and of the director that speaks, as `/status` and `/history` show it.  Pure."""

from __future__ import annotations

from moonbow.wire import traffic
from moonbow.wire.traffic import DirectorStatus, DoorStatus, History, SiteLoad, SiteStatus
from moonbow.world import Ports, SiteRef, door_address

from .model import SLICES
from .orders import Order, Orders, in_force
from .snapshot import Snapshot, stamp
from .standing import Standing


def describe(snapshot: Snapshot, standing: Standing | None = None, orders: Orders | None = None) -> DirectorStatus:
    """All sites with doors, and what speaks for and against the director's word.  Without `standing` it is live."""
    plan = snapshot.plans["door"]
    return DirectorStatus(
        world=snapshot.world.name,
        domain=snapshot.world.domain,
        snapshot=snapshot.number,
        changed_at=stamp(snapshot.changed_at_s),
        addresses=snapshot.ranges.source,
        buckets=len(snapshot.map.buckets),
        sites=[_site(snapshot, ref, standing) for ref in snapshot.world.sites() if ref.site.kind != "witness"],
        site=standing.site if standing else "",
        digest=snapshot.digest,
        frozen=snapshot.frozen or (standing.why if standing and standing.frozen else ""),
        age_s=standing.age_s if standing else 0.0,
        silent=list(standing.silent) if standing else [],
        degraded=len({at // SLICES for at, number in enumerate(plan.cells) if plan.pools[number].degraded}),
        spilled=len(snapshot.spill.moved),
        orders=len(orders.orders) if orders else 0,
    )


def _site(snapshot: Snapshot, ref: SiteRef, standing: Standing | None) -> SiteStatus:
    name, wishes = ref.site.name, snapshot.overrides
    verdict = snapshot.verdicts[name]
    load = standing.loads.get(name) if standing else None
    return SiteStatus(
        site=name,
        region=ref.region,
        city=ref.site.city,
        kind=ref.site.kind,
        healthy=not verdict.trouble,
        why=verdict.why,
        override="down"
        if name in wishes.down
        else "drain"
        if name in wishes.drain
        else "up"
        if name in wishes.up
        else None,
        doors=[
            DoorStatus(
                address=door_address(snapshot.world, ref, number),
                port=Ports.DOOR,
                up=door.up is not False,
                why=door.why,
                since=stamp(door.since_s) if door.since_s else None,
            )
            for number, door in enumerate(snapshot.health[name].doors)
        ],
        at=ref.site.at,
        sealed=snapshot.world.regions[ref.region].sealed,
        voters=list(standing.watchers.get(name, ())) if standing else [],
        disputed=any(found.site == name for found in standing.disputes) if standing else False,
        capacity=ref.site.capacity,
        load=SiteLoad(
            connections=load.connections,
            capacity=load.capacity,
            cpu=round(load.cpu, 3),
            errors=round(load.errors, 4),
        )
        if load
        else None,
        weight=wishes.weights.get(name, 100),
        canary=wishes.canary.get(name, 0),
        flaps=standing.flaps.get(name, 0) if standing else 0,
    )


def describe_history(standing: Standing | None) -> History:
    """What changed lately, the newest first."""
    if standing is None:
        return History(site="", changes=[])
    changes = [
        traffic.Change(number=found.number, at=stamp(found.at_s), digest=found.digest, words=list(found.words))
        for found in reversed(standing.changes)
    ]
    return History(site=standing.site, changes=changes)


def describe_orders(orders: Orders, now_s: float) -> traffic.Orders:
    """The orders in force at a time."""
    return traffic.Orders(orders=[describe_order(order) for order in orders.orders if in_force(order, now_s)])


def describe_order(order: Order) -> traffic.Order:
    """One order for people and programs."""
    return traffic.Order(
        id=order.id,
        kind=order.kind,
        target=order.target,
        value=order.value,
        who=order.who,
        why=order.why,
        at=stamp(order.at_s),
        until=None if order.until_s is None else stamp(order.until_s),
    )
