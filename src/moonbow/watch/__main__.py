"""`python -m moonbow.watch --state STATE`: audits by the clock of the world file, and metrics about them."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server

from moonbow.base.log import start_log
from moonbow.base.stop import until_stopped
from moonbow.world import Ports, load_world, world_address

from .schedule import Schedule


async def serve(state: Path) -> None:
    """Run until told to stop."""
    world, registry = load_world(state / "world.toml"), CollectorRegistry()
    schedule = Schedule(world, state, registry, world.audit.every_h * 3_600.0)
    start_http_server(Ports.WATCH, world_address(world), registry)  # of its own threads; any path is the metrics
    await until_stopped(schedule.run())


def main() -> None:
    """Entry of `python -m moonbow.watch`."""
    parser = argparse.ArgumentParser(prog="python -m moonbow.watch", description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    start_log("world", "watch")
    asyncio.run(serve(given.state))


if __name__ == "__main__":
    main()
