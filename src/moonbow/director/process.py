"""The director's loop: observe doors and files, decide, and put the new answers in place."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from moonbow.world import Ports, World, door_address, world_address

from .adapters.doors import Probe, Probing, Target, Trust
from .adapters.http import HttpServer, Page
from .adapters.inputs import Watched, parse_overrides
from .adapters.maps import DatabaseWatch, WatchedMap
from .answers import Answers
from .atlas import compile_map
from .metrics import render_metrics
from .model import Overrides, SiteHealth
from .pages import answer_page
from .policy import judge_door
from .snapshot import Snapshot, take_snapshot, unknown_health

POLL_S = 0.15
FIRST_LOOK_S = 1.0  # how long the first answers wait for the first probes

log = logging.getLogger("moonbow.director")


class Director:
    """One world's director: name server, prober and its own pages.  `run` serves until it is cancelled."""

    def __init__(self, world: World, state: Path, probing: Probing | None = None, map_path: Path | None = None) -> None:
        self.world = world
        self._health = unknown_health(world)
        self._ranges = WatchedMap(state, map_path)
        self._database = DatabaseWatch(state, world.geo.database)
        self._overrides = Watched(state / "overrides.json", parse_overrides, Overrides())
        self._trust = Trust(state / "pki" / "ca.crt")
        self._probing = probing or Probing()
        self._probes: Counter[tuple[str, bool]] = Counter()
        self._looked = asyncio.Event()
        self._serving = False
        self._number = 0
        self._read_first()
        self._known = (self._ranges.value, compile_map(world, self._ranges.value))
        self._snapshot = self._take()
        home = world_address(world)
        self.names = Answers(world, state, [home], Ports.DNS, self._snapshot)
        self.pages = HttpServer(home, Ports.DIRECTOR, self._serve)

    async def run(self) -> None:
        """Serve until cancelled; OSError if an address is taken."""
        gc.collect()
        gc.freeze()  # the map never becomes garbage, so no collection need look at it
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.names.close)
            stack.push_async_callback(self.pages.close)
            self.names.bind()
            await self.pages.open()
            async with asyncio.TaskGroup() as tasks:
                self._start_probes(tasks)
                tasks.create_task(self._watch())
                tasks.create_task(self._database.run())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FIRST_LOOK_S):
                        await self._looked.wait()
                await self.names.open()
                self._serving = True
                log.info("serving", extra={"f": {"address": world_address(self.world), "port": self.names.port}})

    @property
    def snapshot(self) -> Snapshot:
        """What is served now."""
        return self._snapshot

    def _start_probes(self, tasks: asyncio.TaskGroup) -> None:
        """One task a door, their first probes spread over an interval."""
        refs = [ref for ref in self.world.sites() if ref.site.name in self._health]
        doors = [(ref, number) for ref in refs for number in range(ref.site.doors)]
        for turn, (ref, number) in enumerate(doors):
            target = Target(door_address(self.world, ref, number), Ports.DOOR, self.world.domain)
            probe = Probe(target, self._trust, self._probing, self._reporter(ref.site.name, number))
            tasks.create_task(probe.run(self._probing.interval_s * turn / len(doors)))

    def _reporter(self, site: str, number: int) -> Callable[[bool, str], None]:
        def report(passed: bool, why: str) -> None:
            self._probes[site, passed] += 1
            doors = self._health[site].doors
            before, after = doors[number], judge_door(doors[number], passed, why, time.time())
            self._health[site] = SiteHealth((*doors[:number], after, *doors[number + 1 :]))
            if before.up is None and all(door.up is not None for has in self._health.values() for door in has.doors):
                self._looked.set()
            if after.up is not before.up or after.why != before.why:
                log.info("door", extra={"f": {"of": site, "door": number, "up": after.up, "why": after.why}})
                self._decide()

        return report

    def _read_first(self) -> None:
        for watched in (self._overrides, self._ranges):
            watched.poll()
            self._note(watched)
        if not self._ranges.path.exists():
            made_by = "python -m moonbow.director.compile"
            log.warning("no address map: subnet rules and the default only", extra={"f": {"made_by": made_by}})

    async def _watch(self) -> None:
        """Take in the operator's word and a new address map as soon as they change."""
        while True:
            await asyncio.sleep(POLL_S)
            self.names.refresh()
            if self._overrides.poll():
                self._note(self._overrides)
                self._decide()
            if self._ranges.poll():
                self._note(self._ranges)
                ranges = self._ranges.value
                self._known = (ranges, await asyncio.to_thread(compile_map, self.world, ranges))
                self._decide()

    def _note(self, watched: Watched[Overrides] | WatchedMap) -> None:
        if watched.trouble:
            log.warning("input", extra={"f": {"file": watched.path.name, "trouble": watched.trouble}})

    def _decide(self) -> None:
        """Take a new snapshot and answer from it at once."""
        self._snapshot = self._take()
        self.names.serve(self._snapshot)

    def _take(self) -> Snapshot:
        self._number += 1
        health, wishes = dict(self._health), self._overrides.value
        return take_snapshot(self.world, *self._known, health, wishes, self._number, time.time())

    def _serve(self, path: str, query: dict[str, str]) -> Page:
        if path == "/healthz":
            return Page(200, "text/plain", b"ok\n") if self._serving else Page(503, "text/plain", b"starting\n")
        if path == "/metrics":
            stale = {"overrides": bool(self._overrides.trouble), "addresses": bool(self._ranges.trouble)}
            stale["database"] = bool(self._database.trouble)
            page = render_metrics(self._snapshot, self.names.counts(), self._probes, stale)
            return Page(200, "text/plain; version=0.0.4", page)
        return Page(*answer_page(self._snapshot, path, query))
