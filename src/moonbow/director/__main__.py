"""`python -m moonbow.director --state STATE --site SITE`: the name server of a site, and watcher of others."""

from __future__ import annotations

import argparse
import ssl
import sys
from pathlib import Path

import uvloop

from moonbow.base.errors import ConfigError
from moonbow.base.log import start_log
from moonbow.base.stop import until_stopped
from moonbow.world import load_world

from .process import Director


async def serve(state: Path, site: str) -> None:
    """Run the director of `site` in the world in `state` until SIGTERM or SIGINT."""
    world = load_world(state / "world.toml")
    ref = world.site(site)
    if ref.site.kind != "primary":
        raise ConfigError(f"{site}: only primary sites have a director")
    await until_stopped(Director(world, state, ref).run())


def main() -> int:
    """0 after a clean stop, 2 for what the operator must mend."""
    parser = argparse.ArgumentParser(prog="python -m moonbow.director", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the world's folder")
    parser.add_argument("--site", required=True, help="the primary site whose director this is")
    given = parser.parse_args()
    start_log(given.site, "director")
    try:
        uvloop.run(serve(given.state, given.site))
    except (ConfigError, OSError, ssl.SSLError) as error:
        print(f"director: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
