"""A region's SeaweedFS for tests: at every site of `galera_cluster`, each in a process group of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

from galera_cluster import REGION, SITES, WITNESS, Cluster
from moonbow.data.seaweed import node_files, weed_sockets
from moonbow.data.weed import find_weed
from moonbow.files.adapters.objects import ObjectsSites
from moonbow.files.process import open_objects
from moonbow.launch.policy import Engines, Spec, plan_processes
from moonbow.launch.probe import Prober
from moonbow.world import Ports, objects_grpc_port, site_address
from support import eventually

ALL = (*SITES, WITNESS)
READY_S = 60.0


class Weeds:
    """`cluster` keeps their names, and dies with them when a site does."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.world, self.state = cluster, cluster.world, cluster.state
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        specs = plan_processes(self.world, self.state, Engines(sys.executable, "", lambda door: ()))
        self.specs: dict[str, Spec] = {spec.site: spec for spec in specs if spec.name == "objects"}

    def start(self, *sites: str) -> None:
        """Start what launch would, as launch would; does not wait."""
        for site in sites:
            spec = self.specs[site]
            with spec.log.open("ab") as log:
                environment = {**os.environ, **dict(spec.env)}
                self.processes[site] = subprocess.Popen(
                    spec.argv, stdout=log, stderr=log, env=environment, process_group=0
                )

    def until_ready(self) -> None:
        """Wait until every site is as launch wants it; as launch does, start again what ended."""

        def ready() -> bool:
            self.start(*(site for site in ALL if site not in self.processes or self.processes[site].poll() is not None))
            return all(self.health(site) == "ready" for site in ALL)

        eventually(ready, READY_S)

    def health(self, site: str) -> str:
        """What launch hears of a site."""

        async def ask() -> str:
            prober = Prober(self.specs[site].probe)
            try:
                return await prober.ask()
            finally:
                prober.close()

        return asyncio.run(ask())

    def kill(self, *sites: str) -> None:
        """SIGKILL to SeaweedFS at these sites, all at once."""
        gone = [self.processes.pop(site) for site in sites]
        for process in gone:
            os.killpg(process.pid, signal.SIGKILL)
        for process in gone:
            process.wait(10)

    def lose(self, site: str) -> None:
        """The power of a site is gone, and its disk."""
        agent = self.cluster.agents.pop(site)
        os.killpg(agent.pid, signal.SIGKILL)
        self.kill(site)
        agent.wait(10)
        self.cluster.delete(site)
        shutil.rmtree(self.folder(site))

    def heal(self) -> None:
        """Start what a test left dead, and wait until all is well."""
        self.cluster.heal()
        self.until_ready()

    def close(self) -> None:
        """Leave nothing."""
        self.kill(*self.processes)
        for path in (path for site in ALL for path in weed_sockets(self.world, self.world.site(site))):
            path.unlink(missing_ok=True)

    def folder(self, site: str) -> Path:
        """Where a site's SeaweedFS keeps everything."""
        return self.state / "sites" / site / "objects"

    def open(self, site: str) -> ObjectsSites:
        """The objects as a gateway of a site has them."""
        found = open_objects(self.world, self.state, REGION, site)
        assert isinstance(found, ObjectsSites)
        return found

    def leader(self) -> str:
        """The site of the leading master, as every living one says; OSError while they do not agree."""
        said = {self._ask(site, "/cluster/status").get("Leader", "") for site in self.processes}
        if len(said) != 1 or not (leader := said.pop()):
            raise OSError("no leader that everybody knows")
        return next(site for site in ALL if leader.startswith(f"{self.address(site)}:"))

    def shell(self, site: str, *commands: str) -> str:
        """What `weed shell` says to an operator at a site."""
        master, grpc = Ports.OBJECTS_MASTER, objects_grpc_port(self.world, self.world.site(site), Ports.OBJECTS_MASTER)
        argv = (find_weed(), f"-config_dir={self.folder(site)}", "-logtostderr=true", "shell")
        done = subprocess.run(
            (*argv, f"-master={self.address(site)}:{master}.{grpc}"),
            input="\n".join(commands) + "\n", capture_output=True, text=True, timeout=180,
        )  # fmt: skip
        return done.stdout + done.stderr

    def address(self, site: str) -> str:
        return site_address(self.world, self.world.site(site))

    def keys(self, site: str) -> ssl.SSLContext:
        """TLS as a site's node speaks it."""
        authority, certificate, key = node_files(self.world.site(site), self.state)
        context = ssl.create_default_context(cafile=str(authority))
        context.load_cert_chain(certificate, key)
        return context

    def _ask(self, site: str, path: str) -> dict[str, str]:
        url = f"https://{self.address(site)}:{Ports.OBJECTS_MASTER}{path}"
        with urllib.request.urlopen(url, timeout=2, context=self.keys(site)) as answer:
            found: dict[str, str] = json.load(answer)
            return found
