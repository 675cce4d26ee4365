"""Which sessions have ended, in memory, for as long as a token of theirs could still be presented.

Laws: a revocation is told once, however often it is heard (bus, poll, own act); nothing is forgotten while a token
that it ends could pass.
"""

from __future__ import annotations

from collections.abc import Iterable

from moonbow.base.limits import ACCESS_TOKEN_S, CLOCK_SKEW_S

from .model import Claims, Revocation

KEEP_S = ACCESS_TOKEN_S + 60.0 + CLOCK_SKEW_S


class Revoked:
    """Ended sessions by sid."""

    def __init__(self) -> None:
        self._sids: dict[str, float] = {}
        self._seen: dict[int, float] = {}

    def add(self, revocations: Iterable[Revocation]) -> list[Revocation]:
        """Take them in; those not heard before."""
        fresh = [item for item in revocations if item.no not in self._seen]
        for item in fresh:
            self._seen[item.no] = item.before
            self._sids[item.sid] = item.before
        return fresh

    def ends(self, claims: Claims) -> bool:
        """Whether the session of a token has ended."""
        return claims.sid in self._sids

    def forget(self, now: float) -> None:
        """Drop what ended so long ago that all its tokens have."""
        since = now - KEEP_S
        self._sids = {sid: before for sid, before in self._sids.items() if before >= since}
        self._seen = {no: before for no, before in self._seen.items() if before >= since}
