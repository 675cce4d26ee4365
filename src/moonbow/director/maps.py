"""Make an address map for a world, compare it with the one in use, and put it in its place if that is safe.

`python -m moonbow.director.maps --state STATE` does so with the database that the world names, if it is a new one: the
director runs it when that file changes, so that its own loop goes on.  It exits 0 whether or not there was something to
do, and 2 with one line on standard error when the map in use had to stay.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from moonbow.base.errors import ConfigError
from moonbow.world import World, load_world

from .addresses import Ranges
from .compile import Progress, scan_registries
from .geodata import compile_database, read_database
from .ledger import Entry
from .mapdiff import Diff, diff_maps
from .shelf import Shelf, digest_of

BUILD_S = 600.0
MOVES_RATIO_MAX = 0.10  # of known addresses, in either family; more needs an operator who insists


class Built(NamedTuple):
    """A map that is not in use yet, and what it was made of; no database for the registries' own data."""

    ranges: Ranges
    database: str | None = None
    database_digest: str | None = None


def build_map(database: Path | None, progress: Progress = lambda done, of: None) -> Built:
    """The map of a country database, or of the installed registry data.  `ConfigError` if the database is no good."""
    if database is None:
        return Built(scan_registries(progress))
    data = read_database(database)
    try:
        return Built(compile_database(data, progress), str(database.absolute()), digest_of(data))
    except ConfigError as error:
        raise ConfigError(*(f"{database}: {problem}" for problem in error.problems)) from error


def refuse_unsafe(diff: Diff) -> None:
    """`ConfigError` if so much moves that the database is more likely wrong than the world."""
    for family, change in (("IPv4", diff.v4), ("IPv6", diff.v6)):
        if change.ratio > MOVES_RATIO_MAX:
            raise ConfigError(
                f"{100 * change.ratio:.1f} % of the known {family} addresses would change region, more than "
                f"{100 * MOVES_RATIO_MAX:.0f} %: not put into use; --force does it"
            )


def entry_of(built: Built, who: str, why: str) -> Entry:
    """The line of the ledger for a map that is put into use now."""
    return Entry(
        number=0,
        digest="",
        source="",
        at=now(),
        who=who,
        why=why,
        database=built.database,
        database_digest=built.database_digest,
    )


def entry_back(who: str, why: str) -> Entry:
    """Who goes back to an earlier map, and why."""
    return Entry(number=0, digest="", source="", at=now(), who=who, why=why)


def now() -> str:
    """The time, RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def operator() -> str:
    """Who runs us: the name behind `sudo` if there is one."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def take_in(world: World, state: Path) -> Entry | None:
    """Put the map of the world's own database into use, if it was never seen before and is safe; None if it was.

    A map that an operator went back from stays away until the file changes.  The directors of one machine take turns.
    """
    if world.geo.database is None:
        return None
    shelf, path = Shelf(state), Path(world.geo.database)
    with shelf.alone("building", BUILD_S):
        digest = digest_of(read_database(path))
        if any(entry.database_digest == digest for entry in shelf.read().entries):
            return None
        built = build_map(path)
        refuse_unsafe(diff_maps(world, shelf.current()[1], built.ranges))
        return shelf.install(built.ranges, entry_of(built, "director", f"{path.name} is new"))


def main() -> int:
    """0 when all is done, 2 when the map in use had to stay."""
    parser = argparse.ArgumentParser(prog="python -m moonbow.director.maps", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the world's folder")
    state = parser.parse_args().state
    os.nice(10)
    try:
        entry = take_in(load_world(state / "world.toml"), state)
    except ConfigError as error:
        print(error.problems[0], file=sys.stderr)
        return 2
    if entry:
        print(f"map {entry.number}: {entry.source}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
