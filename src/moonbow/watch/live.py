"""Looks at what runs: that bus servers store nothing and serve whom they should, and that gateways forget in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Literal

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from moonbow.base.limits import BODY_TTL_S, CLOCK_SKEW_S, COMPARE_S
from moonbow.base.line import Line
from moonbow.bus.policy import CONNECTIONS_MAX, SERVERS, Server
from moonbow.world import Ports, SiteRef, World, site_address

from .book import Book

ASK_S = 3.0
PAGE = 100  # connections asked for at a time
LATE_S = 1.0  # a gateway's sweep may be so late on a busy machine
OLDEST_S_MAX = BODY_TTL_S + COMPARE_S + CLOCK_SKEW_S + LATE_S
OLDEST = "moonbow_gateway_foreign_bodies_oldest_seconds"
MONITORS: dict[Server, int] = {"bus": Ports.BUS_MONITOR, "border": Ports.BORDER_MONITOR}
ACCOUNTS: dict[Server, Literal["r", "x"]] = {"bus": "r", "border": "x"}

Checks = list[tuple[str, bool, str]]


async def sites_up(world: World) -> list[SiteRef]:
    """The primary sites at whose address somebody answers for the bus."""
    refs = [ref for ref in world.sites() if ref.site.kind == "primary"]
    up = await asyncio.gather(*(_is_up(site_address(world, ref)) for ref in refs))
    return [ref for ref, answers in zip(refs, up, strict=True) if answers]


async def _is_up(host: str) -> bool:
    try:
        async with asyncio.timeout(ASK_S):
            _, writer = await asyncio.open_connection(host, Ports.BUS_MONITOR)
    except ConnectionRefusedError:
        return False
    except OSError:  # it hangs, or is far: whoever looks closer will say so
        return True
    writer.close()
    return True


async def look_at_sites(world: World, sites: list[SiteRef], book: Book) -> None:
    """Ask every bus server and gateway of these primary sites."""
    for ref in sites:
        for server in SERVERS:
            await _look(book, ref, f"{ref.site.name}/{server}", _look_at_bus(world, ref, server))
        for number in range(ref.site.gateways):
            await _look(book, ref, f"{ref.site.name}/gateway{number}", _look_at_gateway(world, ref, number))


async def _look(book: Book, ref: SiteRef, place: str, looking: Coroutine[Any, Any, Checks]) -> None:
    book.walked[place] = ref.region
    try:
        async with asyncio.timeout(ASK_S):
            checks = await looking
    except (OSError, ValueError, msgspec.MsgspecError, KeyError) as error:
        book.held("live_unseen", place, False, f"does not say how it is: {error or type(error).__name__}", ref.region)
        return
    for code, held, said in checks:
        book.held(code, place, held, said, ref.region)


async def _look_at_bus(world: World, ref: SiteRef, server: Server) -> Checks:
    host, port = site_address(world, ref), MONITORS[server]
    store = msgspec.json.decode(await _get(host, port, "/jsz"))
    users = [user async for user in _users(host, port)]
    nothing = store.get("disabled") is True and not store["storage"] and not store["messages"]
    wanted = f"{ACCOUNTS[server]}.{ref.region}.bus.moonbow"
    strangers = sorted(set(users) - {wanted})
    return [
        ("bus_store", nothing, "stores nothing" if nothing else "has a store for messages"),
        ("bus_user", not strangers, f"serves {', '.join(strangers) if strangers else wanted} and nobody else"),
    ]


async def _users(host: str, port: int) -> AsyncIterator[str]:
    """Who is connected, by the name in their certificate; servers among themselves are no clients."""
    for offset in range(0, CONNECTIONS_MAX, PAGE):
        found = msgspec.json.decode(await _get(host, port, f"/connz?auth=1&limit={PAGE}&offset={offset}"))
        for client in found["connections"]:
            yield str(client.get("authorized_user", "somebody without a name"))
        if len(found["connections"]) < PAGE:
            return


async def _look_at_gateway(world: World, ref: SiteRef, number: int) -> Checks:
    text = (await _get(site_address(world, ref), Ports.REST + number, "/metrics")).decode()
    found = [s.value for family in text_string_to_metric_families(text) for s in family.samples if s.name == OLDEST]
    if not found:
        return [("memory_old", False, "does not say how old the foreign bodies in its memory are")]
    young = found[0] <= OLDEST_S_MAX
    return [("memory_old", young, f"the oldest foreign body in memory is {found[0]:.0f} s old")]


async def _get(host: str, port: int, path: str) -> bytes:
    """The body of a GET; `ValueError` if the answer is no 200."""
    _, line = await asyncio.get_running_loop().create_connection(Line, host, port)
    try:
        status, body = await line.ask(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    finally:
        line.abort()
    if status != 200:
        raise ValueError(f"{path} answers {status}")
    return body
