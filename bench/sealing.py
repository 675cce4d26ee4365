"""What sealing costs an append and a page of the embedded store: CPU of the process, sealed and plain in one run.

`python -m bench.sealing`: microseconds of CPU per append (batches of 64, as a busy gateway's) and per page of 50.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from timeline_stores import HOME, SealedSqliteAdapter, SqliteAdapter, make_room, new_post, person, room

from moonbow.timeline import policy, transactions
from moonbow.timeline.ports import Store

ADA, ROOM = person(1), room(1)
BATCHES, BATCH, PAGES, ROUNDS = 100, 64, 400, 5
TEXT = "x" * 120


async def appends(store: Store, turn: int) -> float:
    """Microseconds of CPU per append."""
    began = time.process_time()
    for no in range(BATCHES):
        posts = [new_post(ADA, ROOM, f"{turn}-{no}-{n}", TEXT) for n in range(BATCH)]
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


async def measure(adapter: SqliteAdapter, found: dict[str, list[float]], turn: int) -> None:
    store = adapter.open(HOME)
    try:
        if not turn:
            await make_room(store, ROOM, ADA)
        found["append"].append(await appends(store, turn))
        found["page of 50"].append(await pages(store))
    finally:
        store.close()


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        adapters = {"plain": SqliteAdapter(Path(one)), "sealed": SealedSqliteAdapter(Path(other))}
        found = {name: {"append": list[float](), "page of 50": list[float]()} for name in adapters}
        for turn in range(ROUNDS):
            for name, adapter in adapters.items():
                asyncio.run(measure(adapter, found[name], turn))
        for adapter in adapters.values():
            adapter.close()
    for what in ("append", "page of 50"):
        plain, sealed = (statistics.median(found[name][what]) for name in ("plain", "sealed"))
        print(f"{what:12} plain {plain:7.1f} us   sealed {sealed:7.1f} us   +{sealed - plain:5.1f} us")


if __name__ == "__main__":
    main()
