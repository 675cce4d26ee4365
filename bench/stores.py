"""What an append costs in each store of the timeline, and a page of fifty, all sealed: measured alike in one run.

`./moonbow bench --only stores [--seconds N] [--json FILE]`.  Galera is a private region of two sites and a witness with
TLS everywhere, as `moonbow up` starts it; each writing site is a process of its own, as a gateway is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from moonbow.base.ids import base32
from moonbow.launch.state import prepare_state
from moonbow.stores.home import HomeRegion
from moonbow.stores.mariadb_link import Nodes
from moonbow.stores.sql import Sql
from moonbow.stores.timeline_mariadb import MariaTimeline
from moonbow.stores.timeline_mongo import MongoTimeline
from moonbow.stores.timeline_sqlite import SqliteTimeline
from moonbow.stores.timeline_thread import WritingStore
from moonbow.stores.vault_sql import KEYS, VaultSql
from moonbow.timeline import policy, transactions
from moonbow.timeline.homes import home_site
from moonbow.timeline.model import Post, text_body
from moonbow.timeline.ports import Store
from moonbow.vault.adapters.keyfile import RegionKeyFile
from moonbow.vault.ports import Sealer
from moonbow.vault.process import Vault
from moonbow.world import Ports, World, load_world, parse_world, site_address, sql_way

from .meter import cpu_s, tree
from .mongo import mongo_server
from .moonbow_world import file_system, work_folder

REGION, SITES, WITNESS = "emea", ("paris", "frankfurt"), "madrid"
WORLD = """
name = "stores"
domain = "moonbow.localhost"
slot = 11
[regions.emea]
title = "Europe"
data = { sql = "galera" }
sites = [{ name = "paris", city = "Paris", at = [48.9, 2.4] }, { name = "frankfurt", city = "F", at = [50.1, 8.7] },
         { name = "madrid", city = "Madrid", at = [40.4, -3.7], kind = "witness" }]
[traffic]
default = "emea"
"""
WRITERS = (1, 64, 1_000)
ROOMS = 1_000
BODY = text_body("a message of the usual length, about as long as what people write to each other at work" * 2)
READY_S = 90.0
PAGES = 400
START_S = 2.0  # for every process to open its store before the load begins


class Load(NamedTuple):
    """One measurement: who writes how many at once into how many rooms."""

    store: str
    sites: tuple[str, ...]
    writers: int
    rooms: int


class Row(NamedTuple):
    """What came of it; CPU in microseconds an append, the database's own processes apart."""

    load: Load
    per_s: float
    p50_ms: float
    p99_ms: float
    client_us: float
    server_us: float
    retries: int
    page_ms: float
    machine: float


class Part(NamedTuple):
    """One process's share."""

    times_s: list[float]
    cpu_s: float
    retries: int
    page_ms: float


def run(seconds: float, json: Path | None, console: Console) -> int:
    """The whole benchmark."""
    rows: list[Row] = []
    with work_folder() as folder:
        console.print(f"data on {file_system(folder)}; load average {os.getloadavg()[0]:.1f}")
        for writers in WRITERS:
            for rooms in (1, ROOMS):
                rows.append(_measure(folder, Load("SQLite", ("here",), writers, rooms), seconds, (), console))
        with mongo_server(folder) as server:
            (folder / "mongodb").write_text(server.address)
            for writers in WRITERS:
                load = Load("MongoDB wire", ("here",), writers, 1)
                rows.append(_measure(folder, load, seconds, [server.pid] if server.pid else [], console))
        with _cluster(folder / "galera") as servers:
            for sites in (SITES[:1], SITES):
                for writers in WRITERS:
                    for rooms in (1, ROOMS):
                        rows.append(_measure(folder, Load("Galera", sites, writers, rooms), seconds, servers, console))
    _show(console, rows)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1))
    return 0


def _measure(folder: Path, load: Load, seconds: float, servers: Sequence[int], console: Console) -> Row:
    with ProcessPoolExecutor(len(load.sites), get_context("spawn")) as pool:
        pool.submit(_prepare, folder, load).result()
        before, begin_at = sum(map(cpu_s, servers)), time.time() + START_S
        running = [pool.submit(_write, folder, load, site, begin_at, seconds) for site in load.sites]
        parts = [future.result() for future in running]
    server_s = sum(map(cpu_s, servers)) - before
    times = sorted(took for part in parts for took in part.times_s)
    count = max(len(times), 1)
    row = Row(
        load, count / seconds, times[count // 2] * 1e3, times[count * 99 // 100] * 1e3,
        sum(part.cpu_s for part in parts) / count * 1e6, server_s / count * 1e6,
        sum(part.retries for part in parts), min(part.page_ms for part in parts), os.getloadavg()[0],
    )  # fmt: skip
    console.print(f"[dim]load {row.machine:4.1f}[/] {_title(load)}: {row.per_s:,.0f}/s, page {row.page_ms:.2f} ms")
    return row


# -- in processes of their own -----------------------------------------------------------------------------------------


def _prepare(folder: Path, load: Load) -> None:
    """The rooms, and who writes in them: everybody in the one, somebody in each of many."""

    async def go() -> None:
        async with _opened(folder, load, load.sites[0]) as (store, keys):
            people = [_id("usr", n) for n in range(load.writers)]
            await keys.provide_all(_id("org", 0), people)
            for n, ident in enumerate(_rooms(load)):
                members = people if load.rooms == 1 else [people[n % load.writers]]
                await store.write(transactions.create_room, ident, members[0], tuple(members[1:]))

    uvloop.run(go())


def _write(folder: Path, load: Load, site: str, begin_at: float, seconds: float) -> Part:
    """Write from `begin_at` on, then read pages alone."""

    async def go() -> Part:
        async with _opened(folder, load, site) as (store, _):
            await asyncio.sleep(begin_at - time.time())
            cpu, times = time.process_time(), await _append(store, load, site, seconds)
            cpu = time.process_time() - cpu
            page_ms = await _page_ms(store, _rooms(load)[0])
            return Part(times, cpu, store.retries if isinstance(store, MariaTimeline) else 0, page_ms)

    return uvloop.run(go())


async def _append(store: Store, load: Load, site: str, seconds: float) -> list[float]:
    """How long each append took.  In many rooms, each is written to by the site that commits to it."""
    until, times = time.perf_counter() + seconds, list[float]()
    rooms = list(enumerate(_rooms(load)))
    if load.rooms > 1:
        rooms = [(n, ident) for n, ident in rooms if home_site(ident, load.sites) == site]

    async def write(writer: int) -> None:
        turn = writer
        while (began := time.perf_counter()) < until:
            n, ident = rooms[turn % len(rooms)]
            author = _id("usr", writer if load.rooms == 1 else n % load.writers)
            answer = await store.write(transactions.post, Post(author, ident, str(uuid.uuid4()), BODY))
            assert answer.state == "placed", answer
            times.append(time.perf_counter() - began)
            turn += load.writers

    await asyncio.gather(*map(write, range(load.writers)))
    return times


async def _page_ms(store: Store, ident: str) -> float:
    """The newest fifty rows of a room with their texts, as a session is shown them: the median of many."""
    found, author = [], _id("usr", 0)
    head = (await store.read(lambda reads: reads.heads([ident])))[ident]
    for n in range(head, 100):
        await store.write(
            transactions.post, Post(author, ident, str(uuid.uuid5(uuid.NAMESPACE_OID, f"{ident} {n}")), BODY)
        )
    head = max(head, 100)
    for _ in range(PAGES):
        began = time.perf_counter()
        items, *_ = await store.read(policy.open_view, author, ident, head - 50, 50)
        found.append((time.perf_counter() - began) * 1e3)
        assert len(items) == 50
    return statistics.median(found)


@contextlib.asynccontextmanager
async def _opened(folder: Path, load: Load, site: str) -> AsyncGenerator[tuple[Store, Vault]]:
    """A store and the keys that it seals with, which lie in a file beside it."""
    home = HomeRegion(REGION)
    keys = Vault(
        REGION, VaultSql(Sql.sqlite(folder / "keys.db", home, KEYS)), RegionKeyFile(folder / "region.key", REGION)
    )
    store = _open(folder, load, site, home, keys.sealer)
    try:
        yield store, keys
    finally:
        store.close()
        await keys.close()


def _open(folder: Path, load: Load, site: str, home: HomeRegion, sealer: Sealer) -> WritingStore:
    if load.store == "MongoDB wire":
        return MongoTimeline((folder / "mongodb").read_text().format("bench"), home, sealer)
    if load.store == "SQLite":
        return SqliteTimeline(folder / f"{load.writers}-{load.rooms}" / "timeline.db", home, sealer)
    state = folder / "galera"
    return MariaTimeline(Nodes.of(sql_way(load_world(state / "world.toml"), state, REGION, site)), home, sealer)


def _rooms(load: Load) -> list[str]:
    """Rooms of this measurement alone."""
    first = (WRITERS.index(load.writers) + 10 * len(load.sites)) * 10 * ROOMS + load.rooms
    return [_id("rom", first + n) for n in range(load.rooms)]


def _id(kind: str, number: int) -> str:
    return f"{kind}_{REGION}_{base32(number)}"


# -- the cluster, and what is printed ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _cluster(state: Path) -> Iterator[list[int]]:
    """A region's data agents; the process ids of its database servers."""
    world = parse_world(WORLD)
    prepare_state(world, WORLD, state)
    agents = [_agent(state, site) for site in (*SITES, WITNESS)]
    try:
        until = time.monotonic() + READY_S
        while not all(_is_redundant(world, site) for site in (*SITES, WITNESS)):
            if time.monotonic() > until:
                raise TimeoutError(f"the cluster was not complete within {READY_S:.0f} s; see {state}/sites/*/logs")
            time.sleep(0.2)
        yield [pid for agent in agents for pid in tree(agent.pid)]
    finally:
        for agent in agents:
            agent.terminate()
        for agent in agents:
            agent.wait(60)


def _agent(state: Path, site: str) -> subprocess.Popen[bytes]:
    with (state / "sites" / site / "logs" / "data.jsonl").open("ab") as log:
        command = (sys.executable, "-P", "-m", "moonbow.data", "--state", str(state), "--site", site)
        return subprocess.Popen(command, stdout=log, stderr=log)


def _is_redundant(world: World, site: str) -> bool:
    address = site_address(world, world.site(site))
    with (
        contextlib.suppress(OSError),
        urllib.request.urlopen(f"http://{address}:{Ports.DATA}/status", timeout=2) as answer,
    ):
        return bool(msgspec.json.decode(answer.read())["redundant"])
    return False


def _title(load: Load) -> str:
    where = "" if load.store != "Galera" else ", one site" if len(load.sites) == 1 else ", both sites"
    return f"{load.store}{where}, {load.writers} writers, {'one room' if load.rooms == 1 else f'{load.rooms} rooms'}"


def _show(console: Console, rows: list[Row]) -> None:
    table = Table(title="Appends to the timeline, and a page of fifty", title_justify="left")
    table.add_column("store, writers of each site, rooms", no_wrap=True)
    for name in (
        "appends/s", "p50\nms", "p99\nms", "CPU us\nwriter", "CPU us\ndatabase", "run\nagain", "page p50\nms", "load",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            _title(row.load), f"{row.per_s:,.0f}", f"{row.p50_ms:.1f}", f"{row.p99_ms:.0f}", f"{row.client_us:.0f}",
            f"{row.server_us:.0f}", str(row.retries), f"{row.page_ms:.2f}", f"{row.machine:.1f}",
        )  # fmt: skip
    console.print(table)
