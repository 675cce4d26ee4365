"""Between the core (`live`), the store and the other regions: does what the core asks, repairs what the bus lost."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import Counter, Gauge

from moonbow.base import limits
from moonbow.base.clock import to_next_beat
from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home
from moonbow.base.steady import steadily
from moonbow.federation import model
from moonbow.federation.process import Federation
from moonbow.timeline import policy, transactions
from moonbow.timeline.model import Fresh, RoomView, Row, read_body
from moonbow.timeline.ports import Reads, Store
from moonbow.wire import stream as wire
from moonbow.wire import values

from .frames import encode, encode_body, rfc3339
from .live import Item, Live, Open, Session, Snapshot

log = logging.getLogger(__name__)
REPAIRED = Counter(
    "moonbow_gateway_repaired_total", "Rows that were read from the store because the bus did not bring them"
)
DELIVERED = Gauge("moonbow_gateway_delivered", "Rows and bodies written to sockets since the start")
FOREIGN = Gauge("moonbow_gateway_foreign_bodies", "Bodies of other regions in memory")
OLDEST = Gauge("moonbow_gateway_foreign_bodies_oldest_seconds", "Age of the oldest of them; 0 if there is none")
FETCHES_MAX = 16
RETRY_S = 2.0
PUSH_S = 0.05  # for a body to come by itself before it is asked for: most are pushed
REPLAY_ROWS = 40  # of the largest size still fit a client's buffer


class Flow:
    """One gateway's live side.  Everything runs on one loop; `show` and `committed` may be called at any time."""

    def __init__(self, sender: str, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.sender, self.store, self.clock = sender, store, clock
        self.region = store.region
        self.live = Live(store.region)
        self.federation: Federation | None = None
        self._work = asyncio.Event()
        self._wanted = asyncio.Event()
        self._torn = asyncio.Event()
        self._asking: dict[str, float] = {}  # entry -> not to be asked for again before
        self._fetches = asyncio.Semaphore(FETCHES_MAX)
        self._compare = asyncio.Event()
        self._showing: set[asyncio.Task[None]] = set()
        DELIVERED.set_function(lambda: self.live.delivered)
        FOREIGN.set_function(lambda: len(self.live.bodies))
        OLDEST.set_function(lambda: self.live.bodies.oldest_s(self.clock()))

    # -- events ----------------------------------------------------------------------------------------------------

    def committed(self, fresh: list[Fresh], queued: bool) -> None:
        """Rows of a commit of this process: show them here, then tell the others."""
        self.live.rows([Item(f.row, f.body) for f in fresh], self.clock())
        self._stir()
        if self.federation is not None:
            self.federation.publish(fresh, queued)

    def show(self, live: model.Live) -> None:
        """A live batch of another gateway of the region, or of our own federation."""
        now = self.clock()
        if live.rows:
            self.live.rows([Item(r.row, r.body) for r in live.rows], now)
        for body in live.bodies:
            self._take_body(body, now)
        for signal in live.signals:
            self._signal(signal)
        self._stir()

    def _take_body(self, body: model.LiveBody, now: float) -> None:
        until = body.read_ms / 1000 + limits.BODY_TTL_S - limits.CLOCK_SKEW_S
        if until > now and home(body.entry) != self.region and not self._is_gone(body.entry):
            self.live.bodies.keep(body.entry, body.author, body.body, until)
            self._deliver(body.room, body.entry, "ok", body.body)

    def _is_gone(self, entry: str) -> bool:
        return self.live.is_redacted(entry)

    def _deliver(self, room: str, entry: str, state: str, body: bytes | None) -> None:
        want = self.live.wants.get(entry)
        readers = list(want.sessions) if want is not None else []
        self.live.body(room, entry, state, body)
        if body is not None and readers and body.startswith(b'{"kind":"title"'):
            for session in readers:
                self.live.work.append(Open(session, room, True))

    def trouble(self, _reason: str) -> None:
        """Live events may have been lost: compare all heads now."""
        self._compare.set()

    def _stir(self) -> None:
        if self.live.work:
            self._work.set()
        if self.live.wants:
            self._wanted.set()
        if self.live.torn:
            self._torn.set()

    # -- sessions --------------------------------------------------------------------------------------------------

    async def hello(self, session: Session) -> tuple[list[values.Room], int]:
        """Begin a session that has nothing: its rooms and the head of its inbox; live from there on."""
        return await self._begin(session, {}, None)

    async def resume(
        self, session: Session, cursors: dict[str, int], missing: Sequence[str]
    ) -> tuple[list[values.Room], int]:
        """Begin a session that has cursors.  Its replay follows by `replay`."""
        return await self._begin(session, cursors, missing)

    async def _begin(
        self, session: Session, cursors: dict[str, int], missing: Sequence[str] | None
    ) -> tuple[list[values.Room], int]:
        self.live.add(session)
        inbox = "inb" + session.person[3:]
        try:
            views, heads = await self.store.read(_snapshot, session.person, inbox)
            now = self.clock()
            for ident, (head, member) in heads.items():
                if ident not in cursors:
                    self.live.begin(session, ident, head)
                    self.live.opened(session, ident, Snapshot([], head, member), now)
            rooms = await self.rooms(session.person, views, session)
        except BaseException:
            self.live.remove(session)  # nobody else would: its socket does not know it yet
            raise
        self._stir()
        return rooms, heads[inbox][0]

    async def replay(
        self,
        session: Session,
        cursors: dict[str, int],
        missing: Sequence[str],
        ready: Callable[[], asyncio.Future[None]],
    ) -> dict[str, int]:
        """Send what a resuming session missed, stream by stream; returns the streams to page anew, with their heads.

        `ready()` is awaited between streams, so that a slow client slows its own replay only.
        """
        resets: dict[str, int] = {}
        for ident, cursor in cursors.items():
            if session.closed:
                break
            head, known = await self.store.read(_may_follow, session.person, ident)
            if not known or cursor > head:  # another site has shown more than this site's node has
                head, known = await self.store.read_latest(_may_follow, session.person, ident)
            if not known:
                resets[ident] = 0
            elif cursor > head or head - cursor > limits.RESUME_ROWS_MAX:
                resets[ident] = head
                self.live.begin(session, ident, head)
                await self._open(Open(session, ident))
            else:
                self.live.begin(session, ident, cursor)
                await self._replay_stream(session, ident, cursor, ready)
        await self._send_missing(session, missing)
        self._stir()
        return resets

    async def _replay_stream(
        self, session: Session, ident: str, cursor: int, ready: Callable[[], asyncio.Future[None]]
    ) -> None:
        """One stream, in parts that a client's buffer can take."""
        complete = False
        while not complete and not session.closed:
            items, cursor, complete, member = await self.store.read(
                policy.open_view, session.person, ident, cursor, REPLAY_ROWS
            )
            snapshot = Snapshot([Item(*item) for item in items], cursor, member)
            if complete:
                self.live.opened(session, ident, snapshot, self.clock())
            else:
                self.live.show_part(session, ident, snapshot, self.clock())
            self._stir()
            await ready()

    async def _send_missing(self, session: Session, missing: Sequence[str]) -> None:
        for row, body in await self.store.read(_missing, session.person, list(missing)):
            if row.gone or (body is None and home(row.entry or "") == self.region):
                session.send(encode_body(row.stream, row.entry or "", "erased", None))
                continue
            body = body or self.live.bodies.get(row.entry or "", self.clock())
            if body is not None:
                session.send(encode_body(row.stream, row.entry or "", "ok", body))
            else:
                self.live.want(row, {session})

    def end(self, session: Session) -> None:
        """A session has ended."""
        self.live.remove(session)

    async def rooms(self, person: str, views: Sequence[RoomView], session: Session | None = None) -> list[values.Room]:
        """Rooms as their member sees them.  Titles written elsewhere: from memory; for a session they follow, else
        they are fetched now."""
        cards = [view.card for view in views if view.card is not None]
        rows, stored = await self.store.read(_cards, cards)
        titles: dict[str, tuple[str | None, values.State]] = {}
        absent: list[Row] = []
        now = self.clock()
        for card, row in rows.items():
            body = stored.get(card) if home(card) == self.region else self.live.bodies.get(card, now)
            if row.gone:
                titles[card] = (None, "erased")
            elif body is not None:
                titles[card] = (str(read_body(body).get("title", "")), "ok")
            elif home(card) == self.region:
                titles[card] = (None, "erased")
            else:
                absent.append(row)
        if session is not None:
            for row in absent:
                self.live.want(row, {session})
                titles[row.entry or ""] = (None, "waiting")
        elif absent:
            for entry, (state, body) in (await self.fetch_now(absent)).items():
                title = str(read_body(body).get("title", "")) if body is not None else None
                titles[entry] = (title, state)
        return [_room_value(view, *titles.get(view.card or "", (None, "ok"))) for view in views]

    # -- foreign bodies --------------------------------------------------------------------------------------------

    async def fetch_now(self, rows: Sequence[Row]) -> dict[str, tuple[values.State, bytes | None]]:
        """Bodies of foreign entries, from memory or from their authors' regions within about a second."""
        found: dict[str, tuple[values.State, bytes | None]] = {}
        absent: list[Row] = []
        for row in rows:
            body = self.live.bodies.get(row.entry or "", self.clock())
            if body is not None:
                found[row.entry or ""] = ("ok", body)
            else:
                absent.append(row)
        groups = list(_by_owner(absent).items())
        for answers in await asyncio.gather(*(self._ask(owner, room, some) for (owner, room), some in groups)):
            found.update(answers)
        return found

    async def _ask(self, owner: str, room: str, rows: Sequence[Row]) -> dict[str, tuple[values.State, bytes | None]]:
        """Ask an owner for bodies.  `held` stands for what cannot be had now, `waiting` for not yet."""
        found: dict[str, tuple[values.State, bytes | None]] = {row.entry or "": ("held", None) for row in rows}
        authors = {row.entry or "": row.author or "" for row in rows}
        if self.federation is None:
            return found
        asked_at = self.clock()
        async with self._fetches:
            try:
                answers = await self.federation.bodies(owner, room, list(found), max(row.seq for row in rows))
            except (Unavailable, Refused):
                return found
        until = asked_at + limits.BODY_TTL_S
        gone = await self.store.read(_gone, list(found))
        for answer in answers:
            if answer.entry not in found:
                continue
            if answer.entry in gone or answer.state in ("erased", "hidden"):
                found[answer.entry] = ("erased", None)
            elif answer.state == "not_yet" or until <= self.clock():
                found[answer.entry] = ("waiting", None)
            elif answer.body is not None:
                self.live.bodies.keep(answer.entry, authors[answer.entry], answer.body, until)
                found[answer.entry] = ("ok", answer.body)
        return found

    async def _fetch_forever(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await asyncio.sleep(PUSH_S)
            now = self.clock()
            due = [entry for entry in self.live.wants if self._asking.get(entry, 0.0) <= now]
            rows = await self.store.read_latest(_rows_of, due)  # they may have come live, ahead of this site's node
            for (owner, room), some in _by_owner(rows).items():
                for start in range(0, len(some), limits.BODIES_BATCH_MAX):
                    part = some[start : start + limits.BODIES_BATCH_MAX]
                    self._asking.update({row.entry or "": now + RETRY_S for row in part})
                    group.create_task(self._fetch(owner, room, part))
            self._asking = {entry: at for entry, at in self._asking.items() if entry in self.live.wants}

    async def _fetch(self, owner: str, room: str, rows: Sequence[Row]) -> None:
        with contextlib.suppress(Unavailable):  # asked again after `RETRY_S`
            for entry, (state, body) in (await self._ask(owner, room, rows)).items():
                if state == "waiting":
                    self._asking[entry] = self.clock() + 0.2
                else:
                    self._deliver(room, entry, state, body)
        self._stir()

    # -- signals ---------------------------------------------------------------------------------------------------

    def _signal(self, signal: model.Signal) -> None:
        if signal.kind == "typing":
            frame = encode(wire.TypingEvent(room=signal.room, person=signal.person, on=bool(signal.value)))
            stream = self.live.streams.get(signal.room)
            for session in stream.sessions if stream is not None else ():
                if session.person != signal.person:
                    session.send(frame)
        elif signal.kind == "read" and signal.to in self.live.people:
            task = asyncio.ensure_future(self._show_read(signal))
            self._showing.add(task)
            task.add_done_callback(self._showing.discard)

    async def _show_read(self, signal: model.Signal) -> None:
        view = await self.store.read_latest(policy.room_view, signal.person, signal.room)
        if view is None:
            return
        frame = encode(wire.ReadEvent(room=signal.room, seq=view.read, unread=view.unread))
        for session in self.live.people.get(signal.person, ()):
            session.send(frame)

    async def typing(self, person: str, room: str, on: bool) -> None:
        """Tell a room's other members, wherever they are, that somebody types."""
        regions = await self.store.read(_typing_regions, person, room)
        if regions is None or self.federation is None:
            return
        signal = model.Signal("typing", room, person, int(on))
        live = model.Live(self.sender, [], [], [signal])
        self._signal(signal)
        self.federation.signal(live, regions)

    async def mark_read(self, person: str, room: str, seq: int) -> int:
        """Move a read cursor and tell the person's other devices."""
        now_at = await self.store.write(transactions.mark_read, person, room, seq)
        if now_at < seq:  # the row may have come live, ahead of this site's node
            await self.store.read_latest(_heads, [room])
            now_at = await self.store.write(transactions.mark_read, person, room, seq)
        signal = model.Signal("read", room, person, now_at, to=person)
        self._signal(signal)
        if self.federation is not None:
            self.federation.signal(model.Live(self.sender, [], [], [signal]), ())
        return now_at

    # -- background ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open, fetch and repair until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(steadily(self._open_forever))
            group.create_task(steadily(functools.partial(self._fetch_forever, group)))
            group.create_task(steadily(self._repair_gaps))
            group.create_task(steadily(self._compare_forever))

    async def _open_forever(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self.live.work:
                work = self.live.work.pop(0)
                try:
                    await self._open(work)
                except Unavailable:
                    self.live.work.append(work)
                    self._work.set()
                    raise
            self._stir()

    async def _open(self, work: Open) -> None:
        session, ident = work.session, work.stream
        if session.closed:
            return
        after = self.live.begin(session, ident)
        if work.announce:  # of what came live, and may be ahead of this site's node
            view = await self.store.read_latest(policy.room_view, session.person, ident)
            if view is not None:
                (room,) = await self.rooms(session.person, [view], session)
                session.send(encode(wire.RoomEvent(room=room)))
        complete = False
        items: list[tuple[Row, bytes | None]] = []
        head, member = after, False
        while not complete:
            some, head, complete, member = await self.store.read_latest(
                policy.open_view, session.person, ident, after, limits.RESUME_ROWS_MAX
            )
            items += some
            after = head
        snapshot = Snapshot([Item(*item) for item in items], head, member)
        self.live.opened(session, ident, snapshot, self.clock())

    async def _repair_gaps(self) -> None:
        while True:
            await self._torn.wait()
            self._torn.clear()
            while self.live.torn:
                await asyncio.sleep(limits.REORDER_S / 2)
                gaps = self.live.gaps(self.clock())
                if gaps:
                    await self._catch_up(gaps)

    async def _compare_forever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(to_next_beat(limits.COMPARE_S, asyncio.get_running_loop().time())):
                    await self._compare.wait()
            except TimeoutError:
                pass
            self._compare.clear()
            self.live.bodies.expire(self.clock())
            if self.live.streams:
                await self._catch_up(list(self.live.streams))

    async def _catch_up(self, streams: Sequence[str]) -> None:
        heads = await self.store.read(_heads, streams)
        for ident, last in self.live.behind(heads):
            items = await self.store.read(_items_after, ident, last)
            REPAIRED.inc(len(items))
            self.live.rows([Item(*item) for item in items], self.clock())
        self._stir()


def _room_value(view: RoomView, title: str | None, state: values.State) -> values.Room:
    return values.Room(
        id=view.ident, region=home(view.ident), kind=view.kind, creator=view.creator, title=title, title_state=state,
        head=view.head, no=view.no, read=view.read, unread=view.unread, members=view.members, others=view.others,
        joined=view.joined, last_at=rfc3339(view.last_at) if view.last_at else None, card=view.card,
    )  # fmt: skip


def _by_owner(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((home(row.entry or ""), row.stream), []).append(row)
    return groups


def _snapshot(store: Reads, person: str, inbox: str) -> tuple[list[RoomView], dict[str, tuple[int, bool]]]:
    """A person's rooms, and the head of every stream that concerns them with whether they are in it now."""
    stream = store.stream(inbox)
    heads: dict[str, tuple[int, bool]] = {inbox: (stream.head if stream is not None else 0, True)}
    views: list[RoomView] = []
    for room in store.seats(person)[: limits.ROOMS_MAX]:
        view = policy.room_view(store, person, room)
        heads[room] = (view.head, view.joined) if view is not None else (0, False)
        if view is None and (stream := store.stream(room)) is not None:
            heads[room] = (stream.head, False)
        if view is not None and view.joined:
            views.append(view)
    return views, heads


def _may_follow(store: Reads, person: str, ident: str) -> tuple[int, bool]:
    """A stream's head, and whether it concerns the person: one's own inbox, a room one is or was in."""
    stream = store.stream(ident)
    head = stream.head if stream is not None else 0
    if policy.is_inbox(ident):
        return head, ident[3:] == person[3:]
    read, invited = store.seat(person, ident)
    return head, invited or read > 0


def _heads(store: Reads, streams: Sequence[str]) -> dict[str, int]:
    return store.heads(streams)


def _items_after(store: Reads, ident: str, after: int) -> list[tuple[Row, bytes | None]]:
    stream = store.stream(ident)
    rows = store.rows_after(stream, after, limits.RESUME_ROWS_MAX) if stream is not None else []
    own = [r.entry for r in rows if r.entry and r.kind == "entry" and home(r.entry) == store.region]
    bodies = store.bodies(own)
    return [(row, bodies[row.entry].body if row.entry in bodies else None) for row in rows]


def _cards(store: Reads, cards: Sequence[str]) -> tuple[dict[str, Row], dict[str, bytes | None]]:
    rows = {card: row for card in cards if (row := store.find_entry(card)) is not None}
    return rows, {entry: stored.body for entry, stored in store.bodies(list(rows)).items()}


def _rows_of(store: Reads, entries: Sequence[str]) -> list[Row]:
    return [row for entry in entries if (row := store.find_entry(entry)) is not None]


def _gone(store: Reads, entries: Sequence[str]) -> set[str]:
    return {row.entry or "" for row in _rows_of(store, entries) if row.gone}


def _missing(store: Reads, person: str, entries: Sequence[str]) -> list[tuple[Row, bytes | None]]:
    """Of the entries a client lacks, those its person may see, with the bodies that rest here."""
    found = []
    for row in _rows_of(store, entries):
        stream = store.stream(row.stream)
        if stream is not None and policy.covers(store.spans(stream, person), row.seq):
            found.append(row)
    bodies = store.bodies([row.entry or "" for row in found])
    return [(row, bodies[row.entry or ""].body if row.entry in bodies else None) for row in found]


def _typing_regions(store: Reads, person: str, room: str) -> tuple[str, ...] | None:
    stream = store.stream(room)
    if stream is None or not policy.is_member(store.spans(stream, person)):
        return None
    return tuple(region for region in stream.regions if region != store.region)
