"""Files in a gateway: what the room is made of, what posts and other regions ask of it, and its sweeper.

Settings: `[files]` of the world file.  The sweeper runs in every gateway and works in the one that leads.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import Counter

from moonbow.base.errors import MoonbowError, Refused
from moonbow.timeline.ports import Store
from moonbow.vault.plain import Plain
from moonbow.vault.ports import Sealer
from moonbow.world import OBJECTS_USER, World, objects_secret, objects_way

from . import policy
from .adapters.command import Command
from .adapters.objects import ObjectsDirectory, ObjectsSites, S3Place, open_s3
from .avatars import AVATAR_OP, Avatars
from .downloads import Downloads
from .model import File, Share
from .ports import Bus, Catalogue, Objects, Scanner
from .reading import OPEN_OP, READ_OP, Content, Reading
from .restored import Restored, bring_in
from .shelf import Shelf, unknown
from .uploads import LOOK_S, Uploads

log = logging.getLogger("moonbow.files")
SWEPT = Counter("moonbow_files_swept_total", "Files that the sweeper dealt with", ["what"])
SWEEP_S = 5.0
SWEEP_FILES_MAX = 50  # of one round
LATE_S = 900.0  # after which no attempt at a part can still be under way
SCAN_S = 0.9 * LOOK_S


def open_objects(world: World, state: Path, region: str, site: str | None = None) -> Objects:
    """Where a region's objects rest, as its world file says; with S3 also what a restore has left in the directory."""
    folder = objects_folder(state, region)
    if world.regions[region].data.objects == "directory":
        return ObjectsDirectory(folder)
    store = open_store(world, state, region, site)
    return Restored(store, ObjectsDirectory(folder), folder) if folder.is_dir() else store


def objects_folder(state: Path, region: str) -> Path:
    """The directory of a region's objects; where they rest in S3, a restore leaves there what is to be brought in."""
    return state / "regions" / region / "objects"


def open_store(world: World, state: Path, region: str, site: str | None = None) -> ObjectsSites:
    """A region's objects in S3: at the own site first, then at its sisters."""
    way = objects_way(world, state, region, site)
    secret = objects_secret(way.key.read_text(), "s3")
    return open_s3(
        *(S3Place(endpoint, way.bucket, OBJECTS_USER, secret, way.ca, encrypts=True) for endpoint in way.endpoints)
    )


def open_scanner(world: World) -> Scanner | None:
    """The command that looks for viruses, if there is one."""
    return None if world.files.scan is None else Command(shlex.split(world.files.scan), SCAN_S)


class Files:
    """The room as one gateway has it."""

    def __init__(
        self, world: World, timeline: Store, catalogue: Catalogue, objects: Objects, bus: Bus,
        regions: Sequence[str], leads: Callable[[], bool], *, sealer: Sealer | None = None,
        scanner: Scanner | None = None, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.catalogue, self.leads, self.clock = catalogue, leads, clock
        self._restored = objects if isinstance(objects, Restored) else None
        self.shelf = Shelf(catalogue, objects, sealer or Plain())
        self.uploads = Uploads(timeline.region, self.shelf, scanner, world.files.deny, clock)
        self.reading = Reading(self.shelf, timeline, bus, regions, clock)
        self.downloads = Downloads()
        self.avatars = Avatars(self.uploads, bus, regions, clock)
        self._served = {
            OPEN_OP: self.reading.serve_open, READ_OP: self.reading.serve_read, AVATAR_OP: self.avatars.serve,
        }  # fmt: skip

    async def close(self) -> None:
        """Leave what is under way to others, and close the catalogue."""
        await self.uploads.close()
        await self.catalogue.close()

    # -- what people ask -------------------------------------------------------------------------------------------

    async def open(self, reader: str, ident: str) -> Content:
        """A file that a person may read; `Refused` (404) otherwise, `Unavailable` (`file_held`)."""
        return await self.reading.open(reader, ident)

    async def delete(self, owner: str, ident: str) -> None:
        """Delete an own file: from now on nobody reads it."""
        await self.uploads.own(owner, ident)
        await self.catalogue.delete(ident, self.clock())

    async def attach(self, owner: str, idents: Sequence[str], room: str, client_id: str) -> list[dict[str, Any]]:
        """What a post's body says of the files it carries; whoever may see the post may read them from then on.

        Noted before the post, under what the post is known by, so that no post stands whose files cannot be read.
        `Refused`: file_unknown (404), file_not_ready (409), shares_too_many.
        """
        found = {file.id: file for file in await self.catalogue.files(idents)}
        if not all(ident in found and found[ident].state == "ready" for ident in idents):
            found = {file.id: file for file in await self.catalogue.files(idents, fresh=True)}
        ready = [_ready(found.get(ident), owner, no, self.clock()) for no, ident in enumerate(idents)]
        await self.catalogue.share([file.id for file in ready], Share(room, client_id))
        return [policy.body_facts(await self.reading.describe(file)) for file in ready]

    # -- what other rooms and regions ask --------------------------------------------------------------------------

    async def serve(self, caller: str, op: str, payload: bytes) -> bytes:
        """Answer a request of region `caller`.  `Refused` for what it may not ask."""
        served = self._served.get(op)
        if served is None:
            raise Refused("op_unknown", f"there is no request {op!r}", status=404)
        return await served(caller, payload)

    async def erase(self, person: str) -> dict[str, int]:
        """Erase everything a person of this region has here; how many files, shares and avatars.  Safe to repeat."""
        await self.avatars.erase(person)  # first: what fails here is tried again, and the count below is told once
        return await self.catalogue.erase(person, self.clock())

    # -- the sweeper -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look after what is due, and after what a restore has left, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep_forever())
            if self._restored is not None:
                tasks.create_task(bring_in(self._restored, SWEEP_S))

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            if self.leads():
                await self.sweep()

    async def sweep(self) -> int:
        """One round: forget what is over, look at what could not be checked; how many files were dealt with.

        Looks come last: they may take long.  What fails for one file holds up no other; the next round tries again.
        """
        try:
            due = await self.catalogue.due(self.clock(), SWEEP_FILES_MAX)
        except MoonbowError as error:
            log.warning("a round of the sweeper failed", extra={"f": {"error": str(error)[:200]}})
            return 0
        due.sort(key=lambda file: file.state == "checking" and not file.gone)
        return sum([await self._tended(file) for file in due])

    async def _tended(self, file: File) -> bool:
        try:
            await self._tend(file)
        except Exception as error:  # whatever it is, the others have their turn
            told = {"file": file.id, "error": str(error)[:200]}
            log.warning("the sweeper could not deal with a file", extra={"f": told})
            return False
        return True

    async def _tend(self, file: File) -> None:
        if file.gone:
            await self._clear(file)
        elif file.state == "checking":
            SWEPT.labels("checked").inc()
            await self.uploads.look(file)
        else:  # an unfinished upload, a refused file, or one that its owner wanted to last only so long
            SWEPT.labels("expired").inc()
            await self.catalogue.delete(file.id, self.clock())

    async def _clear(self, file: File) -> None:
        """Remove the objects of a gone file at once, and again when no late attempt can leave any more."""
        await self.shelf.clear(file.id)
        if file.tries == 0:
            await self.catalogue.put_off(file.id, 0, self.clock() + LATE_S)
        else:
            SWEPT.labels("forgotten").inc()
            await self.catalogue.forget(file.id)


def _ready(file: File | None, owner: str, no: int, now: float) -> File:
    if file is None or file.owner != owner or policy.is_over(file, now):
        error = unknown()
        error.place = f"$.files[{no}]"
        raise error
    if file.state != "ready":
        raise Refused("file_not_ready", f"the file is {file.state}", status=409, place=f"$.files[{no}]")
    return file
