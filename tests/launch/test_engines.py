"""A world on real engines from `up` to `down`: a site and its disk are lost, everything is killed, nothing is left."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from launch.small import SLOT, TWO_REGIONS, leftovers, moonbow, running_in
from moonbow.data.seaweed import weed_sockets
from moonbow.sdk import Client
from moonbow.world import Ports, World, load_world, place_port, site_address
from support import eventually

T = TypeVar("T")
pytestmark = [pytest.mark.engines, pytest.mark.long]
TEXT = TWO_REGIONS.replace('resilient = ["apac"]', 'resilient = ["apac"]\ndata = { sql = "galera", objects = "seaweedfs" }').replace(
    'at = [50.1, 8.7] },', 'at = [50.1, 8.7] },\n{ name = "zurich", city = "Zurich", at = [47.4, 8.5], kind = "witness" },'
)  # fmt: skip
UP = ("up", "--detach", "--no-build", "--world")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "small.toml").write_text(TEXT)
    _do(*UP, str(tmp_path / "small.toml"), "--state", str(tmp_path / "state"))
    yield tmp_path / "state"
    moonbow("down", "--state", str(tmp_path / "state"))


def _do(*arguments: str) -> None:
    done = moonbow(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def _node(world: World, site: str) -> Any:
    address = site_address(world, world.site(site))
    with urllib.request.urlopen(f"http://{address}:{Ports.DATA}/status", timeout=2) as answer:
        return json.load(answer)


async def _as_ada(state: Path, world: World, act: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
    demo = json.loads((state / "world" / "demo.json").read_text())
    ada = next(person for person in demo["companies"][0]["people"] if person["region"] == "emea")
    url = f"https://{world.domain}:{place_port(world, world.places[0].port)}"
    async with await Client.sign_in(url, ada["login"], ada["password"], ca=state / "pki" / "ca.crt") as client:
        return await act(client)


def test_a_world_on_engines_is_broken_and_mended_and_leaves_nothing(state: Path) -> None:
    world = load_world(state / "world.toml")
    assert world.slot == SLOT
    eventually(lambda: _node(world, "paris")["redundant"], within_s=30)
    content = os.urandom(5_000_000)
    file = asyncio.run(_as_ada(state, world, lambda ada: ada.upload(content, name="a.bin"))).id
    _do("kill", "paris", "--state", str(state))
    shutil.rmtree(state / "sites" / "paris" / "sql")
    shutil.rmtree(state / "sites" / "paris" / "objects")
    eventually(lambda: _node(world, "frankfurt")["size"] == 2)
    assert _node(world, "frankfurt")["ready"]
    assert asyncio.run(_as_ada(state, world, lambda ada: ada.download(file))) == content
    _do("start", "paris", "--state", str(state))
    eventually(lambda: _node(world, "frankfurt")["redundant"], within_s=30)
    launcher = json.loads(moonbow("status", "--json", "--state", str(state)).stdout)["pid"]
    os.kill(launcher, signal.SIGKILL)
    eventually(lambda: not running_in(state))
    _do(*UP, str(state.parent / "small.toml"), "--state", str(state))
    eventually(lambda: _node(world, "zurich")["redundant"], within_s=30)
    _do("kill", "zurich", "--state", str(state))
    _do("start", "zurich", "--state", str(state))
    again = asyncio.run(_as_ada(state, world, lambda ada: ada.upload(content, name="b.bin"))).id
    for ident in (file, again):
        assert asyncio.run(_as_ada(state, world, lambda ada, ident=ident: ada.download(ident))) == content  # type: ignore[misc]
    assert "everything rests where it may" in moonbow("audit", "residency", "--state", str(state)).stdout
    _do("down", "--state", str(state))
    assert leftovers(state) == []
    assert not any(socket.exists() for ref in world.sites() for socket in weed_sockets(world, ref))
