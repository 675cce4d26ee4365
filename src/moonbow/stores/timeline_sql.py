"""What is read and written in the timeline's tables: said once, for every SQL engine.

An engine gives three things: `_all`, rows of a question; `_do`, a change and how many rows it touched; `_insert`, new
rows.  Statements mark values with `?`, and names that are words of some engine's language with backticks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from moonbow.timeline.model import (
    AnyEffect,
    Fresh,
    Known,
    Outgoing,
    Result,
    Row,
    Span,
    Stored,
    Stream,
    decode_effect,
    encode_effect,
)
from moonbow.vault.ports import Sealer

IN_MAX = 500  # values in one question
ROW = "seq, kind, entry, author, target, no, at, gone, detail"
UNSEALED = b"{"  # how every body begins that was kept before bodies were sealed
STREAM = "id, `key`, head, no, creator, card, regions, pair"

Sealed = tuple[str, str, str, bytes | None]  # entry, author, room, and the text as it rests


class SqlReads(ABC):
    """`timeline.ports.Reads` over the tables."""

    LOCK = ""  # what a question says that must keep others from changing its answer
    TEXT_OF_POST = "body.`key` = post.body"
    META = "meta"

    def __init__(self, region: str, sealer: Sealer) -> None:
        self.region = region
        self._sealer = sealer

    @abstractmethod
    def _all(self, sql: str, values: Sequence[object] = ()) -> list[Any]: ...

    def _one(self, sql: str, values: Sequence[object] = ()) -> Any:
        found = self._all(sql, values)
        return found[0] if found else None

    def expect(
        self, ident: str, person: str, limit: int, *, after: int | None = None, before: int | None = None
    ) -> None:
        """Nothing is asked in advance where a question costs no round trip."""
        return

    def stream(self, ident: str) -> Stream | None:
        found = self._one(f"SELECT {STREAM} FROM stream WHERE id = ?{self.LOCK}", (ident,))
        return Stream(*found) if found else None

    def row(self, stream: Stream, seq: int) -> Row | None:
        found = self._one(f"SELECT {ROW} FROM order_row WHERE stream = ? AND seq = ?", (stream.key, seq))
        return row_of(stream.ident, found) if found else None

    def rows_after(self, stream: Stream, after: int, limit: int) -> list[Row]:
        found = self._all(
            f"SELECT {ROW} FROM order_row WHERE stream = ? AND seq > ? ORDER BY seq LIMIT ?", (stream.key, after, limit)
        )
        return [row_of(stream.ident, values) for values in found]

    def rows_before(self, stream: Stream, before: int, limit: int) -> list[Row]:
        found = self._all(
            f"SELECT {ROW} FROM order_row WHERE stream = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
            (stream.key, before, limit),
        )
        return [row_of(stream.ident, values) for values in reversed(found)]

    def find_entry(self, entry: str) -> Row | None:
        found = self._one(
            "SELECT s.id, o.seq, o.kind, o.entry, o.author, o.target, o.no, o.at, o.gone, o.detail"
            " FROM order_row o JOIN stream s ON s.`key` = o.stream WHERE o.entry = ? AND o.kind = 'entry'",
            (entry,),
        )
        return row_of(found[0], found[1:]) if found else None

    def entries_of(self, stream: Stream, author: str) -> list[Row]:
        found = self._all(
            f"SELECT {ROW} FROM order_row WHERE stream = ? AND author = ? AND kind = 'entry' ORDER BY seq",
            (stream.key, author),
        )
        return [row_of(stream.ident, values) for values in found]

    def own_messages_after(self, stream: Stream, author: str, after: int) -> int:
        found = self._one(
            "SELECT count(*) FROM order_row WHERE stream = ? AND seq > ? AND author = ? AND kind = 'entry'"
            " AND target IS NULL",
            (stream.key, after, author),
        )
        return int(found[0])

    def spans(self, stream: Stream, person: str) -> list[Span]:
        found = self._all(
            "SELECT joined, `left` FROM span WHERE stream = ? AND person = ? ORDER BY joined", (stream.key, person)
        )
        return [Span(*values) for values in found]

    def members(self, stream: Stream) -> list[tuple[str, int]]:
        return self._all(
            "SELECT person, joined FROM span WHERE stream = ? AND `left` IS NULL ORDER BY joined", (stream.key,)
        )

    def region_sees(self, stream: Stream, region: str, seq: int) -> bool:
        found = self._one(
            "SELECT 1 FROM span WHERE stream = ? AND person >= ? AND person < ? AND joined <= ?"
            " AND (`left` IS NULL OR `left` >= ?) LIMIT 1",
            (stream.key, f"usr_{region}_", f"usr_{region}`", seq, seq),
        )
        return found is not None

    def post(self, author: str, client_id: str) -> Known | None:
        found = self._one(
            "SELECT mark, entry, state, seq, code, early FROM post WHERE author = ? AND client_id = ?",
            (author, client_id),
        )
        return Known(*found) if found else None

    def bodies(self, entries: Sequence[str]) -> dict[str, Stored]:
        """What was written, opened; a text rests sealed for the place of its entry."""
        found: dict[str, Stored] = {}
        for entry, author, room, sealed in self._texts(entries):
            found[entry] = Stored(author, room, self._opened(author, entry, sealed))
        return found

    def _opened(self, author: str, entry: str, sealed: bytes | None) -> bytes | None:
        """A body as it was written; None if it is erased, or sealed with a key that may not be used any more."""
        if sealed is None or sealed.startswith(UNSEALED):
            return sealed
        return self._sealer.open(author, entry, sealed)

    def _texts(self, entries: Sequence[str]) -> list[Sealed]:
        return self._each_in(
            f"SELECT post.entry, author, room, text FROM post LEFT JOIN body ON {self.TEXT_OF_POST}"
            " WHERE post.entry IN ({})",
            entries,
        )

    def _each_in(self, sql: str, wanted: Sequence[str]) -> list[Any]:
        """Rows of a question whose `{}` stands for the values wanted, some at a time."""
        found: list[Any] = []
        for start in range(0, len(wanted), IN_MAX):
            some = wanted[start : start + IN_MAX]
            found += self._all(sql.format(",".join("?" * len(some))), some)
        return found

    def seats(self, person: str) -> list[str]:
        return [room for (room,) in self._all("SELECT room FROM seat WHERE person = ?", (person,))]

    def seat(self, person: str, room: str) -> tuple[int, bool]:
        found = self._one(f"SELECT `read`, invited FROM seat WHERE person = ? AND room = ?{self.LOCK}", (person, room))
        return (found[0], bool(found[1])) if found else (0, False)

    def direct_room(self, pair: str) -> str | None:
        found = self._one("SELECT id FROM stream WHERE pair = ?", (pair,))
        return found[0] if found else None

    def heads(self, streams: Sequence[str]) -> dict[str, int]:
        return dict(self._each_in("SELECT id, head FROM stream WHERE id IN ({})", streams))

    def copies(self, after: str, limit: int) -> list[tuple[str, int]]:
        """Rooms homed elsewhere, with the head of our copy, by id beyond `after`."""
        return self._all(
            "SELECT DISTINCT seat.room, coalesce(stream.head, 0) FROM seat LEFT JOIN stream ON stream.id = seat.room"
            " WHERE seat.room > ? AND substr(seat.room, 5, ?) <> ? ORDER BY seat.room LIMIT ?",
            (after, len(self.region) + 1, f"{self.region}_", limit),
        )

    def outbox_heads(self, dest: str, after: str, limit: int) -> list[str]:
        """Queues to a region that are not empty, by stream, beyond `after`."""
        found = self._all(
            "SELECT DISTINCT stream FROM outbox WHERE dest = ? AND stream > ? ORDER BY stream LIMIT ?",
            (dest, after, limit),
        )
        return [stream for (stream,) in found]

    def outgoing(self, dest: str, stream: str, limit: int) -> list[Outgoing]:
        found = self._all(
            "SELECT out_no, effect FROM outbox WHERE dest = ? AND stream = ? ORDER BY out_no LIMIT ?",
            (dest, stream, limit),
        )
        return [Outgoing(dest, stream, out_no, decode_effect(effect)) for out_no, effect in found]

    def applied(self, source: str, epoch: int, stream: str, out_no: int) -> Result | None:
        found = self._one(
            "SELECT state, seq, code FROM applied WHERE source = ? AND epoch = ? AND stream = ? AND out_no = ?",
            (source, epoch, stream, out_no),
        )
        return Result(*found) if found else None

    def applied_last(self, source: str, epoch: int, stream: str) -> int:
        found = self._one(
            "SELECT max(out_no) FROM applied WHERE source = ? AND epoch = ? AND stream = ?", (source, epoch, stream)
        )
        return found[0] or 0

    def is_gone(self, person: str) -> bool:
        return self._one("SELECT 1 FROM gone WHERE person = ?", (person,)) is not None

    def epoch(self) -> int:
        return int(self._one(f"SELECT epoch FROM {self.META}")[0])


class RememberingReads(SqlReads):
    """Reads that ask once for a stream and for a person's membership: within one transaction they stay as they are."""

    def __init__(self, region: str, sealer: Sealer) -> None:
        super().__init__(region, sealer)
        self._streams: dict[str, Stream | None] = {}
        self._spans: dict[tuple[int, str], list[Span]] = {}

    def stream(self, ident: str) -> Stream | None:
        if ident not in self._streams:
            self._streams[ident] = super().stream(ident)
        return self._streams[ident]

    def spans(self, stream: Stream, person: str) -> list[Span]:
        key = (stream.key, person)
        if key not in self._spans:
            self._spans[key] = super().spans(stream, person)
        return self._spans[key]


class SqlTx(RememberingReads):
    """`timeline.ports.Tx` over the tables; what the engines say differently is theirs."""

    def __init__(self, region: str, sealer: Sealer, now_ms: int) -> None:
        super().__init__(region, sealer)
        self.now_ms = now_ms
        self.fresh: list[Fresh] = []
        self.queued = self.erased = False

    @abstractmethod
    def _do(self, sql: str, values: Sequence[object] = ()) -> int: ...

    @abstractmethod
    def _insert(self, table: str, *values: object) -> None: ...

    @abstractmethod
    def _new_stream(self, ident: str, creator: str, pair: str | None) -> int:
        """Insert an empty stream; its key."""

    @abstractmethod
    def _keep_text(self, entry: str, sealed: bytes) -> object:
        """Store a text; what finds it again, kept with its post."""

    def create_stream(self, ident: str, creator: str, pair: str | None) -> Stream:
        stream = Stream(ident, self._new_stream(ident, creator, pair), 0, 0, creator, None, "", pair)
        self._streams[ident] = stream
        return stream

    def add_row(self, stream: Stream, row: Row) -> None:
        self._insert(
            "order_row", stream.key, row.seq, row.kind, row.entry, row.author, row.target, row.no, row.at, row.gone,
            row.detail,
        )  # fmt: skip

    def mark_gone(self, stream: Stream, seq: int) -> None:
        self._do("UPDATE order_row SET gone = 1 WHERE stream = ? AND seq = ?", (stream.key, seq))

    def open_span(self, stream: Stream, person: str, seq: int) -> None:
        self._spans.pop((stream.key, person), None)
        self._insert("span", stream.key, person, seq, None)

    def close_span(self, stream: Stream, person: str, seq: int) -> None:
        self._spans.pop((stream.key, person), None)
        self._do(
            "UPDATE span SET `left` = ? WHERE stream = ? AND person = ? AND `left` IS NULL", (seq, stream.key, person)
        )

    def mark(self, author: str, text: bytes) -> bytes:
        return self._sealer.mark(author, text)

    def add_post(
        self, author: str, client_id: str, mark: bytes, entry: str, room: str, state: str,
        seq: int | None, code: str | None, body: bytes | None,
    ) -> None:  # fmt: skip
        """The one place where a text is sealed and stored."""
        kept = self._keep_text(entry, self._sealer.seal(author, entry, body)) if body is not None else None
        self._insert("post", entry, author, client_id, mark, room, state, seq, code, state == "refused", kept)

    def set_fate(self, entry: str, state: str, seq: int | None, code: str | None) -> None:
        self._do("UPDATE post SET state = ?, seq = ?, code = ? WHERE entry = ?", (state, seq, code, entry))

    def erase_body(self, entry: str) -> None:
        self._erase("post.entry = ?", entry)

    def erase_author(self, author: str) -> list[str]:
        rooms = self._all(
            "SELECT DISTINCT room FROM post WHERE author = ? AND state <> 'refused' ORDER BY room", (author,)
        )
        self._erase("post.author = ?", author)
        return [room for (room,) in rooms]

    def _erase(self, which: str, value: str) -> None:
        """Make texts unreadable, and forget their marks, by which a text could be guessed."""
        self.erased |= self._wipe(which, value) > 0
        self._do(f"UPDATE post SET body = NULL, mark = x'' WHERE {which}", (value,))

    @abstractmethod
    def _wipe(self, which: str, value: str) -> int:
        """Remove the texts of the posts that `which` names from their table; how many."""

    def dequeue(self, dest: str, stream: str, out_no: int) -> AnyEffect | None:
        found = self._one(
            "DELETE FROM outbox WHERE dest = ? AND stream = ? AND out_no = ? RETURNING effect", (dest, stream, out_no)
        )
        return decode_effect(found[0]) if found else None

    def enqueue(self, dest: str, stream: str, effect: AnyEffect) -> None:
        self.queued = True
        self._insert("outbox", dest, stream, self._next_out_no(dest, stream), encode_effect(effect))

    @abstractmethod
    def _next_out_no(self, dest: str, stream: str) -> int: ...

    def begin_epoch(self, epoch: int) -> list[Outgoing]:
        found = self._all("SELECT dest, stream, out_no, effect FROM outbox ORDER BY dest, stream, out_no")
        for table in ("outbox", "out_no", "applied"):
            self._do(f"DELETE FROM {table}")
        self._do(f"UPDATE {self.META} SET epoch = ?", (epoch,))
        return [Outgoing(dest, stream, out_no, decode_effect(effect)) for dest, stream, out_no, effect in found]

    def set_applied(self, source: str, epoch: int, stream: str, out_no: int, result: Result) -> None:
        self._insert("applied", source, epoch, stream, out_no, result.state, result.seq, result.code)

    def trim_applied(self, source: str, epoch: int, stream: str, below: int) -> None:
        self._do(
            "DELETE FROM applied WHERE source = ? AND epoch = ? AND stream = ? AND out_no < ?",
            (source, epoch, stream, below),
        )

    def _changed(self) -> list[Stream]:
        """The streams to write back."""
        return [stream for stream in self._streams.values() if stream is not None and stream.changed]


def row_of(stream: str, values: Any) -> Row:
    seq, kind, entry, author, target, no, at, gone, detail = values
    return Row(stream, seq, kind, entry, author, target, no, at, bool(gone), detail)
