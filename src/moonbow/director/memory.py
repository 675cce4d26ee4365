"""What a director keeps on disk, so that after a restart it answers at once as it did before, and says how old that is.

Pure: bytes in, bytes out.  What does not fit the world any more is left out; what cannot be read is nothing.
"""

from __future__ import annotations

import msgspec

from moonbow.world import World

from .model import DoorHealth, SiteHealth

MEMORY_BYTES_MAX = 4_194_304
CHANGES_MAX = 200


class Change(msgspec.Struct, frozen=True):
    """One change of mind: the snapshot's number, when (Unix time), what is answered now, and what changed, in words."""

    number: int
    at_s: float
    digest: str
    words: tuple[str, ...]


class Memory(msgspec.Struct, frozen=True):
    """The last health that was decided from, and the last changes of mind, oldest first."""

    world: str
    number: int
    at_s: float
    health: dict[str, SiteHealth]
    changes: tuple[Change, ...] = ()


def encode_memory(memory: Memory) -> bytes:
    """The file."""
    return msgspec.json.encode(memory)


def decode_memory(data: bytes, world: World, now_s: float = float("inf")) -> Memory | None:
    """What is remembered of `world`; None if that is of another world, or cannot be read.

    Nothing has changed later than `now_s`: a clock that ran ahead then holds nothing down now.
    """
    if len(data) > MEMORY_BYTES_MAX:
        return None
    try:
        found = msgspec.json.decode(data, type=Memory)
    except msgspec.MsgspecError:
        return None
    if found.world != world.name:
        return None
    doors = {ref.site.name: ref.site.doors for ref in world.sites() if ref.site.kind != "witness"}
    fitting = {
        name: site._replace(doors=tuple(door._replace(since_s=min(door.since_s, now_s)) for door in site.doors))
        for name, site in found.health.items()
        if len(site.doors) == doors.get(name)
    }
    return msgspec.structs.replace(found, health=fitting, changes=found.changes[-CHANGES_MAX:])


def age_health(health: SiteHealth) -> SiteHealth:
    """Remembered health without the counts of looks in a row: the next look begins anew."""
    return health._replace(doors=tuple(_aged(door) for door in health.doors))


def _aged(door: DoorHealth) -> DoorHealth:
    return door._replace(fails=0, passes=0)
