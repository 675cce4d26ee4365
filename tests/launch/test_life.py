"""A real world from `up` to `down` by the command line: it is whole, it is broken and mended, and it leaves nothing."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.small import TWO_REGIONS, leftovers, moonbow, running_in
from moonbow.sdk import Client, Connected, Lost
from moonbow.world import Ports, World, link_address, load_world, place_port, site_address
from support import eventually, listens

pytestmark = pytest.mark.engines
PSS_MIB_MAX = 1300


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("life")
    file, state = folder / "small.toml", folder / "state"
    file.write_text(TWO_REGIONS)
    done = moonbow("up", "--detach", "--no-build", "--world", str(file), "--state", str(state))
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "said").write_text(done.stdout)
    yield state
    done = moonbow("down", "--state", str(state))
    assert done.returncode == 0, done.stdout + done.stderr
    assert leftovers(state) == []


@pytest.fixture(scope="module")
def world(state: Path) -> World:
    return load_world(state / "world.toml")


def _status(state: Path) -> dict[str, Any]:
    done = moonbow("status", "--json", "--state", str(state))
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _states(state: Path, site: str) -> set[str]:
    return {process["state"] for process in _status(state)["processes"] if process["site"] == site}


def _bootstrap(state: Path, world: World, place: int) -> http.client.HTTPResponse:
    """What a client at a place is told by whichever door it gets; the certificate is checked."""
    trust = ssl.create_default_context(cafile=str(state / "pki" / "ca.crt"))
    port = place_port(world, world.places[place].port)
    line = http.client.HTTPSConnection("127.0.0.1", port, timeout=3, context=trust)
    line._create_connection = lambda *_: http.client.socket.create_connection(("127.0.0.1", port), 3)  # type: ignore
    line.host = world.domain  # the name that is asked for and checked
    line.request("GET", "/v1/bootstrap")
    response = line.getresponse()
    response.read()
    line.close()
    return response


def test_up_says_where_to_go_and_who_to_be(state: Path) -> None:
    said = (state.parent / "said").read_text()
    demo = json.loads((state / "world" / "demo.json").read_text())
    assert "https://moonbow.localhost:8843" in said
    for company in demo["companies"]:
        for person in company["people"]:
            assert person["login"] in said
            assert person["password"] in said


def test_everything_is_ready_and_within_its_memory(state: Path) -> None:
    from moonbow.cli.status import memory_bytes

    eventually(lambda: {process["state"] for process in _status(state)["processes"]} == {"ready"}, within_s=20)
    status = _status(state)
    assert status["ready"]
    pids = [status["pid"], *(process["pid"] for process in status["processes"])]
    assert sum(map(memory_bytes, pids)) / 1_048_576 < PSS_MIB_MAX
    shown = moonbow("status", "--state", str(state)).stdout
    assert all(site in shown for site in ("paris", "frankfurt", "tokyo", "well"))


def test_a_client_enters_by_the_nearest_door(state: Path, world: World) -> None:
    for place, sites in ((0, ("paris", "frankfurt")), (1, ("tokyo",))):
        response = _bootstrap(state, world, place)
        assert response.status == 200
        assert response.headers["moonbow-site"] in sites


def test_nothing_listens_that_was_not_planned(state: Path, world: World) -> None:
    from moonbow.launch.policy import plan_processes
    from moonbow.launch.preflight import find_engines
    from moonbow.launch.proc import PROC, open_files

    planned = {listener[1:] for spec in plan_processes(world, state, find_engines()) for listener in spec.listens}
    inodes = {}
    for row in (PROC / "net" / "tcp").read_text().splitlines()[1:]:
        words = row.split()
        if words[3] == "0A":
            host, _, port = words[1].partition(":")
            address = ".".join(str(part) for part in reversed(bytes.fromhex(host)))
            inodes[f"socket:[{words[9]}]"] = (address, int(port, 16))
    pids = [process["pid"] for process in _status(state)["processes"]]
    listening = {inodes[name] for pid in pids for name in open_files(PROC / str(pid)) if name in inodes}
    assert len(listening) > 10
    assert listening <= planned


def test_a_second_up_is_refused_and_says_by_whom(state: Path, tmp_path: Path) -> None:
    pid = _status(state)["pid"]
    file = state.parent / "small.toml"
    again = moonbow("up", "--no-build", "--world", str(file), "--state", str(state))
    assert again.returncode == 2
    assert f"pid {pid}" in again.stderr
    elsewhere = moonbow("up", "--no-build", "--world", str(file), "--state", str(tmp_path / "other"))
    assert elsewhere.returncode == 2
    assert "another world of the same slot runs here" in elsewhere.stderr
    assert f"down --state {state}" in elsewhere.stderr
    assert "paris/bus" in elsewhere.stderr
    assert "tokyo/gateway0" in elsewhere.stderr
    assert "is taken by" in elsewhere.stderr
    assert "Traceback" not in elsewhere.stderr
    assert running_in(tmp_path / "other") == []
    assert not (tmp_path / "other" / "sites").exists()


def test_a_killed_site_is_dead_until_it_is_started(state: Path, world: World) -> None:
    assert moonbow("kill", "paris", "--state", str(state)).returncode == 0
    assert _states(state, "paris") == {"killed"}
    assert not [line for line in running_in(state) if "--site\0paris" in line or "/sites/paris/" in line]
    eventually(lambda: _bootstrap(state, world, 0).headers["moonbow-site"] == "frankfurt")
    eventually(lambda: _states(state, "frankfurt") == {"ready"}, within_s=20)
    started = moonbow("start", "paris", "--state", str(state))
    assert started.returncode == 0, started.stderr
    eventually(lambda: _states(state, "paris") == {"ready"}, within_s=20)


def test_a_dead_region_is_answered_by_the_resilient_one(state: Path, world: World) -> None:
    moonbow("kill", "tokyo", "--state", str(state))
    eventually(lambda: _bootstrap(state, world, 1).headers["moonbow-region"] == "emea")
    moonbow("start", "tokyo", "--state", str(state))
    eventually(lambda: _bootstrap(state, world, 1).headers["moonbow-region"] == "apac")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_gateway_comes_back_by_itself(state: Path, number: signal.Signals) -> None:
    def gateway() -> dict[str, Any]:
        rows: list[dict[str, Any]] = _status(state)["processes"]
        return next(row for row in rows if (row["site"], row["name"]) == ("tokyo", "gateway0"))

    before = gateway()
    os.kill(before["pid"], number)
    eventually(lambda: gateway()["pid"] not in (None, before["pid"]) and gateway()["state"] == "ready", within_s=40)
    assert gateway()["restarts"] == before["restarts"] + 1


def test_cut_and_heal_are_seen_at_the_link(state: Path, world: World) -> None:
    link = link_address(world, world.site("paris"), world.site("tokyo"))
    assert listens(link, Ports.BORDER_ROUTES)
    said = moonbow("cut", "emea", "tokyo", "--state", str(state)).stdout
    assert "paris ↔ tokyo is cut" in said
    assert "frankfurt ↔ tokyo is cut" in said
    assert not listens(link, Ports.BORDER_ROUTES)
    assert "paris ↔ tokyo: cut" in moonbow("status", "--state", str(state)).stdout
    assert "paris ↔ tokyo is open again" in moonbow("heal", "--state", str(state)).stdout
    assert listens(link, Ports.BORDER_ROUTES)


def test_a_drained_site_gets_nobody_and_comes_back(state: Path, world: World) -> None:
    assert "frankfurt is empty" in moonbow("drain", "frankfurt", "--state", str(state)).stdout
    health = http.client.HTTPConnection(site_address(world, world.site("frankfurt")), Ports.REST, timeout=3)
    health.request("GET", "/healthz")
    assert health.getresponse().status == 503
    health.close()
    assert _status(state)["drain"] == ["frankfurt"]
    assert "drained" in moonbow("status", "--state", str(state)).stdout
    assert moonbow("start", "frankfurt", "--state", str(state)).returncode == 0
    eventually(lambda: _states(state, "frankfurt") == {"ready"}, within_s=20)
    assert _status(state)["drain"] == []


def test_people_on_a_drained_site_go_elsewhere_without_a_gap(state: Path, world: World) -> None:
    demo = json.loads((state / "world" / "demo.json").read_text())
    ada = next(person for person in demo["companies"][0]["people"] if person["region"] == "emea")

    async def main() -> None:
        url = f"https://{world.domain}:{place_port(world, world.places[0].port)}"
        client = await Client.sign_in(url, ada["login"], ada["password"], ca=state / "pki" / "ca.crt")
        async with client:
            sites, lost = [], 0
            async for event in client.events():
                lost += isinstance(event, Lost)
                if isinstance(event, Connected):
                    sites.append(event.site)
                    if len(set(sites)) == 2:
                        break
                    if len(sites) > 1:
                        continue  # led back by a door that had not heard yet
                    done = await asyncio.to_thread(moonbow, "drain", event.site, "--state", str(state))
                    assert f"{event.site} is empty: 1 connections moved" in done.stdout
            assert lost == 0
            await asyncio.to_thread(moonbow, "start", sites[0], "--state", str(state))

    async def bounded() -> None:
        async with asyncio.timeout(90):
            await main()

    asyncio.run(bounded())


def test_a_stopped_site_is_out_of_service_until_started(state: Path) -> None:
    assert moonbow("stop", "frankfurt", "--state", str(state)).returncode == 0
    assert _states(state, "frankfurt") == {"stopped"}
    assert _status(state)["down"] == ["frankfurt"]
    assert moonbow("start", "frankfurt", "--state", str(state)).returncode == 0
    assert _status(state)["down"] == []


def test_unknown_places_are_told_kindly(state: Path) -> None:
    for words in (("kill", "mars"), ("cut", "paris", "mars"), ("drain", "mars")):
        done = moonbow(*words, "--state", str(state))
        assert done.returncode == 2
        assert "there is no site" in done.stderr
        assert "Traceback" not in done.stderr


def test_logs_are_shown_in_the_order_of_time(state: Path) -> None:
    lines = moonbow("logs", "--state", str(state), "-n", "5").stdout.splitlines()
    times = [line[:12] for line in lines if line[:2].isdigit()]
    assert times == sorted(times)
    assert {line.split()[1] for line in lines if line[:2].isdigit()} >= {
        "paris/bus",
        "tokyo/gateway0",
        "paris/director",
    }


def test_an_address_is_explained(state: Path) -> None:
    assert "tokyo" in moonbow("explain", "1.33.0.1", "--state", str(state)).stdout
