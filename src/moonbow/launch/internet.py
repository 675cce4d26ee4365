"""The laptop's "internet": passes each place's clients to the door the director names, and joins the sites by links.

Run as `python -m moonbow.launch.internet --state STATE`.  It is controlled over the unix socket
`STATE/world/internet.sock`, one JSON object a line: `{"op": "cut", "a": …, "b": …, "black_hole": false}`,
`{"op": "heal"}` (everything, or between `a` and `b`), `{"op": "show"}`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

import uvloop

from moonbow.base.errors import ConfigError
from moonbow.base.log import start_log
from moonbow.world import Ports, World, load_world, plane_of, site_address, world_address

from .control import Answer, serve_lines
from .links import Address, Condition, Link, pairs_between, place_address, plan_links
from .relay import Relay
from .resolve import Resolver

PLACE_CONNECTIONS_MAX = 20_000
LINK_CONNECTIONS_MAX = 4_096

log = logging.getLogger("moonbow.launch")


class Internet:
    """All relays of a world on this machine, and the condition of every pair of sites."""

    def __init__(self, world: World, state: Path) -> None:
        self.world = world
        self.socket = state / "world" / "internet.sock"
        self.places = {place.name: _place_relay(world, number) for number, place in enumerate(world.places)}
        self.links = [(link, _link_relay(link)) for link in plan_links(world)]
        self.conditions: dict[frozenset[str], Condition] = {}

    async def start(self) -> None:
        """Listen everywhere; `ConfigError` naming the address that is taken."""
        for relay in (*self.places.values(), *(relay for _, relay in self.links)):
            try:
                await relay.open()
            except OSError as error:
                host, port = relay.listen
                raise ConfigError(f"{host}:{port}: {error.strerror}") from error

    def stop(self) -> None:
        """Reset everything and stop listening."""
        for relay in (*self.places.values(), *(relay for _, relay in self.links)):
            relay.cut()

    async def set_condition(self, pairs: frozenset[frozenset[str]], condition: Condition) -> int:
        """Put the links of `pairs` into `condition`; how many addresses that touched."""
        touched = [relay for link, relay in self.links if frozenset({link.source, link.dest}) in pairs]
        for relay in touched:
            if condition == "cut":
                relay.cut()
                continue
            await relay.open()
            (relay.hold if condition == "black_hole" else relay.release)()
        for pair in pairs:
            self.conditions.pop(pair, None)
            if condition != "open":
                self.conditions[pair] = condition
        return len(touched)

    async def answer(self, request: dict[str, object]) -> Answer:
        """One control request; `ConfigError` for names that do not exist."""
        match request.get("op"):
            case "cut":
                pairs = pairs_between(self.world, str(request.get("a")), str(request.get("b")))
                condition: Condition = "black_hole" if request.get("black_hole") else "cut"
                touched = await self.set_condition(pairs, condition)
                log.info("cut", extra={"f": {"condition": condition, "pairs": _shown(pairs), "links": touched}})
                return {"links": touched, "pairs": _shown(pairs), "condition": condition}
            case "heal":
                a, b = request.get("a"), request.get("b")
                pairs = pairs_between(self.world, str(a), str(b)) if a and b else frozenset(self.conditions)
                touched = await self.set_condition(pairs, "open")
                log.info("heal", extra={"f": {"pairs": _shown(pairs), "links": touched}})
                return {"links": touched, "pairs": _shown(pairs), "condition": "open"}
            case "show":
                return {
                    "cuts": [{"between": sorted(pair), "condition": how} for pair, how in self.conditions.items()],
                    "places": {name: relay.connections for name, relay in self.places.items()},
                    "links": sum(relay.connections for _, relay in self.links),
                }
            case other:
                raise ConfigError(f"the internet does not know {other!r}")


def _shown(pairs: frozenset[frozenset[str]]) -> list[list[str]]:
    return sorted(sorted(pair) for pair in pairs)


def _place_relay(world: World, number: int) -> Relay:
    place = world.places[number]
    head, _, _ = world_address(world).rpartition(".")
    directors = [(site_address(world, ref), Ports.DNS) for ref in plane_of(world)]
    turn = number % len(directors)
    servers = (*directors[turn:], *directors[:turn])
    resolver = Resolver(servers, f"door.{world.domain}", place.network, Ports.DOOR)
    return Relay(
        place_address(world, place),
        resolver.doors,
        bind=f"{head}.{101 + number}",
        connections_max=PLACE_CONNECTIONS_MAX,
    )


def _link_relay(link: Link) -> Relay:
    async def targets() -> tuple[Address, ...]:
        return link.targets

    return Relay(link.listen, targets, bind=link.bind, connections_max=LINK_CONNECTIONS_MAX)


async def run(state: Path) -> None:
    """Serve until SIGTERM or SIGINT."""
    internet = Internet(load_world(state / "world.toml"), state)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await internet.start()
    async with serve_lines(internet.socket, internet.answer):
        log.info("started", extra={"f": {"places": len(internet.places), "links": len(internet.links)}})
        await stopping.wait()
    internet.stop()


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    arguments = parser.parse_args()
    start_log("world", "internet")
    try:
        uvloop.run(run(arguments.state))
    except ConfigError as error:
        log.error("cannot start", extra={"f": {"problems": error.problems}})
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
