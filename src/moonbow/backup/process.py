"""A region's backups on this machine: which engines and folders, one backup, one check, one restore, and the schedule.

The scheduled process runs at the region's first primary site.  Every `ERASED_S` it writes down beside the archives who
has been erased, so that a restore knows of erasures younger than any backup.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from moonbow.base.errors import ConfigError, MoonbowError
from moonbow.stores.backup_sqlite import SqliteDatabases
from moonbow.stores.home import HomeRegion
from moonbow.stores.process import open_directory, open_keys, open_timeline
from moonbow.timeline import transactions
from moonbow.world import Ports, World, load_world, site_address

from .adapters.folder import FolderObjects
from .compare import Differences, compare
from .metrics import Metrics, serve_metrics
from .model import Archive, Checked, Manifest, Step
from .policy import choose_places, next_due, why_not
from .restore import Order, Restored, check_empty, put_in_place, unpack
from .secret import KEY_FILE, provide_key, read_key
from .shelf import Shelf
from .take import Job, scratch, take
from .verify import verify

log = logging.getLogger("moonbow.backup")
ERASED_S = 10.0
LOOK_S = 60.0  # between two looks at whether a backup is due
Report = Callable[[Step], None]


def silent(step: Step) -> None:
    """A report that nobody reads."""


def shelf_of(world: World, state: Path, region: str) -> Shelf:
    """Where the archives of a region stand."""
    return Shelf(state, choose_places(world, region).kept_at.site.name, region)


def check_engines(world: World, region: str) -> None:
    """`ConfigError` if the region runs on an engine that backups do not know: better none than half of one."""
    if found := why_not(f"regions.{region}", world.regions[region].data):
        raise ConfigError(*found)


def key_file(state: Path, region: str) -> Path:
    """Where the backup key of a region lies while the region stands."""
    return state / "regions" / region / "keys" / KEY_FILE


def open_job(world: World, state: Path, region: str, report: Report = silent) -> Job:
    """All that a backup of a region needs; its key is made if it has none."""
    check_engines(world, region)
    folder, places = state / "regions" / region, choose_places(world, region)
    return Job(
        settings=world.backup,
        region=region,
        state=state,
        places=places,
        shelf=Shelf(state, places.kept_at.site.name, region),
        key=provide_key(folder),
        databases=SqliteDatabases(folder),
        objects=FolderObjects(folder / "objects"),
        clock=time.time,
        report=report,
    )


async def take_backup(world: World, state: Path, region: str, report: Report = silent) -> list[Manifest]:
    """Take one backup of a region now, whether its processes run or not; see `take.take` for what can go wrong."""
    job = open_job(world, state, region, report)
    return await asyncio.to_thread(take, job, await erased_people(world, state, region))


async def erased_people(world: World, state: Path, region: str) -> list[str]:
    """Everybody ever erased in a region, as its directory knows; nobody if it has none yet."""
    if not (state / "regions" / region / "directory.db").exists():
        return []
    directory = open_directory(world, state, HomeRegion(region))
    try:
        return await directory.erased()
    finally:
        await directory.close()


async def check_backup(
    world: World, state: Path, region: str, ident: str, key: Path | None, report: Report = silent
) -> Checked:
    """Open one archive whole, and write down what came of it."""
    shelf = shelf_of(world, state, region)
    archive = shelf.archive(ident)
    folder = state / "regions" / region
    secret = read_key(key or key_file(state, region))

    def work() -> Checked:
        with scratch(folder) as room:
            databases = SqliteDatabases(folder)
            checked = verify(shelf, archive.manifest.id, secret, databases, room, time.time(), report)
        shelf.note_checked(archive.manifest.id, checked)
        return checked

    return await asyncio.to_thread(work)


async def compare_region(world: World, state: Path, region: str, ident: str) -> tuple[Manifest, Differences]:
    """What differs between an archive and the region as it lies there, with its own backup key."""
    shelf, folder = shelf_of(world, state, region), state / "regions" / region
    key = read_key(key_file(state, region))

    def work() -> tuple[Manifest, Differences]:
        with scratch(folder) as room:
            return compare(shelf, ident, key, SqliteDatabases(folder), FolderObjects(folder / "objects"), room)

    return await asyncio.to_thread(work)


async def restore_region(
    world: World, source: Path, target: Path, region: str, ident: str, key: Path | None, report: Report = silent,
    without: Sequence[str] = (),
) -> Restored:  # fmt: skip
    """Put an archive of `source`'s shelf into the empty region of `target`, whose world must not run.

    Before the region serves it asks all regions but `without` for what they hold of its rooms.
    `ConfigError` if the region is not empty, `Broken` if the archive is damaged; nothing is changed then.
    """
    check_engines(world, region)
    order = Order(
        settings=world.backup,
        region=region,
        ident=ident,
        shelf=shelf_of(world, source, region),
        key=read_key(key or key_file(source, region)),
        state=target,
        databases=SqliteDatabases(target / "regions" / region),
        now=time.time(),
        others=tuple(other for other in _peers(world, region) if other not in without),
        report=report,
    )
    check_empty(order)
    restored = await asyncio.to_thread(unpack, order, FolderObjects(order.staged / "objects"))
    await _renew(world, order, restored)
    await asyncio.to_thread(put_in_place, order)
    return restored


def _peers(world: World, region: str) -> list[str]:
    """The regions that share rooms with this one."""
    if world.regions[region].sealed:
        return []
    return [name for name, found in world.regions.items() if name != region and not found.sealed]


async def _renew(world: World, order: Order, restored: Restored) -> None:
    """What must be so before anything serves: a new epoch, no sessions, and the erased erased."""
    home = HomeRegion(order.region)
    directory = open_directory(world, order.staging, home)
    try:
        await directory.end_all_sessions()
        for person in restored.erased:
            await directory.erase_person(person, order.now)
        begun = (await directory.shared.heads()).get(order.region)
        if begun is not None:  # far beyond every epoch that others may know, of an earlier restore too
            await directory.shared.begin_epoch(begun._replace(epoch=int(order.now)), order.now)
    finally:
        await directory.close()
    keys = open_keys(world, order.staging, home)
    timeline = open_timeline(world, order.staging, home, world.primaries(home.name)[0].site.name, keys.sealer)
    try:
        await timeline.write(transactions.begin_epoch, int(order.now), order.others)
        for person in restored.erased:
            await keys.destroy(person)
            await timeline.write(transactions.forget_author, person)
    finally:
        timeline.close()
        await keys.close()


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
