"""What files need from outside: a catalogue, a place for bytes, somebody who finds viruses, and the bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from moonbow.base.errors import MoonbowError

from .model import Avatar, ContentRange, Facts, File, Part, Share, Usage


class Missing(MoonbowError):
    """There is no object of this key."""


class Catalogue(Protocol):
    """One region's record of files.  Every method is one transaction; `Unavailable` when the engine does not answer.

    Deleted files are seen by `due` only, until `forget`.  What another site has just acknowledged may be missing from
    a read for some milliseconds, but never from a `fresh` one: look so before you say no.
    """

    async def create(self, file: File) -> File:
        """Add a file of no bytes, or give the one that the owner announced by the same `client_id` before.

        `Refused` by `policy.check_room_for` over everything the owner has.
        """
        ...

    async def file(self, ident: str, *, fresh: bool = False) -> File | None: ...
    async def files(self, idents: Sequence[str], *, fresh: bool = False) -> list[File]:
        """Those of `idents` that stand, in no order."""
        ...

    async def parts(self, ident: str) -> list[Part]:
        """In order; dense from 0."""
        ...

    async def add_part(self, ident: str, said: ContentRange, attempt: str, check_at: float) -> tuple[File, bool]:
        """Add a part whose object rests already, as `policy.decide_part` says; the file then, and whether it is kept.

        With its last part a file turns `checking`, due at `check_at`.  `Refused` (404) when it was deleted meanwhile.
        """
        ...

    async def page(self, owner: str, before: str | None, limit: int) -> list[File]:
        """A person's files, newest first, older than `before`."""
        ...

    async def usage(self, owner: str) -> Usage: ...

    async def put_off(self, ident: str, tries: int, due_at: float) -> bool:
        """Claim, until `due_at`, a look at a file that was tried `tries` times; whether the claim is ours.

        Two who claim must not say the same `due_at`: a claim of which nothing was heard is known by it.
        """
        ...

    async def settle(self, ident: str, facts: Facts, due_at: float | None) -> File | None:
        """What became of a file in state `checking`: ready or refused.  None if it is not there any more."""
        ...

    async def delete(self, ident: str, due_at: float) -> bool:
        """Mark a file as gone, forget its name and who may see it; whether it stood."""
        ...

    async def due(self, now: float, limit: int) -> list[File]:
        """Files that the sweeper must look at, gone ones included, longest due first."""
        ...

    async def forget(self, ident: str) -> None:
        """The end of a gone file."""
        ...

    async def share(self, idents: Sequence[str], share: Share) -> None:
        """Note what is about to be posted; again is the same as once."""
        ...

    async def shares(self, ident: str, *, fresh: bool = False) -> list[Share]: ...
    async def avatar(self, person: str) -> Avatar | None: ...
    async def avatars(self, people: Sequence[str]) -> dict[str, str]:
        """Tags of those who have a picture."""
        ...

    async def set_avatar(self, person: str, avatar: Avatar | None) -> Avatar | None:
        """Replace a person's picture; gives the one before."""
        ...

    async def erase(self, person: str, due_at: float) -> dict[str, int]:
        """Mark everything of a person as gone; how many files, shares and pictures there were."""
        ...

    async def close(self) -> None: ...


class Objects(Protocol):
    """Bytes by key.  `Unavailable` (`objects_unavailable`) when the engine does not answer within its time."""

    async def put(self, key: str, content: bytes) -> None:
        """Durable when this returns; the same key again replaces."""
        ...

    async def get(self, key: str) -> bytes:
        """`Missing` if there is none."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Missing ones are no fault."""
        ...

    async def keys(self, prefix: str, limit: int) -> list[str]:
        """Keys below `prefix/`, at most `limit`, in no order."""
        ...


class Stored(NamedTuple):
    """An object as its store lists it; `mark` changes whenever its content does."""

    key: str
    bytes: int
    mark: str


class Listing(Protocol):
    """A store that can say what is in it."""

    async def page(self, after: str) -> list[Stored]:
        """Of all objects those that come after a key, in the store's own order, some at a time; none at the end."""
        ...


class Scanner(Protocol):
    """Finds what must not be shared."""

    async def infected(self, content: AsyncIterator[bytes]) -> bool:
        """Whether the content, in order, is infected; `Unavailable` (`scan_failed`) when nobody can say."""
        ...


class Bus(Protocol):
    """The part of `moonbow.bus.client.Bus` that files use."""

    async def request(self, region: str, op: str, payload: bytes, timeout_s: float = ...) -> bytes: ...
