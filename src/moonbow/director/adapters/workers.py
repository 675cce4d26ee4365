"""Worker processes that answer DNS: started, told every snapshot, counted, started again when they die.

Workers outlive a director that dies, and go on with what they were told last; the next director finds them by its
socket and takes them over.  A clean end of the director ends them too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from asyncio.subprocess import Process
from pathlib import Path

import msgspec

from moonbow.director.desk import Counts
from moonbow.director.feed import (
    ALIVE,
    BODY_BYTES_MAX,
    GROUND,
    HEAD_BYTES,
    HELLO,
    QUIT,
    REPORT,
    SNAPSHOT,
    Hello,
    Report,
    Setup,
    counts_of,
    frame,
    ground_of,
    mind_of,
    same_ground,
)
from moonbow.director.snapshot import Snapshot

ALIVE_S = 0.5
LOOK_S = 0.2
ADOPT_S = 0.4  # for workers of an earlier director to come, before new ones are started
AGAIN_S = 1.0  # between two starts of the same worker
WAITING_BYTES_MAX = 64 * 1_048_576
HELLO_S = 2.0
END_S = 2.0

log = logging.getLogger("moonbow.director")


class Workers:
    """`wanted` processes with the same set-up."""

    def __init__(self, socket_path: Path, setup: Setup, wanted: int, snapshot: Snapshot) -> None:
        self._counts = Counts()
        self._reports: dict[int, tuple[Report, float]] = {}  # with the monotonic time when it came
        self._socket = socket_path
        self._setup = setup
        self._wanted = wanted
        self._snapshot = snapshot
        self._ground = frame(GROUND, ground_of(snapshot))
        self._lines: dict[int, asyncio.StreamWriter] = {}
        self._children: dict[int, Process] = {}
        self._started_s: dict[int, float] = {}
        self._pids: dict[int, int] = {}
        self._server: asyncio.Server | None = None
        self._tending: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen for workers, those of an earlier director first, and start what is missing."""
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()
        self._server = await asyncio.start_unix_server(self._welcome, self._socket)
        self._tending = asyncio.create_task(self._tend())

    async def close(self) -> None:
        """Tell all workers to end, and wait for those started here."""
        if self._tending is not None:
            self._tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tending
        if self._server is not None:
            self._server.close()
        for line in self._lines.values():
            line.write(frame(QUIT))
        for child in self._children.values():
            with contextlib.suppress(ProcessLookupError):
                if child.returncode is None:
                    child.terminate()
        for child in self._children.values():
            try:
                async with asyncio.timeout(END_S):
                    await child.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        for line in tuple(self._lines.values()):
            line.close()
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()

    def serve(self, snapshot: Snapshot) -> None:
        """Tell all workers."""
        moved = not same_ground(snapshot, self._snapshot)
        self._snapshot = snapshot
        if moved:
            self._ground = frame(GROUND, ground_of(snapshot))
        told = (self._ground if moved else b"") + frame(SNAPSHOT, mind_of(snapshot))
        for number in tuple(self._lines):
            self._tell(number, told)

    def counts(self) -> Counts:
        """What all workers have reported, and how they are."""
        now_s = time.monotonic()
        found = self._counts
        found.workers = {at: (report.snapshot, now_s - came_s) for at, (report, came_s) in self._reports.items()}
        found.tcp_connections = sum(report.tcp_connections for report, _ in self._reports.values())
        return found

    @property
    def port(self) -> int:
        """Where they listen."""
        return self._setup.port

    @property
    def pids(self) -> dict[int, int]:
        """The processes that are there, by number."""
        return {number: self._pids[number] for number in self._lines}

    def _tell(self, number: int, told: bytes) -> None:
        line = self._lines[number]
        if line.transport.get_write_buffer_size() > WAITING_BYTES_MAX:
            log.error("worker does not listen", extra={"f": {"worker": number}})
            line.transport.abort()
        else:
            line.write(told)

    async def _tend(self) -> None:
        await asyncio.sleep(ADOPT_S)
        alive_s = 0.0
        while True:
            for number in range(self._wanted):
                if number not in self._lines:
                    await self._start(number)
            if (now_s := time.monotonic()) - alive_s >= ALIVE_S:
                alive_s = now_s
                for number in tuple(self._lines):
                    self._tell(number, frame(ALIVE))
            await asyncio.sleep(LOOK_S)

    async def _start(self, number: int) -> None:
        """Start a worker that is neither there nor on its way."""
        child, now_s = self._children.get(number), time.monotonic()
        if child is not None and child.returncode is None:
            return
        if now_s - self._started_s.get(number, 0.0) < AGAIN_S:
            return
        if child is not None or number in self._pids:
            self._counts.restarts += 1
            log.warning("worker ended", extra={"f": {"worker": number, "code": child.returncode if child else None}})
        self._started_s[number] = now_s
        try:
            self._children[number] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "moonbow.director.worker", "--socket", str(self._socket)),
                *("--number", str(number), "--setup", msgspec.json.encode(self._setup).decode()),
            )
        except OSError as error:  # no memory or process left now: the others are tended all the same
            log.error("worker cannot be started", extra={"f": {"worker": number, "why": str(error)}})

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = -1
        try:
            async with asyncio.timeout(HELLO_S):
                kind, body = await _read(reader)
            hello = msgspec.json.decode(body, type=Hello)
            fits = kind == HELLO and hello.setup == self._setup and 0 <= hello.number < self._wanted
            if not fits or hello.number in self._lines:
                writer.write(frame(QUIT))
                return
            number = hello.number
            self._lines[number], self._pids[number] = writer, hello.pid
            log.info("worker", extra={"f": {"worker": number, "pid": hello.pid, "served": hello.snapshot}})
            writer.write(self._ground + frame(SNAPSHOT, mind_of(self._snapshot)))
            while True:
                kind, body = await _read(reader)
                if kind == REPORT:
                    self._note(number, msgspec.json.decode(body, type=Report))
        except (OSError, EOFError, TimeoutError, msgspec.DecodeError):
            pass
        finally:
            if number >= 0 and self._lines.get(number) is writer:
                del self._lines[number]
                self._reports.pop(number, None)
            writer.close()

    def _note(self, number: int, report: Report) -> None:
        self._reports[number] = (report, time.monotonic())
        self._counts.add(counts_of(report))


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readexactly(HEAD_BYTES)
    size = int.from_bytes(head[:4], "big")
    if size > BODY_BYTES_MAX:
        raise EOFError
    return head[4], await reader.readexactly(size)
