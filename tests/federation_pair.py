"""Two regions with real stores and real federation; only the bus between them is a function call that may be cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from moonbow.base import limits
from moonbow.base.errors import Unavailable
from moonbow.federation.model import Live
from moonbow.federation.process import Federation
from moonbow.timeline.ports import Store
from timeline_stores import SqliteAdapter

REGIONS = ("apac", "emea", "na")


class Line:
    """One region's bus: hands requests and live messages of other regions straight to their federation."""

    def __init__(self, region: str, sides: dict[str, Side]) -> None:
        self.region, self.sides = region, sides
        self.cut: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.under_way = self.most_under_way = 0
        self.answer: Callable[[str, str, bytes], bytes] | None = None

    async def publish_region(self, subject: str, payload: bytes) -> None: ...

    async def publish(self, subject: str, payload: bytes) -> None:
        dest = subject.split(".")[3]
        if dest in self.sides and dest not in self.cut:
            await self.sides[dest].federation.heard(subject, payload)

    async def request(self, region: str, op: str, payload: bytes, timeout_s: float = limits.RPC_TIMEOUT_S) -> bytes:
        self.asked.append((region, op))
        if self.answer is not None:
            return self.answer(region, op, payload)
        if region not in self.sides or region in self.cut:
            await asyncio.sleep(0.01)
            raise Unavailable("home_unreachable", f"{region} does not answer", region=region)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            return await self.sides[region].federation.serve(self.region, op, payload)
        finally:
            self.under_way -= 1


class Side:
    """One region: its store, its federation, and what that gave its sessions to see."""

    def __init__(self, region: str, folder: Path, sides: dict[str, Side]) -> None:
        self.region = region
        self.store: Store = SqliteAdapter(folder / region).open(region)
        self.line = Line(region, sides)
        self.shown: list[Live] = []
        self.federation = Federation(f"gwy_{region}", REGIONS, self.store, self.line, self.shown.append, lambda: True)
        self.store.on_commit(self.federation.publish)
        sides[region] = self


async def with_sides(
    folder: Path, scenario: Callable[[dict[str, Side]], object], *regions: str, running: bool = True
) -> None:
    """Run a scenario between regions, with their background work if `running`."""
    sides: dict[str, Side] = {}
    for region in regions:
        Side(region, folder, sides)
    tasks = [asyncio.create_task(side.federation.run()) for side in sides.values()] if running else []
    try:
        done = scenario(sides)
        assert asyncio.iscoroutine(done)
        await done
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for side in sides.values():
            side.store.close()
