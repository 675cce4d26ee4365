"""Objects by obstore: in a directory of this machine (synced to disk before it counts), or in S3."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from moonbow.base.errors import Unavailable

from ..ports import Missing

LOCAL_S = 10.0  # for a disk to answer
STAGED_S = 600.0  # after which nobody writes any more what is half written: sooner than the sweeper's last look
RETRY_S = 30.0  # for S3: what SeaweedFS needs to choose another leading master, and then some
TRY_S = 10.0  # one attempt at S3
ATTEMPTS_MAX = 1_000  # time ends them first
DELETES = 8  # at one time
_STAGED = re.compile(r"[^#]+#[0-9]+")


@dataclass(frozen=True)
class S3Place:
    """A bucket: `endpoint` is an URL, `ca` the PEM file of the authority to trust beside the system's."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    ca: Path | None = None

    def __repr__(self) -> str:
        return f"S3Place({self.endpoint}, {self.bucket})"


class ObjectsStored:
    """`ports.Objects` on any store of obstore; `within_s` bounds every call, its repetitions included."""

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
            raise _unavailable(error) from error
        return found[:limit]

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


def open_s3(place: S3Place) -> ObjectsStored:
    """Objects in a bucket of any S3, as SeaweedFS speaks it."""
    client: dict[str, Any] = {"timeout": timedelta(seconds=TRY_S), "allow_http": place.endpoint.startswith("http://")}
    if place.ca is not None:
        client["root_certificate"] = place.ca.read_bytes()
    store = S3Store(
        place.bucket,
        endpoint=place.endpoint,
        region="us-east-1",
        access_key_id=place.access_key,
        secret_access_key=place.secret_key,
        virtual_hosted_style_request=False,
        client_options=client,  # type: ignore[arg-type]
        retry_config={
            "max_retries": ATTEMPTS_MAX,
            "retry_timeout": timedelta(seconds=RETRY_S),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2,
            },
        },
    )  # fmt: skip
    return ObjectsStored(store, RETRY_S + TRY_S)


def _unavailable(error: BaseException) -> Unavailable:
    reason = type(error).__name__  # an engine's own words may hold keys and addresses
    return Unavailable("objects_unavailable", f"the objects' store does not answer: {reason}")
