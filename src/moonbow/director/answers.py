"""Serves the answers to a snapshot: in this process, for a laptop, or in several worker processes on the same port."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from moonbow.world import World

from .adapters.keyfiles import keep_secrets
from .adapters.nameserver import NameServer
from .cookies import Jar
from .desk import Counts, Desk
from .dns import Printer
from .limiter import Rates
from .snapshot import Snapshot
from .zone import Servers

SECRETS = Path("world") / "director"  # below the state folder


class Answers:
    """The name server of this process.  `serve` changes all answers at once; `bind` before `open`."""

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
    ) -> None:
        secrets = keep_secrets(state / SECRETS, world.domain)
        self._printer = Printer(world, secrets.key, servers)
        self._snapshot = snapshot
        self._desk = Desk(self._printer.make(snapshot, time.time()), Jar(secrets.cookie_root, time.time()), rates)
        self._server = NameServer(addresses, port, self._desk)

    @property
    def port(self) -> int:
        """Where it listens, once bound."""
        return self._server.port

    def bind(self) -> None:
        """Take the addresses; OSError if they are taken."""
        self._server.bind()

    async def open(self) -> None:
        """Answer from now on."""
        await self._server.open()

    async def close(self) -> None:
        """Stop answering."""
        await self._server.close()

    def serve(self, snapshot: Snapshot) -> None:
        """Answer from `snapshot` from now on."""
        self._snapshot = snapshot
        self._desk.serve(self._printer.make(snapshot, time.time()))

    def refresh(self) -> None:
        """To be called now and then: make signatures anew, long before they end."""
        if self._printer.is_due(time.time()):
            self.serve(self._snapshot)

    def counts(self) -> Counts:
        """All that was counted so far."""
        return self._desk.collect()
