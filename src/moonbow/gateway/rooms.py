"""The REST API of rooms: members, what was said, read cursors, and `sync` (`/v1/rooms`, `/v1/sync`)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Annotated

from litestar import delete, get, post, put
from litestar.params import JSONBody, QueryParameter

from moonbow.base import limits
from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home, is_uuid, new_id, parse_id
from moonbow.timeline import policy, transactions
from moonbow.timeline.model import Answer, Post, Result, Row, read_body, title_body
from moonbow.timeline.ports import Reads
from moonbow.wire import rest as wire
from moonbow.wire import values

from . import questions
from .frames import rfc3339, row_value
from .house import (
    Asker,
    House,
    IdPath,
    TheHouse,
    parse_person,
    parse_room,
    require_colleagues,
    require_member,
    require_room,
)
from .messages import body_with_files, plain_body


@get("/v1/rooms", tags=["rooms"])
async def rooms(claims: Asker, house: TheHouse) -> wire.Rooms:
    """My rooms, with what is unread."""
    views = await house.store.read(policy.rooms_of, claims.sub)
    return wire.Rooms(rooms=await house.flow.rooms(claims.sub, views))


@post("/v1/rooms", status_code=201, tags=["rooms"])
async def make_room(data: JSONBody[wire.NewRoom], claims: Asker, house: TheHouse) -> values.Room:
    """Make a room; it is homed in my region.  A direct room is homed where the pair's smaller id is."""
    members = [parse_person(house, ident, f"$.members[{no}]") for no, ident in enumerate(data.members)]
    others = list(dict.fromkeys(ident for ident in members if ident != claims.sub))
    await require_colleagues(house, claims.org, others)
    if data.kind == "direct":
        if len(others) != 1 or data.title is not None:
            raise Refused("direct_is_two", "a direct room has one other member and no title", place="$.members")
        room = await house.federation.direct_room(claims.sub, others[0])
        return await await_room(house, claims.sub, room)
    room = await house.store.write(
        transactions.create_room, new_id("rom", house.store.region), claims.sub, tuple(others)
    )
    if data.title is not None:
        card = Post(claims.sub, room, new_uuid(), title_body(data.title), card=True)
        await house.store.write(transactions.post, card)
    return await room_of(house, claims.sub, room)


@get("/v1/rooms/{room:str}", tags=["rooms"])
async def one_room(room: IdPath, claims: Asker, house: TheHouse) -> values.Room:
    """One of my rooms."""
    return await room_of(house, claims.sub, parse_room(house, room))


@put("/v1/rooms/{room:str}/title", status_code=201, tags=["rooms"])
async def set_title(room: IdPath, data: JSONBody[wire.NewTitle], claims: Asker, house: TheHouse) -> wire.Posted:
    """Give a room a title.  It rests in the region of whoever wrote it, as everything does."""
    return await place(house, claims.sub, room, data.client_id, title_body(data.title), card=True)


@get("/v1/rooms/{room:str}/members", tags=["rooms"])
async def members(room: IdPath, claims: Asker, house: TheHouse) -> wire.Members:
    """Who is in a room, and in which region what they write rests."""
    await require_member(house, claims.sub, parse_room(house, room))
    found = await house.store.read(_members, room)
    names = await house.directory.names([person for person, _ in found])
    return wire.Members(
        members=[
            values.Member(person=person, name=names.get(person), region=home(person), since=rfc3339(at))
            for person, at in found
        ]
    )


@put("/v1/rooms/{room:str}/members/{person:str}", status_code=202, tags=["rooms"])
async def add_member(room: IdPath, person: IdPath, claims: Asker, house: TheHouse) -> wire.Wish:
    """Bring a colleague into a room.  `sent` = on its way to the room's home, which decides."""
    await require_member(house, claims.sub, parse_room(house, room))
    parse_person(house, person, "$path.person")
    await require_colleagues(house, claims.org, [person])
    return wish(await house.store.write(transactions.change_member, room, claims.sub, person, True))


@delete("/v1/rooms/{room:str}/members/{person:str}", status_code=202, tags=["rooms"])
async def remove_member(room: IdPath, person: IdPath, claims: Asker, house: TheHouse) -> wire.Wish:
    """Leave a room, or take somebody out of a room of mine."""
    await require_member(house, claims.sub, parse_room(house, room))
    parse_person(house, person, "$path.person")
    return wish(await house.store.write(transactions.change_member, room, claims.sub, person, False))


@get("/v1/rooms/{room:str}/entries", tags=["entries"])
async def entries(
    room: IdPath,
    claims: Asker,
    house: TheHouse,
    before: Annotated[int | None, QueryParameter(ge=1, le=2**53)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=limits.PAGE_MAX)] = 50,
) -> wire.Page:
    """A page of a room's rows, the newest or those before a seq, in ascending order."""
    await require_member(house, claims.sub, parse_room(house, room))
    rows, head, more = await house.store.read(policy.page_before, claims.sub, room, before or 2**60, limit)
    return wire.Page(rows=await with_bodies(house, rows), head=head, more=more)


@post("/v1/rooms/{room:str}/entries", status_code=201, tags=["entries"])
async def say(room: IdPath, data: JSONBody[wire.NewEntry], claims: Asker, house: TheHouse) -> wire.Posted:
    """Say something.  The same `client_id` again answers with the entry's present state."""
    if not data.files:
        return await place(house, claims.sub, room, data.client_id, plain_body(data.text))
    parse_room(house, room)
    body = await body_with_files(house.files, claims.sub, room, data.client_id, data.text, data.files)
    return await place(house, claims.sub, room, data.client_id, body)


@delete("/v1/rooms/{room:str}/entries/{entry:str}", status_code=202, tags=["entries"])
async def redact(room: IdPath, entry: IdPath, claims: Asker, house: TheHouse) -> wire.Wish:
    """Erase an entry: one's own, or anybody's in a room of mine."""
    parse_room(house, room)
    parse_id(entry, "ent", place="$path.entry")
    return wish(await house.store.write(transactions.redact, claims.sub, room, entry))


@put("/v1/rooms/{room:str}/read", status_code=204, tags=["entries"])
async def mark_read(room: IdPath, data: JSONBody[wire.Read], claims: Asker, house: TheHouse) -> None:
    """Everything up to `seq` has been read."""
    await house.flow.mark_read(claims.sub, parse_room(house, room), data.seq)


@post("/v1/sync", status_code=200, tags=["entries"])
async def sync(data: JSONBody[wire.SyncRequest], claims: Asker, house: TheHouse) -> wire.SyncAnswer:
    """Everything beyond the cursors, for clients that cannot hold a socket."""
    views = await house.store.read_latest(policy.rooms_of, claims.sub)  # what is read next is at least as new
    known = {view.ident for view in views} | {"inb" + claims.sub[3:]}
    rows: list[Row] = []
    resets: dict[str, int] = {}
    for ident, cursor in data.cursors.items():
        parse_id(ident, "rom", "dir", "inb", place="$.cursors")
        if ident not in known:
            resets[ident] = 0
            continue
        left = limits.RESUME_ROWS_MAX - len(rows)
        items, head, complete, _ = await house.store.read(policy.open_view, claims.sub, ident, cursor, max(left, 1))
        if complete and cursor <= head and left > 0:
            rows += [row for row, _ in items]
        else:
            resets[ident] = (await house.store.read(questions.heads, [ident])).get(ident, 0)
    return wire.SyncAnswer(
        rooms=await house.flow.rooms(claims.sub, views), rows=await with_bodies(house, rows), resets=resets
    )


# -- what several handlers need --------------------------------------------------------------------------------------


async def room_of(house: House, person: str, room: str) -> values.Room:
    """A room as its member sees it."""
    (value,) = await house.flow.rooms(person, [await require_room(house, person, room)])
    return value


async def await_room(house: House, person: str, room: str) -> values.Room:
    """A room that may be homed elsewhere: its order arrives within moments, or the answer says so."""
    for _ in range(40):
        if await house.store.read(policy.room_view, person, room) is not None:
            return await room_of(house, person, room)
        await asyncio.sleep(0.05)
    raise Unavailable("room_on_its_way", "the room exists and will appear in a moment", region=home(room))


async def place(
    house: House, person: str, room: str, client_id: str, body: bytes, *, card: bool = False
) -> wire.Posted:
    """Post, and say what became of it so far."""
    parse_room(house, room)
    if not is_uuid(client_id):
        raise Refused("client_id_malformed", "a client_id is a lower-case UUID", place="$.client_id")
    answer: Answer = await house.store.write(transactions.post, Post(person, room, client_id, body, card))
    return wire.Posted(state=answer.state, client_id=client_id, id=answer.entry, seq=answer.seq, code=answer.code)


async def with_bodies(house: House, rows: Sequence[Row]) -> list[values.Row]:
    """Rows with their bodies: ours from the store, others from memory or live from their authors' regions."""
    wanted = [row for row in rows if row.kind == "entry" and row.entry and not row.gone]
    here = [row.entry or "" for row in wanted if home(row.entry or "") == house.store.region]
    stored = await house.store.read(_bodies, here)
    there = [row for row in wanted if home(row.entry or "") != house.store.region]
    fetched = await house.flow.foreign.fetch_now(there) if there else {}
    found: list[values.Row] = []
    for row in rows:
        if row.kind != "entry":
            found.append(row_value(row, None, None))
            continue
        entry = row.entry or ""
        state: values.State = "erased"
        body = None
        if not row.gone and entry in fetched:
            state, body = fetched[entry]
        elif not row.gone and stored.get(entry) is not None:
            state, body = "ok", stored[entry]
        found.append(row_value(row, read_body(body) if body is not None else None, state))
    return found


def wish(result: Result) -> wire.Wish:
    """What became of a wish; a refusal is the caller's to mend."""
    if result.state == "refused":
        raise Refused(result.code or "refused", (result.code or "refused").replace("_", " "), status=403)
    if result.code == "entry_unknown":
        raise Refused("entry_unknown", "there is no such entry", status=404, place="$path.entry")
    return wire.Wish(state="sent" if result.state == "sent" else "done")


def new_uuid() -> str:
    """A random UUID, for posts that the gateway makes on a person's behalf."""
    return str(uuid.uuid4())


def _members(store: Reads, room: str) -> list[tuple[str, int]]:
    stream = store.stream(room)
    if stream is None:
        return []
    rows = ((person, store.row(stream, joined)) for person, joined in store.members(stream))
    return [(person, row.at if row is not None else 0) for person, row in rows]


def _bodies(store: Reads, entries: Sequence[str]) -> dict[str, bytes | None]:
    return {entry: stored.body for entry, stored in store.bodies(entries).items()}


HANDLERS = [
    rooms, make_room, one_room, set_title, members, add_member, remove_member, entries, say, redact, mark_read, sync,
]  # fmt: skip
