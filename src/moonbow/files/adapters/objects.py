"""Objects by obstore: in a directory of this machine (synced to disk before it counts), or in S3."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from moonbow.base.errors import MoonbowError, Unavailable

from ..ports import Missing, Stored

if TYPE_CHECKING:
    from obstore import ObjectMeta

LOCAL_S = 10.0  # for a disk to answer
STAGED_S = 600.0  # after which nobody writes any more what is half written: sooner than the sweeper's last look
RETRY_S = 30.0  # for S3: what SeaweedFS needs to choose another leading master, and then some
TRY_S, CONNECT_S = 5.0, 2.0  # one attempt at S3, of at most 1 MiB
PAUSE_FIRST_S, PAUSE_MAX_S = 0.1, 1.0  # between attempts
AWAY_S = 15.0  # for which a site that failed is asked last
DELETES = 8  # at one time
PAGE = 200  # objects of one page of a list
NO_BUCKET = "<Code>NoSuchBucket</Code>"
T = TypeVar("T")
_STAGED = re.compile(r"[^#]+#[0-9]+")


@dataclass(frozen=True)
class S3Place:
    """A bucket: `endpoint` is an URL, `ca` the PEM file of the authority to trust beside the system's.

    `encrypts`: it is asked to encrypt what it keeps (SSE-S3).
    """

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    ca: Path | None = None
    encrypts: bool = False

    def __repr__(self) -> str:
        return f"S3Place({self.endpoint}, {self.bucket})"


class ObjectsStored:
    """`ports.Objects` on any store of obstore; `within_s` bounds every call."""

    def __init__(self, store: LocalStore | S3Store, within_s: float) -> None:
        self._store, self._within_s = store, within_s

    async def put(self, key: str, content: bytes) -> None:
        try:
            async with asyncio.timeout(self._within_s):
                await self._put(key, content)
        except (BaseError, OSError, TimeoutError) as error:
            raise _unavailable(error) from error

    async def get(self, key: str) -> bytes:
        try:
            async with asyncio.timeout(self._within_s):
                found = await obstore.get_async(self._store, key)
                return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            raise Missing(key) from error
        except (BaseError, OSError, TimeoutError) as error:
            raise _unavailable(error) from error

    async def delete(self, keys: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(self._within_s):
                for start in range(0, len(keys), DELETES):
                    await asyncio.gather(*(self._delete(key) for key in keys[start : start + DELETES]))
        except (BaseError, OSError, TimeoutError) as error:
            raise _unavailable(error) from error

    async def keys(self, prefix: str, limit: int) -> list[str]:
        found: list[str] = []
        try:
            async with asyncio.timeout(self._within_s):
                async for some in obstore.list(self._store, prefix=prefix, chunk_size=min(limit, 1000)):
                    found += [meta["path"] for meta in some]
                    if len(found) >= limit:
                        break
        except (BaseError, OSError, TimeoutError) as error:
            if NO_BUCKET in str(error):  # the first object makes it
                return []
            raise _unavailable(error) from error
        return found[:limit]

    async def page(self, after: str) -> list[Stored]:
        """See `ports.Listing`."""
        try:
            async with asyncio.timeout(self._within_s):
                async for some in obstore.list(self._store, offset=after or None, chunk_size=PAGE):
                    if some:
                        return [_stored(meta) for meta in some]
        except (BaseError, OSError, TimeoutError) as error:
            if NO_BUCKET not in str(error):
                raise _unavailable(error) from error
        return []

    async def _put(self, key: str, content: bytes) -> None:
        await obstore.put_async(self._store, key, content, use_multipart=False)

    async def _delete(self, key: str) -> None:
        with suppress(FileNotFoundError):
            await obstore.delete_async(self._store, key)


class ObjectsDirectory(ObjectsStored):
    """Objects in a folder of this machine.  obstore renames into place without syncing: that is done here."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        super().__init__(LocalStore(folder), LOCAL_S)
        self._folder = folder

    async def _put(self, key: str, content: bytes) -> None:
        await super()._put(key, content)
        await asyncio.to_thread(sync, self._folder, self._folder / key)

    async def keys(self, prefix: str, limit: int) -> list[str]:
        await asyncio.to_thread(tidy, self._folder / prefix)
        return await super().keys(prefix, limit)

    async def delete(self, keys: Sequence[str]) -> None:
        await super().delete(keys)
        for folder in {(self._folder / key).parent for key in keys} - {self._folder}:
            with suppress(OSError):  # somebody else's objects are in it
                folder.rmdir()


def tidy(folder: Path) -> None:
    """Remove what processes that were killed have left half written: obstore writes to `key#1` and does not list it."""
    ended = time.time() - STAGED_S
    with suppress(OSError):  # no such folder, or somebody else tidies
        for path in folder.iterdir():
            if _STAGED.fullmatch(path.name) and path.stat().st_mtime < ended:
                path.unlink(missing_ok=True)
        folder.rmdir()  # if that is all there was


def sync(root: Path, path: Path) -> None:
    """See to it that a file, and its name in every folder up to `root`, is on the disk."""
    for one in (path, *path.parents):
        descriptor = os.open(one, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if one == root:
            return


class ObjectsSites:
    """`ports.Objects` kept by several sites together: asked are the first, and the others while that one fails.

    A call is repeated for `RETRY_S`: so long a region may need to choose another leading master.  An object is missing
    when no site that answers has it.
    """

    def __init__(self, sites: Sequence[ObjectsStored], clock: Callable[[], float] = time.monotonic) -> None:
        self._sites, self._clock = sites, clock
        self._failed_at = [-AWAY_S] * len(sites)

    async def put(self, key: str, content: bytes) -> None:
        await self._at_any(lambda site: site.put(key, content))

    async def get(self, key: str) -> bytes:
        return await self._at_any(lambda site: site.get(key))

    async def delete(self, keys: Sequence[str]) -> None:
        await self._at_any(lambda site: site.delete(keys))

    async def keys(self, prefix: str, limit: int) -> list[str]:
        return await self._at_any(lambda site: site.keys(prefix, limit))

    async def page(self, after: str) -> list[Stored]:
        return await self._at_any(lambda site: site.page(after))

    async def _at_any(self, call: Callable[[ObjectsStored], Awaitable[T]]) -> T:
        ends, pause_s = self._clock() + RETRY_S, PAUSE_FIRST_S
        while True:
            failed: list[MoonbowError] = []
            for no in self._order():
                try:
                    return await call(self._sites[no])
                except Missing as error:
                    failed.insert(0, error)
                except Unavailable as error:
                    self._failed_at[no] = self._clock()
                    failed.append(error)
            if isinstance(failed[0], Missing) or self._clock() + pause_s > ends:
                raise failed[0]
            await asyncio.sleep(pause_s)
            pause_s = min(PAUSE_MAX_S, 2 * pause_s)

    def _order(self) -> list[int]:
        """Every site: those that failed lately last."""
        now = self._clock()
        return sorted(range(len(self._sites)), key=lambda no: now - self._failed_at[no] < AWAY_S)


def open_s3(*places: S3Place) -> ObjectsSites:
    """Objects in a bucket of any S3, as SeaweedFS speaks it, at one place or at several that hold the same."""
    return ObjectsSites([_open_place(place) for place in places])


def _open_place(place: S3Place) -> ObjectsStored:
    limits: dict[str, Any] = {"timeout": timedelta(seconds=TRY_S), "connect_timeout": timedelta(seconds=CONNECT_S)}
    client = {**limits, "allow_http": place.endpoint.startswith("http://")}
    if place.ca is not None:
        client["root_certificate"] = place.ca.read_bytes()
    encryption: dict[str, Any] = {"server_side_encryption": "AES256"} if place.encrypts else {}
    store = S3Store(
        place.bucket,
        endpoint=place.endpoint,
        region="us-east-1",
        access_key_id=place.access_key,
        secret_access_key=place.secret_key,
        virtual_hosted_style_request=False,
        client_options=client,  # type: ignore[arg-type]
        retry_config={"max_retries": 0},  # `ObjectsSites` repeats
        **encryption,
    )
    return ObjectsStored(store, TRY_S)


def _stored(meta: ObjectMeta) -> Stored:
    return Stored(meta["path"], meta["size"], f"{meta['e_tag']} {meta['last_modified'].isoformat()}")


def _unavailable(error: BaseException) -> Unavailable:
    reason = type(error).__name__  # an engine's own words may hold keys and addresses
    return Unavailable("objects_unavailable", f"the objects' store does not answer: {reason}")
