"""Waits until a world can be entered: every process may be ready before the director has seen it."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from pathlib import Path

from moonbow.world import Place, World

from .links import place_address
from .probe import get

OPEN_S, LOOK_S = 10.0, 0.1  # for a ready world to answer at every place, and between two looks
ENTER_S = 1.0  # for one answer
log = logging.getLogger("moonbow.launch")


async def until_open(world: World, state: Path) -> None:
    """Wait until every place gets an answer of a gateway, or `OPEN_S`: the director needs a moment to see its doors."""
    trust = ssl.create_default_context(cafile=str(state / "pki" / "ca.crt"))
    waiting = list(world.places)
    deadline = time.monotonic() + OPEN_S
    while waiting and time.monotonic() < deadline:
        answers = await asyncio.gather(*(_enter(world, place, trust) for place in waiting))
        waiting = [place for place, status in zip(waiting, answers, strict=True) if status != 200]
        await asyncio.sleep(LOOK_S if waiting else 0)
    if waiting:
        log.warning("a place gets no answer", extra={"f": {"places": [place.name for place in waiting]}})


async def _enter(world: World, place: Place, trust: ssl.SSLContext) -> int:
    """Status of a first request from a place; 0 if there is no answer."""
    try:
        async with asyncio.timeout(ENTER_S):
            host, port = place_address(world, place)
            status, _ = await get(host, port, "/v1/bootstrap", trust, world.domain)
            return status
    except (OSError, ValueError):
        return 0
