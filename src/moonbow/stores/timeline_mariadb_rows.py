"""The timeline's tables in MariaDB, and transactions over them that need few round trips.

What posts will ask for is read before they run, with the locks they need, in two questions; what they write is kept
back and leaves with the commit, one statement a table.  A body is one row of its own, deleted when it is erased.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moonbow.base.ids import home, inbox_of
from moonbow.timeline.model import Known, Post, Row, Span, Stream
from moonbow.timeline.policy import is_member
from moonbow.vault.ports import Sealer

from .mariadb_link import Link, fill, literal
from .timeline_mariadb_members import Mark, Members
from .timeline_mariadb_reads import META, TEXT_OF_POST, tuple_of
from .timeline_sql import STREAM, SqlTx

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
LATEST_TX = ("SET SESSION wsrep_sync_wait = 1", "START TRANSACTION", "SET SESSION wsrep_sync_wait = 0")


class MariaTx(SqlTx):
    """`timeline.ports.Tx`: READ COMMITTED, with the rows of streams and seats locked as they are read.

    Whoever changes a stream holds its row, here by InnoDB's lock, at other sites by Galera's certification of it.
    """

    TEXT_OF_POST = TEXT_OF_POST
    META = META
    LOCK = " FOR UPDATE"

    def __init__(self, link: Link, region: str, sealer: Sealer, now_ms: int, members: Members) -> None:
        super().__init__(region, sealer, now_ms)
        self._link, self._members = link, members
        self._marks: dict[str, Mark] = {}  # of streams that were locked before anything was read
        self._seats: set[tuple[str, str]] = set()  # (stream, person) that are known since
        self._known: dict[tuple[str, str], Known | None] = {}
        self._gone: dict[str, bool] = {}
        self._far: dict[int, list[tuple[str, Span]]] = {}
        self._kept: dict[str, list[str]] = {}  # rows to insert, by table
        self._kept_bytes = self._written = 0

    def begin(self, posts: Sequence[Post], *, latest: bool, look: bool) -> None:
        """Open the transaction; lock and read what `posts` will ask for.

        `latest`: first wait until this node has all that was acknowledged at any site.  Without `look` no client id is
        taken to be known: one that is makes the engine refuse the write.
        """
        for statement in LATEST_TX if latest else ():
            self._link.run(statement)
        if posts:
            self._lock({post.room for post in posts} | _inboxes(posts, self.region))
            self._foresee(posts, look=look)

    def _lock(self, streams: set[str]) -> None:
        found = self._link.run(
            f"SELECT {STREAM}, erasures FROM stream FORCE INDEX (id) WHERE id IN {tuple_of(sorted(streams))}"
            " ORDER BY id FOR UPDATE"
        )[0]
        self._streams = dict.fromkeys(streams)
        for *columns, erasures in found:
            stream = Stream(*columns)
            self._streams[stream.ident] = stream
            self._marks[stream.ident] = Mark(stream.key, stream.head, erasures)

    def _foresee(self, posts: Sequence[Post], *, look: bool) -> None:
        """Who is gone, the memberships, and which client ids are known: what is not remembered, in one question.

        Pairs are joined as a table in a forced order: `(a, b) IN (…)` of hundreds becomes a scan that compares each row
        with each pair (0.6 s for 512 of 1,000).
        """
        keys = {(post.author, post.client_id) for post in posts}
        self._known = dict.fromkeys(keys)
        authors, seats = self._recall(posts)
        tables, questions = [], []
        if authors:
            questions.append(
                "SELECT 'gone', person, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM gone"
                f" WHERE person IN {tuple_of(authors)}"
            )
        if look:
            tables.append(f"asked(a, c) AS (VALUES {','.join(map(tuple_of, keys))})")
            questions.append(
                "SELECT STRAIGHT_JOIN 'post', author, client_id, mark, entry, state, seq, code, early"
                " FROM asked JOIN post FORCE INDEX (author) ON author = asked.a AND client_id = asked.c"
            )
        if seats:
            tables.append(f"seats(s, p) AS (VALUES {','.join(map(tuple_of, seats))})")
            questions.append(
                "SELECT STRAIGHT_JOIN 'span', person, NULL, NULL, NULL, NULL, stream, joined, `left`"
                " FROM seats JOIN span FORCE INDEX (PRIMARY) ON stream = seats.s AND person = seats.p"
            )
        if questions:
            named = f"WITH {', '.join(tables)} " if tables else ""
            self._learn(self._link.run(named + " UNION ALL ".join(questions))[0])

    def _recall(self, posts: Sequence[Post]) -> tuple[set[str], set[tuple[int, str]]]:
        """Take what is remembered of the authors' memberships; of whom it must be asked whether they are gone, and
        which memberships are not known."""
        authors: set[str] = set()
        seats: set[tuple[int, str]] = set()
        for post in posts:
            stream = self._streams[post.room]
            if stream is None:
                authors.add(post.author)
                continue
            self._seats.add((stream.ident, post.author))
            spans = self._members.of(stream.ident, self._marks[stream.ident]).get(post.author)
            if spans is None:
                authors.add(post.author)
                seats.add((stream.key, post.author))
            else:
                self._spans[stream.key, post.author] = spans
                self._gone[post.author] = False
        self._gone.update(dict.fromkeys(authors, False))
        self._spans.update({seat: [] for seat in seats})
        return authors, seats

    def _learn(self, found: Sequence[Any]) -> None:
        """Take the answers to `_foresee`'s question."""
        for what, person, client_id, mark, entry, state, number, code, last in found:
            if what == "gone":
                self._gone[person] = True
            elif what == "post":
                self._known[person, client_id] = Known(mark, entry, state, number, code, bool(int(last)))
            else:
                self._spans[number, person].append(Span(int(code), None if last is None else int(last)))
                self._spans[number, person].sort()

    def remember(self) -> None:
        """After the commit: keep what is known of who may write to the streams that were locked."""
        members: dict[str, dict[str, list[Span]]] = {}
        for ident, person in self._seats:
            stream = self._streams[ident]
            spans = self._spans.get((stream.key, person), []) if stream is not None else []
            if is_member(spans) and not self._gone[person]:
                members.setdefault(ident, {})[person] = spans
        for ident, those in members.items():
            stream, before = self._streams[ident], self._marks[ident]
            assert stream is not None, "it was locked"
            self._members.keep(ident, before, before._replace(head=stream.head), those)

    def commit(self) -> None:
        """Write what was kept back and the streams that changed, and commit."""
        self._write_kept()
        self._write_heads()
        self._link.run("COMMIT")

    def writes(self) -> int:
        return self._written

    # -- reads that need no question ---------------------------------------------------------------------------------

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        self._written += not sql.startswith("SELECT")
        self._write_kept()
        return list(self._link.run(fill(sql, values))[0])

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
        self._written += 1
        self._write_kept()
        return self._link.change(fill(sql, values))

    def _insert(self, table: str, *values: object) -> None:
        self._written += 1
        row = f"({','.join(map(literal, values))})"
        self._kept.setdefault(table, []).append(row)
        self._kept_bytes += len(row)
        if self._kept_bytes > PACKET_BYTES_MAX:
            self._write_kept()

    def _write_kept(self) -> None:
        kept, self._kept, self._kept_bytes = self._kept, {}, 0
        for table, rows in kept.items():
            self._link.run(f"INSERT INTO {table} VALUES {','.join(rows)}")

    def _write_heads(self) -> None:
        rows = [
            tuple_of((s.key, s.ident, s.head, s.no, s.creator, s.card, ",".join(s.regions), s.pair, 0))
            for s in self._changed()
        ]
        if rows:
            self._link.run(
                f"INSERT INTO stream VALUES {','.join(rows)} ON DUPLICATE KEY UPDATE head = VALUES(head),"
                " no = VALUES(no), card = VALUES(card), regions = VALUES(regions)"
            )

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
        self._seats.clear()
        self._do("INSERT IGNORE INTO gone VALUES (?)", (person,))
        self._do("UPDATE stream SET erasures = erasures + 1 WHERE id = ?", (inbox_of(person),))
        self._do(
            "UPDATE span JOIN stream ON stream.`key` = span.stream SET stream.erasures = stream.erasures + 1"
            " WHERE span.person = ? AND span.`left` IS NULL",
            (person,),
        )


def _inboxes(posts: Sequence[Post], region: str) -> set[str]:
    """Where posts to rooms of other regions leave a row here."""
    return {inbox_of(post.author) for post in posts if home(post.room) != region}
