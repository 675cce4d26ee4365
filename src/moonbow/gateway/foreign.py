"""Bodies that rest in other regions: from memory, or from their authors' regions; kept no longer than `BODY_TTL_S`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import Gauge

from moonbow.base import limits
from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home
from moonbow.federation.process import Federation
from moonbow.timeline.model import Row
from moonbow.timeline.ports import Store
from moonbow.wire import values

from . import questions
from .live import Live

FOREIGN = Gauge("moonbow_gateway_foreign_bodies", "Bodies of other regions in memory")
OLDEST = Gauge("moonbow_gateway_foreign_bodies_oldest_seconds", "Age of the oldest of them; 0 if there is none")
FETCHES_MAX = 16
RETRY_S = 2.0
PUSH_S = 0.05  # for a body to come by itself before it is asked for: most are pushed

Found = dict[str, tuple[values.State, bytes | None]]


class Foreign:
    """The bodies that one gateway fetches, for its sessions and for pages of history."""

    def __init__(
        self, live: Live, store: Store, clock: Callable[[], float],
        deliver: Callable[[str, str, str, bytes | None], None], stir: Callable[[], None],
    ) -> None:  # fmt: skip
        self.federation: Federation | None = None
        self._live, self._store, self._clock = live, store, clock
        self._deliver, self._stir = deliver, stir
        self._wanted = asyncio.Event()
        self._asking: dict[str, float] = {}  # entry -> not to be asked for again before
        self._fetches = asyncio.Semaphore(FETCHES_MAX)
        FOREIGN.set_function(lambda: len(live.bodies))
        OLDEST.set_function(lambda: live.bodies.oldest_s(clock()))

    def wake(self) -> None:
        """Sessions wait for bodies."""
        self._wanted.set()

    async def fetch_now(self, rows: Sequence[Row]) -> Found:
        """Bodies of foreign entries, from memory or from their authors' regions within about a second."""
        found: Found = {}
        absent: list[Row] = []
        for row in rows:
            body = self._live.bodies.get(row.entry or "", self._clock())
            if body is not None:
                found[row.entry or ""] = ("ok", body)
            else:
                absent.append(row)
        groups = list(_by_owner(absent).items())
        for answers in await asyncio.gather(*(self._ask(owner, room, some) for (owner, room), some in groups)):
            found.update(answers)
        return found

    async def _ask(self, owner: str, room: str, rows: Sequence[Row]) -> Found:
        """Ask an owner for bodies.  `held` stands for what cannot be had now, `waiting` for not yet."""
        found: Found = {row.entry or "": ("held", None) for row in rows}
        authors = {row.entry or "": row.author or "" for row in rows}
        if self.federation is None:
            return found
        asked_at = self._clock()
        async with self._fetches:
            try:
                answers = await self.federation.bodies(owner, room, list(found), max(row.seq for row in rows))
            except (Unavailable, Refused):
                return found
        until = asked_at + limits.BODY_TTL_S
        gone = await self._store.read(questions.gone, list(found))
        for answer in answers:
            if answer.entry not in found:
                continue
            if answer.entry in gone or answer.state in ("erased", "hidden"):
                found[answer.entry] = ("erased", None)
            elif answer.state == "not_yet" or until <= self._clock():
                found[answer.entry] = ("waiting", None)
            elif answer.body is not None:
                self._live.bodies.keep(answer.entry, authors[answer.entry], answer.body, until)
                found[answer.entry] = ("ok", answer.body)
        return found

    async def fetch_forever(self, group: asyncio.TaskGroup) -> None:
        """Fetch what sessions wait for, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await asyncio.sleep(PUSH_S)
            now = self._clock()
            wants = self._live.wants
            due = [entry for entry in wants if self._asking.get(entry, 0.0) <= now]
            rows = await self._store.read_latest(questions.rows_of, due)  # may be ahead of this site's node
            for (owner, room), some in _by_owner(rows).items():
                for start in range(0, len(some), limits.BODIES_BATCH_MAX):
                    part = some[start : start + limits.BODIES_BATCH_MAX]
                    self._asking.update({row.entry or "": now + RETRY_S for row in part})
                    group.create_task(self._fetch(owner, room, part))
            self._asking = {entry: at for entry, at in self._asking.items() if entry in wants}

    async def _fetch(self, owner: str, room: str, rows: Sequence[Row]) -> None:
        with contextlib.suppress(Unavailable):  # asked again after `RETRY_S`
            for entry, (state, body) in (await self._ask(owner, room, rows)).items():
                if state == "waiting":
                    self._asking[entry] = self._clock() + 0.2
                else:
                    self._deliver(room, entry, state, body)
        self._stir()


def _by_owner(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((home(row.entry or ""), row.stream), []).append(row)
    return groups
