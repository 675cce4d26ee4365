"""What goes in and out of the SDK core: commands to the shell, and the events beside those of the wire."""

from __future__ import annotations

import msgspec

from moonbow.wire.rest import Posted
from moonbow.wire.stream import (
    Ack,
    BodyEvent,
    ClientFrame,
    Migrate,
    Pong,
    ProblemEvent,
    ReadEvent,
    Renewed,
    RoomEvent,
    Synced,
    TypingEvent,
    Welcome,
)
from moonbow.wire.values import Door, Presence, Room, Row

Incoming = (
    Row
    | Presence
    | Welcome
    | Synced
    | RoomEvent
    | BodyEvent
    | Ack
    | TypingEvent
    | ReadEvent
    | Migrate
    | Renewed
    | Pong
    | ProblemEvent
)


class Connected(msgspec.Struct, frozen=True):
    """The stream is up.  `resumed` is false the first time; then `rooms` is all there is to know."""

    site: str
    city: str
    door: Door
    resumed: bool
    rooms: list[Room]


class CaughtUp(msgspec.Struct, frozen=True):
    """Everything missed while away has been delivered; what follows is live."""


class Lost(msgspec.Struct, frozen=True):
    """The stream is down and another door is being tried.  Nothing is lost: rows go on where they stopped."""

    site: str
    door: Door
    code: int
    reason: str


class Reset(msgspec.Struct, frozen=True):
    """Too much was missed in this stream to replay it: read its history anew; rows go on after `head`."""

    stream: str
    head: int


class Lapsed(msgspec.Struct, frozen=True):
    """Events came before anybody asked for them, and more than fit: read the rooms' histories."""


class Ended(msgspec.Struct, frozen=True):
    """The session is over and will not come back: signed out, revoked, or the program closed it."""

    code: str
    detail: str


Event = (
    Connected
    | CaughtUp
    | Lost
    | Reset
    | Lapsed
    | Ended
    | Row
    | Presence
    | RoomEvent
    | BodyEvent
    | TypingEvent
    | ReadEvent
    | ProblemEvent
)


class Dial(msgspec.Struct, frozen=True):
    """Open socket number `sock` at `door`; answer with `opened` or `failed`."""

    sock: int
    door: Door


class Send(msgspec.Struct, frozen=True):
    """Send one frame on a socket."""

    sock: int
    frame: ClientFrame


class Close(msgspec.Struct, frozen=True):
    """Close a socket.  `rude` drops it without waiting for the other side: it is thought dead."""

    sock: int
    rude: bool = False


class Renew(msgspec.Struct, frozen=True):
    """Fetch a fresh access token; answer with `renewed` or `renew_refused`."""


class Learn(msgspec.Struct, frozen=True):
    """Ask any door for the present list of doors; answer with `learned` if somebody knows."""


class Deliver(msgspec.Struct, frozen=True):
    """An event for the program, in order."""

    event: Event


class Settle(msgspec.Struct, frozen=True):
    """What became of a post.  `final` is false while it is only kept at home and not yet in its room's order."""

    posted: Posted
    final: bool


Command = Dial | Send | Close | Renew | Learn | Deliver | Settle
