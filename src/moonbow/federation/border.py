"""What another region says is looked at before it is used: its shape, its bounds, and whether it may say so at all.

Laws: nothing that arrives can raise anything but `Refused`; nothing passes that the stores or a client's frame could
not take; a region speaks for its own rooms, entries and people only (`timeline.transactions` holds effects to that).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Annotated, Any

import msgspec

from moonbow.base import limits
from moonbow.base.errors import Refused
from moonbow.timeline.model import (
    ROOM_KINDS,
    AnyEffect,
    Applied,
    BodyAnswer,
    ChangeMember,
    ErasePerson,
    Notice,
    PlaceEntry,
    RedactEntry,
    Row,
)

from .model import UNREADABLE, ApplyRequest, Live, LiveBody, Signal

NUMBER_MAX = 2**53 - 1
AT_MS_MAX = 253_402_300_799_999  # the end of the year 9999
_ID = re.compile(r"([a-z]{3})_([a-z][a-z0-9]{0,15})_[0-9a-z]{1,26}")
_body = msgspec.json.Decoder(dict[str, Any])
Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]


class Carried(msgspec.Struct, frozen=True):
    """What a body says of a file that it carries."""

    id: str
    name: str
    type: str
    size: Number
    width: Number | None = None
    height: Number | None = None
    thumbnail: bool = False


class Said(msgspec.Struct, frozen=True):
    """A body as clients read it; whatever else is in it, a later version may know."""

    kind: str = ""
    text: str = ""
    title: str = ""
    files: Annotated[list[Carried], msgspec.Meta(max_length=limits.FILES_PER_ENTRY_MAX)] = []


def region_of(ident: str | None, *kinds: str) -> str | None:
    """The region of an id of one of `kinds`; None if it is none."""
    found = _ID.fullmatch(ident) if ident is not None and len(ident) <= 64 else None
    return found.group(2) if found is not None and found.group(1) in kinds else None


def is_row(row: Row) -> bool:
    """Whether this can be a row of a room's order."""
    numbers = 0 < row.seq <= NUMBER_MAX and 0 <= row.no <= row.seq and 0 <= row.at <= AT_MS_MAX
    if not numbers or row.detail is not None or row.kind not in ROOM_KINDS or not region_of(row.stream, "rom", "dir"):
        return False
    if not region_of(row.author, "usr"):
        return False
    if row.kind == "entry":
        return bool(region_of(row.entry, "ent")) and row.target in (None, row.stream)
    return row.entry is None and bool(region_of(row.target, "ent" if row.kind == "redaction" else "usr"))


def is_body(body: bytes) -> bool:
    """Whether this can stand in a client's frame: one JSON object within the limit, of what it should be made of."""
    if len(body) > limits.BODY_BYTES_MAX + 64:
        return False
    try:
        said = msgspec.convert(_body.decode(body), Said)
    except UNREADABLE:
        return False
    return all(region_of(file.id, "fil") for file in said.files)


def admit_rows(rows: Iterable[Row], source: str) -> list[Row]:
    """Rows of rooms homed in `source`."""
    return [row for row in rows if is_row(row) and region_of(row.stream, "rom", "dir") == source]


def admit_live(live: Live, source: str, now_ms: int) -> tuple[list[Row], list[LiveBody], list[Signal]]:
    """Of a live batch, what region `source` may say."""
    late = now_ms + int(limits.CLOCK_SKEW_S * 1000)
    bodies = [body for body in live.bodies if _is_live_body(body, source) and 0 <= body.read_ms <= late]
    signals = [
        signal
        for signal in live.signals
        if signal.kind == "typing"
        and signal.to is None
        and signal.value in (0, 1)
        and region_of(signal.person, "usr") == source
        and region_of(signal.room, "rom", "dir")
    ]
    return admit_rows((live_row.row for live_row in live.rows), source), bodies, signals


def _is_live_body(body: LiveBody, source: str) -> bool:
    return (
        region_of(body.entry, "ent") == source
        and region_of(body.author, "usr") == source
        and region_of(body.room, "rom", "dir") is not None
        and is_body(body.body)
    )


def check_effects(ask: ApplyRequest, regions: Collection[str]) -> None:
    """`Refused` unless every effect could be stored and concerns regions of this world."""
    stream = region_of(ask.stream, "rom", "dir", "inb")
    if stream is None or not 0 <= ask.epoch <= NUMBER_MAX:
        raise Refused("malformed", "this is no stream, or no epoch")
    for out_no, effect in ask.effects:
        if not 0 < out_no <= NUMBER_MAX or not all(region in regions for region in _regions(effect)):
            raise Refused("malformed", f"effect {out_no} is not one of this world")


def _regions(effect: AnyEffect) -> tuple[str | None, ...]:
    match effect:
        case PlaceEntry(entry, author):
            return region_of(entry, "ent"), region_of(author, "usr")
        case RedactEntry(entry, actor):
            return region_of(entry, "ent"), region_of(actor, "usr")
        case ErasePerson(person):
            return (region_of(person, "usr"),)
        case ChangeMember(actor, person):
            return region_of(actor, "usr"), region_of(person, "usr")
        case Notice(room):
            return (region_of(room, "rom", "dir"),)


def check_numbers(numbers: Iterable[int]) -> None:
    """`Refused` unless all are heads or seqs that a stream can have."""
    if not all(0 <= number <= NUMBER_MAX for number in numbers):
        raise Refused("malformed", "a head is a number from 0 on")


def admit_fates(answers: Iterable[Applied], sent: Collection[int]) -> list[Applied]:
    """Of the answers to effects, those that settle something that was sent."""
    return [a for a in answers if a.out_no in sent and a.result is not None and _is_fate(a.result.state, a.result.seq)]


def _is_fate(state: str, seq: int | None) -> bool:
    return 0 < (seq or 0) <= NUMBER_MAX if state == "placed" else state in ("refused", "done", "noop")


def admit_bodies(answers: Iterable[BodyAnswer], asked: Collection[str]) -> list[BodyAnswer]:
    """Of the bodies given, those asked for that a client's frame can take."""
    return [a for a in answers if a.entry in asked and (is_body(a.body or b"") if a.state == "ok" else a.body is None)]
