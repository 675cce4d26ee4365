"""Between sites: who is let in, where requests go, and what happens when gateways, sites and regions go away."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from balancer.stage import CLIENT, Answer, Signer, Stage, problem
from moonbow.balancer.process import Balancer
from support import eventually

pytestmark = pytest.mark.engines
EMEA = (("paris", 0), ("paris", 1), ("frankfurt", 0))


@pytest.fixture(autouse=True)
def everybody_well(stage: Stage) -> Iterator[None]:
    """After each test the world is whole again."""
    yield
    stage.write("overrides.json", {})
    for site, number in (*EMEA, ("singapore", 0)):
        if f"{site}-{number}" not in stage.processes:
            stage.start_gateway(site, number)
    stage.links.do(lambda relay: relay.open())
    for site in ("paris", "frankfurt", "singapore", "capetown"):
        stage.balancers[site].write_all()
        eventually(lambda site=site: stage.ask(site, "/healthz").status == 200, within_s=8)
    tokens = [signer.token() for region, signer in stage.signers.items() if region != "cn"]
    for site in ("paris", "frankfurt", "singapore", "capetown"):
        for token in tokens:
            eventually(lambda site=site, token=token: stage.ask(site, "/v1/me", token=token).status == 200, within_s=8)
    eventually(lambda: names(stage, "paris", 4) == {"paris-0": 2, "paris-1": 2}, within_s=8)


def names(stage: Stage, site: str, count: int, token: str | None = None) -> Counter[str]:
    return Counter(answer.json["name"] for answer in stage.burst(site, "/", count, token=token))


def mesh_get(stage: Stage, site: str, stem: str | None, headers: str = "", authority: str = "mesh-ca") -> bytes:
    """What the mesh listener of a site answers to one request; raises SSLError or OSError if it lets nobody in."""
    with closing(stage.mesh(site, stem, authority)) as sock:
        sock.sendall(f"GET /v1/me HTTP/1.1\r\nhost: mesh\r\nconnection: close\r\n{headers}\r\n".encode())
        answer = b""
        while part := sock.recv(65_536):
            answer += part
        return answer


def lets_in(stage: Stage, stem: str | None) -> bool:
    try:
        return b"paris-" in mesh_get(stage, "paris", stem)
    except OSError:  # ssl.SSLError is one
        return False


def test_the_mesh_lets_in_sites_of_open_regions_only(stage: Stage) -> None:
    found = {stem: lets_in(stage, stem) for stem in ("mesh-singapore", "mesh-capetown", "mesh-frankfurt")}
    assert all(found.values()), found
    strangers = {stem: lets_in(stage, stem) for stem in (None, "mesh-shanghai", "bus-x-emea", "door")}
    assert not any(strangers.values()), strangers


def test_the_mesh_serves_its_own_region_and_goes_no_further(stage: Stage) -> None:
    own = mesh_get(stage, "paris", "mesh-capetown", "x-moonbow-home: emea\r\nx-forwarded-for: 196.10.52.1\r\n")
    assert b'"x-moonbow-home": ["emea"]' in own
    assert b'"x-forwarded-for": ["196.10.52.1"]' in own
    assert b" 421 " in mesh_get(stage, "paris", "mesh-capetown", "x-moonbow-home: apac\r\n")


def test_a_foreign_home_is_served_by_its_own_region(stage: Stage) -> None:
    token = stage.signers["apac"].token()
    for door in ("paris", "frankfurt", "capetown", "singapore"):
        answer = stage.ask(door, "/v1/rooms?limit=5", token=token)
        assert answer.json["name"] == "singapore-0"
        assert answer.json["path"] == "/v1/rooms?limit=5"
        assert answer.json["headers"]["x-moonbow-home"] == ["apac"]
        assert answer.json["headers"]["x-moonbow-door"] == [f"{door}.0"]
        assert answer.json["headers"]["x-forwarded-for"] == [CLIENT]
        assert answer.headers["moonbow-site"] == "singapore-0"
        assert answer.headers["moonbow-door"] == f"{door}.0"
        with closing(stage.stream(door, token)) as socket:
            assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in socket.head
            assert json.loads(socket.receive())["name"] == "singapore-0"
            socket.send(b"far")
            assert socket.receive() == b"singapore-0:far"


def test_an_edge_serves_everybody_through_the_nearest_site(stage: Stage) -> None:
    token = stage.signers["emea"].token()
    assert set(names(stage, "capetown", 6)) == {"paris-0", "paris-1"}
    assert set(names(stage, "capetown", 6, token)) == {"paris-0", "paris-1"}
    assert stage.ask("capetown", "/v1/sessions", method="POST", body=b"{}").json["name"].startswith("paris-")


def test_a_site_that_is_not_of_the_region_is_not_believed(stage: Stage) -> None:
    token = stage.signers["apac"].token()
    frankfurt = stage.links.relays["capetown", "frankfurt"].targets
    relay = stage.links.relays["paris", "singapore"]
    singapore, relay.targets = relay.targets, frankfurt
    try:
        stage.links.do(lambda link: link.cut(), ("paris", "singapore"))
        stage.links.do(lambda link: link.open(), ("paris", "singapore"))
        assert problem(eventually(lambda: refused(stage, "paris", token))) == (503, "home_unreachable", True)
        eventually(lambda: stage.stat("paris", "cluster.region-apac.ssl.fail_verify_san") > 0)
        assert stage.ask("paris", "/v1/me", token=token).status == 503
    finally:
        relay.targets = singapore
        stage.links.do(lambda link: link.cut(), ("paris", "singapore"))


def refused(stage: Stage, site: str, token: str) -> Answer | None:
    answer = stage.ask(site, "/v1/me", token=token)
    return answer if answer.status == 503 else None


def test_sister_sites_answer_when_all_own_gateways_are_killed(stage: Stage) -> None:
    token = stage.signers["emea"].token()
    assert set(names(stage, "paris", 6, token)) == {"paris-0", "paris-1"}
    stage.kill("paris-0", "paris-1")
    for _ in range(10):
        answer = stage.ask("paris", "/v1/rooms", method="POST", body=b"{}", token=token)
        assert (answer.status, answer.json["name"]) == (200, "frankfurt-0")
    assert names(stage, "paris", 10, token) == {"frankfurt-0": 10}
    with closing(stage.stream("paris", token)) as socket:
        assert json.loads(socket.receive())["name"] == "frankfurt-0"
    eventually(lambda: stage.ask("paris", "/healthz").status == 503)


def test_an_edge_asks_the_next_site_when_the_nearest_has_no_gateway(stage: Stage) -> None:
    token = stage.signers["emea"].token()
    stage.kill("paris-0", "paris-1")
    for _ in range(10):
        answer = stage.ask("capetown", "/v1/rooms", method="POST", body=b"{}", token=token)
        assert (answer.status, answer.json["name"]) == (200, "frankfurt-0")


def test_an_unreachable_home_is_named_with_the_time_it_fell_silent(stage: Stage) -> None:
    async def step_until_noticed() -> str:
        balancer = Balancer(stage.world, stage.ref("paris"), stage.state)
        balancer.write_all()
        async with asyncio.timeout(8):
            while "apac" not in balancer.doors[0].silent_since:
                await balancer.step()
                await asyncio.sleep(0.05)
        await balancer.close()
        return balancer.doors[0].silent_since["apac"]

    token = stage.signers["apac"].token()
    stage.kill("singapore-0")
    answer = stage.ask("paris", "/v1/rooms", method="POST", body=b"{}", token=token)
    assert problem(answer) == (503, "home_unreachable", True)
    assert (answer.json["region"], answer.json["since"]) == ("apac", None)
    since = asyncio.run(step_until_noticed())
    eventually(lambda: stage.ask("paris", "/v1/me", token=token).json["since"] == since)
    assert names(stage, "paris", 4) == {"paris-0": 2, "paris-1": 2}


def test_a_cut_link_is_an_unreachable_home_until_it_heals(stage: Stage) -> None:
    token = stage.signers["apac"].token()
    with closing(stage.stream("paris", token)) as socket:
        socket.receive()
        stage.links.do(lambda link: link.cut(), ("paris", "singapore"))
        assert socket.file.read(1) == b""
    assert problem(stage.ask("paris", "/v1/me", token=token)) == (503, "home_unreachable", True)
    assert stage.ask("frankfurt", "/v1/me", token=token).status == 200
    stage.links.do(lambda link: link.open(), ("paris", "singapore"))
    eventually(lambda: stage.ask("paris", "/v1/me", token=token).status == 200)


def test_a_gateways_own_answer_is_passed_on_and_asked_elsewhere_only_if_it_says_so(stage: Stage) -> None:
    token = stage.signers["emea"].token()
    stage.control("paris", 0, "answer", "503")
    try:
        found = [stage.ask("paris", "/v1/me", token=token) for _ in range(20)]
        assert Counter(answer.status for answer in found) == {200: 10, 503: 10}
        assert all(answer.json["name"] == "paris-0" for answer in found if answer.status == 503)
        stage.control("paris", 0, "elsewhere", "1")
        posts = [stage.ask("paris", "/v1/rooms", method="POST", body=b"{}", token=token) for _ in range(10)]
        assert {(answer.status, answer.json["name"]) for answer in posts} == {(200, "paris-1")}
        assert not any("moonbow-try-elsewhere" in answer.headers for answer in posts)
    finally:
        stage.control("paris", 0, "answer", "200")
        stage.control("paris", 0, "elsewhere", "")


def test_a_drained_site_serves_nothing_new_and_cuts_nobody(stage: Stage) -> None:
    token = stage.signers["emea"].token()
    with closing(stage.stream("paris", token)) as socket:
        name = json.loads(socket.receive())["name"]
        drain(stage, "paris", "capetown", "singapore")
        eventually(lambda: stage.ask("paris", "/healthz").status == 503)
        eventually(lambda: names(stage, "paris", 4) == {"frankfurt-0": 4})
        eventually(lambda: names(stage, "capetown", 4) == {"frankfurt-0": 4})
        eventually(lambda: stage.ask("capetown", "/healthz").status == 503)
        assert stage.ask("frankfurt", "/healthz").status == 200
        socket.send(b"still")
        assert socket.receive() == f"{name}:still".encode()


def test_the_last_site_of_a_region_serves_even_when_drained(stage: Stage) -> None:
    drain(stage, "singapore")
    eventually(lambda: stage.ask("singapore", "/healthz").status == 503)
    assert stage.ask("singapore", "/v1/me", token=stage.signers["apac"].token()).json["name"] == "singapore-0"


def drain(stage: Stage, *sites: str) -> None:
    stage.write("overrides.json", {"drain": sites})
    for site in ("paris", "frankfurt", "singapore", "capetown"):
        stage.balancers[site].write_all()


def test_keys_change_without_cutting_anybody(stage: Stage) -> None:
    old, new = stage.signers["emea"], Signer("emea")
    new.kid = "emea-2"
    with closing(stage.stream("paris", old.token())) as socket:
        name = json.loads(socket.receive())["name"]
        stage.write("sites/paris/jwks.json", {"emea": [old.public(), new.public()]})
        stage.balancers["paris"].write_all()
        eventually(lambda: stage.ask("paris", "/v1/me", token=new.token()).status == 200)
        assert stage.ask("paris", "/v1/me", token=old.token()).status == 200
        stage.write("sites/paris/jwks.json", {"emea": [new.public()]})
        stage.balancers["paris"].write_all()
        eventually(lambda: stage.ask("paris", "/v1/me", token=old.token()).status == 401)
        socket.send(b"still")
        assert socket.receive() == f"{name}:still".encode()
        stage.write("sites/paris/jwks.json", {})
        stage.balancers["paris"].write_all()
        eventually(lambda: stage.ask("paris", "/v1/me", token=new.token()).status == 401)
    stage.publish("paris", *stage.signers.values())


def test_a_door_takes_every_file_it_is_given(stage: Stage) -> None:
    for site in ("paris", "frankfurt", "singapore", "capetown"):
        assert stage.rejected(site) == {}
