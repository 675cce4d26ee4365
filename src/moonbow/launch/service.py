"""Which sites of a running world are in service: the operator's orders obeyed, ended and taken back, sites killed and
started.

The launcher is the only writer of `STATE/overrides.json`, which doors, gateways and the director read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.director.orders import Order, Orders, next_end_s, prune, sites_of
from moonbow.world import SiteRef, World

from .census import ask_people
from .control import Answer
from .orders import Request, add_order, bring_back, read_order, remove_order, written
from .state import write_orders
from .supervisor import Keeper, Supervisor

READY_S = 120.0  # for a whole world; usually it takes 5 to 15 s
DATA_READY_S = 3_600.0  # for data nodes, which may have to receive everything first
DRAIN_S = 10.0  # for the people of a site to go elsewhere
DRAIN_LOOK_S = 0.1
WORD_S = 0.75  # for doors and director to take in the operator's word: they look every 0.25 s, Envoy needs a moment
CLOCK_S = 10.0  # between two looks at the clock

log = logging.getLogger("moonbow.launch")


class Service:
    """The operator's hand on a world.  One request is obeyed at a time; `mind_orders` must run beside."""

    def __init__(self, world: World, state: Path, supervisor: Supervisor) -> None:
        self.world = world
        self.state = state
        self.supervisor = supervisor
        self.orders = Orders()  # as they are written
        self._given = 0
        self._farewelled: set[str] = set()  # sites whose gateways were told to let everybody go
        self._stopped: set[str] = set()
        self._one_at_a_time = asyncio.Lock()
        self._changed = asyncio.Event()
        self._following: set[asyncio.Task[None]] = set()

    async def answer(self, op: str, request: Request) -> Answer:
        """Obey one request; `ConfigError` or `Refused` for what cannot be done."""
        if op == "start":  # it may wait for a sister site, which must be able to start meanwhile
            return await self.start(self.world.sites_called(str(request.get("site"))))
        async with self._one_at_a_time:
            if op == "order":
                return await self.order(request)
            if op == "undo":
                return await self.undo(request)
            if op == "kill":
                return await self.kill(self.world.sites_called(str(request.get("site"))))
            name = self.world.site(str(request.get("site"))).site.name
            drained = await self.order({**request, "kind": "drain", "target": name, "value": None})
            stopped = await self._stop(name, request) if op == "stop" else {}
            return {"site": name, **drained, **stopped}

    async def kill(self, refs: Sequence[SiteRef]) -> Answer:
        """The power is gone: SIGKILL to every process of these sites at once, and no restart until `start`."""
        names = [ref.site.name for ref in refs]
        killed = await self.supervisor.kill_sites(names)
        log.warning("killed", extra={"f": {"target": names, "processes": killed}})
        return {"sites": names, "processes": killed}

    async def start(self, refs: Sequence[SiteRef]) -> Answer:
        """Bring sites back from being killed, stopped or drained, and wait until they are ready."""
        began, names = time.monotonic(), [ref.site.name for ref in refs]
        async with self._one_at_a_time:
            keepers = [keeper for name in names for keeper in await self._restart(name)]
        await self._until_ready(keepers)
        async with self._one_at_a_time:
            for name in names:
                self._write(bring_back(self.world, self.orders, name, time.time()))
        return {"sites": names, "processes": len(keepers), "seconds": round(time.monotonic() - began, 2)}

    async def order(self, request: Request) -> Answer:
        """Obey an order (`read_order`).  A drain ends when nobody is left or after `DRAIN_S`; the rest act at once.

        With `"wait": false` it is in force at the answer, and what takes time follows.
        """
        now_s = time.time()
        order = read_order(self.world, request, f"o{self._given + 1}", now_s)
        wanted = add_order(self.orders, order, now_s)
        self._given += 1
        self._write(wanted)
        log.info("ordered", extra={"f": order._asdict()})
        if request.get("wait") is False:
            self._follow(order if order.kind == "drain" else None)
            return {"order": order._asdict()}
        moved = await self._let_go(order) if order.kind == "drain" else {}
        await self._let_back(self.orders)  # what was away by an order that this one replaces
        return {"order": order._asdict(), **moved}

    async def undo(self, request: Request) -> Answer:
        """Take an order back, and bring back into service what it kept away."""
        ident = str(request.get("id"))
        wanted = remove_order(self.orders, ident, time.time())
        gone = next(order for order in self.orders.orders if order.id == ident)
        if request.get("wait") is False:
            self._write(wanted)
            self._follow(None)
        else:
            await self._let_back(written(self.world, wanted, time.time()))
            self._write(wanted)
        log.info("order taken back", extra={"f": {**gone._asdict(), "by": str(request.get("who", ""))[:64]}})
        return {"order": gone._asdict()}

    async def mind_orders(self) -> None:
        """Let orders end when their time is up, and bring back what they kept away.

        No request is waited for, however long it takes; a clock that is set is noticed within `CLOCK_S`.
        """
        while True:
            self._changed.clear()
            self._end_orders(time.time())
            end_s = next_end_s(self.orders, now_s := time.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOCK_S if end_s is None else min(CLOCK_S, end_s - now_s)):
                    await self._changed.wait()

    def _end_orders(self, now_s: float) -> None:
        if prune(self.orders, now_s) == self.orders:
            return
        try:
            self._write(self.orders)
        except OSError as error:  # a full disk must not end the launcher: the next look tries again
            log.error("an order that has ended cannot be taken out", extra={"f": {"why": str(error)}})
        else:
            self._follow(None)

    def _follow(self, drain: Order | None) -> None:
        """What takes time, after the answer."""

        async def follow() -> None:
            async with self._one_at_a_time:
                if drain is not None and drain in self.orders.orders:
                    await self._let_go(drain)
                await self._let_back_or_say()

        task = asyncio.create_task(follow())
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _let_back_or_say(self) -> None:
        try:
            await self._let_back(self.orders)
        except ConfigError as error:
            log.error("a site did not come back after an order", extra={"f": {"why": str(error)}})

    async def _stop(self, name: str, request: Request) -> Answer:
        """End a drained site's processes in order; it is down until `start`."""
        self._stopped.add(name)
        ordered = await self.order({**request, "kind": "down", "target": name, "value": None, "for_s": None})
        await self.supervisor.stop(self.supervisor.of_site(name))
        return ordered

    async def _let_go(self, order: Order) -> Answer:
        """Send the people of a drain's sites elsewhere."""
        began, names = time.monotonic(), sites_of(self.world, order.target)
        keepers = [keeper for name in names for keeper in self.supervisor.of_site(name)]
        gateways = [keeper for keeper in keepers if keeper.spec.serves_people]
        self._farewelled.update(names)
        await asyncio.sleep(WORD_S)  # else whoever leaves would be led back here
        for keeper in gateways:
            if keeper.child is not None:
                keeper.child.send(signal.SIGUSR1)
        before = left = await self._sockets(gateways)
        while left and time.monotonic() - began < DRAIN_S:
            await asyncio.sleep(DRAIN_LOOK_S)
            left = await self._sockets(gateways)
        log.info("drained", extra={"f": {"target": order.target, "sockets_before": before, "sockets_left": left}})
        return {"before": before, "left": left, "seconds": round(time.monotonic() - began, 2)}

    async def _let_back(self, orders: Orders) -> None:
        """Bring back the sites that no order keeps away any more."""
        for name in sorted((self._farewelled | self._stopped) - {*orders.drain, *orders.down}):
            await self._revive(name)

    async def _revive(self, name: str) -> list[Keeper]:
        """Every process of a site, ready."""
        keepers = await self._restart(name)
        await self._until_ready(keepers)
        return keepers

    async def _until_ready(self, keepers: list[Keeper]) -> None:
        await self.supervisor.until_ready(DATA_READY_S, [keeper for keeper in keepers if keeper.spec.keeps_data])
        await self.supervisor.until_ready(READY_S, [keeper for keeper in keepers if not keeper.spec.late])

    async def _restart(self, name: str) -> list[Keeper]:
        """Every process of a site, started; gateways that said farewell are replaced, for they cannot take it back."""
        keepers = self.supervisor.of_site(name)
        if name in self._farewelled:
            await self.supervisor.stop([keeper for keeper in keepers if keeper.spec.serves_people])
        await self.supervisor.start(keepers)
        self._farewelled.discard(name)
        self._stopped.discard(name)
        return keepers

    async def _sockets(self, gateways: list[Keeper]) -> int:
        return sum(found.sockets for found in await asyncio.gather(*map(ask_people, gateways)) if found)

    def _write(self, orders: Orders) -> None:
        wanted = written(self.world, orders, time.time())
        write_orders(self.state, wanted)
        self.orders = wanted
        self._changed.set()
