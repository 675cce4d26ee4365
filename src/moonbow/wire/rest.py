"""Requests and answers of the REST API.  The OpenAPI document is generated from these types."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from moonbow.base import limits

from .files import FileName
from .values import Door, Member, Person, PresenceState, Role, Room, Row, Value

Id = Annotated[str, Meta(min_length=10, max_length=64)]
ClientId = Annotated[str, Meta(min_length=36, max_length=36, description="a UUID, unique per author")]
Text = Annotated[str, Meta(max_length=limits.BODY_BYTES_MAX)]
Title = Annotated[str, Meta(min_length=1, max_length=limits.TITLE_CHARS_MAX)]
EntryFiles = Annotated[list[Id], Meta(max_length=limits.FILES_PER_ENTRY_MAX)]
Seq = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Request(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of requests: a field that nobody knows is a fault with its place."""


class SignIn(Request, frozen=True):
    """`POST /v1/sessions`."""

    login: Annotated[str, Meta(min_length=3, max_length=254)]
    password: Annotated[str, Meta(min_length=1, max_length=1024)]


class Refresh(Request, frozen=True):
    """`POST /v1/sessions/refresh`."""

    refresh_token: Annotated[str, Meta(min_length=20, max_length=200)]


class Session(Value, frozen=True):
    """A signed-in session.  The access token is good for `expires_in_s`; the refresh token rotates at each use."""

    access_token: str
    expires_in_s: int
    refresh_token: str
    person: Person


class Served(Value, frozen=True):
    """Where the asker's request went: the door's site and the site of the gateway that answered."""

    region: str
    site: str
    city: str


class RegionInfo(Value, frozen=True):
    """A region of the world as clients see it."""

    name: str
    title: str


class Bootstrap(Value, frozen=True):
    """What a client needs before it connects: the doors, best first, and how the world's regions are called."""

    world: str
    domain: str
    served_by: Served
    doors: list[Door]
    regions: list[RegionInfo]


class Me(Value, frozen=True):
    """The signed-in person, where their data rests, and who serves them now.

    An `operator` may look at where the world's traffic goes, under `/v1/operator`.
    """

    person: Person
    company_name: str
    region_title: str
    served_by: Served
    operator: bool = False


class SetPresence(Request, frozen=True):
    """`PUT /v1/me/presence`.  `online` gives the choice back to what the devices say."""

    state: Literal["online", "away", "busy", "dnd", "invisible"]
    text: Annotated[str, Meta(max_length=limits.STATUS_CHARS_MAX)] = ""


class People(Value, frozen=True):
    """A page of colleagues; `missing` names regions that did not answer."""

    people: list[Person]
    next: str | None = None
    missing: list[str] = []


class NewPerson(Request, frozen=True):
    """`POST /v1/people`, for admins and owners.  `region` is where everything the person writes will rest."""

    login: Annotated[str, Meta(min_length=3, max_length=254)]
    password: Annotated[str, Meta(min_length=10, max_length=1024)]
    name: Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX)]
    role: Role = "member"
    region: str | None = None


class ChangePerson(Request, frozen=True):
    """`PATCH /v1/people/{id}`."""

    name: Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX)] | None = None
    role: Role | None = None
    password: Annotated[str, Meta(min_length=10, max_length=1024)] | None = None


class NewRoom(Request, frozen=True):
    """`POST /v1/rooms`.  A direct room has one other member and no title; the same pair always gets the same room."""

    kind: Literal["group", "direct"] = "group"
    title: Title | None = None
    members: Annotated[list[Id], Meta(max_length=limits.INVITES_MAX)] = []


class NewTitle(Request, frozen=True):
    """`PUT /v1/rooms/{id}/title`."""

    client_id: ClientId
    title: Title


class Rooms(Value, frozen=True):
    """Everything somebody is a member of."""

    rooms: list[Room]


class Members(Value, frozen=True):
    """The members of a room."""

    members: list[Member]


class NewEntry(Request, frozen=True):
    """`POST /v1/rooms/{id}/entries`.  The same `client_id` again gives the entry's present state.

    `files` are own files that are ready; with them `text` may be empty.
    """

    client_id: ClientId
    text: Text
    files: EntryFiles = []


class NewFile(Request, frozen=True):
    """`POST /v1/files`.  `size` bytes will follow in parts; `expires_in_s`: from now, never if it is not given.

    With a `client_id` it may be sent again when the answer was lost: the answer is the file as it is then.
    """

    name: FileName
    size: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    expires_in_s: Annotated[int, Meta(ge=60, le=10 * 366 * 86_400)] | None = None
    client_id: ClientId | None = None


class SetAvatar(Request, frozen=True):
    """`PUT /v1/me/avatar`: an own picture that is ready, or null for none."""

    file: Id | None


class Avatar(Value, frozen=True):
    """The tag of one's picture, as `Person.avatar` gives it; None: one has none."""

    avatar: str | None = None


class Posted(Value, frozen=True):
    """The fate of a post so far.  kept = durable at its author's home, not yet ordered; placed has a seq."""

    state: Literal["placed", "kept", "refused"]
    client_id: str
    id: str | None = None
    seq: int | None = None
    code: str | None = None


class Page(Value, frozen=True):
    """A page of a room's rows in ascending order; `more` says whether older ones exist."""

    rows: list[Row]
    head: int
    more: bool


class Read(Request, frozen=True):
    """`PUT /v1/rooms/{id}/read`."""

    seq: Seq


class SyncRequest(Request, frozen=True):
    """`POST /v1/sync`: what the client has, by stream."""

    cursors: Annotated[dict[Id, Seq], Meta(max_length=limits.CURSORS_MAX)] = {}


class SyncAnswer(Value, frozen=True):
    """Everything beyond the cursors.  `resets` names streams whose cursor was unknown or too old: page them anew."""

    rooms: list[Room]
    rows: list[Row]
    resets: dict[str, int]


class Wish(Value, frozen=True):
    """What became of a wish: done here, or sent to the region that decides; its outcome shows as rows."""

    state: Literal["done", "sent"]


class Erased(Value, frozen=True):
    """A person was erased; a row in each of these many rooms says so to all copies.

    `receipt` is a JSON Web Signature of the region over what was erased where; `GET /v1/keys` has the key to check it.
    """

    person: str
    rooms: int
    receipt: str | None = None


class Erasure(Value, frozen=True):
    """`GET /v1/people/{id}/erasure`: how far the erasure of a person is, and its receipt once it is done."""

    person: str
    state: Literal["under_way", "done"]
    asked_at: str
    receipt: str | None = None


class PublicKey(Value, frozen=True):
    """A public key as a JWK (RFC 8037)."""

    kid: str
    x: str
    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    use: Literal["sig"] = "sig"
    alg: Literal["EdDSA"] = "EdDSA"


class PublicKeys(Value, frozen=True):
    """`GET /v1/keys`: the keys that check receipts of this region, as a JWK set (RFC 7517)."""

    keys: list[PublicKey]


class PresenceList(Value, frozen=True):
    """Presence of the people asked for."""

    people: list[PersonPresence]


class PersonPresence(Value, frozen=True):
    """One person's presence, as `GET /v1/presence` gives it."""

    person: str
    state: PresenceState
    text: str
    since: str | None
