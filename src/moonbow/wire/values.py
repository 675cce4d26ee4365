"""Values that both faces of the API, REST and stream, speak.  Times are RFC 3339 in UTC."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

State = Literal["ok", "held", "erased", "waiting"]
PresenceState = Literal["online", "away", "busy", "dnd", "invisible", "offline", "unknown"]
Role = Literal["owner", "admin", "member", "guest"]


class Value(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """Base of answers: unknown fields are never sent, missing optional ones are null."""


class Person(Value, frozen=True):
    """A person as colleagues see one.  `region` is where everything they write rests.

    `avatar` changes with their picture (`GET /v1/avatars/{id}`); None: they have none.
    """

    id: str
    name: str
    region: str
    role: Role = "member"
    company: str = ""
    avatar: str | None = None


class Row(Value, frozen=True, tag="row", tag_field="t"):
    """One row of a stream as its reader sees it.

    `kind` in rooms: entry, redaction, join, leave, erasure; in an inbox: added, removed, kept, placed, refused.
    `id` is the entry's id (kinds entry, kept, placed, refused).  `target` is the entry or person that a redaction,
    join, leave or erasure is about; the room for an inbox row; the room itself for the entry that sets its title.
    `no` counts the messages so far, this one included; unread = difference of two `no`.
    `body` is `{"kind": "text", "text": …}` or `{"kind": "title", "title": …}`; a text that carries files has `files`,
    each with `id`, `name`, `type`, `size`, `thumbnail`, and for a picture `width` and `height`.
    `state`: ok; held = its author's region cannot be reached now (on a socket the body follows as a `body` event);
    waiting = asked for, will follow; erased = redacted or erased, will never come.
    `detail`: why an entry was refused; the seq it got when placed.
    """

    stream: str
    seq: int
    kind: str
    at: str
    no: int
    id: str | None = None
    author: str | None = None
    target: str | None = None
    body: dict[str, Any] | None = None
    state: State | None = None
    client_id: str | None = None
    detail: str | None = None


class Room(Value, frozen=True):
    """A room in somebody's list.  `region` is its home; `read` the reader's own cursor; `unread` follows from it.

    `card` is the entry that set the title; with `title_state` waiting or held, a `room` event follows.
    """

    id: str
    region: str
    kind: Literal["group", "direct"]
    creator: str
    title: str | None
    title_state: State
    head: int
    no: int
    read: int
    unread: int
    members: int
    others: list[str]
    joined: bool
    last_at: str | None
    card: str | None = None


class Member(Value, frozen=True):
    """One member of a room, with the region that everything they write rests in."""

    person: str
    name: str | None
    region: str
    since: str


class Presence(Value, frozen=True, tag="presence", tag_field="t"):
    """Somebody's presence.  `unknown` when their region is silent; `text` is their own words."""

    person: str
    state: PresenceState
    text: str = ""
    since: str | None = None


class Door(Value, frozen=True):
    """One way in, best first.  `url` is the origin to use; `address` and `port` serve clients that dial themselves."""

    site: str
    region: str
    city: str
    url: str
    address: str
    port: int


class Fault(Value, frozen=True):
    """One fault of a request and the place it was found, as `$.field[0]`."""

    place: str
    detail: str


class Problem(Value, frozen=True):
    """RFC 9457 problem details.  `code` is stable; `retryable` says whether the same request may succeed later."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    retryable: bool = False
    faults: list[Fault] = []
    region: str | None = None
    since: str | None = None
    retry_after_s: float | None = None
    trace: str | None = None
