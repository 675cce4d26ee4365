"""A region's backups on this machine: which engines and folders, one backup, one check, one restore."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.base.files import write_private
from moonbow.files.process import objects_folder, open_objects, open_store
from moonbow.stores.backup_galera import GaleraDatabases
from moonbow.stores.backup_sqlite import SqliteDatabases
from moonbow.stores.home import HomeRegion
from moonbow.stores.process import open_directory, open_keys, open_timeline
from moonbow.timeline import transactions
from moonbow.world import RegionData, SqlWay, World, backup_way, data_voters, load_world, sql_way

from .adapters.folder import FolderObjects
from .adapters.node import lone_node
from .adapters.store import StoreObjects
from .compare import Differences, compare
from .model import Checked, Manifest, Step
from .policy import choose_places, restoring_folder, why_not
from .ports import Databases, Objects
from .restore import Order, Restored, check_empty, discard, put_in_place, stage, unpack
from .secret import KEY_FILE, provide_key, read_key
from .shelf import Shelf
from .take import Job, scratch, take
from .verify import verify

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


def open_databases(world: World, state: Path, region: str) -> Databases:
    """The region's databases, for whoever only reads them."""
    return _databases_of(state, backup_way(world, state, region), world.regions[region].data, region)


def _databases_of(state: Path, way: SqlWay, data: RegionData, region: str) -> Databases:
    return GaleraDatabases(way) if data.sql == "galera" else SqliteDatabases(state / "regions" / region)


def open_copied(world: World, state: Path, region: str) -> Objects:
    """The region's objects, to be listed and read while it runs."""
    folder = FolderObjects(objects_folder(state, region))
    if world.regions[region].data.objects == "directory":
        return folder
    return StoreObjects(open_objects(world, state, region), open_store(world, state, region), folder)


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
        databases=open_databases(world, state, region),
        objects=open_copied(world, state, region),
        clock=time.time,
        report=report,
    )


async def take_backup(world: World, state: Path, region: str, report: Report = silent) -> list[Manifest]:
    """Take one backup of a region now, whether its processes run or not; see `take.take` for what can go wrong."""
    job = open_job(world, state, region, report)
    return await asyncio.to_thread(take, job, await erased_people(world, state, region))


async def erased_people(world: World, state: Path, region: str) -> list[str]:
    """Everybody ever erased in a region, as its directory knows; nobody if it has none yet."""
    databases = open_databases(world, state, region)
    if isinstance(databases, GaleraDatabases):
        return await asyncio.to_thread(databases.erased)
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
            databases = open_databases(world, state, region)
            checked = verify(shelf, archive.manifest.id, secret, databases, room, time.time(), report)
        shelf.note_checked(archive.manifest.id, checked)
        return checked

    return await asyncio.to_thread(work)


async def compare_region(world: World, state: Path, region: str, ident: str) -> tuple[Manifest, Differences]:
    """What differs between an archive and the region as it lies there, with its own backup key.

    The region does not serve meanwhile: of a cluster the first node is started alone, and `ConfigError` says so if
    another one holds anything.  Objects are those in its folder: where they rest in a store, what a restore has left.
    """
    shelf, folder = shelf_of(world, state, region), state / "regions" / region
    key = read_key(key_file(state, region))

    def work() -> tuple[Manifest, Differences]:
        with scratch(folder) as room:
            databases = open_databases(world, state, region)
            return compare(shelf, ident, key, databases, FolderObjects(objects_folder(state, region)), room)

    async with _serving(world, state, region):
        return await asyncio.to_thread(work)


def _serving(world: World, state: Path, region: str) -> AbstractAsyncContextManager[None]:
    """The region's database in a world that does not run, if its engine is a process."""
    return lone_node(world, state, region) if _is_cluster(world, region) else nullcontext()


def _is_cluster(world: World, region: str) -> bool:
    return world.regions[region].data.sql == "galera"


def _has_store(world: World, region: str) -> bool:
    return world.regions[region].data.objects == "seaweedfs"


async def restore_region(
    world: World, source: Path, target: Path, region: str, ident: str, key: Path | None, report: Report = silent,
    without: Sequence[str] = (),
) -> Restored:  # fmt: skip
    """Put an archive of `source`'s shelf into the empty region of `target`, whose world must not run.

    `target` may hold a world file of its own, with the region on the same engine: so another slot can be used.
    Before the region serves it asks all regions but `without` for what they hold of its rooms.
    `ConfigError` if the region is not empty, `Broken` if the archive is damaged; nothing is changed then.
    """
    there = world_of(target, world, region)
    staging = restoring_folder(target, region)
    order = Order(
        settings=world.backup,
        region=region,
        ident=ident,
        shelf=shelf_of(world, source, region),
        key=read_key(key or key_file(source, region)),
        state=target,
        databases=_databases_of(staging, sql_way(there, staging, region), there.regions[region].data, region),
        now=time.time(),
        others=tuple(other for other in _peers(there, region) if other not in without),
        nodes=tuple(ref.site.name for ref in there.primaries(region)) if _is_cluster(there, region) else (),
        stores=tuple(ref.site.name for ref in data_voters(there, region)) if _has_store(there, region) else (),
        report=report,
    )
    check_empty(order)
    stage(order)
    try:
        settings = next(path for path in (target / "world.toml", source / "world.toml") if path.exists())
        write_private(staging / "world.toml", settings.read_bytes())
        (staging / "pki").symlink_to((target / "pki").absolute())
        async with _serving(there, staging, region):
            restored = await asyncio.to_thread(unpack, order, FolderObjects(objects_folder(staging, region)))
            await _renew(there, order, restored)
    except BaseException:
        discard(staging)
        raise
    await asyncio.to_thread(put_in_place, order)
    return restored


def world_of(target: Path, world: World, region: str) -> World:
    """The world in whose folder a region of `world` is to be restored; `ConfigError` if it cannot be there."""
    there = load_world(target / "world.toml") if (target / "world.toml").exists() else world
    if region not in there.regions:
        raise ConfigError(f"{target / 'world.toml'}: it has no region {region}")
    check_engines(there, region)
    if there.regions[region].data.sql != world.regions[region].data.sql:
        raise ConfigError(f"{target / 'world.toml'}: regions.{region}.data.sql: a backup is restored on its own engine")
    return there


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
