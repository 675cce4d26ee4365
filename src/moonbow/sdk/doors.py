"""Which door to dial next: best first, each once a round, those of a site that goes last.

Laws: a round tries every door once; a new search begins with the best one, not beside the one that failed; nobody
leaves a door that works for another of the same region.
"""

from __future__ import annotations

from collections.abc import Iterable

from moonbow.wire.values import Door


class Doors:
    """The doors known, best first, and how far the present search has come.  `rounds` counts those in vain."""

    def __init__(self, known: Iterable[Door]) -> None:
        self.known = list(known)
        self.tried: list[Door] = []
        self.rounds = 0
        self.leaving: str | None = None  # the site that asked us to go

    def learn(self, known: Iterable[Door]) -> None:
        """The present list; an empty one changes nothing."""
        self.known = list(known) or self.known

    def begin(self, *failed: Door) -> None:
        """A new search; `failed` are not tried in its first round."""
        self.tried, self.rounds = list(failed), 0

    @property
    def exhausted(self) -> bool:
        """Whether every door was tried in this round."""
        return all(door in self.tried for door in self.known)

    def choose(self) -> Door:
        """The next one to dial."""
        if self.exhausted:
            self.tried, self.rounds = [], self.rounds + 1
        left = [door for door in self.known if door not in self.tried]
        door = next((door for door in left if door.site != self.leaving), left[0])
        self.tried.append(door)
        return door

    def is_far(self, door: Door) -> bool:
        """Whether the best door is in another region than this one: then it is worth to go back, once it works."""
        return self.known[0].region != door.region
