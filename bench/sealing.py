"""What sealing costs an append and a page of the embedded store: CPU of the process, sealed and plain in one run.

`python -m bench.sealing`: microseconds of CPU per append (batches of 64, as a busy gateway's) and per page of 50.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from moonbow.base.ids import new_id
from moonbow.stores import vault_sql
from moonbow.stores.home import HomeRegion
from moonbow.stores.sql import Sql
from moonbow.stores.timeline_sqlite import SqliteTimeline
from moonbow.stores.vault_sql import VaultSql
from moonbow.timeline import policy, transactions
from moonbow.timeline.model import Post, text_body
from moonbow.timeline.ports import Store
from moonbow.vault.adapters.keyfile import RegionKeyFile
from moonbow.vault.plain import NoKeys
from moonbow.vault.ports import Keys
from moonbow.vault.process import Vault

HOME = HomeRegion("emea")
ADA, ROOM, COMPANY = (new_id(kind, HOME.name) for kind in ("usr", "rom", "org"))
BATCHES, BATCH, PAGES, ROUNDS = 100, 64, 400, 5
BODY = text_body("x" * 120)


def post() -> Post:
    return Post(ADA, ROOM, str(uuid.uuid4()), BODY)


async def appends(store: Store) -> float:
    """Microseconds of CPU per append."""
    began = time.process_time()
    for _ in range(BATCHES):
        posts = [post() for _ in range(BATCH)]
        await asyncio.gather(*(store.write(transactions.post, post) for post in posts))
    return (time.process_time() - began) / (BATCHES * BATCH) * 1e6


async def pages(store: Store) -> float:
    """Microseconds of CPU per page of 50 with its bodies."""
    rows, _, _ = await store.read(policy.page_before, ADA, ROOM, 2**60, 50)
    entries = [row.entry or "" for row in rows]
    began = time.process_time()
    for _ in range(PAGES):
        await store.read(lambda reads: reads.bodies(entries))
    return (time.process_time() - began) / PAGES * 1e6


async def measure(folder: Path, keys: Keys, found: dict[str, list[float]]) -> None:
    """One round on the store in `folder`."""
    await keys.provide(ADA, COMPANY)
    store = SqliteTimeline(folder / "timeline.db", HOME, keys.sealer)
    try:
        if await store.read(lambda reads: reads.stream(ROOM)) is None:
            await store.write(transactions.create_room, ROOM, ADA, ())
        found["append"].append(await appends(store))
        found["page of 50"].append(await pages(store))
    finally:
        store.close()


def vault_in(folder: Path) -> Vault:
    rows = VaultSql(Sql.sqlite(folder / "keys.db", HOME, vault_sql.TABLES))
    return Vault(HOME.name, rows, RegionKeyFile(folder / "region.key", HOME.name))


def play(folders: Sequence[Path]) -> dict[str, dict[str, list[float]]]:
    """Rounds of both in turn, so that a busy machine is busy for both."""
    vault = vault_in(folders[1])
    kinds: dict[str, Keys] = {"plain": NoKeys(), "sealed": vault}
    found = {name: {"append": list[float](), "page of 50": list[float]()} for name in kinds}
    for _ in range(ROUNDS):
        for folder, (name, keys) in zip(folders, kinds.items(), strict=True):
            asyncio.run(measure(folder, keys, found[name]))
    asyncio.run(vault.close())
    return found


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        found = play((Path(one), Path(other)))
    for what in ("append", "page of 50"):
        plain, sealed = (statistics.median(found[name][what]) for name in ("plain", "sealed"))
        print(f"{what:12} plain {plain:7.1f} us   sealed {sealed:7.1f} us   +{sealed - plain:5.1f} us")


if __name__ == "__main__":
    main()
