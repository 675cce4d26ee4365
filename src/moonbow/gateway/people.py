"""The REST API of doors, sessions and people (`/v1/bootstrap`, `/v1/sessions`, `/v1/me`, `/v1/people`, `/v1/keys`)."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, delete, get, patch, post, put
from litestar.params import JSONBody, QueryParameter

from moonbow.base import limits
from moonbow.base.errors import Refused
from moonbow.base.ids import home
from moonbow.directory.tokens import is_operator
from moonbow.wire import rest as wire
from moonbow.wire import values

from .house import Asker, IdPath, TheHouse, client_of, parse_person


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


@get("/v1/people/{person:str}/erasure", tags=["people"])
async def erasure(person: IdPath, claims: Asker, house: TheHouse) -> wire.Erasure:
    """How far the erasure of a person is, with its signed receipt, for owners and admins."""
    parse_person(house, person, "$path.person")
    return await house.directory.erasure(claims, person)


@get("/v1/keys", exclude_from_auth=True, tags=["doors"])
async def keys(house: TheHouse) -> wire.PublicKeys:
    """The public keys with which anybody can check receipts of this region."""
    key = house.erasing.public
    return wire.PublicKeys(keys=[wire.PublicKey(kid=key.kid, x=key.x)])


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


HANDLERS = [
    bootstrap, sign_in, refresh, sign_out, sign_out_everywhere, me, set_presence, people, add_person, change_person,
    erase_person, erasure, keys, presence,
]  # fmt: skip
