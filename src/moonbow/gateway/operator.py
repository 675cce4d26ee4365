"""What operators see of the world's traffic, and the two orders they may give from afar: a drain, and taking one back.

The pages are those of this site's director, or of a sister's while it is silent; orders only go to this site's own.
Nothing here names a person: orders are known in every region, so they say "an operator in emea"; the access log at
that operator's home says who.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec
from litestar import delete, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter

from moonbow.base.errors import Refused, Unavailable
from moonbow.directory.tokens import is_operator
from moonbow.wire import traffic
from moonbow.world import Ports, SiteRef, World, site_address

from .house import Asker, TheHouse

ASK_S = 3.0
PAGE_BYTES_MAX = 4_194_304
ROOT = "/v1/operator/director"
T = TypeVar("T")

_refusal = msgspec.json.Decoder(traffic.Refusal)
Text = Annotated[str, QueryParameter(max_length=200)]


class Directors:
    """The directors of this region, this site's first, asked over their own HTTP."""

    def __init__(self, world: World, state: Path, site: SiteRef) -> None:
        others = [ref for ref in world.primaries(site.region) if ref.site.name != site.site.name]
        self._origins = [f"http://{site_address(world, ref)}:{Ports.DIRECTOR}" for ref in (site, *others)]
        self._key = state / "sites" / site.site.name / "director" / "orders.key"
        self._client = httpx.AsyncClient(timeout=ASK_S)

    async def read(self, path: str, kind: type[T], **query: str) -> T:
        """A page as a value; `Refused` as the director refuses, `Unavailable` if none of the region answers."""
        given = {name: value for name, value in query.items() if value}
        for origin in self._origins:
            try:
                answer = await self._client.get(f"{origin}{path}?{urlencode(given)}")
            except httpx.HTTPError:
                continue
            return _value(answer, kind)
        raise _unreachable()

    async def act(self, method: str, path: str, wanted: msgspec.Struct | None) -> traffic.OrderGiven:
        """What became of an order."""
        try:
            headers = {"Authorization": f"Bearer {self._key.read_text()}"}
            body = msgspec.json.encode(wanted) if wanted is not None else b""
            answer = await self._client.request(method, f"{self._origins[0]}{path}", content=body, headers=headers)
        except (httpx.HTTPError, OSError) as error:
            raise _unreachable() from error
        return _value(answer, traffic.OrderGiven)

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.aclose()


def _value(answer: httpx.Response, kind: type[T]) -> T:
    try:
        if answer.is_success and len(answer.content) <= PAGE_BYTES_MAX:
            return msgspec.json.decode(answer.content, type=kind)
        said = _refusal.decode(answer.content)
    except msgspec.MsgspecError as error:
        raise _unreachable() from error
    raise Refused(said.code, said.detail, status=answer.status_code, place=said.place and place_of(said.place))


def place_of(place: str) -> str:
    """Where a fault that the director names is in the request that we were asked."""
    return {"$.id": "$path.order", "$.target": "$.site"}.get(place, place if "$" in place else f"$query.{place}")


def _unreachable() -> Unavailable:
    return Unavailable("director_unreachable", "this region's directors do not answer now")


def require_operator(claims: Any) -> None:
    """`Refused` (403) for everybody who is not an operator."""
    if not is_operator(claims):
        raise Refused("operator_only", "this is for the operators whom the world file names", status=403)


@get(ROOT, tags=["operator"])
async def director_status(claims: Asker, house: TheHouse) -> traffic.DirectorStatus:
    """All sites, their health and load, and the director that says so.  For operators."""
    require_operator(claims)
    return await house.directors.read("/status", traffic.DirectorStatus)


@get(ROOT + "/flows", tags=["operator"])
async def director_flows(claims: Asker, house: TheHouse, name: Text = "") -> traffic.Flows:
    """Where the clients of every part of the world are sent now, for a service (`door`).  For operators."""
    require_operator(claims)
    return await house.directors.read("/flows", traffic.Flows, name=name)


@get(ROOT + "/explain", tags=["operator"])
async def director_explain(claims: Asker, house: TheHouse, address: Text, name: Text = "") -> traffic.Explanation:
    """Why a client at an address gets the doors it gets.  For operators."""
    require_operator(claims)
    return await house.directors.read("/explain", traffic.Explanation, address=address, name=name)


@get(ROOT + "/simulate", tags=["operator"])
async def director_simulate(
    claims: Asker, house: TheHouse, down: Annotated[str, QueryParameter(max_length=1000)]
) -> traffic.Simulation:
    """What would be if some sites or regions (by comma) were down; nothing is changed by it.  For operators."""
    require_operator(claims)
    return await house.directors.read("/simulate", traffic.Simulation, down=down)


@get(ROOT + "/history", tags=["operator"])
async def director_history(claims: Asker, house: TheHouse) -> traffic.History:
    """What changed lately, and why, the newest first.  For operators."""
    require_operator(claims)
    return await house.directors.read("/history", traffic.History)


@get(ROOT + "/orders", tags=["operator"])
async def director_orders(claims: Asker, house: TheHouse) -> traffic.Orders:
    """The orders in force.  For operators."""
    require_operator(claims)
    return await house.directors.read("/orders", traffic.Orders)


@post(ROOT + "/orders", status_code=201, tags=["operator"])
async def director_drain(data: JSONBody[traffic.NewDrain], claims: Asker, house: TheHouse) -> traffic.OrderGiven:
    """Send a site's clients elsewhere for a while.  409 `would_overload` if others cannot take them.  For operators."""
    require_operator(claims)
    if data.site in house.regions:
        raise Refused("target_unknown", f"{data.site} is a region; name one of its sites", place="$.site")
    who = f"an operator in {house.served_by.region}"
    wanted = traffic.NewOrder(kind="drain", target=data.site, why=data.why, for_s=data.for_s, force=data.force, who=who)
    return await house.directors.act("POST", "/orders", wanted)


@delete(ROOT + "/orders/{order:str}", status_code=200, tags=["operator"])
async def director_undo(
    order: Annotated[str, PathParameter(max_length=64, pattern="^[A-Za-z0-9.]+$")], claims: Asker, house: TheHouse
) -> traffic.OrderGiven:
    """Take an order back; what it kept away comes back into service.  For operators."""
    require_operator(claims)
    return await house.directors.act("DELETE", f"/orders/{order}", None)


HANDLERS = [
    director_status, director_flows, director_explain, director_simulate, director_history, director_orders,
    director_drain, director_undo,
]  # fmt: skip
