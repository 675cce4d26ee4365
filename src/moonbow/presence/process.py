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

from moonbow.base.errors import Broken, Refused, Unavailable
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

from .core import Core
from .interest import INTEREST_S, REFRESH_S, Following
from .interest import Interest as InterestBook
from .leases import BEAT_S
from .policy import seen_by_others

log = logging.getLogger("moonbow.presence")

FLUSH_S = 0.05  # changes are gathered for this long
RETRY_S = 2.0  # after a region did not answer
LEAD_AFTER_S = 2 * BEAT_S  # a gateway that begins must have heard the others before it speaks for the region
SETTLE_S = 0.5  # a new gateway waits this long for what the others know
STATES_OP = "presence.states"
WHAT = "presence"  # last word of the subject of live changes to another region
DEVICE_STATES = ("online", "away")
WISH_STATES = ("online", "away", "busy", "dnd", "invisible")

_encode = msgspec.msgpack.Encoder().encode
_gossip = msgspec.msgpack.Decoder(Gossip)
_ask = msgspec.msgpack.Decoder(AskStates)
_states = msgspec.msgpack.Decoder(States)


class Presence:
    """Who is here.  Everything is in memory; the region's gateways keep it for each other."""

    def __init__(self, world: World, region: str, bus: Bus, incarnation: str) -> None:
        if region not in world.regions:
            raise Broken(f"the world has no region {region!r}")
        self._region, self._bus = region, bus
        self._began_at = time.monotonic()
        self._core = Core(incarnation, time.monotonic())
        self._interest = InterestBook()
        self._following = Following()
        self._callbacks: list[Callable[[list[values.Presence]], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._dirty = asyncio.Event()
        self._leads = False
        self._reached: dict[str, bool] = {}
        self._refresh_at: dict[str, float] = {}
        registry = bus.registry
        self._sessions = Gauge("moonbow_presence_sessions", "Sessions at this gateway", registry=registry)
        self._gateways = Gauge("moonbow_presence_gateways", "Live gateways of the region", registry=registry)
        self._gossiped = Counter("moonbow_presence_gossip", "Messages in the region", ["direction"], registry=registry)
        self._changes = Counter("moonbow_presence_changes", "People whose presence changed", registry=registry)
        self._bad = Counter("moonbow_presence_unreadable", "Messages that could not be read", registry=registry)

    # Life.

    async def start(self) -> None:
        """Listen, ask the other gateways what they know, and begin to beat."""
        await self._bus.listen_region(subjects.LEASES, self._on_gossip)
        await self._bus.listen(subjects.live_heard(self._region, WHAT), self._on_states)
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
        self._following.watch(session, ())
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
        self._check_count(people)
        foreign = [person for person in people if home(person) != self._region]
        self._following.asked(foreign, time.monotonic())
        return await self._states(people, foreign)

    async def watch(self, session: str, people: Sequence[str]) -> list[values.Presence]:
        """As `states`; and changes of these people come through `on_change` until the session watches or ends."""
        self._check_count(people)
        foreign = [person for person in people if home(person) != self._region]
        self._following.watch(session, foreign)
        return await self._states(people, foreign)

    def own(self, person: str) -> values.Presence:
        """A person of this region as their own devices show them: `invisible` is said."""
        return _presence(self._core.own(person))

    def on_change(self, callback: Callable[[list[values.Presence]], None]) -> None:
        """Call `callback` with everybody who is seen differently now, here and among those followed elsewhere.

        Somebody who went from offline to invisible is in it too, as offline: `own` tells their own devices more.
        """
        self._callbacks.append(callback)

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

    def _check_count(self, people: Sequence[str]) -> None:
        if len(people) > ASK_PEOPLE_MAX:
            raise Refused("too_many", f"at most {ASK_PEOPLE_MAX} people", place="people")

    async def _states(self, people: Iterable[str], foreign: Iterable[str]) -> list[values.Presence]:
        by_region: dict[str, list[str]] = {}
        for person in foreign:
            if self._following.known(person) is None:
                by_region.setdefault(home(person), []).append(person)
        if by_region:
            await asyncio.gather(*(self._fetch(region, some) for region, some in by_region.items()))
        return [_presence(self._state(person)) for person in people]

    def _state(self, person: str) -> PersonState:
        if home(person) == self._region:
            return seen_by_others(self._core.own(person))
        return self._following.known(person) or PersonState(person, "unknown")

    async def _fetch(self, region: str, people: Sequence[str]) -> None:
        """Ask `region`; it tells of changes from then on.  If it does not answer, what is known stays for now."""
        self._refresh_at.setdefault(region, time.monotonic() + REFRESH_S)
        for at in range(0, len(people), ASK_PEOPLE_MAX):
            asked_at = time.monotonic()
            some = tuple(people[at : at + ASK_PEOPLE_MAX])
            try:
                answer = await self._bus.request(region, STATES_OP, _encode(AskStates(some)))
                states = _states.decode(answer).states
            except (Unavailable, Refused, msgspec.MsgspecError):
                self._refresh_at[region] = time.monotonic() + RETRY_S
                return
            self._tell(self._following.heard(region, states, time.monotonic(), asked_at))

    async def _beating(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self._flush()  # a beat tells only what was said before it
            await self._say(self._core.tick(time.monotonic(), _now_ms(), self._bus.connected))
            await self._flush()
            self._gateways.set(len(self.live_gateways()))
            self._sessions.set(len(self._core.leases.gateways[self._core.me].devices))
            await self._lead()
            self._follow()

    async def _flushing(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(FLUSH_S)
            self._dirty.clear()
            await self._flush()

    async def _flush(self) -> None:
        said, changed = self._core.flush(time.monotonic())
        await self._say(said)
        if not changed:
            return
        seen = [seen_by_others(state) for state in changed]
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

    def _follow(self) -> None:
        """Ask again before interest runs out; say `unknown` of a region that went silent, ask when it is back."""
        now = time.monotonic()
        self._following.expire(now)
        for region, people in self._following.by_region().items():
            reached = self._bus.reachable(region)
            if not reached and self._reached.get(region, True):
                self._tell(self._following.silent(region, now))
            back = reached and not self._reached.get(region, True)
            self._reached[region] = reached
            if reached and (back or now >= self._refresh_at.get(region, 0.0)):
                self._refresh_at[region] = now + REFRESH_S
                self._spawn(self._fetch(region, people))

    def _tell(self, changed: list[PersonState]) -> None:
        if not changed:
            return
        self._changes.inc(len(changed))
        shown = [_presence(state) for state in changed]
        for callback in self._callbacks:
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

    def _on_states(self, subject: str, payload: bytes) -> None:
        try:
            states = _states.decode(payload).states
        except msgspec.MsgspecError:
            self._bad.inc()
            return
        now = time.monotonic()
        self._tell(self._following.heard(subject.split(".", 2)[1], states, now, now))

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
