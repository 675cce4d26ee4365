"""`python -m moonbow.data.weed --state STATE --site SITE`: lay out what a site's SeaweedFS needs, and become it.

It never starts without its files: SeaweedFS takes a missing one for leave to speak with anybody.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.base.files import make_private, write_private
from moonbow.world import SiteRef, World, load_world, objects_key

from .seaweed import keeps_objects, node_files, render_weed, weed_argv, weed_files

CURE = "`./moonbow up`, without --no-build, brings it"


def find_weed() -> str:
    """Where `weed` is; `ConfigError` saying how to get it."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        raise ConfigError(f"SeaweedFS's program weed is missing: {CURE}")
    return found


def prepare(world: World, ref: SiteRef, state: Path) -> None:
    """Everything in the folder, so that `weed` can start; `ConfigError` if a key or certificate is missing."""
    key = objects_key(state, ref.region)
    for path in (key, *node_files(ref, state)):
        if not path.is_file():
            raise ConfigError(f"{path} is missing: `moonbow up` makes it, or bring it from the region's other machines")
    files = weed_files(state, ref.site.name)
    for folder in (files.volumes, files.master):
        make_private(folder)
    for name, text in render_weed(world, ref, state, key.read_text()).items():
        write_private(files.folder / name, text.encode())


def main() -> int:
    """2 for what the operator must mend; otherwise this process becomes weed."""
    parser = argparse.ArgumentParser(prog="python -m moonbow.data.weed", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the world's folder")
    parser.add_argument("--site", required=True, help="the primary or witness site")
    given = parser.parse_args()
    state = given.state.absolute()
    os.umask(0o077)
    try:
        world = load_world(state / "world.toml")
        ref = world.site(given.site)
        if not keeps_objects(world, ref):
            raise ConfigError(f"{given.site}: no SeaweedFS belongs there")
        argv = weed_argv(find_weed(), world, ref, state)
        prepare(world, ref, state)
    except (ConfigError, OSError) as error:
        print(f"weed: {error}", file=sys.stderr)
        return 2
    os.execv(argv[0], argv)


if __name__ == "__main__":
    raise SystemExit(main())
