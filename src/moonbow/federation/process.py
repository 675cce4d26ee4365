"""Between regions: ships outboxes, keeps order copies, answers and asks for bodies, passes live events on.

Everything here may run in any gateway of a region at any time, twice or not at all for a while: what is durable is in
the stores, and every step is safe to repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from prometheus_client import Counter

from moonbow.base import limits
from moonbow.base.errors import MoonbowError, Refused, Unavailable
from moonbow.base.ids import home, new_id, parse_id
from moonbow.base.steady import steadily
from moonbow.timeline import policy, transactions
from moonbow.timeline.model import BodyAnswer, Fresh, Outgoing, Row
from moonbow.timeline.ports import Reads, Store
from moonbow.wire import subjects

from . import border, model, recovery
from .model import UNREADABLE, Live, LiveBody, LiveRow, pack, unpack, unpack_live

log = logging.getLogger(__name__)
SHIPPED = Counter("moonbow_federation_shipped_total", "Effects shipped to another region and settled", ["dest"])
COPIED = Counter("moonbow_federation_copied_total", "Order rows added to copies of rooms homed elsewhere")
ASKED = Counter("moonbow_federation_bodies_total", "Bodies asked of other regions", ["owner", "state"])
DROPPED = Counter("moonbow_federation_dropped_total", "Live messages not sent because too many were waiting")
MALFORMED = Counter("moonbow_federation_malformed_total", "Messages that made no sense, or said too much", ["region"])
OUTGOING_MAX = 4_096
SHIP_QUEUES_MAX = 64  # queues of one region shipped at once
AGAIN_FIRST_S, AGAIN_MAX_S = 0.1, 0.8  # until a region that did not answer is asked again: doubled each time
TROUBLE_S = 0.5  # between two looks at all copies because live events may have been lost
RECOVER_S = 1.0  # between two rounds of asking, after a restore
TAIL_ROWS_MAX = 500
TAIL_ROOMS_MAX = 200


class Bus(Protocol):
    """What federation needs of the bus (`moonbow.bus.client.Bus`)."""

    async def publish_region(self, subject: str, payload: bytes) -> None: ...
    async def publish(self, subject: str, payload: bytes) -> None: ...
    async def request(self, region: str, op: str, payload: bytes, timeout_s: float = limits.RPC_TIMEOUT_S) -> bytes: ...


class Federation:
    """One gateway's share of its region's dealings with the others.

    `show(live)` is given what this gateway's own sessions should see of what it copied or heard;
    `leads()` says whether this gateway does the region's background work now.
    """

    def __init__(
        self, sender: str, regions: Iterable[str], store: Store, bus: Bus, show: Callable[[Live], None],
        leads: Callable[[], bool], clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.sender, self.store, self.bus, self.show, self.leads = sender, store, bus, show, leads
        self.clock = clock
        self.region = store.region
        self.others = tuple(r for r in regions if r != self.region)
        self._shipping: dict[str, dict[str, asyncio.Event]] = {region: {} for region in self.others}
        self._ship_after: dict[str, str] = {}
        self._silent: dict[str, float] = {}  # regions that did not answer: how long we wait before we ask again
        self._asks_at: dict[str, float] = {}
        self._kick = asyncio.Event()
        self._tail_now: set[str] = set()
        self._tail_kick = asyncio.Event()
        self._troubled = asyncio.Event()
        self._outgoing: deque[tuple[str | None, str, bytes]] = deque()
        self._told = asyncio.Event()

    # -- after a commit of ours ------------------------------------------------------------------------------------

    def publish(self, fresh: list[Fresh], queued: bool) -> None:
        """Tell the region and the others of committed rows.  Losing this is repaired by comparison and tailing."""
        if queued:
            self._kick.set()
        rows = [LiveRow(f.row, f.body) for f in fresh]
        for live in model.batches(self.sender, rows):
            self._say(None, subjects.LIVE, pack(live))
        to: dict[str, list[LiveRow]] = {}
        bodies: dict[str, list[LiveBody]] = {}
        now_ms = int(self.clock() * 1000)
        for f in fresh:
            for region in f.row_regions:
                to.setdefault(region, []).append(LiveRow(f.row))
            if f.body is not None and f.row.entry and f.row.author:
                body = LiveBody(f.row.stream, f.row.entry, f.row.author, f.body, now_ms)
                for region in f.body_regions:
                    bodies.setdefault(region, []).append(body)
            if f.row.kind == "added" and f.row.target and home(f.row.target) != self.region:
                self.tail(f.row.target)
        for region in sorted({*to, *bodies}):
            for live in model.batches(self.sender, to.get(region, [])) or [Live(self.sender)]:
                message = Live(self.sender, live.rows, bodies.pop(region, []))
                self._say(region, subjects.live_to(self.region, region, "live"), pack(message))

    def signal(self, live: Live, regions: Iterable[str]) -> None:
        """Tell the region, and `regions`, of something that is never stored."""
        payload = pack(live)
        self._say(None, subjects.LIVE, payload)
        for region in regions:
            self._say(region, subjects.live_to(self.region, region, "live"), payload)

    def _say(self, region: str | None, subject: str, payload: bytes) -> None:
        """Queue a live message, for our own region when `region` is None.  What does not fit is repaired later."""
        if len(self._outgoing) >= OUTGOING_MAX:
            DROPPED.inc()
            return
        self._outgoing.append((region, subject, payload))
        self._told.set()

    async def _say_forever(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            while self._outgoing:
                region, subject, payload = self._outgoing.popleft()
                with contextlib.suppress(Unavailable):
                    await (self.bus.publish_region if region is None else self.bus.publish)(subject, payload)

    # -- live events from other regions ----------------------------------------------------------------------------

    async def heard(self, subject: str, payload: bytes) -> None:
        """Live events of another region, to one gateway of ours: copy the rows, pass the bodies on in memory."""
        source = subject.split(".")[1]
        try:
            live = unpack_live(payload)
        except UNREADABLE:
            MALFORMED.labels(source).inc()
            return
        rows, bodies, signals = border.admit_live(live, source, int(self.clock() * 1000))
        if len(rows) + len(bodies) + len(signals) < len(live.rows) + len(live.bodies) + len(live.signals):
            MALFORMED.labels(source).inc()
        if rows:
            with contextlib.suppress(Unavailable):
                await self._copy(rows)
        if bodies or signals:
            passed = Live(self.sender, [], bodies, signals)
            self.show(passed)
            self._say(None, subjects.LIVE, pack(passed))

    async def _copy(self, rows: list[Row]) -> None:
        added = await self.store.write(transactions.copy_rows, rows)
        COPIED.inc(added)
        if added < len(rows):
            for room in sorted({row.stream for row in rows}):
                self.tail(room)

    # -- requests from other regions -------------------------------------------------------------------------------

    async def serve(self, caller: str, op: str, payload: bytes) -> bytes:
        """Answer a request of region `caller`.  `Refused` for what it may not ask."""
        try:
            match op:
                case "timeline.apply":
                    ask = unpack(payload, model.ApplyRequest)
                    border.check_effects(ask, (self.region, *self.others))
                    effects = ask.effects[: limits.SHIP_BATCH_MAX]
                    answers = await self.store.write(transactions.apply, caller, ask.epoch, ask.stream, effects)
                    return pack(model.ApplyAnswer(answers))
                case "timeline.tail":
                    ask = unpack(payload, model.TailRequest)
                    border.check_numbers(ask.heads.values())
                    return pack(await self.store.read(tail_rows, caller, ask.heads))
                case "timeline.copies":
                    ask = unpack(payload, model.CopiesRequest)
                    return pack(await self.store.read(recovery.copies_of, caller, ask.after))
                case "timeline.bodies":
                    ask = unpack(payload, model.BodiesRequest)
                    entries = ask.entries[: limits.BODIES_BATCH_MAX]
                    found = await self.store.read(policy.bodies_for, caller, ask.room, entries, ask.as_of)
                    return pack(model.BodiesAnswer(fitting(found)))
                case "timeline.direct":
                    ask = unpack(payload, model.DirectRequest)
                    return pack(model.RoomAnswer(await self._direct(caller, ask.creator, ask.other)))
                case _:
                    pass
        except UNREADABLE as error:
            MALFORMED.labels(caller).inc()
            raise Refused("malformed", str(error)) from error
        raise Refused("op_unknown", f"there is no request {op!r}", status=404)

    async def _direct(self, caller: str, creator: str, other: str) -> str:
        parse_id(creator, "usr", place="$.creator")
        parse_id(other, "usr", place="$.other")
        if home(other) not in (self.region, *self.others):
            raise Refused("region_unknown", f"there is no region {home(other)!r}", status=404, place="$.other")
        if home(creator) != caller or policy.direct_home(creator, other) != self.region:
            raise Refused("forbidden", "a region asks for its own people, at the room's home", status=403)
        return await self.store.write(transactions.create_room, new_id("dir", self.region), creator, (other,))

    # -- requests of ours ------------------------------------------------------------------------------------------

    async def direct_room(self, creator: str, other: str) -> str:
        """The direct room of two people, made at its home if need be.  `Unavailable` when that cannot be reached."""
        there = policy.direct_home(creator, other)
        if there == self.region:
            return await self.store.write(transactions.create_room, new_id("dir", there), creator, (other,))
        answer = await self.bus.request(there, "timeline.direct", pack(model.DirectRequest(creator, other)))
        room: str = _answered(there, answer, model.RoomAnswer).room
        if border.region_of(room, "dir") != there:
            raise Unavailable("answer_malformed", f"{there} answered with no room of its own", region=there)
        self.tail(room)
        return room

    async def bodies(self, owner: str, room: str, entries: list[str], as_of: int) -> list[BodyAnswer]:
        """Bodies of entries of one room from their author's region; `Unavailable` when it cannot be reached."""
        ask = model.BodiesRequest(room, entries[: limits.BODIES_BATCH_MAX], as_of)
        try:
            answer = await self.bus.request(owner, "timeline.bodies", pack(ask))
        except Unavailable:
            ASKED.labels(owner, "unreachable").inc(len(entries))
            raise
        found = border.admit_bodies(_answered(owner, answer, model.BodiesAnswer).answers, ask.entries)
        ASKED.labels(owner, "answered").inc(len(found))
        return found

    async def recover(self) -> None:
        """After a restore, before anything is served: take back what the other regions' copies hold of our rooms."""
        while waiting := await self.store.read_latest(transactions.unheard):
            log.warning("restored: asking others what they hold of our rooms", extra={"f": {"regions": waiting}})
            for region in waiting:
                with contextlib.suppress(Unavailable, Refused):
                    taken = await recovery.take_back(self.store, self.bus, region)
                    log.warning("taken back", extra={"f": {"from": region, "rows": taken}})
            await asyncio.sleep(RECOVER_S if await self.store.read_latest(transactions.unheard) else 0)

    def tail(self, room: str) -> None:
        """Fetch what our copy of a room lacks, soon."""
        if len(self._tail_now) < 10_000:
            self._tail_now.add(room)
        self._tail_kick.set()

    def trouble(self, _reason: str) -> None:
        """The bus stands again, or a region does: ship what waits, and look for what live events may have been lost."""
        self._asks_at.clear()
        self._kick.set()
        self._troubled.set()

    # -- background ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ship and tail until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._say_forever())
            group.create_task(steadily(functools.partial(self._ship_forever, group)))
            group.create_task(steadily(self._tail_kicked))
            group.create_task(steadily(self._tail_sweep))

    async def _ship_forever(self, group: asyncio.TaskGroup) -> None:
        while True:
            kicked = True
            try:
                async with asyncio.timeout(1.0):
                    await self._kick.wait()
            except TimeoutError:
                kicked = False
            self._kick.clear()
            if not kicked and not self.leads():
                continue
            for dest in self.others:
                await self._ship_to(group, dest)

    async def _ship_to(self, group: asyncio.TaskGroup, dest: str) -> None:
        """Begin to ship what waits for a region, a bounded number of queues at once, and one while it is silent; the
        next sweep goes on behind them, so that queues which cannot move keep no place from others."""
        queues, after = self._shipping[dest], self._ship_after.pop(dest, "")
        while page := await self.store.read(_outbox_heads, dest, after):
            for stream in page:
                if stream in queues:
                    queues[stream].set()
                elif self._asks_at.get(dest, 0.0) > asyncio.get_running_loop().time():
                    return
                elif len(queues) >= (1 if dest in self._silent else SHIP_QUEUES_MAX):
                    self._ship_after[dest] = after
                    return
                else:
                    queues[stream] = asyncio.Event()
                    group.create_task(self._ship(dest, stream))
                after = stream

    async def _ship(self, dest: str, stream: str) -> None:
        """Ship one queue until it is empty or its destination does not answer."""
        queues = self._shipping[dest]
        again = queues[stream]
        try:
            while True:
                again.clear()
                waiting = await self.store.read(_outgoing, dest, stream)
                if not waiting and not again.is_set():
                    return
                if not waiting:
                    continue
                epoch = await self.store.read(_epoch)
                ask = model.ApplyRequest(epoch, stream, [(out.out_no, out.effect) for out in waiting])
                answer = await self.bus.request(dest, "timeline.apply", pack(ask))
                answers = _answered(dest, answer, model.ApplyAnswer).answers
                if self._silent.pop(dest, None) is not None:
                    self._kick.set()
                done = border.admit_fates(answers, [out.out_no for out in waiting])
                if not done:
                    log.warning("outbox out of step", extra={"f": {"dest": dest, "sent": waiting[0].out_no}})
                    return
                await self.store.write(transactions.settle_all, dest, stream, done)
                SHIPPED.labels(dest).inc(len(done))
        except Unavailable:
            self._wait_for(dest)
        except MoonbowError:
            return
        finally:
            del queues[stream]
            if len(queues) == SHIP_QUEUES_MAX // 2 and dest in self._ship_after:
                self._kick.set()

    def _wait_for(self, dest: str) -> None:
        """A region did not answer: ask it again by ourselves some times, then leave it to the sweep of who leads."""
        loop = asyncio.get_running_loop()
        if self._asks_at.get(dest, 0.0) > loop.time():
            return
        wait_s = min(AGAIN_MAX_S, 2 * self._silent.get(dest, AGAIN_FIRST_S / 2))
        self._silent[dest], self._asks_at[dest] = wait_s, loop.time() + wait_s
        if wait_s < AGAIN_MAX_S:
            loop.call_later(wait_s, self._kick.set)

    async def _tail_kicked(self) -> None:
        while True:
            await self._tail_kick.wait()
            self._tail_kick.clear()
            await asyncio.sleep(0.02)
            rooms = sorted(self._tail_now)
            heads = await self.store.read(_heads, rooms)
            self._tail_now.difference_update(rooms)
            await self._tail_rooms({room: heads.get(room, 0) for room in rooms})

    async def _tail_sweep(self) -> None:
        after = ""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.COMPARE_S):
                    await self._troubled.wait()
                    await asyncio.sleep(TROUBLE_S)
            troubled = self._troubled.is_set()
            self._troubled.clear()
            if not self.others or not (troubled or self.leads()):
                continue
            while page := await self.store.read(_copies, after):
                after = page[-1][0]
                await self._tail_rooms(dict(page))
            after = ""

    async def _tail_rooms(self, heads: dict[str, int]) -> None:
        by_home: dict[str, dict[str, int]] = {}
        for room, head in heads.items():
            by_home.setdefault(home(room), {})[room] = head
        await asyncio.gather(*(self._tail_home(there, wanted) for there, wanted in by_home.items()))

    async def _tail_home(self, there: str, wanted: dict[str, int]) -> None:
        if there not in self.others:
            return
        more = True
        try:
            while more:
                some = dict(list(wanted.items())[:TAIL_ROOMS_MAX])
                answer = _answered(
                    there,
                    await self.bus.request(there, "timeline.tail", pack(model.TailRequest(some))),
                    model.TailAnswer,
                )
                rows = [row for row in border.admit_rows(answer.rows, there) if row.stream in some]
                if rows:
                    await self._copy_quietly(rows)
                    wanted.update({row.stream: row.seq for row in rows})
                if not answer.more or not rows:
                    for room in some:
                        wanted.pop(room, None)
                more = bool(wanted)
        except MoonbowError:
            return

    async def _copy_quietly(self, rows: list[Row]) -> None:
        COPIED.inc(await self.store.write(transactions.copy_rows, rows))


def _answered(region: str, payload: bytes, kind: type[Any]) -> Any:
    """The answer of another region; `Unavailable` when it makes no sense."""
    try:
        return unpack(payload, kind)
    except UNREADABLE as error:
        MALFORMED.labels(region).inc()
        raise Unavailable(
            "answer_malformed", f"{region} answered what cannot be read: {error}", region=region
        ) from error


def tail_rows(store: Reads, caller: str, heads: dict[str, int]) -> model.TailAnswer:
    """Rows beyond copies' heads, for a region that has or had a member in each room asked for; and for a restored
    one, beyond the heads of its own rooms."""
    rows: list[Row] = []
    for room, head in list(heads.items())[:TAIL_ROOMS_MAX]:
        there = border.region_of(room, "rom", "dir")
        stream = store.stream(room) if there in (store.region, caller) else None
        if stream is None or not (there == caller or caller in stream.regions) or stream.head <= head:
            continue
        room_left = TAIL_ROWS_MAX - len(rows)
        if room_left <= 0:
            return model.TailAnswer(rows, more=True)
        found = store.rows_after(stream, head, room_left)
        rows += found
        if found and found[-1].seq < stream.head:
            return model.TailAnswer(rows, more=True)
    return model.TailAnswer(rows, more=False)


def fitting(answers: list[BodyAnswer], bytes_max: int = 700_000) -> list[BodyAnswer]:
    """As many answers as fit one message; the rest say `not_yet` and are asked for again."""
    size = 0
    found = []
    for answer in answers:
        size += len(answer.body or b"") + 80
        found.append(answer if size <= bytes_max else BodyAnswer(answer.entry, "not_yet"))
    return found


def _outbox_heads(store: Reads, dest: str, after: str) -> list[str]:
    return store.outbox_heads(dest, after, 500)


def _outgoing(store: Reads, dest: str, stream: str) -> list[Outgoing]:
    return store.outgoing(dest, stream, limits.SHIP_BATCH_MAX)


def _epoch(store: Reads) -> int:
    return store.epoch()


def _heads(store: Reads, rooms: list[str]) -> dict[str, int]:
    return store.heads(rooms)


def _copies(store: Reads, after: str) -> list[tuple[str, int]]:
    return store.copies(after, TAIL_ROOMS_MAX)
