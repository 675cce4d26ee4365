"""No sealing: for regions whose world file says `encrypted = false`, and for the control of the residency audit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


class Plain:
    """`ports.Sealer` that leaves everything as it is."""

    def seal(self, person: str, place: str, text: bytes) -> bytes:
        return text

    def open(self, person: str, place: str, sealed: bytes) -> bytes | None:
        return sealed

    def mark(self, person: str, text: bytes) -> bytes:
        return hashlib.blake2b(text, digest_size=16).digest()


class NoKeys:
    """`ports.Keys` where nothing is sealed."""

    def __init__(self) -> None:
        self.sealer = Plain()

    async def provide(self, person: str, company: str) -> None:
        return None

    async def provide_all(self, company: str, people: Sequence[str]) -> int:
        return 0

    async def destroy(self, person: str) -> str | None:
        return None

    async def destroy_all(self, people: Sequence[str]) -> int:
        return 0

    async def scrub(self) -> None:
        return None

    async def close(self) -> None:
        return None
