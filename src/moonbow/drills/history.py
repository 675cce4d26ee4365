"""What a drill saw, as plain facts in the order they were seen.  Times are seconds since the drill began."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec


class Sent(msgspec.Struct, frozen=True):
    """A message was handed to the SDK for the first time.  `text` is unique in the history."""

    author: str
    room: str
    client_id: str
    text: str
    at: float


class Answered(msgspec.Struct, frozen=True):
    """The service said what became of a message: its first answer, or the later fate of a kept one."""

    client_id: str
    state: Literal["placed", "kept", "refused"]
    id: str | None
    seq: int | None
    code: str | None
    at: float


class Began(msgspec.Struct, frozen=True):
    """From here on this reader is owed every row of the room beyond `head`."""

    reader: str
    room: str
    head: int


class Line(msgspec.Struct, frozen=True):
    """One row of a room as somebody saw it.  `text` is None when it has none, or not yet."""

    seq: int
    kind: str
    id: str | None
    author: str | None
    target: str | None
    text: str | None
    state: str | None


class Shown(msgspec.Struct, frozen=True):
    """A reader was shown a row, live or after a resume."""

    reader: str
    room: str
    line: Line
    at: float


class Filled(msgspec.Struct, frozen=True):
    """A reader was shown the body of an earlier row, or what became of it."""

    reader: str
    room: str
    id: str
    text: str | None
    state: str
    at: float


class Linked(msgspec.Struct, frozen=True):
    """A reader's line to the service: `up` once everything missed has been shown, `down`, or `ended` for good."""

    reader: str
    what: Literal["up", "down", "ended"]
    site: str
    reason: str
    at: float


class Uploaded(msgspec.Struct, frozen=True):
    """The service said that it has all of a file.  `name` is unique in the history, `digest` that of its bytes."""

    author: str
    id: str
    name: str
    digest: str
    at: float


class Done(msgspec.Struct, frozen=True):
    """What the drill itself did, and when."""

    what: str
    at: float


@dataclass
class History:
    """Everything that was seen.  `final` is what each reader reads back at the end: reader -> room -> lines.

    `fetched` is the digest of each file as it was read back, by its id; `listed` the names that its author has of them.
    """

    sent: list[Sent] = field(default_factory=list[Sent])
    answered: list[Answered] = field(default_factory=list[Answered])
    began: list[Began] = field(default_factory=list[Began])
    shown: list[Shown] = field(default_factory=list[Shown])
    filled: list[Filled] = field(default_factory=list[Filled])
    linked: list[Linked] = field(default_factory=list[Linked])
    uploaded: list[Uploaded] = field(default_factory=list[Uploaded])
    done: list[Done] = field(default_factory=list[Done])
    final: dict[str, dict[str, list[Line]]] = field(default_factory=dict[str, dict[str, list[Line]]])

    fetched: dict[str, str] = field(default_factory=dict[str, str])
    listed: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def final_of(self, room: str) -> list[Line]:
        """A room as read back at the end: the longest reading, which every other must agree with."""
        readings = [rooms[room] for rooms in self.final.values() if room in rooms]
        return max(readings, key=len) if readings else []

    def rooms(self) -> list[str]:
        """Every room that was read back."""
        return sorted({room for rooms in self.final.values() for room in rooms})

    def last_answers(self) -> dict[str, Answered]:
        """The latest word on every message."""
        return {answer.client_id: answer for answer in self.answered}
