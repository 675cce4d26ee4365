"""Decisions of reading: who is a member, who may see a row, what is unread, which region may have a body.

Laws: what `may_see` says of an ordinary row depends on rows up to it alone, so it never changes afterwards;
redactions and erasures go to whoever may see their target, even after leaving.
"""

from __future__ import annotations

from collections.abc import Sequence

from moonbow.base.errors import Refused
from moonbow.base.ids import home

from .model import Answer, Applied, BodyAnswer, Result, RoomView, Row, Span, Stream
from .ports import Reads


def is_direct(room: str) -> bool:
    """Whether a room is the direct one of two people, whose membership never changes."""
    return room.startswith("dir_")


def is_inbox(stream: str) -> bool:
    """Whether a stream is somebody's inbox."""
    return stream.startswith("inb_")


def pair_of(one: str, other: str) -> str:
    """The name of a pair of people, whoever asks."""
    return "|".join(sorted((one, other)))


def direct_home(one: str, other: str) -> str:
    """The region in which the direct room of two people is homed."""
    return home(min(one, other))


def is_member(spans: Sequence[Span]) -> bool:
    """Whether somebody with these times of membership is a member now."""
    return any(span.left is None for span in spans)


def covers(spans: Sequence[Span], seq: int) -> bool:
    """Whether somebody with these times of membership may see the row at `seq`."""
    return any(span.covers(seq) for span in spans)


def sees(store: Reads, stream: Stream, person: str, spans: Sequence[Span], row: Row) -> bool:
    """Whether a person may see a row of a room."""
    if row.kind == "redaction":
        target = store.find_entry(row.target or "")
        return target is not None and covers(spans, target.seq)
    if row.kind == "erasure":
        return any(covers(spans, e.seq) for e in store.entries_of(stream, row.target or "") if e.seq < row.seq)
    return covers(spans, row.seq)


def visible(store: Reads, person: str, ident: str, after: int, limit: int) -> tuple[list[Row], int, bool]:
    """A person's rows of a stream beyond `after`: the rows, the head reached, and whether it is the stream's head.

    At most `limit` rows are looked at; the head reached is the seq of the last one looked at.
    """
    store.expect(ident, person, limit, after=after)
    stream = store.stream(ident)
    if stream is None:
        return [], 0, True
    rows = store.rows_after(stream, after, limit)
    reached = rows[-1].seq if rows else stream.head
    if is_inbox(ident):
        return rows, reached, reached >= stream.head
    spans = store.spans(stream, person)
    if len(spans) == 1 and spans[0].left is None and not any(r.kind in ("redaction", "erasure") for r in rows):
        return [row for row in rows if row.seq >= spans[0].joined], reached, reached >= stream.head
    return [row for row in rows if sees(store, stream, person, spans, row)], reached, reached >= stream.head


def open_view(
    store: Reads, person: str, ident: str, after: int, limit: int
) -> tuple[list[tuple[Row, bytes | None]], int, bool, bool]:
    """What a session is to be shown of a stream: rows with the bodies that rest here, the head reached, whether that
    is the stream's head, and whether the person is a member now (of one's own inbox always)."""
    rows, reached, complete = visible(store, person, ident, after, limit)
    own = [r.entry for r in rows if r.kind == "entry" and r.entry and not r.gone and home(r.entry) == store.region]
    bodies = store.bodies(own) if own else {}
    items = [(row, bodies[row.entry].body if row.entry in bodies else None) for row in rows]
    stream = store.stream(ident)
    member = is_inbox(ident) or (stream is not None and is_member(store.spans(stream, person)))
    return items, reached, complete, member


def page_before(store: Reads, person: str, ident: str, before: int, limit: int) -> tuple[list[Row], int, bool]:
    """The last `limit` visible rows before seq `before`, ascending; the room's head; whether older ones exist."""
    store.expect(ident, person, limit, before=before)
    stream = store.stream(ident)
    spans = store.spans(stream, person) if stream is not None else []
    if stream is None or not spans:
        return [], 0, False
    found: list[Row] = []
    while len(found) < limit:
        rows = store.rows_before(stream, before, limit)
        if not rows:
            break
        before = rows[0].seq
        found = [row for row in rows if sees(store, stream, person, spans, row)] + found
    older = before > spans[0].joined
    return found[-limit:], stream.head, older or len(found) > limit


def unread(store: Reads, stream: Stream, person: str, read: int) -> int:
    """Messages after the read cursor, minus one's own."""
    if read >= stream.head:
        return 0
    at = store.row(stream, read)
    return stream.no - (at.no if at else 0) - store.own_messages_after(stream, person, read)


def room_view(store: Reads, person: str, ident: str) -> RoomView | None:
    """A room as one person's list shows it; None for a stranger or before its order has arrived."""
    stream = store.stream(ident)
    if stream is None:
        return None
    spans = store.spans(stream, person)
    joined = is_member(spans)
    if not spans:
        return None
    read, _ = store.seat(person, ident)
    members = store.members(stream)
    last = store.row(stream, stream.head)
    return RoomView(
        ident=ident,
        kind="direct" if is_direct(ident) else "group",
        creator=stream.creator,
        head=stream.head,
        no=stream.no,
        read=read,
        unread=unread(store, stream, person, read) if joined else 0,
        members=len(members),
        others=[p for p, _ in members if p != person][:4],
        joined=joined,
        card=stream.card,
        last_at=last.at if last else None,
    )


def written_by(store: Reads, person: str) -> int:
    """How many entries a person has in the rooms that they are or were in, with and without their texts."""
    streams = (store.stream(room) for room in store.seats(person))
    return sum(len(store.entries_of(stream, person)) for stream in streams if stream is not None)


def is_refusal(result: object, error: BaseException | None) -> bool:
    """Whether an operation came to nothing because of what it saw: a store whose state may be a moment old looks again
    at the latest before it says so."""
    match result:
        case Answer(state="refused") | Result(state="refused" | "noop") | Applied(result=None):
            return True
        case Answer() | Result():  # they are sequences too
            return False
        case Applied(result=inner):
            return is_refusal(inner, None)
        case [*results]:
            return any(is_refusal(each, None) for each in results)
        case _:
            return isinstance(error, Refused)


def was_there(store: Reads, person: str, ident: str) -> bool:
    """Whether a person is or was a member of a room."""
    stream = store.stream(ident)
    return stream is not None and bool(store.spans(stream, person))


def rooms_of(store: Reads, person: str) -> list[RoomView]:
    """Every room a person is a member of."""
    views = (room_view(store, person, room) for room in store.seats(person))
    return [view for view in views if view is not None and view.joined]


def bodies_for(store: Reads, caller: str, room: str, entries: Sequence[str], as_of: int) -> list[BodyAnswer]:
    """The bodies of entries of ours that region `caller` asks for: only what a person there may see.

    Answered only when our own copy has reached `as_of`, the highest seq asked for: before, we cannot know who may.
    """
    stream = store.stream(room)
    if stream is None or stream.head < as_of:
        return [BodyAnswer(entry, "not_yet") for entry in entries]
    stored = store.bodies(entries)
    answers = []
    for entry in entries:
        row, body = store.find_entry(entry), stored.get(entry)
        if row is None or row.stream != room or body is None or not store.region_sees(stream, caller, row.seq):
            answers.append(BodyAnswer(entry, "hidden"))
        elif row.gone or body.body is None:
            answers.append(BodyAnswer(entry, "erased"))
        else:
            answers.append(BodyAnswer(entry, "ok", body.body))
    return answers
