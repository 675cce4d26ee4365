"""Presence at one gateway: gossip with the region's other gateways, and with the regions that have people in common."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from prometheus_client import Counter, Gauge

from moonbow.base.clock import to_next_beat
from moonbow.base.errors import Broken, Refused
from moonbow.base.ids import home, parse_id
from moonbow.base.limits import STATUS_CHARS_MAX
from moonbow.bus import Bus
from moonbow.wire import subjects, values
from moonbow.wire.presence import (
    ASK_PEOPLE_MAX,
    AskStates,
    DeviceState,
    Gossip,
    Interest,
    PersonState,
    States,
    WishState,
)
from moonbow.world import World

from .abroad import STATES_OP, WHAT, Abroad
from .core import Core
from .interest import INTEREST_S
from .interest import Interest as InterestBook
from .leases import BEAT_S
from .policy import seen_by_others

log = logging.getLogger("moonbow.presence")

Callback = Callable[[list[values.Presence]], None]

FLUSH_S = 0.05  # changes are gathered for this long
LEAD_AFTER_S = 2 * BEAT_S  # a gateway that begins must have heard the others before it speaks for the region
SETTLE_S = 1.0  # a new gateway waits at most this long for what the others know
DEVICE_STATES = ("online", "away")
WISH_STATES = ("online", "away", "busy", "dnd", "invisible")

_encode = msgspec.msgpack.Encoder().encode
_gossip = msgspec.msgpack.Decoder(Gossip)
_ask = msgspec.msgpack.Decoder(AskStates)


class Presence:
    """Who is here.  Everything is in memory; the region's gateways keep it for each other."""

    def __init__(self, world: World, region: str, bus: Bus, incarnation: str) -> None:
        if region not in world.regions:
            raise Broken(f"the world has no region {region!r}")
        self._region, self._bus = region, bus
        self._began_at = time.monotonic()
        self._core = Core(incarnation, time.monotonic())
        self._interest = InterestBook()
        self._callbacks: list[Callback] = []
        self._own_callbacks: list[Callback] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._dirty = asyncio.Event()
        self._leads = False
        registry = bus.registry
        self._sessions = Gauge("moonbow_presence_sessions", "Sessions at this gateway", registry=registry)
        self._gateways = Gauge("moonbow_presence_gateways", "Live gateways of the region", registry=registry)
        self._gossiped = Counter("moonbow_presence_gossip", "Messages in the region", ["direction"], registry=registry)
        self._changes = Counter("moonbow_presence_changes", "People whose presence changed", registry=registry)
        self._bad = Counter("moonbow_presence_unreadable", "Messages that could not be read", registry=registry)
        self._abroad = Abroad(region, bus, self._tell, self._spawn, self._bad.inc)

    # Life.

    async def start(self) -> None:
        """Listen, ask the other gateways what they know, and begin to beat."""
        await self._bus.listen_region(subjects.LEASES, self._on_gossip)
        await self._abroad.listen()
        await self._say(self._core.begin())
        self._spawn(self._beating())
        self._spawn(self._flushing())
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:  # others answer in one or two of their flushes
            await asyncio.sleep(2 * FLUSH_S)
            if len(self._core.leases.gateways) > 1 and not self._core.leases.behind():
                break

    async def close(self) -> None:
        """Say goodbye; the people here are expected at another gateway within the grace time."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._say(self._core.end())

    # What the gateway tells.

    def connected(self, person: str, session: str, state: str = "online") -> None:
        """A session of a person of this region began here."""
        if home(person) != self._region:
            raise Broken("presence rests only in the person's home region")
        self._core.connected(person, session, _device_state(state), _now_ms())
        self._dirty.set()

    def changed(self, session: str, state: str) -> None:
        """The session's device is in use (`online`) or idle (`away`)."""
        self._core.changed(session, _device_state(state), _now_ms())
        self._dirty.set()

    def disconnected(self, session: str, lost: bool = False) -> None:
        """The session ended.  `lost`: its connection broke; shown as gone only if nothing replaces it in 6 s."""
        self._core.disconnected(session, lost, time.monotonic())
        self._abroad.following.watch(session, ())
        self._dirty.set()

    def set_wish(self, person: str, state: str, text: str) -> None:
        """How the person wants to be seen; `online` leaves it to the devices."""
        if home(person) != self._region:
            raise Broken("presence rests only in the person's home region")
        if state not in WISH_STATES:
            raise Refused("state_unknown", f"a state is one of {', '.join(WISH_STATES)}", place="state")
        if len(text) > STATUS_CHARS_MAX:
            raise Refused("text_too_long", f"at most {STATUS_CHARS_MAX} characters", place="text")
        self._core.wish(person, msgspec.convert(state, WishState), text, _now_ms())
        self._dirty.set()

    # What the gateway asks.

    async def states(self, people: Sequence[str]) -> list[values.Presence]:
        """People as others see them, in the order given; those of other regions are followed for some minutes."""
        foreign = self._foreign(people)
        self._abroad.following.asked(foreign, time.monotonic())
        return await self._states(people, foreign)

    async def watch(self, session: str, people: Sequence[str]) -> list[values.Presence]:
        """As `states`; and changes of these people come through `on_change` until the session watches or ends."""
        foreign = self._foreign(people)
        self._abroad.following.watch(session, foreign)
        return await self._states(people, foreign)

    def own(self, person: str) -> values.Presence:
        """A person of this region as their own devices show them: `invisible` is said."""
        return _presence(self._core.own(person))

    def on_change(self, callback: Callback) -> None:
        """Call `callback` with everybody whom others see differently now, here and among those followed elsewhere."""
        self._callbacks.append(callback)

    def on_own_change(self, callback: Callback) -> None:
        """Call `callback` with everybody of this region who sees themselves differently: for their own devices only."""
        self._own_callbacks.append(callback)

    def live_gateways(self) -> list[str]:
        """The incarnations of the region's live gateways, this one's among them, sorted."""
        return self._core.leases.live()

    async def serve(self, caller: str, op: str, payload: bytes) -> bytes:
        """Answer `presence.states` of another region, which hears of these people from now on for a while."""
        if op != STATES_OP:
            raise Refused("operation_unknown", "presence does not know the operation", status=404)
        try:
            people = _ask.decode(payload).people
        except msgspec.MsgspecError as error:
            raise Refused("malformed", f"up to {ASK_PEOPLE_MAX} ids are wanted", place="people") from error
        for person in people:
            if home(parse_id(person, "usr", place="people")) != self._region:
                raise Refused("not_here", "the person belongs to another region", status=404, place="people")
        now = time.monotonic()
        if caller != self._region:
            self._interest.add(caller, people, now + INTEREST_S, now)
            await self._say([Interest(caller, people, INTEREST_S)])
        return _encode(States(tuple(self._core.seen(people))))

    # Inside.

    async def _states(self, people: Sequence[str], foreign: Sequence[str]) -> list[values.Presence]:
        await self._abroad.learn(foreign)
        return [_presence(self._state(person)) for person in people]

    def _state(self, person: str) -> PersonState:
        if home(person) == self._region:
            return seen_by_others(self._core.own(person))
        return self._abroad.state(person)

    def _foreign(self, people: Sequence[str]) -> list[str]:
        if len(people) > ASK_PEOPLE_MAX:
            raise Refused("too_many", f"at most {ASK_PEOPLE_MAX} people", place="people")
        return [person for person in people if home(person) != self._region]

    async def _beating(self) -> None:
        while True:
            await asyncio.sleep(to_next_beat(BEAT_S, time.monotonic()))
            await self._flush()  # a beat tells only what was said before it
            await self._say(self._core.tick(time.monotonic(), _now_ms(), self._bus.connected))
            await self._flush()
            self._gateways.set(len(self.live_gateways()))
            self._sessions.set(len(self._core.leases.gateways[self._core.me].devices))
            await self._lead()
            self._abroad.tick(time.monotonic())

    async def _flushing(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(FLUSH_S)
            self._dirty.clear()
            await self._flush()
            if self._core.table_wanted:
                self._dirty.set()

    async def _flush(self) -> None:
        said, own, seen = self._core.flush(time.monotonic())
        await self._say(said)
        self._call(self._own_callbacks, own)
        if not seen:
            return
        self._tell(seen)
        if self._leads:
            wanted = self._interest.of((state.person for state in seen), time.monotonic())
            await self._tell_regions(wanted)

    async def _lead(self) -> None:
        """The first of the live gateways tells other regions; one that begins to lead tells all they want to hear."""
        now = time.monotonic()
        self._interest.expire(now)
        leads = self.live_gateways()[0] == self._core.me
        leads = leads and not self._core.leases.behind() and now - self._began_at >= LEAD_AFTER_S
        if leads and not self._leads:
            await self._tell_regions(self._interest.all(now))
        self._leads = leads

    async def _tell_regions(self, wanted: dict[str, list[str]]) -> None:
        for region, people in wanted.items():
            for at in range(0, len(people), ASK_PEOPLE_MAX):
                states = States(tuple(self._core.seen(people[at : at + ASK_PEOPLE_MAX])))
                await self._bus.publish(subjects.live_to(self._region, region, WHAT), _encode(states))

    def _tell(self, changed: list[PersonState]) -> None:
        self._changes.inc(len(changed))
        self._call(self._callbacks, changed)

    def _call(self, callbacks: list[Callback], changed: list[PersonState]) -> None:
        shown = [_presence(state) for state in changed]
        for callback in callbacks if shown else ():
            try:
                callback(shown)
            except Exception:  # a listener's fault must not stop our beats: others would take us for dead
                log.exception("listener_failed")

    async def _say(self, messages: Iterable[Gossip]) -> None:
        for message in messages:
            self._gossiped.labels("sent").inc()
            await self._bus.publish_region(subjects.LEASES, _encode(message))

    async def _on_gossip(self, _subject: str, payload: bytes) -> None:
        try:
            message = _gossip.decode(payload)
        except msgspec.MsgspecError:
            self._bad.inc()
            return
        self._gossiped.labels("heard").inc()
        now = time.monotonic()
        if isinstance(message, Interest):
            with contextlib.suppress(Refused):  # whoever asked was told
                new = self._interest.add(message.region, message.people, now + message.for_s, now)
                if self._leads and new:  # what changed between the answer and now
                    await self._tell_regions({message.region: new})
            return
        await self._say(self._core.heard(message, now, _now_ms()))
        self._dirty.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("presence_failed", exc_info=task.exception())


def _device_state(state: str) -> DeviceState:
    if state not in DEVICE_STATES:
        raise Refused("state_unknown", f"a device is one of {', '.join(DEVICE_STATES)}", place="state")
    return "online" if state == "online" else "away"


def _presence(state: PersonState) -> values.Presence:
    since = None if state.since is None else datetime.fromtimestamp(state.since / 1000, UTC)
    text = since.isoformat(timespec="milliseconds").replace("+00:00", "Z") if since else None
    return values.Presence(person=state.person, state=state.state, text=state.text, since=text)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
