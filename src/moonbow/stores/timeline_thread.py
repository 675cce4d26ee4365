"""The writing side of a timeline store that is the same for every engine: a queue, one thread, whom to tell.

The thread takes what is waiting and runs it as one transaction: the natural batch.  A busy process commits once for
many messages, a quiet one at once for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import Any, Concatenate, ParamSpec, TypeVar

from moonbow.base import limits
from moonbow.base.errors import Broken, Unavailable
from moonbow.timeline.model import Fresh
from moonbow.timeline.ports import Callback, Tx

from .timeline_batch import Engine, Work, run_batch

log = logging.getLogger(__name__)
ANSWER_S_MAX = 0.002  # that a batch waits for those whom the one before answered, if they were several
READS_MAX = 1_024  # waiting for a thread, where an engine reads in threads
P = ParamSpec("P")
T = TypeVar("T")


class WritingStore(ABC):
    """The writing half of `timeline.ports.Store`.  Callbacks run on the loop that made it.

    `_began` is when the transaction under way began, 0 when there is none.
    """

    def __init__(self, region: str) -> None:
        self.region = region
        self.commits = self.operations = 0
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._publish: Callable[[list[Fresh], bool], None] = lambda fresh, queued: None
        self._began = 0.0
        self._closing = False
        self._reading = 0
        self._answered = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_loop, name="timeline-writer", daemon=True)

    def on_commit(self, publish: Callable[[list[Fresh], bool], None]) -> None:
        """Who is told, on the loop, of the rows of every commit and whether the outbox grew; the callers hear first."""
        self._publish = publish

    def submit(self, work: Callable[..., Any], args: tuple[Any, ...], done: Callback) -> None:
        """Run `work(tx, *args)` in the next transaction; `done(result, error)` follows on the loop.

        `Unavailable` with `busy` when too much is waiting already, with `closing` when it is too late.
        """
        if self._closing:
            raise Unavailable("closing", "this gateway is going; another one will do it")
        if self._queue.qsize() >= limits.COMMIT_QUEUE_MAX:
            raise Unavailable("busy", "too many writes are waiting here; try again in a moment")
        self._queue.put(Work(work, args, done))

    async def write(self, work: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(tx, …)` in the next transaction and wait for its result."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.submit(functools.partial(work, **kwargs) if kwargs else work, args, done)
        return await future

    def busy_s(self) -> float:
        """For how long the transaction under way has been running, waiting for other processes not counted."""
        began = self._began
        return time.monotonic() - began if began else 0.0

    @contextlib.contextmanager
    def _one_read(self) -> Generator[None]:
        """While a read waits for a thread, or has it; `Unavailable` as `submit` says it."""
        if self._closing:
            raise Unavailable("closing", "this gateway is going; another one will do it")
        if self._reading >= READS_MAX:
            raise Unavailable("busy", "too many reads are waiting here; try again in a moment")
        self._reading += 1
        try:
            yield
        finally:
            self._reading -= 1

    def _stop_writing(self) -> None:
        """Commit what is waiting, then stop."""
        self._closing = True
        self._queue.put(None)
        self._thread.join(timeout=5)

    # -- the writer's thread: what an engine does in it --------------------------------------------------------------

    @abstractmethod
    def _engine(self) -> contextlib.AbstractContextManager[Engine]:
        """The engine, for one batch."""

    def _chore(self, *, last: bool) -> float | None:
        """Between batches: do what is due, or what is left if this is the `last` time; seconds until more is due."""
        return None

    # -- the writer's thread -----------------------------------------------------------------------------------------

    def _write_loop(self) -> None:
        more, due_s = True, self._chore(last=False)
        while more:
            batch = self._take(due_s)
            more = None not in batch
            works = [work for work in batch if work is not None]
            if works:
                fresh, queued = self._commit(works)
                self._answered.clear()
                with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                    self._loop.call_soon_threadsafe(self._finish, works, fresh, queued)
                    if len(works) > 1:
                        self._answered.wait(ANSWER_S_MAX)
            due_s = self._chore(last=not more)

    def _take(self, within_s: float | None) -> list[Work | None]:
        """What is waiting, at most one batch; nothing when it is time for a chore."""
        try:
            batch = [self._queue.get(timeout=within_s)]
        except queue.Empty:
            return []
        while len(batch) < limits.COMMIT_BATCH_MAX and not self._queue.empty():
            batch.append(self._queue.get())
        return batch

    def _commit(self, works: list[Work]) -> tuple[list[Fresh], bool]:
        try:
            with self._engine() as engine:
                return run_batch(engine, works)
        except Exception as error:  # whatever it is, those who wait are told, and the writer lives
            log.exception("a batch failed")
            for work in works:
                work.result, work.error = None, Broken(f"the store could not write: {error!r}")
            return [], False
        finally:
            self._began = 0.0

    def _finish(self, works: list[Work], fresh: list[Fresh], queued: bool) -> None:
        self.commits += 1
        self.operations += len(works)
        for work in works:
            try:
                work.done(work.result, work.error)
            except Exception:
                log.exception("an answer could not be taken")
        if fresh or queued:
            self._publish(fresh, queued)
        self._loop.call_soon(self._answered.set)  # after those who were answered, who may have more
