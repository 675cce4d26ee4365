"""What a message is made of before it is posted, the same for both faces of the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from moonbow.base import limits
from moonbow.base.errors import Refused
from moonbow.base.ids import is_uuid, parse_id
from moonbow.timeline.model import text_body


class Attaches(Protocol):
    """What posting needs of files (`moonbow.files.process.Files`)."""

    async def attach(self, owner: str, idents: Sequence[str], room: str, client_id: str) -> list[dict[str, Any]]: ...


def plain_body(text: str) -> bytes:
    """The body of a message without files."""
    if not text:
        raise Refused("invalid", "a message without files has a text", place="$.text")
    return _fitting(text_body(text))


async def body_with_files(
    files: Attaches, author: str, room: str, client_id: str, text: str, idents: Sequence[str]
) -> bytes:
    """The body of a message that carries files: what is said of them is the server's own record."""
    if not is_uuid(client_id):
        raise Refused("client_id_malformed", "a client_id is a lower-case UUID", place="$.client_id")
    for no, ident in enumerate(idents):
        parse_id(ident, "fil", place=f"$.files[{no}]")
    facts = await files.attach(author, list(dict.fromkeys(idents)), room, client_id)
    return _fitting(text_body(text, facts))


def _fitting(body: bytes) -> bytes:
    if len(body) > limits.BODY_BYTES_MAX + 64:
        detail = f"at most {limits.BODY_BYTES_MAX} bytes, what is said of files included"
        raise Refused("too_long", detail, status=413, place="$.text")
    return body
