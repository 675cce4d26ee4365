"""Frames of the WebSocket `/v1/stream`: one JSON object a frame, told apart by `t`.

First frame of a client: `hello` (nothing known yet) or `resume` (here are my cursors).  See docs/API.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from moonbow.base import limits

from .rest import ClientId, EntryFiles, Id, Seq, Text
from .values import Room, State, Value

PROTOCOL = "moonbow.v1"
TOKEN_PROTOCOL = "moonbow.jwt."  # a browser's way to send its token; it must stand last

CLOSE_GOING = 1012
CLOSE_TOKEN = 4001
CLOSE_BAD_FRAME = 4002
CLOSE_REVOKED = 4003
CLOSE_SLOW = 4008
CLOSE_BUSY = 4029


class FromClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="t", gc=False):
    """Base of a client's frames."""


class Hello(FromClient, frozen=True, tag="hello"):
    """A new client that has nothing: the answer is `welcome` with its rooms, then live events."""


class Resume(FromClient, frozen=True, tag="resume", gc=True):
    """A client that was here before: cursors by stream, and entries shown whose bodies it lacks."""

    cursors: Annotated[dict[Id, Seq], Meta(max_length=limits.CURSORS_MAX)]
    missing: Annotated[list[Id], Meta(max_length=limits.MISSING_MAX)] = []


class Post(FromClient, frozen=True, tag="post"):
    """A message; answered by `ack` with the same `client_id`.  With `files` (own ones, ready) `text` may be empty."""

    room: Id
    client_id: ClientId
    text: Text
    files: EntryFiles = []


class Redact(FromClient, frozen=True, tag="redact"):
    """Erase an entry: one's own, or anybody's in a room that one created."""

    room: Id
    entry: Id


class MarkRead(FromClient, frozen=True, tag="read"):
    """Read up to and including `seq`."""

    room: Id
    seq: Seq


class Typing(FromClient, frozen=True, tag="typing"):
    """Typing now (repeat every 4 s while it lasts), or no longer."""

    room: Id
    on: bool = True


class SetState(FromClient, frozen=True, tag="state"):
    """What this device is: in use or idle."""

    state: Literal["online", "away"]


class Watch(FromClient, frozen=True, tag="watch"):
    """Whose presence to send from now on; replaces the earlier list."""

    people: Annotated[list[Id], Meta(max_length=500)]


class Renew(FromClient, frozen=True, tag="renew"):
    """A fresh access token, so that the socket outlives the old one."""

    access_token: Annotated[str, Meta(max_length=4096)]


class Ping(FromClient, frozen=True, tag="ping"):
    """Are you there?  Answered by `pong` with the same `n`."""

    n: int = 0


ClientFrame = Hello | Resume | Post | Redact | MarkRead | Typing | SetState | Watch | Renew | Ping


class Event(Value, frozen=True):
    """Base of the server's frames.  `row` and `presence` are in `wire.values`."""


class Welcome(Event, frozen=True, tag="welcome", tag_field="t"):
    """First answer.  `rooms` is a snapshot; rows beyond it follow as events, in order, without a hole."""

    session: str
    person: str
    region: str
    site: str
    city: str
    inbox: str
    inbox_head: int
    expires_at: str
    heartbeat_s: float
    rooms: list[Room]


class Synced(Event, frozen=True, tag="synced", tag_field="t"):
    """Everything missed has been sent; what follows is live.  `resets`: streams to page anew, with their heads."""

    resets: dict[str, int]


class RoomEvent(Event, frozen=True, tag="room", tag_field="t"):
    """A room came into view or changed (joined, title known); replaces what the client knew."""

    room: Room


class BodyEvent(Event, frozen=True, tag="body", tag_field="t"):
    """The body of an entry shown before, or what became of it."""

    stream: str
    id: str
    state: State
    body: dict[str, Any] | None = None


class Ack(Event, frozen=True, tag="ack", tag_field="t"):
    """The fate of a post so far: placed(seq), kept, or refused(code)."""

    client_id: str
    state: Literal["placed", "kept", "refused"]
    room: str
    id: str | None = None
    seq: int | None = None
    code: str | None = None


class TypingEvent(Event, frozen=True, tag="typing", tag_field="t"):
    """Somebody is typing, or stopped."""

    room: str
    person: str
    on: bool


class ReadEvent(Event, frozen=True, tag="read", tag_field="t"):
    """One's own read cursor moved, perhaps on another device."""

    room: str
    seq: int
    unread: int


class Migrate(Event, frozen=True, tag="migrate", tag_field="t"):
    """Open a second socket, resume there, close this one, within the time given.

    `reason`: `drain` or `restart`, this gateway is going; `door`, the door that the client came by is.
    """

    reason: str
    within_s: float


class Renewed(Event, frozen=True, tag="renewed", tag_field="t"):
    """The socket now lives until `expires_at`."""

    expires_at: str


class Pong(Event, frozen=True, tag="pong", tag_field="t"):
    """Answer to `ping`."""

    n: int


class ProblemEvent(Event, frozen=True, tag="problem", tag_field="t"):
    """A frame could not be done.  `re` is its `t`; the socket stays open unless a close follows."""

    code: str
    detail: str
    re: str | None = None
    place: str | None = None
    client_id: str | None = None
    retryable: bool = False
    retry_after_s: float | None = None
