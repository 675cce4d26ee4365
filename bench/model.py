"""What the load needs of a subject, and what measuring gives: the same for Moonbow and for its peers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from .meter import Meter

TEXT_BYTES = 200
_PAD = b" " + b"x" * (TEXT_BYTES - 20)


def stamped() -> bytes:
    """A message of TEXT_BYTES that begins with its time of sending: 19 digits of nanoseconds."""
    return b"%d" % time.time_ns() + _PAD


class Line(Protocol):
    """One connection of a client.

    `acked()` is called when the server has committed the next of its messages, `heard(stamp)` for each message that
    was delivered to it, with the 19 digits.
    """

    acked: Callable[[], None]
    heard: Callable[[bytes], None]

    def say(self, where: bytes, text: bytes) -> None: ...
    def close(self) -> None: ...


class Pair(NamedTuple):
    """Two clients: the one writes to the other, at the address `where`."""

    sender: Line
    receiver: Line
    where: bytes


class Hall(NamedTuple):
    """A room: all its members' connections, some of which speak."""

    speakers: list[Line]
    members: list[Line]
    where: bytes


class Archive(NamedTuple):
    """A room full of messages: `page(client)` reads its newest 50 and returns how many came."""

    size: int
    fill_s: float
    page: Callable[[int], Awaitable[int]]


class CatchUp(NamedTuple):
    """Somebody who missed messages: `again()` connects, takes all of them and leaves.

    It returns the seconds from dialling, and from being signed on, until the last one was there.
    """

    missed: int
    again: Callable[[], Awaitable[tuple[float, float]]]


class Subject(Protocol):
    """A running system that is measured.  Each method makes what one operation needs; `idle` the most basic client."""

    name: str
    meter: Meter

    async def pairs(self, count: int) -> list[Pair]: ...
    async def hall(self, members: int) -> Hall: ...
    async def idle(self, count: int) -> list[Line]: ...
    async def archive(self, size: int, clients: int) -> Archive: ...
    async def missed(self, rooms: int, each: int) -> CatchUp: ...


class Figure(NamedTuple):
    """One number.  `parts` splits it by kind of process; `key` is the same for every subject.

    `per_s`: operations a second, where the figure is µs of CPU an operation.
    """

    key: str
    value: float
    parts: dict[str, float] = {}
    note: str = ""
    per_s: float = 0.0


class Row(NamedTuple):
    """How a figure is printed: its operation, its words, its unit, and whether less is better."""

    key: str
    title: str
    unit: str
    less_is_better: bool = True


ROWS = (
    Row("A.1.us", "A  1:1 durable, 1 outstanding a pair: CPU", "µs/message"),
    Row("A.1.rate", "   throughput", "message/s", False),
    Row("A.8.us", "A  1:1 durable, 8 outstanding a pair: CPU", "µs/message"),
    Row("A.8.rate", "   throughput", "message/s", False),
    Row("A.200.us", "A  1:1 durable at 200/s: CPU", "µs/message"),
    Row("A.200.p50", "   send to delivery, p50", "ms"),
    Row("A.200.p99", "   send to delivery, p99", "ms"),
    Row("A.2000.us", "A  1:1 durable at 2,000/s: CPU", "µs/message"),
    Row("B.5.us", "B  room of 300 at 5 messages/s: CPU", "µs/delivery"),
    Row("B.5.p50", "   send to delivery, p50", "ms"),
    Row("B.5.p99", "   send to delivery, p99", "ms"),
    Row("B.8.us", "B  room of 300, 8 outstanding: CPU", "µs/delivery"),
    Row("B.8.rate", "   throughput", "delivery/s", False),
    Row("C.kib", "C  memory of an idle connection (1,000)", "KiB"),
    Row("C.login", "C  CPU of connecting one", "ms"),
    Row("D.alone", "D  page of 50 from 10,000, alone, p50", "ms"),
    Row("D.rate", "   with 4 clients", "page/s", False),
    Row("D.cpu", "D  with 4 clients: CPU", "ms/page"),
    Row("E.ms", "E  1,000 missed messages of 20 rooms, from dialling", "ms"),
    Row("E.on", "   from being signed on", "ms"),
    Row("E.cpu", "E  CPU of it", "ms"),
    Row("F.placed.p50", "F  cross-region message, to placed, p50", "ms"),
    Row("F.placed.p99", "   to placed, p99", "ms"),
    Row("F.heard.p50", "   to delivery in the other region, p50", "ms"),
    Row("F.heard.p99", "   to delivery in the other region, p99", "ms"),
    Row("F.us", "F  at 100/s: CPU", "µs/message"),
)
