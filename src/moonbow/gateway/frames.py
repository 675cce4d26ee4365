"""Encoding of what goes to clients: rows and bodies, each encoded once however many receive it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from moonbow.timeline.model import Row
from moonbow.wire import values

encode = msgspec.json.Encoder().encode


def rfc3339(at_ms: int | None) -> str:
    """Milliseconds since 1970 as an RFC 3339 time in UTC."""
    seconds, milliseconds = divmod(at_ms or 0, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1024)
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")[:-6]


class RowFrame(msgspec.Struct, tag="row", tag_field="t", gc=False):
    """`wire.values.Row` with its body spliced in as it is stored; a test holds the two shapes together."""

    stream: str
    seq: int
    kind: str
    at: str
    no: int
    id: str | None = None
    author: str | None = None
    target: str | None = None
    body: msgspec.Raw | None = None
    state: str | None = None
    client_id: str | None = None
    detail: str | None = None


class BodyFrame(msgspec.Struct, tag="body", tag_field="t", gc=False):
    """`wire.stream.BodyEvent` with its body spliced in."""

    stream: str
    id: str
    state: str
    body: msgspec.Raw | None = None


def row_frame(row: Row, body: bytes | None, state: str | None) -> RowFrame:
    """A row as its readers see it; `body` only when `state` is ok."""
    return RowFrame(
        row.stream, row.seq, row.kind, rfc3339(row.at), row.no, row.entry, row.author, row.target,
        msgspec.Raw(body) if body is not None else None, state, None, row.detail,
    )  # fmt: skip


def encode_row(row: Row, body: bytes | None, state: str | None) -> bytes:
    """A row's frame, encoded."""
    return encode(row_frame(row, body, state))


def encode_body(stream: str, entry: str, state: str, body: bytes | None) -> bytes:
    """A body's frame, encoded."""
    return encode(BodyFrame(stream, entry, state, msgspec.Raw(body) if body is not None else None))


def row_value(row: Row, body: dict[str, Any] | None, state: values.State | None) -> values.Row:
    """A row as REST answers carry it."""
    return values.Row(
        stream=row.stream, seq=row.seq, kind=row.kind, at=rfc3339(row.at), no=row.no, id=row.entry,
        author=row.author, target=row.target, body=body, state=state, detail=row.detail,
    )  # fmt: skip
