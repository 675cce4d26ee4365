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
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from moonbow.bus.policy import SERVERS, Server, neighbours, render_server, sisters
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


MONITORS = {"bus": Ports.BUS_MONITOR, "border": Ports.BORDER_MONITOR}


class Servers:
    """Both bus servers of chosen sites; what is done to a site is done to both unless one is named."""

    def __init__(self, world: World, state: Path) -> None:
        self.world, self.state = world, state
        self.running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}

    def start(self, *sites: str, servers: tuple[Server, ...] = SERVERS) -> None:
        for name in sites:
            for server in servers:
                folder = self.state / "sites" / name / server
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / "nats.conf"
                path.write_text(render_server(self.world, self.world.site(name), self.state, server))
                with (folder / "log").open("ab") as log:
                    self.running[name, server] = subprocess.Popen([SERVER, "-c", path], stdout=log, stderr=log)

    def kill(self, site: str, *servers: str) -> None:
        self.end(site, signal.SIGKILL, *servers)

    def end(self, site: str, number: signal.Signals, *servers: str) -> None:
        """End servers of a site with a signal, at once; returns when they are gone."""
        processes = [self.running.pop(key) for key in self._of(site, servers)]
        for process in processes:
            process.send_signal(number)
        for process in processes:
            process.wait(10)

    def stop_signal(self, site: str, number: signal.Signals, *servers: str) -> None:
        """Signal servers; a stop has taken hold when this returns."""
        for key in self._of(site, servers):
            pid = self.running[key].pid
            os.kill(pid, number)
            if number == signal.SIGSTOP:
                stat = Path(f"/proc/{pid}/stat")
                eventually(lambda stat=stat: stat.read_text().rpartition(")")[2].split()[0] == "T")

    def close(self) -> None:
        for site in {site for site, _ in self.running}:
            self.kill(site)

    def _of(self, site: str, servers: tuple[str, ...]) -> list[tuple[str, str]]:
        return [key for key in self.running if key[0] == site and key[1] in (servers or SERVERS)]

    def varz(self, site: str, page: str = "varz", server: Server = "bus") -> Any:
        address = site_address(self.world, self.world.site(site))
        with urllib.request.urlopen(f"http://{address}:{MONITORS[server]}/{page}", timeout=2) as answer:
            return json.load(answer)

    def routed(self, site: str, server: Server = "bus") -> set[str]:
        """The sites whose server of the same kind that of a site is joined to."""
        return {route.get("remote_name") for route in self.varz(site, "routez", server)["routes"]}

    def joined(self, *sites: str) -> bool:
        """Whether the sites given see each other: on the bus of a region, and on the border between all."""
        ways: tuple[tuple[Server, Callable[[World, SiteRef], tuple[SiteRef, ...]]], ...]
        ways = (("bus", sisters), ("border", neighbours))
        for ref in (self.world.site(name) for name in sites):
            for server, others in ways:
                wanted = {other.site.name for other in others(self.world, ref)} & set(sites)
                if not wanted <= self.routed(ref.site.name, server):
                    return False
        return True


class Links:
    """Relays of the links between sites, for the ports of the bus, in a thread; each pair can be cut."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cut: set[frozenset[str]] = set()
        self.refused: Counter[tuple[str, str, int]] = Counter()  # source, destination, port
        self._open: dict[frozenset[str], set[asyncio.StreamWriter]] = {}
        self._relays: set[asyncio.Task[Any]] = set()
        self._listening: list[asyncio.Server] = []
        self._closing = False
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
                    for port in (Ports.BUS_ROUTES, Ports.BORDER_ROUTES):
                        await self._listen(src, dst, port)

    async def _listen(self, src: SiteRef, dst: SiteRef, port: int) -> None:
        pair = frozenset((src.site.name, dst.site.name))

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                if pair in self.cut:
                    self.refused[src.site.name, dst.site.name, port] += 1
                    raise ConnectionRefusedError
                far_reader, far_writer = await asyncio.open_connection(site_address(self.world, dst), port)
                if self._closing:
                    far_writer.transport.abort()
                    raise ConnectionAbortedError
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
            if self._closing:
                writer.transport.abort()
                return
            task = self._loop.create_task(relay(reader, writer))
            self._relays.add(task)
            task.add_done_callback(self._relays.discard)

        address = link_address(self.world, src, dst)
        self._listening.append(await asyncio.start_server(accept, address, port))

    async def _abort(self, pair: frozenset[str]) -> None:
        for writer in self._open.get(pair, set()).copy():
            writer.transport.abort()

    async def _stop(self) -> None:
        self._closing = True
        for server in self._listening:
            server.close()
        for pair in self._open:
            await self._abort(pair)
        while self._relays:
            await asyncio.gather(*self._relays, return_exceptions=True)
            await asyncio.sleep(0)


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
