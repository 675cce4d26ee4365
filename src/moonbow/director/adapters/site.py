"""What a director learns inside its own site: whether the gateways are well, how many clients the doors hold, CPU.

Envoy's counters come over each door's administration socket on a kept connection, the gateways' `/healthz` over plain
HTTP, CPU from proc(5): of all processes in this one's group, which is the site's.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from moonbow.base.line import BadAnswer, Line
from moonbow.director.algebra import judge_door
from moonbow.director.model import DoorHealth, Load
from moonbow.world import Ports, SiteRef, World, site_address

from .doors import said

ASK_S = 0.5
ERRORS_OVER = 10  # readings over which the share of errors is counted
ANSWERS_MIN = 20  # fewer answers in that time say nothing of errors
MEMBERS_S = 10.0  # between two looks for new processes of the site
_NAMES = ("downstream_cx_active", "downstream_rq_completed", "downstream_rq_5xx")
_STATS = (
    rb"GET /stats?usedonly&filter=^http\.door\.downstream_(cx_active|rq_completed|rq_5xx)$ HTTP/1.1"
    b"\r\nhost: envoy\r\n\r\n"
)
_HEALTH = b"GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n"

Dial = Callable[[], Awaitable[tuple[object, Line]]]


class Kept:
    """A kept connection that is made again when it is gone.  `ask` gives None when there is no answer in time."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._line: Line | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes] | None:
        """(status, body), or None."""
        try:
            async with asyncio.timeout(ASK_S):
                if self._line is None or self._line.lost.is_set():
                    _, self._line = await self._dial()
                return await self._line.ask(request)
        except (OSError, BadAnswer):  # TimeoutError is an OSError
            self.close()
            return None

    def close(self) -> None:
        """Give the connection back."""
        if self._line is not None:
            self._line.abort()
            self._line = None


class OwnSite:
    """The site that a director speaks for.  `read` looks once; `trouble` and `load` are what was found."""

    def __init__(self, world: World, ref: SiteRef, state: Path, probers: int) -> None:
        self.trouble = ""
        self.load: Load | None = None
        self._capacity = ref.site.capacity
        self._probers = probers  # each keeps one connection to every door, and is no client
        host, folder = site_address(world, ref), state / "sites" / ref.site.name
        self._gateways = [Kept(_tcp(host, Ports.REST + number)) for number in range(ref.site.gateways)]
        self._doors = [Kept(_unix(folder / f"door{number}" / "admin.sock")) for number in range(ref.site.doors)]
        self._health = [DoorHealth() for _ in self._gateways]
        self._answers: deque[tuple[int, int]] = deque(maxlen=ERRORS_OVER)
        self._cpu = GroupCpu()

    async def read(self) -> None:
        """Ask gateways and doors once; returns within `ASK_S`."""
        gateways, doors = await asyncio.gather(
            asyncio.gather(*(gateway.ask(_HEALTH) for gateway in self._gateways)),
            asyncio.gather(*(door.ask(_STATS) for door in self._doors)),
        )
        self._judge(gateways)
        self._weigh([parse_stats(answer[1]) for answer in doors if answer is not None and answer[0] == 200])

    def close(self) -> None:
        """Give all connections back."""
        for kept in (*self._gateways, *self._doors):
            kept.close()

    def _judge(self, answers: list[tuple[int, bytes] | None]) -> None:
        now_s = time.monotonic()  # a clock that is set holds nobody down
        for number, answer in enumerate(answers):
            passed = answer is not None and answer[0] == 200
            if self._health[number].up is None and not passed:
                continue  # still starting: the doors say so themselves
            why = "answers" if passed else said(answer[1]) if answer is not None else "does not answer"
            self._health[number] = judge_door(self._health[number], passed, why, now_s)
        reasons = sorted({health.why for health in self._health if health.up is False})
        is_well = any(health.up is not False for health in self._health)
        self.trouble = "" if is_well else f"its gateways say: {'; '.join(reasons)}"

    def _weigh(self, doors: list[dict[str, int]]) -> None:
        if not doors:
            self.load = None
            return
        active, answered, failed = (sum(door.get(name, 0) for door in doors) for name in _NAMES)
        if self._answers and answered < self._answers[-1][0]:  # a door started anew, its counters with it
            self._answers.clear()
        self._answers.append((answered, failed))
        answered, failed = answered - self._answers[0][0], failed - self._answers[0][1]
        errors = min(1.0, failed / answered) if answered >= ANSWERS_MIN else 0.0
        self.load = Load(max(0, active - self._probers * len(doors)), self._cpu.share(), self._capacity, errors)


def _tcp(host: str, port: int) -> Dial:
    return lambda: asyncio.get_running_loop().create_connection(Line, host, port)


def _unix(path: Path) -> Dial:
    return lambda: asyncio.get_running_loop().create_unix_connection(Line, str(path))


def parse_stats(text: bytes) -> dict[str, int]:
    """Envoy's counters of the public listener, by the end of their names; what is not a number is left out."""
    found: dict[str, int] = {}
    for line in text.decode("ascii", "replace").splitlines():
        name, _, value = line.partition(": ")
        if value.strip().isdigit():
            found[name.rpartition(".")[2]] = int(value)
    return found


class GroupCpu:
    """The share (0..1) of this machine's processors that the processes of a group used since the last look."""

    def __init__(self, group: int | None = None) -> None:
        self._group = group or os.getpgrp()
        self._members: tuple[str, ...] = ()
        self._looked_s = float("-inf")
        self._ticks: dict[str, int] = {}
        self._at_s = 0.0

    def share(self) -> float:
        """0 at the first look."""
        now_s = time.monotonic()
        if now_s - self._looked_s > MEMBERS_S:
            self._looked_s = now_s
            self._members = tuple(name for name in os.listdir("/proc") if name.isdigit() and self._is_member(name))
        ticks = {name: found[1] for name in self._members if (found := _group_and_ticks(name)) is not None}
        used = sum(count - self._ticks[name] for name, count in ticks.items() if name in self._ticks)
        elapsed, self._at_s, self._ticks = now_s - self._at_s, now_s, ticks
        return min(1.0, max(0.0, used / os.sysconf("SC_CLK_TCK") / elapsed / len(os.sched_getaffinity(0))))

    def _is_member(self, name: str) -> bool:
        found = _group_and_ticks(name)
        return found is not None and found[0] == self._group


def _group_and_ticks(name: str) -> tuple[int, int] | None:
    """Process group and CPU ticks of a process; None if it is gone.  Fields 5, 14 and 15 of stat, see proc(5)."""
    try:
        with open(f"/proc/{name}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(fields[2]), int(fields[11]) + int(fields[12])
