"""Sealed bytes on their way to and from the objects: parts of files, small pictures, names."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

from moonbow.base.errors import Broken, Refused, Unavailable
from moonbow.vault.ports import Sealer

from .model import File, Part, Span
from .policy import object_key, part_place, pieces
from .ports import Catalogue, Missing, Objects

AHEAD = 1  # parts in memory for one reader
KEPT = 8  # parts opened last, in memory: another region asks for pieces of one
KEPT_S = 5.0
KEYS_MAX = 10_000  # of one file: more than its parts can be


class Shelf:
    """One region's objects, each sealed with its owner's key."""

    def __init__(self, catalogue: Catalogue, objects: Objects, sealer: Sealer) -> None:
        self.catalogue, self.objects, self.sealer = catalogue, objects, sealer
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def put(self, owner: str, key: str, place: str, content: bytes) -> None:
        """Seal and store; durable when this returns."""
        await self.objects.put(key, await asyncio.to_thread(self.sealer.seal, owner, place, content))

    async def get(self, owner: str, key: str, place: str) -> bytes:
        """What was stored; `Refused` (404) once its owner is erased or their company's key is revoked."""
        try:
            sealed = await self.objects.get(key)
        except Missing as error:
            raise Broken(f"the object {key} is not there, though its record is") from error
        content = await asyncio.to_thread(self.sealer.open, owner, place, sealed)
        if content is None:
            raise unknown()
        return content

    async def put_part(self, file: File, part: Part, content: bytes) -> None:
        """Store a part of a file."""
        await self.put(file.owner, object_key(file.id, part), part_place(file.id, part), content)

    async def drop_part(self, file: File, part: Part) -> None:
        """Remove what no record names.  If that fails, it goes with its file."""
        with suppress(Unavailable):
            await self.objects.delete([object_key(file.id, part)])

    async def get_part(self, file: File, part: Part) -> bytes:
        """A part of a file, exactly as it was sent."""
        key, now = object_key(file.id, part), time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and now < kept[0] + KEPT_S:
            return kept[1]
        content = await self.get(file.owner, key, part_place(file.id, part))
        if len(content) != part.size:
            raise Broken(f"the object {key} has {len(content)} bytes")
        self._kept[key] = (now, content)
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return content

    async def read(self, file: File, span: Span) -> AsyncGenerator[bytes]:
        """A piece of a file, part by part, some of them fetched ahead."""
        wanted = pieces(await self.catalogue.parts(file.id), span)
        ahead: list[asyncio.Task[bytes]] = []
        try:
            for no, (_, first, end) in enumerate(wanted):
                while len(ahead) < AHEAD and no + len(ahead) < len(wanted):
                    ahead.append(asyncio.create_task(self.get_part(file, wanted[no + len(ahead)][0])))
                yield (await ahead.pop(0))[first:end]
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def clear(self, ident: str) -> None:
        """Remove every object of a file, late ones of interrupted attempts included."""
        await self.objects.delete(await self.objects.keys(ident, KEYS_MAX))

    def seal_name(self, owner: str, ident: str, name: str) -> bytes:
        """A file's name as it rests."""
        return self.sealer.seal(owner, f"{ident}/name", name.encode())

    async def names_of(self, files: Sequence[File]) -> list[str]:
        """Their names; `Refused` (404) once nobody can read one any more.  Not in the loop: keys may be far."""
        return await asyncio.to_thread(lambda: [self._name_of(file) for file in files]) if files else []

    def _name_of(self, file: File) -> str:
        name = self.sealer.open(file.owner, f"{file.id}/name", file.name)
        if name is None:
            raise unknown()
        return name.decode()


def unknown() -> Refused:
    """The same for no file, a deleted one, and one that is not for the asker."""
    return Refused("file_unknown", "there is no such file", status=404, place="$path.file")
