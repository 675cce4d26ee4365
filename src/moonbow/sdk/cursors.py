"""What a client has been shown: one cursor a stream, and the entries whose bodies it still lacks.

Laws: a row is shown at most once and in the order of its stream; what `resume` names is exactly what was shown.
"""

from __future__ import annotations

from collections.abc import Iterable

from moonbow.base import limits
from moonbow.wire.stream import BodyEvent, Resume
from moonbow.wire.values import Room, Row


class Cursors:
    """Grows with what is shown; bounded like the `resume` frame that it becomes."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.missing: dict[str, str] = {}  # entry -> its author, oldest first

    def begin(self, inbox: str, inbox_head: int, rooms: Iterable[Room]) -> None:
        """A snapshot: everything up to these heads counts as seen."""
        self.seen = {inbox: inbox_head} | {room.id: room.head for room in rooms}
        self.missing = {}

    def meet(self, rooms: Iterable[Room]) -> None:
        """The snapshot of a later socket: rooms that came into view while away are seen up to their heads."""
        for room in rooms:
            self.seen.setdefault(room.id, room.head)

    def reset(self, stream: str, head: int) -> None:
        """The server could not replay this stream: go on after `head`.  0: it is not ours any more."""
        if head:
            self.seen[stream] = head
        else:
            self.seen.pop(stream, None)

    def take(self, row: Row) -> bool:
        """Whether to show this row; if so it is seen from now on."""
        if row.seq <= self.seen.get(row.stream, 0):
            return False
        self.seen[row.stream] = row.seq
        if row.kind == "added" and row.target is not None:
            self.seen.setdefault(row.target, 0)  # its rows follow, all that one may see
        elif row.kind == "redaction" and row.target is not None:
            self.missing.pop(row.target, None)
        elif row.kind == "erasure":
            self.missing = {entry: author for entry, author in self.missing.items() if author != row.target}
        elif row.kind == "entry" and row.id is not None and row.state in ("waiting", "held"):
            self.missing[row.id] = row.author or ""
            if len(self.missing) > limits.MISSING_MAX:
                del self.missing[next(iter(self.missing))]
        return True

    def take_body(self, body: BodyEvent) -> bool:
        """Whether to show this body: it was lacking, or it is gone now."""
        if body.state in ("waiting", "held"):
            return body.id in self.missing
        return self.missing.pop(body.id, None) is not None or body.state == "erased"

    def resume(self) -> Resume:
        """Where to go on.  Beyond the frame's limit the streams seen longest ago are left out."""
        return Resume(cursors=dict(list(self.seen.items())[-limits.CURSORS_MAX :]), missing=list(self.missing))
