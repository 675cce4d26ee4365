"""What a director makes of its own looks and of what others say, with time given: no sockets, no clock."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.director.addresses import Ranges
from moonbow.director.forecast import Forecast, follow
from moonbow.director.history import changes_between
from moonbow.director.knowledge import Knowledge
from moonbow.director.memory import CHANGES_MAX, Change, Memory, decode_memory, encode_memory
from moonbow.director.model import DoorHealth, Load, Overrides, SiteHealth, Spill
from moonbow.director.snapshot import take_snapshot, unknown_health
from moonbow.wire.views import SeenDoor, SiteLoad, SiteView, decode_view, encode_view
from moonbow.world import World, plane_of

from .conftest import shipped

LAPTOP, PLANET = shipped("laptop")[0], shipped("planet")[0]
UP, DOWN = SeenDoor(True, "answers", 0, 3, 1.0), SeenDoor(False, "refuses connections", 2, 0, 1.0)


def known(world: World, me: str) -> Knowledge:
    knowledge = Knowledge(world, world.site(me))
    knowledge.watch(knowledge.watched(0.0))
    return knowledge


def says(world: World, observer: str, down: frozenset[str] = frozenset(), **more: object) -> SiteView:
    """A view of all other sites' doors."""
    doors = {
        ref.site.name: [DOWN if ref.site.name in down else UP] * ref.site.doors
        for ref in world.sites()
        if ref.site.kind != "witness" and ref.site.name != observer
    }
    return SiteView(observer, 1, doors, **more)  # type: ignore[arg-type]


def see(knowledge: Knowledge, now_s: float, down: frozenset[str] = frozenset()) -> None:
    """Look at every watched door twice."""
    for site, doors in knowledge.own.items():
        for number in range(len(doors)):
            for _ in range(2):
                knowledge.look(site, number, site not in down, "seen", now_s)


def test_planes_are_parted_at_sealed_borders() -> None:
    common = {ref.site.name for ref in plane_of(PLANET)}
    assert len(common) == 11
    assert not common & {"shanghai", "lyon"}
    assert {ref.site.name for ref in plane_of(PLANET, "cn")} == {"shanghai"}
    assert plane_of(PLANET, "emea") == plane_of(PLANET)


def test_a_sealed_director_asks_hears_and_tells_of_its_own_region_alone() -> None:
    knowledge = known(PLANET, "shanghai")
    assert knowledge.watched(0.0) == {"shanghai"}
    assert knowledge.peers == ()
    assert not knowledge.hear("paris", says(PLANET, "paris", frozenset({"shanghai"})), 1.0)
    see(knowledge, 1.0)
    knowledge.judge(1.0)
    assert knowledge.judged.sites["shanghai"].doors[0].up
    assert knowledge.judged.sites["paris"].doors[0].up is None, "nobody told, and nobody may"
    assert knowledge.view("", {}, {}).doors.keys() == {"shanghai"}


@pytest.mark.parametrize("me", [ref.site.name for ref in plane_of(PLANET)])
def test_no_director_of_the_common_planes_asks_a_sealed_site(me: str) -> None:
    knowledge = known(PLANET, me)
    assert not knowledge.watched(0.0) & {"shanghai", "lyon"}
    for name in knowledge.peers:
        knowledge.hear(name, says(PLANET, name), 1.0)
    assert not knowledge.watched(1.0) & {"shanghai", "lyon"}


def test_everybody_is_watched_from_three_other_sites_while_all_live() -> None:
    watching: dict[str, set[str]] = {}
    for ref in plane_of(PLANET):
        knowledge = known(PLANET, ref.site.name)
        for name in knowledge.peers:
            knowledge.hear(name, says(PLANET, name), 1.0)
        for site in knowledge.watched(1.0):
            watching.setdefault(site, set()).add(ref.site.name)
    edges_and_primaries = {ref.site.name for ref in PLANET.sites() if not PLANET.regions[ref.region].sealed}
    assert watching.keys() == edges_and_primaries
    assert {len(found) for found in watching.values()} == {3}


def test_who_freezes_goes_back_to_what_was_judged_before_it_lost_sight() -> None:
    """Doors do not all fall silent at once: the first ones must not count as down for ever."""
    knowledge = known(LAPTOP, "tokyo")
    see(knowledge, 10.0)
    for now_s in (10.0, 12.5):
        knowledge.judge(now_s)
    knowledge.hear("paris", says(LAPTOP, "paris", frozenset({"frankfurt"})), 9.7)
    see(knowledge, 12.7, frozenset({"frankfurt"}))
    knowledge.judge(12.7)
    assert not any(door.up for door in knowledge.judged.sites["frankfurt"].doors)
    see(knowledge, 13.2, frozenset({"paris", "frankfurt", "capetown", "singapore"}))
    knowledge.judge(13.2)
    assert knowledge.judged.frozen
    assert all(door.up for site in knowledge.judged.sites.values() for door in site.doors)
    knowledge.hear("paris", says(LAPTOP, "paris", frozenset({"frankfurt"})), 20.0)
    knowledge.judge(20.0)
    assert not knowledge.judged.frozen
    assert not any(door.up for door in knowledge.judged.sites["frankfurt"].doors)


def test_who_is_alone_waits_whether_everything_falls_silent() -> None:
    knowledge = known(LAPTOP, "tokyo")
    see(knowledge, 10.0)
    knowledge.judge(10.0)
    see(knowledge, 11.0, frozenset({"paris"}))
    knowledge.judge(11.0)
    assert all(door.up for door in knowledge.judged.sites["paris"].doors)
    see(knowledge, 11.5, frozenset({"paris"}))
    knowledge.judge(12.9)
    assert all(door.up for door in knowledge.judged.sites["paris"].doors)
    knowledge.judge(13.1)
    assert not any(door.up for door in knowledge.judged.sites["paris"].doors), "only that one is gone"


def test_who_hears_anybody_waits_for_nothing() -> None:
    knowledge = known(LAPTOP, "tokyo")
    see(knowledge, 10.0)
    knowledge.judge(10.0)
    knowledge.hear("frankfurt", says(LAPTOP, "frankfurt", frozenset({"paris"})), 10.5)
    see(knowledge, 11.0, frozenset({"paris"}))
    knowledge.judge(11.0)
    assert not any(door.up for door in knowledge.judged.sites["paris"].doors)


def test_a_view_of_doors_that_do_not_exist_is_not_taken() -> None:
    knowledge = known(LAPTOP, "paris")
    knowledge.hear("tokyo", SiteView("tokyo", 1, {"paris": [DOWN] * 7, "mars": [DOWN], "singapore": [DOWN] * 2}), 1.0)
    assert knowledge.views["tokyo"].doors.keys() == {"singapore"}
    assert not knowledge.hear("capetown", SiteView("capetown", 1, {}), 1.0), "an edge has no director"


def test_a_site_that_says_it_is_unfit_is_believed_and_one_that_praises_itself_is_not() -> None:
    knowledge = known(LAPTOP, "paris")
    see(knowledge, 1.0)
    knowledge.hear("tokyo", says(LAPTOP, "tokyo", trouble="its gateways say: store"), 1.0)
    knowledge.judge(1.0)
    assert knowledge.judged.sites["tokyo"].trouble == "its gateways say: store"
    knowledge.hear("tokyo", says(LAPTOP, "tokyo", frozenset({"singapore"})), 2.0)
    praise = SiteView("singapore", 1, {"singapore": [UP] * 2})
    see(knowledge, 2.0, frozenset({"singapore"}))
    knowledge.hear("singapore", praise, 2.0)
    knowledge.judge(2.0)
    assert not any(door.up for door in knowledge.judged.sites["singapore"].doors)


def test_the_first_living_director_leads() -> None:
    knowledge = known(LAPTOP, "singapore")
    assert knowledge.leader(1.0) is None
    knowledge.hear("tokyo", says(LAPTOP, "tokyo"), 1.0)
    assert knowledge.leader(1.0) is None
    knowledge.hear("paris", says(LAPTOP, "paris"), 1.0)
    leader = knowledge.leader(1.0)
    assert leader is not None
    assert leader.observer == "paris"
    assert knowledge.leader(5.0) is None, "it fell silent"


def test_a_view_survives_its_way() -> None:
    knowledge = known(LAPTOP, "paris")
    see(knowledge, 1.0, frozenset({"tokyo"}))
    knowledge.measure(Load(7, 0.25, 10_000, 0.5), "")
    view = knowledge.view("digest", {3: 9}, {5: "tokyo"})
    assert decode_view(encode_view(view)) == view
    other = known(LAPTOP, "frankfurt")
    assert other.hear("paris", view, 2.0)
    assert other.views["paris"].load == Load(7, 0.25, 10_000, 0.5)
    assert not other.hear("paris", view, 3.0), "nothing new"


health = st.builds(
    DoorHealth,
    st.sampled_from([True, False, None]),
    st.text(max_size=20),
    st.integers(0, 9),
    st.integers(0, 9),
    st.floats(0, 2e9),
    st.floats(0, 64),
)


@given(st.lists(health, min_size=2, max_size=2), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_what_is_remembered_is_what_was_known(doors: list[DoorHealth], number: int) -> None:
    changes = tuple(Change(n, 1.0, "d", ("w",)) for n in range(number))
    memory = Memory("laptop", number, 5.0, {"paris": SiteHealth(tuple(doors), "why")}, changes)
    assert decode_memory(encode_memory(memory), LAPTOP) == memory


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_nonsense_is_no_memory(data: bytes) -> None:
    assert decode_memory(data, LAPTOP) is None


def test_memory_of_another_world_does_not_count_and_what_does_not_fit_is_left_out() -> None:
    memory = Memory("planet", 1, 5.0, {})
    assert decode_memory(encode_memory(memory), LAPTOP) is None
    odd = {
        "paris": SiteHealth((DoorHealth(),)),
        "mars": SiteHealth((DoorHealth(),)),
        "capetown": SiteHealth((DoorHealth(),)),
    }
    long = tuple(Change(n, 1.0, "d", ()) for n in range(CHANGES_MAX + 50))
    found = decode_memory(encode_memory(Memory("laptop", 1, 5.0, odd, long)), LAPTOP)
    assert found is not None
    assert found.health.keys() == {"capetown"}
    assert found.changes == long[-CHANGES_MAX:]


def test_a_clock_that_ran_ahead_holds_nothing_down_after_a_restart() -> None:
    gone = SiteHealth((DoorHealth(False, "refuses connections", 3, 0, 2e9, 64.0),) * 2)
    found = decode_memory(encode_memory(Memory("laptop", 9, 2e9, {"paris": gone})), LAPTOP, 1e9)
    knowledge = Knowledge(LAPTOP, LAPTOP.site("tokyo"), found)
    for observer in ("frankfurt", "singapore", "capetown"):
        if observer in knowledge.peers:
            knowledge.hear(observer, says(LAPTOP, observer), 1e9 + 65)
    knowledge.judge(1e9 + 65)
    assert all(door.up for door in knowledge.judged.sites["paris"].doors)


def test_a_director_that_starts_anew_judges_as_it_did_until_it_knows_better() -> None:
    gone = SiteHealth((DoorHealth(False, "refuses connections", 3, 0, 1.0, 1.0),) * 2)
    memory = Memory("laptop", 9, 5.0, {"paris": gone})
    knowledge = Knowledge(LAPTOP, LAPTOP.site("tokyo"), memory)
    knowledge.watch(knowledge.watched(50.0))
    knowledge.judge(50.0)
    assert [door.up for door in knowledge.judged.sites["paris"].doors] == [False, False]
    see(knowledge, 51.0)
    knowledge.judge(51.0)
    assert [door.up for door in knowledge.judged.sites["paris"].doors] == [True, True]


def test_changes_are_told_in_words(ranges: Ranges) -> None:
    well = {name: SiteHealth((DoorHealth(True),) * len(site.doors)) for name, site in unknown_health(LAPTOP).items()}
    gone = SiteHealth((DoorHealth(False, "refuses connections"),) * 2)
    before = take_snapshot(LAPTOP, ranges, health=well)
    after = take_snapshot(LAPTOP, ranges, before.map, well | {"paris": gone})
    words = changes_between(before, after)
    assert words[0] == "paris is out: all 2 doors are down: refuses connections"
    assert any(word.startswith("door: ") and word.endswith("slices are sent elsewhere") for word in words)
    assert changes_between(before, before) == ()
    wish = Overrides(drain=frozenset({"tokyo"}), weights={"paris": 50}, said={"tokyo": "ada: disks"})
    told = changes_between(before, take_snapshot(LAPTOP, ranges, before.map, well, wish))
    assert "drain of tokyo by ada: disks" in told
    assert "weight of paris: 50, by the operator" in told
    back = changes_between(take_snapshot(LAPTOP, ranges, before.map, well, wish), before)
    assert "drain of tokyo ended" in back
    assert "weight of paris ended" in back


def test_while_all_clients_fit_anywhere_nothing_is_foreseen(ranges: Ranges) -> None:
    snapshot = take_snapshot(LAPTOP, ranges)
    forecast = Forecast(LAPTOP)
    plan = snapshot.plans["door"]
    few = {name: Load(100, 0.1, 10_000, 0.0) for name in ("paris", "frankfurt", "singapore", "tokyo")}
    assert forecast.foresee(snapshot.map, (), few, plan, 5.0) is None
    many = few | {"paris": Load(9_900, 0.1, 10_000, 0.0)}
    forecast.count(snapshot.map, {}, 5.0)
    forecast.count(snapshot.map, {("door", 3): 40, ("turn", 3): 99}, 5.0)
    assert forecast.told() == {3: 40}
    peer = says(LAPTOP, "tokyo", map=snapshot.map.digest, asked={5: 7})
    stranger = says(LAPTOP, "singapore", map="another", asked={6: 7})
    demand = forecast.foresee(snapshot.map, (peer, stranger), many, plan, 5.0)
    assert demand is not None
    assert demand.cells[3] > demand.cells[5] > 0
    assert demand.cells[6] == 0
    forecast.start_anew()
    assert forecast.demand is None, "cells have other numbers on another map"
    again = forecast.foresee(snapshot.map, (), many, plan, 5.0)
    assert again is not None
    assert (len(again.cells), again.scales.keys()) == (len(demand.cells), demand.scales.keys())
    forecast.count(snapshot.map, {("door", 3): 40}, 36_000.0)
    assert forecast.told() == {}, "what was asked ten hours ago"


def test_followers_take_over_what_the_leader_moved(ranges: Ranges) -> None:
    compiled = take_snapshot(LAPTOP, ranges).map
    own = Spill({1: "paris"}, {}, 7.0)
    assert follow(compiled, None, own, 50.0) == own
    leader = says(LAPTOP, "paris", map=compiled.digest, moved={4: "tokyo"})
    assert follow(compiled, leader, own, 50.0) == Spill({4: "tokyo"}, {}, 50.0)
    assert follow(compiled, says(LAPTOP, "paris", map="older"), own, 50.0) == own._replace(stepped_at_s=50.0)


def test_types_on_the_way_are_bounded() -> None:
    for said in (
        SiteView("paris", 1, {}, "x" * 201),
        SiteView("paris", 1, {"tokyo": [UP] * 17}),
        SiteView("paris", 1, {}, "", SiteLoad(1, 1.5, 0.0)),
        SiteView("paris", 1, {}, "", None, "", dict.fromkeys(range(3_000), 1)),
    ):
        with pytest.raises(msgspec.ValidationError):
            decode_view(encode_view(said))
