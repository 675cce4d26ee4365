"""Makes the demo company of a first start, once the stores can be opened and before any process does so."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.base.files import write_private
from moonbow.base.programs import run_program
from moonbow.world import World

SEED_S = 60.0
log = logging.getLogger("moonbow.launch")


def needs_seed(world: World, state: Path) -> bool:
    """Whether no seeding has come to its end here, or a region of this world has no directory of its own."""
    embedded = (name for name, region in world.regions.items() if region.data.sql == "sqlite")
    stores = [state / "regions" / region / "directory.db" for region in embedded]
    return _seeded(world, state) != _engines(world) or not all(path.exists() for path in stores)


def _mark(state: Path) -> Path:
    """Written after a seeding that came to its end; an interrupted one is mended by the next start."""
    return state / "world" / "seeded"


def _engines(world: World) -> str:
    """Where each region's people rest: a region that is moved to another engine begins with nobody."""
    return "".join(f"{name} {region.data.sql}\n" for name, region in world.regions.items())


def _seeded(world: World, state: Path) -> str | None:
    """What was seeded last, in the words of `_engines`; None if nothing was.  An empty mark is an older release's."""
    try:
        return _mark(state).read_text() or "".join(f"{name} sqlite\n" for name in world.regions)
    except FileNotFoundError:
        return None


async def seed_demo(world: World, state: Path) -> None:
    """Run `moonbow.directory.seed` if a region has no directory; `ConfigError` with its last words if it fails."""
    if not needs_seed(world, state):
        return
    try:
        code, said = await run_program(
            SEED_S, sys.executable, "-P", "-m", "moonbow.directory.seed", "--state", str(state)
        )
    except ConfigError as error:
        raise ConfigError(f"making the demo company: {error}") from error
    if code:
        raise ConfigError(f"making the demo company failed: {said.strip()[-2000:]}")
    write_private(_mark(state), _engines(world).encode())
    log.info("demo company made")
