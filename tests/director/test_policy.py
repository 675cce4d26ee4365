"""Decisions: failover in the declared order, the operator's word, sealed regions, and when everything is down."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moonbow.director.atlas import bucket_for
from moonbow.director.model import Decision, DoorHealth, Overrides, SiteHealth
from moonbow.director.policy import decide, doors_of, judge_door, judge_sites
from moonbow.world import World

FRANCE, JAPAN, CHINA, AFRICA = (48.0, 3.0), (35.0, 138.0), (32.0, 116.0), (-27.0, 28.0)
UP, DOWN = DoorHealth(True, "answers"), DoorHealth(False, "refuses connections")


def decided(
    world: World, region: str, at: tuple[float, float], down: set[str] | None = None, wishes: Overrides | None = None
) -> Decision:
    health = {
        ref.site.name: SiteHealth((DOWN if ref.site.name in (down or set()) else UP,) * ref.site.doors)
        for ref in world.sites()
    }
    verdicts = judge_sites(world, health, wishes or Overrides())
    return decide(world, bucket_for(world, region, at), verdicts)


def test_failover_follows_the_declared_order(planet: World) -> None:
    steps = [
        ({}, ("paris",)),
        ({"paris"}, ("marseille",)),
        ({"paris", "marseille"}, ("frankfurt",)),
        ({"paris", "marseille", "frankfurt"}, ("berlin",)),
        ({"paris", "marseille", "frankfurt", "berlin"}, ("montreal",)),
        ({"paris", "marseille", "frankfurt", "berlin", "montreal"}, ("ashburn",)),
    ]
    for down, answer in steps:
        assert decided(planet, "emea", FRANCE, set(down)).answer == answer


def test_every_decision_says_why(planet: World) -> None:
    gone = decided(planet, "emea", FRANCE, {"paris", "marseille"})
    assert gone.reason == "no site of emea is usable; frankfurt is nearest in de, which it declared resilient"
    assert gone.degraded
    skipped = {site: why for site, why in gone.skipped}
    assert skipped["paris"] == "all 2 doors are down: refuses connections"
    assert skipped["manama"] == "an edge, and no primary site of emea can serve what it lets in"
    assert decided(planet, "emea", FRANCE).reason == "paris is the nearest site of emea"
    assert (
        decided(planet, "emea", FRANCE, {"paris"}).reason == "nearer sites of emea are not usable; marseille comes next"
    )


def test_an_edge_without_a_primary_behind_it_is_not_named(laptop: World) -> None:
    assert decided(laptop, "emea", AFRICA).answer == ("capetown",)
    assert decided(laptop, "emea", AFRICA, {"paris"}).answer == ("capetown",)
    assert decided(laptop, "emea", AFRICA, {"paris", "frankfurt"}).answer == ("singapore",)


def test_a_sealed_region_is_never_left_and_never_entered(planet: World) -> None:
    alone = decided(planet, "cn", CHINA, {"shanghai"})
    assert alone.answer == ("shanghai",)
    assert "a sealed region is never left" in alone.reason
    everyone_else = {ref.site.name for ref in planet.sites() if not planet.regions[ref.region].sealed}
    assert set(decided(planet, "apac", JAPAN, everyone_else).ordered) <= everyone_else


def test_the_operators_word_beats_the_probes(laptop: World) -> None:
    drained = decided(laptop, "emea", FRANCE, wishes=Overrides(drain=frozenset({"paris"})))
    assert drained.answer == ("frankfurt",)
    assert drained.skipped == (("paris", "drained by the operator"),)
    both = Overrides(drain=frozenset({"paris"}), down=frozenset({"frankfurt"}))
    assert decided(laptop, "emea", FRANCE, wishes=both).answer == ("tokyo",)


def test_when_nothing_is_usable_the_least_bad_own_sites_are_named(laptop: World) -> None:
    every = {ref.site.name for ref in laptop.sites()}
    lost = decided(laptop, "emea", FRANCE, every)
    assert set(lost.answer) == {"paris", "frankfurt"}
    assert lost.reason.startswith("no site of emea is usable, nor any of apac; its own ")
    assert lost.degraded
    kind = decided(laptop, "emea", FRANCE, every - {"frankfurt"}, Overrides(drain=frozenset({"frankfurt"})))
    assert kind.answer == ("frankfurt",), "drained but well is better than down"
    told = decided(laptop, "emea", FRANCE, every, Overrides(down=frozenset({"paris"})))
    assert told.answer == ("frankfurt",), "declared down comes last"


@given(data=st.data())
def test_always_somebody_is_named_and_never_a_worse_one_first(planet: World, data: st.DataObject) -> None:
    names = [ref.site.name for ref in planet.sites()]
    some = st.frozensets(st.sampled_from(names))
    region = data.draw(st.sampled_from(list(planet.regions)))
    wishes = Overrides(data.draw(some), data.draw(some))
    down = set(data.draw(some))
    found = decided(planet, region, data.draw(st.sampled_from([FRANCE, JAPAN, CHINA, AFRICA])), down, wishes)
    bad = down | wishes.drain | wishes.down
    region_of = {ref.site.name: ref.region for ref in planet.sites()}
    allowed = {region, *planet.regions[region].resilient}
    assert found.answer
    assert found.reason
    assert {region_of[name] for name in found.ordered} <= allowed
    if bad.isdisjoint(found.answer):
        assert found.ordered[: len(found.answer)] == found.answer
        assert bad.isdisjoint(found.ordered)
    else:
        assert {region_of[name] for name in found.answer} == {region}, "failing open stays at home"


def test_a_door_is_down_after_two_failures_and_up_after_three_successes() -> None:
    door = judge_door(DoorHealth(), True, "answers", 1.0)
    assert door.up
    seen = []
    for number, passed in enumerate([False, True, False, False, True, True, False, True, True, True]):
        door = judge_door(door, passed, "answers" if passed else "hangs", 2.0 + number)
        seen.append(door.up)
    assert seen == [True, True, True, False, False, False, False, False, False, True]
    assert door.since_s == 11.0
    assert door.why == "answers"
    assert judge_door(DoorHealth(), False, "refuses", 1.0).up is False, "the first look decides at once"


def test_only_doors_that_may_answer_are_named_unless_none_does() -> None:
    assert doors_of(SiteHealth((UP, DOWN, DoorHealth()))) == (0, 2)
    assert doors_of(SiteHealth((DOWN, DOWN))) == (0, 1)
