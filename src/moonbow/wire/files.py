"""Files on the REST API.  The OpenAPI document is generated from these types.

A file is made by `POST /v1/files`, filled by `PUT /v1/files/{id}/content` in parts of at most `part_bytes` (each with
`Content-Range: bytes a-b/total`, RFC 9110 section 14.4, beginning at `received`), and is `ready` when all of it has
arrived.  After a lost connection `GET /v1/files/{id}` tells how far it got.  A message carries it by its id
(`NewEntry.files`): whoever may see the message may then read the file, until the message is redacted or the file is
deleted.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from moonbow.base import limits

from .values import Value

FileState = Literal["uploading", "checking", "ready", "refused"]


class FileInfo(Value, frozen=True):
    """A file.  `type` is what its first bytes say, not what its sender said; `received` bytes have been stored.

    Pictures have `width` and `height` in pixels, and `thumbnail` when `?size=small` (at most 320 x 320) gives one.
    `reason` is why a file was refused: `infected`, `type_not_allowed`.  `expires_at`: an unfinished upload's end, or
    the file's own; None: never.
    """

    id: str
    name: str
    type: str
    size: int
    received: int
    state: FileState
    part_bytes: int
    made_at: str
    region: str
    expires_at: str | None = None
    width: int | None = None
    height: int | None = None
    thumbnail: bool = False
    reason: str | None = None


class Files(Value, frozen=True):
    """A page of one's own files, newest first, and how much of one's quota they take."""

    files: list[FileInfo]
    used_bytes: int
    quota_bytes: int
    next: str | None = None


FileName = Annotated[str, Meta(min_length=1, max_length=limits.FILE_NAME_CHARS_MAX)]
FileSize = Annotated[int, Meta(ge=1, le=limits.FILE_BYTES_MAX)]
