"""The load: how messages are sent and counted, whoever is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from .meter import Cost, Meter
from .model import Hall, Line, Pair, stamped

WARM_S = 1.0
DRAIN_S = 10.0
TURNS = 3  # how often what is under way must be turned over while measured: some servers answer in bursts
LONGER = 4  # how many times as long as wanted a slow server may take for it


class Sample(NamedTuple):
    """Operations done while measured, what they cost, and how long each took from sending to delivery, in ms."""

    done: int
    cost: Cost
    took_ms: list[float]
    lost: int = 0

    def us(self) -> float:
        """CPU of all server processes, µs an operation."""
        return self.cost.all_s / max(self.done, 1) * 1e6

    def parts(self) -> dict[str, float]:
        """CPU by kind of process and of the generator, µs an operation."""
        used = {**self.cost.by_kind, "generator": self.cost.generator_s}
        return {kind: seconds / max(self.done, 1) * 1e6 for kind, seconds in used.items()}

    def rate(self) -> float:
        """Operations a second."""
        return self.done / self.cost.wall_s

    def percentile(self, ratio: float) -> float:
        """Nearest rank of `took_ms`; 0 when there is nothing."""
        found = sorted(self.took_ms)
        return found[min(len(found) - 1, int(ratio * len(found)))] if found else 0.0


class Flight:
    """One pair in a closed loop: a message is done when it was acknowledged to its sender and heard by its reader."""

    __slots__ = ("acked", "flying", "heard", "pair", "sent", "window")

    def __init__(self, pair: Pair, window: int) -> None:
        self.pair, self.window = pair, window
        self.sent = self.acked = self.heard = 0
        self.flying = True
        pair.sender.acked = self._acked
        pair.receiver.heard = self._heard

    def _acked(self) -> None:
        self.acked += 1
        self.go()

    def _heard(self, _stamp: bytes) -> None:
        self.heard += 1
        self.go()

    @property
    def done(self) -> int:
        """Messages that are over."""
        return min(self.acked, self.heard)

    def go(self) -> None:
        """Send as many as the window allows."""
        while self.flying and self.sent - self.done < self.window:
            self.sent += 1
            self.pair.sender.say(self.pair.where, stamped())


async def saturate(meter: Meter, pairs: Sequence[Pair], window: int, seconds: float) -> Sample:
    """Pairs that write as fast as they are answered, `window` messages of each under way."""
    flights = [Flight(pair, window) for pair in pairs]
    for flight in flights:
        flight.go()
    await asyncio.sleep(WARM_S)
    mark, before = meter.mark(), sum(flight.done for flight in flights)
    await _measure(lambda: sum(flight.done for flight in flights) - before, TURNS * window * len(pairs), seconds)
    cost, done = meter.since(mark), sum(flight.done for flight in flights) - before
    for flight in flights:
        flight.flying = False
    await settle(lambda: all(flight.done == flight.sent for flight in flights))
    return Sample(done, cost, [], sum(flight.sent - flight.done for flight in flights))


class Paced:
    """Messages at a fixed rate over speakers in turn; counts what all `hearers` hear and how long it took."""

    def __init__(self, said: Sequence[tuple[Line, bytes]], hearers: Sequence[Line], copies: int) -> None:
        self.said, self.copies = said, copies
        self.sent = self.heard = 0
        self.took_ms: list[float] = []
        for line, _ in said:
            line.acked = nothing
        for line in hearers:
            line.heard = self._heard

    def _heard(self, stamp: bytes) -> None:
        self.heard += 1
        self.took_ms.append((time.time_ns() - int(stamp)) / 1e6)

    async def send(self, rate: float, seconds: float) -> None:
        """Send for so long, never faster than `rate` on average since the start."""
        began, count = time.perf_counter(), 0
        while count < rate * seconds:
            wait = began + count / rate - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            line, where = self.said[self.sent % len(self.said)]
            line.say(where, stamped())
            self.sent += 1
            count += 1

    async def run(self, meter: Meter, rate: float, seconds: float) -> Sample:
        """Warm up, then measure from the first message until the last has arrived."""
        await self.send(rate, WARM_S)
        await settle(self._all_heard)
        self.took_ms.clear()
        mark, before = meter.mark(), self.heard
        await self.send(rate, seconds)
        await settle(self._all_heard)
        return Sample(self.heard - before, meter.since(mark), self.took_ms, self.sent * self.copies - self.heard)

    def _all_heard(self) -> bool:
        return self.heard >= self.sent * self.copies


async def pace(meter: Meter, pairs: Sequence[Pair], rate: float, seconds: float) -> Sample:
    """Pairs in turn at a fixed rate of all together."""
    paced = Paced([(pair.sender, pair.where) for pair in pairs], [pair.receiver for pair in pairs], 1)
    return await paced.run(meter, rate, seconds)


async def pace_hall(meter: Meter, hall: Hall, rate: float, seconds: float) -> Sample:
    """One speaker of a room at a fixed rate; an operation is one delivery to one member."""
    paced = Paced([(hall.speakers[0], hall.where)], hall.members, len(hall.members))
    return await paced.run(meter, rate, seconds)


class Flood:
    """A room's speakers in turn, `window` messages under way: one is over when every member has heard it.

    Each connection hears in order, so the n-th thing a member hears is the n-th message.
    """

    def __init__(self, hall: Hall, window: int) -> None:
        self.hall, self.window = hall, window
        self.sent = self.heard = self.over = 0
        self.flowing = True
        self._heard_by: list[int] = [0]  # of the n-th message, how many members have it
        for line in hall.members:
            line.acked, line.heard = nothing, self._listener()

    def _listener(self) -> Callable[[bytes], None]:
        count, heard_by, size = 0, self._heard_by, len(self.hall.members)

        def hear(_stamp: bytes) -> None:
            nonlocal count
            count += 1
            self.heard += 1
            heard_by[count] += 1
            if heard_by[count] == size:
                self.over += 1
                self.speak()

        return hear

    def speak(self) -> None:
        """Say as much as the window allows."""
        while self.flowing and self.sent - self.over < self.window:
            self.sent += 1
            self._heard_by.append(0)
            self.hall.speakers[self.sent % len(self.hall.speakers)].say(self.hall.where, stamped())


async def flood_hall(meter: Meter, hall: Hall, window: int, seconds: float) -> Sample:
    """A room with a backlog; an operation is one delivery to one member."""
    flood, size = Flood(hall, window), len(hall.members)
    flood.speak()
    await asyncio.sleep(WARM_S)
    mark, before = meter.mark(), flood.heard
    await _measure(lambda: flood.heard - before, TURNS * window * size, seconds)
    cost, done = meter.since(mark), flood.heard - before
    flood.flowing = False
    await settle(lambda: flood.over == flood.sent)
    return Sample(done, cost, [], flood.sent * size - flood.heard)


async def pour(lines: Sequence[Line], where: bytes, total: int, window: int, rate_max: float = 1e9) -> None:
    """Fill a room: `total` messages over `lines`, each with `window` under way and at most `rate_max` a second."""
    share = [total // len(lines) + (no < total % len(lines)) for no in range(len(lines))]
    await asyncio.gather(*map(partial(_pour_one, where, window, rate_max), lines, share))


async def _pour_one(where: bytes, window: int, rate_max: float, line: Line, total: int) -> None:
    sent = acked = 0
    wake = asyncio.Event()

    def note() -> None:
        nonlocal acked
        acked += 1
        wake.set()

    line.acked = note
    began = time.perf_counter()
    while acked < total:
        while sent < total and sent - acked < window and sent <= (time.perf_counter() - began) * rate_max:
            line.say(where, stamped())
            sent += 1
        wake.clear()
        if sent < total and sent - acked < window:
            await asyncio.sleep(0.005)
        else:
            await asyncio.wait_for(wake.wait(), DRAIN_S)
    line.acked = nothing


async def _measure(done: Callable[[], int], enough: int, seconds: float) -> None:
    """Wait for so long, and for a slow server until enough was done."""
    await asyncio.sleep(seconds)
    await settle(lambda: done() >= enough, seconds * (LONGER - 1))


def nothing(*_: object) -> None:
    """Nobody listens."""


async def settle(over: Callable[[], bool], within_s: float = DRAIN_S) -> None:
    """Wait until `over()`, at most so long: what is still missing then counts as lost."""
    until = time.perf_counter() + within_s
    while not over() and time.perf_counter() < until:  # noqa: ASYNC110 - counters on hot paths wake nobody
        await asyncio.sleep(0.01)
