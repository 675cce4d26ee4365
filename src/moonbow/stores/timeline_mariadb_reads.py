"""Reading the timeline from MariaDB on one snapshot, with few questions and few values in their answers."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from moonbow.timeline.model import Row, Span, Stream
from moonbow.vault.ports import Sealer

from .mariadb_link import Link, fill, literal
from .timeline_sql import RememberingReads, Sealed

TEXT_OF_POST = "body.entry = post.entry"
META = "timeline_meta"


# A row travels as one value and its text: the client takes every column of every row by itself.  Ids, kinds and codes
# hold no control characters.
TEXTS_MAX = 200  # of at most 17 KiB each, read before they are asked for
_FIELD = "\x1f"
_STREAM = f"concat_ws('{_FIELD}', s.id, s.`key`, s.head, s.no, s.creator, ifnull(card, ''), regions, ifnull(pair, ''))"
_TIMES = "SELECT group_concat(concat(joined, '-', ifnull(`left`, ''))) FROM span WHERE stream = s.`key` AND person = ?"
_ROW = (
    f"concat_ws('{_FIELD}', some.seq, kind, ifnull(some.entry, ''), ifnull(author, ''), ifnull(target, ''), some.no,"
    " at, gone, ifnull(detail, ''))"
)
_TEXT = "LEFT JOIN body ON body.entry = some.entry AND kind = 'entry'"
_BEYOND = "least(?, s.head + 1)"
_seq = attrgetter("seq")


def _stream(line: str) -> tuple[Stream, list[Span]]:
    ident, key, head, no, creator, card, regions, pair, times = line.split(_FIELD)
    each = (time.split("-") for time in times.split(",")) if times else ()
    spans = sorted(Span(int(joined), int(left) if left else None) for joined, left in each)
    return Stream(ident, int(key), int(head), int(no), creator, card or None, regions, pair or None), spans


def _row(stream: str, line: str) -> Row:
    seq, kind, entry, author, target, no, at, gone, detail = line.split(_FIELD)
    return Row(
        stream, int(seq), kind, entry or None, author or None, target or None, int(no), int(at), gone == "1",
        detail or None,
    )  # fmt: skip


class More(Exception):
    """One question was not enough: a snapshot is needed."""


class MariaReads(RememberingReads):
    """`timeline.ports.Reads` on one snapshot.  `begin` opens it, and goes out with the first question.

    `alone`: an expected page is asked for without it, as one statement sees one moment; should more be asked then, it
    raises `More`.
    """

    TEXT_OF_POST = TEXT_OF_POST
    META = META

    def __init__(self, link: Link, region: str, sealer: Sealer, begin: str, *, alone: bool = False) -> None:
        super().__init__(region, sealer)
        self._link, self._begin, self._alone = link, begin, alone
        self._sealed: dict[str, Sealed] = {}
        self._expected: dict[tuple[str, int | None, int | None, int], list[Row]] = {}

    @property
    def open(self) -> bool:
        """Whether a snapshot is open."""
        return not self._begin

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        if self._begin and self._streams:
            raise More
        begin, self._begin = self._begin, ""
        return list(self._link.run(begin + fill(sql, values))[-1])

    def expect(
        self, ident: str, person: str, limit: int, *, after: int | None = None, before: int | None = None
    ) -> None:
        """Ask for a stream, a membership, a page of rows and their texts in one question."""
        if limit > TEXTS_MAX or ident in self._streams:
            return
        first, last = ("? + 1", "? + ?") if before is None else (f"{_BEYOND} - ?", f"{_BEYOND} - 1")
        question = fill(
            f"SELECT concat_ws('{_FIELD}', {_STREAM}, ifnull(({_TIMES}), '')) line, NULL text FROM stream s"
            f" WHERE s.id = ? UNION ALL SELECT {_ROW}, text FROM stream s JOIN order_row some ON some.stream = s.`key`"
            f" AND some.seq BETWEEN {first} AND {last} {_TEXT} WHERE s.id = ?",
            (person, ident, *((after, after, limit) if before is None else (before, limit, before)), ident),
        )
        found = self._link.run(question)[0] if self._alone and not self._streams else self._all(question)
        self._streams[ident] = None
        if found:
            stream, spans = _stream(found[0][0])
            self._streams[ident], self._spans[stream.key, person] = stream, spans
            self._expected[ident, after, before, limit] = self._taken(stream, found[1:])

    def rows_after(self, stream: Stream, after: int, limit: int) -> list[Row]:
        found = self._expected.get((stream.ident, after, None, limit))
        return self._rows(stream, after + 1, after + limit) if found is None else found

    def rows_before(self, stream: Stream, before: int, limit: int) -> list[Row]:
        found = self._expected.get((stream.ident, None, before, limit))
        beyond = min(before, stream.head + 1)
        return self._rows(stream, beyond - limit, beyond - 1) if found is None else found

    def _rows(self, stream: Stream, first: int, last: int) -> list[Row]:
        """The rows from `first` to `last`, both included; with a page of them the texts that will be asked for next."""
        values = (stream.key, first, last)
        if last - first >= TEXTS_MAX:
            found = self._all(f"SELECT {_ROW} FROM order_row some WHERE stream = ? AND seq BETWEEN ? AND ?", values)
            return sorted((_row(stream.ident, line) for (line,) in found), key=_seq)
        return self._taken(
            stream,
            self._all(
                f"SELECT {_ROW}, text FROM order_row some {_TEXT} WHERE stream = ? AND seq BETWEEN ? AND ?", values
            ),
        )

    def _taken(self, stream: Stream, found: Sequence[tuple[str, bytes | None]]) -> list[Row]:
        """Rows that came with their texts, which are kept until they are asked for."""
        rows = []
        own = f"_{self.region}_"
        for line, sealed in found:
            row = _row(stream.ident, line)
            if row.kind == "entry" and row.entry and row.entry.startswith(own, 3):
                self._sealed[row.entry] = (row.entry, row.author or "", stream.ident, sealed)
            rows.append(row)
        rows.sort(key=_seq)
        return rows

    def _texts(self, entries: Sequence[str]) -> list[Sealed]:
        absent = [entry for entry in entries if entry not in self._sealed]
        found = [self._sealed[entry] for entry in entries if entry in self._sealed]
        return [*found, *super()._texts(absent)] if absent else found


def tuple_of(values: Sequence[object] | set[str]) -> str:
    """Values in brackets, as they stand in a statement."""
    return f"({','.join(map(literal, values))})"
