"""The bus as the other rooms see it: live messages in the region and across, requests to other regions, who answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from prometheus_client import CollectorRegistry

from moonbow.base.clock import to_next_beat
from moonbow.base.errors import Broken, Refused, Unavailable
from moonbow.base.limits import RPC_TIMEOUT_S
from moonbow.wire import subjects
from moonbow.world import SiteRef, World

from . import breaker as breakers
from .answers import OK, decode_answer, encode_problem
from .connection import Connection, Handler
from .metrics import BREAKER_VALUE, Metrics
from .policy import PAYLOAD_BYTES_MAX, Server, peers, server_urls, user_files

log = logging.getLogger("moonbow.bus")

Serve = Callable[[str, str, bytes], Awaitable[bytes]]

BEAT_S = 1.0
STOPPED_S = 2.5  # between two beats of our own: this process was stopped, or the machine is overloaded
BEAT = "beat"
PING_OP = "bus.ping"
SERVING_MAX = 512  # requests of other regions served at one time by one process
SERVE_S_MAX = 5.0
WITHDRAW_S = 1.0
AGAIN_S = 0.1  # until a request that nobody took is sent once more
REQUESTS_MAX = 4_096  # of this process, on their way at one time


class Bus:
    """Two connections, one in the region's own account and one in the account of what may cross."""

    def __init__(self, world: World, ref: SiteRef, registry: CollectorRegistry) -> None:
        self.region = ref.region
        self.registry = registry
        self._metrics = Metrics(registry)
        self._r = Connection("R", self._metrics, self._report, echo=False)
        self._x = Connection("X", self._metrics, self._report)
        now = time.monotonic()
        self._breakers = {region: breakers.Breaker(heard_at=now) for region in peers(world, ref.region)}
        self._troubled: list[Callable[[str], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._requesting = 0
        self._handler: Serve | None = None

    @classmethod
    async def connect(
        cls, world: World, state: Path, ref: SiteRef, name: str, registry: CollectorRegistry | None = None
    ) -> Bus:
        """Connect to the site's own servers, or a sister's; `Unavailable("bus_down")` if none answers in 10 s."""
        bus = cls(world, ref, registry or CollectorRegistry())
        ways: tuple[tuple[Connection, Server, str], ...] = ((bus._r, "bus", "r"), (bus._x, "border", "x"))
        try:
            for connection, server, account in ways:
                urls = server_urls(world, ref, server)
                await connection.open(urls, user_files(state, ref.region, account), name, ref.region)
            await bus._x.listen(subjects.shared("*", BEAT), bus._on_beat)
        except BaseException:
            await bus.close()
            raise
        bus._spawn(bus._beating())
        return bus

    @property
    def connected(self) -> bool:
        """Whether both connections stand."""
        return self._r.connected and self._x.connected

    async def publish_region(self, subject: str, payload: bytes) -> None:
        """To everybody else in this region who listens; nobody outside it can, and not this bus itself."""
        await self._r.publish(subject, payload)

    async def listen_region(self, subject: str, handler: Handler, queue: str = "") -> None:
        """Hear `subject` in this region; with `queue`, one of its members hears each message."""
        await self._r.listen(subject, handler, queue)

    async def publish(self, subject: str, payload: bytes) -> None:
        """To another region or to all, as this region (see `wire.subjects`)."""
        await self._x.publish(subject, payload)

    async def listen(self, subject: str, handler: Handler, queue: str = "") -> None:
        """Hear what other regions send to this one or to all."""
        await self._x.listen(subject, handler, queue)

    async def request(self, region: str, op: str, payload: bytes, timeout_s: float = RPC_TIMEOUT_S) -> bytes:
        """The answer of `region` to `op`.

        Raises what its handler raised (`Refused`, `Unavailable`), or `Unavailable("home_unreachable")`: after
        `timeout_s` at first, at once when the region is known to be silent.
        """
        if region != self.region and not self.reachable(region):
            raise self._unreachable(region, "fast")
        if not self._x.connected:
            raise self._unreachable(region, "disconnected")
        if self._requesting >= REQUESTS_MAX:
            raise Unavailable("busy", f"{REQUESTS_MAX} requests to other regions are on their way", region=region)
        self._requesting += 1
        try:
            return decode_answer(await self._ask(region, op, payload, timeout_s))
        finally:
            self._requesting -= 1

    async def serve(self, handler: Serve) -> None:
        """Answer the requests of all regions with `handler(caller, op, payload)`, sharing them with one's sisters.

        One subscription for all: the server allows one response per message, and a second subscription of the same
        connection that heard the same message would use it up.
        """
        if self._handler is not None:
            raise Broken("this bus serves already")
        self._handler = handler
        await self._x.listen_raw(subjects.rpc_served(self.region), self._on_request, "rpc")

    def on_trouble(self, callback: Callable[[str], None]) -> None:
        """Call `callback(reason)` whenever live messages may have been lost."""
        self._troubled.append(callback)

    def reachable(self, region: str) -> bool:
        """Whether a request to `region` is worth trying."""
        if region == self.region:
            return True
        found = self._breakers.get(region)
        return found is not None and breakers.may_call(found, time.monotonic())

    def silent_since(self, region: str) -> float | None:
        """Since when (seconds of the epoch) nothing was heard of `region`, if it is out of reach."""
        found = self._breakers.get(region)
        if found is None or self.reachable(region):
            return None
        since = found.heard_at if found.since is None else found.since
        return time.time() - (time.monotonic() - since)

    async def withdraw(self) -> None:
        """Leave to the sisters what is shared with them: nothing new comes, and what came is answered; 1 s at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WITHDRAW_S):
                await self._x.withdraw()
                await asyncio.gather(*self._serving, return_exceptions=True)

    async def close(self) -> None:
        """End what is being served and both connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._r.close()
        await self._x.close()

    async def _ask(self, region: str, op: str, payload: bytes, timeout_s: float) -> bytes:
        subject = subjects.rpc(region, self.region, op)
        try:
            try:
                frame = await self._x.request(subject, payload, timeout_s)
            except NoRespondersError:  # those who answer may be about to say that they do, or to leave to a sister
                if timeout_s <= AGAIN_S:
                    raise
                await asyncio.sleep(AGAIN_S)
                frame = await self._x.request(subject, payload, timeout_s - AGAIN_S)
        except (NatsError, TimeoutError) as error:
            self._note(region, breakers.failed)
            raise self._unreachable(region, "none" if isinstance(error, NoRespondersError) else "timeout") from error
        self._note(region, breakers.answered)
        self._metrics.requests.labels(region, "answered").inc()
        return frame

    def _unreachable(self, region: str, outcome: str) -> Unavailable:
        known = region if region in self._breakers or region == self.region else "other"
        self._metrics.requests.labels(known, outcome).inc()
        return Unavailable("home_unreachable", f"region {region} does not answer", region=region)

    def _note(self, region: str, change: Callable[[breakers.Breaker, float], breakers.Breaker]) -> None:
        """Move the breaker of a region; a region that is back may have said things we did not hear."""
        before = self._breakers.get(region)
        if before is None:
            return
        now = time.monotonic()
        silent = breakers.ticked(before, now)
        after = self._breakers[region] = change(silent, now)
        self._metrics.breaker.labels(region).set(BREAKER_VALUE[after.state])
        if before.state == "closed" and "open" in (silent.state, after.state):
            reason = after.reason or silent.reason
            log.warning("region_silent", extra={"f": {"region": region, "reason": reason}})
        if after.state == "closed" and silent.state != "closed":
            log.info("region_back", extra={"f": {"region": region}})
            self._report(f"region {region} was silent")

    def _report(self, reason: str) -> None:
        for callback in self._troubled:
            callback(reason)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _beating(self) -> None:
        ticked_at = time.monotonic()
        while True:
            now = time.monotonic()
            if now - ticked_at > STOPPED_S:
                self._breakers = {name: breakers.forgiven(found, now) for name, found in self._breakers.items()}
            ticked_at = now
            await self._x.publish(subjects.shared(self.region, BEAT), b"")
            for region in self._breakers:
                self._note(region, breakers.ticked)
                if breakers.probe_due(self._breakers[region], time.monotonic()):
                    self._note(region, breakers.probing)
                    self._spawn(self._probe(region))
            await asyncio.sleep(to_next_beat(BEAT_S, time.monotonic()))

    async def _probe(self, region: str) -> None:
        with contextlib.suppress(Unavailable):
            await self._ask(region, PING_OP, b"", RPC_TIMEOUT_S)

    def _on_beat(self, subject: str, _payload: bytes) -> None:
        self._note(subject.split(".", 2)[1], breakers.beat)

    async def _on_request(self, message: Msg) -> None:
        _, _, _, caller, op = message.subject.split(".", 4)
        if op == PING_OP:
            await self._x.publish(message.reply, OK)
            return
        if len(self._serving) >= SERVING_MAX:
            busy = Unavailable("busy", "too many requests are being served", region=self.region)
            await self._x.publish(message.reply, encode_problem(busy))
            return
        task = self._spawn(self._answer(caller, op, message))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _answer(self, caller: str, op: str, message: Msg) -> None:
        assert self._handler is not None
        try:
            frame = OK + await asyncio.wait_for(self._handler(caller, op, message.data), SERVE_S_MAX)
            if len(frame) > PAYLOAD_BYTES_MAX:
                raise Broken(f"an answer of {len(frame)} bytes is more than the bus carries")
        except (Refused, Unavailable) as error:
            frame = encode_problem(error)
        except Exception:
            self._metrics.errors.labels("X", "handler").inc()
            log.exception("request_failed", extra={"f": {"op": op, "caller": caller}})
            frame = encode_problem(Unavailable("failed", "the request failed at its home", region=self.region))
        await self._x.publish(message.reply, frame)
