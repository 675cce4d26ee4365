"""What gateways say to each other on the bus.  Between regions: ids and times at rest, bodies only in passing."""

from __future__ import annotations

from typing import Any

import msgspec

from moonbow.timeline.model import AnyEffect, Applied, BodyAnswer, Row


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of bus messages, packed as arrays."""


class LiveRow(Message, frozen=True):
    """A row that the sender's store holds, with its body if that rests in the sender's region."""

    row: Row
    body: bytes | None = None


class LiveBody(Message, frozen=True):
    """A body of an entry, read from its owner's store at `read_ms` (milliseconds since 1970)."""

    room: str
    entry: str
    author: str
    body: bytes
    read_ms: int


class Signal(Message, frozen=True):
    """Something that is never stored: typing, or a read cursor that moved.  `to` limits it to one person."""

    kind: str
    room: str
    person: str
    value: int = 0
    to: str | None = None


class Live(Message, frozen=True):
    """One batch of live events; `sender` is the gateway incarnation, which has shown them already."""

    sender: str
    rows: list[LiveRow] = []
    bodies: list[LiveBody] = []
    signals: list[Signal] = []


class ApplyRequest(Message, frozen=True):
    """Effects of one outbox queue, in order."""

    epoch: int
    stream: str
    effects: list[tuple[int, AnyEffect]]


class ApplyAnswer(Message, frozen=True):
    """One answer each."""

    answers: list[Applied]


class TailRequest(Message, frozen=True):
    """Rows wanted beyond these heads of copies."""

    heads: dict[str, int]


class TailAnswer(Message, frozen=True):
    """Rows beyond the heads asked for, in order within each stream; `more` says that not all fitted."""

    rows: list[Row]
    more: bool


class CopiesRequest(Message, frozen=True):
    """Which copies of the asking region's rooms are held: those whose ids come after `after`."""

    after: str = ""


class CopiesAnswer(Message, frozen=True):
    """Rooms and the heads of their copies, and after which id to go on asking; empty at the end."""

    heads: dict[str, int]
    after: str = ""


class BodiesRequest(Message, frozen=True):
    """Bodies wanted of entries of one room; `as_of` is the highest seq among them."""

    room: str
    entries: list[str]
    as_of: int


class BodiesAnswer(Message, frozen=True):
    """One answer each."""

    answers: list[BodyAnswer]


class DirectRequest(Message, frozen=True):
    """Make, or find, the direct room of two people; homed in the region asked."""

    creator: str
    other: str


class RoomAnswer(Message, frozen=True):
    """The room."""

    room: str


# What msgspec raises for bytes that are no such message: also where strings are no UTF-8 or nesting has no end.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
pack = msgspec.msgpack.Encoder().encode
unpack_live = msgspec.msgpack.Decoder(Live).decode


def unpack(payload: bytes, kind: type[Any]) -> Any:
    """The message of type `kind` in `payload`; one of `UNREADABLE` when it is not one."""
    return msgspec.msgpack.decode(payload, type=kind)


def batches(sender: str, rows: list[LiveRow], bytes_max: int = 400_000) -> list[Live]:
    """Rows in as few live messages as the bus's limit allows, in order."""
    found: list[Live] = []
    some: list[LiveRow] = []
    size = 0
    for row in rows:
        size += 300 + len(row.body or b"")
        if some and size > bytes_max:
            found.append(Live(sender, some))
            some, size = [], 300 + len(row.body or b"")
        some.append(row)
    if some:
        found.append(Live(sender, some))
    return found
