"""Who is here in one region, as one gateway knows it: local events and gossip in, gossip and changed people out.

Sans I/O.  `now` is seconds of a monotonic clock; `now_ms` milliseconds of the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from moonbow.base.errors import Refused
from moonbow.wire.presence import (
    NAME_CHARS_MAX,
    Ask,
    Beat,
    Bye,
    Delta,
    Device,
    DeviceState,
    Gossip,
    PersonState,
    Table,
    Wish,
    Wishes,
    WishState,
)

from .leases import Leases
from .policy import effective_devices, seen_by_others, seen_by_self
from .wishes import WishBook, is_normal, pages

DEAF_S = 2.5  # without a tick: we were stopped, and must not take others for dead
TABLE_EVERY_S = 0.2  # at most, of our own
FORGET_EVERY_TICKS = 60


class Flushed(NamedTuple):
    """What to say of our changes; who changed as they see themselves; who changed as others see them."""

    said: list[Gossip]
    own: list[PersonState]
    seen: list[PersonState]


class Core:
    """The state of one gateway incarnation, `me`."""

    def __init__(self, me: str, now: float) -> None:
        self.me = me
        self.leases = Leases(me)
        self.wishes = WishBook()
        self._touched: set[str] = set()
        self._shown: dict[str, PersonState] = {}
        self._new_wishes: dict[str, Wish] = {}
        self.table_wanted = False
        self._table_at = float("-inf")
        self._ticked_at = now
        self._ticks = 0

    # Local events.

    def connected(self, person: str, session: str, state: DeviceState, now_ms: int) -> None:
        """A session began here; `Refused("too_many_sessions")` beyond the limit."""
        self._put(Device(person, session, state, now_ms))

    def changed(self, session: str, state: DeviceState, now_ms: int) -> None:
        """A session's device is in use or idle now.  Unknown sessions are none of ours: nothing happens."""
        known = self.leases.gateways[self.me].devices.get(session)
        if known is not None and (known.state != state or known.lost):
            self._put(Device(known.person, session, state, now_ms))

    def disconnected(self, session: str, lost: bool, now: float) -> None:
        """A session ended; with `lost`, its connection broke and the person may be back in a moment."""
        known = self.leases.gateways[self.me].devices.get(session)
        if known is None:
            return
        if lost:
            self._put(Device(known.person, session, known.state, known.version + 1, lost=True))
            self.leases.fade(session, now)
        else:
            self.leases.end(session)
            self._touched.add(known.person)

    def wish(self, person: str, state: WishState, text: str, now_ms: int) -> None:
        """The person wants to be seen like this from now on."""
        known = self.wishes.get(person)
        if known is None and is_normal(state, text):
            return
        wish = Wish(person, self.wishes.next_version(person, now_ms), state, text)
        if self.wishes.merge(wish, now_ms):
            self._new_wishes[person] = wish
            self._touched.add(person)

    def _put(self, device: Device) -> None:
        if len(device.session) > NAME_CHARS_MAX or len(device.person) > NAME_CHARS_MAX:
            raise Refused("id_malformed", f"ids have at most {NAME_CHARS_MAX} characters", place="session")
        known = self.leases.gateways[self.me].devices.get(device.session)
        if known is not None and known.person != device.person:
            raise Refused("session_taken", "the session belongs to somebody else", status=409)
        if known is not None and known.version >= device.version:
            device = Device(device.person, device.session, device.state, known.version + 1, device.lost)
        self.leases.put(device)
        self._touched.add(device.person)

    # Gossip.

    def begin(self) -> list[Gossip]:
        """What a gateway says first."""
        return [Ask(self.me, ""), *self._beat()]

    def end(self) -> list[Gossip]:
        """What a gateway says last."""
        return [Bye(self.me)]

    def heard(self, message: Gossip, now: float, now_ms: int) -> list[Gossip]:
        """Take in what a gateway said; what there is to say in return."""
        if isinstance(message, Wishes):
            self._touched |= {wish.person for wish in message.wishes if self.wishes.merge(wish, now_ms)}
            return []
        if isinstance(message, Bye):
            self._touched |= self.leases.ended(message.gateway, now)
            return []
        if not isinstance(message, Beat | Delta | Table | Ask):
            return []
        found = self.leases.heard(message.gateway, now)
        if found is None:
            return []
        if isinstance(message, Ask):
            return self._asked(message)
        if isinstance(message, Delta):
            self._touched |= self.leases.apply(message)
        elif isinstance(message, Table):
            self._touched |= self.leases.replace(message)
            return []
        question = self.leases.stands_at(message.gateway, message.no, now)
        said: list[Gossip] = [question] if question else []
        if isinstance(message, Beat):
            said += self.wishes.compare(message.gateway, message.digests, self._rank(message.gateway))
        return said

    def _asked(self, question: Ask) -> list[Gossip]:
        if question.of in ("", self.me):
            self.table_wanted = True
        if question.of:
            return []
        said = self._beat()  # at once, so that whoever begins knows whose table to wait for
        if next(name for name in self.leases.live() if name != question.gateway) == self.me:
            said += self.wishes.everything()
        return said

    def _rank(self, gateway: str) -> int:
        return [name for name in self.leases.live() if name != gateway].index(self.me)

    def flush(self, now: float) -> Flushed:
        """What changed since the last call.

        While `table_wanted` stays true our table is asked for and it is too early to say it again.
        """
        said: list[Gossip] = list(self.leases.delta())
        said += pages(self._new_wishes.values())
        self._new_wishes.clear()
        if self.table_wanted and now - self._table_at >= TABLE_EVERY_S:
            self.table_wanted, self._table_at = False, now
            said += self.leases.table()
        changes = [
            (self._shown.get(person) or PersonState(person, "offline"), self.own(person))
            for person in sorted(self._touched)
        ]
        self._touched.clear()
        for _, own in changes:
            self._shown.pop(own.person, None)
            if own.state != "offline":
                self._shown[own.person] = own
        return Flushed(
            said,
            [own for shown, own in changes if own != shown],
            [seen_by_others(own) for shown, own in changes if seen_by_others(own) != seen_by_others(shown)],
        )

    def tick(self, now: float, now_ms: int, hearing: bool) -> list[Gossip]:
        """Once a second.  `hearing` says whether the bus stands; while it does not, nobody's silence counts."""
        if not hearing or now - self._ticked_at > DEAF_S:
            self.leases.forgive(now)
        self._ticked_at = now
        self._touched |= self.leases.tick(now)
        self._ticks += 1
        if self._ticks % FORGET_EVERY_TICKS == 0:
            self.wishes.forget_normal(now_ms)
        self.wishes.keep_only(self.leases.live())
        return self._beat()

    def _beat(self) -> list[Gossip]:
        """A beat tells only what was said before it: call `flush` first."""
        return [Beat(self.me, self.leases.gateways[self.me].no, self.wishes.digests())]

    # What is known.

    def own(self, person: str) -> PersonState:
        """The person as their own devices show it."""
        live, fading = self.leases.devices(person)
        return seen_by_self(person, effective_devices(live, fading), self.wishes.get(person))

    def seen(self, people: Iterable[str]) -> list[PersonState]:
        """People as others see them."""
        return [seen_by_others(self.own(person)) for person in people]
