"""What a restore has put beside a region's objects, until it has been brought in among them.

A store of several sites takes nothing before it runs, so a restore leaves objects in a folder, a file each.  They are
read from there at once, and moved by one gateway at a time.  Laws: an object can be read at every moment of its move,
and however often that is broken off; what is deleted meanwhile is deleted in both places; what the store has already is
never replaced.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from prometheus_client import Gauge

from moonbow.base.errors import Broken, MoonbowError

from .ports import Missing, Objects

log = logging.getLogger("moonbow.files")
LEFT = Gauge("moonbow_files_restored_left", "Objects of a restore that are still to be brought in")
BATCH, AT_ONCE = 200, 4


class Restored:
    """`ports.Objects` on `store`, and on what is left in `folder`, where `rest` reads and deletes."""

    def __init__(self, store: Objects, rest: Objects, folder: Path) -> None:
        self._store, self._rest, self._folder = store, rest, folder

    @property
    def is_left(self) -> bool:
        """Whether there may be anything to bring in."""
        return self._folder.is_dir()

    async def put(self, key: str, content: bytes) -> None:
        await self._store.put(key, content)

    async def get(self, key: str) -> bytes:
        with suppress(Missing):
            return await self._store.get(key)
        with suppress(Missing):
            return await self._rest.get(key)
        return await self._store.get(key)  # it may have been moved between the two looks

    async def delete(self, keys: Sequence[str]) -> None:
        """First where it would be brought in from: see `_bring`."""
        await self._rest.delete(keys)
        await self._store.delete(keys)

    async def keys(self, prefix: str, limit: int) -> list[str]:
        rest = await self._rest.keys(prefix, limit)  # first: what moves meanwhile is then found in the store
        found = dict.fromkeys([*rest, *await self._store.keys(prefix, limit)])
        return list(islice(found, limit))

    async def bring_in(self) -> int:
        """Move everything that is left; how many objects were moved, 0 while another process does it.

        The folder is gone at the end.  What fails holds up nothing but the end: then the first failure is raised.
        """
        moved = 0
        with _alone(self._folder) as alone:
            if not alone:
                return 0
            left = await asyncio.to_thread(lambda: sum(1 for _ in _names(self._folder)))
            LEFT.set(left)
            while batch := await asyncio.to_thread(lambda: list(islice(_names(self._folder), BATCH))):
                turns = asyncio.Semaphore(AT_ONCE)
                ended = await asyncio.gather(*(self._bring(name, turns) for name in batch), return_exceptions=True)
                failed = [one for one in ended if one is not None]
                moved += len(batch) - len(failed)
                LEFT.set(max(0, left - moved))
                log.info("restored objects", extra={"f": {"moved": moved, "left": left - moved}})
                if failed:
                    raise failed[0]
            await asyncio.to_thread(shutil.rmtree, self._folder)
        return moved

    async def _bring(self, key: str, turns: asyncio.Semaphore) -> None:
        async with turns:
            content = await _found(self._rest, key)
            if content is None:
                if (self._folder / key).exists():
                    raise Broken(f"{self._folder / key} has no name of an object")
                return  # deleted meanwhile
            if await _found(self._store, key) is None:
                await self._put(key, content)
            await self._rest.delete([key])

    async def _put(self, key: str, content: bytes) -> None:
        await self._store.put(key, content)
        stored = await _found(self._store, key)
        if not (self._folder / key).exists():  # deleted while it was on its way
            await self._store.delete([key])
        elif stored != content:
            await self._store.delete([key])
            raise Broken(f"the object {key} is not what was stored; it stays in {self._folder}")


async def _found(objects: Objects, key: str) -> bytes | None:
    try:
        return await objects.get(key)
    except Missing:
        return None


async def bring_in(objects: Restored, pause_s: float) -> None:
    """Try until nothing is left."""
    while objects.is_left:
        try:
            await objects.bring_in()
        except (MoonbowError, OSError) as error:
            log.warning("restored objects could not be brought in", extra={"f": {"error": str(error)[:200]}})
        await asyncio.sleep(pause_s)


@contextmanager
def _alone(folder: Path) -> Generator[bool]:
    """Whether nobody else moves what is in a folder, for as long as the block runs."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _names(folder: Path) -> Iterator[str]:
    """The keys of the objects in a folder, in no order; what was only half written (`…#…`) is none."""
    found = (path for path in folder.rglob("*") if path.is_file() and "#" not in path.name)
    return (path.relative_to(folder).as_posix() for path in found)
