"""The launcher's decisions: what runs, when it may start, what is replaced, how long a pause lasts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.base.errors import ConfigError
from moonbow.bus.policy import SERVERS, neighbours
from moonbow.launch.links import pairs_between, plan_links, sites_called
from moonbow.launch.policy import (
    BACKOFF_MAX_S,
    DOUBT_INTERVAL_S,
    GOOD_CONDUCT_S,
    MISSED_MAX,
    PROBE_INTERVAL_S,
    START_INTERVAL_S,
    START_S,
    Engines,
    Health,
    Record,
    State,
    backoff_s,
    count_failure,
    judge,
    may_start,
    note_probe,
    plan_processes,
    probe_interval_s,
    stop_turns,
    turn_of,
)
from moonbow.world import Ports, RegionData, World, link_address, load_world
from moonbow.world.model import Dns

ENGINES = Engines("python", "nats-server", lambda door: ("envoy", str(door.number)))
WORLDS = [load_world(path) for path in sorted(Path("worlds").glob("*.toml"))]
LAPTOP = next(world for world in WORLDS if world.name == "laptop")
PLANET = next(world for world in WORLDS if world.name == "planet")


def test_the_default_world_runs_these() -> None:
    keys = [spec.key for spec in plan_processes(LAPTOP, Path("s"), ENGINES)]
    paris = [
        "paris/bus",
        "paris/border",
        "paris/door0",
        "paris/door1",
        "paris/gateway0",
        "paris/director",
        "paris/backup",
    ]
    assert keys[:8] == ["internet", *paris]
    assert [key for key in keys if key.startswith("capetown/")] == ["capetown/door0"]
    assert len(keys) == 1 + 4 * 6 + 2 + 1


@pytest.mark.parametrize(
    ("data", "planned"),
    [(RegionData(sql="galera", objects="seaweedfs"), True), (RegionData(sql="galera", documents="mongodb"), False)],
    ids=["seaweedfs", "mongodb"],
)
def test_a_region_is_backed_up_if_backups_know_its_engines(data: RegionData, planned: bool) -> None:
    emea = msgspec.structs.replace(LAPTOP.regions["emea"], data=data)
    world = msgspec.structs.replace(LAPTOP, regions={**LAPTOP.regions, "emea": emea})
    specs = {spec.key: spec for spec in plan_processes(world, Path("s"), ENGINES)}
    assert ("paris/backup" in specs) == planned
    assert "singapore/backup" in specs


def test_audits_by_the_clock_are_a_process_of_their_own() -> None:
    assert PLANET.audit.every_h
    assert "watch" in {spec.key for spec in plan_processes(PLANET, Path("s"), ENGINES)}
    assert "watch" not in {spec.key for spec in plan_processes(LAPTOP, Path("s"), ENGINES)}


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_no_two_processes_of_a_world_share_an_address_or_a_log(world: World) -> None:
    specs = plan_processes(world, Path("s"), ENGINES)
    listeners = [listener for spec in specs for listener in spec.listens]
    assert len(set(listeners)) == len(listeners)
    assert len({spec.log for spec in specs}) == len({spec.key for spec in specs}) == len(specs)
    assert {key for spec in specs for key in spec.after} <= {spec.key for spec in specs}


def test_a_region_on_galera_has_a_data_agent_at_every_voter() -> None:
    world = next(found for found in WORLDS if found.name == "laptopengines")
    specs = {spec.key: spec for spec in plan_processes(world, Path("s"), ENGINES)}
    assert [key for key in specs if key.endswith("/data")] == [
        f"{site}/data" for site in ("paris", "frankfurt", "zurich", "singapore", "tokyo", "seoul")
    ]
    assert [key for key in specs if key.startswith("zurich/")] == ["zurich/data", "zurich/objects"]
    assert {listener.port for listener in specs["zurich/data"].listens} == {
        Ports.DATA, Ports.DATA_PEERS, Ports.SQL_CLUSTER
    }  # fmt: skip
    assert "paris/data" in specs["paris/gateway0"].after
    starting: State = "starting"
    assert not may_start(specs["paris/gateway0"], {**dict.fromkeys(specs, "ready"), "paris/data": starting})


def test_a_region_s_objects_are_kept_at_every_voter() -> None:
    world = next(found for found in WORLDS if found.name == "laptopengines")
    specs = {spec.key: spec for spec in plan_processes(world, Path("s"), ENGINES)}
    kept = {key: spec for key, spec in specs.items() if spec.name == "objects"}
    assert len(kept) == 6
    assert not any(
        spec.name == "objects"
        for found in WORLDS
        if found != world
        for spec in plan_processes(found, Path("s"), ENGINES)
    )
    primary, witness = kept["paris/objects"], kept["zurich/objects"]
    assert primary.after == ("paris/data",), "its names are in the site's SQL"
    assert witness.after == ()
    assert (primary.probe.port, witness.probe.port) == (Ports.OBJECTS_S3, Ports.OBJECTS_MASTER)
    assert primary.probe.keys == tuple(
        Path("s/pki") / name for name in ("data-ca-emea.crt", "data-paris.crt", "data-paris.key")
    )
    assert turn_of(primary) < min(turn_of(specs["paris/data"]), turn_of(specs["frankfurt/data"]))
    assert "paris/objects" not in specs["paris/gateway0"].after, "a sister's are as good"


def test_data_nodes_are_stopped_last_and_one_after_the_other() -> None:
    world = next(found for found in WORLDS if found.name == "laptopengines")
    specs = plan_processes(world, Path("s"), ENGINES)
    turns = [{spec.key for spec in specs if turn_of(spec) == turn} for turn in stop_turns(specs)]
    assert {key for key in turns[0]} == {f"{site}/gateway0" for site in ("paris", "frankfurt", "singapore", "tokyo")}
    assert turns[2:] == [
        {"zurich/data", "seoul/data"}, {"frankfurt/data", "tokyo/data"}, {"paris/data", "singapore/data"}
    ]  # fmt: skip


def test_a_link_joins_only_those_who_may_talk() -> None:
    region_of = {ref.site.name: ref.region for ref in PLANET.sites()}
    for link in plan_links(PLANET):
        source, dest = region_of[link.source], region_of[link.dest]
        assert source == dest or not (PLANET.regions[source].sealed or PLANET.regions[dest].sealed)
        assert PLANET.site(link.dest).site.kind == "primary"
        if link.listen[1] == Ports.BUS_ROUTES:
            assert source == dest
    listens = [link.listen for link in plan_links(PLANET)]
    for src in PLANET.sites():
        for dst in neighbours(PLANET, src) if src.site.kind == "primary" else ():
            assert (link_address(PLANET, src, dst), Ports.BORDER_ROUTES) in listens
    assert len(set(listens)) == len(listens)


def test_cuts_are_named_by_sites_and_regions() -> None:
    assert sites_called(LAPTOP, "apac") == {"singapore", "tokyo"}
    assert pairs_between(LAPTOP, "paris", "tokyo") == {frozenset({"paris", "tokyo"})}
    assert len(pairs_between(LAPTOP, "emea", "apac")) == 6
    assert pairs_between(LAPTOP, "apac", "apac") == {frozenset({"singapore", "tokyo"})}
    with pytest.raises(ConfigError, match="same place"):
        pairs_between(LAPTOP, "paris", "paris")
    with pytest.raises(ConfigError, match="sites: paris, frankfurt"):
        pairs_between(LAPTOP, "paris", "mars")


def test_three_missed_probes_in_a_row_are_a_hang_and_not_one_less() -> None:
    record = note_probe(Record(0.0), "ready", 1.0)
    for missed in range(1, MISSED_MAX):
        record = note_probe(record, "silent", 1.0 + missed)
        assert not judge(record, 1.0 + missed).replace
    assert not judge(note_probe(record, "alive", 9.0), 9.0).replace
    assert judge(note_probe(record, "silent", 9.0), 9.0).replace


def test_who_is_well_is_asked_seldom() -> None:
    record = Record(0.0)
    assert probe_interval_s(record) == START_INTERVAL_S
    record = note_probe(record, "ready", 1.0)
    assert probe_interval_s(record) == PROBE_INTERVAL_S
    for health in ("alive", "silent"):
        assert probe_interval_s(note_probe(record, health, 2.0)) == DOUBT_INTERVAL_S
        assert probe_interval_s(note_probe(note_probe(record, health, 2.0), "ready", 3.0)) == PROBE_INTERVAL_S


def test_a_miss_of_a_late_prober_does_not_count() -> None:
    assert note_probe(Record(0.0), "silent", 9.0, took_s=5.0).missed == 0
    assert note_probe(Record(0.0), "silent", 9.0, took_s=1.0).missed == 1


def test_nobody_is_replaced_while_most_are_silent() -> None:
    record = Record(0.0, ready_at=1.0, missed=MISSED_MAX)
    assert judge(record, 9.0, silent_ratio=0.5).replace
    assert not judge(record, 9.0, silent_ratio=0.51).replace


def test_a_process_that_never_gets_ready_is_replaced_after_its_time() -> None:
    record = note_probe(Record(10.0), "alive", 11.0)
    assert not judge(record, 10.0 + START_S).replace
    assert judge(record, 10.1 + START_S).replace


def test_a_patient_judge_waits_for_who_answers_and_for_nobody_else() -> None:
    record = note_probe(Record(10.0), "alive", 10.0 + START_S)
    assert not judge(record, 10.1 + START_S, patient=True).replace
    assert judge(record, 10.1 + START_S).replace
    assert judge(record, 10.1 + 2 * START_S, patient=True).replace
    assert judge(Record(10.0), 10.1 + START_S, patient=True).replace


@given(st.lists(st.sampled_from(["ready", "alive", "silent"]), max_size=40))
def test_whoever_answers_is_never_replaced(answers: list[Health]) -> None:
    record = note_probe(Record(0.0), "ready", 0.0)
    for now, answer in enumerate(answers):
        record = note_probe(record, answer, float(now))
        if answer != "silent":
            assert not judge(record, float(now)).replace


@given(st.integers(0, 500))
def test_pauses_grow_and_are_bounded(failures: int) -> None:
    assert 0.0 <= backoff_s(failures) <= backoff_s(failures + 1) <= BACKOFF_MAX_S


def test_good_conduct_forgets_failures() -> None:
    record = Record(0.0, ready_at=1.0, failures=7)
    assert count_failure(record, 2.0) == 8
    assert count_failure(record, 1.1 + GOOD_CONDUCT_S) == 1
    assert count_failure(Record(0.0, failures=7), 1e6) == 8


def test_a_gateway_waits_for_its_bus_but_not_for_one_taken_away() -> None:
    gateway = next(spec for spec in plan_processes(LAPTOP, Path("s"), ENGINES) if spec.name == "gateway0")
    expected: dict[State, bool] = {"waiting": False, "starting": False, "backing off": False, "ready": True}
    expected |= {"alive": True, "killed": True}
    for server in SERVERS:
        assert {state: may_start(gateway, {f"paris/{server}": state}) for state in expected} == expected


def test_where_knot_answers_the_director_only_drives_it() -> None:
    world = msgspec.structs.replace(LAPTOP, dns=Dns(engine="knot"))
    specs = {spec.key: spec for spec in plan_processes(world, Path("s"), ENGINES)}
    listeners = [listener for spec in specs.values() for listener in spec.listens]
    assert len(set(listeners)) == len(listeners)
    for site in ("paris", "tokyo"):
        assert {listener.port for listener in specs[f"{site}/knot"].listens} == {Ports.DNS}
        assert Ports.DNS not in {listener.port for listener in specs[f"{site}/director"].listens}
        assert specs[f"{site}/director"].probe.kind == "http"
    assert "capetown/knot" not in specs
