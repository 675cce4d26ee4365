"""The controller of a site's doors: observe files and health, plan what changes, write it, see that Envoy took it.

One `Balancer` per site, as a task of the launcher.  It holds nothing that a restart would miss: the files are written
anew from the world, the operator's word, the published keys and what the doors say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from moonbow.base.clock import to_next_beat
from moonbow.base.errors import Unavailable
from moonbow.base.files import changed_s, write_private
from moonbow.wire.views import Verdicts
from moonbow.world import SiteRef, World

from .adapters.envoy import REJECTED, Admin, envoy_argv
from .clusters import foreign_regions, region_cluster
from .listeners import metrics_address
from .model import Door, Key, Keys, SiteHealth
from .policy import compile_door, note_silence, plan_writes

LOOK_S = 0.25  # between two looks at files
ASK_S = 2.0  # between two questions to a door
ASK_AGAIN_S = 0.5  # as long as it does not reach everybody
TAKEN_S = 0.5  # after which Envoy has read a file renamed in its folder

log = logging.getLogger("moonbow.balancer")
T = TypeVar("T")


def door_argv(world: World, ref: SiteRef, k: int, state: Path) -> list[str]:
    """The command line of one door, for the supervisor.  It reads what `Balancer.write_all` has written."""
    return envoy_argv(Door(world, ref, k, state.absolute()))


def ready_url(world: World, ref: SiteRef, k: int) -> str:
    """Answers 200 when the door serves; `/metrics` beside it speaks Prometheus."""
    host, port = metrics_address(Door(world, ref, k, Path("/")))
    return f"http://{host}:{port}/ready"


@dataclass
class DoorState:
    """What the controller knows of one door: what its files were compiled from, the files as written, silent regions,
    refused updates so far, and when to ask it again.
    """

    admin: Admin
    compiled_from: tuple[World, SiteHealth, Keys] | None = None
    written: dict[str, bytes] = field(default_factory=dict[str, bytes])
    silent_since: Mapping[str, str] = field(default_factory=dict[str, str])
    rejected: Mapping[str, int] = field(default_factory=dict[str, int])
    ask_at_s: float = 0.0  # on the loop's clock
    has_answered: bool = False


class _Overrides(msgspec.Struct, frozen=True):
    drain: frozenset[str] = frozenset()
    down: frozenset[str] = frozenset()


UNFIT = 2  # the trouble of a site that a director does not name, see `moonbow.wire.views`
FOLLOWS_S = 5.0  # a director that lives has taken in the operator's word by then


class Balancer:
    """The doors of one site.  `state` is the world's state folder."""

    def __init__(self, world: World, ref: SiteRef, state: Path) -> None:
        self.world = world
        self.ref = ref
        self.state = state.absolute()
        self.folder = self.state / "sites" / ref.site.name
        self.keys: Keys = {}
        self.overrides = _Overrides()
        self.verdicts: Verdicts | None = None
        self.troubles: dict[str, str | None] = {}
        self._seen: dict[Path, tuple[int, int, int] | None] = {}  # each file as it was when it was last read
        self.doors = {
            number: DoorState(Admin(Door(world, ref, number, self.state).admin_socket))
            for number in range(ref.site.doors)
        }

    def write_all(self) -> None:
        """Bring every file up to date; before the first start, and whenever something was observed."""
        self._read_files()
        for number in self.doors:
            self._write(number)

    async def run(self) -> None:
        """Look, plan, write, until cancelled."""
        try:
            while True:
                await self.step()
                await asyncio.sleep(to_next_beat(LOOK_S, asyncio.get_running_loop().time()))
        finally:
            await self.close()

    async def close(self) -> None:
        """Give the connections to the doors back."""
        for found in self.doors.values():
            await found.admin.close()

    async def step(self) -> None:
        """One turn of the loop.  Doors that do not answer keep their files up to date all the same."""
        self._read_files()
        now = asyncio.get_running_loop().time()
        due = [number for number, found in self.doors.items() if now >= found.ask_at_s or self._is_stale(found)]
        if due:
            async with asyncio.TaskGroup() as tasks:
                for number in due:
                    tasks.create_task(self._turn(number))

    async def _turn(self, number: int) -> None:
        found, now = self.doors[number], asyncio.get_running_loop().time()
        if now >= found.ask_at_s:
            with contextlib.suppress(Unavailable):  # starting, or dead: its supervisor's business
                await self._listen(found)
            found.ask_at_s = now + (ASK_S if found.has_answered and not found.silent_since else ASK_AGAIN_S)
        try:
            written = self._write(number)
        except OSError as error:  # a full disk must not end the controller; the next look tries again
            self._tell(f"door{number}", f"cannot be written: {error}")
            return
        self._tell(f"door{number}", None)
        if written:
            await self._see_taken(number)

    def _read_files(self) -> None:
        """What the operator and the gateways have said; what cannot be read leaves the last word standing."""
        self.overrides = self._read(self.state / "overrides.json", _Overrides, self.overrides, _Overrides())
        self.verdicts = self._read_verdicts()
        self.keys = self._read(self.folder / "jwks.json", dict[str, tuple[Key, ...]], self.keys, self.keys)

    def _read_verdicts(self) -> Verdicts | None:
        """What the site's director has decided; at an edge, the director of its region that spoke last.

        None from one that does not follow the operator's word any more: it is gone, and its supervisor's business.
        """
        sites = self.state / "sites"
        own = self.ref.site.kind == "primary"
        speakers = (self.ref,) if own else self.world.primaries(self.ref.region)
        paths = [sites / ref.site.name / "director" / "verdicts.json" for ref in speakers]
        changed, path = max((changed_s(path), path) for path in paths)
        ordered = changed_s(self.state / "overrides.json")
        if not changed or changed < ordered < time.time() - FOLLOWS_S:
            return None
        return self._read(path, Verdicts, self.verdicts, None)

    def _read(self, path: Path, kind: type[T], last: T, absent: T) -> T:
        seen = None
        try:
            status = path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if self._seen.get(path) == seen:
                return last
            found = msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            found = absent
        except (OSError, msgspec.DecodeError) as error:
            self._tell(path.name, f"cannot be read, the last good word stands: {error}")
            return last
        self._seen[path] = seen
        self._tell(path.name, None)
        return found

    def _tell(self, what: str, trouble: str | None) -> None:
        """Log a trouble when it begins or changes, not at every look."""
        if trouble and self.troubles.get(what) != trouble:
            log.error("trouble", extra={"f": {"what": what, "why": trouble}})
        self.troubles[what] = trouble

    async def _listen(self, found: DoorState) -> None:
        """Which regions this door reaches, by its own health checks."""
        stats = await found.admin.stats(r"^(server\.live|cluster\.region-[a-z0-9]+\.membership_healthy)$", "Gauges")
        if not stats.get("server.live"):
            return
        door = Door(self.world, self.ref, 0, self.state)
        reached = {
            region: stats.get(f"cluster.{region_cluster(region)}.membership_healthy", 0) > 0
            for region in foreign_regions(door)
        }
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        found.silent_since, found.has_answered = note_silence(found.silent_since, reached, now), True

    @property
    def reaches_all(self) -> bool:
        """Whether each of the doors has found every region that it may hand clients on to."""
        return all(found.has_answered and not found.silent_since for found in self.doors.values())

    def _health(self, found: DoorState) -> SiteHealth:
        drained, down, unfit = self.overrides.drain, self.overrides.down, frozenset[str]()
        if self.verdicts is not None:
            drained, down = drained.union(self.verdicts.drain), down.union(self.verdicts.down)
            unfit = frozenset(name for name, site in self.verdicts.sites.items() if site.trouble == UNFIT)
        return SiteHealth(drained, down, unfit, found.silent_since)

    def _is_stale(self, found: DoorState) -> bool:
        """Whether what a door's files are made from has changed since they were."""
        return found.compiled_from != (self.world, self._health(found), self.keys)

    def _write(self, number: int) -> tuple[str, ...]:
        """Write what changed of one door's files; their names."""
        found = self.doors[number]
        if not self._is_stale(found):
            return ()
        health = self._health(found)
        files = compile_door(self.world, self.ref, number, health, self.keys, self.state)
        wanted = {name: json.dumps(content, separators=(",", ":")).encode() for name, content in files.items()}
        folder = self.folder / f"door{number}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "logs").mkdir(mode=0o700, exist_ok=True)
        changes = plan_writes(wanted, found.written)
        for name, content in changes:
            write_private(folder / name, content)
            found.written[name] = content
        found.compiled_from = (self.world, health, self.keys)
        return tuple(name for name, _ in changes)

    async def _see_taken(self, number: int) -> None:
        """Envoy keeps its old configuration when it refuses a new one, and only counts: so count along."""
        found = self.doors[number]
        await asyncio.sleep(TAKEN_S)
        try:
            rejected = await found.admin.stats(REJECTED, "Counters")
        except Unavailable:
            return
        worse = {name: count for name, count in rejected.items() if count > found.rejected.get(name, 0)}
        found.rejected = rejected
        if worse:
            log.error("a door refused a file", extra={"f": {"door": number, "counters": worse}})
