"""Serves the answers to a snapshot through a knotd that somebody else starts (`moonbow.director.knot`)."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict

import dns.rcode

from moonbow.director.desk import Counts
from moonbow.director.knot_config import KnotSettings
from moonbow.director.snapshot import Snapshot

from .knot import KnotDriver
from .knot_control import Unit


class KnotServing:
    """Same face as the embedded name server; what it counts is what Knot counts, and how well Knot follows."""

    def __init__(self, settings: KnotSettings, snapshot: Snapshot) -> None:
        self._settings = settings
        self._snapshot = snapshot
        self._driver: KnotDriver | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """Where Knot listens."""
        return self._settings.listen[0][1]

    async def open(self) -> None:
        """Drive from now on; Knot itself answers before, and goes on when we stop."""
        self._driver = KnotDriver(self._settings)
        self._driver.offer(self._snapshot)
        self._task = asyncio.create_task(self._driver.run())

    async def close(self) -> None:
        """Drive no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def serve(self, snapshot: Snapshot) -> None:
        """Have Knot answer from `snapshot` as soon as it can."""
        self._snapshot = snapshot
        if self._driver is not None:
            self._driver.offer(snapshot)

    def counts(self) -> Counts:
        """Replies by rcode, and the driver's own numbers."""
        found = Counts()
        if self._driver is None:
            return found
        count_replies(found, self._driver.said)
        status = self._driver.status
        found.knot = {"in_step": float(status.in_step), "behind_seconds": status.behind_s}
        found.knot |= {"applied_seconds": status.applied_s, "snapshot": float(status.snapshot)}
        found.knot |= {f"{name}_total": float(number) for name, number in asdict(status.counts).items()}
        return found


def count_replies(into: Counts, said: list[Unit]) -> None:
    """Knot's statistics (modules stats and rrl) as ours."""
    for unit in said:
        number = int(unit.get("data", "0"))
        match unit.get("section"), unit.get("item"):
            case "mod-stats", "response-code":
                with contextlib.suppress(dns.rcode.UnknownRcode):
                    into.replies["knot", int(dns.rcode.from_text(unit.get("id", "")))] += number
            case "mod-rrl", ("slipped" | "dropped") as fate:
                into.limited[str(fate)] += number
            case _:
                pass
