"""What a walker of a database gives to the audit, whatever the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol


class Tables(Protocol):
    """One consistent view of a store, read and never written."""

    engine: str
    size_bytes: int

    def tables(self) -> dict[str, tuple[str, ...]]:
        """Every table with its columns; what the engine keeps for itself is left out."""
        ...

    def rows(self, table: str) -> Iterator[Sequence[object]]:
        """Every row, its values in the order of the columns."""
        ...


class Store(Protocol):
    """A store of a region that can be walked.

    `store` names its tables in the catalogue; `place` is where it lies, a path under the state folder or an address.
    """

    @property
    def store(self) -> str: ...
    @property
    def place(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def site(self) -> str: ...

    def look(self) -> AbstractContextManager[Tables]:
        """A view for as long as the block runs.  `Unavailable` if it cannot be had."""
        ...
