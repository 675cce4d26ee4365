"""People's pictures: a square made of an own file, shown to colleagues in every region.

A picture is known by its tag, which changes with it, so whoever has it need not ask again.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from moonbow.base import limits
from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home
from moonbow.federation.border import region_of
from moonbow.federation.model import UNREADABLE

from . import pictures
from .model import Avatar, File
from .ports import Bus
from .reading import held, pack
from .shelf import Shelf
from .uploads import Uploads

AVATAR_OP = "files.avatar"
ASK_S = 2.0
TYPE = "image/webp"
MADE_AT_ONCE, MADE_WAITING_MAX = 2, 16  # pictures that are decoded, each in a process, and that wait for it
MaySee = Callable[[str, str], Awaitable[bool]]
_TAG = re.compile(r"[0-9a-f]{16}")


async def nobody(_region: str, _person: str) -> bool:
    """No region may see anybody's picture."""
    return False


class AvatarAsk(msgspec.Struct, frozen=True, array_like=True):
    """The picture of a person of yours; the region that asks has made sure that a colleague wants it."""

    person: str


class Picture(msgspec.Struct, frozen=True, array_like=True):
    """The answer: an empty tag is no picture."""

    tag: str
    content: bytes


NONE = Picture("", b"")


class Avatars:
    """One gateway's share of people's pictures."""

    def __init__(
        self, uploads: Uploads, bus: Bus, regions: Sequence[str], clock: Callable[[], float] = time.time
    ) -> None:
        self.uploads, self.bus, self.clock = uploads, bus, clock
        self.shelf: Shelf = uploads.shelf
        self.region, self.regions = uploads.region, frozenset(regions)
        self._may_see: MaySee = nobody
        self._turns, self._making = asyncio.Semaphore(MADE_AT_ONCE), 0

    def show_to(self, may_see: MaySee) -> None:
        """Ask `may_see` whether a region may be told of a person of ours."""
        self._may_see = may_see

    async def set(self, person: str, ident: str | None) -> str | None:
        """Make an own picture file one's picture, or have none; gives the new tag.

        `Refused`: file_unknown (404), not_a_picture.  `Unavailable` (`busy`) when too many are being made.
        """
        avatar = await self._made(person, ident) if ident is not None else None
        before = await self.shelf.catalogue.set_avatar(person, avatar)
        if before is not None and before != avatar:  # it is, when the engine did it twice as it did not know
            await self.shelf.objects.delete([_key(person, before.tag)])
        return avatar.tag if avatar is not None else None

    async def _made(self, person: str, ident: str) -> Avatar:
        square = await self._square(await self.uploads.own(person, ident))
        tag = secrets.token_hex(8)
        await self.shelf.put(person, _key(person, tag), _key(person, tag), square)
        return Avatar(person=person, tag=tag, type=TYPE, size=len(square), made_at=self.clock())

    async def _square(self, file: File) -> bytes:
        """The picture that a file makes; a few at a time, as each takes a process and its memory."""
        if file.state != "ready" or not file.thumbnail:
            raise _no_picture()
        if self._making >= MADE_AT_ONCE + MADE_WAITING_MAX:
            raise Unavailable("busy", "too many pictures are being made now")
        self._making += 1
        try:
            async with self._turns:
                made = await pictures.make(await self.uploads.whole(file), "square")
        finally:
            self._making -= 1
        if made is None or len(made[1]) > limits.AVATAR_BYTES_MAX:
            raise _no_picture()
        return made[1]

    async def tags(self, people: Sequence[str]) -> dict[str, str]:
        """The tags of those of this region's people who have a picture."""
        return await self.shelf.catalogue.avatars(people) if people else {}

    async def picture(self, person: str) -> Picture:
        """A person's picture, of whichever region; `Refused` (404) if there is none, `Unavailable` (`file_held`)."""
        found = await (self._own(person) if home(person) == self.region else self._ask(person))
        if not found.tag:
            raise Refused("avatar_unknown", "this person has no picture", status=404, place="$path.person")
        return found

    async def _own(self, person: str) -> Picture:
        avatar = await self.shelf.catalogue.avatar(person)
        if avatar is None:
            return NONE
        return Picture(avatar.tag, await self.shelf.get(person, _key(person, avatar.tag), _key(person, avatar.tag)))

    async def _ask(self, person: str) -> Picture:
        there = home(person)
        if there not in self.regions:
            return NONE
        try:
            answer = await self.bus.request(there, AVATAR_OP, pack(AvatarAsk(person)), ASK_S)
            found = msgspec.msgpack.decode(answer, type=Picture)
        except (Unavailable, *UNREADABLE) as error:
            raise held(there) from error
        if len(found.content) > limits.AVATAR_BYTES_MAX or not _TAG.fullmatch(found.tag):
            return NONE
        return found

    async def serve(self, caller: str, payload: bytes) -> bytes:
        """A picture, for another region with people of the same company; for others there is none."""
        try:
            ask = msgspec.msgpack.decode(payload, type=AvatarAsk)
        except UNREADABLE as error:
            raise Refused("malformed", str(error)) from error
        if region_of(ask.person, "usr") != self.region:
            raise Refused("forbidden", "a person's picture is asked for at their home", status=403)
        return pack(await self._own(ask.person) if await self._may_see(caller, ask.person) else NONE)

    async def erase(self, person: str) -> None:
        """Remove whatever pictures a person had."""
        await self.shelf.clear(_folder(person))


def _no_picture() -> Refused:
    return Refused("not_a_picture", "this file is not a picture, or not ready", place="$.file")


def _folder(person: str) -> str:
    return f"avatars/{person}"


def _key(person: str, tag: str) -> str:
    return f"{_folder(person)}/{tag}"
