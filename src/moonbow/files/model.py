"""Values of files: what is known of one, the parts it is kept in, who shared it where, and what is asked for.

Times are seconds since 1970.  A file's name is private: it rests sealed with its owner's key, like its parts.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from moonbow.wire.files import FileState


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file as its owner's region keeps it.

    `received` bytes rest in whole parts.  `tries` counts how often its content was looked at, `due_at` is when the
    sweeper must look again: to check it, to forget it, or because it expires; None: never.  `gone` says that it was
    deleted and only waits for its objects to be removed.  `client_id`: by which its owner may announce it again.
    """

    id: str
    owner: str
    name: bytes
    size: int
    received: int
    state: FileState
    type: str
    made_at: float
    expires_at: float | None
    parts: int = 0
    reason: str | None = None
    width: int | None = None
    height: int | None = None
    thumbnail: bool = False
    tries: int = 0
    due_at: float | None = None
    gone: bool = False
    client_id: str | None = None


class Part(NamedTuple):
    """Bytes `start` to `start + size - 1` of a file, in one object; `attempt` tells it from other tries."""

    start: int
    size: int
    attempt: str


class Share(NamedTuple):
    """An entry that carries a file: what its author posted to `room` as `client_id`, if it was placed or kept."""

    room: str
    client_id: str


class Avatar(msgspec.Struct, frozen=True, kw_only=True):
    """A person's picture: one object, named by its tag, which changes with the picture."""

    person: str
    tag: str
    type: str
    size: int
    made_at: float


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What looking at a file's content has shown."""

    type: str
    refused: str | None = None
    width: int | None = None
    height: int | None = None
    thumbnail: bool = False


class Usage(NamedTuple):
    """How much of a person's quota is taken, how many uploads are unfinished, and how many files there are in all."""

    used_bytes: int
    uploads: int
    files: int


class Span(NamedTuple):
    """A piece of a file: `size` bytes from `start` on."""

    start: int
    size: int


class ContentRange(NamedTuple):
    """What `Content-Range: bytes a-b/total` says (RFC 9110, section 14.4)."""

    first: int
    last: int
    total: int


class Sight(msgspec.Struct, frozen=True, array_like=True):
    """An entry by which somebody may see a file; `seq` is its place in the room."""

    room: str
    entry: str
    seq: int


class Described(msgspec.Struct, frozen=True, array_like=True):
    """What a reader is told of a file before its bytes: also what another region is told."""

    id: str
    name: str
    type: str
    size: int
    width: int | None = None
    height: int | None = None
    thumbnail: bool = False
