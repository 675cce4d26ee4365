"""Serves the answers to a snapshot: in this process, in workers that share the port, or through a Knot DNS."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from moonbow.world import World

from .adapters.keyfiles import keep_secrets
from .adapters.knot_serving import KnotServing
from .adapters.nameserver import NameServer
from .adapters.workers import Workers
from .cookies import Jar
from .desk import Counts, Desk
from .dns import Printer
from .feed import Setup
from .knot import knot_settings
from .limiter import Rates
from .snapshot import Snapshot
from .zone import Servers

SECRETS = Path("world") / "director"  # below the state folder
LAST_GOOD_S = 6 * 3_600.0  # how long workers go on without a director


class Answers:
    """The name server of a director.  `serve` changes all answers at once; `bind` before `open`.

    With `workers` (usually those of the world file) that many processes share the work, each with a part of the rate.
    """

    def __init__(
        self,
        world: World,
        state: Path,
        addresses: Sequence[str],
        port: int,
        snapshot: Snapshot,
        *,
        servers: Servers | None = None,
        rates: Rates | None = None,
        workers: int | None = None,
        last_good_s: float = LAST_GOOD_S,
    ) -> None:
        rates, workers = rates or Rates(), world.dns.workers if workers is None else workers
        folder = state / SECRETS
        secrets = keep_secrets(folder, world.domain)
        self._serving: Workers | KnotServing | _Here
        if world.dns.engine == "knot":
            self._serving = KnotServing(knot_settings(world, state, addresses[0], port, servers), snapshot)
        elif workers:
            each = -(-rates.per_s // workers)
            setup = Setup(tuple(addresses), port, each, rates.slip, dict(servers or {}), last_good_s)
            socket = folder / f"feed-{addresses[0].replace(':', '-')}.sock"
            self._serving = Workers(socket, setup, workers, snapshot)
        else:
            printer = Printer(world, secrets.key, servers)
            self._serving = _Here(printer, Jar(secrets.cookie_root, time.time()), rates, addresses, port, snapshot)

    @property
    def port(self) -> int:
        """Where it listens; a port that was to be chosen is known once bound."""
        return self._serving.port

    @property
    def pids(self) -> dict[int, int]:
        """The worker processes that are there, by number."""
        return self._serving.pids if isinstance(self._serving, Workers) else {}

    def bind(self) -> None:
        """Take the addresses, so that questions wait; OSError if they are taken.  Workers take theirs themselves."""
        if isinstance(self._serving, _Here):
            self._serving.bind()

    async def open(self) -> None:
        """Answer from now on."""
        await self._serving.open()

    async def close(self) -> None:
        """Stop answering."""
        await self._serving.close()

    def serve(self, snapshot: Snapshot) -> None:
        """Answer from `snapshot` from now on."""
        self._serving.serve(snapshot)

    def refresh(self) -> None:
        """To be called now and then: make signatures anew, long before they end.  Workers do so themselves."""
        if isinstance(self._serving, _Here):
            self._serving.refresh()

    def counts(self) -> Counts:
        """All that was counted so far."""
        return self._serving.counts()


class _Here:
    """Serving in this process."""

    def __init__(
        self, printer: Printer, jar: Jar, rates: Rates, addresses: Sequence[str], port: int, snapshot: Snapshot
    ) -> None:
        self._printer = printer
        self._snapshot = snapshot
        self._desk = Desk(printer.make(snapshot, time.time()), jar, rates)
        self._server = NameServer(addresses, port, self._desk)

    @property
    def port(self) -> int:
        return self._server.port

    def bind(self) -> None:
        self._server.bind()

    async def open(self) -> None:
        await self._server.open()

    async def close(self) -> None:
        await self._server.close()

    def serve(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._desk.serve(self._printer.make(snapshot, time.time()))

    def refresh(self) -> None:
        if self._printer.is_due(time.time()):
            self.serve(self._snapshot)

    def counts(self) -> Counts:
        return self._desk.collect()
