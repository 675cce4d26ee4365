"""Decides how a person is seen, from their devices and their wish; and which of two wishes stands.

Pure.  Laws: the result depends on the set of devices, not on their order; nobody else can tell `invisible` from
`offline`; merging wishes is commutative, associative and idempotent.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from zlib import crc32

from moonbow.wire.presence import Device, DeviceState, PersonState, Wish

BUCKETS = 16


def effective_devices(live: Iterable[Device], fading: Iterable[Device]) -> tuple[Device, ...]:
    """The devices that count: the live ones; only if there is none, those lost or of a dead gateway a moment ago.

    A session known twice (it moved to another gateway) counts once, in its highest version.
    """
    return _newest(live) or _newest(fading)


def _newest(devices: Iterable[Device]) -> tuple[Device, ...]:
    found: dict[str, Device] = {}
    for device in devices:
        known = found.get(device.session)
        if known is None or _rank(known) < _rank(device):
            found[device.session] = device
    return tuple(sorted(found.values(), key=_rank))


def _rank(device: Device) -> tuple[int, str, str]:
    return device.version, device.state, device.session


def seen_by_self(person: str, devices: tuple[Device, ...], wish: Wish | None) -> PersonState:
    """What the person's own devices show."""
    if not devices:
        return PersonState(person, "offline")
    text = wish.text if wish else ""
    if wish is not None and wish.state != "online":
        here_since = min(device.version for device in devices)
        return PersonState(person, wish.state, text, max(wish.version, here_since))
    state: DeviceState = "online" if any(device.state == "online" for device in devices) else "away"
    return PersonState(person, state, text, min(device.version for device in devices if device.state == state))


def seen_by_others(own: PersonState) -> PersonState:
    """What everybody else is shown."""
    return PersonState(own.person, "offline") if own.state == "invisible" else own


def standing_wish(a: Wish, b: Wish) -> Wish:
    """The one of two wishes of a person that stands: the later; of two at the same time always the same one."""
    return max(a, b, key=lambda wish: (wish.version, wish.state, wish.text))


def bucket(person: str) -> int:
    """Which digest covers the wish of a person."""
    return crc32(person.encode()) % BUCKETS


def digest(wish: Wish) -> int:
    """63 bits of a wish.  The digest of a bucket is the exclusive or of those of its wishes."""
    content = f"{wish.person} {wish.version} {wish.state} {wish.text}".encode()
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big") >> 1
