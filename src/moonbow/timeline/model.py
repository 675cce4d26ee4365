"""Values of the timeline: rows of the order, what a person posts, what crosses a border, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

ROOM_KINDS = frozenset({"entry", "redaction", "join", "leave", "erasure"})


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row of the order of a stream: ids and a time, nothing anybody wrote.

    `seq` is dense from 1; `no` counts the messages up to and including this row; `at` is milliseconds since 1970.
    Kinds in a room: entry, redaction, join, leave, erasure; in an inbox: added, removed, kept, placed, refused.
    An entry whose `target` is its own room sets the room's card (its title) and is no message.
    `gone` says that the entry's text has been redacted or erased.
    `detail` is used in inboxes only: the seq of a placed entry, the reason of a refused one.
    """

    stream: str
    seq: int
    kind: str
    entry: str | None
    author: str | None
    target: str | None
    no: int
    at: int
    gone: bool = False
    detail: str | None = None


class Post(msgspec.Struct, frozen=True, gc=False):
    """What a person asks to have placed: `body` is its JSON text, `card` says that it sets the room's title."""

    author: str
    room: str
    client_id: str
    body: bytes
    card: bool = False


class Answer(NamedTuple):
    """The state of a post.  `seq` when placed, `code` when refused."""

    state: Literal["placed", "kept", "refused"]
    entry: str | None = None
    seq: int | None = None
    code: str | None = None


class Effect(msgspec.Struct, frozen=True, array_like=True, tag_field="k", gc=False):
    """Base of everything that crosses a border through an outbox.  Ids only."""


class PlaceEntry(Effect, frozen=True, tag="entry", gc=False):
    """Give this entry of a far author its place in the room."""

    entry: str
    author: str
    card: bool


class RedactEntry(Effect, frozen=True, tag="redact", gc=False):
    """Mark this entry as redacted, if `actor` may."""

    entry: str
    actor: str


class ErasePerson(Effect, frozen=True, tag="erase", gc=False):
    """Mark everything this person wrote in the room as erased."""

    person: str


class ChangeMember(Effect, frozen=True, tag="member", gc=False):
    """Let `person` join or leave, if `actor` may say so."""

    actor: str
    person: str
    join: bool


class Notice(Effect, frozen=True, tag="notice", gc=False):
    """Tell a person that they were added to or removed from a room.  The stream is their inbox."""

    room: str
    added: bool


AnyEffect = PlaceEntry | RedactEntry | ErasePerson | ChangeMember | Notice


class Result(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of an effect: placed(seq), refused(code), done or noop."""

    state: str
    seq: int | None = None
    code: str | None = None


class Applied(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The answer to one sent effect: its result, or None and the number `expected` instead."""

    out_no: int
    result: Result | None
    expected: int = 0


class Outgoing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row of an outbox queue; `out_no` is dense within (destination region, stream)."""

    dest: str
    stream: str
    out_no: int
    effect: AnyEffect


class Stream:
    """The state of one stream inside a transaction; the adapter writes it back when it changed.

    `head` is the last seq, `no` the messages so far, `regions` every region that ever had a member,
    `card` the entry that set the title last, `pair` the two people of a direct room.
    """

    __slots__ = ("card", "changed", "creator", "head", "ident", "key", "no", "pair", "regions")

    def __init__(
        self, ident: str, key: int, head: int, no: int, creator: str, card: str | None, regions: str, pair: str | None
    ) -> None:
        self.ident, self.key, self.head, self.no, self.creator = ident, key, head, no, creator
        self.card, self.regions, self.pair = card, tuple(regions.split(",")) if regions else (), pair
        self.changed = False

    def add_region(self, region: str) -> None:
        """Remember that `region` has had a member."""
        if region not in self.regions:
            self.regions = (*self.regions, region)
            self.changed = True


class Fresh(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row to publish after the commit, with the body if it rests here.

    `row_regions`: other regions that keep a copy and should hear of the row (only from the stream's home).
    `body_regions`: other regions with a person who may see this very row (only from the author's home).
    """

    row: Row
    body: bytes | None = None
    row_regions: tuple[str, ...] = ()
    body_regions: tuple[str, ...] = ()


class Known(NamedTuple):
    """What is remembered of a client id.  `early` = refused here at once, so that no entry ever existed."""

    mark: bytes
    entry: str
    state: str
    seq: int | None
    code: str | None
    early: bool


class Stored(NamedTuple):
    """A body at rest here; None once it has been redacted or erased."""

    author: str
    room: str
    body: bytes | None


class Span(NamedTuple):
    """A time of membership: from the join row to the leave row, both included; `left` is None while it lasts."""

    joined: int
    left: int | None

    def covers(self, seq: int) -> bool:
        """Whether somebody with this membership may see the row at `seq`."""
        return self.joined <= seq and (self.left is None or seq <= self.left)


class RoomView(msgspec.Struct, frozen=True):
    """A room as one member's list shows it, before names and titles are looked up."""

    ident: str
    kind: Literal["group", "direct"]
    creator: str
    head: int
    no: int
    read: int
    unread: int
    members: int
    others: list[str]
    joined: bool
    card: str | None
    last_at: int | None


class BodyAnswer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A body as its owner gives it: `ok` with the JSON text, `erased`, `not_yet`, or `hidden` from the asker."""

    entry: str
    state: Literal["ok", "erased", "not_yet", "hidden"]
    body: bytes | None = None


def text_body(text: str, files: Sequence[dict[str, Any]] = ()) -> bytes:
    """The body of a message, with what is said of the files that it carries."""
    body: dict[str, Any] = {"kind": "text", "text": text}
    return _encode({**body, "files": list(files)} if files else body)


def title_body(title: str) -> bytes:
    """The body of an entry that sets a room's title."""
    return _encode({"kind": "title", "title": title})


def read_body(body: bytes) -> dict[str, Any]:
    """The value of a body."""
    return _decode(body)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
encode_effect = msgspec.msgpack.Encoder().encode
decode_effect = msgspec.msgpack.Decoder(AnyEffect).decode
