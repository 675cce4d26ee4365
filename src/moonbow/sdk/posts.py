"""Posts on their way: each is said again under the same `client_id` until its fate is known.

Laws: an unsettled post is never forgotten; a settled one is never sent again; posts go out in the order they were made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from moonbow.base.errors import Refused
from moonbow.wire.rest import Posted
from moonbow.wire.stream import Ack, Post, ProblemEvent
from moonbow.wire.values import Row

from .model import Settle

POSTS_MAX = 256  # unsettled at once
KEPT_MAX = 10_000  # kept posts whose fate is waited for; of those beyond it `kept` is the last word here
FATES_MAX = 1_000  # fates that came before their ack, remembered for it
AGAIN_S = 3.0  # an unanswered post is said again


@dataclass
class Pending:
    """A post that has no answer yet; `due` is when to say it (again), on the clock of the core."""

    post: Post
    due: float


class Posts:
    """The unsettled posts of one client, and which kept ones wait for their place."""

    def __init__(self) -> None:
        self.pending: dict[str, Pending] = {}
        self.kept: dict[str, str] = {}  # entry -> client_id
        self.fates: dict[str, Row] = {}  # entry -> inbox row that says what became of it

    def add(self, post: Post, now: float) -> None:
        """One more; `Refused` with `too_many_posts` when `POSTS_MAX` are unsettled already."""
        if len(self.pending) >= POSTS_MAX:
            raise Refused("too_many_posts", f"{POSTS_MAX} posts have no answer yet", status=429)
        self.pending[post.client_id] = Pending(post, now)

    def due(self, now: float) -> Iterator[Post]:
        """Those to send now, oldest first; they become due again if no answer comes."""
        for pending in self.pending.values():
            if pending.due <= now:
                pending.due = now + AGAIN_S
                yield pending.post

    def all_due(self, now: float) -> None:
        """A new socket: say everything again, at once."""
        for pending in self.pending.values():
            pending.due = now

    def wake_at(self) -> float | None:
        """When the next one becomes due."""
        return min((pending.due for pending in self.pending.values()), default=None)

    def acked(self, ack: Ack) -> Settle | None:
        """The fate so far, if anybody still waits for it."""
        if self.pending.pop(ack.client_id, None) is None:
            return None
        posted = Posted(state=ack.state, client_id=ack.client_id, id=ack.id, seq=ack.seq, code=ack.code)
        if ack.state != "kept" or ack.id is None:
            return Settle(posted, final=True)
        if (row := self.fates.get(ack.id)) is not None:
            return Settle(_fate(row, ack.client_id), final=True)
        if len(self.kept) >= KEPT_MAX:
            return Settle(posted, final=True)
        self.kept[ack.id] = ack.client_id
        return Settle(posted, final=False)

    def told(self, row: Row) -> Settle | None:
        """An inbox row says where an entry was placed, or that it was refused."""
        if row.kind not in ("placed", "refused") or row.id is None:
            return None
        self.fates[row.id] = row
        if len(self.fates) > FATES_MAX:
            del self.fates[next(iter(self.fates))]
        client_id = self.kept.pop(row.id, None)
        return None if client_id is None else Settle(_fate(row, client_id), final=True)

    def problem(self, event: ProblemEvent, now: float) -> Settle | None:
        """A post that could not be done: said again if that may help, else refused."""
        pending = self.pending.get(event.client_id or "")
        if pending is None:
            return None
        if event.retryable:
            pending.due = now + (event.retry_after_s or 0.2)
            return None
        del self.pending[pending.post.client_id]
        return Settle(Posted(state="refused", client_id=pending.post.client_id, code=event.code), final=True)


def _fate(row: Row, client_id: str) -> Posted:
    if row.kind == "refused":
        return Posted(state="refused", client_id=client_id, id=row.id, code=row.detail)
    seq = int(row.detail) if row.detail and row.detail.isdigit() else None
    return Posted(state="placed", client_id=client_id, id=row.id, seq=seq)
