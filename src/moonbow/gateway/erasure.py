"""What the timeline keeps of a person, and how it is erased (`vault.ports.Erasable`)."""

from __future__ import annotations

from moonbow.timeline import policy, transactions
from moonbow.timeline.ports import Store


class TimelineErasure:
    """Erases everything a person wrote; the rooms' order stays, and a row in each room says that it was done."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def erase(self, person: str) -> dict[str, int]:
        """In how many rooms, and how many entries without a text now."""
        rooms = await self._store.write(transactions.erase_person, person)
        return {"rooms": rooms, "entries": await self._store.read(policy.written_by, person)}
