"""One gateway process: wires the rooms of the house together, serves REST and WebSocket on one loop, and stops well.

Signals: SIGTERM asks every client to migrate, waits a moment, closes what is left with 1012 and exits;
SIGUSR1 drains: clients are asked to migrate and `/healthz` says so, while requests are still served.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from picows import ws_create_server
from prometheus_client import REGISTRY

from moonbow.base import limits
from moonbow.base.clock import to_next_beat
from moonbow.base.errors import MoonbowError, Refused, Unavailable
from moonbow.base.ids import new_id
from moonbow.base.log import start_log
from moonbow.bus.client import Bus
from moonbow.directory.process import Directory
from moonbow.federation.model import unpack_live
from moonbow.federation.process import Federation
from moonbow.federation.recovery import WHILE_RECOVERING
from moonbow.files.process import Files, open_objects, open_scanner
from moonbow.presence.process import Presence
from moonbow.stores.home import HomeRegion
from moonbow.stores.process import open_erasing, open_files, open_keys, open_timeline
from moonbow.timeline import transactions
from moonbow.timeline.ports import Store
from moonbow.wire import rest as wire
from moonbow.wire import subjects
from moonbow.world import Ports, SiteRef, World, load_world, site_address

from .app import Outer, make_api
from .doors import Doors
from .erasure import TimelineErasure, take_up, tend
from .flow import Flow
from .homes import Homes
from .house import Calls, House
from .hub import Hub
from .operator import Directors
from .pages import load_pages

log = logging.getLogger("moonbow.gateway")
GOING_S = 2.0
DRAINS_S = 0.5  # between two looks at the director's verdicts
LOAD_S = 1.0  # over which the load of this process is taken
BUSY_S_MAX = limits.TRANSACTION_S_MAX


class Gateway:
    """Everything one process holds.  `start` wires it, `wait` serves until a signal, `stop` leaves nothing behind."""

    def __init__(self, world: World, state: Path, ref: SiteRef, number: int) -> None:
        self.world, self.state, self.ref, self.number = world, state, ref, number
        self.incarnation = new_id("gwy", ref.region)
        self.draining = self.stopping = False
        self._stop = asyncio.Event()
        self._meter = LoadMeter()
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        """Open the stores, join the bus, serve."""
        ref, region = self.ref, self.ref.region
        home = HomeRegion.of(ref)
        name = f"{ref.site.name}/{self.number}"
        site = ref.site.name
        self.keys = open_keys(self.world, self.state, home, site)
        self.erasing = open_erasing(self.world, self.state, home, self.keys, site)
        self.store: Store = open_timeline(self.world, self.state, home, site, self.keys.sealer)
        self.bus = await Bus.connect(self.world, self.state, ref, name, REGISTRY)
        homes = self._homes()
        self.store = homes or self.store
        self.directory = Directory.open(self.world, self.state, ref, self.bus, self.keys, self.erasing, REGISTRY)
        self.erasing.ask("timeline", TimelineErasure(self.store))
        self.presence = Presence(self.world, region, self.bus, self.incarnation)
        self.flow = Flow(self.incarnation, self.store)
        self.federation = Federation(
            self.incarnation, visible_regions(self.world, region), self.store, self.bus, self.flow.show, self._leads
        )
        self.flow.federation = self.federation
        self.store.on_commit(self.flow.committed)
        catalogue = open_files(self.world, self.state, home, site)
        self.files = Files(
            self.world, self.store, catalogue,
            open_objects(self.world, self.state, region, site), self.bus, tuple(visible_regions(self.world, region)),
            self._leads, sealer=self.keys.sealer, scanner=open_scanner(self.world),
        )  # fmt: skip
        self.directory.show_avatars(self.files.avatars.tags)
        self.files.avatars.show_to(self.directory.may_see)
        self.erasing.ask("files", self.files, catalogue.scrub)
        self.hub = Hub(
            self.flow, self.store, self.files, self.directory.check, self.presence, region, ref.site.name, ref.site.city
        )
        self.hub.load = self._meter.line
        self.doors = Doors(self.world, ref, visible_regions(self.world, region))
        self.directors = Directors(self.world, self.state, ref)
        await self._recover()
        await self._listen()
        await self.directory.start()
        await self.presence.start()
        self._tasks = [
            asyncio.create_task(self.flow.run(), name="flow"),
            asyncio.create_task(self.federation.run(), name="federation"),
            asyncio.create_task(self.files.run(), name="files"),
            asyncio.create_task(self._watch_doors(), name="doors"),
            asyncio.create_task(tend(self.erasing, self._leads), name="erasures"),
        ]
        if homes is not None:
            self._tasks.append(asyncio.create_task(homes.run(), name="homes"))
        for task in self._tasks:
            task.add_done_callback(self._ended)
        await self._erase_again()
        await self._serve()

    def _homes(self) -> Homes | None:
        """Where each site has a database node of its own, posts go to their room's site."""
        data = self.world.regions[self.ref.region].data
        if data.sql != "galera" or data.documents != "sql":
            return None
        sites = [ref.site.name for ref in self.world.primaries(self.ref.region)]
        return Homes(self.store, self.bus, self.incarnation, self.ref.site.name, sites)

    async def _recover(self) -> None:
        """Serve other regions, but nothing that is written before a restored region has taken back what it can."""
        self.recovering = bool(await self.store.read_latest(transactions.unheard))
        await self.bus.serve(self._answer)
        await self.federation.recover()
        self.recovering = False

    async def _listen(self) -> None:
        region = self.ref.region
        self.directory.on_revoked(self.hub.revoke)
        self.presence.on_change(self.hub.presence)
        self.presence.on_own_change(self.hub.own_presence)
        self.bus.on_trouble(self.flow.trouble)
        self.bus.on_trouble(self.federation.trouble)
        await self.bus.listen_region(subjects.LIVE, self._heard)
        await self.bus.listen(subjects.live_heard(region, "live"), self.federation.heard, queue="live")

    def _heard(self, _subject: str, payload: bytes) -> None:
        try:
            live = unpack_live(payload)
        except msgspec.MsgspecError:
            log.warning("a live message could not be read")
            return
        if live.sender != self.incarnation:
            self.flow.show(live)

    async def _answer(self, caller: str, op: str, payload: bytes) -> bytes:
        """A request of another region, to the room that its operation names."""
        if self.recovering and op not in WHILE_RECOVERING:
            raise Unavailable("region_recovering", "this region was restored from a backup", region=self.ref.region)
        if op.startswith("timeline."):
            return await self.federation.serve(caller, op, payload)
        if op.startswith("presence."):
            presence: bytes = await self.presence.serve(caller, op, payload)
            return presence
        if op.startswith("files."):
            return await self.files.serve(caller, op, payload)
        answer = await self.directory.serve(caller, op, payload)
        if answer is None:
            raise Refused("operation_unknown", "this region does not know the operation", status=404)
        return answer

    async def _serve(self) -> None:
        address = site_address(self.world, self.ref)
        house = House(
            directory=self.directory, erasing=self.erasing, presence=self.presence, store=self.store, flow=self.flow,
            federation=self.federation, files=self.files, doors=self.doors, directors=self.directors, calls=Calls(),
            regions=visible_regions(self.world, self.ref.region),
            served_by=wire.Served(region=self.ref.region, site=self.ref.site.name, city=self.ref.site.city),
        )  # fmt: skip
        pages = load_pages(Path(os.environ.get("MOONBOW_WEB", str(Path(__file__).parents[3] / "web" / "dist"))))
        outer = Outer(
            make_api(house), pages, self.ref.region, self.ref.site.name, REGISTRY, self.health, self._meter.line,
            self.status,
        )  # fmt: skip
        self.sockets = await ws_create_server(
            self.hub.accept, address, Ports.STREAM + self.number, max_frame_size=limits.FRAME_BYTES_MAX,
            read_buffer_init_size=1024, enable_auto_ping=True, auto_ping_idle_timeout=20, auto_ping_reply_timeout=20,
            backlog=1024, logger_name=logging.getLogger("moonbow.gateway.picows"),
        )  # fmt: skip
        config = uvicorn.Config(
            outer, address, Ports.REST + self.number, http="httptools", ws="none", lifespan="on", log_config=None,
            access_log=False, server_header=False, date_header=False, proxy_headers=False, timeout_keep_alive=75,
            backlog=1024,
        )  # fmt: skip
        self.server = Server(config)
        self._tasks.append(asyncio.create_task(self.server.serve(), name="rest"))
        while not self.server.started:
            if self._tasks[-1].done():
                self._tasks[-1].result()
                raise OSError("the REST server did not start")
            await asyncio.sleep(0.005)
        log.info("ready", extra={"f": {"address": address, "number": self.number}})

    # -- while running ---------------------------------------------------------------------------------------------

    def health(self) -> str:
        """`ok`, or why this gateway should get no work: draining, store, bus, or a room whose loop has ended."""
        if self.draining or self.stopping:
            return "draining"
        if self.store.busy_s() > BUSY_S_MAX:
            return "store"
        if not self.bus.connected:
            return "bus"
        return "ok" if self.directory.healthy else "directory"

    def status(self) -> dict[str, Any]:
        """What the operator's table shows of this process."""
        return {
            "incarnation": self.incarnation,
            "people": len(self.flow.live.people),
            "sockets": len(self.hub.sockets),
            "rooms_live": len(self.flow.live.streams),
            "commits": self.store.commits,
            "operations": self.store.operations,
            "health": self.health(),
        }

    def _leads(self) -> bool:
        """Whether this gateway does the region's background work: the first of those alive.  Two may think so."""
        alive = self.presence.live_gateways()
        return not alive or alive[0] == self.incarnation

    async def _erase_again(self) -> None:
        """Before anybody is served: erase whom a restored backup has brought back, and finish what can be finished."""
        erased = await self.directory.erased()
        back = [person for person in erased if not await self.store.read(_is_gone, person)]
        await self.erasing.again(erased, back)
        await take_up(self.erasing)

    async def _watch_doors(self) -> None:
        """When the director keeps clients away from a site, ask those who came by its doors to come in elsewhere."""
        known: frozenset[str] = frozenset()
        while True:
            going = self.doors.going(self.state) - {self.ref.site.name}
            if going - known:
                self.hub.leave_doors(going - known, GOING_S)
            known = going
            await asyncio.sleep(to_next_beat(DRAINS_S, asyncio.get_running_loop().time()))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not self.stopping and not task.cancelled():
            log.critical("a loop has ended", exc_info=task.exception(), extra={"f": {"loop": task.get_name()}})
            self._stop.set()

    def drain(self) -> None:
        """Ask clients to go elsewhere, and the doors to send no more."""
        self.draining = True
        self.hub.migrate("drain", GOING_S)

    def finish(self) -> None:
        """Begin to stop."""
        self._stop.set()

    async def wait(self) -> None:
        """Serve until told to stop."""
        await self._stop.wait()

    async def stop(self) -> None:
        """Let clients move, close the rest, and leave nothing behind."""
        self.stopping = True
        if hasattr(self, "bus"):
            await self.bus.withdraw()
        if hasattr(self, "hub"):
            self.hub.migrate("restart", GOING_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.hub.emptied(), GOING_S)
            self.hub.close(1012, "going")
        if hasattr(self, "server"):
            self.sockets.close()
            self.server.going.set()
            await asyncio.wait([task for task in self._tasks if task.get_name() == "rest"], timeout=1.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for name in ("presence", "files", "directory", "doors", "directors", "bus"):
            room = getattr(self, name, None)
            if room is not None:
                with contextlib.suppress(MoonbowError, OSError, TimeoutError):
                    await asyncio.wait_for(room.close(), 1.0)
        if hasattr(self, "store"):
            self.store.close()
        for name in ("erasing", "keys"):
            if hasattr(self, name):
                await getattr(self, name).close()


def visible_regions(world: World, region: str) -> dict[str, str]:
    """The regions that exist for people of `region`, with their titles: a sealed one stands alone."""
    if world.regions[region].sealed:
        return {region: world.regions[region].title}
    return {name: found.title for name, found in world.regions.items() if not found.sealed}


class LoadMeter:
    """This process's share of a core, as the door wants it (ORCA, native HTTP text format).

    Taken when an answer carries it, at most once in `LOAD_S`, over the time since it was last taken.
    """

    def __init__(self) -> None:
        self._line = "TEXT application_utilization=0.01,rps_fractional=1,eps=0"
        self._at, self._cpu_s = time.monotonic(), time.process_time()

    def line(self) -> str:
        """The present load."""
        now = time.monotonic()
        wall_s = now - self._at
        if wall_s >= LOAD_S:
            cpu_s = time.process_time()
            used = (cpu_s - self._cpu_s) / wall_s
            self._at, self._cpu_s = now, cpu_s
            self._line = f"TEXT application_utilization={min(max(used, 0.01), 1.0):.3f},rps_fractional=100,eps=0"
        return self._line


class Server(uvicorn.Server):
    """Waits for its end instead of looking for it ten times a second, and leaves signals to the process.

    Doors date the answers.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.going = asyncio.Event()

    async def main_loop(self) -> None:
        await self.going.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _is_gone(store: Any, person: str) -> bool:
    return bool(store.is_gone(person))


async def serve(state: Path, site: str, number: int) -> None:
    """Run one gateway until it is told to stop."""
    world = load_world(state / "world.toml")
    gateway = Gateway(world, state, world.site(site), number)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, gateway.finish)
    loop.add_signal_handler(signal.SIGINT, gateway.finish)
    loop.add_signal_handler(signal.SIGUSR1, gateway.drain)
    try:
        await gateway.start()
        gc.collect()
        gc.freeze()
        await gateway.wait()
    finally:
        await gateway.stop()


def main(state: Path, site: str, number: int) -> None:
    """Entry of `python -m moonbow.gateway`."""
    import uvloop

    start_log(site, f"gateway{number}")
    logging.getLogger("moonbow.gateway.picows").setLevel(logging.WARNING)  # it names every connection
    uvloop.run(serve(state, site, number))
