"""The compilation without an engine: golden outlines of the shipped worlds, and laws that hold for any input.

Bless changed outlines with `MOONBOW_BLESS=1 pytest tests/balancer/test_compile.py`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.outline import outline, tables, tokens
from balancer.stage import make_world
from moonbow.balancer.model import Key, SiteHealth
from moonbow.balancer.policy import compile_door, note_silence, plan_writes, write_order
from moonbow.base.errors import ConfigError
from moonbow.world import SiteRef, load_world

ROOT = Path(__file__).parents[2]
STATE = Path("/state")
WELL = SiteHealth()
WORLD = make_world()
SITES = [ref.site.name for ref in WORLD.sites()]
HEALTH = st.builds(
    SiteHealth,
    drained=st.frozensets(st.sampled_from(SITES)),
    down=st.frozensets(st.sampled_from(SITES)),
    silent_since=st.dictionaries(st.sampled_from(list(WORLD.regions)), st.just("2026-01-01T00:00:00Z")),
)
KEYS = st.dictionaries(st.sampled_from(list(WORLD.regions)), st.lists(st.just(Key("k", "A" * 43)), max_size=2))
FILES = st.sampled_from(["eds-a.json", "cds.json", "rds-x.json"])
SOURCES = ("bearer", "protocol")
REFS = st.sampled_from(WORLD.sites())


@pytest.mark.parametrize("name", ["laptop", "planet", "solo"])
def test_the_shipped_worlds_compile_as_before(name: str) -> None:
    world = load_world(ROOT / "worlds" / f"{name}.toml")
    text = ""
    for ref in world.sites():
        text += f"# {ref.region} {ref.site.name}\n{outline(compile_door(world, ref, 0, WELL, {}, STATE))}\n"
    golden = Path(__file__).with_name("golden") / f"{name}.txt"
    if os.environ.get("MOONBOW_BLESS"):
        golden.write_text(text)
    assert text == golden.read_text()


@given(REFS, HEALTH, KEYS)
def test_always_what_is_written_once_depends_on_the_world_alone(
    ref: SiteRef, health: SiteHealth, keys: dict[str, list[Key]]
) -> None:
    plain = compile_door(WORLD, ref, 0, WELL, {}, STATE)
    other = compile_door(WORLD, ref, 0, health, keys, STATE)
    assert plain.keys() == other.keys()
    for name in ("lds.json", "bootstrap.json", "cds.json", "sds-door.json", "sds-site.json"):
        assert plain[name] == other[name], name


@given(REFS, HEALTH)
def test_always_a_home_has_one_destination_and_the_mesh_goes_no_further(ref: SiteRef, health: SiteHealth) -> None:
    files = compile_door(WORLD, ref, 0, health, {}, STATE)
    clusters = {cluster["name"] for cluster in files["cds.json"]["resources"]}
    here = {"local-rest", "local-stream"}
    for home, routes in tables(files, "door").items():
        went = {route["route"]["cluster"] for route in routes if "route" in route}
        assert went <= clusters
        own = home in ("-", ref.region)
        assert went == (here if own and ref.site.kind == "primary" else {f"region-{ref.region if own else home}"})
    if ref.site.kind == "primary":
        for home, routes in tables(files, "mesh").items():
            went = {route["route"]["cluster"] for route in routes if "route" in route}
            assert went == ({"own-rest", "own-stream"} if home == "-" else set())


@given(REFS, HEALTH)
def test_always_sealed_regions_and_others_know_nothing_of_each_other(ref: SiteRef, health: SiteHealth) -> None:
    text = json.dumps(compile_door(WORLD, ref, 0, health, {}, STATE))
    foreign = ("emea", "apac") if ref.region == "cn" else ("cn",)
    for region in foreign:
        for place in (f"region-{region}", f'"issuer": "{region}"', f"region/{region}/", f'"{region}":'):
            assert place not in text, place


@given(REFS, HEALTH)
def test_always_health_of_a_site_is_its_own_gateways(ref: SiteRef, health: SiteHealth) -> None:
    files = compile_door(WORLD, ref, 0, health, {}, STATE)
    if ref.site.kind == "edge":
        probe = next(route for route in tables(files, "door")["-"] if route["name"] == "/healthz")
        refuses = health.refuses(ref.site.name)
        assert probe["direct_response"]["status"] == (503 if refuses else 200)
        return
    found = files["eds-own-rest.json"]["resources"][0]["endpoints"]
    assert [locality["locality"]["zone"] for locality in found] == [ref.site.name]
    states = {endpoint.get("health_status") for endpoint in found[0]["lb_endpoints"]}
    assert states == ({"DRAINING"} if health.refuses(ref.site.name) else {None})


def test_every_region_has_one_provider_for_each_source_and_trusts_its_own_keys_only() -> None:
    keys = {region: [Key(f"{region}-1", (region * 20)[:43])] for region in WORLD.regions}
    check = tokens(compile_door(WORLD, WORLD.site("paris"), 0, WELL, keys, STATE))
    assert set(check["providers"]) == {f"{region}-{source}" for region in ("emea", "apac") for source in SOURCES}
    for name, provider in check["providers"].items():
        region = name.partition("-")[0]
        assert provider["issuer"] == region
        found = json.loads(provider["local_jwks"]["inline_string"])["keys"]
        assert [key["kid"] for key in found] == [f"{region}-1"]


def test_every_file_comes_after_those_it_names() -> None:
    names = list(compile_door(WORLD, WORLD.site("paris"), 0, WELL, {}, STATE))
    assert names == write_order(reversed(names))
    kinds = [name.partition("-")[0].partition(".")[0] for name in names]
    assert list(dict.fromkeys(kinds)) == ["sds", "ecds", "eds", "cds", "rds", "lds", "bootstrap"]


@given(
    st.dictionaries(st.sampled_from(["eds-a.json", "cds.json", "rds-x.json"]), st.binary(max_size=2)), st.integers(0, 3)
)
def test_always_a_plan_that_was_interrupted_ends_where_it_was_meant_to(wanted: dict[str, bytes], stop: int) -> None:
    written = {"cds.json": b"old"}
    for name, content in plan_writes(wanted, written)[:stop]:
        written[name] = content
    for name, content in plan_writes(wanted, written):
        written[name] = content
    assert plan_writes(wanted, written) == ()
    assert wanted.items() <= written.items()


def test_silence_is_counted_from_its_beginning_and_forgotten_at_the_first_answer() -> None:
    assert note_silence({}, {"apac": True}, "1") == {}
    assert note_silence({}, {"apac": False}, "1") == {"apac": "1"}
    assert note_silence({"apac": "1"}, {"apac": False, "na": False}, "2") == {"apac": "1", "na": "2"}
    assert note_silence({"apac": "1"}, {"apac": True}, "3") == {}


def test_a_state_folder_too_deep_for_a_socket_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="choose a state folder higher up"):
        compile_door(WORLD, WORLD.site("paris"), 0, WELL, {}, Path("/" + "deep/" * 30))
