"""How many downloads a gateway has under way: each holds a part in memory for as long as its reader takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from moonbow.base import limits
from moonbow.base.errors import Refused

AGAIN_S = 2.0


class Downloads:
    """One gateway's downloads, by who reads."""

    def __init__(self) -> None:
        self._running = Counter[str]()

    async def counted(self, reader: str, pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """The pieces, counted from the first to the last or until nobody wants them; `Refused` when it is one too many.

        What counts and what lets go is the generator itself, so that no answer that is never sent keeps a place.
        """
        async with aclosing(pieces):
            if self._running[reader] >= limits.DOWNLOADS_PERSON_MAX or self._running.total() >= limits.DOWNLOADS_MAX:
                detail = "too many downloads are under way"
                raise Refused("downloads_too_many", detail, status=429, retry_after_s=AGAIN_S)
            self._running[reader] += 1
            try:
                async for some in pieces:
                    yield some
            finally:
                self._running[reader] -= 1
                if not self._running[reader]:
                    del self._running[reader]
