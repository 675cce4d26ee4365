"""Keeps the processes of a world running: one keeper task per process, one process group per site.

A keeper starts its process when what it needs is ready, asks for its health, kills it when it hangs, waits until it is
gone, and starts it again after a growing pause.  Killing a site kills its whole group at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from moonbow.base.clock import to_next_beat
from moonbow.base.errors import ConfigError
from moonbow.base.files import bound_log

from .child import Child, last_lines, start_child
from .policy import (
    Change,
    Record,
    Spec,
    State,
    backoff_s,
    count_failure,
    judge,
    may_start,
    note_probe,
    probe_interval_s,
    stop_turns,
    turn_of,
)
from .probe import Prober

LOG_CHECK_S = 5.0
START_FAILURES_MAX = 4  # in a row, after which waiting for readiness is over
log = logging.getLogger("moonbow.launch")


class Keeper:
    """One process and what is known of it."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.state: State = "waiting"
        self.reason = ""
        self.record = Record(0.0)
        self.child: Child | None = None
        self.task: asyncio.Task[None] | None = None
        self.restarts = 0
        self.since = time.time()

    @property
    def wanted(self) -> bool:
        """Whether somebody sees to it that the process runs."""
        return self.task is not None and not self.task.done()


class Supervisor:
    """All keepers of a world.  `report` is told of every change of state."""

    def __init__(self, specs: Iterable[Spec], report: Callable[[Change], None] = lambda change: None) -> None:
        self.keepers = {spec.key: Keeper(spec) for spec in specs}
        self._report = report
        self._changed = asyncio.Condition()
        self._tending: asyncio.Task[None] | None = None

    async def start(self, keepers: Iterable[Keeper] | None = None) -> None:
        """Start these processes (all by default), each as soon as what it needs is ready; does not wait for them."""
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend_logs())
        for keeper in keepers if keepers is not None else self.keepers.values():
            if not keeper.wanted:
                keeper.record = Record(0.0)
                self._set(keeper, "waiting")
                keeper.task = asyncio.create_task(self._keep(keeper))

    async def until_ready(self, within_s: float, keepers: Iterable[Keeper] | None = None) -> None:
        """Return when these processes are ready; `ConfigError` naming those that are not in time, and why.

        It does not wait for the end of its time when a process fails again and again.
        """
        watched = list(keepers if keepers is not None else self.keepers.values())

        def unready() -> list[Keeper]:
            return [keeper for keeper in watched if keeper.state != "ready"]

        def settled() -> bool:
            over = ("killed", "stopped")
            return not unready() or any(
                keeper.record.failures >= START_FAILURES_MAX or keeper.state in over for keeper in unready()
            )

        with suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(settled)
        if failed := unready():
            raise ConfigError(*(_complaint(keeper) for keeper in failed))

    def of_site(self, site: str) -> list[Keeper]:
        """The keepers of one site."""
        return [keeper for keeper in self.keepers.values() if keeper.spec.site == site]

    async def kill_sites(self, sites: Iterable[str]) -> int:
        """SIGKILL every process of these sites at once, and leave it so; how many there were."""
        keepers = [keeper for site in sites for keeper in self.of_site(site)]
        for keeper in keepers:
            _cancel(keeper)
        children = [keeper.child for keeper in keepers if keeper.child is not None and keeper.child.running]
        for group in {child.group for child in children}:
            os.killpg(group, signal.SIGKILL)
        for keeper in keepers:
            await self._settle(keeper, "killed", "was killed by the operator")
        return len(children)

    async def stop(self, keepers: Iterable[Keeper] | None = None) -> None:
        """End these processes (all by default), turn by turn: first those that hold people's connections."""
        chosen = list(keepers if keepers is not None else self.keepers.values())
        for keeper in chosen:
            _cancel(keeper)
        for turn in stop_turns(keeper.spec for keeper in chosen):
            async with asyncio.TaskGroup() as group:
                for keeper in chosen:
                    if turn_of(keeper.spec) == turn:
                        group.create_task(self._end(keeper))

    async def close(self) -> None:
        """Stop everything, and stop tending."""
        await self.stop()
        if self._tending is not None:
            self._tending.cancel()

    def kill_all(self) -> None:
        """SIGKILL every process, for an operator who cannot wait."""
        for keeper in self.keepers.values():
            _cancel(keeper)
            if keeper.child is not None:
                keeper.child.send(signal.SIGKILL)

    async def _end(self, keeper: Keeper) -> None:
        if keeper.child is not None:
            await keeper.child.end(keeper.spec.term_s)
        await self._settle(keeper, "stopped", "")

    async def _settle(self, keeper: Keeper, state: State, reason: str) -> None:
        """Wait until the process and its keeper are gone, then note the state in which they rest."""
        if keeper.child is not None:
            await keeper.child.wait()
        if keeper.task is not None:
            await asyncio.gather(keeper.task, return_exceptions=True)
        if keeper.state != "killed" or state != "stopped":
            self._set(keeper, state, reason)
        await self._tell()

    async def _keep(self, keeper: Keeper) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: may_start(keeper.spec, self._states()))
            assert keeper.child is None or not keeper.child.running, "two writers"
            now = time.monotonic()
            keeper.record = Record(now, failures=keeper.record.failures)
            try:
                keeper.child = start_child(keeper.spec, self._group(keeper.spec.site))
            except ConfigError as error:
                reason = str(error)
            else:
                self._set(keeper, "starting")
                await self._tell()
                reason = await self._watch(keeper, keeper.child)
            failures = count_failure(keeper.record, time.monotonic())
            keeper.record = keeper.record._replace(failures=failures)
            keeper.restarts += 1
            pause_s = backoff_s(failures)
            log.warning("replace", extra={"f": {"what": keeper.spec.key, "reason": reason, "pause_s": pause_s}})
            self._set(keeper, "backing off", f"{reason}; starts again in {pause_s:.1f} s")
            await self._tell()
            await asyncio.sleep(pause_s)

    async def _watch(self, keeper: Keeper, child: Child) -> str:
        """Why the process is gone, and it is gone when this returns."""
        ended = asyncio.create_task(child.wait())
        prober = Prober(keeper.spec.probe)
        try:
            while not ended.done():
                interval_s = probe_interval_s(keeper.record)
                await asyncio.wait({ended}, timeout=to_next_beat(interval_s, time.monotonic()))
                if ended.done():
                    break
                await self._probe(keeper, prober)
                verdict = judge(keeper.record, time.monotonic(), self._silent_ratio(), keeper.spec.keeps_data)
                if verdict.replace and not ended.done():
                    child.send(signal.SIGKILL)
                    await ended
                    return verdict.reason
            return await ended
        finally:
            ended.cancel()
            prober.close()

    async def _probe(self, keeper: Keeper, prober: Prober) -> None:
        began = time.monotonic()
        health = await prober.ask()
        now = time.monotonic()
        keeper.record = note_probe(keeper.record, health, now, now - began)
        if keeper.record.ready_at is None:
            return
        if health == "ready":
            self._set(keeper, "ready")
        elif health == "alive":
            self._set(keeper, "alive", "answers, but is not ready")
        elif keeper.record.missed > 1:  # one missed probe says nothing yet
            self._set(keeper, "alive", f"missed {keeper.record.missed} probes in a row")
        await self._tell()

    def _group(self, site: str) -> int | None:
        for keeper in self.of_site(site) if site else ():
            if keeper.child is not None and keeper.child.running:
                return keeper.child.group
        return None

    def _silent_ratio(self) -> float:
        """Which part of the processes that were ready once missed their last probe."""
        known = [keeper.record for keeper in self.keepers.values() if keeper.wanted and keeper.record.ready_at]
        return sum(record.missed > 0 for record in known) / max(2, len(known))

    def _states(self) -> dict[str, State]:
        return {key: keeper.state for key, keeper in self.keepers.items()}

    def _set(self, keeper: Keeper, state: State, reason: str = "") -> None:
        if (keeper.state, keeper.reason) == (state, reason):
            return
        if keeper.state != state:
            keeper.since = time.time()
        keeper.state, keeper.reason = state, reason
        self._report(Change(keeper.spec.key, state, reason))

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _tend_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_S)
            for keeper in self.keepers.values():
                if bound_log(keeper.spec.log):
                    log.info("log moved", extra={"f": {"what": keeper.spec.key}})


def _complaint(keeper: Keeper) -> str:
    lines = last_lines(keeper.spec.log, 3)
    said = "; its log ends with:\n    " + "\n    ".join(lines) if lines else ""
    return f"{keeper.spec.key}: {keeper.state}{', ' + keeper.reason if keeper.reason else ''}{said}"


def _cancel(keeper: Keeper) -> None:
    if keeper.task is not None:
        keeper.task.cancel()
