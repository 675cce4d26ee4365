"""What other rooms need of the vault: sealing and opening, and the making and ending of keys."""

from __future__ import annotations

from typing import Protocol


class Sealer(Protocol):
    """Seals what a person wrote with that person's own key.  Quick, from any thread; keys are remembered for 30 s.

    `place` says what is sealed, an entry's or a file part's id: what was sealed for one place opens in no other.
    """

    def seal(self, person: str, place: str, text: bytes) -> bytes:
        """The sealed bytes.  `Unavailable` (`key_unavailable`) if the person has no key that can be used now."""
        ...

    def open(self, person: str, place: str, sealed: bytes) -> bytes | None:
        """What was sealed; None once the person is erased or their company's key is revoked.

        `Broken` if the bytes were changed, `Unavailable` if the keys cannot be read now.
        """
        ...

    def mark(self, person: str, text: bytes) -> bytes:
        """Sixteen bytes that are the same for the same text of the same person, and tell nobody else anything."""
        ...


class Keys(Protocol):
    """The keys of one region's people and companies."""

    async def provide(self, person: str, company: str) -> None:
        """See to it that a person has a key, wrapped by their company's, which is made if it is missing."""
        ...

    async def destroy(self, person: str) -> None:
        """Destroy a person's key: nothing they wrote can be read any more, here or in any backup without its keys."""
        ...

    async def revoke(self, company: str) -> None:
        """Make everything of a company's people unreadable; in force everywhere within a minute."""
        ...

    async def restore(self, company: str) -> None:
        """Take a revocation back."""
        ...
