"""The director's pages without a process: flows, what-if, orders not yet given, and refusals with their places."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.base.errors import Refused
from moonbow.director.addresses import Ranges
from moonbow.director.flows import count_addresses, trace_flows
from moonbow.director.memory import Change
from moonbow.director.model import SERVICES, SLICES, Demand, DoorHealth, Overrides, SiteHealth
from moonbow.director.orders import Order, Orders
from moonbow.director.pages import Facts, Pages, judge_order
from moonbow.director.snapshot import Snapshot, take_snapshot, unknown_health
from moonbow.director.standing import Dispute, LoadOf, Standing
from moonbow.wire import traffic
from moonbow.world import World

NOW = 1_800_000_000.0


def demand_of(snapshot: Snapshot, clients: float, capacities: dict[str, float]) -> Demand:
    """`clients` in every cell."""
    return Demand((clients,) * (SLICES * len(snapshot.map.buckets)), capacities)


def standing_of(snapshot: Snapshot, **loads: int) -> Standing:
    return Standing(
        site="paris", snapshot=snapshot.number, digest=snapshot.digest, frozen=True, why="everything looks down from here",
        age_s=7.5, views={}, silent=("tokyo",), blind=(), disputes=(Dispute("tokyo", 0, ("paris",), ("frankfurt",)),),
        watchers={"paris": ("tokyo", "singapore")}, flaps={"tokyo": 3}, spilled=0,
        loads={name: LoadOf(count, 10_000, 0.25, 0.0) for name, count in loads.items()},
        changes=(Change(1, NOW, "a", ("tokyo is out: gone",)), Change(2, NOW + 1, "b", ("tokyo is in: healthy",))),
    )  # fmt: skip


def page(facts: Facts, path: str, kind: Any, status: int = 200, **query: str) -> Any:
    found = Pages().answer(facts, path, query)
    assert (found[0], found[1]) == (status, "application/json"), found
    return msgspec.json.decode(found[2], type=kind)


# -- flows ------------------------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_flows_are_one_whole_and_go_where_answers_go(planet: World, ranges: Ranges, data: Any) -> None:
    names = [ref.site.name for ref in planet.sites() if ref.site.kind != "witness"]
    some = st.frozensets(st.sampled_from(names), max_size=4)
    weights = data.draw(st.dictionaries(st.sampled_from(names), st.integers(0, 100), max_size=3))
    wishes = Overrides(drain=data.draw(some), down=data.draw(some), weights=weights)
    snapshot = take_snapshot(planet, ranges, overrides=wishes)
    if data.draw(st.booleans()):
        snapshot = snapshot._replace(demand=demand_of(snapshot, 3.0, {}))
    service = data.draw(st.sampled_from(SERVICES))
    flows = trace_flows(snapshot, count_addresses(ranges), service)
    assert sum(flow.part for flow in flows) == pytest.approx(1.0, abs=1e-4)
    codes = [code for flow in flows for code in flow.countries]
    assert len(codes) == len(set(codes)), "every country is in one group"
    for flow in flows:
        assert sum(share.share for share in flow.to) == pytest.approx(1.0, abs=1e-4)
        assert [share.share for share in flow.to] == sorted((share.share for share in flow.to), reverse=True)
        if planet.regions[flow.region].sealed:
            assert {planet.site(share.site).region for share in flow.to} == {flow.region}, "a sealed region never leaks"


def test_every_country_of_the_map_is_in_a_flow(laptop: World, ranges: Ranges) -> None:
    snapshot = take_snapshot(laptop, ranges)
    flows = trace_flows(snapshot, count_addresses(ranges))
    assert {code for flow in flows for code in flow.countries} == set(ranges.countries[1:])
    japan = next(flow for flow in flows if "JP" in flow.countries)
    assert (japan.region, [share.site for share in japan.to], japan.degraded) == ("apac", ["tokyo"], False)


def test_a_network_with_a_rule_of_its_own_is_a_group(laptop: World, ranges: Ranges) -> None:
    traffic_map = msgspec.structs.replace(laptop.traffic, subnets={"194.2.0.0/24": "apac"})
    snapshot = take_snapshot(msgspec.structs.replace(laptop, traffic=traffic_map), ranges)
    found = next(flow for flow in trace_flows(snapshot, count_addresses(ranges)) if flow.name == "194.2.0.0/24")
    assert (found.region, found.at, found.countries) == ("apac", None, [])


# -- status, history, orders ------------------------------------------------------------------------------------------


def test_status_says_what_speaks_against_its_own_word(laptop: World, ranges: Ranges) -> None:
    wishes = Overrides(weights={"paris": 30}, canary={"tokyo": 2}, up=frozenset({"singapore"}))
    snapshot = take_snapshot(laptop, ranges, overrides=wishes, number=7)
    found = page(Facts(snapshot, standing_of(snapshot, paris=40)), "/status", traffic.DirectorStatus)
    assert (found.site, found.frozen, found.age_s, found.silent) == (
        "paris", "everything looks down from here", 7.5, ["tokyo"],
    )  # fmt: skip
    by_name = {site.site: site for site in found.sites}
    assert (by_name["paris"].weight, by_name["paris"].voters) == (30, ["tokyo", "singapore"])
    assert by_name["paris"].load == traffic.SiteLoad(connections=40, capacity=10_000, cpu=0.25, errors=0.0)
    assert (by_name["tokyo"].canary, by_name["tokyo"].disputed, by_name["tokyo"].flaps) == (2, True, 3)
    assert by_name["singapore"].override == "up"
    assert found.digest == snapshot.digest


def test_history_is_newest_first(laptop: World, ranges: Ranges) -> None:
    snapshot = take_snapshot(laptop, ranges)
    found = page(Facts(snapshot, standing_of(snapshot)), "/history", traffic.History)
    assert [change.number for change in found.changes] == [2, 1]
    assert page(Facts(snapshot), "/history", traffic.History).changes == []


def test_a_snapshot_that_is_kept_explains_what_was_answered_then(laptop: World, ranges: Ranges) -> None:
    past = take_snapshot(laptop, ranges, overrides=Overrides(down=frozenset({"tokyo"})), number=7)
    facts = Facts(take_snapshot(laptop, ranges, number=9), now_s=NOW, past=(past,))
    address = "1.33.0.1"
    then = page(facts, "/explain", traffic.Explanation, address=address, snapshot="7")
    now = page(facts, "/explain", traffic.Explanation, address=address, snapshot="9")
    assert {door.site for door in then.answer} == {"singapore"}
    assert {door.site for door in now.answer} == {"tokyo"}
    assert (then.snapshot, then.skipped[0].site) == (7, "tokyo")
    status = page(facts, "/status", traffic.DirectorStatus, snapshot="7")
    assert [site.site for site in status.sites if not site.healthy] == ["tokyo"]
    for number in ("8", "x", "-1", "9" * 5_000):
        refused = page(facts, "/status", traffic.Refusal, status=404, snapshot=number)
        assert (refused.code, refused.place) == ("snapshot_unknown", "snapshot")


def test_ended_orders_are_not_shown(laptop: World, ranges: Ranges) -> None:
    lasting = Order("o1", "drain", "paris", 0, "ada", "disks", NOW - 60)
    ended = Order("o2", "weight", "tokyo", 50, "ada", "", NOW - 60, NOW)
    facts = Facts(take_snapshot(laptop, ranges), orders=Orders(orders=(lasting, ended)), now_s=NOW)
    found = page(facts, "/orders", traffic.Orders)
    assert [(order.id, order.who, order.why, order.until) for order in found.orders] == [("o1", "ada", "disks", None)]


# -- what if ----------------------------------------------------------------------------------------------------------


def test_an_outage_is_shown_with_its_figures(laptop: World, ranges: Ranges) -> None:
    snapshot = take_snapshot(laptop, ranges)
    facts = Facts(snapshot, standing_of(snapshot, paris=6_000, frankfurt=6_000, singapore=10, tokyo=10), now_s=NOW)
    found = page(facts, "/simulate", traffic.Simulation, down="paris")
    sites = {site.name: site for site in found.sites}
    assert not sites["paris"].usable
    assert sites["paris"].after == 0
    before, after = (sum(getattr(site, when) for site in found.sites) for when in ("before", "after"))
    assert after == pytest.approx(before, abs=len(found.sites)), "nobody gets lost"
    assert all("paris" not in [share.site for share in flow.to] for flow in found.flows)
    assert 0 < found.part < 1
    assert page(facts, "/status", traffic.DirectorStatus).sites[0].healthy, "nothing of it is applied"


def test_what_cannot_be_carried_is_refused_with_the_figures(laptop: World, ranges: Ranges) -> None:
    snapshot = take_snapshot(laptop, ranges)
    full = {"paris": 12_000, "frankfurt": 12_000, "singapore": 9_900, "tokyo": 9_900}
    facts = Facts(snapshot, standing_of(snapshot, **full), now_s=NOW)
    wanted = traffic.NewOrder(kind="drain", target="tokyo")
    with pytest.raises(Refused) as caught:
        judge_order(facts, wanted)
    assert (caught.value.code, caught.value.status) == ("would_overload", 409)
    assert "singapore would carry" in caught.value.detail, "after all that spills over elsewhere"
    told = page(facts, "/simulate", traffic.Simulation, order="drain:tokyo")
    assert told.problems == caught.value.detail.split("; ")
    judge_order(Facts(snapshot, standing_of(snapshot, tokyo=50, singapore=50)), wanted)


def test_a_regions_people_are_never_left_alone_unasked(laptop: World, ranges: Ranges) -> None:
    snapshot = take_snapshot(laptop, ranges)
    for kind in ("drain", "down"):
        with pytest.raises(Refused, match="no site of apac would be left to serve the people whose data rests there"):
            judge_order(Facts(snapshot, now_s=NOW), traffic.NewOrder(kind=kind, target="apac"))  # type: ignore[arg-type]
    dead = SiteHealth((DoorHealth(False, "refused"),) * 2)
    health = {**unknown_health(laptop), "singapore": dead}
    half = take_snapshot(laptop, ranges, health=health)
    with pytest.raises(Refused, match="no site of apac"):
        judge_order(Facts(half, now_s=NOW), traffic.NewOrder(kind="drain", target="tokyo"))


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["9" * 5_000, "-1", "half", "٣", "101", "2.5"])
def test_a_value_that_is_no_percentage_is_refused(laptop: World, ranges: Ranges, value: str) -> None:
    facts = Facts(take_snapshot(laptop, ranges))
    refused = page(facts, "/simulate", traffic.Refusal, 400, order=f"weight:paris:{value}")
    assert (refused.code, refused.place) == ("order_invalid", "order")


@pytest.mark.parametrize(
    ("path", "query", "status", "code", "place"),
    [
        ("/explain", {"address": "mars"}, 400, "address_invalid", "address"),
        ("/explain", {}, 400, "address_invalid", "address"),
        ("/explain", {"address": "1.2.3.4", "name": "mail"}, 400, "service_unknown", "name"),
        ("/explain", {"address": "1.2.3.4", "region": "mars"}, 400, "region_unknown", "region"),
        ("/flows", {"name": "mail"}, 400, "service_unknown", "name"),
        ("/simulate", {"down": "mars"}, 400, "target_unknown", "down"),
        ("/simulate", {"down": ",,"}, 400, "target_unknown", "down"),
        ("/simulate", {"order": "pause:paris"}, 400, "order_invalid", "order"),
        ("/simulate", {"order": "drain:mars"}, 400, "order_invalid", None),
        ("/simulate", {"order": "canary:paris:17"}, 400, "order_invalid", None),
        ("/doors", {"address": ""}, 400, "address_invalid", "address"),
        ("/secrets", {}, 404, "not_found", None),
    ],
)
def test_a_refusal_names_its_place(
    laptop: World, ranges: Ranges, path: str, query: dict[str, str], status: int, code: str, place: str | None
) -> None:
    found = page(Facts(take_snapshot(laptop, ranges), now_s=NOW), path, traffic.Refusal, status, **query)
    assert (found.code, found.place) == (code, place)
    assert found.detail


@given(
    path=st.sampled_from(["/explain", "/flows", "/simulate", "/doors", "/status", "/orders", "/history", "/"]),
    query=st.dictionaries(
        st.sampled_from(["address", "name", "down", "order", "region"]),
        st.text(max_size=30) | st.sampled_from(["1.2.3.4", "paris", "drain:paris", "weight:paris:5", "edge", "::1"]),
    ),
)
@settings(max_examples=300, deadline=None)
def test_no_question_breaks_a_page(laptop: World, ranges: Ranges, path: str, query: dict[str, str]) -> None:
    status, _, body = Pages().answer(Facts(_once(laptop, ranges), now_s=NOW), path, query)
    assert status in (200, 400, 404)
    msgspec.json.decode(body)


_snapshots: dict[int, Snapshot] = {}


def _once(world: World, ranges: Ranges) -> Snapshot:
    return _snapshots.setdefault(id(ranges), take_snapshot(world, ranges))
