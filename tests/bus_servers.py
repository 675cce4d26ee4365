"""Worlds, certificates and real bus servers, for the tests of the bus and of what lives on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sysconfig
import threading
import urllib.request
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from moonbow.bus.policy import render_server
from moonbow.launch.pki import ensure_pki
from moonbow.world import Ports, SiteRef, World, link_address, parse_world, site_address
from support import eventually

SERVER = Path(sysconfig.get_path("scripts")) / "nats-server"

TEXT = """
name = "bustest"
domain = "moonbow.localhost"
slot = 2
[regions.emea]
title = "Europe"
sites = [{ name = "paris", city = "Paris", at = [48.9, 2.4] }, { name = "frankfurt", city = "F", at = [50.1, 8.7] },
         { name = "madrid", city = "Madrid", at = [40.4, -3.7] }]
[regions.apac]
title = "Asia"
sites = [{ name = "singapore", city = "Singapore", at = [1.35, 103.8] }]
[regions.cn]
title = "China"
sealed = true
sites = [{ name = "shanghai", city = "Shanghai", at = [31.2, 121.5] }]
[traffic]
default = "emea"
"""


def make_world(text: str = TEXT) -> World:
    """A world of slot 2: emea with three sites, apac with one, and sealed cn."""
    return parse_world(text)


class Servers:
    """Bus servers of chosen sites, and the links between all sites."""

    def __init__(self, world: World, state: Path) -> None:
        self.world, self.state = world, state
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *sites: str) -> None:
        for name in sites:
            folder = self.state / "sites" / name / "bus"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "nats.conf"
            path.write_text(render_server(self.world, self.world.site(name), self.state))
            with (folder / "log").open("ab") as log:
                self.running[name] = subprocess.Popen([SERVER, "-c", path], stdout=log, stderr=log)

    def kill(self, site: str) -> None:
        process = self.running.pop(site)
        process.kill()
        process.wait()

    def stop_signal(self, site: str, number: signal.Signals) -> None:
        """Signal a server; a stop has taken hold when this returns."""
        pid = self.running[site].pid
        os.kill(pid, number)
        if number == signal.SIGSTOP:
            eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")

    def close(self) -> None:
        for site in list(self.running):
            self.kill(site)

    def varz(self, site: str, page: str = "varz") -> Any:
        address = site_address(self.world, self.world.site(site))
        with urllib.request.urlopen(f"http://{address}:{Ports.BUS_MONITOR}/{page}", timeout=2) as answer:
            return json.load(answer)

    def joined(self, *sites: str) -> bool:
        """Whether the sites given see each other: routes in the region and gateways to the other regions."""
        refs = [self.world.site(name) for name in sites]
        for ref in refs:
            sisters = {other.site.name for other in refs if other.region == ref.region} - {ref.site.name}
            routed = {route.get("remote_name") for route in self.varz(ref.site.name, "routez")["routes"]}
            regions = {r.region for r in refs if not self.world.regions[r.region].sealed}
            wanted = set() if self.world.regions[ref.region].sealed else regions - {ref.region}
            gates = set(self.varz(ref.site.name, "gatewayz").get("outbound_gateways") or {})
            if not (sisters <= routed and wanted <= gates):
                return False
        return True


class Links:
    """Relays of the links between sites, for the ports of the bus, in a thread; each pair can be cut."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cut: set[frozenset[str]] = set()
        self._open: dict[frozenset[str], set[asyncio.StreamWriter]] = {}
        self._relays: set[asyncio.Task[Any]] = set()
        self._listening: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._run(self._start())

    def sever(self, a: str, b: str) -> None:
        """Close every connection between two sites and let no new one through."""
        self.cut.add(frozenset((a, b)))
        self._run(self._abort(frozenset((a, b))))

    def heal(self, a: str, b: str) -> None:
        self.cut.discard(frozenset((a, b)))

    def close(self) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> None:
        primaries = [ref for ref in self.world.sites() if ref.site.kind == "primary"]
        for src in primaries:
            for dst in primaries:
                if src != dst:
                    for port in (Ports.BUS_ROUTES, Ports.BUS_GATEWAY):
                        await self._listen(src, dst, port)

    async def _listen(self, src: SiteRef, dst: SiteRef, port: int) -> None:
        pair = frozenset((src.site.name, dst.site.name))

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                if pair in self.cut:
                    raise ConnectionRefusedError
                far_reader, far_writer = await asyncio.open_connection(site_address(self.world, dst), port)
            except OSError:
                writer.transport.abort()
                return
            writers = self._open.setdefault(pair, set())
            writers |= {writer, far_writer}
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
            for end in (writer, far_writer):
                writers.discard(end)
                end.transport.abort()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(relay(reader, writer))
            self._relays.add(task)
            task.add_done_callback(self._relays.discard)

        address = link_address(self.world, src, dst)
        self._listening.append(await asyncio.start_server(accept, address, port))

    async def _abort(self, pair: frozenset[str]) -> None:
        for writer in self._open.get(pair, set()).copy():
            writer.transport.abort()

    async def _stop(self) -> None:
        for server in self._listening:
            server.close()
        for pair in self._open:
            await self._abort(pair)
        await asyncio.gather(*self._relays, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def running(world: World, state: Path, *sites: str) -> Iterator[tuple[Servers, Links]]:
    """The servers of `sites`, joined to each other through links that can be cut."""
    ensure_pki(world, state)
    servers, links = Servers(world, state), Links(world)
    try:
        servers.start(*sites)
        eventually(lambda: servers.joined(*sites), within_s=15)
        yield servers, links
    finally:
        servers.close()
        links.close()
