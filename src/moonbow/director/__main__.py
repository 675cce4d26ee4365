"""`python -m moonbow.director --state STATE`: the name server and health prober of a world."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from moonbow.base.errors import ConfigError
from moonbow.base.log import start_log
from moonbow.world import load_world

from .adapters.doors import Probing
from .process import Director


async def serve(state: Path, probing: Probing) -> None:
    """Run the director of the world in `state` until SIGTERM or SIGINT."""
    director = Director(load_world(state / "world.toml"), state, probing)
    running = asyncio.ensure_future(director.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        return


def main() -> int:
    """0 after a clean stop, 2 for what the operator must mend."""
    usual = Probing()
    parser = argparse.ArgumentParser(prog="python -m moonbow.director", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the world's folder")
    parser.add_argument("--probe-interval-s", type=float, default=usual.interval_s, help="%(default)s")
    parser.add_argument("--probe-timeout-s", type=float, default=usual.timeout_s, help="%(default)s")
    given = parser.parse_args()
    start_log("world", "director")
    try:
        uvloop.run(serve(given.state, Probing(given.probe_interval_s, given.probe_timeout_s)))
    except (ConfigError, OSError) as error:
        print(f"director: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
