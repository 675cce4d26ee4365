"""Files and avatars under `/v1`: announce, send parts, read with ranges.

Bytes that people sent are never shown as ours: what a browser might run is only ever saved, and whatever is opened by
itself is opened in a sandbox.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

from litestar import Request, Response, delete, get, post, put
from litestar.params import HeaderParameter, JSONBody, QueryParameter
from litestar.response import Stream

from moonbow.base import limits
from moonbow.base.errors import Refused
from moonbow.base.ids import home, is_uuid, parse_id
from moonbow.files import policy
from moonbow.files.model import File, Span
from moonbow.files.reading import Content
from moonbow.wire import rest as wire
from moonbow.wire.files import FileInfo, Files

from .frames import encode, rfc3339
from .house import Asker, House, IdPath, TheHouse, parse_person, require_colleagues
from .problems import MEDIA_TYPE, problem_of

WEBP = "image/webp"
Count = Callable[[AsyncGenerator[bytes]], AsyncGenerator[bytes]]
_SAFE = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PRIVATE = {**_SAFE, "Cache-Control": "private, max-age=0, must-revalidate", "Accept-Ranges": "bytes"}
_PICTURE = {**_SAFE, "Cache-Control": "private, max-age=300"}


@post("/v1/files", status_code=201, tags=["files"])
async def make_file(data: JSONBody[wire.NewFile], claims: Asker, house: TheHouse) -> FileInfo:
    """Announce a file.  Its content follows in parts; it rests in my region."""
    if data.client_id is not None and not is_uuid(data.client_id):
        raise Refused("client_id_malformed", "a client_id is a lower-case UUID", place="$.client_id")
    uploads = house.files.uploads
    made = await uploads.create(claims.sub, data.name, data.size, data.expires_in_s, data.client_id)
    return await info(house, made)


@put("/v1/files/{file:str}/content", request_max_body_size=limits.FILE_PART_BYTES, status_code=200, tags=["files"])
async def put_part(
    file: IdPath,
    request: Request[Any, Any, Any],
    claims: Asker,
    house: TheHouse,
    content_range: Annotated[str, HeaderParameter(name="Content-Range", max_length=64)],
) -> FileInfo:
    """Send the next part, at most `part_bytes` of it.  One that is there already is answered as if it were new."""
    own_id(house, file)
    part = await request.body()
    return await info(house, await house.files.uploads.add_part(claims.sub, file, content_range, part))


@get("/v1/files/{file:str}", tags=["files"])
async def one_file(file: IdPath, claims: Asker, house: TheHouse) -> FileInfo:
    """One of my files, and how far it has arrived."""
    return await info(house, await house.files.uploads.own(claims.sub, own_id(house, file)))


@get("/v1/files", tags=["files"])
async def my_files(
    claims: Asker,
    house: TheHouse,
    before: Annotated[str | None, QueryParameter(max_length=64)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=limits.PAGE_MAX)] = 50,
) -> Files:
    """My files, newest first, and how much of my quota they take."""
    if before is not None:
        parse_id(before, "fil", place="$query.before")
    found = await house.files.catalogue.page(claims.sub, before, limit + 1)
    usage = await house.files.catalogue.usage(claims.sub)
    return Files(
        files=await infos(house, found[:limit]),
        used_bytes=usage.used_bytes,
        quota_bytes=limits.FILE_QUOTA_BYTES,
        next=found[limit - 1].id if len(found) > limit else None,
    )


@delete("/v1/files/{file:str}", tags=["files"])
async def delete_file(file: IdPath, claims: Asker, house: TheHouse) -> None:
    """Delete one of my files.  Nobody can read it any more, wherever it was shared."""
    await house.files.delete(claims.sub, own_id(house, file))


@get("/v1/files/{file:str}/content", tags=["files"])
async def get_content(
    file: IdPath,
    request: Request[Any, Any, Any],
    claims: Asker,
    house: TheHouse,
    size: Annotated[Literal["small"] | None, QueryParameter()] = None,
) -> Response[Any]:
    """The bytes of a file: mine, or one in a message that I may see.  `size=small`: its thumbnail, if it has one."""
    if home(parse_id(file, "fil", place="$path.file")) not in house.regions:
        raise Refused("file_unknown", "there is no such file", status=404, place="$path.file")
    content = await house.files.open(claims.sub, file)
    tag = f'"{file}.small"' if size == "small" else f'"{file}"'
    if matches(request.headers.get("if-none-match"), tag):
        return Response(b"", status_code=304, headers={**_PRIVATE, "ETag": tag})
    if size == "small":
        return await _thumbnail(content, tag)
    count = partial(house.files.downloads.counted, claims.sub)
    return await _bytes(content, count, tag, request.headers.get("range"), request.headers.get("if-range"))


@put("/v1/me/avatar", status_code=200, tags=["people"])
async def set_avatar(data: JSONBody[wire.SetAvatar], claims: Asker, house: TheHouse) -> wire.Avatar:
    """Make one of my pictures the one that colleagues see, or have none."""
    if data.file is not None:
        own_id(house, data.file, "$.file")
    return wire.Avatar(avatar=await house.files.avatars.set(claims.sub, data.file))


@get("/v1/avatars/{person:str}", tags=["people"])
async def avatar(person: IdPath, request: Request[Any, Any, Any], claims: Asker, house: TheHouse) -> Response[bytes]:
    """A colleague's picture, a WebP of 256 x 256."""
    parse_person(house, person, "$path.person")
    if person != claims.sub:
        await require_colleagues(house, claims.org, [person], "$path.person")
    found = await house.files.avatars.picture(person)
    tag = f'"{found.tag}"'
    if matches(request.headers.get("if-none-match"), tag):
        return Response(b"", status_code=304, headers={**_PICTURE, "ETag": tag})
    return Response(found.content, media_type=WEBP, headers={**_PICTURE, "ETag": tag})


HANDLERS = [make_file, put_part, one_file, my_files, delete_file, get_content, set_avatar, avatar]


def own_id(house: House, ident: str, place: str = "$path.file") -> str:
    """The id of a file that rests in this region: others cannot be one's own."""
    if home(parse_id(ident, "fil", place=place)) != house.store.region:
        raise Refused("file_unknown", "there is no such file", status=404, place=place)
    return ident


async def info(house: House, file: File) -> FileInfo:
    """A file as its owner sees it."""
    [found] = await infos(house, [file])
    return found


async def infos(house: House, files: Sequence[File]) -> list[FileInfo]:
    """Files as their owner sees them."""
    names = await house.files.shelf.names_of(files)
    return [_info(file, name) for file, name in zip(files, names, strict=True)]


def _info(file: File, name: str) -> FileInfo:
    ends = file.made_at + limits.UPLOAD_S if file.state == "uploading" else file.expires_at
    return FileInfo(
        id=file.id, name=name, type=file.type, size=file.size, received=file.received,
        state=file.state, part_bytes=limits.FILE_PART_BYTES, made_at=rfc3339(int(file.made_at * 1000)),
        region=home(file.id), expires_at=None if ends is None else rfc3339(int(ends * 1000)), width=file.width,
        height=file.height, thumbnail=file.thumbnail, reason=file.reason,
    )  # fmt: skip


def matches(header: str | None, tag: str) -> bool:
    """Whether `If-None-Match` names what we have (RFC 9110, section 13.1.2)."""
    if header is None or len(header) > 2_048:
        return False
    return header.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in header.split(",")]


def disposition(name: str, kind: str) -> str:
    """Shown or saved, and under which name (RFC 6266)."""
    plain = "".join(char if char.isascii() and char.isprintable() and char not in '"\\%' else "_" for char in name)
    way = "inline" if policy.is_inline(kind) else "attachment"
    return f"{way}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _thumbnail(content: Content, tag: str) -> Response[bytes]:
    if not content.about.thumbnail:
        raise Refused("thumbnail_unknown", "this file has no thumbnail", status=404, place="$query.size")
    headers = {**_PRIVATE, "ETag": tag, "Content-Disposition": "inline"}
    return Response(await content.small(), media_type=WEBP, headers=headers)


async def _bytes(content: Content, count: Count, tag: str, asked: str | None, if_range: str | None) -> Response[Any]:
    about = content.about
    headers = {**_PRIVATE, "ETag": tag, "Content-Disposition": disposition(about.name, about.type)}
    if if_range is not None and if_range.strip() != tag:
        asked = None
    try:
        span = policy.parse_range(asked, about.size)
    except Refused as error:
        body, size = encode(problem_of(error)), {"Content-Range": f"bytes */{about.size}"}
        return Response(body, status_code=416, media_type=MEDIA_TYPE, headers=size)
    whole = Span(0, about.size)
    if span is not None:
        headers["Content-Range"] = f"bytes {span.start}-{span.start + span.size - 1}/{about.size}"
    wanted = span or whole
    pieces = count(content.read(wanted))
    first = await anext(pieces)  # so that what cannot be read is answered as a problem
    headers["Content-Length"] = str(wanted.size)
    status = 200 if span is None else 206
    return Stream(_flow(first, pieces), status_code=status, media_type=about.type, headers=headers)


async def _flow(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield first
        async for some in rest:
            yield some
