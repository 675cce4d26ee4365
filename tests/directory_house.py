"""A small world of directories in one process: real stores and keys, and a bus that can be cut and made lossy."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from moonbow.base.errors import Refused, Unavailable
from moonbow.directory.demo import Demo, DemoPerson
from moonbow.directory.process import Directory
from moonbow.directory.seed import seed
from moonbow.stores.directory_sqlite import DirectorySqlite
from moonbow.stores.home import HomeRegion
from moonbow.stores.process import open_erasing, open_keys
from moonbow.vault.erasing import Erasing
from moonbow.vault.ports import Keys
from moonbow.wire.rest import Session
from moonbow.world import World, parse_world

Heard = Callable[[str, bytes], Awaitable[None] | None]
CLIENT = "194.2.0.7"
NOW = 1_800_000_000.0
WORLD = """
name = "trio"
domain = "moonbow.localhost"
operators = ["Ada@lunar.example", "ada@cn.lunar.example"]
slot = 6
[regions.emea]
title = "Europe"
sites = [
    { name = "paris", city = "Paris", at = [48.9, 2.4] },
    { name = "capetown", city = "Cape Town", at = [-33.9, 18.4], kind = "edge" },
]
[regions.apac]
title = "Asia"
sites = [{ name = "tokyo", city = "Tokyo", at = [35.7, 139.7] }]
[regions.na]
title = "America"
sites = [{ name = "ashburn", city = "Ashburn", at = [39.0, -77.5] }]
[regions.cn]
title = "China"
sealed = true
sites = [{ name = "shanghai", city = "Shanghai", at = [31.2, 121.5] }]
[traffic]
default = "emea"
"""


@dataclass
class Net:
    """What lies between the regions.  `cut` regions hear and answer nobody; a `lossy` net loses all live messages."""

    buses: list[LoopBus] = field(default_factory=list)
    cut: set[str] = field(default_factory=set)
    lossy: bool = False

    def joined(self, a: str, b: str) -> bool:
        return a == b or not self.cut & {a, b}


class LoopBus:
    """The bus of one gateway, as `moonbow.directory.ports.Bus`, within this process."""

    def __init__(self, net: Net, region: str) -> None:
        self.region = region
        self.directory: Directory | None = None
        self.asked: list[tuple[str, str]] = []
        self._net = net
        self._listeners: list[tuple[str, str, Heard, str]] = []
        self._troubled: list[Callable[[str], None]] = []
        net.buses.append(self)

    async def publish_region(self, subject: str, payload: bytes) -> None:
        await self._send("R", subject, payload, [bus for bus in self._net.buses if bus.region == self.region])

    async def publish(self, subject: str, payload: bytes) -> None:
        await self._send("X", subject, payload, [b for b in self._net.buses if self._net.joined(b.region, self.region)])

    async def listen_region(self, subject: str, handler: Heard, queue: str = "") -> None:
        self._listeners.append(("R", subject, handler, queue))

    async def listen(self, subject: str, handler: Heard, queue: str = "") -> None:
        self._listeners.append(("X", subject, handler, queue))

    async def request(self, region: str, op: str, payload: bytes, timeout_s: float = 1.0) -> bytes:
        self.asked.append((region, op))
        served = [bus for bus in self._net.buses if bus.region == region and bus.directory is not None]
        if not served or not self._net.joined(region, self.region):
            raise Unavailable("home_unreachable", f"region {region} does not answer", region=region)
        assert served[0].directory is not None
        answer = await asyncio.wait_for(served[0].directory.serve(self.region, op, payload), timeout_s)
        assert answer is not None
        return answer

    def on_trouble(self, callback: Callable[[str], None]) -> None:
        self._troubled.append(callback)

    def reachable(self, region: str) -> bool:
        return self._net.joined(region, self.region)

    async def _send(self, account: str, subject: str, payload: bytes, to: list[LoopBus]) -> None:
        if self._net.lossy:
            return
        groups: set[str] = set()
        for bus in to:
            for listens_in, pattern, handler, queue in bus._listeners:
                if listens_in != account or not fnmatchcase(subject, pattern) or queue in groups:
                    continue
                if queue:
                    groups.add(queue)
                result = handler(subject, payload)
                if inspect.isawaitable(result):
                    await result


@dataclass
class House:
    """Running directories by name, and what the operator knows."""

    world: World
    state: Path
    demo: Demo
    net: Net
    at: dict[str, Directory]
    buses: dict[str, LoopBus]

    def person(self, region: str, role: str | None = None) -> DemoPerson:
        """Somebody of the demo who belongs to `region`."""
        return next(
            person
            for company in self.demo.companies
            for person in company.people
            if person.region == region and role in (None, person.role)
        )

    async def sign_in(self, door: str, person: DemoPerson) -> Session:
        return await self.at[door].sign_in(person.login, person.password, client=CLIENT)


@asynccontextmanager
async def house(state: Path, *sites: str, now: Callable[[], float] | None = None) -> AsyncIterator[House]:
    """Directories of gateways at `sites` (twice for two gateways) over a seeded folder, on one net."""
    world = parse_world(WORLD)
    demo = await seed(state, now() if now else NOW)
    made = House(world, state, demo, Net(), {}, {})
    opened: list[Keys | Erasing] = []
    for number, site in enumerate(sites):
        name = site if site not in made.at else f"{site}{number}"
        ref = world.site(site)
        bus = LoopBus(made.net, ref.region)
        store = DirectorySqlite(state / "regions" / ref.region / "directory.db", HomeRegion.of(ref))
        clock = {"now": now} if now else {}
        keys = open_keys(world, state, HomeRegion.of(ref))
        erasing = open_erasing(world, state, HomeRegion.of(ref), keys)
        bus.directory = Directory(world, state, ref, store, bus, keys, erasing, refusal_floor_s=0.0, **clock)
        opened += [keys, erasing]
        made.at[name], made.buses[name] = bus.directory, bus
    try:
        for directory in made.at.values():
            await directory.start()
        yield made
    finally:
        for directory in made.at.values():
            await directory.close()
        for each in opened:
            await each.close()


async def refusal(work: Awaitable[object]) -> Refused:
    """The refusal that `work` ends in."""
    try:
        await work
    except Refused as refused:
        return refused
    raise AssertionError("not refused")


async def trouble(work: Awaitable[object]) -> Unavailable:
    """The unavailability that `work` ends in."""
    try:
        await work
    except Unavailable as found:
        return found
    raise AssertionError("was available")
