"""`python -m moonbow.director.knot --state STATE --site SITE`: lay out what a site's knotd needs, and become it.

It starts with the answers of the last decision, which Knot keeps in its journal, so it is right while the director is
away.  The first time it waits for the director, which alone says what the zone holds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from moonbow.base.errors import ConfigError
from moonbow.base.files import write_private
from moonbow.base.programs import find_program
from moonbow.world import Ports, World, load_world, site_address

from .adapters.keyfiles import ZONE_KEY, keep_secrets
from .adapters.maps import WatchedMap
from .knot_buckets import build_database, label_of
from .knot_config import KnotSettings, parse_views, render_config, render_views
from .knot_records import Views, decide_records, digest_of
from .model import Map
from .snapshot import Snapshot, take_snapshot
from .zone import Servers

KEYMGR_S = 20.0
SECRETS = Path("world") / "director"  # below the state folder
PACKAGES = "knot knot-module-geoip"


class InUse(NamedTuple):
    """What the database was made of."""

    digest: str
    labels: frozenset[str]


def knot_settings(
    world: World, state: Path, address: str, port: int = Ports.DNS, servers: Servers | None = None
) -> KnotSettings:
    """The knotd at a site's own address; it signs with the world's key."""
    names = [ref.site.name for ref in world.sites() if site_address(world, ref) == address]
    folder = state / "sites" / names[0] / "knot" if names else state / "world" / "knot"
    key = state / SECRETS / ZONE_KEY
    return KnotSettings(folder, world.domain, ((address, port),), servers or {"ns": (address,)}, key=key)


def knot_argv(python: str, state: Path, site: str) -> tuple[str, ...]:
    """The command line of a child that becomes the knotd of a site."""
    return (python, "-P", "-m", "moonbow.director.knot", "--state", str(state), "--site", site)


def program(name: str) -> str:
    """Where `knotd` or `keymgr` is; `ConfigError` saying how to get it."""
    return find_program(name, PACKAGES)


def prepare(settings: KnotSettings, snapshot: Snapshot, progress: Callable[[int, int], None] | None = None) -> None:
    """Everything in the folder, so that knotd can start; what is there already is the driver's to change.

    Seconds the first time, for the database; milliseconds from then on.
    """
    for folder in (settings.folder, settings.folder / "run", settings.folder / "db"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(settings.config, render_config(settings).encode())
    if not read_labels(settings).digest:
        write_database(settings, snapshot.map, build_database(snapshot.map, progress or (lambda done, of: None)))
    if not settings.views.exists():
        write_views(settings, decide_records(snapshot, settings.servers).views)
    if settings.signed:
        make_key(settings)  # reads the configuration, and so all that it names


def make_key(settings: KnotSettings) -> None:
    """One key for the zone, if it has none; `ConfigError` if that fails."""
    if any((settings.folder / "db").glob("keys/keys/*.pem")):
        return
    source = ("import-pem", str(settings.key)) if settings.key else ("generate",)
    words = (f"{settings.domain}.", *source, "algorithm=ecdsap256sha256", "ksk=yes", "zsk=yes")
    argv = (program("keymgr"), "-c", str(settings.config), *words)
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True, timeout=KEYMGR_S)
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"keymgr cannot make a key for {settings.domain}: {error.stderr.strip()}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"keymgr cannot make a key for {settings.domain}: {error}") from error


def write_views(settings: KnotSettings, views: Views) -> None:
    """The file of views."""
    write_private(settings.views, render_views(f"{settings.domain}.", views, digest_of(views)).encode())


def read_views(settings: KnotSettings) -> Views:
    """The views on disk; none if they are not there."""
    try:
        return parse_views(settings.views.read_text())[1]
    except OSError:
        return {}


def write_database(settings: KnotSettings, compiled: Map, data: bytes) -> None:
    """The database, and then what it was made of."""
    labels = sorted({label_of(bucket) for bucket in compiled.buckets})
    write_private(settings.database, data)
    write_private(settings.labels, json.dumps({"digest": compiled.digest, "labels": labels}).encode())


def read_labels(settings: KnotSettings) -> InUse:
    """What the database on disk was made of; nothing if it is not there or not known."""
    try:
        held = json.loads(settings.labels.read_bytes())
        if settings.database.exists():
            return InUse(str(held["digest"]), frozenset(map(str, held["labels"])))
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return InUse("", frozenset())


def main() -> int:
    """2 for what the operator must mend; otherwise this process becomes knotd."""
    parser = argparse.ArgumentParser(prog="python -m moonbow.director.knot", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the world's folder")
    parser.add_argument("--site", required=True, help="the primary site that it answers at")
    parser.add_argument("--prepare-only", action="store_true", help="write the files and do not start knotd")
    given = parser.parse_args()

    def show(done: int, of: int) -> None:
        print(f"\rknot: buckets: {100 * done // of} %", end="\n" if done == of else "", file=sys.stderr, flush=True)

    try:
        knotd = program("knotd")
        world = load_world(given.state / "world.toml")
        settings = knot_settings(world, given.state, site_address(world, world.site(given.site)))
        keep_secrets(given.state / SECRETS, world.domain)
        ranges = WatchedMap(given.state)
        ranges.poll()
        prepare(settings, take_snapshot(world, ranges.value), show if sys.stderr.isatty() else None)
    except (ConfigError, OSError) as error:
        print(f"knot: {error}", file=sys.stderr)
        return 2
    if given.prepare_only:
        return 0
    os.execv(knotd, (knotd, "-c", str(settings.config)))


if __name__ == "__main__":
    raise SystemExit(main())
