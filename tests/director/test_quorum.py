"""The quorum: who watches whom, who is believed, and when nobody is."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.director.model import DoorHealth, Load, View
from moonbow.director.quorum import FRESH_S, Judged, is_blind, judge_views, nothing_judged, watchers_of
from moonbow.director.snapshot import unknown_health
from moonbow.world import World

UP, DOWN = DoorHealth(True, "answers"), DoorHealth(False, "refuses connections")
BUSY = Load(100, 0.1, 10_000, 0.0)


def primaries(world: World) -> list[str]:
    return [ref.site.name for ref in world.sites() if ref.site.kind == "primary"]


def views(world: World, down: set[str], now_s: float, wrong: dict[str, set[str]] | None = None) -> list[View]:
    """What all directors that live see; `wrong` are sites that one of them sees down all by itself."""
    found = []
    for me in primaries(world):
        if me in down:
            continue
        bad = down | (wrong or {}).get(me, set())
        watched = [ref for ref in world.sites() if me in watchers_of(world, ref.site.name)]
        doors = {ref.site.name: ((DOWN if ref.site.name in bad else UP),) * ref.site.doors for ref in watched}
        found.append(View(me, now_s, doors, BUSY))
    return found


def judged(world: World, *rounds: list[View], me: str = "paris") -> Judged:
    found = nothing_judged(unknown_health(world))
    for number, said in enumerate(rounds):
        found = judge_views(world, me, said, 100.0 + number, found)
    return found


def is_down(found: Judged, site: str) -> bool:
    return all(door.up is False for door in found.sites[site].doors)


def test_every_site_has_its_watchers(planet: World, laptop: World, solo: World) -> None:
    for world in (planet, laptop):
        sealed = {name for name, region in world.regions.items() if region.sealed}
        for ref in world.sites():
            found = watchers_of(world, ref.site.name)
            homes = {world.site(name).region for name in found}
            assert len(set(found)) == len(found)
            if ref.region in sealed:
                assert homes == {ref.region}, "a sealed region is nobody else's business"
            else:
                assert len(found) == 3
                assert ref.site.name not in found
                assert homes.isdisjoint(sealed)
                assert homes != {ref.region}, "somebody looks from outside"
    work = Counter(name for ref in planet.sites() for name in watchers_of(planet, ref.site.name))
    assert max(work.values()) <= 10, "the work is spread"
    alone = primaries(solo)[0]
    assert watchers_of(solo, alone) == (alone,), "a world of one judges itself"
    assert watchers_of(planet, "shanghai") == ("shanghai",)


def test_a_watcher_that_is_gone_is_replaced_and_the_others_stay(planet: World) -> None:
    before = watchers_of(planet, "paris")
    present = set(primaries(planet)) - {before[0]}
    after = watchers_of(planet, "paris", present)
    assert len(after) == 3
    assert set(before[1:]) <= set(after)
    assert before[0] not in after


@settings(deadline=None)
@given(data=st.data())
def test_a_dead_site_is_down_and_no_other(planet: World, data: st.DataObject) -> None:
    """Two regions' worth of sites may die, and one watcher may be wrong about anything: the rest is judged as it is."""
    open_ones = [ref.site.name for ref in planet.sites() if not planet.regions[ref.region].sealed]
    dead = data.draw(st.sets(st.sampled_from(open_ones), max_size=4))
    living = [name for name in primaries(planet) if name not in dead]
    liar = data.draw(st.sampled_from(living))
    lies = data.draw(st.sets(st.sampled_from(open_ones), max_size=3))
    found = judged(planet, views(planet, set(), 100.0), views(planet, dead, 101.0, {liar: lies}))
    assert not found.frozen
    for site in open_ones:
        watching = [name for name in watchers_of(planet, site) if name in living and name not in found.blind]
        wrong = site in lies and site not in dead and liar in watching
        if wrong and len(watching) <= 2:
            continue  # one against one, or alone: no majority can tell
        if watching:
            assert is_down(found, site) == (site in dead)
    for dispute in found.disagreements:
        assert dispute.site in lies
        assert dispute.say_down == (liar,)


def test_nobody_is_its_own_watcher_while_anybody_else_is(laptop: World) -> None:
    doors = {"tokyo": (DOWN, DOWN), "frankfurt": (UP, UP)}
    said = [View("paris", 100.0, doors), View("tokyo", 100.0, {"tokyo": (UP, UP), "paris": (UP, UP)})]
    assert is_down(judged(laptop, said), "tokyo")
    assert not is_down(judged(laptop, said[1:]), "tokyo"), "alone it is heard"


def test_a_tie_changes_nothing(laptop: World) -> None:
    doors = lambda door: {"tokyo": (door, door)}  # noqa: E731
    ahead = View("paris", 100.0, doors(UP)), View("frankfurt", 100.0, doors(UP))
    split = View("paris", 101.0, doors(UP)), View("frankfurt", 101.0, doors(DOWN))
    both = View("paris", 102.0, doors(DOWN)), View("frankfurt", 102.0, doors(DOWN))
    found = judged(laptop, list(ahead), list(split))
    assert not is_down(found, "tokyo")
    assert [(dispute.site, dispute.say_up, dispute.say_down) for dispute in found.disagreements] == [
        ("tokyo", ("paris",), ("frankfurt",))
    ] * 2
    fallen = judged(laptop, list(ahead), list(both))
    assert is_down(fallen, "tokyo")
    again = judge_views(laptop, "paris", [view._replace(at_s=110.0) for view in split], 110.0, fallen)
    assert is_down(again, "tokyo")


def test_stale_views_do_not_vote(laptop: World) -> None:
    old = View("paris", 100.0 - FRESH_S - 0.1, {"tokyo": (DOWN, DOWN)})
    new = View("frankfurt", 100.0, {"tokyo": (UP, UP)})
    found = judged(laptop, [old, new])
    assert not is_down(found, "tokyo")
    assert found.heard == ("frankfurt",)


def test_who_sees_everything_down_is_not_believed_and_freezes_when_alone(planet: World) -> None:
    everything = {ref.site.name for ref in planet.sites()} - {"paris"}
    well = views(planet, set(), 100.0)
    cut = [view for view in views(planet, set(), 101.0, {"paris": everything}) if view.observer == "paris"]
    assert is_blind(cut[0])
    alone = judged(planet, well, cut)
    assert alone.frozen
    assert alone.why == "everything looks down from here: what was last decided is kept"
    assert alone.sites == judged(planet, well).sites, "frozen: nothing moves"
    others = [view for view in views(planet, set(), 101.0) if view.observer != "paris"]
    heard = judged(planet, well, cut + others)
    assert not heard.frozen
    assert heard.blind == ("paris",)
    assert not any(is_down(heard, site) for site in everything)
    assert judge_views(planet, "paris", [], 200.0, heard).frozen, "nothing fresh is no reason to change"
    back = judge_views(planet, "paris", views(planet, set(), 102.0), 102.0, alone)
    assert not back.frozen
    assert not back.why


def test_a_world_of_two_sites_never_calls_itself_blind(laptop: World) -> None:
    assert not is_blind(View("paris", 0.0, {"tokyo": (DOWN,), "paris": (DOWN,)}))
    assert is_blind(View("paris", 0.0, {"tokyo": (DOWN,), "frankfurt": (DOWN,)}))


def test_a_site_is_unfit_by_its_own_word_or_its_errors_and_only_while_it_speaks(laptop: World) -> None:
    well = views(laptop, set(), 100.0)
    ill = [view._replace(at_s=101.0, trouble="its store is lost" if view.observer == "tokyo" else "") for view in well]
    found = judged(laptop, well, ill)
    assert found.sites["tokyo"].trouble == "its store is lost"
    assert not found.sites["paris"].trouble
    failing = [view._replace(load=BUSY._replace(errors=0.6)) if view.observer == "tokyo" else view for view in well]
    assert judged(laptop, well, failing).sites["tokyo"].trouble == "60% of its answers are errors"
    silent = [view._replace(at_s=110.0) for view in well if view.observer != "tokyo"]
    lapsed = judge_views(laptop, "paris", silent, 110.0, found)
    assert not lapsed.sites["tokyo"].trouble, "the word of a director that is gone does not stand for ever"
    assert found.loads["tokyo"] == BUSY


@settings(max_examples=100, deadline=None)
@given(looks=st.lists(st.tuples(st.sampled_from([0.25, 1.0, 2.0]), st.booleans(), st.booleans()), max_size=300))
def test_however_watchers_flutter_the_judgement_is_held(laptop: World, looks) -> None:
    found = judged(laptop, views(laptop, set(), 100.0))
    now_s, changes, was, down_at_s = 100.0, [], False, 0.0
    for pause_s, one, two in looks:
        now_s += pause_s
        said = [
            View("paris", now_s, {"tokyo": ((DOWN, DOWN) if one else (UP, UP)), "frankfurt": (UP, UP)}),
            View("frankfurt", now_s, {"tokyo": ((DOWN, DOWN) if two else (UP, UP)), "paris": (UP, UP)}),
        ]
        found = judge_views(laptop, "paris", said, now_s, found)
        if is_down(found, "tokyo") != was:
            was = not was
            changes.append(now_s)
            if was:
                down_at_s = now_s
            else:
                assert now_s - down_at_s >= 1.0, "the minimum stay"
    lasted_s = now_s - 100.0
    assert len(changes) <= 2 * (2 + 6 + lasted_s / 60.0 + lasted_s / 64.0)


def test_a_world_of_one_site_judges_itself(solo: World) -> None:
    name = primaries(solo)[0]
    found = judged(solo, [View(name, 100.0, {name: (DOWN,) * solo.sites()[0].site.doors})], me=name)
    assert is_down(found, name)
    assert not found.frozen
    assert msgspec.json.encode(found), "plain values"
