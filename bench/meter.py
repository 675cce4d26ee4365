"""What processes cost: CPU seconds and memory by kind of process, as the kernel counts them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
Kinds = dict[int, str]  # process id -> kind


class Cost(NamedTuple):
    """Seconds of CPU by kind between two marks, the seconds that passed, and the load generator's own CPU seconds."""

    by_kind: dict[str, float]
    wall_s: float
    generator_s: float

    @property
    def all_s(self) -> float:
        """CPU seconds of all server processes."""
        return sum(self.by_kind.values())


class Mark(NamedTuple):
    """Counters at one moment."""

    cpu: dict[int, float]
    at: float
    generator_s: float


class Meter:
    """Counters of one subject.  `find` gives its processes now; a process that was replaced meanwhile is an error."""

    def __init__(self, find: Callable[[], Kinds]) -> None:
        self._find = find
        self.kinds = find()

    def refresh(self) -> None:
        """Look again which processes there are."""
        self.kinds = self._find()

    def mark(self) -> Mark:
        """The counters now."""
        return Mark({pid: cpu_s(pid) for pid in self.kinds}, time.perf_counter(), time.process_time())

    def since(self, before: Mark) -> Cost:
        """What was used since `before`."""
        now = self.mark()
        by_kind = dict.fromkeys(sorted(set(self.kinds.values())), 0.0)
        for pid, used in now.cpu.items():
            by_kind[self.kinds[pid]] += used - before.cpu[pid]
        return Cost(by_kind, now.at - before.at, now.generator_s - before.generator_s)

    def memory_kib(self) -> dict[str, int]:
        """Proportional set size by kind, KiB."""
        by_kind = dict.fromkeys(sorted(set(self.kinds.values())), 0)
        for pid, kind in self.kinds.items():
            by_kind[kind] += pss_kib(pid)
        return by_kind


def cpu_s(pid: int) -> float:
    """User and system time of all threads of a process, those that ended included."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def pss_kib(pid: int) -> int:
    """A process's memory, pages shared with others counted in part."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def tree(root: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found
