"""A world of three regions in virtual time: the real transactions on real SQLite, the real Flow, Live and Federation;
only the network, the clock and the crashes are played.  One seed is the whole story."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import selectors
import sqlite3
from collections.abc import Callable
from typing import Any

from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home
from moonbow.federation.model import unpack_live
from moonbow.federation.process import Federation
from moonbow.gateway.flow import Flow
from moonbow.gateway.live import Session
from moonbow.stores.timeline_batch import Work, run_batch
from moonbow.stores.timeline_rows import SCHEMA, SqliteEngine, SqliteReads
from moonbow.timeline.model import Fresh
from moonbow.vault.plain import Plain

REGIONS = ("a", "b", "c")


class _NoFiles(selectors.SelectSelector):
    """A selector that never waits for files: it moves the clock instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("nothing will ever happen again")
        self.loop.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a number."""

    def __init__(self) -> None:
        selector = _NoFiles()
        selector.loop = self
        self.now = 1_000.0
        super().__init__(selector)

    def time(self) -> float:
        return self.now


class RegionStore:
    """The one coherent store of a region; survives everything."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(SCHEMA)
        self.connection.execute("INSERT INTO meta VALUES (1)")
        self.reads = SqliteReads(self.connection, region, Plain())


class ProcessStore:
    """A process's way to its region's store: batches, delays, and crashes between commit, answer and publication."""

    def __init__(self, net: Net, region: str, alive: Callable[[], bool]) -> None:
        self.net, self.region, self.alive = net, region, alive
        self.shared = net.stores[region]
        self._waiting: list[Work] = []
        self._publish: Callable[[list[Fresh], bool], None] = lambda fresh, queued: None

    def on_commit(self, publish: Callable[[list[Fresh], bool], None]) -> None:
        self._publish = publish

    def submit(self, work: Callable[..., Any], args: tuple[Any, ...], done: Callable[[Any, Any], None]) -> None:
        if not self._waiting:
            self.net.later(self._commit)
        self._waiting.append(Work(work, args, done))

    def _commit(self) -> None:
        works, self._waiting = self._waiting, []
        if not self.alive():
            return
        engine = SqliteEngine(
            self.shared.connection, self.region, Plain(), now_ms=lambda: int(self.net.loop.time() * 1000)
        )
        fresh, queued = run_batch(engine, works)
        self.net.committed(self.shared, fresh)
        self.net.later(self._answer, works, fresh, queued)

    def _answer(self, works: list[Work], fresh: list[Fresh], queued: bool) -> None:
        if self.alive():
            for work in works:
                work.done(work.result, work.error)
            self.net.later(self._tell, fresh, queued)

    def _tell(self, fresh: list[Fresh], queued: bool) -> None:
        if self.alive() and (fresh or queued):
            self._publish(fresh, queued)

    async def write(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        future: asyncio.Future[Any] = self.net.loop.create_future()

        def done(result: Any, error: Any) -> None:
            if not future.done():
                future.set_exception(error) if error else future.set_result(result)

        self.submit(lambda tx: work(tx, *args, **kwargs), (), done)
        return await future

    async def read(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.net.rng.random() < 0.3:
            await asyncio.sleep(self.net.rng.uniform(0, 0.01))
        return work(self.shared.reads, *args, **kwargs)

    read_latest = read


class ProcessBus:
    """A process's bus: live messages are lost, late, doubled and turned; requests and answers too."""

    def __init__(self, net: Net, process: Process) -> None:
        self.net, self.process = net, process

    async def publish_region(self, _subject: str, payload: bytes) -> None:
        for other in self.net.up(self.process.region):
            self._live(lambda to=other: to.heard_region(payload), other)

    async def publish(self, subject: str, payload: bytes) -> None:
        _, source, _, dest, _ = subject.split(".")
        doors = self.net.up(dest)
        if doors and not self.net.is_cut(source, dest):
            to = self.net.rng.choice(doors)
            self.net.crossing(source, dest, payload)
            self._live(lambda: to.spawn(to.federation.heard(subject, payload)), to)

    def _live(self, deliver: Callable[[], None], to: Process) -> None:
        rng = self.net.rng
        for _ in range(1 + (rng.random() < 0.1)):
            if rng.random() >= self.net.live_loss:
                self.net.later(lambda: deliver() if to.alive else None, slow=True)

    async def request(self, region: str, op: str, payload: bytes, timeout_s: float = 1.0) -> bytes:
        net, rng, source = self.net, self.net.rng, self.process.region
        answer: asyncio.Future[bytes] = net.loop.create_future()

        async def serve(to: Process) -> None:
            try:
                result: bytes | Exception = await to.federation.serve(source, op, payload)
            except Refused as error:
                result = error
            if op == "timeline.bodies" and isinstance(result, bytes):
                net.crossing_bodies(region, source, result)
            if not net.is_cut(region, source) and rng.random() > net.loss:
                net.later(lambda: None if answer.done() else _set(answer, result), slow=True)

        def deliver() -> None:
            doors = net.up(region)
            if doors and not net.is_cut(source, region):
                to = rng.choice(doors)
                to.spawn(serve(to))

        if rng.random() > net.loss:
            for _ in range(1 + (rng.random() < 0.1)):
                net.later(deliver, slow=True)
        try:
            return await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            raise Unavailable("home_unreachable", "no answer", region=region) from None


def _set(future: asyncio.Future[bytes], result: bytes | Exception) -> None:
    future.set_exception(result) if isinstance(result, Exception) else future.set_result(result)


class Process:
    """One gateway: memory only; a crash forgets it."""

    def __init__(self, net: Net, name: str) -> None:
        self.net, self.name, self.region, self.alive = net, name, name[0], True
        self.tasks: set[asyncio.Task[Any]] = set()
        self.store = ProcessStore(net, self.region, lambda: self.alive)
        self.flow = Flow(name, self.store, clock=net.loop.time)  # type: ignore[arg-type]
        self.federation = Federation(
            name,
            REGIONS,
            self.store,
            ProcessBus(net, self),
            self.flow.show,
            lambda: net.rng.random() < 0.7,  # type: ignore[arg-type]
        )
        self.federation.clock = net.loop.time
        self.flow.federation = self.federation
        self.store.on_commit(self.flow.committed)
        self.spawn(self.flow.run())
        self.spawn(self.federation.run())

    def spawn(self, work: Any) -> None:
        if not self.alive:
            work.close()
            return
        task = self.net.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if self.alive and not task.cancelled() and task.exception() is not None:
            self.net.failures.append(task.exception())

    def heard_region(self, payload: bytes) -> None:
        live = unpack_live(payload)
        if live.sender != self.name:
            self.flow.show(live)

    def crash(self) -> None:
        self.alive = False
        for task in self.tasks:
            task.cancel()


class Client:
    """One device of a person.  Knows only what it was shown."""

    numbers = itertools.count()

    def __init__(self, net: Net, person: str, name: str, rooms: list[str]) -> None:
        self.net, self.person, self.name, self.rooms = net, person, name, rooms
        self.process: Process | None = None
        self.session: Session | None = None
        self.cursors: dict[str, int] = {}
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.bodies: dict[str, str | None] = {}
        self.missing: set[str] = set()

    def connect(self) -> None:
        doors = self.net.up(home(self.person))
        if not doors:
            return
        if self.session is not None and self.process is not None and self.net.rng.random() < 0.5:
            self.process.flow.end(self.session)
        process = self.net.rng.choice(doors)
        session = Session(f"s{next(self.numbers)}", self.person, lambda frame: None)

        def send(frame: bytes) -> None:
            self.net.check_sent(home(self.person), json.loads(frame))
            self.net.later(self._take, session, frame, ordered=session)

        session.send = send
        self.process, self.session = process, session
        process.spawn(self._begin(process, session))

    async def _begin(self, process: Process, session: Session) -> None:
        cursors = {room: self.cursors.get(room, 0) for room in (*self.rooms, "inb" + self.person[3:])}
        missing = sorted(self.missing)
        early: list[bytes] = []
        send, session.send = session.send, early.append
        await process.flow.resume(session, cursors, missing)
        session.send = send
        for frame in early:
            send(frame)

        def ready() -> asyncio.Future[None]:
            future = self.net.loop.create_future()
            self.net.later(lambda: None if future.done() else future.set_result(None))
            return future

        resets = await process.flow.replay(session, cursors, missing, ready)
        self.net.law("SHOWN", not any(resets.values()), self.name, "was reset", resets)

    def _take(self, session: Session, frame: bytes) -> None:
        if session is self.session:
            self.take(json.loads(frame))

    def take(self, frame: dict[str, Any]) -> None:
        if frame["t"] == "row":
            self.net.check_shown(self, frame)
            self.cursors[frame["stream"]] = frame["seq"]
            self.rows.setdefault(frame["stream"], []).append(frame)
            if frame["kind"] == "entry":
                self._body(frame["id"], frame["state"], frame["body"])
            elif frame["kind"] == "redaction":
                self._body(frame["target"], "erased", None)
            elif frame["kind"] == "erasure":
                for row in self.rows[frame["stream"]]:
                    if row["kind"] == "entry" and row["author"] == frame["target"]:
                        self._body(row["id"], "erased", None)
        elif frame["t"] == "body":
            self._body(frame["id"], frame["state"], frame["body"])

    def _body(self, entry: str, state: str, body: dict[str, Any] | None) -> None:
        if state in ("waiting", "held"):
            if self.bodies.get(entry) is None:
                self.missing.add(entry)
            return
        self.missing.discard(entry)
        if self.bodies.get(entry) != "<erased>":
            self.bodies[entry] = body["text"] if body is not None else "<erased>"
        if body is not None:
            self.net.check_served(home(self.person), entry)


class Net:
    """Processes, links and faults; what is known for the laws only is in `stream_laws.World`."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.loop, self.rng, self.seed = loop, random.Random(seed), seed
        self.live_loss = self.rng.choice((0.0, 0.3, 1.0))
        self.loss = 0.1
        self.stores = {region: RegionStore(region) for region in REGIONS}
        self.names = [f"{region}{site}{number}" for region in REGIONS for site in (1, 2) for number in (1, 2)]
        self.processes: dict[str, Process | None] = dict.fromkeys(self.names)
        self.cuts: set[frozenset[str]] = set()
        self.failures: list[BaseException | None] = []
        self._order: dict[object, float] = {}
        loop.set_exception_handler(lambda _, context: self.failures.append(context.get("exception")))

    def time_ns(self) -> int:
        return int(self.loop.time() * 1e9)

    def later(self, work: Callable[..., Any], *args: Any, slow: bool = False, ordered: object = None) -> None:
        """Do something a moment later; calls with the same `ordered` keep their order, like bytes of one socket."""
        at = self.loop.time() + self.rng.uniform(0, 0.2 if slow and self.rng.random() < 0.2 else 0.01)
        if ordered is not None:
            at = max(at, self._order.get(ordered, 0.0) + 1e-6)
            self._order[ordered] = at
        self.loop.call_at(at, work, *args)

    def up(self, region: str) -> list[Process]:
        return [p for name, p in self.processes.items() if p is not None and name[0] == region]

    def start(self, name: str) -> None:
        if self.processes[name] is None:
            self.processes[name] = Process(self, name)

    def crash(self, name: str) -> None:
        process, self.processes[name] = self.processes[name], None
        if process is not None:
            process.crash()

    def is_cut(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self.cuts

    def law(self, name: str, holds: bool, *facts: object) -> None:
        if not holds:
            raise Broken(f"seed {self.seed}: {name}: " + " ".join(map(str, facts)))

    def committed(self, store: RegionStore, fresh: list[Fresh]) -> None: ...
    def crossing(self, source: str, dest: str, payload: bytes) -> None: ...
    def crossing_bodies(self, owner: str, caller: str, payload: bytes) -> None: ...
    def check_shown(self, client: Client, frame: dict[str, Any]) -> None: ...
    def check_sent(self, region: str, frame: dict[str, Any]) -> None: ...
    def check_served(self, region: str, entry: str) -> None: ...


class Broken(AssertionError):
    """A law does not hold."""
