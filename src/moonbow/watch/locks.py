"""Tries the locks: each attempt must fail, and is made with the house's own code against real stores and servers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
from msgspec.structs import replace

from moonbow.base.errors import Broken, ConfigError, MoonbowError, Unavailable
from moonbow.bus.policy import Server, peers, server_urls, user_files
from moonbow.bus.trial import try_user
from moonbow.federation.shared import SharedPlane
from moonbow.stores.home import HomeRegion
from moonbow.stores.process import open_directory, open_timeline
from moonbow.stores.snapshot import copy_sqlite
from moonbow.stores.snapshot_galera import is_bound, is_refused
from moonbow.vault.plain import Plain
from moonbow.wire import subjects
from moonbow.wire.shared import LogEntry
from moonbow.world import RegionData, SiteRef, World, sql_client, sql_way

from .book import Book

STORES = ("timeline.db", "directory.db")


async def try_homes(world: World, state: Path, book: Book) -> None:
    """A store of private data opens for its own region only, and for no process of an edge or a witness."""
    for ref in world.sites():
        if ref.site.kind != "primary":
            held, said = _no_home(ref)
            book.held("edge_opens_nothing", ref.site.name, held, said, ref.region)
    for region in world.regions:
        for other in world.regions:
            if other != region and _has_stores(state, region):
                with _untried("foreign_home", region, book):
                    await _try_foreign_home(world, state, region, other, book)


@contextmanager
def _untried(code: str, region: str, book: Book) -> Generator[None]:
    """A store that cannot even be copied or opened is a finding elsewhere; its locks are not tried then."""
    try:
        yield
    except (Broken, Unavailable) as error:
        book.held(code, f"regions/{region}", None, str(error), region)


def _no_home(ref: SiteRef) -> tuple[bool, str]:
    try:
        HomeRegion.of(ref)
    except ConfigError as error:
        return True, str(error)
    return False, f"a process of this {ref.site.kind} may open private data"


def _has_stores(state: Path, region: str) -> bool:
    return all((state / "regions" / region / name).exists() for name in STORES)


@asynccontextmanager
async def copied(state: Path, region: str, as_region: str) -> AsyncGenerator[Path]:
    """A state folder with copies of a region's stores, laid where those of `as_region` would be; on the same disk."""
    folder = state / "regions" / region / "audit" / "locks"
    target = folder / "regions" / as_region
    try:
        target.mkdir(mode=0o700, parents=True)
        for name in STORES:
            copy_sqlite(state / "regions" / region / name, target / name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _try_foreign_home(world: World, state: Path, region: str, other: str, book: Book) -> None:
    in_files = replace(world.regions[other], data=RegionData())  # the copies are, whatever engine `other` has
    world = replace(world, regions={**world.regions, other: in_files})
    async with copied(state, region, other) as folder:
        for name, attempt in (("timeline", _open_timeline), ("directory", _open_directory)):
            place = f"regions/{region}/{name}.db"
            try:
                await attempt(world, folder, HomeRegion(other))
            except Broken as error:
                refused = f"made for region {region}" in str(error)
                book.held("foreign_home", place, True if refused else None, str(error), region)
            else:
                book.held("foreign_home", place, False, f"opens for a process of {other}", region)


async def _open_timeline(world: World, folder: Path, home: HomeRegion) -> None:
    open_timeline(world, folder, home, world.primaries(home.name)[0].site.name, Plain()).close()


async def _open_directory(world: World, folder: Path, home: HomeRegion) -> None:
    await open_directory(world, folder, home).close()


class Forged(msgspec.Struct, frozen=True, array_like=True, tag_field="k", tag="body"):
    """A record in the form of shared ones that is not of the closed list: what somebody wrote, on its way to all."""

    text: str


class ForgedBus:
    """A peer that answers with a forged log, and a listener for what would have been said."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.said: list[bytes] = []

    async def publish(self, subject: str, payload: bytes) -> None:
        """Keep what would have gone to all regions."""
        self.said.append(payload)

    async def listen(
        self, subject: str, handler: Callable[[str, bytes], Awaitable[None] | None], queue: str = ""
    ) -> None:
        """Nothing is ever said to this one."""

    async def request(self, region: str, op: str, payload: bytes, timeout_s: float = 1.0) -> bytes:
        """The forged log, whatever is asked."""
        return self.answer

    def on_trouble(self, callback: Callable[[str], None]) -> None:
        """There is no trouble here."""


async def try_replicator(world: World, state: Path, book: Book) -> None:
    """What is not of the closed list is neither sent to other regions nor taken from them."""
    for region in world.regions:
        others = peers(world, region)
        if others and world.regions[region].data.sql == "sqlite" and _has_stores(state, region):
            with _untried("replicator_sends", region, book):
                await _try_replicator(world, state, region, others, book)


async def _try_replicator(world: World, state: Path, region: str, others: Sequence[str], book: Book) -> None:
    async with copied(state, region, region) as folder:
        sent, taken = await _try_plane(world, folder, region, others)
    for code, passed in (("replicator_sends", sent), ("replicator_takes", taken)):
        said = f"a record of an unknown type {'passes' if passed else 'is refused'}"
        book.held(code, f"regions/{region}/directory.db", not passed, said, region)


async def _try_plane(world: World, folder: Path, region: str, others: Sequence[str]) -> tuple[bool, bool]:
    """Whether a forged record was sent, and whether one was taken."""
    forged = Forged(text="what somebody wrote")
    entry = LogEntry(others[0], 1_000_000, 1, forged)  # type: ignore[arg-type]
    bus = ForgedBus(msgspec.msgpack.encode([entry]))
    store = open_directory(world, folder, HomeRegion(region))
    try:
        plane = SharedPlane(region, frozenset({region, *others}), store.shared, bus)
        before = (await store.shared.heads()).get(others[0])
        try:
            await plane.append([forged], 0.0)  # type: ignore[list-item]
        except MoonbowError:
            sent = bool(bus.said)
        else:
            sent = True
        await plane.catch_up(others[0])
        return sent, (await store.shared.heads()).get(others[0]) != before or not plane.refused_total
    finally:
        await store.close()


async def try_sql(world: World, state: Path, sites: Sequence[SiteRef], book: Book) -> None:
    """A region's cluster opens for no other region's certificate, and its database for no other home."""
    for ref in sites:
        if world.regions[ref.region].data.sql != "galera":
            continue
        way = sql_way(world, state, ref.region, ref.site.name)
        way = way._replace(hosts=way.hosts[:1])
        for other in (name for name in world.regions if name != ref.region):
            held, said = await asyncio.to_thread(is_refused, way, *_shown_by(state, other))
            book.held("sql_foreign_user", f"{ref.site.name}/sql", held, f"{other}: {said}", ref.region)
            held, said = await asyncio.to_thread(is_bound, way, HomeRegion(other))
            book.held("foreign_home", f"{ref.site.name}/sql", held, said, ref.region)


def _shown_by(state: Path, region: str) -> tuple[Path, Path]:
    """What a client of `region` would show: its own for SQL, or for the bus where it has no cluster."""
    stem = state / "pki" / sql_client(region)
    if not stem.with_suffix(".crt").exists():
        stem = state / "pki" / f"bus-r-{region}"
    return stem.with_suffix(".crt"), stem.with_suffix(".key")


async def try_bus(world: World, state: Path, sites: Sequence[SiteRef], book: Book) -> None:
    """A region's bus user gets into no other region's bus, and on the border it neither says nor hears as another."""
    regions = list(dict.fromkeys(ref.region for ref in sites))
    for ref in sites:
        for other in world.regions:
            if other == ref.region:
                continue
            await _try_entering(world, state, ref, "bus", other, book)
            await _try_entering(world, state, ref, "border", other, book)
    for region in regions:
        ref = next(ref for ref in sites if ref.region == region)
        for other in (name for name in world.regions if name != region):
            await _try_subjects(world, state, ref, other, book)


async def _try_entering(
    world: World, state: Path, ref: SiteRef, server: Server, other: str, book: Book
) -> None:  # fmt: skip
    """The user of another region at this site's own server."""
    account = "r" if server == "bus" else "x"
    url = server_urls(world, ref, server)[0]
    trial = await try_user(url, user_files(state, other, account), f"_INBOX.{other}")
    said = f"lets the user of {other} in" if trial.entered else f"could not be tried: {trial.said}"
    if trial.refused:
        said = f"the user of {other} is not let in"
    book.held("bus_foreign_user", f"{ref.site.name}/{server}", trial.refused, said, ref.region)


async def _try_subjects(world: World, state: Path, ref: SiteRef, other: str, book: Book) -> None:
    """What the region's own user must not do on the border, and as a control what it may."""
    region, place = ref.region, f"{ref.site.name}/border"
    publish = [subjects.live_to(other, region, "live"), subjects.rpc(region, other, "x"), subjects.shared(other, "log")]
    hear = [subjects.live_heard(other, "live"), subjects.rpc_served(other), f"_INBOX.{other}.>"]
    mine = subjects.rpc_served(region)
    files = user_files(state, region, "x")
    trial = await try_user(server_urls(world, ref, "border")[0], files, f"_INBOX.{region}", publish, [*hear, mine])
    if not trial.entered:
        book.held("bus_foreign_subject", place, False, f"could not be tried: {trial.said}", region)
        return
    passed = sorted({*publish, *hear} - trial.denied)
    said = f"{region} may not say or hear as {other}" if not passed else f"{region} may use {', '.join(passed)}"
    book.held("bus_foreign_subject", place, not passed, said, region)
    if mine in trial.denied:
        book.held("bus_own_subject", place, False, f"{region} may not even hear what is sent to it", region)
