"""What the timeline keeps of a person, how it is erased (`vault.ports.Erasable`), and how erasures cut short go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from moonbow.base.clock import to_next_beat
from moonbow.base.errors import MoonbowError
from moonbow.timeline import policy, transactions
from moonbow.timeline.ports import Store
from moonbow.vault.erasing import Erasing

ERASURES_S = 30.0  # between two looks for erasures that were cut short
log = logging.getLogger("moonbow.gateway")


class TimelineErasure:
    """Erases everything a person wrote; the rooms' order stays, and a row in each room says that it was done."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def erase(self, person: str) -> dict[str, int]:
        """In how many rooms, and how many entries without a text now."""
        rooms = await self._store.write(transactions.erase_person, person)
        return {"rooms": rooms, "entries": await self._store.read(policy.written_by, person)}


async def tend(erasing: Erasing, leads: Callable[[], bool], every_s: float = ERASURES_S) -> None:
    """Take up, for as long as this process lives and while it `leads`, what was cut short anywhere in the region."""
    while True:
        await asyncio.sleep(to_next_beat(every_s, asyncio.get_running_loop().time()))
        if leads():
            await take_up(erasing)


async def take_up(erasing: Erasing) -> None:
    """Finish what was begun; what cannot be finished now is left for the next time."""
    try:
        await erasing.empty_logs()
        begun = await erasing.unfinished()
    except MoonbowError as trouble:
        log.warning("erasures put off", extra={"f": {"why": str(trouble)}})
        return
    for person in begun:
        try:
            await erasing.finish(person)
        except MoonbowError as trouble:
            log.warning("an erasure put off", extra={"f": {"why": str(trouble)}})
