"""People of other regions whom this gateway follows: asks their regions, hears of changes, says when one is silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home
from moonbow.bus import Bus
from moonbow.wire import subjects
from moonbow.wire.presence import ASK_PEOPLE_MAX, AskStates, PersonState, States

from .interest import REFRESH_S, Following

RETRY_S = 2.0  # after a region did not answer
STATES_OP = "presence.states"
WHAT = "presence"  # last word of the subject of live changes to another region

_encode = msgspec.msgpack.Encoder().encode
_states = msgspec.msgpack.Decoder(States)


class Abroad:
    """`tell` is called with those who are seen differently now; `spawn` runs work beside."""

    def __init__(
        self,
        region: str,
        bus: Bus,
        tell: Callable[[list[PersonState]], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        unreadable: Callable[[], None],
    ) -> None:
        self._region, self._bus = region, bus
        self._tell, self._spawn, self._unreadable = tell, spawn, unreadable
        self.following = Following()
        self._reached: dict[str, bool] = {}
        self._refresh_at: dict[str, float] = {}

    async def listen(self) -> None:
        """Hear what other regions say of their people."""
        await self._bus.listen(subjects.live_heard(self._region, WHAT), self._on_states)

    def state(self, person: str) -> PersonState:
        """What is known of a foreign person."""
        return self.following.known(person) or PersonState(person, "unknown")

    async def learn(self, people: Sequence[str]) -> None:
        """Ask for those of `people` of whom nothing was heard; they must be followed already."""
        by_region: dict[str, list[str]] = {}
        for person in people:
            if self.following.known(person) is None:
                by_region.setdefault(home(person), []).append(person)
        await asyncio.gather(*(self._ask(region, some) for region, some in by_region.items()))

    def tick(self, now: float) -> None:
        """Ask again before interest runs out; say `unknown` of a region that went silent, ask when it is back."""
        self.following.expire(now)
        for region, people in self.following.by_region().items():
            was, reached = self._reached.get(region, True), self._bus.reachable(region)
            self._reached[region] = reached
            if was and not reached:
                self._tell(self.following.silent(region, now))
            if reached and (not was or now >= self._refresh_at.get(region, 0.0)):
                self._refresh_at[region] = now + REFRESH_S
                self._spawn(self._ask(region, people))

    async def _ask(self, region: str, people: Sequence[str]) -> None:
        """`region` tells of changes from then on.  If it does not answer, what is known stands until it is silent."""
        self._refresh_at.setdefault(region, time.monotonic() + REFRESH_S)
        for at in range(0, len(people), ASK_PEOPLE_MAX):
            asked_at = time.monotonic()
            question = _encode(AskStates(tuple(people[at : at + ASK_PEOPLE_MAX])))
            try:
                states = _states.decode(await self._bus.request(region, STATES_OP, question)).states
            except (Unavailable, Refused, msgspec.MsgspecError):
                self._refresh_at[region] = time.monotonic() + RETRY_S
                return
            self._tell(self.following.heard(region, states, time.monotonic(), asked_at))

    def _on_states(self, subject: str, payload: bytes) -> None:
        try:
            states = _states.decode(payload).states
        except msgspec.MsgspecError:
            self._unreadable()
            return
        now = time.monotonic()
        self._tell(self.following.heard(subject.split(".", 2)[1], states, now, now))
