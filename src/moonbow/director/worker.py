"""`python -m moonbow.director.worker`: one process that answers DNS with what its director last told it.

UDP has the main thread to itself; TCP, the director's words and the report have another.  When the director is gone the
worker goes on with the last good snapshot, says how old that is (log, and a `.prom` file beside the socket), makes
new signatures in time, and looks for a director until `last_good_s` is over.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from moonbow.base.errors import ConfigError
from moonbow.base.log import start_log

from .adapters.datagrams import Datagrams
from .adapters.keyfiles import Secrets, keep_secrets
from .adapters.nameserver import NameServer
from .cookies import Jar
from .desk import Desk
from .dns import Printer
from .feed import (
    BODY_BYTES_MAX,
    GROUND,
    HEAD_BYTES,
    HELLO,
    QUIT,
    REPORT,
    SNAPSHOT,
    Hello,
    Setup,
    frame,
    ground_from,
    report_of,
    snapshot_from,
)
from .limiter import Rates
from .snapshot import Snapshot

RETRY_S = 0.1
ALARM_S = 3.0  # without a word of the director
REPORT_S = 1.0
CREDENTIALS = struct.Struct("iII")  # process, user, group: see unix(7)

log = logging.getLogger("moonbow.director.worker")


class Worker:
    """The process.  `run` serves until told to quit, a signal, or too long without a director."""

    def __init__(self, socket_path: Path, number: int, setup: Setup) -> None:
        self._socket = socket_path
        self._number = number
        self._setup = setup
        self._desk: Desk | None = None
        self._server: NameServer | None = None
        self._datagrams: Datagrams | None = None
        self._printer: Printer | None = None
        self._secrets: Secrets | None = None
        self._ground: tuple[Any, ...] = ()
        self._snapshot: Snapshot | None = None
        self._heard_s = time.monotonic()
        self._alarmed = False
        self._serving = threading.Event()
        self._ended = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> None:
        """Serve; returns when the end has come."""
        other = threading.Thread(target=self._run_loop, daemon=True)
        other.start()
        while not self._serving.wait(0.2) and not self._ended.is_set():
            pass
        if self._datagrams is not None and not self._ended.is_set():
            gc.collect()
            gc.freeze()
            self._datagrams.run()
        self.stop()
        other.join(2)

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler."""
        self._ended.set()
        if self._datagrams is not None:
            self._datagrams.stop()
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._task.cancel)

    def _run_loop(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                uvloop.run(self._main())
        except Exception:
            log.exception("worker")
        finally:
            self._ended.set()
            if self._datagrams is not None:
                self._datagrams.stop()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow())
                tasks.create_task(self._watch())
        finally:
            if self._datagrams is not None:
                self._datagrams.stop()
            if self._server is not None:
                await self._server.close()

    async def _follow(self) -> None:
        """Listen to the director, whoever that is at the time."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._socket)
            except OSError:
                await asyncio.sleep(RETRY_S)
                continue
            try:
                if user_of(writer) != os.geteuid():
                    raise OSError("somebody else's socket")
                number = self._snapshot.number if self._snapshot else -1
                hello = Hello(self._number, os.getpid(), self._setup, number)
                writer.write(frame(HELLO, msgspec.json.encode(hello)))
                async with asyncio.TaskGroup() as tasks:
                    talking = tasks.create_task(self._report(writer))
                    await self._listen(reader)
                    talking.cancel()
            except* (OSError, EOFError):
                pass
            finally:
                writer.close()
            await asyncio.sleep(RETRY_S)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            head = await reader.readexactly(HEAD_BYTES)
            size, kind = int.from_bytes(head[:4], "big"), head[4]
            if size > BODY_BYTES_MAX:
                raise EOFError
            body = await reader.readexactly(size)
            self._heard_s = time.monotonic()
            if kind == QUIT:
                self.stop()
            elif kind == GROUND:
                self._ground = ground_from(body)
            elif kind == SNAPSHOT:
                await self._take(snapshot_from(self._ground, body))

    async def _take(self, snapshot: Snapshot) -> None:
        """Answer from a new snapshot; the first one opens the doors."""
        self._snapshot = snapshot
        now_s = time.time()
        if self._desk is None or self._printer is None:
            self._secrets = keep_secrets(self._socket.parent, snapshot.world.domain)
            self._printer = Printer(snapshot.world, self._secrets.key, self._setup.servers or None)
            rates = Rates(self._setup.rate_per_s, self._setup.slip)
            responder = self._printer.make(snapshot, now_s)
            self._desk = Desk(responder, Jar(self._secrets.cookie_root, now_s), rates)
            await self._open(self._desk)
        else:
            self._desk.serve(self._printer.make(snapshot, now_s))

    async def _open(self, desk: Desk) -> None:
        self._server = NameServer(self._setup.addresses, self._setup.port, desk, share_port=True)
        self._datagrams = Datagrams(self._server.bind(), desk, desk.tick)
        await self._server.open_streams()
        self._serving.set()

    async def _report(self, writer: asyncio.StreamWriter) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            if self._desk is not None and self._snapshot is not None:
                report = report_of(self._desk.take(), self._snapshot.number)
                writer.write(frame(REPORT, msgspec.json.encode(report)))
                await writer.drain()

    async def _watch(self) -> None:
        """How old the director's last word is; signatures before they end; the end of patience."""
        while True:
            await asyncio.sleep(REPORT_S / 2)
            age_s = time.monotonic() - self._heard_s
            if (age_s > ALARM_S) is not self._alarmed:
                self._alarmed = not self._alarmed
                word = "director gone, the last good answers stand" if self._alarmed else "director is back"
                log.log(logging.ERROR if self._alarmed else logging.INFO, word, extra={"f": {"age_s": round(age_s, 1)}})
            self._write_age(age_s)
            if self._printer and self._desk and self._snapshot and self._printer.is_due(time.time()):
                self._desk.serve(self._printer.make(self._snapshot, time.time()))
            if age_s > self._setup.last_good_s:
                log.error("nobody came back: ending", extra={"f": {"age_s": round(age_s, 1)}})
                self.stop()

    def _write_age(self, age_s: float) -> None:
        """For a collector of text files, who needs no director to be alive."""
        label = f'{{worker="{self._number}"}}'
        number = self._snapshot.number if self._snapshot else -1
        text = (
            f"moonbow_director_worker_state_age_seconds{label} {age_s:.1f}\n"
            f"moonbow_director_worker_state_stale{label} {int(age_s > ALARM_S)}\n"
            f"moonbow_director_worker_snapshot{label} {number}\n"
        )
        path = self._socket.with_name(f"{self._socket.stem}-{self._number}.prom")
        part = path.with_name(f"{path.name}.part")
        with contextlib.suppress(OSError):  # a full disk is no reason to stop answering
            part.write_text(text)
            part.replace(path)


def user_of(writer: asyncio.StreamWriter) -> int:
    """Whose process is at the other end of a Unix socket: what it says is unpickled, so it must be our own."""
    credentials: bytes = writer.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size
    )
    return int(CREDENTIALS.unpack(credentials)[1])


def main() -> int:
    """0 after a clean stop, 2 for what the operator must mend."""
    parser = argparse.ArgumentParser(prog="python -m moonbow.director.worker", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="where the director is")
    parser.add_argument("--number", type=int, required=True, help="which of the workers this is")
    parser.add_argument("--setup", required=True, help="how to serve, as JSON")
    given = parser.parse_args()
    start_log("world", f"director-worker{given.number}")
    worker = Worker(given.socket, given.number, msgspec.json.decode(given.setup, type=Setup))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    try:
        worker.run()
    except (ConfigError, OSError) as error:
        print(f"worker: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
