"""One audit of one state folder: walk it, look at what runs, try the locks, and let every region sign what was seen."""

from __future__ import annotations

import asyncio
import fcntl
import os
import platform
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.world import World, load_world

from . import files, live, locks
from .attest import keep
from .book import Book
from .canaries import MAY_BE_AT_HOME, NEVER_ON_DISK, SEALED, Canary, read_canaries
from .control import Laid, lay_controls
from .model import FORMAT, Attestation, Finding, Progress, Report
from .tables import stores_in, walk_store

SOFTWARE = ("moonbow", "cryptography", "msgspec")


def audit(state: Path, tell: Callable[[Progress], None] = lambda progress: None) -> Report:
    """Audit the world of `state`, running or not.  `ConfigError` if there is none, or another audit is under way.

    Run it in a process that has none of the world's stores open (see `stores/snapshot.py`).
    """
    world = load_world(state / "world.toml")
    began, started_at = time.monotonic(), _now()
    book = Book(tell)
    with _alone(state):
        _clear(world, state)
        canaries = _canaries(world, state)
        with lay_controls(state, list(world.regions)) as laid:
            _walk(world, state, canaries, laid, book)
        asyncio.run(_look_and_try(world, state, book))
        attestations = _attest(world, state, book, started_at, len(canaries))
    return Report(
        attestations=attestations, findings=book.findings(), controls=tuple(book.controls), map=book.map(started_at),
        files=book.files, rows=book.rows, size_bytes=book.size_bytes, canaries=len(canaries),
        lasted_s=round(time.monotonic() - began, 3),
    )  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def _alone(state: Path) -> Generator[None]:
    """One audit at a time: two would take each other's copies for files of the world."""
    folder = state / "world" / "audit"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{state}: another audit is under way") from None
        yield
    finally:
        os.close(lock)


def _clear(world: World, state: Path) -> None:
    """Remove what an audit left that was ended in its middle."""
    for region in world.regions:
        folder = state / "regions" / region / "audit"
        shutil.rmtree(folder / "locks", ignore_errors=True)
        for left in (*folder.glob("copy-*"), *folder.glob("control-*")):
            left.unlink(missing_ok=True)


def _canaries(world: World, state: Path) -> dict[str, Canary]:
    found = (canary for region in world.regions for canary in read_canaries(state, region))
    return {f"{canary.region} {canary.kind} {number}": canary for number, canary in enumerate(found)}


def _walk(world: World, state: Path, canaries: dict[str, Canary], laid: Laid, book: Book) -> None:
    """Everything at rest.  Copies of stores are read and gone before the first live file is opened."""
    book.tell(Progress(stage="listing files", done=0, total=0))
    seen = files.list_files(world, state, book)
    for store in stores_in(world, state, seen):
        walk_store(world, store, book)
    files.judge_contents(world, state, seen, book)
    at_home, forms = files.search_files(world, state, seen, canaries, laid.searcher, book)
    for folder, region in _folders(world):
        book.walked[folder] = region
    for region, wanted in laid.wanted.items():
        missed = sorted(wanted - forms.get(region, set()))
        said = f"not seen in the forms {', '.join(missed)}" if missed else f"seen in all {len(wanted)} forms"
        book.held("control_seen", f"regions/{region}/audit", not missed, said, region)
    for name, canary in canaries.items():
        _judge_home(world, canary, at_home[name], book)


def _folders(world: World) -> Iterator[tuple[str, str]]:
    yield from ((f"regions/{region}", region) for region in world.regions)
    yield from ((f"sites/{ref.site.name}", ref.region) for ref in world.sites())
    yield from ((folder, "") for folder in ("world", "pki", "secrets"))


def _judge_home(world: World, canary: Canary, count: int, book: Book) -> None:
    """The control at home: what rests there in clear must be found there, else its absence elsewhere says nothing."""
    place, kind = f"regions/{canary.region}", f"the {canary.kind} of {canary.region}"
    if canary.kind in NEVER_ON_DISK | MAY_BE_AT_HOME:
        return
    if canary.kind in SEALED and world.regions[canary.region].data.encrypted:
        said = f"{kind} is sealed" if not count else f"{kind} stands in clear in {count} files"
        book.held("canary_sealed", place, not count, said, canary.region)
        return
    said = f"{kind} is found in {count} files" if count else f"{kind} is not even found at home: plant it anew"
    book.held("canary_at_home", place, count > 0, said, canary.region)


async def _look_and_try(world: World, state: Path, book: Book) -> None:
    book.tell(Progress(stage="trying the locks", done=0, total=4))
    await locks.try_homes(world, state, book)
    book.tell(Progress(stage="trying the locks", done=1, total=4))
    await locks.try_replicator(world, state, book)
    up = await live.sites_up(world)
    book.tell(Progress(stage="trying the locks", done=2, total=4))
    await live.look_at_sites(world, up, book)
    book.tell(Progress(stage="trying the locks", done=3, total=4))
    await locks.try_bus(world, state, up, book)
    await locks.try_sql(world, state, up, book)
    for ref in world.sites():
        if ref.site.kind == "primary" and ref not in up:
            book.held("live_unseen", ref.site.name, None, "does not run: only its disk was looked at", ref.region)


def _attest(world: World, state: Path, book: Book, started_at: str, canaries: int) -> dict[str, str]:
    """Each region signs what was found on its own disks and of its own people, and nothing about a sealed other's."""
    written: dict[str, str] = {}
    for region in world.regions:
        attestation = Attestation(
            format=FORMAT, world=world.name, region=region, started_at=started_at, ended_at=_now(),
            software=_software(),
            walked=tuple(sorted(place for place, at in book.walked.items() if at in (region, ""))),
            files=book.files, rows=book.rows, size_bytes=book.size_bytes, canaries=canaries,
            findings=tuple(found for found in book.findings() if _concerns(found, region)),
            controls=tuple(control for control in book.controls if control.at in (region, "")),
            map=tuple(line for line in book.map(started_at) if line.region in (region, "")),
        )  # fmt: skip
        path = keep(state, attestation)
        written[region] = path.relative_to(state).as_posix()
    return written


def _concerns(finding: Finding, region: str) -> bool:
    return region in (finding.at, finding.of) or not finding.at


def _software() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a folder that was never installed
            found[name] = "unknown"
    return found
