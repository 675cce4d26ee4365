"""The way in: a file is announced, its parts arrive, and the whole is looked at before anybody may see it."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection

from prometheus_client import Counter

from moonbow.base import limits
from moonbow.base.errors import MoonbowError, Refused, Unavailable
from moonbow.base.ids import new_id

from . import pictures, policy
from .model import ContentRange, Facts, File, Part, Span
from .ports import Catalogue, Scanner
from .shelf import Shelf, unknown
from .sniff import HEAD_BYTES, UNKNOWN, sniff

log = logging.getLogger("moonbow.files")
RECEIVED = Counter("moonbow_files_received_bytes", "Bytes of parts stored")
CHECKED = Counter("moonbow_files_checked_total", "Files looked at when they were whole", ["outcome"])
LOOK_S = 180.0  # for one look at a file; then somebody else may try
INLINE_S = 5.0  # for which the answer to the last part waits for the look
AGAIN_S = 15.0  # until a look that failed is tried again, doubled each time
LOOKS_MAX = 10
SETTLE_TRIES, SETTLE_PAUSE_S = 10, 1.0  # to note what was found; a store that does not answer takes its time, too
LOOKS_AT_ONCE = 2
SMALL = "small"  # the object and the place of a thumbnail


class Uploads:
    """One gateway's share of taking files in."""

    def __init__(
        self, region: str, shelf: Shelf, scanner: Scanner | None, deny: Collection[str],
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.region, self.shelf, self.scanner, self.deny, self.clock = region, shelf, scanner, frozenset(deny), clock
        self.catalogue: Catalogue = shelf.catalogue
        self._turns = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._looks: set[asyncio.Task[File | None]] = set()

    async def create(
        self, owner: str, name: str, size: int, expires_in_s: int | None, client_id: str | None = None
    ) -> File:
        """Announce a file; the same one as before, as it is now, if its owner said the `client_id` before.

        `Refused`: name_malformed, file_too_large, quota_exceeded, uploads_too_many, files_too_many, client_id_reused.
        """
        policy.check_name(name)
        ident, now = new_id("fil", self.region), self.clock()
        sealed = await asyncio.to_thread(self.shelf.seal_name, owner, ident, name)
        file = File(
            id=ident, owner=owner, name=sealed, size=size, received=0, state="uploading", type=UNKNOWN, made_at=now,
            expires_at=None if expires_in_s is None else now + expires_in_s, due_at=now + limits.UPLOAD_S,
            client_id=client_id,
        )  # fmt: skip
        made = await self.catalogue.create(file)
        if made.id != ident and (made.size != size or await self.shelf.names_of([made]) != [name]):
            raise Refused(
                "client_id_reused", "this client_id was used for another file", status=409, place="$.client_id"
            )
        return made

    async def own(self, owner: str, ident: str) -> File:
        """A person's own file; `Refused` (404) for everything else."""
        file = await self.catalogue.file(ident) or await self.catalogue.file(ident, fresh=True)
        if file is None or file.owner != owner:
            raise unknown()
        return file

    async def add_part(self, owner: str, ident: str, header: str, content: bytes) -> File:
        """Take a part; the file as it is then, looked at if it is whole.

        `Refused`: content_range_malformed, part_out_of_order (409), parts_too_many, file_unknown (404).
        """
        said = policy.parse_content_range(header, len(content))
        file = await self.own(owner, ident)
        if said.first != file.received:  # perhaps a sister site took the part before
            file = await self.catalogue.file(ident, fresh=True) or file
        if policy.decide_part(file, said) == "store":
            file = await self._store(file, said, content)
            RECEIVED.inc(len(content))
        if file.state == "checking" and file.tries == 0:
            return await self._look_soon(file)
        return file

    async def _store(self, file: File, said: ContentRange, content: bytes) -> File:
        """Store a part under a name of its own; of several attempts the catalogue keeps one, the others go."""
        part = Part(said.first, len(content), secrets.token_hex(8))
        await self.shelf.put_part(file, part, content)
        try:
            grown, kept = await self.catalogue.add_part(file.id, said, part.attempt, self.clock() + AGAIN_S)
        except Refused:
            await self.shelf.drop_part(file, part)
            raise
        if not kept:
            await self.shelf.drop_part(file, part)
        return grown

    async def _look_soon(self, file: File) -> File:
        """Look now; whoever sent the last part waits for it, but not for long."""
        task = asyncio.create_task(self.look(file))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)
        try:
            return await asyncio.wait_for(asyncio.shield(task), INLINE_S) or file
        except TimeoutError:
            return file

    async def look(self, file: File) -> File | None:
        """Look at a whole file and say what becomes of it: ready or refused; it stays `checking` if nobody can say.

        Only one of those who try at a time does.  After `LOOKS_MAX` of them it is refused.
        """
        claimed_until = self.clock() + LOOK_S + random.random() / 1000  # by which our claim is told from another's
        if not await self.catalogue.put_off(file.id, file.tries, claimed_until):
            return await self.catalogue.file(file.id)
        try:
            async with self._turns, asyncio.timeout(LOOK_S):
                facts = await self._facts(file)
        except (MoonbowError, TimeoutError) as error:
            log.warning("a file could not be checked", extra={"f": {"file": file.id, "error": type(error).__name__}})
            CHECKED.labels("failed").inc()
            if file.tries + 1 < LOOKS_MAX:
                await self.catalogue.put_off(file.id, file.tries + 1, self.clock() + AGAIN_S * 2**file.tries)
                return await self.catalogue.file(file.id)
            facts = Facts(type=UNKNOWN, refused="check_failed")
        return await self._settle(file, facts)

    async def _settle(self, file: File, facts: Facts) -> File | None:
        left = SETTLE_TRIES
        CHECKED.labels(facts.refused or "ready").inc()
        ends = self.clock() + limits.UPLOAD_S if facts.refused else file.expires_at
        if facts.refused:
            await self.shelf.clear(file.id)
        while True:  # nobody else looks at it before our claim ends
            try:
                return await self.catalogue.settle(file.id, facts, ends)
            except Unavailable:
                if (left := left - 1) <= 0:
                    raise
                await asyncio.sleep(SETTLE_PAUSE_S)

    async def _facts(self, file: File) -> Facts:
        head = b""
        async for some in self.shelf.read(file, Span(0, min(file.size, HEAD_BYTES))):
            head += some
        kind = sniff(head)
        if kind in self.deny:
            return Facts(type=kind, refused="type_not_allowed")
        if self.scanner is not None and await self.scanner.infected(self._content(file)):
            return Facts(type=kind, refused="infected")
        if not kind.startswith("image/") or not policy.is_inline(kind) or file.size > pictures.BYTES_MAX:
            return Facts(type=kind)
        made = await pictures.make(await self.whole(file), "small")
        if made is None:
            return Facts(type=kind)
        size, small = made
        await self.shelf.put(file.owner, f"{file.id}/{SMALL}", f"{file.id}/{SMALL}", small)
        return Facts(type=kind, width=size.width, height=size.height, thumbnail=True)

    def _content(self, file: File) -> AsyncIterator[bytes]:
        return self.shelf.read(file, Span(0, file.size))

    async def whole(self, file: File) -> bytes:
        """All of a file that is small enough to be a picture."""
        if file.size > pictures.BYTES_MAX:
            raise Refused("not_a_picture", "this is too large for a picture", place="$.file")
        return b"".join([some async for some in self._content(file)])

    async def close(self) -> None:
        """Leave looks that are under way to others."""
        for task in self._looks:
            task.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)
