"""Where backups lie, when they are due, and which are let go."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.backup.model import VERSION, Archive, Checked, Kind, Manifest, archive_id
from moonbow.backup.policy import (
    AGAIN_MAX_S,
    DAY_S,
    FIRST_S,
    choose_places,
    expired,
    newest_keys,
    next_due,
    plan_pruning,
    why_not,
)
from moonbow.backup.process import open_job
from moonbow.base.errors import ConfigError
from moonbow.world import Backup, RegionData, Site, load_world

NOW = 1_800_000_000.0
SETTINGS = Backup(keep_days=3, keep_weeks=2, keys_keep_days=10)
LAPTOP = load_world(Path("worlds/laptop.toml"))


def archive(at: float, kind: Kind = "data", good: bool | None = True, key_id: str = "k") -> Archive:
    manifest = Manifest(
        version=VERSION, id=archive_id(at, kind), kind=kind, region="emea", taken_at=at, finished_at=at + 1,
        taken_from="paris", kept_at="frankfurt", engine="sqlite", key_id=key_id, epoch=1, payloads=(),
    )  # fmt: skip
    return Archive(manifest, None if good is None else Checked(at=at, faults=() if good else ("bad",)), 1)


archives = st.lists(
    st.builds(
        archive,
        at=st.integers(0, 40 * 86_400).map(lambda ago: NOW - ago),
        kind=st.sampled_from(["data", "keys"]),
        good=st.sampled_from([True, True, False, None]),
    ),
    unique_by=lambda one: one.manifest.id,
    max_size=30,
)


@given(archives)
def test_the_newest_good_data_always_stands(found: list[Archive]) -> None:
    good = [one.manifest.id for one in found if one.good and one.manifest.kind == "data"]
    going = plan_pruning(SETTINGS, found, NOW)
    assert not good or max(good) not in going
    assert all(going.values())


@given(archives)
def test_keys_go_when_their_time_is_up_and_not_before(found: list[Archive]) -> None:
    going = plan_pruning(SETTINGS, found, NOW)
    for one in found:
        if one.manifest.kind == "keys":
            assert (one.manifest.id in going) == (NOW - one.manifest.taken_at > 10 * DAY_S)
    newest = newest_keys(SETTINGS, found, "k", NOW)
    assert newest is None or not expired(SETTINGS, newest, NOW)


@given(archives)
def test_pruning_twice_is_pruning_once_and_days_and_weeks_keep_their_last(found: list[Archive]) -> None:
    going = plan_pruning(SETTINGS, found, NOW)
    left = [one for one in found if one.manifest.id not in going]
    assert plan_pruning(SETTINGS, left, NOW) == {}
    data = [one for one in left if one.manifest.kind == "data" and one.good]
    old = [one for one in data if NOW - one.manifest.taken_at > DAY_S]
    assert len(old) <= SETTINGS.keep_days + SETTINGS.keep_weeks
    days = sorted({one.manifest.id[:8] for one in found if one.manifest.kind == "data" and one.good})
    assert {one.manifest.id[:8] for one in data} >= set(days[-SETTINGS.keep_days :])


def test_without_a_good_one_nothing_of_data_goes() -> None:
    found = [archive(NOW - day * DAY_S, good=bad) for day, bad in enumerate([None, False, None, False])]
    assert plan_pruning(SETTINGS, found, NOW) == {}
    assert set(plan_pruning(SETTINGS, [*found, archive(NOW)], NOW)) == {one.manifest.id for one in found[1:]}


def test_a_restore_takes_the_newest_keys_whichever_data_it_takes() -> None:
    old, new = archive(NOW - 3 * DAY_S, "keys"), archive(NOW - DAY_S, "keys")
    assert newest_keys(SETTINGS, [new, old], "k", NOW) == new
    assert newest_keys(SETTINGS, [new, old], "other", NOW) is None
    assert newest_keys(SETTINGS, [new, old], "k", NOW + 20 * DAY_S) is None


def test_what_a_clock_dated_that_ran_ahead_stops_nothing() -> None:
    ahead = NOW + 3650 * DAY_S
    assert next_due(SETTINGS, [archive(NOW - 9 * DAY_S), archive(ahead)], NOW, [], NOW).at == NOW
    now = archive(NOW - DAY_S, "keys")
    assert newest_keys(SETTINGS, [now, archive(ahead, "keys")], "k", NOW) == now


def test_backups_are_due_by_the_clock_and_later_after_each_failure() -> None:
    assert next_due(SETTINGS, [], NOW, [], NOW).at == NOW + FIRST_S
    assert next_due(SETTINGS, [archive(NOW)], NOW, [], NOW).at == NOW + DAY_S
    assert next_due(SETTINGS, [archive(NOW - 9 * DAY_S)], NOW, [], NOW).at == NOW
    assert next_due(SETTINGS, [archive(NOW - 9 * DAY_S), archive(NOW, good=False)], NOW, [], NOW).at == NOW
    waits = [next_due(SETTINGS, [], NOW, [NOW] * count, NOW).at - NOW for count in range(1, 20)]
    assert waits == sorted(waits)
    assert waits[-1] == AGAIN_MAX_S


@pytest.mark.parametrize("region", ["emea", "apac"])
def test_backups_rest_in_their_region_at_another_site(region: str) -> None:
    places = choose_places(LAPTOP, region)
    assert places.taken_from.region == places.kept_at.region == region
    assert places.taken_from.site.name != places.kept_at.site.name
    assert not places.warning


def test_engines_that_backups_do_not_know_are_named_and_nothing_is_half_copied(tmp_path: Path) -> None:
    assert why_not("regions.emea", RegionData()) == ()
    region = LAPTOP.regions["emea"]
    assert why_not("regions.emea", RegionData(sql="galera", objects="seaweedfs")) == ()
    data = RegionData(sql="galera", documents="mongodb")
    world = msgspec.structs.replace(LAPTOP, regions={"emea": msgspec.structs.replace(region, data=data)})
    with pytest.raises(ConfigError, match=r"regions\.emea\.data\."):
        open_job(world, tmp_path, "emea")
    assert not list(tmp_path.iterdir())


def test_one_site_keeps_them_at_its_witness_or_says_that_it_has_none() -> None:
    solo = load_world(Path("worlds/solo.toml"))
    (name, region), *_ = solo.regions.items()
    places = choose_places(solo, name)
    assert places.kept_at == places.taken_from
    assert "one site" in places.warning
    witness = Site(name="third", city="Third", at=(1.0, 1.0), kind="witness")
    more = msgspec.structs.replace(region, sites=(*region.sites, witness))
    places = choose_places(msgspec.structs.replace(solo, regions={name: more}), name)
    assert places.kept_at.site == witness
