"""What backups need from outside: a region's databases and its objects, whichever engines keep them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from .model import Kind


class Databases(Protocol):
    """The databases of one region on one engine.  Everything may take long: call in a thread."""

    engine: str

    def names(self, kind: Kind) -> tuple[str, ...]:
        """What there is to copy, in the order in which it must be: what refers to another comes before it."""
        ...

    def copy(self, name: str, into: Path) -> str:
        """A consistent copy of the committed state, while others write; `Unavailable` if the engine does not answer.

        Gives the place in the engine's own history that is in it at least; empty if there is none.
        """
        ...

    def examine(self, name: str, copied: Path) -> tuple[dict[str, int], int | None]:
        """Let the engine check all of a copy; rows per table, and the epoch of a timeline; `Broken` if damaged."""
        ...

    def differ(self, name: str, copied: Path) -> dict[str, tuple[int, int]]:
        """Per table that differs: how many rows are only in the copy, and how many only in the region now."""
        ...

    def place(self, name: str, copied: Path, region: Path) -> None:
        """Give a copy to where the region's stores will look for it: under its folder `region`, or in its database."""
        ...


class Found(NamedTuple):
    """An object in a store.  `mark` changes whenever its content does (time and size, or the store's own tag)."""

    name: str
    bytes: int
    mark: str


class Objects(Protocol):
    """The objects of one region's files."""

    def list(self) -> Iterator[Found]: ...

    def read(self, name: str) -> Iterator[bytes]:
        """The content, in pieces; `FileNotFoundError` if it is gone by now."""
        ...


class Place(Protocol):
    """Where a restore puts objects."""

    def write(self, name: str, content: Iterable[bytes]) -> None:
        """Write an object that is not there yet, synced."""
        ...
