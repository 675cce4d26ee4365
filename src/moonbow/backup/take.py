"""Takes a backup: copies what there is, seals it at the other site, checks it, and lets go of what had its time.

Whatever goes wrong on the way, the archives that stood before stand afterwards, and nothing half made is listed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from moonbow.base.errors import Broken, ConfigError
from moonbow.world import Backup

from .model import (
    ERASED,
    INDEX,
    SECRETS,
    VERSION,
    Kind,
    Manifest,
    Object,
    Payload,
    Step,
    archive_id,
    purpose,
)
from .objects import copy_objects, encode_index, read_index
from .payload import write_payload
from .policy import Places, plan_pruning
from .ports import Databases, Objects
from .secret import pack_secrets
from .shelf import Shelf, genuine_manifest, key_id, write_manifest
from .verify import verify

READ_BYTES = 262_144


@dataclass(frozen=True)
class Job:
    """All that a backup of one region needs.  `clock` gives Unix seconds; `report` hears of progress."""

    settings: Backup
    region: str
    state: Path
    places: Places
    shelf: Shelf
    key: bytes
    databases: Databases
    objects: Objects
    clock: Callable[[], float]
    report: Callable[[Step], None] = lambda step: None

    @property
    def folder(self) -> Path:
        """Where the region's data lies."""
        return self.state / "regions" / self.region


def take(job: Job, erased: Sequence[str]) -> list[Manifest]:
    """One archive of data and one of keys, checked; `erased` is everybody ever erased in the region.

    `ConfigError` if the disk is full or a backup runs already, `Broken` if what was written is not what was read.
    """
    with _translated(job), scratch(job.folder) as room:
        job.shelf.prepare()
        prune(job)  # whatever becomes of this one: keys end in time, and a full disk gets room
        job.shelf.note_erased(erased)
        if not job.databases.names("data"):
            raise ConfigError(f"{job.folder}: there is nothing to copy; the region has never run here")
        made = [_make(job, kind, room) for kind in ("data", "keys")]
        for manifest in made:
            checked = verify(job.shelf, manifest.id, job.key, job.databases, room, job.clock(), job.report)
            job.shelf.note_checked(manifest.id, checked)
            if checked.faults:
                raise Broken(f"backup {manifest.id} is not what was copied: {'; '.join(checked.faults)}")
        prune(job)
        return made


def prune(job: Job) -> dict[str, str]:
    """Remove the archives that had their time, and the objects that none names any more; which, and why."""
    going = plan_pruning(job.settings, job.shelf.archives(), job.clock())
    for ident in going:
        job.shelf.remove(ident)
    if any(ident.endswith("-data") for ident in going):
        named = (one.blob for index in _indexes(job) for one in index)
        with contextlib.suppress(Broken):  # an index that cannot be read may name anything: keep all
            job.shelf.remove_blobs(list(named))
    return going


def _indexes(job: Job) -> Iterator[Iterable[Object]]:
    for archive in job.shelf.archives():
        if archive.manifest.kind == "data" and archive.manifest.key_id == key_id(job.key):
            yield read_index(job.shelf, archive.manifest, job.key)
        elif archive.manifest.kind == "data":
            raise Broken(f"{archive.manifest.id} is sealed with another key")


def _make(job: Job, kind: Kind, room: Path) -> Manifest:
    began = job.clock()
    ident = archive_id(began, kind)
    with job.shelf.adding(ident) as folder:
        payloads, epoch, position = _copy_databases(job, kind, ident, folder, room)
        objects: list[Object] = []
        if kind == "data":
            objects = list(copy_objects(job.objects, job.shelf.blobs, job.key, _previous(job), job.report))
            payloads.append(_write(job, ident, folder, INDEX, encode_index(objects)))
            payloads.append(_write(job, ident, folder, ERASED, [msgspec.json.encode(job.shelf.erased())]))
        else:
            payloads.append(_write(job, ident, folder, SECRETS, [pack_secrets(job.state, job.region)]))
        manifest = Manifest(
            version=VERSION, id=ident, kind=kind, region=job.region, taken_at=began, finished_at=job.clock(),
            taken_from=job.places.taken_from.site.name, kept_at=job.places.kept_at.site.name,
            engine=job.databases.engine, key_id=key_id(job.key), epoch=epoch, payloads=tuple(payloads),
            objects=len(objects), object_bytes=sum(one.bytes for one in objects), position=position,
        )  # fmt: skip
        write_manifest(folder, manifest, job.key)
    return manifest


def _copy_databases(job: Job, kind: Kind, ident: str, folder: Path, room: Path) -> tuple[list[Payload], int, str]:
    """The sealed databases, the timeline's epoch, the place in the engine's history."""
    payloads, epoch, position = [], 0, ""
    for name in job.databases.names(kind):
        copied = room / name
        job.report(Step(f"copy {name}"))
        position = job.databases.copy(name, copied)
        rows, found = job.databases.examine(name, copied)
        epoch = found or epoch
        payloads.append(_write(job, ident, folder, name, _pieces(copied, job.report), rows))
        copied.unlink()
    return payloads, epoch, position


def _write(
    job: Job, ident: str, folder: Path, name: str, content: Iterable[bytes], rows: dict[str, int] | None = None
) -> Payload:
    return write_payload(folder / f"{name}.sealed", name, purpose(ident, name), job.key, content, rows)


def _pieces(path: Path, report: Callable[[Step], None]) -> Iterator[bytes]:
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            done += len(piece)
            report(Step(f"seal {path.name}", done, total))
            yield piece


def _previous(job: Job) -> dict[str, Object]:
    """What the newest good archive of data says of its objects; nothing if it cannot be read."""
    good = [one for one in job.shelf.archives() if one.manifest.kind == "data" and one.good]
    if not good or good[-1].manifest.key_id != key_id(job.key):
        return {}
    try:
        manifest = genuine_manifest(job.shelf.root / good[-1].manifest.id, job.key)
        return {one.name: one for one in read_index(job.shelf, manifest, job.key)}
    except (Broken, ConfigError):
        return {}


@contextlib.contextmanager
def scratch(region: Path) -> Generator[Path]:
    """A private folder within the region for copies in clear; one backup or check at a time, nothing stays."""
    if not region.is_dir():
        raise ConfigError(f"{region}: there is no such region here")
    lock, room = os.open(region / "backup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), region / ".backup"
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{region}: a backup is being taken or checked already") from None
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(mode=0o700)
        try:
            yield room
        finally:
            shutil.rmtree(room, ignore_errors=True)
    finally:
        os.close(lock)


@contextlib.contextmanager
def _translated(job: Job) -> Generator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or job.shelf.root
        raise ConfigError(
            f"{where}: {error.strerror or error}; nothing of this backup is kept, and older ones stand"
        ) from error
