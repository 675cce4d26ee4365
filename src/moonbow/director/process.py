"""The director of one site: observe doors, peers and files, judge, decide, and put the new answers in place.

Each primary site has one, and each decides for itself, from the same inputs and by the same pure functions.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from pathlib import Path

from moonbow.base.clock import to_next_beat
from moonbow.base.http import HttpServer, Page
from moonbow.wire.traffic import NewOrder
from moonbow.wire.views import SiteVerdict, SiteView, Verdicts
from moonbow.world import Ports, SiteRef, World, door_address, plane_of, site_address

from .adapters.doors import Probe, Probing, Target, Trust
from .adapters.inputs import Watched
from .adapters.launcher import Launcher
from .adapters.maps import DatabaseWatch, WatchedMap
from .adapters.orders import OrderBook
from .adapters.record import Record
from .adapters.site import OwnSite
from .adapters.views import Keys, Peers
from .algebra import USUAL
from .answers import Answers
from .atlas import compile_map
from .forecast import Forecast, follow
from .history import changes_between
from .knowledge import Knowledge
from .memory import CHANGES_MAX, Change, Memory
from .metrics import render_metrics
from .orders import Orders, next_end_s, overrides_at, parse_orders
from .pages import Facts, Pages, judge_order
from .quorum import WATCHERS_MAX
from .snapshot import Snapshot, take_snapshot
from .spill import NOTHING
from .standing import Standing, describe_standing, render_standing

SELDOM = 4  # intervals between two looks at doors that others watch
LOOK_S = 0.25  # between two looks at files and at the clock
MEASURE_S = 1.0  # between two looks into the own site
FORECAST_S = 5.0  # between two looks at load
SNAPSHOTS_MAX = 64  # whole decisions kept with their inputs, to explain what was answered then
FIRST_LOOK_S = 1.0  # how long the first answers wait for the first looks at doors
RECALLED_S_MAX = 600.0  # what is remembered from longer ago is not answered from before that
CONFIRM_S = 5.0

log = logging.getLogger("moonbow.director")


class Director:
    """One site's director: name server, watcher of doors, and its own pages.  `run` serves until it is cancelled."""

    def __init__(
        self, world: World, state: Path, ref: SiteRef, probing: Probing | None = None, map_path: Path | None = None
    ) -> None:
        rules = USUAL._replace(hold_max_s=world.director.hold_max_s)
        self.world, self.ref = world, ref
        self._home = site_address(world, ref)
        self._clock_ahead_s = time.time() - time.monotonic()
        self._record = Record(state / "sites" / ref.site.name / "director")
        recalled = self._record.recall(world)
        memory, self._confirmed_at_s = recalled or (None, 0.0)
        self.knowledge = Knowledge(world, ref, memory, rules)
        self.forecast = Forecast(world)
        self.changes: deque[Change] = deque(memory.changes if memory else (), maxlen=CHANGES_MAX)
        self._number = memory.number if memory else 0
        self._ranges = WatchedMap(state, map_path)
        self._database = DatabaseWatch(state, world.geo.database)
        self._orders = Watched(state / "overrides.json", parse_orders, Orders())
        self._read_files()
        self._wishes, self._wished_s = overrides_at(world, self._orders.value, time.time()), time.time()
        self._known = (self._ranges.value, compile_map(world, self._ranges.value))
        self._trust = Trust(state / "pki" / "ca.crt")
        self._probing = probing or Probing(world.director.probe_interval_ms / 1000)
        self._probes: Counter[tuple[str, bool]] = Counter()
        self._watching: dict[tuple[str, Probing], list[asyncio.Task[None]]] = {}
        self._looked = asyncio.Event()
        self._thinking: asyncio.Handle | None = None
        self._news = self._decide_anew = False
        self._serving = self._live = False
        self._began_s = 0.0
        self._spill = NOTHING
        self._snapshot = self._take()
        self._past = deque([self._snapshot], maxlen=SNAPSHOTS_MAX)
        plane = plane_of(world, ref.region)
        servers = {f"ns-{peer.site.name}": (site_address(world, peer),) for peer in plane}
        self.names = Answers(world, state, [self._home], Ports.DNS, self._snapshot, servers=servers)
        self._pages = Pages()
        folder = state / "sites" / ref.site.name / "director"
        self._supposing = asyncio.Lock()
        book = OrderBook(Launcher(state), folder, self._judge_order)
        self.pages = HttpServer(self._home, Ports.DIRECTOR, self._serve, book.act)
        self._site = OwnSite(world, ref, state, probers=1 + WATCHERS_MAX)
        others = tuple(peer for peer in plane if peer.site.name != ref.site.name)
        keys = Keys.load(state / "pki", ref.site.name)
        self.peers = Peers(world, ref, others, keys, self._tell, self._hear)

    async def run(self) -> None:
        """Serve until cancelled; OSError if an address is taken."""
        gc.collect()
        gc.freeze()  # the map never becomes garbage, so no collection need look at it
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.names.close)
            stack.push_async_callback(self.pages.close)
            stack.callback(self._site.close)
            self.names.bind()
            await self.pages.open()
            self._began_s = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                self._watch_doors(tasks)
                tasks.create_task(self.peers.run())
                tasks.create_task(self._measure())
                tasks.create_task(self._beat(tasks))
                tasks.create_task(self._foresee())
                tasks.create_task(self._database.run())
                if self.age_s() > RECALLED_S_MAX:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(FIRST_LOOK_S):
                            await self._looked.wait()
                await self.names.open()
                self._serving = True
                f = {"address": self._home, "port": self.names.port, "age_s": round(min(self.age_s(), 1e9), 1)}
                log.info("serving", extra={"f": f})

    @property
    def snapshot(self) -> Snapshot:
        """What is served now."""
        return self._snapshot

    def age_s(self) -> float:
        """How old the health is that is answered from: 0 while it is live, endless if nothing was ever known."""
        if self._live:
            return 0.0
        return max(0.0, time.time() - self._confirmed_at_s) if self._confirmed_at_s else float("inf")

    def _now(self) -> float:
        """Unix time at our start, and from there on a clock that nobody sets."""
        return self._clock_ahead_s + time.monotonic()

    # -- what is observed ------------------------------------------------------------------------------------------

    def _watch_doors(self, tasks: asyncio.TaskGroup) -> None:
        """One task for each door that is ours to watch; those of directors that fell silent among them.

        The own site's doors are looked at seldom while others watch them: no look of ours counts then.
        """
        watched, own = self.knowledge.watched(self._now()), self.ref.site.name
        wanted = dict.fromkeys(watched, self._probing)
        wanted.setdefault(own, self._probing._replace(interval_s=self._probing.interval_s * SELDOM))
        if wanted.items() == self._watching.keys():
            return
        for stale in self._watching.keys() - wanted.items():
            for task in self._watching.pop(stale):
                task.cancel()
        self.knowledge.watch(watched)
        for name, probing in wanted.items() - self._watching.keys():
            ref = self.world.site(name)
            probes = [self._probe(ref, number, probing) for number in range(ref.site.doors)]
            self._watching[name, probing] = [tasks.create_task(probe.run()) for probe in probes]

    def _probe(self, ref: SiteRef, number: int, probing: Probing) -> Probe:
        target = Target(door_address(self.world, ref, number), Ports.DOOR, self.world.domain, self._home)
        return Probe(target, self._trust, probing, self._reporter(ref.site.name, number))

    def _reporter(self, site: str, number: int) -> Callable[[bool, str], None]:
        def report(passed: bool, why: str) -> None:
            self._probes[site, passed] += 1
            if self.knowledge.look(site, number, passed, why, self._now()):
                self._news = True
                self._think_soon()
                if self.knowledge.has_looked():
                    self._looked.set()

        return report

    def _hear(self, observer: str, view: SiteView) -> None:
        if self.knowledge.hear(observer, view, self._now()):
            self._think_soon()

    def _tell(self) -> SiteView:
        snapshot = self._snapshot
        return self.knowledge.view(snapshot.map.digest, self.forecast.told(), snapshot.spill.moved)

    async def _measure(self) -> None:
        """Look into the own site; the load goes out with the next view, a trouble at once."""
        while True:
            await self._site.read()
            if self.knowledge.measure(self._site.load, self._site.trouble):
                self._news = True
                self._think_soon()
            await asyncio.sleep(to_next_beat(MEASURE_S, asyncio.get_running_loop().time()))

    async def _beat(self, tasks: asyncio.TaskGroup) -> None:
        """Files that change, orders that end, views that grow stale, directors that fall silent."""
        confirmed_s = 0.0
        while True:
            await asyncio.sleep(to_next_beat(LOOK_S, asyncio.get_running_loop().time()))
            self.names.refresh()
            if self._read_files() or self._has_ended():
                self._wished_s = time.time()
                self._wishes = overrides_at(self.world, self._orders.value, self._wished_s)
                if self._ranges.value is not self._known[0]:
                    ranges = self._ranges.value
                    self._known = (ranges, await asyncio.to_thread(compile_map, self.world, ranges))
                    self._spill = NOTHING  # of cells that have other numbers now
                    self.forecast.start_anew()
                self._decide_anew = True
            self._watch_doors(tasks)
            self._think()
            if self._live and time.monotonic() - confirmed_s > CONFIRM_S:
                confirmed_s = time.monotonic()
                self._record.confirm()

    def _has_ended(self) -> bool:
        """Whether an order has come to its end since orders were looked at."""
        ends_s = next_end_s(self._orders.value, self._wished_s)
        return ends_s is not None and time.time() >= ends_s

    async def _foresee(self) -> None:
        """Every few seconds: what load to expect of each cell, and whether slices must move because of it."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(to_next_beat(FORECAST_S, loop.time()))
            snapshot, loads = self._snapshot, self.knowledge.judged.loads
            self.forecast.count(snapshot.map, self.names.counts().cells, FORECAST_S)
            present = self.knowledge.present(self._now())
            said = [view for name, view in self.knowledge.said.items() if name in present]
            demand = self.forecast.foresee(snapshot.map, said, loads, snapshot.plans["door"], FORECAST_S)
            if demand is not None or snapshot.demand is not None:
                self._decide()

    def _read_files(self) -> bool:
        changed = False
        for watched in (self._orders, self._ranges):
            if watched.poll():
                changed = True
                if watched.trouble:
                    log.warning("input", extra={"f": {"file": watched.path.name, "trouble": watched.trouble}})
        return changed

    # -- what follows from it --------------------------------------------------------------------------------------

    def _think_soon(self) -> None:
        """Once for all that is noticed at the same moment."""
        if self._thinking is None:
            self._thinking = asyncio.get_running_loop().call_soon(self._think)

    def _think(self) -> None:
        if self._thinking is not None:
            self._thinking.cancel()
            self._thinking = None
        if self._news:
            self._news = False
            self.peers.push()
        if not self._looked.is_set() and time.monotonic() < self._began_s + FIRST_LOOK_S:
            return  # the first looks at some doors say nothing of all of them
        changed = self.knowledge.judge(self._now())
        self._live = self._live or (self.knowledge.has_looked() and not self.knowledge.judged.frozen)
        if changed or self._decide_anew:
            self._decide_anew = False
            self._decide()

    def _take(self) -> Snapshot:
        self._number += 1
        health, why = dict(self.knowledge.judged.sites), self.knowledge.judged.why
        now_s, own = time.time(), self._spill
        spilled = follow(self._known[1], self.knowledge.leader(self._now()), own, now_s)
        ranges, compiled = self._known
        return take_snapshot(
            self.world,
            ranges,
            compiled,
            health,
            self._wishes,
            self._number,
            now_s,
            demand=self.forecast.demand,
            spilled=spilled,
            frozen=why,
        )

    def _decide(self) -> None:
        """Take a new snapshot, answer from it at once, and write down what changed."""
        before, after = self._snapshot, self._take()
        self._snapshot, self._spill = after, after.spill
        if before.digest != after.digest or before.verdicts != after.verdicts:
            self.names.serve(after)
        words = changes_between(before, after)
        if words:
            self._past.append(after)
            self.changes.append(Change(after.number, after.changed_at_s, after.digest, words))
            log.info("decided", extra={"f": {"snapshot": after.number, "digest": after.digest, "changes": words}})
        judged = self.knowledge.judged
        sites = {name: SiteVerdict(verdict.trouble, verdict.why) for name, verdict in after.verdicts.items()}
        drain, down = tuple(sorted(self._wishes.drain)), tuple(sorted(self._wishes.down))
        verdicts = Verdicts(after.number, after.changed_at_s, judged.frozen, after.digest, drain, down, sites)
        self._record.write(
            Memory(self.world.name, after.number, after.changed_at_s, dict(after.health), tuple(self.changes)), verdicts
        )

    # -- pages -----------------------------------------------------------------------------------------------------

    def standing(self) -> Standing:
        """What this director thinks of its own knowledge."""
        return describe_standing(self.knowledge, self._snapshot, self._now(), self.age_s(), tuple(self.changes))

    def _serve(self, path: str, query: dict[str, str]) -> Page | Awaitable[Page]:
        if path == "/healthz":
            return Page(200, "text/plain", b"ok\n") if self._serving else Page(503, "text/plain", b"starting\n")
        if path == "/standing":
            return Page(200, "application/json", self.standing().encode())
        if path == "/metrics":
            stale = {"overrides": bool(self._orders.trouble), "addresses": bool(self._ranges.trouble)}
            stale |= {"database": bool(self._database.trouble), "record": bool(self._record.trouble)}
            page = render_metrics(self._snapshot, self.names.counts(), self._probes, stale)
            return Page(200, "text/plain; version=0.0.4", page + render_standing(self.standing(), self.peers.counts))
        if path == "/simulate":
            return self._suppose(path, query)
        return Page(*self._pages.answer(self._facts(), path, query))

    async def _suppose(self, path: str, query: dict[str, str]) -> Page:
        """What if; it may take a second, so it is done beside the loop, one at a time."""
        async with self._supposing:
            return Page(*await asyncio.to_thread(self._pages.answer, self._facts(), path, query))

    async def _judge_order(self, wanted: NewOrder) -> None:
        async with self._supposing:
            await asyncio.to_thread(judge_order, self._facts(), wanted)

    def _facts(self) -> Facts:
        now, asked, past = time.time(), self.forecast.asked, tuple(self._past)
        return Facts(self._snapshot, self.standing(), self._orders.value, now, asked, past)
