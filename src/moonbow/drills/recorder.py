"""Writes down what clients send and are shown.  It decides nothing; `laws` does, afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable

from moonbow.sdk import (
    BodyEvent,
    CaughtUp,
    Client,
    Connected,
    Ended,
    Event,
    Lost,
    Posted,
    Reset,
    RoomEvent,
    Row,
)
from moonbow.wire.files import FileInfo

from .history import Answered, Began, Done, Filled, History, Line, Linked, Sent, Shown, Uploaded


def line_of(row: Row) -> Line:
    """A row of the wire as a line of a history."""
    text = None if row.body is None else row.body.get("text") or row.body.get("title")
    return Line(row.seq, row.kind, row.id, row.author, row.target, text, row.state)


class Recorder:
    """One history and its clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.started = clock, clock()
        self.history = History()
        self._begun: set[tuple[str, str]] = set()
        self._site: dict[str, str] = {}
        self.heads: dict[tuple[str, str], int] = {}

    def now(self) -> float:
        """Seconds since the drill began."""
        return self.clock() - self.started

    def done(self, what: str) -> float:
        """The drill did something; when."""
        at = self.now()
        self.history.done.append(Done(what, at))
        return at

    def sent(self, author: str, room: str, client_id: str, text: str) -> None:
        """A message is handed to the SDK."""
        self.history.sent.append(Sent(author, room, client_id, text, self.now()))

    def answered(self, posted: Posted) -> None:
        """The service's word on it."""
        self.history.answered.append(
            Answered(posted.client_id, posted.state, posted.id, posted.seq, posted.code, self.now())
        )

    def uploaded(self, author: str, file: FileInfo, digest: str) -> None:
        """A file is with the service, and says so."""
        self.history.uploaded.append(Uploaded(author, file.id, file.name, digest, self.now()))

    async def watch(self, reader: str, client: Client) -> None:
        """Write down everything `client` is shown, until its session ends."""
        async for event in client.events():
            self.take(reader, event)

    def take(self, reader: str, event: Event) -> None:
        """One event of one reader."""
        at, history = self.now(), self.history
        match event:
            case Row() if not event.stream.startswith("inb"):
                self.heads[reader, event.stream] = event.seq
                history.shown.append(Shown(reader, event.stream, line_of(event), at))
            case BodyEvent():
                text = None if event.body is None else event.body.get("text") or event.body.get("title")
                history.filled.append(Filled(reader, event.stream, event.id, text, event.state, at))
            case Connected():
                self._site[reader] = event.site
                for room in event.rooms:
                    self._begin(reader, room.id, room.head)
            case RoomEvent():
                self._begin(reader, event.room.id, 0)
            case CaughtUp():
                history.linked.append(Linked(reader, "up", self._site[reader], "", at))
            case Lost():
                reason = f"{event.code} {event.reason} at the door of {event.door.site}"
                history.linked.append(Linked(reader, "down", event.site, " ".join(reason.split()), at))
            case Ended() if event.code != "closed":
                history.linked.append(Linked(reader, "ended", self._site.get(reader, ""), event.detail, at))
            case Reset():
                self.done(f"{reader}: {event.stream} was reset to {event.head}")
            case _:
                pass

    def site_of(self, reader: str) -> str:
        """The site that serves a reader now, or served it last."""
        return self._site.get(reader, "")

    def _begin(self, reader: str, room: str, head: int) -> None:
        if (reader, room) not in self._begun:
            self._begun.add((reader, room))
            self.heads.setdefault((reader, room), head)
            self.history.began.append(Began(reader, room, head))
