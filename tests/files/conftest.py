"""One small world of two regions for the tests that need one: emea with two sites, not encrypted, so that what rests
there can be found; apac with one, encrypted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest_gateway import Scene
from files.weeds import Weeds
from galera_cluster import Cluster
from moonbow.world import load_world
from support import eventually

SLOT = 7
WORLD = f"""
name = "files"
domain = "moonbow.localhost"
slot = {SLOT}
[regions.emea]
title = "Europe"
data = {{ encrypted = false }}
resilient = ["apac"]
sites = [
    {{ name = "paris", city = "Paris", at = [48.9, 2.4] }},
    {{ name = "frankfurt", city = "Frankfurt", at = [50.1, 8.7] }},
]
[regions.apac]
title = "Asia"
resilient = ["emea"]
sites = [{{ name = "tokyo", city = "Tokyo", at = [35.7, 139.7] }}]
[traffic]
default = "emea"
continents = {{ AS = "apac" }}
"""


def command(scene: Scene, *words: str) -> None:
    """Act on the world as an operator does."""
    subprocess.run(
        [sys.executable, "-P", "-m", "moonbow.cli", *words, "--state", str(scene.state)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip


def every_door_leads_home(scene: Scene) -> bool:
    for region in scene.world.regions:
        site = scene.world.primaries(region)[0].site.name
        token = scene.sign_in(site, scene.person(region, 0))["access_token"]
        for ref in scene.world.sites():
            with scene.rest(ref.site.name, token) as client:
                if client.get("/v1/me").status_code != 200:
                    return False
    return True


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("files")
    file, state = folder / "world.toml", folder / "state"
    file.write_text(WORLD)
    launcher = subprocess.Popen(
        [sys.executable, "-P", "-m", "moonbow.launch", "--world", str(file), "--state", str(state)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    assert launcher.stdout is not None
    try:
        said = [json.loads(line) for line in launcher.stdout]
        assert said[-1:] == [{"ready": True}], said[-1:]
        found = Scene(load_world(file), state)
        eventually(lambda: every_door_leads_home(found), within_s=30)
        yield found
    finally:
        launcher.terminate()
        launcher.wait(20)
        launcher.stdout.close()


def objects_of(state: Path, region: str) -> list[Path]:
    """Every object at rest in a region."""
    return [path for path in (state / "regions" / region / "objects").rglob("*") if path.is_file()]


@pytest.fixture(scope="package")
def weeds(galera_cluster: Cluster) -> Iterator[Weeds]:
    """A region's SeaweedFS; a test that breaks it heals it."""
    found = Weeds(galera_cluster)
    try:
        found.until_ready()
        yield found
    except BaseException:
        print(galera_cluster.logs())
        raise
    finally:
        found.close()
