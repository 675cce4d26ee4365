"""What operators want of sites and regions: who, why and until when.  Pure.

`STATE/overrides.json` holds `{"drain": [site], "down": [site], "orders": [order]}`: the first two as the launcher
writes them, in force until taken back; an order names one site or region, and ends by itself at `until_s`.
Laws: an expired order counts for nothing, nor do the lists that were made of it until they are written anew; of two
orders of one kind for one site the younger counts; what cannot be read refuses the whole file, so that half a wish is
never obeyed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

import msgspec

from moonbow.base.errors import ConfigError
from moonbow.world import World

from .model import SLICES, Overrides

Kind = Literal["drain", "down", "up", "weight", "canary"]
KINDS: tuple[str, ...] = get_args(Kind)
ORDERS_MAX = 1_000
FILE_BYTES_MAX = 1_048_576
WORDS_MAX = 200
AWAY: tuple[Kind, ...] = ("drain", "down")  # of which the launcher makes lists, too
HIGHEST = {"weight": 100, "canary": SLICES}  # of `value`; other kinds have none


class Order(NamedTuple):
    """One wish.  `value`: percent of what nearness gives for `weight`, slices (0..16) for `canary`.  Unix times."""

    id: str
    kind: Kind
    target: str
    value: int
    who: str
    why: str
    at_s: float
    until_s: float | None = None


class Orders(NamedTuple):
    """All wishes as they rest in the file."""

    drain: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    orders: tuple[Order, ...] = ()


class _Row(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    id: str
    kind: Kind
    target: str
    who: str
    at_s: float
    value: int = 0
    why: str = ""
    until_s: float | None = None


class _File(msgspec.Struct):
    drain: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    orders: tuple[_Row, ...] = ()


def parse_orders(data: bytes) -> Orders:
    """The wishes in a file; `ConfigError` or `msgspec.DecodeError` if they make no sense."""
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError("overrides.json is too long")
    found = msgspec.json.decode(data, type=_File)
    if len(found.orders) > ORDERS_MAX:
        raise ConfigError(f"{len(found.orders)} orders, at most {ORDERS_MAX} wanted")
    orders = tuple(Order(**msgspec.structs.asdict(row)) for row in found.orders)
    if problems := [problem for order in orders for problem in order_problems(order)]:
        raise ConfigError(*problems)
    return Orders(found.drain, found.down, orders)


def encode_orders(orders: Orders) -> bytes:
    """The file, as `parse_orders` reads it."""
    return msgspec.json.encode(
        _File(orders.drain, orders.down, tuple(_Row(**order._asdict()) for order in orders.orders))
    )


def order_problems(order: Order, world: World | None = None) -> list[str]:
    """What is wrong with an order, in itself and, if a world is given, for that world."""
    found: list[str] = []
    highest = HIGHEST.get(order.kind)
    if highest is not None and not 0 <= order.value <= highest:
        found.append(f"order {order.id}: a {order.kind} of {order.value} is not in 0..{highest}")
    if max(len(text) for text in (order.id, order.target, order.who, order.why)) > WORDS_MAX:
        found.append(f"order {order.id[:16]}: a text is longer than {WORDS_MAX} letters")
    if order.until_s is not None and order.until_s <= order.at_s:
        found.append(f"order {order.id}: it ends before it begins")
    if world is not None and not sites_of(world, order.target):
        found.append(f"order {order.id}: there is no site or region {order.target!r} with doors")
    return found


def sites_of(world: World, target: str) -> tuple[str, ...]:
    """The sites with doors that a name stands for: a region's, or one site; none if nobody knows it."""
    refs = [ref for ref in world.sites() if ref.site.kind != "witness" and target in (ref.region, ref.site.name)]
    alone = tuple(ref.site.name for ref in refs if ref.site.name == target)
    return alone or tuple(ref.site.name for ref in refs)


def give(orders: Orders, order: Order) -> Orders:
    """With one order more, in place of an older one of its kind for the same target."""
    kept = (old for old in orders.orders if (old.kind, old.target) != (order.kind, order.target))
    return orders._replace(orders=(*kept, order))


def take_back(orders: Orders, ids: Iterable[str]) -> Orders:
    """Without the orders called `ids`."""
    gone = frozenset(ids)
    return orders._replace(orders=tuple(order for order in orders.orders if order.id not in gone))


def prune(orders: Orders, now_s: float) -> Orders:
    """Without what has ended."""
    return orders._replace(orders=tuple(order for order in orders.orders if in_force(order, now_s)))


def in_force(order: Order, now_s: float) -> bool:
    """Whether an order counts at a time."""
    return order.until_s is None or now_s < order.until_s


def next_end_s(orders: Orders, now_s: float) -> float | None:
    """When the next order ends; None if none will."""
    return min((order.until_s for order in orders.orders if order.until_s and order.until_s > now_s), default=None)


def overrides_at(world: World, orders: Orders, now_s: float) -> Overrides:
    """The operator's word by site at a time.  Names that the world does not have are passed over."""
    names = {kind: dict[str, Order]() for kind in KINDS}
    for order in sorted(orders.orders, key=lambda order: (order.at_s, order.id)):
        if in_force(order, now_s):
            names[order.kind].update(dict.fromkeys(sites_of(world, order.target), order))
    known = frozenset(ref.site.name for ref in world.sites())
    said = {site: say(order) for kind in ("up", "drain", "down") for site, order in names[kind].items()}
    tuned = {f"{kind} of {site}": say(order) for kind in HIGHEST for site, order in names[kind].items()}
    ended = (order for order in orders.orders if order.kind in AWAY and not in_force(order, now_s))
    listed = known - {site for order in ended for site in sites_of(world, order.target)}
    plain = {site for site in (*orders.drain, *orders.down) if site not in names["drain"] | names["down"]}
    return Overrides(
        drain=frozenset(names["drain"]) | listed.intersection(orders.drain),
        down=frozenset(names["down"]) | listed.intersection(orders.down),
        up=frozenset(names["up"]),
        weights={site: order.value for site, order in names["weight"].items()},
        canary={site: order.value for site, order in names["canary"].items()},
        said={site: words for site, words in said.items() if site not in plain} | tuned,
    )


def say(order: Order) -> str:
    """Who wants it, why, and until when."""
    until = f", until {datetime.fromtimestamp(order.until_s, UTC):%Y-%m-%d %H:%M} UTC" if order.until_s else ""
    return f"{order.who}: {order.why}{until}" if order.why else f"{order.who}{until}"
