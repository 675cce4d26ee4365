"""The world that a drill plays in: its doors, its controls, its processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from moonbow.base.errors import ConfigError
from moonbow.launch.control import ask
from moonbow.sdk import Door
from moonbow.world import Ports, SiteRef, World, door_address, load_world

ASK_S = 60.0


class Process(NamedTuple):
    """A process of the world, as its launcher names it: `paris/gateway0`."""

    key: str
    site: str
    name: str
    pid: int
    state: str


class Stage:
    """A running world.  Faults go through its launcher's control socket, or by signal to one process by its id."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.world: World = load_world(state / "world.toml")
        self.ca = state / "pki" / "ca.crt"

    # -- what there is ----------------------------------------------------------------------------------------------
    def regions(self) -> list[str]:
        """Regions that take part in common planes, in file order."""
        return [name for name, region in self.world.regions.items() if not region.sealed]

    def primaries(self, region: str) -> list[str]:
        """The names of a region's primary sites."""
        return [ref.site.name for ref in self.world.primaries(region)]

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

    async def processes(self) -> list[Process]:
        """Every process that runs now."""
        answer = await self.control("status")
        rows = answer["processes"]
        assert isinstance(rows, list)
        return [
            Process(str(row["key"]), str(row["site"]), str(row["name"]), int(row["pid"]), str(row["state"]))
            for row in rows
            if row.get("pid")
        ]

    # -- what can be done to it -------------------------------------------------------------------------------------
    async def control(self, op: str, **more: object) -> dict[str, object]:
        """One request to the launcher; `ConfigError` when it refuses or is not there."""
        try:
            return await asyncio.to_thread(ask, self.state / "control.sock", {"op": op, **more}, ASK_S)
        except OSError as error:
            raise ConfigError(f"{self.state}: no world runs here ({error})") from error

    async def kill_site(self, site: str) -> None:
        """SIGKILL to every process of a site."""
        await self.control("kill", site=site)

    async def start_site(self, site: str) -> None:
        """Start a site again; returns when it is asked for, not when it is ready."""
        await self.control("start", site=site)

    async def cut(self, a: str, b: str) -> None:
        """Cut every link between two sites or regions."""
        await self.control("cut", a=a, b=b)

    async def heal(self) -> None:
        """Mend every link."""
        await self.control("heal")

    async def wait_ready(self, within_s: float = 60.0) -> float:
        """Wait until every process is ready; the seconds it took, or `ConfigError` naming those that are not."""
        began = time.monotonic()
        while True:
            answer = await self.control("status")
            rows = answer["processes"]
            assert isinstance(rows, list)
            waiting = [f"{row['key']} {row['state']}" for row in rows if row["state"] != "ready"]
            if not waiting:
                return time.monotonic() - began
            if time.monotonic() - began > within_s:
                raise ConfigError(f"not ready within {within_s:g} s: {', '.join(waiting)}")
            await asyncio.sleep(0.2)


def send_signal(process: Process, number: signal.Signals) -> bool:
    """Signal one process by its id; False if it was gone already."""
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def frozen(processes: list[Process]) -> Iterator[list[Process]]:
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
