"""Orders of operators: read whole or not at all, in force until they end, the younger one first."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.base.errors import ConfigError
from moonbow.director.model import Overrides
from moonbow.director.orders import (
    Order,
    Orders,
    encode_orders,
    give,
    in_force,
    next_end_s,
    order_problems,
    overrides_at,
    parse_orders,
    prune,
    sites_of,
    take_back,
)
from moonbow.world import World

NOON = 1_700_000_000.0
WORDS = st.text('abc é,"', max_size=20)


@st.composite
def some_orders(draw: st.DrawFn) -> Order:
    kind = draw(st.sampled_from(["drain", "down", "up", "weight", "canary"]))
    at_s = NOON + draw(st.integers(0, 100))
    until_s = draw(st.one_of(st.none(), st.integers(1, 200).map(lambda more: at_s + more)))
    value = draw(st.integers(0, {"weight": 100, "canary": 16}.get(kind, 0)))
    target = draw(st.sampled_from(["paris", "capetown", "emea", "tokyo", "apac", "nowhere"]))
    return Order(draw(st.uuids().map(str)), kind, target, value, draw(WORDS), draw(WORDS), at_s, until_s)


@given(orders=st.lists(some_orders(), max_size=8), drain=st.lists(st.sampled_from(["paris", "tokyo"]), max_size=2))
def test_a_file_is_read_as_it_was_written(orders: list[Order], drain: list[str]) -> None:
    found = Orders(tuple(drain), (), tuple(orders))
    assert parse_orders(encode_orders(found)) == found


def test_what_the_launcher_writes_is_read() -> None:
    assert parse_orders(b'{"drain": ["paris"], "down": []}') == Orders(("paris",))
    assert parse_orders(b"{}") == Orders()


@pytest.mark.parametrize(
    "text",
    [
        '{"orders": [{"id": "1", "kind": "weight", "target": "paris", "who": "kim", "at_s": 1, "value": 101}]}',
        '{"orders": [{"id": "1", "kind": "canary", "target": "paris", "who": "kim", "at_s": 1, "value": 17}]}',
        '{"orders": [{"id": "1", "kind": "canary", "target": "paris", "who": "kim", "at_s": 1, "value": -1}]}',
        '{"orders": [{"id": "1", "kind": "drain", "target": "paris", "who": "kim", "at_s": 5, "until_s": 5}]}',
        '{"orders": [{"id": "1", "kind": "drain", "target": "paris", "who": "' + "x" * 201 + '", "at_s": 5}]}',
        '{"orders": [' + ", ".join(['{"id": "1", "kind": "up", "target": "a", "who": "k", "at_s": 1}'] * 1001) + "]}",
        '{"drain": []}' + " " * 1_048_576,
    ],
)
def test_nonsense_refuses_the_whole_file(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_orders(text.encode())


@settings(deadline=None)
@given(orders=st.lists(some_orders(), max_size=8), later=st.integers(-10, 400))
def test_the_young_order_counts_and_none_after_its_end(laptop: World, orders: list[Order], later: int) -> None:
    now_s = NOON + later
    found = overrides_at(laptop, Orders((), (), tuple(orders)), now_s)
    living = [order for order in orders if order.until_s is None or now_s < order.until_s]
    for site in ("paris", "frankfurt", "capetown", "singapore", "tokyo"):
        mine = [order for order in living if site in sites_of(laptop, order.target)]
        for kind in ("drain", "down", "up"):
            assert (site in getattr(found, kind)) == any(order.kind == kind for order in mine)
        for kind, said in (("weight", found.weights), ("canary", found.canary)):
            last = max((o for o in mine if o.kind == kind), key=lambda o: (o.at_s, o.id), default=None)
            assert said.get(site) == (last.value if last else None)
    pruned = prune(Orders((), (), tuple(orders)), now_s)
    assert overrides_at(laptop, pruned, now_s) == found
    end_s = next_end_s(pruned, now_s)
    if end_s is not None:
        before_s = (now_s + end_s) / 2
        assert overrides_at(laptop, pruned, before_s) == found, "nothing changes until the next end"
        assert len(prune(pruned, end_s).orders) < len(pruned.orders)
    else:
        assert overrides_at(laptop, pruned, now_s + 1e9) == found


def test_a_region_stands_for_its_sites_and_the_launchers_word_is_kept(laptop: World) -> None:
    order = Order("1", "drain", "emea", 0, "kim", "new kernel", NOON, NOON + 3_600)
    found = overrides_at(laptop, Orders(("tokyo", "nowhere"), ("paris",), (order,)), NOON)
    assert found.drain == {"paris", "frankfurt", "capetown", "tokyo"}
    assert found.down == {"paris"}
    assert found.said["frankfurt"] == "kim: new kernel, until 2023-11-14 23:13 UTC"
    assert "tokyo" not in found.said
    assert overrides_at(laptop, Orders(), NOON) == Overrides()


def test_giving_replaces_and_taking_back_removes(laptop: World) -> None:
    first = Order("1", "weight", "paris", 50, "kim", "", NOON)
    second = first._replace(id="2", value=20)
    other = first._replace(id="3", kind="drain", value=0)
    orders = give(give(give(Orders(), first), other), second)
    assert [order.id for order in orders.orders] == ["3", "2"]
    assert [order.id for order in take_back(orders, ["2", "9"]).orders] == ["3"]
    assert in_force(first, NOON + 1e9)
    assert not order_problems(first, laptop)
    assert "no site or region" in order_problems(first._replace(target="mars"), laptop)[0]
