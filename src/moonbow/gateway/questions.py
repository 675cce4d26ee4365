"""What the live side asks of the store: functions that run where the store reads."""

from __future__ import annotations

from collections.abc import Sequence

from moonbow.base import limits
from moonbow.base.ids import home
from moonbow.timeline import policy
from moonbow.timeline.model import RoomView, Row
from moonbow.timeline.ports import Reads
from moonbow.wire import values

from .frames import rfc3339


def snapshot(store: Reads, person: str, inbox: str) -> tuple[list[RoomView], dict[str, tuple[int, bool]]]:
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


def may_follow(store: Reads, person: str, ident: str) -> tuple[int, bool]:
    """A stream's head, and whether it concerns the person: one's own inbox, a room one is or was in."""
    stream = store.stream(ident)
    head = stream.head if stream is not None else 0
    if policy.is_inbox(ident):
        return head, ident[3:] == person[3:]
    read, invited = store.seat(person, ident)
    return head, invited or read > 0


def heads(store: Reads, streams: Sequence[str]) -> dict[str, int]:
    """Heads of streams."""
    return store.heads(streams)


def items_after(store: Reads, ident: str, after: int) -> list[tuple[Row, bytes | None]]:
    """Rows of a stream after a sequence number, with the bodies that rest here."""
    stream = store.stream(ident)
    rows = store.rows_after(stream, after, limits.RESUME_ROWS_MAX) if stream is not None else []
    own = [r.entry for r in rows if r.entry and r.kind == "entry" and home(r.entry) == store.region]
    bodies = store.bodies(own)
    return [(row, bodies[row.entry].body if row.entry in bodies else None) for row in rows]


def cards(store: Reads, cards: Sequence[str]) -> tuple[dict[str, Row], dict[str, bytes | None]]:
    """Rooms' titles by their entries: the rows, and the bodies that rest here."""
    rows = {card: row for card in cards if (row := store.find_entry(card)) is not None}
    return rows, {entry: stored.body for entry, stored in store.bodies(list(rows)).items()}


def rows_of(store: Reads, entries: Sequence[str]) -> list[Row]:
    """Rows of entries, in their order; those unknown here are left out."""
    return [row for entry in entries if (row := store.find_entry(entry)) is not None]


def gone(store: Reads, entries: Sequence[str]) -> set[str]:
    """Of some entries, those that were erased."""
    return {row.entry or "" for row in rows_of(store, entries) if row.gone}


def missing(store: Reads, person: str, entries: Sequence[str]) -> list[tuple[Row, bytes | None]]:
    """Of the entries a client lacks, those its person may see, with the bodies that rest here."""
    found = []
    for row in rows_of(store, entries):
        stream = store.stream(row.stream)
        if stream is not None and policy.covers(store.spans(stream, person), row.seq):
            found.append(row)
    bodies = store.bodies([row.entry or "" for row in found])
    return [(row, bodies[row.entry or ""].body if row.entry in bodies else None) for row in found]


def typing_regions(store: Reads, person: str, room: str) -> tuple[str, ...] | None:
    """The other regions of a room's members; None for who is not in it."""
    stream = store.stream(room)
    if stream is None or not policy.is_member(store.spans(stream, person)):
        return None
    return tuple(region for region in stream.regions if region != store.region)


def room_value(view: RoomView, title: str | None, state: values.State) -> values.Room:
    return values.Room(
        id=view.ident, region=home(view.ident), kind=view.kind, creator=view.creator, title=title, title_state=state,
        head=view.head, no=view.no, read=view.read, unread=view.unread, members=view.members, others=view.others,
        joined=view.joined, last_at=rfc3339(view.last_at) if view.last_at else None, card=view.card,
    )  # fmt: skip
