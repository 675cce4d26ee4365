"""A world on real engines from `up` to `down`: a site and its disk are lost, everything is killed, nothing is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.small import SLOT, TWO_REGIONS, leftovers, moonbow, running_in
from moonbow.world import Ports, World, load_world, site_address
from support import eventually

pytestmark = [pytest.mark.engines, pytest.mark.long]
TEXT = TWO_REGIONS.replace('resilient = ["apac"]', 'resilient = ["apac"]\ndata = { sql = "galera" }').replace(
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


def test_a_world_on_engines_is_broken_and_mended_and_leaves_nothing(state: Path) -> None:
    world = load_world(state / "world.toml")
    assert world.slot == SLOT
    eventually(lambda: _node(world, "paris")["redundant"], within_s=30)
    _do("kill", "paris", "--state", str(state))
    shutil.rmtree(state / "sites" / "paris" / "sql")
    eventually(lambda: _node(world, "frankfurt")["size"] == 2)
    assert _node(world, "frankfurt")["ready"]
    _do("start", "paris", "--state", str(state))
    eventually(lambda: _node(world, "frankfurt")["redundant"], within_s=30)
    launcher = json.loads(moonbow("status", "--json", "--state", str(state)).stdout)["pid"]
    os.kill(launcher, signal.SIGKILL)
    eventually(lambda: not running_in(state))
    _do(*UP, str(state.parent / "small.toml"), "--state", str(state))
    eventually(lambda: _node(world, "zurich")["redundant"], within_s=30)
    _do("down", "--state", str(state))
    assert leftovers(state) == []
