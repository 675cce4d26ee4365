"""What sessions are shown, and when: a core without I/O.  Rows, bodies and snapshots go in; frames and work come out.

Laws: a session is shown each row once, in order, without a hole, and only what its person may see; a row is pushed
only when the region's store holds it; a body is shown only while it is younger than its limit and not redacted.
A session registers first, then its snapshot is read, then what was held beyond the snapshot is released; and as long
as it lives, whatever is not beyond what it was shown is dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from moonbow.base import limits
from moonbow.base.ids import home
from moonbow.timeline.model import Row

from .frames import encode_body, encode_row


class Session:
    """One socket's view: what it was shown of each stream, and what waits while a snapshot is read."""

    __slots__ = ("closed", "hold", "ident", "person", "send", "upto")

    def __init__(self, ident: str, person: str, send: Callable[[bytes], None]) -> None:
        self.ident, self.person, self.send = ident, person, send
        self.upto: dict[str, int] = {}
        self.hold: dict[str, list[Item]] = {}
        self.closed = False

    def keep(self, ident: str, item: Item) -> None:
        """Hold a row back.  What does not fit is in the store: the stream is read once more then."""
        held = self.hold[ident]
        if len(held) <= limits.RESUME_ROWS_MAX:
            held.append(item)


class Item(NamedTuple):
    """A row on its way to sessions, with its body when it is at hand."""

    row: Row
    body: bytes | None


class Open(NamedTuple):
    """Work: read what `session` may see of `stream` beyond what it was shown, then call `Live.opened`."""

    session: Session
    stream: str
    announce: bool = False  # the room is new to the session: tell it what the room is, first


class Want(NamedTuple):
    """A foreign body that sessions wait for."""

    room: str
    author: str
    seq: int
    sessions: dict[Session, None]


class Snapshot(NamedTuple):
    """What was read for an `Open`: visible rows in order, where the reading ended, whether the person is a member."""

    items: list[Item]
    head: int
    member: bool


class LiveStream:
    """A stream that some session here follows.  `last` is the last seq pushed; None until the first snapshot."""

    __slots__ = ("buffer", "former", "gap_since", "last", "sessions")

    def __init__(self) -> None:
        self.last: int | None = None
        self.buffer: dict[int, Item] = {}
        self.sessions: dict[Session, None] = {}  # in the order of their coming, so that a schedule can be replayed
        self.former: dict[Session, None] = {}
        self.gap_since: float | None = None

    def join(self, session: Session) -> None:
        """The session's person is a member: it is shown every row."""
        self.former.pop(session, None)
        self.sessions[session] = None

    def part(self, session: Session) -> None:
        """The session's person is a member no longer: it is shown what becomes of rows it may see."""
        self.sessions.pop(session, None)
        self.former[session] = None

    def drop(self, session: Session) -> None:
        """The session has ended."""
        self.sessions.pop(session, None)
        self.former.pop(session, None)


class BodyCache:
    """Foreign bodies in memory, bounded in bytes and in age.  An entry is as old as its owner's answer."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[bytes, float, str]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, entry: str, author: str, body: bytes, until: float) -> None:
        """Keep a body until the time `until`."""
        self.drop(entry)
        self._kept[entry] = (body, until, author)
        self._bytes += len(body)
        while self._bytes > limits.BODY_CACHE_BYTES_MAX:
            self.drop(next(iter(self._kept)))

    def get(self, entry: str, now: float) -> bytes | None:
        """The body, if it is here and not too old."""
        found = self._kept.get(entry)
        if found is None:
            return None
        if found[1] <= now:
            self.drop(entry)
            return None
        return found[0]

    def oldest_s(self, now: float) -> float:
        """Age of the oldest body here, in seconds, as one that was read by its owner then; 0 if there is none."""
        first = min((until for _, until, _ in self._kept.values()), default=None)
        return 0.0 if first is None else max(0.0, now + limits.BODY_TTL_S - first)

    def drop(self, entry: str) -> None:
        """Forget a body."""
        found = self._kept.pop(entry, None)
        if found is not None:
            self._bytes -= len(found[0])

    def drop_author(self, author: str) -> None:
        """Forget everything somebody wrote."""
        for entry in [entry for entry, kept in self._kept.items() if kept[2] == author]:
            self.drop(entry)

    def expire(self, now: float) -> None:
        """Forget everything too old; called now and then so that nothing outlives its time for want of a reader."""
        for entry in [entry for entry, kept in self._kept.items() if kept[1] <= now]:
            self.drop(entry)


class Live:
    """All sessions of one gateway.  `work` collects what has to be read; the owner drains it after each call."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.streams: dict[str, LiveStream] = {}
        self.people: dict[str, set[Session]] = {}
        self.wants: dict[str, Want] = {}
        self.bodies = BodyCache()
        self.work: list[Open] = []
        self.delivered = 0
        self._gaps: dict[str, None] = {}  # streams whose next row is missing
        self._redacted: OrderedDict[str, None] = OrderedDict()

    # -- sessions --------------------------------------------------------------------------------------------------

    def add(self, session: Session) -> None:
        """A session begins."""
        self.people.setdefault(session.person, set()).add(session)

    def remove(self, session: Session) -> None:
        """A session has ended: nothing of it stays."""
        session.closed = True
        others = self.people.get(session.person, set())
        others.discard(session)
        if not others:
            self.people.pop(session.person, None)
        for ident in set(session.upto) | set(session.hold):
            self._leave(session, ident)
        session.upto.clear()
        session.hold.clear()
        for entry in [entry for entry, want in self.wants.items() if session in want.sessions]:
            self.wants[entry].sessions.pop(session, None)
            if not self.wants[entry].sessions:
                del self.wants[entry]

    def _leave(self, session: Session, ident: str) -> None:
        stream = self.streams.get(ident)
        if stream is None:
            return
        stream.drop(session)
        if not stream.sessions and not stream.former:
            del self.streams[ident]
            self._gaps.pop(ident, None)

    # -- opening a stream for a session ----------------------------------------------------------------------------

    def begin(self, session: Session, ident: str, cursor: int | None = None) -> int:
        """Register `session` for a stream and hold its rows; returns the seq beyond which to read.

        `cursor` is where the client says it stands; None keeps what it was shown already.
        """
        stream = self.streams.setdefault(ident, LiveStream())
        stream.join(session)
        session.hold.setdefault(ident, [])
        if cursor is not None:
            session.upto.setdefault(ident, cursor)
        return session.upto.get(ident, 0)

    def opened(self, session: Session, ident: str, snapshot: Snapshot, now: float) -> None:
        """Show what was read, then what was held beyond it."""
        stream = self.streams.get(ident)
        if session.closed or stream is None:
            return
        for item in snapshot.items:
            self._show(session, item, now)
        session.upto[ident] = max(session.upto.get(ident, 0), snapshot.head)
        if stream.last is None:
            stream.last = snapshot.head
            self._drain(ident, stream, now)
        if not snapshot.member:
            stream.part(session)
        held = session.hold.pop(ident, [])
        follows = held[0].row.seq if held else (stream.last or 0) + 1
        # What came live before the session registered may be missing from a snapshot that is a moment old.
        if len(held) > limits.RESUME_ROWS_MAX or follows > session.upto[ident] + 1:
            session.hold[ident] = []
            self.work.append(Open(session, ident, announce=not snapshot.member))
            return
        for no, item in enumerate(held):
            if ident in session.hold:  # a row in between made us read again: the rest waits with it
                session.hold[ident].extend(held[no:])
                break
            self._push(session, ident, item, now)

    def show_part(self, session: Session, ident: str, snapshot: Snapshot, now: float) -> None:
        """Show a part of what was read; more of it follows, and what is held goes on waiting."""
        if not session.closed:
            for item in snapshot.items:
                self._show(session, item, now)
            session.upto[ident] = max(session.upto.get(ident, 0), snapshot.head)

    def _show(self, session: Session, item: Item, now: float) -> None:
        """One row to one session, outside the hot path."""
        session.send(self._encode(item, now, {session}))
        self.delivered += 1

    def _encode(self, item: Item, now: float, readers: Iterable[Session]) -> bytes:
        row = item.row
        if row.kind != "entry" or row.entry is None:
            return encode_row(row, None, None)
        if row.gone:
            return encode_row(row, None, "erased")
        if item.body is not None:
            return encode_row(row, item.body, "ok")
        if home(row.entry) == self.region:
            return encode_row(row, None, "erased")
        body = self.bodies.get(row.entry, now)
        if body is not None:
            return encode_row(row, body, "ok")
        self.want(row, readers)
        return encode_row(row, None, "waiting")

    def want(self, row: Row, readers: Iterable[Session]) -> None:
        """Remember that `readers` lack the body of a foreign entry."""
        entry = row.entry or ""
        want = self.wants.get(entry)
        if want is None:
            want = self.wants[entry] = Want(row.stream, row.author or "", row.seq, {})
        want.sessions.update(dict.fromkeys(readers))

    # -- rows ------------------------------------------------------------------------------------------------------

    def rows(self, items: Iterable[Item], now: float) -> None:
        """Rows that the region's store holds, in any order, any number of times."""
        for item in items:
            row = item.row
            stream = self.streams.get(row.stream)
            if stream is None:
                self._forget(row)
                continue
            if stream.last is None or row.seq > stream.last:
                if row.gone or (row.seq not in stream.buffer and len(stream.buffer) < limits.RESUME_ROWS_MAX):
                    stream.buffer[row.seq] = item  # a redacted row replaces what a live message said before
                self._drain(row.stream, stream, now)
            elif row.kind == "entry" and item.body is not None and row.entry in self.wants:
                self.body(row.stream, row.entry or "", "ok", item.body)

    def _drain(self, ident: str, stream: LiveStream, now: float) -> None:
        if stream.last is None:
            return
        buffer = stream.buffer
        while (item := buffer.pop(stream.last + 1, None)) is not None:
            stream.last += 1
            self._forward(ident, stream, item, now)
        if buffer:
            for seq in [seq for seq in buffer if seq <= (stream.last or 0)]:
                del buffer[seq]
        stream.gap_since = (stream.gap_since or now) if buffer else None
        if buffer:
            self._gaps[ident] = None
        else:
            self._gaps.pop(ident, None)

    def _forward(self, ident: str, stream: LiveStream, item: Item, now: float) -> None:
        row = item.row
        if row.kind in ("redaction", "erasure"):
            self._forget(row)
            for session in (*stream.sessions, *stream.former):
                self._reopen(session, ident, item)
            return
        frame: bytes | None = None
        seq, sent = row.seq, 0
        for session in stream.sessions:
            if session.hold and ident in session.hold:
                session.keep(ident, item)
            elif seq > session.upto.get(ident, 0):
                if frame is None:
                    frame = self._encode(item, now, stream.sessions)
                session.upto[ident] = seq
                session.send(frame)
                sent += 1
        self.delivered += sent
        if row.kind == "join" and row.target in self.people:
            for session in [s for s in stream.former if s.person == row.target]:
                self._reopen(session, ident, item, announce=True)
        if row.kind == "added" and row.target is not None:
            self.work += [Open(s, row.target, True) for s in stream.sessions if ident not in s.hold]
        elif row.kind == "leave" and row.target in self.people:
            for session in [s for s in stream.sessions if s.person == row.target and ident not in s.hold]:
                if session.upto.get(ident, 0) <= seq:  # else it was shown a later row, and perhaps a later join
                    stream.part(session)

    def _push(self, session: Session, ident: str, item: Item, now: float) -> None:
        """A row that was held, to the one session that held it."""
        row, stream = item.row, self.streams.get(ident)
        if stream is None or row.seq <= session.upto.get(ident, 0):
            return
        if row.kind in ("redaction", "erasure"):
            self._reopen(session, ident, item)
        elif session in stream.former:
            if row.kind == "join" and row.target == session.person:
                self._reopen(session, ident, item, announce=True)
        else:
            session.upto[ident] = row.seq
            self._show(session, item, now)
            if row.kind == "added" and row.target is not None:
                self.work.append(Open(session, row.target, True))
            elif row.kind == "leave" and row.target == session.person:
                stream.part(session)

    def _reopen(self, session: Session, ident: str, item: Item, *, announce: bool = False) -> None:
        """Who may see a redaction depends on its target: let the store say it, from where the session stands."""
        if item.row.seq <= session.upto.get(ident, 0) and ident not in session.hold:
            return
        if ident in session.hold:
            session.keep(ident, item)
        else:
            session.hold[ident] = []
            self.work.append(Open(session, ident, announce))

    def _forget(self, row: Row) -> None:
        if row.kind == "redaction" and row.target:
            self.bodies.drop(row.target)
            self.wants.pop(row.target, None)
            self._redacted[row.target] = None
            if len(self._redacted) > limits.RESUME_ROWS_MAX:
                self._redacted.popitem(last=False)
        elif row.kind == "erasure" and row.target:
            self.bodies.drop_author(row.target)
            for entry in [e for e, w in self.wants.items() if w.author == row.target and w.room == row.stream]:
                del self.wants[entry]

    def is_redacted(self, entry: str) -> bool:
        """Whether a redaction of this entry passed here lately: its body, still on its way, is not to be shown."""
        return entry in self._redacted

    # -- bodies ----------------------------------------------------------------------------------------------------

    def body(self, room: str, entry: str, state: str, body: bytes | None) -> None:
        """A foreign body has come, or word that it cannot (`held`) or never will (`erased`)."""
        want = self.wants.get(entry) if state == "held" else self.wants.pop(entry, None)
        if want is None or not want.sessions:
            return
        frame = encode_body(room, entry, state, body)
        for session in want.sessions:
            session.send(frame)
        self.delivered += len(want.sessions)

    # -- repair ----------------------------------------------------------------------------------------------------

    @property
    def torn(self) -> bool:
        """Whether a stream waits for a missing row."""
        return bool(self._gaps)

    def gaps(self, now: float) -> list[str]:
        """Streams that have waited for a missing row for longer than the reorder time."""
        return [ident for ident in self._gaps if now - (self.streams[ident].gap_since or now) >= limits.REORDER_S]

    def behind(self, heads: dict[str, int]) -> list[tuple[str, int]]:
        """Streams whose store head is beyond what was pushed, with the seq to read from."""
        found = []
        for ident, head in heads.items():
            stream = self.streams.get(ident)
            if stream is not None and stream.last is not None and stream.last < head:
                found.append((ident, stream.last))
        return found
