"""Runs a `Core`: opens its sockets, sends its frames, keeps its time, and queues its events for the program."""

from __future__ import annotations

import asyncio
from asyncio import Future, Queue, TaskGroup
from collections.abc import Awaitable, Callable
from functools import partial

from moonbow.base.errors import Broken, Refused, Unavailable
from moonbow.wire.rest import Posted
from moonbow.wire.stream import ClientFrame, Post
from moonbow.wire.values import Door

from .core import Core
from .model import Close, Command, Deliver, Dial, Ended, Event, Incoming, Lapsed, Learn, Renew, Send, Settle
from .rest import Rest
from .socket import GONE, DialRefused, Socket, dial

EVENTS_MAX = 10_000  # waiting for the program; beyond it the socket is left until half of them are taken
SLACK = 1_100  # one frame may become several events, at most one a stream
FATES_MAX = 1_000
CLOSE_S = 0.5  # for the other side to close in order

Renewal = Callable[[], Awaitable[tuple[str, float]]]
Doors = Callable[[], Awaitable[list[Door]]]


class Stream:
    """One client's live side.  `rest` says which name, trust and agent to dial with.

    `renew` fetches (token, seconds it is good for); `learn` fetches the doors.
    """

    def __init__(self, core: Core, rest: Rest, tasks: TaskGroup, renew: Renewal, learn: Doors) -> None:
        self.core, self.rest, self.tasks = core, rest, tasks
        self._renewal, self._doors = renew, learn
        self.queue: Queue[Event] = Queue(EVENTS_MAX + SLACK)
        self.wanted = self.lapsed = False
        self.acks: dict[str, Future[Posted]] = {}
        self.fates: dict[str, Future[Posted]] = {}
        self._sockets: dict[int, Socket] = {}
        self._leaving: set[Socket] = set()
        self._busy: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time

    # -- for the client ---------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin to connect."""
        self._do(self.core.start(self.now()))

    async def stop(self) -> None:
        """Close everything and forget what still runs."""
        self._do(self.core.stop("closed", "closed by the program"))
        for task in list(self._busy):
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        for socket in list(self._leaving):
            await socket.wait_closed(CLOSE_S)

    def post(self, post: Post) -> Future[Posted]:
        """Send `post`; the future holds its first answer, whichever socket brings it."""
        if self.core.ended:
            raise Refused("signed_out", "this client is closed", status=401)
        if post.client_id in self.acks:
            return self.acks[post.client_id]
        self._do(self.core.post(post, self.now()))
        return self.acks.setdefault(post.client_id, self._loop.create_future())

    def say(self, frame: ClientFrame) -> None:
        """Send what matters only now."""
        self._do(self.core.say(frame, self.now()))

    def fate(self, posted: Posted) -> Future[Posted]:
        """The last word on a kept post."""
        return self.fates.setdefault(posted.client_id, self._loop.create_future())

    async def next_event(self) -> Event:
        """The next event, waiting for one."""
        self.wanted = True
        if self.lapsed:
            self.lapsed = False
            return Lapsed()
        event = await self.queue.get()
        if self.core.paused and self.queue.qsize() <= EVENTS_MAX // 2:
            self._do(self.core.unpause(self.now()))
        return event

    # -- from the sockets -------------------------------------------------------------------------------------------
    def _frame(self, sock: int, event: Incoming) -> None:
        try:
            if self.queue.qsize() >= EVENTS_MAX and not self._make_room():
                self._do(self.core.pause(self.now()))
            else:
                self._do(self.core.frame(sock, event, self.now()))
        except Exception as error:  # a fault of ours: the socket's library would only reconnect, for ever
            self._begin(_fail(error))

    def _make_room(self) -> bool:
        """Whether events may be thrown away: only while the program has never asked for any."""
        if self.wanted:
            return False
        self.lapsed = True
        while not self.queue.empty():
            self.queue.get_nowait()
        return True

    def _closed(self, sock: int, code: int, reason: str) -> None:
        if (socket := self._sockets.pop(sock, None)) is not None:
            self._leave(socket)
        self._do(self.core.closed(sock, code, reason, self.now()))

    def _leave(self, socket: Socket, rude: bool = False) -> None:
        self._leaving = {one for one in self._leaving if one.transport is not None} | {socket}
        socket.on_closed = _nobody_listens
        socket.close(rude)

    # -- doing ------------------------------------------------------------------------------------------------------
    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Send(sock, frame):
                    if sock in self._sockets:
                        self._sockets[sock].send(frame)
                case Deliver(event):
                    self._deliver(event)
                case Settle():
                    self._settle(command)
                case Dial(sock, door):
                    self._begin(self._dial(sock, door))
                case Close(sock, rude):
                    if (socket := self._sockets.pop(sock, None)) is not None:
                        self._leave(socket, rude)
                case Renew():
                    self._begin(self._renew())
                case Learn():
                    self._begin(self._learn())
        self._arm()

    def _begin(self, work: Awaitable[None]) -> None:
        task: asyncio.Task[None] = self.tasks.create_task(_run(work))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    def _deliver(self, event: Event) -> None:
        self.queue.put_nowait(event)
        if isinstance(event, Ended):
            for future in (*self.acks.values(), *self.fates.values()):
                if not future.done():
                    future.set_exception(Refused(event.code, event.detail, status=401))
                    future.exception()  # whoever waits still gets it; whoever does not is not warned about it

    def _settle(self, settle: Settle) -> None:
        posted = settle.posted
        if (ack := self.acks.pop(posted.client_id, None)) is not None and not ack.done():
            ack.set_result(posted)
        if settle.final:
            fate = self.fates.setdefault(posted.client_id, self._loop.create_future())
            if not fate.done():
                fate.set_result(posted)
            if len(self.fates) > 2 * FATES_MAX:  # those still waited for stay
                told = [client_id for client_id, known in self.fates.items() if known.done()]
                for client_id in told[:-FATES_MAX]:
                    del self.fates[client_id]

    def _arm(self) -> None:
        at = self.core.wake_at()
        if self._timer is not None:
            if at is not None and self._timer.when() <= at:
                return  # too early is harmless: it arms itself again
            self._timer.cancel()
        self._timer = None if at is None else self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._do(self.core.tick(self.now()))

    async def _dial(self, sock: int, door: Door) -> None:
        try:
            socket = await dial(
                door, self.rest, self.core.token, partial(self._frame, sock), partial(self._closed, sock)
            )
        except DialRefused as error:
            self._do(self.core.failed(sock, error.status, self.now()))
        except Unavailable:
            self._do(self.core.failed(sock, None, self.now()))
        else:
            self._sockets[sock] = socket
            self._do(self.core.opened(sock, self.now()))
            if socket.closing:
                self._closed(sock, GONE, "closed while it opened")

    async def _renew(self) -> None:
        pause = 0.1
        while not self.core.ended:
            try:
                token, good_s = await self._renewal()
            except Refused as error:
                self._do(self.core.renew_refused(error.detail))
                return
            except Unavailable:
                await asyncio.sleep(pause)
                pause = min(5.0, pause * 2)
            else:
                self._do(self.core.renewed(token, self.now() + good_s, self.now()))
                return

    async def _learn(self) -> None:
        try:
            doors = await self._doors()
        except (Refused, Unavailable):
            return  # the doors known so far go on being tried
        self._do(self.core.learned(doors))


async def _fail(error: Exception) -> None:
    raise Broken(f"a frame could not be taken: {error!r}") from error


async def _run(work: Awaitable[None]) -> None:
    await work


def _nobody_listens(code: int, reason: str) -> None:
    """A socket that was left has nothing more to say."""
