"""The configuration of bus servers and the circuit breaker: tables and laws, and the real server's own check."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus_servers import SERVER, make_world
from moonbow.bus import breaker as breakers
from moonbow.bus.policy import SERVERS, Server, peers, render_server, server_urls
from moonbow.launch.pki import ensure_pki
from moonbow.world import World, link_address, load_world, site_address

WORLDS = Path(__file__).parents[2] / "worlds"
SHIPPED = sorted(WORLDS.glob("*.toml"))


def configs(world: World, *servers: Server) -> dict[tuple[str, str], str]:
    return {
        (ref.site.name, server): render_server(world, ref, Path("/state"), server)
        for ref in world.sites()
        if ref.site.kind == "primary"
        for server in servers or SERVERS
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_server_can_store_anything(path: Path) -> None:
    for text in configs(load_world(path)).values():
        assert not re.search(r"jetstream|store_dir|leafnodes|mqtt|websocket|trace: true|debug: true", text, re.I)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_regions_account_is_on_its_own_servers_only(path: Path) -> None:
    world = load_world(path)
    for (site, server), text in configs(world).items():
        region = world.site(site).region
        assert not re.search(r"\b(imports|exports|gateway)\b", text)
        assert re.findall(r"^  (\w+) \{ users", text, re.M) == [f"R_{region}" if server == "bus" else "X"]
        assert set(re.findall(r"R_(\w+)", text)) <= {region}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("server", SERVERS)
def test_only_the_border_of_an_open_region_is_joined_to_others(path: Path, server: Server) -> None:
    world = load_world(path)
    sealed = {name for name, region in world.regions.items() if region.sealed}
    names = {ref.site.name: ref.region for ref in world.sites() if ref.site.kind == "primary"}
    addressed = {link_address(world, world.site(a), world.site(b)): (a, b) for a in names for b in names if a != b} | {
        found.site.address: ("", found.site.name) for found in world.sites() if found.site.address
    }
    for (site, _), text in configs(world, server).items():
        crosses = server == "border" and names[site] not in sealed
        wanted = {name for name, r in names.items() if r == names[site] or (crosses and r not in sealed)} - {site}
        found = [addressed[address] for address in re.findall(r"tls://([0-9.]+):", text)]
        assert {dest for _, dest in found} == wanted
        assert {source for source, _ in found} <= {site, ""}
        assert f'user: "node.{"" if crosses else names[site] + "."}bus.moonbow"' in text
        assert not sealed & set(peers(world, names[site]))
    assert all(peers(world, name) == () for name in sealed)


def test_servers_dial_each_other_through_links_only() -> None:
    world = make_world()
    own = {site_address(world, ref) for ref in world.sites()}
    for text in configs(world).values():
        dialled = set(re.findall(r"tls://([0-9.]+):", text))
        assert dialled.isdisjoint(own)


def test_every_port_asks_for_a_certificate() -> None:
    for text in configs(make_world()).values():
        assert text.count("tls {") == text.count("listen:")
        assert text.count("verify: true") + text.count("verify_and_map: true") == text.count("tls {")


def test_a_process_prefers_its_own_sites_server() -> None:
    world = make_world()
    ref = world.site("frankfurt")
    for server, port in zip(SERVERS, (4222, 4223), strict=True):
        assert server_urls(world, ref, server)[0] == f"tls://{site_address(world, ref)}:{port}"
        assert len(server_urls(world, ref, server)) == 3


@pytest.mark.engines
@pytest.mark.parametrize("site", ["paris", "singapore", "shanghai"])
@pytest.mark.parametrize("server", SERVERS)
def test_the_real_server_accepts_the_configuration(tmp_path: Path, site: str, server: Server) -> None:
    world = make_world()
    ensure_pki(world, tmp_path)
    path = tmp_path / "nats.conf"
    path.write_text(render_server(world, world.site(site), tmp_path, server))
    checked = subprocess.run([SERVER, "-t", "-c", path], capture_output=True, text=True, timeout=10)
    assert checked.returncode == 0, checked.stderr


# The breaker: what happened, at which second, and what may be called afterwards.
PLAYBOOK = [
    ("heard lately", [("beat", 1.0)], 3.5, "closed"),
    ("silent", [("beat", 1.0), ("ticked", 4.1)], 4.1, "open"),
    ("a beat that comes too late", [("beat", 1.0), ("beat", 4.5)], 4.5, "open"),
    ("two failures", [("failed", 0.1), ("failed", 0.2)], 0.3, "closed"),
    ("three failures", [("failed", 0.1), ("failed", 0.2), ("failed", 0.3)], 0.3, "open"),
    ("an answer between", [("failed", 0.1), ("failed", 0.2), ("answered", 0.3), ("failed", 0.4)], 0.5, "closed"),
    ("a beat does not close", [("ticked", 4.0), ("beat", 4.5)], 4.5, "open"),
    ("a probe is on its way", [("ticked", 4.0), ("probing", 4.5)], 4.5, "half_open"),
    ("a probe failed", [("ticked", 4.0), ("probing", 4.5), ("failed", 5.5)], 5.5, "open"),
    ("a probe was answered", [("ticked", 4.0), ("probing", 4.5), ("answered", 5.5)], 5.5, "closed"),
]


@pytest.mark.parametrize(("events", "now", "state"), [row[1:] for row in PLAYBOOK], ids=[row[0] for row in PLAYBOOK])
def test_breaker(events: list[tuple[str, float]], now: float, state: str) -> None:
    found = breakers.Breaker(heard_at=0.0)
    for event, at in events:
        found = getattr(breakers, event)(found, at)
    assert found.state == state
    assert breakers.may_call(found, now) == (state == "closed")


STEPS = st.lists(
    st.tuples(st.sampled_from(["beat", "answered", "failed", "ticked", "probing"]), st.floats(0, 2)), max_size=40
)


@given(STEPS)
def test_an_open_breaker_closes_only_by_an_answer(steps: list[tuple[str, float]]) -> None:
    found, now = breakers.Breaker(heard_at=0.0), 0.0
    for event, passed in steps:
        now += passed
        if event == "probing" and not breakers.probe_due(found, now):
            continue
        before, found = found, getattr(breakers, event)(found, now)
        if before.state != "closed" and found.state == "closed":
            assert event == "answered"
        if found.state != "closed":
            assert not breakers.may_call(found, now)
            assert found.since is not None
