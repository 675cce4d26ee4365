"""Counts who is connected, and says of each process how it is."""

from __future__ import annotations

import asyncio

import msgspec

from .control import Answer
from .probe import get
from .supervisor import Keeper

STATUS_S = 1.0  # for one gateway to say how many people it has


class GatewayStatus(msgspec.Struct, frozen=True):
    """What a gateway says of itself at `/status`."""

    people: int = 0
    sockets: int = 0
    rooms_live: int = 0


async def ask_people(keeper: Keeper) -> GatewayStatus | None:
    """What a gateway says of its people; None for other processes and for one that does not answer."""
    if not keeper.spec.serves_people or keeper.state not in ("ready", "alive"):
        return None
    try:
        async with asyncio.timeout(STATUS_S):
            _, body = await get(keeper.spec.probe.host, keeper.spec.probe.port, "/status")
        return msgspec.json.decode(body, type=GatewayStatus)
    except (OSError, ValueError, msgspec.DecodeError):
        return None


def describe_process(keeper: Keeper, people: GatewayStatus | None) -> Answer:
    running = keeper.child is not None and keeper.child.running
    return {
        "site": keeper.spec.site,
        "name": keeper.spec.name,
        "state": keeper.state,
        "reason": keeper.reason,
        "since": keeper.since,
        "restarts": keeper.restarts,
        "pid": keeper.child.pid if keeper.child is not None and running else None,
        "people": people.people if people else None,
        "sockets": people.sockets if people else None,
    }
