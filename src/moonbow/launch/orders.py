"""The operator's orders as the launcher keeps them: what may be given, and what follows from taking one back.  Pure.

The launcher is the only writer of `STATE/overrides.json`.  It writes the orders, and beside them the sites that are
drained or down by them, for those who only want to know that.
Laws: an order that is not right is refused with the place of its fault and changes nothing; a site that is brought
back has no drain and no down left, and the other sites of an order for its region keep theirs.
"""

from __future__ import annotations

from typing import cast

from moonbow.base.errors import Refused
from moonbow.director.orders import (
    AWAY,
    HIGHEST,
    KINDS,
    Kind,
    Order,
    Orders,
    give,
    overrides_at,
    prune,
    sites_of,
    take_back,
)
from moonbow.world import World

KEPT_MAX = 64
WORDS_MAX = 200
WHO_MAX = 64
LONGEST_S = 30 * 86_400.0
Request = dict[str, object]


def read_order(world: World, request: Request, ident: str, now_s: float) -> Order:
    """The order in a request: `kind`, `target`, `value`, `why`, `for_s`, `who`; `Refused` with the faulty field."""
    kind = _kind(request.get("kind"))
    target = request.get("target")
    if not isinstance(target, str) or not sites_of(world, target):
        known = ", ".join([*world.regions, *(ref.site.name for ref in world.sites() if ref.site.kind != "witness")])
        raise Refused("target_unknown", f"there is no site or region {target!r}; known: {known}", place="$.target")
    for_s = request.get("for_s")
    if for_s is not None and not (isinstance(for_s, int | float) and 1 <= for_s <= LONGEST_S):
        raise Refused("order_invalid", "an order lasts between a second and 30 days", place="$.for_s")
    return Order(
        ident,
        kind,
        target,
        _value(kind, request.get("value")),
        _text(request, "who", WHO_MAX) or "the operator",
        _text(request, "why", WORDS_MAX),
        now_s,
        None if for_s is None else now_s + float(for_s),
    )


def _kind(found: object) -> Kind:
    if found not in KINDS:
        raise Refused("order_invalid", f"{found!r} is none of {', '.join(KINDS)}", place="$.kind")
    return cast(Kind, found)


def _value(kind: Kind, found: object) -> int:
    highest = HIGHEST.get(kind)
    if highest is None:
        if found in (None, 0):
            return 0
        raise Refused("order_invalid", f"a {kind} takes no value", place="$.value")
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= highest:
        raise Refused("order_invalid", f"a {kind} takes a value from 0 to {highest}", place="$.value")
    return found


def _text(request: Request, name: str, most: int) -> str:
    found = request.get(name) or ""
    if not isinstance(found, str) or len(found) > most or not found.isprintable():
        raise Refused("order_invalid", f"at most {most} printable characters", place=f"$.{name}")
    return found.strip()


def add_order(orders: Orders, order: Order, now_s: float) -> Orders:
    """With one order more; a site is drained or down, never both by name.  `Refused` when there are too many."""
    kept = prune(orders, now_s)
    if order.kind in AWAY:
        others = [old.id for old in kept.orders if old.kind in AWAY and old.target == order.target]
        kept = take_back(kept, others)
    kept = give(kept, order)
    if len(kept.orders) > KEPT_MAX:
        raise Refused("orders_full", f"at most {KEPT_MAX} orders at a time; take one back first", status=409)
    return kept


def remove_order(orders: Orders, ident: str, now_s: float) -> Orders:
    """Without one order; `Refused` (404) if it is not in force."""
    kept = prune(orders, now_s)
    if not any(order.id == ident for order in kept.orders):
        known = ", ".join(order.id for order in kept.orders) or "none"
        raise Refused("order_unknown", f"there is no order {ident!r}; in force: {known}", status=404, place="$.id")
    return take_back(kept, [ident])


def bring_back(world: World, orders: Orders, site: str, now_s: float) -> Orders:
    """Without any order that keeps a site away; one for its region goes on for the region's other sites."""
    kept = prune(orders, now_s)
    found: list[Order] = []
    for order in kept.orders:
        covered = sites_of(world, order.target)
        if order.kind not in AWAY or site not in covered:
            found.append(order)
            continue
        found += (order._replace(id=f"{order.id}.{name}", target=name) for name in covered if name != site)
    return Orders(orders=tuple(found))


def written(world: World, orders: Orders, now_s: float) -> Orders:
    """What the file says: the orders in force, and the sites that are away by them, in the world's order."""
    kept = Orders(orders=prune(orders, now_s).orders)  # the lists follow from the orders alone
    now = overrides_at(world, kept, now_s)
    names = [ref.site.name for ref in world.sites()]
    return kept._replace(
        drain=tuple(name for name in names if name in now.drain and name not in now.down),
        down=tuple(name for name in names if name in now.down),
    )
