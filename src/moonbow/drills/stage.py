"""The world that a drill plays in: its doors, its controls, its processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Generator
from pathlib import Path

import msgspec

from moonbow.base.errors import ConfigError
from moonbow.launch.control import ask
from moonbow.sdk import Door
from moonbow.world import Ports, SiteRef, World, data_voters, door_address, load_world

ASK_S = 60.0
START_S = 300.0  # for a site to be ready again, which may have to receive all of its region's data first


class Process(msgspec.Struct, frozen=True):
    """A process of the world, as its launcher knows it; `site` is empty for those outside the sites."""

    site: str
    name: str
    state: str
    pid: int | None

    @property
    def key(self) -> str:
        """How people call it: `paris/gateway0`."""
        return f"{self.site}/{self.name}" if self.site else self.name


class Status(msgspec.Struct, frozen=True):
    """What the launcher answers to `status`, as far as a drill needs it."""

    processes: list[Process]
    drain: list[str]
    down: list[str]
    cuts: list[object]


class _Person(msgspec.Struct, frozen=True):
    login: str
    password: str
    role: str


class _Company(msgspec.Struct, frozen=True):
    sealed: bool
    people: list[_Person]


class _Demo(msgspec.Struct, frozen=True):
    companies: list[_Company]


class Stage:
    """A running world.  Faults go through its launcher's control socket, or by signal to one process by its id."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.world: World = load_world(state / "world.toml")
        self.ca = state / "pki" / "ca.crt"

    def owner(self) -> tuple[str, str]:
        """Login and pass-phrase of an owner of the demo company; `ConfigError` when there is none."""
        try:
            demo = msgspec.json.decode((self.state / "world" / "demo.json").read_bytes(), type=_Demo)
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}; a drill needs the demo company") from error
        people = [
            one for company in demo.companies if not company.sealed for one in company.people if one.role == "owner"
        ]
        if not people:
            raise ConfigError(f"{self.state}: the demo company has no owner")
        return people[0].login, people[0].password

    # -- what there is ----------------------------------------------------------------------------------------------
    def regions(self) -> list[str]:
        """Regions that take part in common planes, in file order."""
        return [name for name, region in self.world.regions.items() if not region.sealed]

    def primaries(self, region: str) -> list[str]:
        """The names of a region's primary sites."""
        return [ref.site.name for ref in self.world.primaries(region)]

    def clusters(self) -> list[str]:
        """Those of `regions` that keep their SQL in a cluster over their sites and a witness."""
        voters = {name: data_voters(self.world, name) for name in self.regions()}
        return [
            name
            for name, refs in voters.items()
            if self.world.regions[name].data.sql == "galera" and any(ref.site.kind == "witness" for ref in refs)
        ]

    def doors_of(self, site: str) -> list[Door]:
        """The doors of one site."""
        ref = self.world.site(site)
        return [_door(self.world, ref, number) for number in range(ref.site.doors)]

    def doors_from(self, site: str) -> list[Door]:
        """Every door in the order of a client near `site`: its own, its region's other sites', the rest."""
        here = self.world.site(site)
        order = sorted(
            (ref for ref in self.world.sites() if ref.site.kind != "witness"),
            key=lambda ref: (ref.site.name != site, ref.region != here.region, ref.site.kind != "primary"),
        )
        return [door for ref in order for door in self.doors_of(ref.site.name)]

    def folders_of(self, region: str) -> list[Path]:
        """Where the data of a region may rest."""
        sites = [ref.site.name for ref in self.world.sites() if ref.region == region]
        return [self.state / "regions" / region, *(self.state / "sites" / site for site in sites)]

    def folders_without(self, region: str) -> list[Path]:
        """Where it may not: other regions, other sites, and what belongs to the world as a whole."""
        others = [folder for other in self.world.regions if other != region for folder in self.folders_of(other)]
        return [*others, self.state / "world"]

    async def status(self) -> Status:
        """Every process and how it is, and what the operator has switched off."""
        return msgspec.convert(await self.control("status"), Status)

    async def processes(self) -> list[Process]:
        """Every process that runs now."""
        return [process for process in (await self.status()).processes if process.pid is not None]

    # -- what can be done to it -------------------------------------------------------------------------------------
    async def control(self, op: str, within_s: float = ASK_S, **more: object) -> dict[str, object]:
        """One request to the launcher; `ConfigError` when it refuses or is not there."""
        try:
            return await asyncio.to_thread(ask, self.state / "control.sock", {"op": op, **more}, within_s)
        except OSError as error:
            raise ConfigError(f"{self.state}: no world runs here ({error})") from error

    async def kill_site(self, place: str) -> None:
        """SIGKILL to every process of a site, or of a region, at once."""
        await self.control("kill", site=place)

    async def start_site(self, place: str) -> None:
        """Bring a site, or a region, back from being killed, stopped or drained; returns when it is ready."""
        await self.control("start", START_S, site=place)

    async def drain_site(self, site: str) -> dict[str, object]:
        """Send a site's people elsewhere; returns when nobody is left or the launcher's patience is over."""
        return await self.control("drain", site=site)

    async def stop_site(self, site: str) -> None:
        """Drain a site, then end its processes in order."""
        await self.control("stop", site=site)

    async def cut(self, a: str, b: str) -> None:
        """Cut every link between two sites or regions."""
        await self.control("cut", a=a, b=b)

    async def heal(self) -> None:
        """Mend every link."""
        await self.control("heal")

    async def restore(self) -> None:
        """Mend links and bring back every site that a drill left broken."""
        status = await self.status()
        if status.cuts:
            await self.heal()
        away = {process.site for process in status.processes if process.site and process.state in ("killed", "stopped")}
        async with asyncio.TaskGroup() as tasks:  # at once, for the data node of one may wait for another's
            for site in sorted(away | set(status.drain) | set(status.down)):
                tasks.create_task(self.start_site(site))

    async def wait_ready(self, within_s: float = 60.0) -> float:
        """Wait until every process is ready; the seconds it took, or `ConfigError` naming those that are not."""
        began = time.monotonic()
        while True:
            waiting = [process for process in (await self.status()).processes if process.state != "ready"]
            if not waiting:
                return time.monotonic() - began
            if time.monotonic() - began > within_s:
                names = ", ".join(f"{process.key} {process.state}" for process in waiting)
                raise ConfigError(f"not ready within {within_s:g} s: {names}")
            await asyncio.sleep(0.2)


def send_signal(process: Process, number: signal.Signals) -> bool:
    """Signal one process by its id; False if it was gone already."""
    if process.pid is None:
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def frozen(processes: list[Process]) -> Generator[list[Process]]:
    """SIGSTOP to processes while the block runs, SIGCONT afterwards whatever happens; gives those that were stopped."""
    stopped: list[Process] = []
    try:
        for process in processes:
            if send_signal(process, signal.SIGSTOP):
                stopped.append(process)
        yield stopped
    finally:
        for process in stopped:
            send_signal(process, signal.SIGCONT)


def _door(world: World, ref: SiteRef, number: int) -> Door:
    address = door_address(world, ref, number)
    return Door(
        site=ref.site.name,
        region=ref.region,
        city=ref.site.city,
        url=f"https://{world.domain}:{Ports.DOOR}",
        address=address,
        port=Ports.DOOR,
    )
