"""What one process remembers of who may write to a stream, so that a busy room need not be asked at every batch.

Law: what is remembered counts only while the stream's row, read under its lock, is the one that this process left.
Who joins or leaves moves the head of the stream, and who is erased moves `erasures` of every stream they are in.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from moonbow.timeline.model import Span

MEMBERS_MAX = 20_000  # of all streams together
_NOBODY: Mapping[str, list[Span]] = MappingProxyType({})


class Mark(NamedTuple):
    """What a stream's row says whenever its members are the same."""

    key: int
    head: int
    erasures: int


class Members:
    """Members of streams who are not erased, with their times of membership.  For one thread."""

    def __init__(self) -> None:
        self._streams: dict[str, tuple[Mark, dict[str, list[Span]]]] = {}
        self._count = 0

    def of(self, stream: str, mark: Mark) -> Mapping[str, list[Span]]:
        """Who is known to be a member while the row is as `mark` says."""
        known = self._streams.get(stream)
        return known[1] if known is not None and known[0] == mark else _NOBODY

    def keep(self, stream: str, before: Mark, after: Mark, members: Mapping[str, list[Span]]) -> None:
        """Remember `members` with those who were known `before`; streams that were not written to lately go."""
        all_of_them = {**self.of(stream, before), **members}
        _, gone = self._streams.pop(stream, (before, _NOBODY))
        self._streams[stream] = (after, all_of_them)
        self._count += len(all_of_them) - len(gone)
        while self._count > MEMBERS_MAX:
            _, dropped = self._streams.pop(next(iter(self._streams)))
            self._count -= len(dropped)

    def forget(self) -> None:
        """All of it."""
        self._streams.clear()
        self._count = 0
