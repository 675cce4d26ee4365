"""A region's objects in a store of several sites, and what an earlier restore has left beside it in a folder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from moonbow.files.ports import Listing, Missing, Objects, Stored

from ..ports import Found
from .folder import FolderObjects


class StoreObjects:
    """`ports.Objects` of what `store` lists and `folder` still has; `objects` reads from both.

    To be used in a thread that has no loop.  `Unavailable` if the store does not answer.
    """

    def __init__(self, objects: Objects, store: Listing, folder: FolderObjects) -> None:
        self._objects, self._store, self._folder = objects, store, folder

    def list(self) -> Iterator[Found]:
        """Every object once: first what the folder has, for it may move into the store meanwhile."""
        left = list(self._folder.list())
        yield from left
        seen, after = {found.name for found in left}, ""
        while page := asyncio.run(self._next(after)):
            yield from (Found(*one) for one in page if one.key not in seen)
            after = page[-1].key

    def read(self, name: str) -> Iterator[bytes]:
        """The content: a part of a file has at most 1 MiB."""
        try:
            yield asyncio.run(self._get(name))
        except Missing as error:
            raise FileNotFoundError(name) from error

    async def _next(self, after: str) -> Sequence[Stored]:
        return await self._store.page(after)

    async def _get(self, name: str) -> bytes:
        return await self._objects.get(name)
