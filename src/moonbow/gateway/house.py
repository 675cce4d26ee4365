"""What every handler of the REST API needs: the rooms of the house, who asks, and the checks of what is asked for."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import PathParameter

from moonbow.base.errors import Refused
from moonbow.base.ids import home, parse_id
from moonbow.federation.process import Federation
from moonbow.files.process import Files
from moonbow.timeline import policy
from moonbow.timeline.model import RoomView
from moonbow.timeline.ports import Store
from moonbow.vault.erasing import Erasing
from moonbow.wire import rest as wire
from moonbow.wire import values
from moonbow.wire.traffic import OrderGiven

from .doors import Doors
from .flow import Flow

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
    async def erasure(self, claims: Any, person: str, /) -> wire.Erasure: ...


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
    files: Files
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


async def require_colleagues(house: House, org: str, people: Sequence[str], place: str = "$.members") -> None:
    """Refuse people who are not of the asker's company, or whose region cannot say so now."""
    if not people:
        return
    found = await house.directory.colleagues(org, people)
    for person in people:
        if person not in found:
            raise Refused("person_unknown", f"there is no colleague {person}", status=404, place=place)


async def require_member(house: House, person: str, room: str) -> None:
    """That the person is or was in the room, without looking further; else `room_unknown` as in `require_room`.

    At the latest state, as in `require_room`: what is read next is at least as new, so what one has just said is there.
    """
    if not await house.store.read_latest(policy.was_there, person, room):
        raise Refused("room_unknown", "there is no such room among yours", status=404, place="$path.room")


async def require_room(house: House, person: str, room: str) -> RoomView:
    """The room as a member sees it, or `room_unknown`: the same for a stranger and for no room at all."""
    view = await house.store.read_latest(policy.room_view, person, room)
    if view is None:
        raise Refused("room_unknown", "there is no such room among yours", status=404, place="$path.room")
    return view
