"""`python -m moonbow.data --state STATE --site SITE`: tends the data node, or the vote, of a site."""

from __future__ import annotations

import argparse
import asyncio
import os
import pwd
import ssl
import sys
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.base.log import start_log
from moonbow.base.stop import until_stopped
from moonbow.world import load_world

from .adapters.engine import find_programs
from .process import Agent


async def serve(state: Path, site: str) -> None:
    """Run the agent of `site` in the world in `state` until SIGTERM or SIGINT."""
    world = load_world(state / "world.toml")
    ref = world.site(site)
    if ref.site.kind == "edge" or world.regions[ref.region].data.sql != "galera":
        raise ConfigError(f"{site}: no Galera node belongs there")
    find_programs()
    os.umask(0o077)
    await until_stopped(Agent(world, state, ref, pwd.getpwuid(os.geteuid()).pw_name).run())


def main() -> int:
    """0 after a clean stop, 2 for what the operator must mend."""
    parser = argparse.ArgumentParser(prog="python -m moonbow.data", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the world's folder")
    parser.add_argument("--site", required=True, help="the primary or witness site")
    given = parser.parse_args()
    start_log(given.site, "data")
    try:
        asyncio.run(serve(given.state.absolute(), given.site))
    except (ConfigError, OSError, ssl.SSLError) as error:
        print(f"data: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
