"""The posts of one socket, in the order in which they were said, also behind one whose files are looked up."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from moonbow.base.errors import MoonbowError, Unavailable
from moonbow.timeline import transactions
from moonbow.timeline.model import Answer, Post
from moonbow.wire import stream as wire

from .frames import encode
from .messages import body_with_files, plain_body

if TYPE_CHECKING:
    from .socket import Socket

WAITING_MAX = 256  # messages behind one whose files are being looked up


class Posting:
    """What a socket's person posts."""

    __slots__ = ("_socket", "_waiting")

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._waiting: deque[wire.Post] = deque()  # posts with files, and those behind them

    def take(self, frame: wire.Post) -> None:
        """Post a frame; `Refused` for its text, `Unavailable` if too much waits."""
        if not frame.files and not self._waiting:
            self._submit(frame, plain_body(frame.text))
            return
        if len(self._waiting) >= WAITING_MAX:
            raise Unavailable("busy", f"{WAITING_MAX} messages wait for files")
        self._waiting.append(frame)
        if len(self._waiting) == 1:
            self._socket.hub.spawn(self._post_waiting(), self._socket)

    def _submit(self, frame: wire.Post, body: bytes) -> None:
        post = Post(self._socket.claims.sub, frame.room, frame.client_id, body)
        self._socket.hub.store.submit(transactions.post, (post,), _Posted(self._socket, frame.client_id, frame.room))

    async def _post_waiting(self) -> None:
        """Post what carries files, and what was said behind it."""
        while self._waiting:
            frame = self._waiting[0]
            try:
                self._submit(frame, await self._body(frame))
            except MoonbowError as error:
                self._socket.problem(error, re="post", client_id=frame.client_id)
            finally:
                self._waiting.popleft()

    async def _body(self, frame: wire.Post) -> bytes:
        if not frame.files:
            return plain_body(frame.text)
        files, author = self._socket.hub.files, self._socket.claims.sub
        return await body_with_files(files, author, frame.room, frame.client_id, frame.text, frame.files)


class _Posted:
    """Called when a post's transaction is over: the answer goes to the socket that asked."""

    __slots__ = ("client_id", "room", "socket")

    def __init__(self, socket: Socket, client_id: str, room: str) -> None:
        self.socket, self.client_id, self.room = socket, client_id, room

    def __call__(self, answer: Answer | None, error: BaseException | None) -> None:
        if isinstance(error, MoonbowError):
            self.socket.problem(error, re="post", client_id=self.client_id)
        elif answer is not None:
            state, room = answer.state, self.room
            ack = wire.Ack(
                client_id=self.client_id, state=state, room=room, id=answer.entry, seq=answer.seq, code=answer.code
            )
            self.socket.send(encode(ack))
