"""A real MariaDB Galera region for tests: two sites and a witness, or only the first site's node, quick to start.

Fixtures (in every test by tests/conftest.py): `galera_cluster`, complete; `galera_node`, one node that serves alone.
Both are of the session, in slots of their own; a test that breaks the cluster heals it (`Cluster.heal`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.connections import Connection

from moonbow.base.errors import ConfigError
from moonbow.data.adapters.engine import find_programs
from moonbow.launch.state import prepare_state
from moonbow.world import Ports, SqlWay, World, parse_world, site_address, sql_way
from support import eventually, not_tested

CLUSTER_SLOT, NODE_SLOT, BREAK_SLOT = 8, 9, 10
REGION, WITNESS = "emea", "madrid"
SITES = ("paris", "frankfurt")
TEXT = """
name = "galera"
domain = "moonbow.localhost"
slot = {slot}
[regions.emea]
title = "Europe"
data = {{ sql = "galera", objects = "seaweedfs" }}
sites = [{{ name = "paris", city = "Paris", at = [48.9, 2.4] }},
         {{ name = "frankfurt", city = "Frankfurt", at = [50.1, 8.7] }},
         {{ name = "madrid", city = "Madrid", at = [40.4, -3.7], kind = "witness" }}]
[traffic]
default = "emea"
"""
START_S = 120.0  # a node that needs a whole snapshot takes about 14 s, 10 of them a sleep in MariaDB's script


class Cluster:
    """The data agents of a region, each in a process group of its own as a site's are."""

    def __init__(self, state: Path, slot: int) -> None:
        text = TEXT.format(slot=slot)
        self.state = state
        self.world: World = parse_world(text)
        self.region = REGION
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        prepare_state(self.world, text, state)

    def start(self, *sites: str) -> None:
        """Start the agents of sites; does not wait."""
        for site in sites:
            with (self.state / "sites" / site / "logs" / "data.jsonl").open("ab") as log:
                argv = (sys.executable, "-P", "-m", "moonbow.data", "--state", str(self.state), "--site", site)
                self.agents[site] = subprocess.Popen(argv, stdout=log, stderr=log, process_group=0)

    def kill(self, *sites: str) -> None:
        """The power of sites is gone: SIGKILL to all their processes at once."""
        gone = [self.agents.pop(site) for site in sites]
        for agent in gone:
            os.killpg(agent.pid, signal.SIGKILL)
        for agent in gone:
            agent.wait(10)

    def stop(self, *sites: str) -> None:
        """End the agents of sites in order, one after the other."""
        for site in sites:
            agent = self.agents.pop(site)
            agent.terminate()
            agent.wait(40)

    def heal(self) -> None:
        """Start what a test left dead, and wait until the cluster is complete."""
        dead = [site for site in (*SITES, WITNESS) if site not in self.agents or self.agents[site].poll() is not None]
        self.start(*dead)
        self.until_redundant()

    def close(self) -> None:
        """Leave nothing running."""
        self.kill(*self.agents)

    def delete(self, site: str) -> None:
        """The disk of a dead site is gone."""
        shutil.rmtree(self.folder(site))

    def folder(self, site: str) -> Path:
        """Where a site's engine keeps everything."""
        return self.state / "sites" / site / "sql"

    def engine_pid(self, site: str) -> int:
        """The process of a site's engine."""
        children = Path(f"/proc/{self.agents[site].pid}/task/{self.agents[site].pid}/children").read_text().split()
        assert len(children) == 1, children
        return int(children[0])

    def status(self, site: str, page: str = "status") -> Any:
        """A page of a site's agent."""
        address = site_address(self.world, self.world.site(site))
        try:
            with urllib.request.urlopen(f"http://{address}:{Ports.DATA}/{page}", timeout=2) as answer:
                said = answer.read()
        except urllib.error.HTTPError as error:
            said = error.read()
            error.close()
        return json.loads(said) if page == "status" else said.decode()

    def until_ready(self, *sites: str, within_s: float = START_S) -> None:
        """Wait until sites serve."""
        eventually(lambda: all(self.status(site)["ready"] for site in sites), within_s)

    def until_redundant(self, within_s: float = START_S) -> None:
        """Wait until every site serves in a complete cluster."""
        eventually(lambda: all(self.status(site)["redundant"] for site in (*SITES, WITNESS)), within_s)

    def way(self, site: str | None = None) -> SqlWay:
        """How to reach the region's SQL from a site."""
        return sql_way(self.world, self.state, REGION, site)

    def connect(self, site: str, **more: Any) -> Connection[Any]:
        """A connection to the node of one site, as processes of the region make them."""
        way = self.way(site)
        given: dict[str, Any] = {
            "ssl_ca": str(way.ca), "ssl_cert": str(way.cert), "ssl_key": str(way.key), "ssl_verify_identity": True,
            "autocommit": True, "connect_timeout": 1, "read_timeout": 10, "write_timeout": 10,
        }  # fmt: skip
        given |= {"host": way.hosts[0], "port": way.port, "user": way.user, "database": way.database, **more}
        return pymysql.connect(**given)

    def logs(self) -> str:
        """The ends of all logs, for a test that failed."""
        paths = sorted(self.state.glob("sites/*/logs/*"))
        return "\n".join(f"{path}\n{path.read_text(errors='replace')[-3000:]}" for path in paths)


@contextlib.contextmanager
def running(state: Path, slot: int = BREAK_SLOT, *sites: str) -> Iterator[Cluster]:
    """A cluster whose `sites` (all by default) have been started; one site alone is told to begin by itself."""
    cluster = Cluster(state, slot)
    started = sites or (*SITES, WITNESS)
    if len(started) == 1:
        cluster.folder(started[0]).mkdir(mode=0o700)
        (cluster.folder(started[0]) / "force").touch()
    try:
        cluster.start(*started)
        yield cluster
    except BaseException:
        print(cluster.logs())
        raise
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def galera_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A complete cluster; leave it so."""
    _skip_without_engines()
    with running(tmp_path_factory.mktemp("cluster"), CLUSTER_SLOT) as cluster:
        cluster.until_redundant()
        yield cluster


@pytest.fixture(scope="session")
def galera_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The node of `paris`, serving alone."""
    _skip_without_engines()
    with running(tmp_path_factory.mktemp("node"), NODE_SLOT, SITES[0]) as cluster:
        cluster.until_ready(SITES[0])
        yield cluster


def _skip_without_engines() -> None:
    try:
        find_programs()
    except ConfigError as error:
        not_tested(error)
