"""What a director tells its workers, and they tell it: frames on a Unix socket in the state folder.  Pure.

A frame is a length (4 bytes), a kind (1 byte) and a body.  Ground (world, address ranges, map) is told once and when it
changes; a snapshot without its ground at every decision, ten kilobytes or so.  These are pickles: the socket lies in a
folder that only the world's own user may enter, a worker asks the kernel whose it is, and they go one way only, from
the director.
"""

from __future__ import annotations

import pickle
from typing import Any, cast

import msgspec

from .desk import Counts
from .snapshot import Snapshot

GROUND, SNAPSHOT, ALIVE, QUIT, HELLO, REPORT = range(6)
HEAD_BYTES = 5
BODY_BYTES_MAX = 256 * 1_048_576
PROTOCOL = 1


class Setup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a worker serves.  A worker whose set-up is not the one wanted is told to quit."""

    addresses: tuple[str, ...]
    port: int
    rate_per_s: int
    slip: int
    servers: dict[str, tuple[str, ...]]
    last_good_s: float
    protocol: int = PROTOCOL


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worker's first words: its number and process, its set-up and the snapshot that it serves (-1: none)."""

    number: int
    pid: int
    setup: Setup
    snapshot: int


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker counted since its last report, and the snapshot that it serves."""

    snapshot: int
    replies: list[tuple[str, int, int]]
    cells: list[tuple[str, int, int]]
    others: dict[str, dict[str, int]]
    signed: int
    tcp_connections: int
    tcp_refused: int


def frame(kind: int, body: bytes = b"") -> bytes:
    """A frame as sent."""
    return len(body).to_bytes(4, "big") + bytes([kind]) + body


def ground_of(snapshot: Snapshot) -> bytes:
    """The body of a ground frame."""
    return pickle.dumps((snapshot.world, snapshot.ranges, snapshot.map), pickle.HIGHEST_PROTOCOL)


def same_ground(one: Snapshot, other: Snapshot) -> bool:
    """Whether two snapshots stand on the same world, ranges and map."""
    return one.world is other.world and one.ranges is other.ranges and one.map is other.map


def mind_of(snapshot: Snapshot) -> bytes:
    """The body of a snapshot frame: everything but the ground."""
    fields = snapshot._asdict()
    for name in ("world", "ranges", "map"):
        del fields[name]
    return pickle.dumps(fields, pickle.HIGHEST_PROTOCOL)


def snapshot_from(ground: bytes | tuple[Any, ...], mind: bytes) -> Snapshot:
    """The snapshot of both bodies; the ground may be the result of `ground_from`."""
    world, ranges, compiled = ground_from(ground) if isinstance(ground, bytes) else ground
    fields = cast(dict[str, Any], pickle.loads(mind))
    return Snapshot(world=world, ranges=ranges, map=compiled, **fields)


def ground_from(body: bytes) -> tuple[Any, ...]:
    """World, ranges and map."""
    return cast(tuple[Any, ...], pickle.loads(body))


def report_of(counts: Counts, snapshot: int) -> Report:
    """A report of all counts."""
    return Report(
        snapshot,
        [(transport, rcode, number) for (transport, rcode), number in counts.replies.items()],
        [(service, cell, number) for (service, cell), number in counts.cells.items()],
        {"silent": dict(counts.silent), "limited": dict(counts.limited), "cookies": dict(counts.cookies)},
        counts.signed,
        counts.tcp_connections,
        counts.tcp_refused,
    )


def counts_of(report: Report) -> Counts:
    """The counts of a report."""
    counts = Counts()
    for transport, rcode, number in report.replies:
        counts.replies[transport, rcode] = number
    for service, cell, number in report.cells:
        counts.cells[service, cell] = number
    for name, mine in (("silent", counts.silent), ("limited", counts.limited), ("cookies", counts.cookies)):
        mine.update(report.others.get(name, {}))
    counts.signed, counts.tcp_refused = report.signed, report.tcp_refused
    counts.tcp_connections = report.tcp_connections
    return counts
