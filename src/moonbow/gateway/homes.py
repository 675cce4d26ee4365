"""Hands posts to the site that commits to their room, and commits for the others what they hand over.

Over the region's own bus, in natural batches, one on its way to each site at a time, so that what one process asks in
order is placed in order.  A site that does not answer in time is left alone for a while, and this one commits itself;
if both did, the post's client id says so.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import msgspec
from prometheus_client import Counter

from moonbow.base import limits
from moonbow.base.errors import Refused, Unavailable
from moonbow.timeline import transactions
from moonbow.timeline.homes import ANSWER_S, SILENT_S, decide_way
from moonbow.timeline.model import Answer, Fresh, Post
from moonbow.timeline.ports import Callback, Reads, Store, Tx
from moonbow.wire import subjects

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
HANDED = Counter("moonbow_gateway_handed_total", "Posts handed to the site that commits to their room", ["outcome"])
BATCH_BYTES_MAX = 512 * 1024  # of bodies in one message


class Line(Protocol):
    """What this needs of the bus."""

    async def publish_region(self, subject: str, payload: bytes) -> None: ...
    async def listen_region(self, subject: str, handler: Callable[[str, bytes], Any], queue: str = "") -> None: ...


class Handed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Posts to commit; `sender` hears of them under `number`."""

    sender: str
    number: int
    posts: list[Post]


class Said(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of one post: its answer, or why it is refused, or neither: ask elsewhere."""

    answer: Answer | None = None
    refused: tuple[str, str, int, str | None] | None = None


class Committed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of the posts of one message, in their order."""

    number: int
    said: list[Said]


class _Waiting:
    """What is to go to one site."""

    def __init__(self) -> None:
        self.posts: deque[tuple[Post, Callback]] = deque()
        self.more = asyncio.Event()


class Homes:
    """A `timeline.ports.Store` for a gateway of site `here`: posts go to their room's site, all else to `store`."""

    def __init__(
        self, store: Store, line: Line, sender: str, here: str, sites: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.region = store.region
        self._store, self._line, self._sender, self._here, self._sites = store, line, sender, here, tuple(sites)
        self._clock = clock
        self._silent: dict[str, float] = {}
        self._waiting = {site: _Waiting() for site in sites if site != here}
        self._asked: dict[int, asyncio.Future[list[Said]]] = {}
        self._numbers = itertools.count(1)
        self._replies: set[asyncio.Task[None]] = set()

    @property
    def commits(self) -> int:
        return self._store.commits

    @property
    def operations(self) -> int:
        return self._store.operations

    async def read(self, work: Callable[Concatenate[Reads, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._store.read(work, *args, **kwargs)

    async def read_latest(self, work: Callable[Concatenate[Reads, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._store.read_latest(work, *args, **kwargs)

    async def write(self, work: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As the store's; a post goes to its room's site."""
        if work is not transactions.post:
            return await self._store.write(work, *args, **kwargs)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if not future.done():
                future.set_exception(error) if error is not None else future.set_result(result)

        self.submit(work, args, done)
        return await future

    def submit(self, work: Callable[..., Any], args: tuple[Any, ...], done: Callback) -> None:
        """As the store's; a post goes to its room's site."""
        site = self._site_of(args[0]) if work is transactions.post else None
        if site is None:
            self._store.submit(work, args, done)
            return
        waiting = self._waiting[site]
        if len(waiting.posts) >= limits.COMMIT_QUEUE_MAX:
            raise Unavailable("busy", "too many writes are waiting here; try again in a moment")
        waiting.posts.append((args[0], done))
        waiting.more.set()

    def _site_of(self, post: Post) -> str | None:
        return decide_way(post.room, self.region, self._here, self._sites, self._silent, self._clock()).site

    def on_commit(self, publish: Callable[[list[Fresh], bool], None]) -> None:
        self._store.on_commit(publish)

    def busy_s(self) -> float:
        return self._store.busy_s()

    def close(self) -> None:
        self._store.close()

    # -- handing over ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the sister sites and hand over until cancelled; what waits then is committed here."""
        await self._line.listen_region(subjects.commit(self._here), self._serve, queue="commit")
        await self._line.listen_region(subjects.committed(self._sender), self._hear)
        try:
            async with asyncio.TaskGroup() as group:
                for site, waiting in self._waiting.items():
                    group.create_task(self._hand_over_forever(site, waiting))
        finally:
            for waiting in self._waiting.values():
                while waiting.posts:
                    self._commit_here(*waiting.posts.popleft())

    async def _hand_over_forever(self, site: str, waiting: _Waiting) -> None:
        while True:
            await waiting.more.wait()
            waiting.more.clear()
            while waiting.posts:
                batch = _take(waiting.posts)
                try:
                    said = await self._ask(site, [post for post, _ in batch])
                except BaseException:
                    for post, done in batch:
                        self._commit_here(post, done)
                    raise
                for (post, done), each in zip(batch, said, strict=True):
                    self._take_answer(post, done, each)

    async def _ask(self, site: str, posts: list[Post]) -> list[Said]:
        """What `site` says; of each post nothing, if it says nothing in time or was not asked."""
        nothing = [Said()] * len(posts)
        if self._clock() < self._silent.get(site, 0.0):
            return nothing
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            payload = encode(Handed(self._sender, number, posts))
            async with asyncio.timeout(ANSWER_S):
                await self._line.publish_region(subjects.commit(site), payload)
                said = await answer
        except (TimeoutError, Unavailable):
            self._silent[site] = self._clock() + SILENT_S
            HANDED.labels("silent").inc(len(posts))
            log.warning("a site does not commit what it is handed", extra={"f": {"site": site, "posts": len(posts)}})
            return nothing
        finally:
            del self._asked[number]
        return said if len(said) == len(posts) else nothing

    def _take_answer(self, post: Post, done: Callback, said: Said) -> None:
        if said.refused is not None:
            code, detail, status, place = said.refused
            done(None, Refused(code, detail, status=status, place=place))
        elif said.answer is not None:
            done(said.answer, None)
        else:
            self._commit_here(post, done)
            return
        HANDED.labels("answered").inc()

    def _commit_here(self, post: Post, done: Callback) -> None:
        try:
            self._store.submit(transactions.post, (post,), done)
        except Unavailable as error:
            done(None, error)

    def _hear(self, _subject: str, payload: bytes) -> None:
        committed = _decode_committed(payload)
        answer = self._asked.get(committed.number)
        if answer is not None and not answer.done():
            answer.set_result(committed.said)

    # -- committing for others -----------------------------------------------------------------------------------------

    def _serve(self, _subject: str, payload: bytes) -> None:
        """Commit what another site hands over, here whatever the hash says, so that nothing goes in a circle."""
        handed = _decode_handed(payload)
        said: list[Said] = [Said()] * len(handed.posts)
        left = len(handed.posts)

        def done(place: int, result: Any, error: BaseException | None) -> None:
            nonlocal left
            said[place] = _said(result, error)
            left -= 1
            if not left:
                self._reply(self._line.publish_region(
                    subjects.committed(handed.sender), encode(Committed(handed.number, said))
                ))  # fmt: skip

        for place, post in enumerate(handed.posts):
            self._commit_here(post, functools.partial(done, place))

    def _reply(self, publishing: Awaitable[None]) -> None:
        task = asyncio.ensure_future(publishing)
        self._replies.add(task)
        task.add_done_callback(self._replies.discard)


def _take(posts: deque[tuple[Post, Callback]]) -> list[tuple[Post, Callback]]:
    """The first of what waits, as much as one message carries."""
    batch: list[tuple[Post, Callback]] = []
    room = BATCH_BYTES_MAX
    while posts and len(batch) < limits.COMMIT_BATCH_MAX and room > 0:
        batch.append(posts.popleft())
        room -= len(batch[-1][0].body)
    return batch


def _said(answer: Answer | None, error: BaseException | None) -> Said:
    if isinstance(error, Refused):
        return Said(refused=(error.code, error.detail, error.status, error.place))
    return Said(answer=answer if error is None else None)


encode = msgspec.msgpack.Encoder().encode
_decode_handed = msgspec.msgpack.Decoder(Handed).decode
_decode_committed = msgspec.msgpack.Decoder(Committed).decode
