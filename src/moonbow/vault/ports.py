"""What other rooms need of the vault, and what the vault needs from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .model import CompanyKey, PersonKey, RegionKeyInfo


class Sealer(Protocol):
    """Seals what a person wrote with that person's own key.  Quick, from any thread; keys are remembered for 30 s.

    `place` says what is sealed, an entry's or a file part's id: what was sealed for one place opens in no other.
    """

    def seal(self, person: str, place: str, text: bytes) -> bytes:
        """The sealed bytes.

        `Refused` (403) `company_key_revoked` or `person_erased`; `Unavailable` if the person has no key yet
        (`key_unavailable`) or keys cannot be read now.
        """
        ...

    def open(self, person: str, place: str, sealed: bytes) -> bytes | None:
        """What was sealed; None once the person is erased or their company's key is revoked.

        `Broken` if the bytes were changed, `Unavailable` if the keys cannot be read now.
        """
        ...

    def mark(self, person: str, text: bytes) -> bytes:
        """Sixteen bytes that are the same for the same text of the same person, and tell nobody else anything.

        Raises as `seal` does.
        """
        ...


class Keys(Protocol):
    """The keys of one region's people, as the other rooms know them (`process.Vault`, `plain.NoKeys`)."""

    @property
    def sealer(self) -> Sealer: ...

    async def provide(self, person: str, company: str) -> None:
        """See to it that a person has a key, wrapped by their company's, which is made if it is missing."""
        ...

    async def provide_all(self, company: str, people: Sequence[str]) -> int:
        """The same for many people of one company, at most 500; how many had none."""
        ...

    async def destroy(self, person: str) -> str | None:
        """Destroy a person's key: nothing they wrote can be read any more, here or in any backup without its keys.

        The id of the key, the same again when asked again; None if there never was one.
        """
        ...

    async def destroy_all(self, people: Sequence[str]) -> int:
        """Destroy the keys of those of however many `people` who still have one; how many had.  `scrub` afterwards."""
        ...

    async def scrub(self) -> None:
        """See to it that destroyed keys are not left in the engine's log either, where that is in our hands."""
        ...

    async def close(self) -> None: ...


class RegionKey(Protocol):
    """The key of a region that wraps its companies' keys: a file at first, a KMS later.  From any thread.

    Raises `Unavailable` (`key_unavailable`) while it cannot be used, `Broken` for what it did not wrap.
    """

    def current(self) -> str:
        """The id of the key that wraps now."""
        ...

    def wrap(self, owner: str, key: bytes) -> tuple[str, bytes]:
        """The id of the key that wrapped, and the wrapped key."""
        ...

    def unwrap(self, key_id: str, owner: str, wrapped: bytes) -> bytes: ...

    def rotate(self) -> str:
        """Make a new key, which wraps from now on; the others go on unwrapping.  Its id."""
        ...

    def infos(self) -> Sequence[RegionKeyInfo]: ...

    def drop(self, key_ids: Sequence[str]) -> None:
        """Delete keys for good."""
        ...


class KeyRows(Protocol):
    """The table of keys of one region.  Blocks for as long as a transaction takes; from any thread.

    `changes` grows with every change that those who remember keys must hear of.
    """

    def find(self, person: str) -> tuple[PersonKey, CompanyKey] | None: ...
    def company(self, company: str) -> CompanyKey | None: ...
    def companies(self) -> list[CompanyKey]: ...
    def counts(self) -> dict[str, tuple[int, int]]:
        """By company, how many of its people have a key, and how many keys have been destroyed."""
        ...

    def without(self, people: Sequence[str]) -> list[str]:
        """Those of `people`, at most 500, who never had a key."""
        ...

    def standing(self, people: Sequence[str]) -> list[str]:
        """Those of `people`, at most 500, whose key is not destroyed."""
        ...

    def add_company(self, key: CompanyKey) -> CompanyKey:
        """Add a company's key unless it has one; the one it has then."""
        ...

    def add_person(self, key: PersonKey) -> None:
        """Add a person's key unless they have, or ever had, one."""
        ...

    def destroy(self, person: str) -> str | None:
        """Overwrite a person's key; its id, the same again, None if there never was one."""
        ...

    async def scrub(self) -> None:
        """See to it that destroyed keys are not left in the engine's log either, where that is in our hands."""
        ...

    def set_revoked(self, company: str, revoked: bool) -> bool:
        """Whether there is such a company."""
        ...

    def rewrap(self, key: CompanyKey, before: str) -> bool:
        """Replace a company's wrapped key if region key `before` still wraps it."""
        ...

    def changes(self) -> int: ...
    async def close(self) -> None: ...


class Erasable(Protocol):
    """A room that keeps something of people, and is asked to erase it."""

    async def erase(self, person: str) -> dict[str, int]:
        """Erase what is kept of a person: how many of each class.

        Asked again, it says the same again, as far as it can still know: a crash may have come before the first
        answer was noted, and the greater count stands.
        """
        ...
