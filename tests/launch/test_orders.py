"""Orders as the launcher keeps them: what is refused and where, and what is left after taking back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.base.errors import Refused
from moonbow.director.orders import AWAY, KINDS, Orders, encode_orders, overrides_at, parse_orders, sites_of
from moonbow.launch.orders import KEPT_MAX, LONGEST_S, add_order, bring_back, read_order, remove_order, written
from moonbow.world import load_world

WORLD = load_world(Path(__file__).parents[2] / "worlds" / "laptop.toml")
NAMES = [*WORLD.regions, *(ref.site.name for ref in WORLD.sites())]
SITES = [ref.site.name for ref in WORLD.sites()]
NOW = 1_800_000_000.0
GOOD: dict[str, Any] = {"kind": "weight", "target": "paris", "value": 50, "who": "ada", "why": "new disks"}


@pytest.mark.parametrize(
    ("change", "place", "code"),
    [
        ({"kind": "pause"}, "$.kind", "order_invalid"),
        ({"kind": ["drain"]}, "$.kind", "order_invalid"),
        ({"kind": None}, "$.kind", "order_invalid"),
        ({"target": "atlantis"}, "$.target", "target_unknown"),
        ({"target": 7}, "$.target", "target_unknown"),
        ({"value": 101}, "$.value", "order_invalid"),
        ({"value": -1}, "$.value", "order_invalid"),
        ({"value": True}, "$.value", "order_invalid"),
        ({"value": 1.5}, "$.value", "order_invalid"),
        ({"value": None}, "$.value", "order_invalid"),
        ({"kind": "canary", "value": 17}, "$.value", "order_invalid"),
        ({"kind": "drain", "value": 5}, "$.value", "order_invalid"),
        ({"for_s": 0}, "$.for_s", "order_invalid"),
        ({"for_s": LONGEST_S + 1}, "$.for_s", "order_invalid"),
        ({"for_s": float("nan")}, "$.for_s", "order_invalid"),
        ({"for_s": "30m"}, "$.for_s", "order_invalid"),
        ({"why": "x" * 201}, "$.why", "order_invalid"),
        ({"why": "a\nb"}, "$.why", "order_invalid"),
        ({"who": ["ada"]}, "$.who", "order_invalid"),
    ],
)
def test_what_is_not_right_is_refused_at_its_place(change: dict[str, Any], place: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        read_order(WORLD, {**GOOD, **change}, "o1", NOW)
    assert (caught.value.place, caught.value.code) == (place, code)


def test_an_order_says_who_and_why_and_when_it_ends() -> None:
    order = read_order(WORLD, {**GOOD, "for_s": 1800}, "o1", NOW)
    assert (order.who, order.why, order.value, order.until_s) == ("ada", "new disks", 50, NOW + 1800)
    assert read_order(WORLD, GOOD, "o1", NOW).until_s is None
    assert read_order(WORLD, {"kind": "drain", "target": "emea"}, "o1", NOW).who == "the operator"


def test_there_are_never_too_many() -> None:
    regions = {f"r{no}": WORLD.regions["emea"].__class__(title="", sites=()) for no in range(KEPT_MAX)}
    orders = Orders(
        orders=tuple(read_order(WORLD, GOOD, f"o{no}", NOW)._replace(target=name) for no, name in enumerate(regions))
    )
    with pytest.raises(Refused, match="orders_full"):
        add_order(orders, read_order(WORLD, {**GOOD, "target": "tokyo"}, "o", NOW), NOW)
    ended = Orders(orders=tuple(order._replace(until_s=NOW - 1) for order in orders.orders))
    assert len(add_order(ended, read_order(WORLD, GOOD, "o", NOW), NOW).orders) == 1


def test_what_is_not_there_cannot_be_taken_back() -> None:
    order = read_order(WORLD, {**GOOD, "for_s": 10}, "o1", NOW)
    orders = add_order(Orders(), order, NOW)
    assert remove_order(orders, "o1", NOW).orders == ()
    for ident, at_s in (("o2", NOW), ("o1", NOW + 10)):
        with pytest.raises(Refused) as caught:
            remove_order(orders, ident, at_s)
        assert (caught.value.code, caught.value.status) == ("order_unknown", 404)


requests = st.fixed_dictionaries(
    {"kind": st.sampled_from(KINDS), "target": st.sampled_from(NAMES), "for_s": st.none() | st.integers(1, 90)}
)
steps = st.lists(st.tuples(requests, st.integers(0, 40)), max_size=12)


def play(wanted: list[tuple[dict[str, Any], int]]) -> tuple[Orders, float]:
    orders, now_s = Orders(), NOW
    for no, (request, passed_s) in enumerate(wanted):
        now_s += passed_s
        value = 3 if request["kind"] in ("weight", "canary") else None
        orders = add_order(orders, read_order(WORLD, {**request, "value": value}, f"o{no}", now_s), now_s)
    return orders, now_s


@given(steps)
def test_what_is_written_says_the_same_twice(wanted: list[tuple[dict[str, Any], int]]) -> None:
    """The two lists are what the orders say, and a reader of the file obeys neither more nor less than them."""
    orders, now_s = play(wanted)
    file = written(WORLD, orders, now_s)
    assert parse_orders(encode_orders(file)) == file
    plain, full = overrides_at(WORLD, orders, now_s), overrides_at(WORLD, file, now_s)
    assert (full.drain | full.down, full.down) == (plain.drain | plain.down, plain.down)
    assert (full.up, full.weights, full.canary, full.said) == (plain.up, plain.weights, plain.canary, plain.said)
    assert set(file.drain) == plain.drain - plain.down
    assert not set(file.drain) & set(file.down)
    later = NOW + 10_000
    read, said = overrides_at(WORLD, file, later), overrides_at(WORLD, orders, later)
    assert (read.drain | read.down, read.down) == (said.drain | said.down, said.down), "even if it is not written anew"
    lasting = frozenset(order.target for order in orders.orders if order.until_s is None)
    assert written(WORLD, file, later) == written(WORLD, orders, later)
    assert lasting or not (written(WORLD, file, later).drain or written(WORLD, file, later).down)
    for order in file.orders:
        left = remove_order(file, order.id, now_s)
        assert written(WORLD, left, now_s) == written(WORLD, Orders(orders=left.orders), now_s)


@given(steps, st.sampled_from(SITES))
def test_a_site_brought_back_is_the_only_one_that_changes(wanted: list[tuple[dict[str, Any], int]], site: str) -> None:
    orders, now_s = play(wanted)
    before = overrides_at(WORLD, orders, now_s)
    after = overrides_at(WORLD, bring_back(WORLD, orders, site, now_s), now_s)
    for kind in AWAY:
        assert getattr(after, kind) == getattr(before, kind) - {site}
    assert (after.weights, after.canary, after.up) == (before.weights, before.canary, before.up)


@given(steps)
def test_the_last_word_on_a_site_or_region_is_obeyed(wanted: list[tuple[dict[str, Any], int]]) -> None:
    orders, now_s = play(wanted)
    now = overrides_at(WORLD, orders, now_s)
    for request, _ in wanted[-1:]:
        names = set(sites_of(WORLD, request["target"]))
        if request["kind"] in AWAY:
            assert names <= getattr(now, request["kind"])
