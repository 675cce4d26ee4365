"""The schedule of a region's backups.  It runs at the region's first primary site.

Every `ERASED_S` it writes down beside the archives who has been erased, so that a restore knows of erasures younger
than any backup.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from moonbow.base.errors import MoonbowError
from moonbow.world import Ports, World, load_world, site_address

from .metrics import Metrics, serve_metrics
from .model import Archive
from .policy import choose_places, next_due
from .process import erased_people, shelf_of, take_backup

log = logging.getLogger("moonbow.backup")
ERASED_S = 10.0
LOOK_S = 60.0  # between two looks at whether a backup is due


class Backups:
    """The schedule of one region."""

    def __init__(self, world: World, state: Path, region: str, metrics: Metrics) -> None:
        self.world, self.state, self.region, self.metrics = world, state, region, metrics
        self.shelf = shelf_of(world, state, region)
        self.started_at = time.time()
        self.failed: list[float] = []

    async def run(self) -> None:
        """Take backups when they are due, and note who is erased, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take_forever())
            tasks.create_task(self._note_forever())

    async def _take_forever(self) -> None:
        while True:
            archives = await asyncio.to_thread(self.shelf.archives)
            self.metrics.note(archives)
            due = next_due(self.world.backup, archives, self.started_at, self.failed, time.time())
            wait_s = due.at - time.time()
            if wait_s > 0:
                await asyncio.sleep(min(wait_s, LOOK_S))
                continue
            log.info("backup begins", extra={"f": {"region": self.region, "reason": due.reason}})
            await self._take(archives)

    async def _take(self, archives: list[Archive]) -> None:
        began = time.monotonic()
        try:
            made = await take_backup(self.world, self.state, self.region)
        except MoonbowError as error:
            self.failed.append(time.time())
            self.metrics.failures.inc()
            log.error("backup failed", extra={"f": {"region": self.region, "why": str(error)}})
        else:
            self.failed.clear()
            self.metrics.seconds.set(time.monotonic() - began)
            log.info("backup taken", extra={"f": {"region": self.region, "ids": [one.id for one in made]}})

    async def _note_forever(self) -> None:
        while True:
            try:
                erased = await erased_people(self.world, self.state, self.region)
                if await asyncio.to_thread(self.shelf.note_erased, erased):
                    log.info("erasures noted", extra={"f": {"region": self.region, "people": len(erased)}})
            except (MoonbowError, OSError) as error:
                log.warning("erasures not noted", extra={"f": {"region": self.region, "why": str(error)}})
            await asyncio.sleep(ERASED_S)


async def serve(state: Path, region: str) -> None:
    """Run the schedule of a region until cancelled."""
    world = load_world(state / "world.toml")
    places = choose_places(world, region)
    if places.warning:
        log.warning("backups are not at another site", extra={"f": {"why": places.warning}})
    metrics = Metrics(region)
    server = await serve_metrics(site_address(world, places.taken_from), Ports.BACKUP, metrics.registry)
    async with server:
        await Backups(world, state, region, metrics).run()
