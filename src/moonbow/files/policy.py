"""Decisions about files: which part is next, what fits a quota, what a range asks for, who may read, what is shown.

Laws: a file's parts are dense from 0 and never overlap, whatever order, repetition or loss its requests arrive in; a
range that is answered lies inside the file; whoever is refused learns nothing of a file, not even that it is there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

from moonbow.base import limits
from moonbow.base.errors import Refused
from moonbow.timeline import policy as timeline
from moonbow.timeline.ports import Reads

from .model import ContentRange, Described, File, Part, Share, Sight, Span, Usage

PARTS_MAX = 4_096  # of one file: four times what whole parts would be
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]{1,100}")
_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,15})[ \t]*-[ \t]*([0-9]{0,15})[ \t]*", re.IGNORECASE)
INLINE = frozenset(
    {
        "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp",
        "audio/mpeg", "audio/ogg", "audio/wav", "audio/flac", "audio/mp4", "audio/aac", "audio/webm",
        "video/mp4", "video/webm", "video/ogg", "video/quicktime", "application/pdf",
    }
)  # fmt: skip
Next = Literal["store", "stored"]


def check_name(name: str) -> str:
    """A file's name without what could mislead: one path part, no control or direction characters."""
    wrong = name != name.strip() or name in (".", "..") or any(char in "/\\" for char in name)
    if wrong or any(_misleads(char) for char in name):
        raise Refused("name_malformed", "a file's name is one line without slashes", place="$.name")
    return name


def _misleads(char: str) -> bool:
    """Control and direction characters; what joins letters and emojis (U+200C, U+200D) does not."""
    return char not in "\u200c\u200d" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def check_room_for(size: int, usage: Usage) -> None:
    """`Refused` unless a person may begin to upload a file of `size` bytes now."""
    if size > limits.FILE_BYTES_MAX:
        detail = f"at most {limits.FILE_BYTES_MAX} bytes a file"
        raise Refused("file_too_large", detail, status=413, place="$.size")
    if usage.uploads >= limits.UPLOADS_MAX:
        raise Refused("uploads_too_many", f"at most {limits.UPLOADS_MAX} unfinished uploads", status=429)
    if usage.files >= limits.FILES_MAX:
        raise Refused("files_too_many", f"at most {limits.FILES_MAX} files: delete some", status=409)
    if usage.used_bytes + size > limits.FILE_QUOTA_BYTES:
        left = max(0, limits.FILE_QUOTA_BYTES - usage.used_bytes)
        raise Refused("quota_exceeded", f"{left} bytes are left of your quota", status=413, place="$.size")


def parse_content_range(header: str, length: int) -> ContentRange:
    """What a part's header says of its `length` bytes; `Refused` when it says anything else than one range of them."""
    found = _CONTENT_RANGE.fullmatch(header)
    said = ContentRange(*map(int, found.groups())) if found else None
    if said is None or not said.first <= said.last < said.total or said.last - said.first + 1 != length:
        detail = f"Content-Range: bytes a-b/total, with b - a + 1 = {length}"
        raise Refused("content_range_malformed", detail, place="$header.Content-Range")
    return said


def decide_part(file: File, said: ContentRange) -> Next:
    """Whether to store a part or to answer that it is there already; `Refused` when it cannot come now."""
    if said.total != file.size:
        detail = f"the file has {file.size} bytes in all"
        raise Refused("content_range_malformed", detail, place="$header.Content-Range")
    if said.last < file.received or file.state != "uploading":
        return "stored"
    if said.first != file.received:
        raise Refused("part_out_of_order", f"the next part begins at {file.received}", status=409)
    if file.parts >= PARTS_MAX:
        raise Refused("parts_too_many", f"at most {PARTS_MAX} parts: send larger ones")
    return "store"


def object_key(file: str, part: Part) -> str:
    """Where a part rests.  No two attempts meet: what was looked at stays what it was, and a late one harms nothing."""
    return f"{file}/{part.start:012d}-{part.size:07d}-{part.attempt}"


def part_place(file: str, part: Part) -> str:
    """What a part is sealed for."""
    return f"{file}/{part.start}/{part.attempt}"


def parse_range(header: str | None, size: int) -> Span | None:
    """The piece that `Range` asks for; None for all of it.

    What is not one range of bytes is ignored, as RFC 9110 (section 14.2) lets us: several ranges get everything.
    `Refused` (416) when no byte of it exists.
    """
    found = _RANGE.fullmatch(header) if header is not None and len(header) <= 64 else None
    if found is None or found.group(1) == found.group(2) == "":
        return None
    first, last = (int(text) if text else None for text in found.groups())
    if first is None:
        start, end = max(0, size - (last or 0)), size - 1
    elif last is not None and last < first:
        return None
    else:
        start, end = first, min(size - 1, size - 1 if last is None else last)
    if start > end:
        raise Refused("range_unsatisfiable", f"the file has {size} bytes", status=416, place="$header.Range")
    return Span(start, end - start + 1)


def pieces(parts: Sequence[Part], span: Span) -> list[tuple[Part, int, int]]:
    """The parts that hold a span, in order, each with the first and the last + 1 of its bytes that are wanted."""
    end = span.start + span.size
    return [
        (part, max(0, span.start - part.start), min(part.size, end - part.start))
        for part in parts
        if part.start < end and span.start < part.start + part.size
    ]


def is_type(kind: str) -> bool:
    """Whether a media type can be shown, and told to other regions."""
    return _TYPE.fullmatch(kind) is not None


def is_over(file: File, now: float) -> bool:
    """Whether a file's own time is over, swept or not."""
    return file.expires_at is not None and file.expires_at <= now


def is_inline(kind: str) -> bool:
    """Whether a browser may show this instead of saving it: nothing that can run as ours."""
    return kind in INLINE


def is_seen(store: Reads, reader: str, sight: Sight) -> bool:
    """Whether, by what this region knows, a person may see an entry."""
    row, room = store.find_entry(sight.entry), store.stream(sight.room)
    if row is None or room is None or row.gone or row.stream != sight.room:
        return False
    return timeline.covers(store.spans(room, reader), row.seq)


def seen(store: Reads, reader: str, found: Sequence[Sight]) -> list[Sight]:
    """Those of the entries that a person may see."""
    return [sight for sight in found if is_seen(store, reader, sight)]


def seen_by_share(
    store: Reads, file: str, owner: str, reader: str, shares: Sequence[Share]
) -> tuple[list[Sight], bool]:
    """The entries of ours by which `reader` may read a file, and whether one may have its place in a moment."""
    found: list[Sight] = []
    waiting = False
    for share in shares:
        entry = _standing(store, file, owner, share)
        row = store.find_entry(entry) if entry is not None else None
        if entry is not None and row is None:
            room = store.stream(share.room)
            waiting |= room is not None and timeline.is_member(store.spans(room, reader))
        elif row is not None and row.entry is not None:
            found.append(Sight(share.room, row.entry, row.seq))
    return seen(store, reader, found), waiting


def _standing(store: Reads, file: str, owner: str, share: Share) -> str | None:
    """The entry that carries a file, by its author's own words, if it was not refused, redacted or erased."""
    known = store.post(owner, share.client_id)
    if known is None or known.state == "refused":
        return None
    stored = store.bodies([known.entry]).get(known.entry)
    if stored is None or stored.room != share.room or stored.body is None or file.encode() not in stored.body:
        return None
    return known.entry


def is_described(about: Described) -> bool:
    """Whether what another region says of a file can be shown."""
    try:
        check_name(about.name)
    except Refused:
        return False
    sides = (about.width, about.height)
    return (
        len(about.name) <= limits.FILE_NAME_CHARS_MAX
        and is_type(about.type)
        and 0 < about.size <= limits.FILE_BYTES_MAX
        and all(side is None or 0 < side < 2**31 for side in sides)
    )


def body_facts(about: Described) -> dict[str, Any]:
    """What a message's body says of a file that it carries."""
    facts: dict[str, Any] = {"id": about.id, "name": about.name, "type": about.type, "size": about.size}
    if about.width is not None and about.height is not None:
        facts |= {"width": about.width, "height": about.height}
    return {**facts, "thumbnail": about.thumbnail}
