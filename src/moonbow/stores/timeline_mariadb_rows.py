"""The timeline's tables in MariaDB, and transactions over them that need few round trips.

What posts will ask for is read before they run, with the locks they need, in one packet; what they write is kept back
and leaves in another, with the commit.  A body is one row of its own, deleted when it is erased.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from moonbow.base.ids import home, inbox_of
from moonbow.timeline.model import Known, Post, Row, Span, Stream
from moonbow.vault.ports import Sealer

from .mariadb_link import Link, fill, literal
from .timeline_sql import STREAM, RememberingReads, Sealed, SqlTx

VERSION = 1
PACKET_BYTES_MAX = 4 * 1_048_576  # of what is kept back; the server takes 16 MiB
_ID = "VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin"
_SHORT = "VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin"
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS stream(`key` BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, id {_ID} NOT NULL UNIQUE,
    head BIGINT NOT NULL, no BIGINT NOT NULL, creator {_ID} NOT NULL, card {_ID},
    regions VARCHAR(400) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    pair VARCHAR(130) CHARACTER SET ascii COLLATE ascii_bin UNIQUE, erasures BIGINT NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS order_row(stream BIGINT NOT NULL, seq BIGINT NOT NULL, kind {_SHORT} NOT NULL, entry {_ID},
    author {_ID}, target {_ID}, no BIGINT NOT NULL, at BIGINT NOT NULL, gone TINYINT NOT NULL, detail {_ID},
    placed TINYINT, PRIMARY KEY(stream, seq), UNIQUE(entry, placed));
CREATE TABLE IF NOT EXISTS span(stream BIGINT NOT NULL, person {_ID} NOT NULL, joined BIGINT NOT NULL, `left` BIGINT,
    PRIMARY KEY(stream, person, joined), KEY(person));
CREATE TABLE IF NOT EXISTS post(entry {_ID} PRIMARY KEY, author {_ID} NOT NULL, client_id {_ID} NOT NULL,
    mark VARBINARY(16) NOT NULL, room {_ID} NOT NULL, state {_SHORT} NOT NULL, seq BIGINT, code {_SHORT},
    early TINYINT NOT NULL, body TINYINT, UNIQUE(author, client_id));
CREATE TABLE IF NOT EXISTS seat(person {_ID} NOT NULL, room {_ID} NOT NULL, `read` BIGINT NOT NULL,
    invited TINYINT NOT NULL, PRIMARY KEY(person, room), KEY(room));
CREATE TABLE IF NOT EXISTS outbox(dest {_SHORT} NOT NULL, stream {_ID} NOT NULL, out_no BIGINT NOT NULL,
    effect BLOB NOT NULL, PRIMARY KEY(dest, stream, out_no));
CREATE TABLE IF NOT EXISTS out_no(dest {_SHORT} NOT NULL, stream {_ID} NOT NULL, last BIGINT NOT NULL,
    PRIMARY KEY(dest, stream));
CREATE TABLE IF NOT EXISTS applied(source {_SHORT} NOT NULL, epoch BIGINT NOT NULL, stream {_ID} NOT NULL,
    out_no BIGINT NOT NULL, state {_SHORT} NOT NULL, seq BIGINT, code {_SHORT},
    PRIMARY KEY(source, epoch, stream, out_no));
CREATE TABLE IF NOT EXISTS gone(person {_ID} PRIMARY KEY);
CREATE TABLE IF NOT EXISTS body(entry {_ID} PRIMARY KEY, text MEDIUMBLOB NOT NULL);
CREATE TABLE IF NOT EXISTS timeline_meta(one TINYINT PRIMARY KEY, made_for {_SHORT} NOT NULL, version INT NOT NULL,
    epoch BIGINT NOT NULL);
"""  # `placed` is 1 for a room's entry: an entry has one place, and may be spoken of in inboxes as often as need be
LATEST_TX = "SET SESSION wsrep_sync_wait = 1;START TRANSACTION;SET SESSION wsrep_sync_wait = 0"
_TEXT_OF_POST = "body.entry = post.entry"
_META = "timeline_meta"


# Fifty rows in one value cost the client a fraction of fifty rows: it reads every column of every row by itself.  Ids,
# kinds and codes hold no control characters; texts travel beside, one after the other, their lengths in the rows.
ROWS_JOINED_MAX = 4_000  # of at most 400 bytes each; the server lets values of 16 MiB through
TEXTS_JOINED_MAX = 200  # of at most 17 KiB each
_FIELD, _LINE = "\x1f", "\x1e"
_TEXT_BYTES = "ifnull(length(text), -1)"
_ROW_FIELDS = (
    "some.seq", "some.kind", "ifnull(some.entry, '')", "ifnull(some.author, '')", "ifnull(some.target, '')", "some.no",
    "some.at", "some.gone", "ifnull(some.detail, '')",
)  # fmt: skip


def _row(stream: str, fields: list[str]) -> Row:
    seq, kind, entry, author, target, no, at, gone, detail, *_ = fields
    return Row(
        stream, int(seq), kind, entry or None, author or None, target or None, int(no), int(at), gone == "1",
        detail or None,
    )  # fmt: skip


class MariaReads(RememberingReads):
    """`timeline.ports.Reads` on one snapshot.  `begin` opens it, and goes out with the first question."""

    TEXT_OF_POST = _TEXT_OF_POST
    META = _META

    def __init__(self, link: Link, region: str, sealer: Sealer, begin: str) -> None:
        super().__init__(region, sealer)
        self._link, self._begin = link, begin
        self._sealed: dict[str, Sealed] = {}

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        begin, self._begin = self._begin, ""
        return list(self._link.run(begin + fill(sql, values))[-1])

    def rows_after(self, stream: Stream, after: int, limit: int) -> list[Row]:
        if limit > ROWS_JOINED_MAX:
            return super().rows_after(stream, after, limit)
        return self._rows(stream, after + 1, after + limit)

    def rows_before(self, stream: Stream, before: int, limit: int) -> list[Row]:
        if limit > ROWS_JOINED_MAX:
            return super().rows_before(stream, before, limit)
        beyond = min(before, stream.head + 1)
        return self._rows(stream, beyond - limit, beyond - 1)

    def _rows(self, stream: Stream, first: int, last: int) -> list[Row]:
        """The rows from `first` to `last`, both included; with a page of them the texts that will be asked for next."""
        page = last - first < TEXTS_JOINED_MAX
        join = "LEFT JOIN body ON body.entry = some.entry AND kind = 'entry'" if page else ""
        lines = self._joined(
            (*_ROW_FIELDS, *([_TEXT_BYTES] if page else [])),
            f"order_row some {join} WHERE stream = ? AND seq BETWEEN ? AND ?",
            (stream.key, first, last),
        )
        found: list[Row] = []
        for fields, sealed in lines:
            row = _row(stream.ident, fields)
            if page and row.entry and row.kind == "entry" and home(row.entry) == self.region:
                self._sealed[row.entry] = (row.entry, row.author or "", stream.ident, sealed)
            found.append(row)
        return sorted(found, key=lambda row: row.seq)

    def _texts(self, entries: Sequence[str]) -> list[Sealed]:
        absent = [entry for entry in entries if entry not in self._sealed]
        found = [self._sealed[entry] for entry in entries if entry in self._sealed]
        for start in range(0, len(absent), TEXTS_JOINED_MAX):
            some = absent[start : start + TEXTS_JOINED_MAX]
            lines = self._joined(
                ("post.entry", "author", "room", _TEXT_BYTES),
                f"post LEFT JOIN body ON {self.TEXT_OF_POST} WHERE post.entry IN {_tuple(some)}",
            )
            found += [(entry, author, room, sealed) for (entry, author, room, _), sealed in lines]
        return found

    def _joined(
        self, fields: Sequence[str], source: str, values: Sequence[object] = ()
    ) -> Iterator[tuple[list[str], bytes | None]]:
        """Rows that travel as one value, and the text of each if its bytes are counted last."""
        text = "group_concat(text SEPARATOR '')" if fields[-1] == _TEXT_BYTES else "NULL"
        ((joined, texts),) = self._all(
            f"SELECT group_concat(concat_ws('{_FIELD}', {', '.join(fields)}) SEPARATOR '{_LINE}'), {text}"
            f" FROM {source}",
            values,
        )
        start = 0
        for line in joined.split(_LINE) if joined else ():
            found = line.split(_FIELD)
            count = int(found[-1]) if text != "NULL" else -1
            yield found, texts[start : start + count] if count >= 0 else None
            start += max(count, 0)


class MariaTx(SqlTx):
    """`timeline.ports.Tx`: READ COMMITTED, with the rows of streams and seats locked as they are read.

    Whoever changes a stream holds its row, here by InnoDB's lock, at other sites by Galera's certification of it.
    """

    TEXT_OF_POST = _TEXT_OF_POST
    META = _META
    LOCK = " FOR UPDATE"

    def __init__(self, link: Link, region: str, sealer: Sealer, now_ms: int) -> None:
        super().__init__(region, sealer, now_ms)
        self._link = link
        self._known: dict[tuple[str, str], Known | None] = {}
        self._gone: dict[str, bool] = {}
        self._far: dict[int, list[tuple[str, Span]]] = {}
        self._kept: dict[str, list[str]] = {}  # rows to insert, by table
        self._kept_bytes = self._written = 0

    def begin(self, posts: Sequence[Post], *, latest: bool) -> None:
        """Open the transaction; lock and read what `posts` will ask for.

        `latest`: first wait until this node has all that was acknowledged at any site.
        """
        begin = LATEST_TX if latest else "START TRANSACTION"
        if not posts:
            self._link.run(begin)
            return
        rooms = {post.room for post in posts}
        inboxes = {inbox_of(post.author) for post in posts if home(post.room) != self.region}
        authors = {post.author for post in posts}
        streams = sorted(rooms | inboxes)
        keys = {(post.author, post.client_id) for post in posts}
        seats = {(post.room, post.author) for post in posts}
        *_, found, gone, known, spans = self._link.run(
            f"{begin};"
            f"SELECT {STREAM} FROM stream FORCE INDEX (id) WHERE id IN {_tuple(streams)} ORDER BY id FOR UPDATE;"
            f"SELECT person FROM gone WHERE person IN {_tuple(authors)};"
            "SELECT author, client_id, mark, entry, state, seq, code, early FROM post"
            f" WHERE (author, client_id) IN ({','.join(map(_tuple, keys))});"
            "SELECT span.stream, person, joined, `left` FROM stream JOIN span ON span.stream = stream.`key`"
            f" WHERE (stream.id, person) IN ({','.join(map(_tuple, seats))}) ORDER BY joined"
        )
        self._streams = dict.fromkeys(streams) | {row[0]: Stream(*row) for row in found}
        self._gone = dict.fromkeys(authors, False) | {person: True for (person,) in gone}
        self._known = dict.fromkeys(keys) | {(row[0], row[1]): Known(*row[2:]) for row in known}
        for room, author in seats:
            if (stream := self._streams[room]) is not None:
                self._spans[stream.key, author] = []
        for key, person, joined, left in spans:
            self._spans[key, person].append(Span(joined, left))

    def commit(self) -> None:
        """Write what was kept back and the streams that changed, and commit: one packet."""
        self._link.run(";".join([*self._take_kept(), *self._heads_back(), "COMMIT"]))

    def writes(self) -> int:
        return self._written

    # -- reads that need no question ---------------------------------------------------------------------------------

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        self._written += not sql.startswith("SELECT")
        return list(self._link.run(";".join([*self._take_kept(), fill(sql, values)]))[-1])

    def post(self, author: str, client_id: str) -> Known | None:
        key = (author, client_id)
        if key not in self._known:
            self._known[key] = super().post(author, client_id)
        return self._known[key]

    def is_gone(self, person: str) -> bool:
        if person not in self._gone:
            self._gone[person] = super().is_gone(person)
        return self._gone[person]

    def region_sees(self, stream: Stream, region: str, seq: int) -> bool:
        if stream.key not in self._far:
            self._far[stream.key] = [
                (person, Span(joined, left))
                for person, joined, left in self._all(
                    "SELECT person, joined, `left` FROM span WHERE stream = ? AND person NOT LIKE ?",
                    (stream.key, f"usr\\_{self.region}\\_%"),
                )
            ]
        return any(person.startswith(f"usr_{region}_") and span.covers(seq) for person, span in self._far[stream.key])

    # -- writes ------------------------------------------------------------------------------------------------------

    def _do(self, sql: str, values: Sequence[object] = ()) -> int:
        """A change.  How many rows it touched comes with the packet's last answer."""
        self._written += 1
        found = self._link.run(";".join([*self._take_kept(), fill(sql, values), "SELECT ROW_COUNT()"]))
        return int(found[-1][0][0])

    def _insert(self, table: str, *values: object) -> None:
        self._written += 1
        row = f"({','.join(map(literal, values))})"
        self._kept.setdefault(table, []).append(row)
        self._kept_bytes += len(row)
        if self._kept_bytes > PACKET_BYTES_MAX:
            self._link.run(";".join(self._take_kept()))

    def _take_kept(self) -> list[str]:
        kept, self._kept, self._kept_bytes = self._kept, {}, 0
        return [f"INSERT INTO {table} VALUES {','.join(rows)}" for table, rows in kept.items()]

    def _heads_back(self) -> list[str]:
        rows = [
            _tuple((s.key, s.ident, s.head, s.no, s.creator, s.card, ",".join(s.regions), s.pair, 0))
            for s in self._changed()
        ]
        if not rows:
            return []
        return [
            f"INSERT INTO stream VALUES {','.join(rows)} ON DUPLICATE KEY UPDATE head = VALUES(head),"
            " no = VALUES(no), card = VALUES(card), regions = VALUES(regions)"
        ]

    def _new_stream(self, ident: str, creator: str, pair: str | None) -> int:
        self._do("INSERT INTO stream VALUES (NULL, ?, 0, 0, ?, NULL, '', ?, 0)", (ident, creator, pair))
        return int(self._all("SELECT `key` FROM stream WHERE id = ?", (ident,))[0][0])

    def add_row(self, stream: Stream, row: Row) -> None:
        self._insert(
            "order_row", stream.key, row.seq, row.kind, row.entry, row.author, row.target, row.no, row.at, row.gone,
            row.detail, 1 if row.kind == "entry" else None,
        )  # fmt: skip

    def open_span(self, stream: Stream, person: str, seq: int) -> None:
        super().open_span(stream, person, seq)
        self._far.pop(stream.key, None)

    def close_span(self, stream: Stream, person: str, seq: int) -> None:
        super().close_span(stream, person, seq)
        self._far.pop(stream.key, None)

    def add_post(
        self, author: str, client_id: str, mark: bytes, entry: str, room: str, state: str,
        seq: int | None, code: str | None, body: bytes | None,
    ) -> None:  # fmt: skip
        super().add_post(author, client_id, mark, entry, room, state, seq, code, body)
        self._known[author, client_id] = Known(mark, entry, state, seq, code, state == "refused")

    def set_fate(self, entry: str, state: str, seq: int | None, code: str | None) -> None:
        super().set_fate(entry, state, seq, code)
        self._known.clear()

    def _keep_text(self, entry: str, sealed: bytes) -> int:
        self._insert("body", entry, sealed)
        return 1

    def _wipe(self, which: str, value: str) -> int:
        self._known.clear()
        return self._do(f"DELETE body FROM body JOIN post ON post.entry = body.entry WHERE {which}", (value,))

    def set_seat(self, person: str, room: str, *, read: int | None = None, invited: bool | None = None) -> None:
        self._do(
            "INSERT INTO seat VALUES (?, ?, coalesce(?, 0), coalesce(?, 0)) ON DUPLICATE KEY UPDATE"
            " `read` = greatest(`read`, coalesce(?, `read`)), invited = coalesce(?, invited)",
            (person, room, read, invited, read, invited),
        )

    def _next_out_no(self, dest: str, stream: str) -> int:
        found = self._all(
            "INSERT INTO out_no VALUES (?, ?, 1) ON DUPLICATE KEY UPDATE last = last + 1 RETURNING last", (dest, stream)
        )
        return int(found[0][0])

    def set_gone(self, person: str) -> None:
        """Also write to every stream that the person may be writing to now, here or at another site: of the two
        transactions one waits or is run again, and then knows."""
        self._gone[person] = True
        self._do("INSERT IGNORE INTO gone VALUES (?)", (person,))
        self._do("UPDATE stream SET erasures = erasures + 1 WHERE id = ?", (inbox_of(person),))
        self._do(
            "UPDATE span JOIN stream ON stream.`key` = span.stream SET stream.erasures = stream.erasures + 1"
            " WHERE span.person = ? AND span.`left` IS NULL",
            (person,),
        )


def _tuple(values: Sequence[object] | set[str]) -> str:
    return f"({','.join(map(literal, values))})"
