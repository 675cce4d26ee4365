"""Asks the directors of a running world, and gives the launcher orders in the name of whoever runs us."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TypeVar

from moonbow.base.errors import ConfigError
from moonbow.director.asking import ask_one
from moonbow.launch.control import Answer
from moonbow.wire import traffic
from moonbow.world import World, plane_of

from .options import command, tell

LOOK_S = 0.25
T = TypeVar("T")


def ask_any(world: World, path: str, kind: type[T], at: str | None = None, **query: str) -> T:
    """What the first living director says, or the one of site `at`; `ConfigError` if none does, or it refuses."""
    refs = plane_of(world) if at is None else (world.site(at),)
    for ref in refs:
        found = ask_one(world, ref, path, kind, **query)
        if found is not None:
            return found
    who = "no director answers" if at is None else f"the director of {at} does not answer"
    raise ConfigError(f"{who}; does the world run?  `{command()} status` tells, `{command()} up` starts it")


def wait_until_offered(world: World, site: str, within_s: float) -> str:
    """Wait until directors offer a site to clients; why they do not, if they do not in time, else nothing.

    A witness is offered to nobody, so there is nothing to wait for.
    """
    if world.site(site).site.kind == "witness":
        return ""
    end_s, why = time.monotonic() + within_s, "no director answers"
    while time.monotonic() < end_s:
        for ref in plane_of(world, world.site(site).region):
            status = ask_one(world, ref, "/status", traffic.DirectorStatus)
            if status is not None:
                found = next(one for one in status.sites if one.site == site)
                if found.healthy:
                    return ""
                why = found.why
                break
        time.sleep(LOOK_S)
    return why


def weigh(world: World, kind: str, target: str, value: int | None = None) -> traffic.Simulation:
    """What would follow from an order, before it is given."""
    order = f"{kind}:{target}" + ("" if value is None else f":{value}")
    return ask_any(world, "/simulate", traffic.Simulation, order=order)


def give(state: Path, kind: str, target: str, value: int | None, why: str, for_s: float | None) -> Answer:
    """Give an order; what the launcher says of it.  `ConfigError` if it refuses."""
    from moonbow.director.maps import operator

    order = {"kind": kind, "target": target, "value": value, "why": why, "for_s": for_s}
    return tell(state, op="order", who=operator(), **order)


def take_back(state: Path, ident: str) -> Answer:
    """Take an order back; `ConfigError` if it is not in force."""
    from moonbow.director.maps import operator

    return tell(state, op="undo", id=ident, who=operator())
