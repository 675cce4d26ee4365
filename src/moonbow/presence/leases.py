"""Which gateways of the region live, and the devices at each: tables of single writers, repaired when one has a gap.

Sans I/O: messages and times (seconds of a monotonic clock) in, messages out.  Laws: a table equals its writer's at
some `no`, and never goes back; a gateway that was heard less than LEASE_S ago is live; the devices of one that died
fade for FADE_S before they are gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from moonbow.base.errors import Refused
from moonbow.wire.presence import TABLE_DEVICES_MAX, TABLE_PARTS_MAX, Ask, Delta, Device, Table

BEAT_S = 1.0
LEASE_S = 3.0
FADE_S = 6.0
ASK_EVERY_S = 0.5  # at most, for one gateway's table
GATEWAYS_MAX = 128
SESSIONS_MAX = TABLE_DEVICES_MAX * TABLE_PARTS_MAX  # at one gateway


@dataclass
class Gateway:
    """What is known of one gateway incarnation.  `no` is -1 until its table came whole."""

    heard_at: float
    no: int = -1
    devices: dict[str, Device] = field(default_factory=dict)
    dead_at: float | None = None
    asked_at: float = float("-inf")
    parts: dict[int, Table] = field(default_factory=dict)


class Leases:
    """The tables of all gateways, this one's (`me`) among them."""

    def __init__(self, me: str) -> None:
        self.me = me
        self.gateways: dict[str, Gateway] = {me: Gateway(heard_at=0.0, no=0)}
        self._people: dict[str, set[tuple[str, str]]] = {}
        self._set: dict[str, Device] = {}
        self._ended: set[str] = set()
        self._fading: dict[str, float] = {}

    # What happens at this gateway.

    def put(self, device: Device) -> None:
        """A device of ours came or changed; `Refused` when SESSIONS_MAX is reached."""
        own = self.gateways[self.me].devices
        if device.session not in own and len(own) >= SESSIONS_MAX:
            raise Refused("too_many_sessions", f"this gateway holds {SESSIONS_MAX} sessions", status=503)
        self._fading.pop(device.session, None)
        self._store(self.me, device)
        self._set[device.session] = device
        self._ended.discard(device.session)

    def end(self, session: str) -> str | None:
        """A device of ours is gone; whose it was."""
        self._fading.pop(session, None)
        person = self._drop(self.me, session)
        if person is not None:
            self._set.pop(session, None)
            self._ended.add(session)
        return person

    def fade(self, session: str, now: float) -> None:
        """A device of ours was put as lost at `now`; it ends by itself later."""
        self._fading[session] = now

    def delta(self) -> list[Delta]:
        """Our changes since the last call, each message a step of our table's `no`."""
        messages = []
        while self._set or self._ended:
            devices = tuple(self._set.pop(key) for key in list(self._set)[:TABLE_DEVICES_MAX])
            ended = tuple(self._ended.pop() for _ in range(min(len(self._ended), TABLE_DEVICES_MAX)))
            own = self.gateways[self.me]
            own.no += 1
            messages.append(Delta(self.me, own.no, devices, ended))
        return messages

    def table(self) -> list[Table]:
        """Our whole table, in parts.  Call `delta` before: what it would say is in here already."""
        own = self.gateways[self.me]
        devices = sorted(own.devices.values(), key=lambda device: device.session)
        parts = [tuple(devices[at : at + TABLE_DEVICES_MAX]) for at in range(0, len(devices), TABLE_DEVICES_MAX)]
        parts = parts or [()]
        return [Table(self.me, own.no, part, len(parts), found) for part, found in enumerate(parts)]

    # What others say.

    def heard(self, gateway: str, now: float) -> Gateway | None:
        """A sign of life; None for ourselves and beyond GATEWAYS_MAX."""
        if gateway == self.me:
            return None
        found = self.gateways.get(gateway)
        if found is None:
            if len(self.gateways) >= GATEWAYS_MAX:
                return None
            found = self.gateways[gateway] = Gateway(heard_at=now)
        found.heard_at, found.dead_at = now, None
        return found

    def stands_at(self, gateway: str, no: int, now: float) -> Ask | None:
        """A gateway says where its table stands: the question for it, if ours is behind and it is time to ask."""
        found = self.gateways[gateway]
        if found.no >= no or now - found.asked_at < ASK_EVERY_S:
            return None
        found.asked_at = now
        return Ask(self.me, gateway)

    def apply(self, delta: Delta) -> set[str]:
        """The people touched by a change; nothing happens unless it is the next one."""
        found = self.gateways[delta.gateway]
        if found.no < 0 or delta.no != found.no + 1:
            return set()
        found.no = delta.no
        touched = {device.person for device in delta.devices}
        for session in delta.ended:
            touched |= {person for person in [self._drop(delta.gateway, session)] if person}
        for device in delta.devices:
            self._store(delta.gateway, device)
        return touched

    def replace(self, table: Table) -> set[str]:
        """The people touched when the last part of a newer table came."""
        found = self.gateways[table.gateway]
        if table.no <= found.no:
            return set()
        if any((other.no, other.parts) != (table.no, table.parts) for other in found.parts.values()):
            found.parts.clear()
        found.parts[table.part] = table
        if len(found.parts) < table.parts:
            return set()
        devices = {device.session: device for part in found.parts.values() for device in part.devices}
        found.parts.clear()
        touched = self._clear(table.gateway) | {device.person for device in devices.values()}
        for device in devices.values():
            self._store(table.gateway, device)
        found.no = table.no
        return touched

    def ended(self, gateway: str, now: float) -> set[str]:
        """A gateway said goodbye: its devices begin to fade.  The people touched."""
        found = self.gateways.get(gateway)
        if found is None or gateway == self.me:
            return set()
        found.dead_at = now
        return {device.person for device in found.devices.values()}

    # Time.

    def tick(self, now: float) -> set[str]:
        """The people touched by leases and fading that ran out."""
        touched: set[str] = set()
        for name, found in list(self.gateways.items()):
            if name == self.me:
                continue
            if found.dead_at is None and now - found.heard_at > LEASE_S:
                touched |= self.ended(name, now)
            elif found.dead_at is not None and now - found.dead_at >= FADE_S:
                touched |= self._clear(name)
                del self.gateways[name]
        for session, lost_at in list(self._fading.items()):
            if now - lost_at >= FADE_S:
                touched |= {person for person in [self.end(session)] if person}
        return touched

    def forgive(self, now: float) -> None:
        """We were deaf until `now` (stopped, or without a bus): nobody's silence counts."""
        for found in self.gateways.values():
            found.heard_at = max(found.heard_at, now)

    # What is known.

    def live(self) -> list[str]:
        """The incarnations alive, this one's among them, sorted."""
        return sorted(name for name, found in self.gateways.items() if found.dead_at is None)

    def behind(self) -> bool:
        """Whether some live gateway's table is not known yet."""
        return any(found.no < 0 for found in self.gateways.values() if found.dead_at is None)

    def devices(self, person: str) -> tuple[list[Device], list[Device]]:
        """A person's devices: live ones, and fading ones."""
        live: list[Device] = []
        fading: list[Device] = []
        for gateway, session in self._people.get(person, ()):
            found = self.gateways[gateway]
            device = found.devices[session]
            (fading if device.lost or found.dead_at is not None else live).append(device)
        return live, fading

    def people(self) -> Iterator[str]:
        """Everybody with a device."""
        return iter(self._people)

    def _store(self, gateway: str, device: Device) -> None:
        self._drop(gateway, device.session)
        self.gateways[gateway].devices[device.session] = device
        self._people.setdefault(device.person, set()).add((gateway, device.session))

    def _drop(self, gateway: str, session: str) -> str | None:
        device = self.gateways[gateway].devices.pop(session, None)
        if device is None:
            return None
        keys = self._people[device.person]
        keys.discard((gateway, session))
        if not keys:
            del self._people[device.person]
        return device.person

    def _clear(self, gateway: str) -> set[str]:
        sessions = list(self.gateways[gateway].devices)
        return {person for session in sessions if (person := self._drop(gateway, session))}
