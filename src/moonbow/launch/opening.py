"""Waits until a world can be entered: every process may be ready before the director has seen it."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from moonbow.balancer.process import Balancer
from moonbow.wire.traffic import decode_status
from moonbow.world import Place, Ports, SiteRef, World, plane_of, site_address

from .links import place_address
from .probe import get

OPEN_S, LOOK_S = 10.0, 0.1  # for a ready world to answer at every place, and between two looks
ENTER_S = 1.0  # for one answer
log = logging.getLogger("moonbow.launch")


async def until_open(world: World, state: Path, balancers: Sequence[Balancer]) -> None:
    """Wait until every place gets an answer of a gateway, every door has found the other regions and every director
    offers all sites, or `OPEN_S`: they start at the same time, and need a moment to see each other."""
    trust = ssl.create_default_context(cafile=str(state / "pki" / "ca.crt"))
    primaries = [ref for ref in world.sites() if ref.site.kind == "primary"]
    waiting: list[str] = []
    deadline = time.monotonic() + OPEN_S
    while time.monotonic() < deadline:
        answers = await asyncio.gather(*(_enter(world, place, trust) for place in world.places))
        offered = await asyncio.gather(*(_offers_all(world, ref) for ref in primaries))
        waiting = [place.name for place, status in zip(world.places, answers, strict=True) if status != 200]
        waiting += [f"doors of {balancer.ref.site.name}" for balancer in balancers if not balancer.reaches_all]
        waiting += [f"director of {ref.site.name}" for ref, whole in zip(primaries, offered, strict=True) if not whole]
        if not waiting:
            return
        await asyncio.sleep(LOOK_S)
    log.warning("not open everywhere", extra={"f": {"waiting": waiting}})


async def _offers_all(world: World, ref: SiteRef) -> bool:
    """Whether the director of a site sends clients to every site that shares its names."""
    try:
        async with asyncio.timeout(ENTER_S):
            _, body = await get(site_address(world, ref), Ports.DIRECTOR, "/status")
        sites = decode_status(body).sites
    except (OSError, ValueError, msgspec.MsgspecError):
        return False
    plane = {one.region for one in plane_of(world, ref.region)}
    return all(site.healthy for site in sites if site.region in plane and site.override is None)


async def _enter(world: World, place: Place, trust: ssl.SSLContext) -> int:
    """Status of a first request from a place; 0 if there is no answer."""
    try:
        async with asyncio.timeout(ENTER_S):
            host, port = place_address(world, place)
            status, _ = await get(host, port, "/v1/bootstrap", trust, world.domain)
            return status
    except (OSError, ValueError):
        return 0
