"""Between the core (`live`), the store and the other regions: does what the core asks, repairs what the bus lost."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Sequence

from prometheus_client import Counter, Gauge

from moonbow.base import limits
from moonbow.base.clock import to_next_beat
from moonbow.base.errors import Unavailable
from moonbow.base.ids import home
from moonbow.base.steady import steadily
from moonbow.federation import model
from moonbow.federation.process import Federation
from moonbow.timeline import policy, transactions
from moonbow.timeline.model import Fresh, RoomView, Row, read_body
from moonbow.timeline.ports import Store
from moonbow.wire import stream as wire
from moonbow.wire import values

from . import questions
from .foreign import Foreign
from .frames import encode, encode_body
from .live import Item, Live, Open, Session, Snapshot

log = logging.getLogger(__name__)
REPAIRED = Counter(
    "moonbow_gateway_repaired_total", "Rows that were read from the store because the bus did not bring them"
)
DELIVERED = Gauge("moonbow_gateway_delivered", "Rows and bodies written to sockets since the start")
REPLAY_ROWS = 40  # of the largest size still fit a client's buffer


class Flow:
    """One gateway's live side.  Everything runs on one loop; `show` and `committed` may be called at any time."""

    def __init__(self, sender: str, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.sender, self.store, self.clock = sender, store, clock
        self.region = store.region
        self.live = Live(store.region)
        self.foreign = Foreign(self.live, store, clock, self._deliver, self._stir)
        self._work = asyncio.Event()
        self._torn = asyncio.Event()
        self._compare = asyncio.Event()
        self._showing: set[asyncio.Task[None]] = set()
        DELIVERED.set_function(lambda: self.live.delivered)

    @property
    def federation(self) -> Federation | None:
        """The way to the other regions; None until it stands."""
        return self.foreign.federation

    @federation.setter
    def federation(self, federation: Federation) -> None:
        self.foreign.federation = federation

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
            self.foreign.wake()
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
            views, heads = await self.store.read(questions.snapshot, session.person, inbox)
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
            head, known = await self.store.read(questions.may_follow, session.person, ident)
            if not known or cursor > head:  # another site has shown more than this site's node has
                head, known = await self.store.read_latest(questions.may_follow, session.person, ident)
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
        for row, body in await self.store.read(questions.missing, session.person, list(missing)):
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
        rows, stored = await self.store.read(questions.cards, cards)
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
            for entry, (state, body) in (await self.foreign.fetch_now(absent)).items():
                title = str(read_body(body).get("title", "")) if body is not None else None
                titles[entry] = (title, state)
        return [questions.room_value(view, *titles.get(view.card or "", (None, "ok"))) for view in views]

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
        regions = await self.store.read(questions.typing_regions, person, room)
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
            await self.store.read_latest(questions.heads, [room])
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
            group.create_task(steadily(functools.partial(self.foreign.fetch_forever, group)))
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
            if view is not None and view.joined:
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
        heads = await self.store.read(questions.heads, streams)
        for ident, last in self.live.behind(heads):
            items = await self.store.read(questions.items_after, ident, last)
            REPAIRED.inc(len(items))
            self.live.rows([Item(*item) for item in items], self.clock())
        self._stir()
