"""A dictionary of what was used lately, bounded: of two generations, the older goes when the younger is full."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Holds at most `most` entries.  Whatever was put or got among the last half of them is there.

    `young` may be read by whoever needs speed; only `put` writes.
    """

    def __init__(self, most: int) -> None:
        self.young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._half = max(1, most // 2)

    def get(self, key: K) -> V | None:
        """The value, or None; one of the older generation becomes young again."""
        found = self.young.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Remember."""
        if len(self.young) >= self._half:
            self.age()
        self.young[key] = value

    def age(self) -> None:
        """Let what is not used until the next call be forgotten then."""
        self._old, self.young = self.young, {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)
