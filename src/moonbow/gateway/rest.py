"""The REST API under `/v1`.  Thin: parses, asks the rooms of the house, and answers; decisions are made elsewhere.

Every handler's types are the contract: requests are validated by them and the OpenAPI document is made from them.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
from litestar import Request, delete, get, patch, post, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter

from moonbow.base import limits
from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home, is_uuid, new_id, parse_id
from moonbow.directory.tokens import is_operator
from moonbow.federation.process import Federation
from moonbow.timeline import policy, transactions
from moonbow.timeline.model import Answer, Post, Result, RoomView, Row, read_body, text_body, title_body
from moonbow.timeline.ports import Reads, Store
from moonbow.vault.erasing import Erasing
from moonbow.wire import rest as wire
from moonbow.wire import values
from moonbow.wire.traffic import OrderGiven

from .doors import Doors
from .flow import Flow
from .frames import rfc3339, row_value

T = TypeVar("T")
IdPath = Annotated[str, PathParameter(max_length=64)]
CALLS_PER_S = 100.0
CALLS_BURST = 300.0
PEOPLE_KNOWN_MAX = 20_000


class Directory(Protocol):
    """What the API needs of the directory (`moonbow.directory.process.Directory`)."""

    def check(self, token: str) -> Any: ...
    async def sign_in(self, login: str, password: str, *, client: str) -> wire.Session: ...
    async def refresh(self, token: str) -> wire.Session: ...
    async def sign_out(self, claims: Any) -> None: ...
    async def sign_out_everywhere(self, claims: Any) -> None: ...
    async def people(
        self, org: str, query: str, cursor: str | None, limit: int
    ) -> tuple[list[values.Person], str | None, list[str]]: ...
    async def names(self, ids: Sequence[str]) -> dict[str, str]: ...
    async def colleagues(self, org: str, ids: Sequence[str]) -> dict[str, values.Person]: ...
    async def company_name(self, org: str) -> str: ...
    async def add_person(self, claims: Any, wanted: wire.NewPerson, /) -> values.Person: ...
    async def change_person(self, claims: Any, person: str, wanted: wire.ChangePerson, /) -> values.Person: ...
    async def erase_person(self, claims: Any, person: str, /) -> wire.Erased: ...


class PresenceOf(Protocol):
    """What the API needs of presence."""

    async def states(self, people: list[str]) -> list[values.Presence]: ...
    def set_wish(self, person: str, state: str, text: str) -> None: ...


class Directors(Protocol):
    """What the API needs of this region's directors (`operator.Directors`)."""

    async def read(self, path: str, kind: type[T], **query: str) -> T: ...
    async def act(self, method: str, path: str, wanted: msgspec.Struct | None) -> OrderGiven: ...


@dataclass(frozen=True)
class House:
    """The rooms of the house as one gateway has wired them."""

    directory: Directory
    erasing: Erasing
    presence: PresenceOf
    store: Store
    flow: Flow
    federation: Federation
    doors: Doors
    directors: Directors
    calls: Calls
    regions: dict[str, str]
    served_by: wire.Served


TheHouse = NamedDependency[House]
Asker = NamedDependency[Any]  # the claims of whoever asks


class Calls:
    """How many calls each person may still make: a bucket a person, bounded in number."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, person: str, now: float) -> float:
        """Take one call; returns how many are left, or refuses."""
        left, at = self._buckets.pop(person, (CALLS_BURST, now))
        left = min(CALLS_BURST, left + (now - at) * CALLS_PER_S) - 1.0
        self._buckets[person] = (max(left, 0.0), now)
        if len(self._buckets) > PEOPLE_KNOWN_MAX:
            self._buckets.popitem(last=False)
        if left < 0.0:
            raise Refused(
                "rate_limited", f"at most {CALLS_PER_S:.0f} calls a second", status=429, retry_after_s=1 / CALLS_PER_S
            )
        return left


async def provide_house(state: State) -> House:
    """The house, for handlers."""
    house: House = state.house
    return house


async def provide_claims(request: Request[Any, Any, Any], state: State) -> Any:
    """The asker's claims; `Refused` (401) without a good token of this region."""
    bearer = request.headers.get("authorization", "")
    if not bearer.startswith("Bearer "):
        raise Refused("token_missing", "an access token is needed: Authorization: Bearer …", status=401)
    house: House = state.house
    claims = house.directory.check(bearer[7:])
    left = house.calls.take(claims.sub, time.monotonic())
    request.scope["state"].update(calls_left=int(left), person=claims.sub)
    return claims


# -- doors and sessions ----------------------------------------------------------------------------------------------


@get("/v1/bootstrap", exclude_from_auth=True, tags=["doors"])
async def bootstrap(request: Request[Any, Any, Any], house: TheHouse) -> wire.Bootstrap:
    """What a client needs before it connects: the doors, best first for the asker."""
    return await house.doors.bootstrap(client_of(request), house.served_by)


@post("/v1/sessions", status_code=201, tags=["sessions"])
async def sign_in(data: JSONBody[wire.SignIn], request: Request[Any, Any, Any], house: TheHouse) -> wire.Session:
    """Sign in.  Works at every door; the password is checked at the person's home."""
    return await house.directory.sign_in(data.login, data.password, client=client_of(request))


@post("/v1/sessions/refresh", status_code=200, tags=["sessions"])
async def refresh(data: JSONBody[wire.Refresh], house: TheHouse) -> wire.Session:
    """Trade a refresh token for a new pair.  The previous one works for another minute, with the same result."""
    return await house.directory.refresh(data.refresh_token)


@delete("/v1/sessions/current", tags=["sessions"])
async def sign_out(claims: Asker, house: TheHouse) -> None:
    """Sign out here."""
    await house.directory.sign_out(claims)


@delete("/v1/sessions", tags=["sessions"])
async def sign_out_everywhere(claims: Asker, house: TheHouse) -> None:
    """Sign out on all devices; open sockets close within seconds."""
    await house.directory.sign_out_everywhere(claims)


# -- people ----------------------------------------------------------------------------------------------------------


@get("/v1/me", tags=["people"])
async def me(claims: Asker, house: TheHouse) -> wire.Me:
    """Who I am, where what I write rests, and who serves me now."""
    found = await house.directory.colleagues(claims.org, [claims.sub])
    if claims.sub not in found:
        raise Refused("person_unknown", "this person is no longer here", status=404)
    return wire.Me(
        person=found[claims.sub],
        company_name=await house.directory.company_name(claims.org),
        region_title=house.regions[home(claims.sub)],
        served_by=house.served_by,
        operator=is_operator(claims),
    )


@put("/v1/me/presence", status_code=204, tags=["people"])
async def set_presence(data: JSONBody[wire.SetPresence], claims: Asker, house: TheHouse) -> None:
    """Say how one wants to be seen."""
    house.presence.set_wish(claims.sub, data.state, data.text)


@get("/v1/people", tags=["people"])
async def people(
    claims: Asker,
    house: TheHouse,
    q: Annotated[str, QueryParameter(max_length=80)] = "",
    cursor: Annotated[str | None, QueryParameter(max_length=512)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=limits.PAGE_MAX)] = 50,
) -> wire.People:
    """Colleagues in all regions of the company, by name."""
    found, following, missing = await house.directory.people(claims.org, q, cursor, limit)
    return wire.People(people=found, next=following, missing=missing)


@post("/v1/people", status_code=201, tags=["people"])
async def add_person(data: JSONBody[wire.NewPerson], claims: Asker, house: TheHouse) -> values.Person:
    """Add a colleague, for owners and admins."""
    if data.region is not None and data.region not in house.regions:
        raise Refused("region_unknown", f"there is no region {data.region!r}", place="$.region")
    return await house.directory.add_person(claims, data)


@patch("/v1/people/{person:str}", tags=["people"])
async def change_person(
    person: IdPath, data: JSONBody[wire.ChangePerson], claims: Asker, house: TheHouse
) -> values.Person:
    """Change a colleague's name, role or password."""
    parse_person(house, person, "$path.person")
    return await house.directory.change_person(claims, person, data)


@delete("/v1/people/{person:str}", status_code=202, tags=["people"])
async def erase_person(person: IdPath, claims: Asker, house: TheHouse) -> wire.Erased:
    """Erase a person: the profile, the sign-in, and the text of everything they wrote.  Cannot be undone."""
    parse_person(house, person, "$path.person")
    return await house.directory.erase_person(claims, person)


@get("/v1/presence", tags=["people"])
async def presence(
    claims: Asker,
    house: TheHouse,
    ids: Annotated[str, QueryParameter(max_length=6500, description="up to 100 ids, by comma")],
) -> wire.PresenceList:
    """Presence of some people."""
    wanted = [parse_person(house, ident, "$query.ids") for ident in ids.split(",")[:101] if ident]
    if len(wanted) > 100:
        raise Refused("too_many", "at most 100 ids", place="$query.ids")
    return wire.PresenceList(
        people=[
            wire.PersonPresence(person=p.person, state=p.state, text=p.text, since=p.since)
            for p in await house.presence.states(wanted)
        ]
    )


# -- rooms -----------------------------------------------------------------------------------------------------------


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
    body = text_body(data.text)
    if len(body) > limits.BODY_BYTES_MAX + 64:
        raise Refused("too_long", f"at most {limits.BODY_BYTES_MAX} bytes", status=413, place="$.text")
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
    views = await house.store.read(policy.rooms_of, claims.sub)
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
            resets[ident] = (await house.store.read(_heads, [ident])).get(ident, 0)
    return wire.SyncAnswer(
        rooms=await house.flow.rooms(claims.sub, views), rows=await with_bodies(house, rows), resets=resets
    )


HANDLERS = [
    bootstrap, sign_in, refresh, sign_out, sign_out_everywhere, me, set_presence, people, add_person, change_person,
    erase_person, presence, rooms, make_room, one_room, set_title, members, add_member, remove_member, entries, say,
    redact, mark_read, sync,
]  # fmt: skip


# -- what several handlers need --------------------------------------------------------------------------------------


def client_of(request: Request[Any, Any, Any]) -> str:
    """The client's address as our own door saw it; nothing a client says about itself counts."""
    external = request.headers.get("x-envoy-external-address", "")
    return external if external else request.client.host if request.client else ""


def parse_person(house: House, ident: str, place: str) -> str:
    """A person's id of a region that exists."""
    if home(parse_id(ident, "usr", place=place)) not in house.regions:
        raise Refused("region_unknown", f"there is no region {home(ident)!r}", status=404, place=place)
    return ident


def parse_room(house: House, ident: str) -> str:
    """A room's id of a region that exists."""
    if home(parse_id(ident, "rom", "dir", place="$path.room")) not in house.regions:
        raise Refused("region_unknown", f"there is no region {home(ident)!r}", status=404, place="$path.room")
    return ident


async def require_colleagues(house: House, org: str, people: Sequence[str]) -> None:
    """Refuse people who are not of the asker's company, or whose region cannot say so now."""
    if not people:
        return
    found = await house.directory.colleagues(org, people)
    for person in people:
        if person not in found:
            raise Refused("person_unknown", f"there is no colleague {person}", status=404, place="$.members")


async def require_member(house: House, person: str, room: str) -> None:
    """That the person is or was in the room, without looking further; else `room_unknown` as in `require_room`."""
    if not await house.store.read(policy.was_there, person, room):
        raise Refused("room_unknown", "there is no such room among yours", status=404, place="$path.room")


async def require_room(house: House, person: str, room: str) -> RoomView:
    """The room as a member sees it, or `room_unknown`: the same for a stranger and for no room at all."""
    view = await house.store.read(policy.room_view, person, room)
    if view is None:
        raise Refused("room_unknown", "there is no such room among yours", status=404, place="$path.room")
    return view


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
    fetched = await house.flow.fetch_now(there) if there else {}
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


def _heads(store: Reads, streams: Sequence[str]) -> dict[str, int]:
    return store.heads(streams)
