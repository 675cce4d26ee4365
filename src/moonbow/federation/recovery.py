"""After a restore: takes back from another region's copies the order of rooms homed here, as far as it holds it.

A copy is a prefix of what this region said before it was lost, so the longest one is the truth about a room; texts of
this region's people are in no copy and stay lost.  Safe to repeat, and to break off.
"""

from __future__ import annotations

from typing import Any, Protocol

from moonbow.base import limits
from moonbow.base.errors import Unavailable
from moonbow.timeline import transactions
from moonbow.timeline.ports import Reads, Store

from . import border, model
from .model import UNREADABLE, pack, unpack

ROOMS_MAX = 200  # of one answer, and of one request for rows
COPIES_OP, TAIL_OP = "timeline.copies", "timeline.tail"
WHILE_RECOVERING = frozenset({COPIES_OP, TAIL_OP})  # what a region answers before it serves: two may ask each other


class Asks(Protocol):
    """What recovery needs of the bus."""

    async def request(self, region: str, op: str, payload: bytes, timeout_s: float = ...) -> bytes: ...


def copies_of(store: Reads, caller: str, after: str) -> model.CopiesAnswer:
    """The rooms of region `caller` of which copies rest here, by id beyond `after`."""
    page = store.copies(after, ROOMS_MAX)
    heads = {room: head for room, head in page if head and border.region_of(room, "rom", "dir") == caller}
    return model.CopiesAnswer(heads, page[-1][0] if page else "")


async def take_back(store: Store, bus: Asks, region: str) -> int:
    """Extend our rooms by what `region` holds of them, and note that it was heard; how many rows that was.

    `Unavailable` if it does not answer, or nothing that makes sense.
    """
    after, taken = "", 0
    while True:
        answer: model.CopiesAnswer = await _ask(bus, region, COPIES_OP, model.CopiesRequest(after), model.CopiesAnswer)
        border.check_numbers(answer.heads.values())
        theirs = {room: head for room, head in answer.heads.items() if border.region_of(room, "rom", "dir")}
        taken += await _take_rooms(store, bus, region, theirs)
        if not answer.after or answer.after <= after:
            break
        after = answer.after
    await store.write(transactions.heard, region)
    return taken


async def _take_rooms(store: Store, bus: Asks, region: str, theirs: dict[str, int]) -> int:
    """Fetch rows until our rooms reach as far as theirs, or an answer brings nothing new to anybody.

    Gateways of several sites do this at once: what another one has just added is no reason to stop.
    """
    taken, before = 0, dict[str, int]()
    while True:
        ours = await store.read_latest(_heads, list(theirs))
        lacking = {room: ours.get(room, 0) for room, head in theirs.items() if ours.get(room, 0) < head}
        some = dict(list(lacking.items())[:ROOMS_MAX])
        if not some or some == before:
            return taken
        before = some
        answer: model.TailAnswer = await _ask(bus, region, TAIL_OP, model.TailRequest(some), model.TailAnswer)
        rows = [row for row in border.admit_rows(answer.rows, store.region) if row.stream in some]
        taken += await store.write(transactions.take_back, rows) if rows else 0


async def _ask(bus: Asks, region: str, op: str, ask: object, kind: type[Any]) -> Any:
    try:
        return unpack(await bus.request(region, op, pack(ask), limits.RPC_TIMEOUT_S * 5), kind)
    except UNREADABLE as error:
        raise Unavailable("answer_malformed", f"{region} answered what cannot be read", region=region) from error


def _heads(store: Reads, rooms: list[str]) -> dict[str, int]:
    return store.heads(rooms)
