"""The data nodes of one region as a drill sees them: what their agents say, their engines' processes, their rows."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from moonbow.base.errors import ConfigError
from moonbow.launch.probe import get
from moonbow.stores.snapshot_galera import look_at_node
from moonbow.world import Ports, data_voters, site_address, sql_way

from .laws import Verdict
from .laws_data import finally_sites_hold_the_same
from .stage import Stage

ASK_S = 2.0
LOOK_S = 0.1
REDUNDANT_S = 180.0  # for a node to receive everything; 12 s and more
AGREE_TRIES, AGREE_PAUSE_S = 20, 0.5  # services write on after the last person


class Node(msgspec.Struct, frozen=True):
    """What an agent says of its node at `/status`, as far as a drill needs it."""

    ready: bool
    redundant: bool
    size: int
    why: str
    starts: int


class Nodes:
    """The sites of a region on MariaDB Galera: `sites` hold data, `witnesses` only vote."""

    def __init__(self, stage: Stage, region: str) -> None:
        self.stage, self.region = stage, region
        voters = data_voters(stage.world, region)
        self.sites = [ref.site.name for ref in voters if ref.site.kind == "primary"]
        self.witnesses = [ref.site.name for ref in voters if ref.site.kind == "witness"]

    def folder(self, site: str) -> Path:
        """Where a site's engine keeps everything."""
        return self.stage.state / "sites" / site / "sql"

    async def look(self, site: str) -> Node | None:
        """What the agent of a site says; None if it does not."""
        address = site_address(self.stage.world, self.stage.world.site(site))
        try:
            async with asyncio.timeout(ASK_S):
                _, body = await get(address, Ports.DATA, "/status")
            return msgspec.json.decode(body, type=Node)
        except (OSError, ValueError):
            return None

    async def starts(self) -> dict[str, int]:
        """How often the agent of each site has started its engine."""
        found = {site: await self.look(site) for site in self.sites}
        return {site: node.starts for site, node in found.items() if node is not None}

    async def until_redundant(self, within_s: float = REDUNDANT_S, since: Mapping[str, int] | None = None) -> float:
        """Wait until the cluster is complete and everybody serves; the seconds it took, `ConfigError` if too many.

        `since`: what `starts` said, if all engines must have been started again: agents need a moment to see a death.
        """
        began, before = time.monotonic(), since or {}
        while True:
            found = {site: await self.look(site) for site in (*self.sites, *self.witnesses)}
            again = {
                site for site, node in found.items() if node and node.redundant and node.starts > before.get(site, -1)
            }
            if again == set(found):
                return time.monotonic() - began
            if time.monotonic() - began > within_s:
                said = "; ".join(f"{site}: {node.why if node else 'silent'}" for site, node in found.items())
                raise ConfigError(f"the cluster of {self.region} is not complete after {within_s:g} s: {said}")
            await asyncio.sleep(LOOK_S)

    async def until_left(self, site: str, within_s: float) -> bool:
        """Whether the others went on without a site in time."""
        began = time.monotonic()
        others = [one for one in self.sites if one != site]
        while time.monotonic() - began < within_s:
            sizes = [node.size for one in others if (node := await self.look(one)) is not None and node.ready]
            if sizes and max(sizes) < len(self.sites) + len(self.witnesses):
                return True
            await asyncio.sleep(LOOK_S)
        return False

    async def engine_pid(self, site: str) -> int:
        """The process of a site's engine; `ConfigError` if it does not run."""
        agents = [one for one in await self.stage.processes() if (one.site, one.name) == (site, "data")]
        if agents and (pid := agents[0].pid) is not None and len(children := _children(pid)) == 1:
            return children[0]
        raise ConfigError(f"the engine of {site} does not run")

    async def compare(self) -> Verdict:
        """The law that all sites hold the same rows, tried until what the services still write is everywhere."""
        tries = 0
        while True:
            tries += 1
            copies = {site: await asyncio.to_thread(self._digests, site) for site in self.sites}
            verdict = finally_sites_hold_the_same(copies)
            if verdict.held or tries >= AGREE_TRIES:
                return verdict
            await asyncio.sleep(AGREE_PAUSE_S)

    def _digests(self, site: str) -> dict[str, str]:
        """A digest of all rows of each table at a site, whatever their order."""
        way = sql_way(self.stage.world, self.stage.state, self.region, site)
        found: dict[str, str] = {}
        with look_at_node(way) as snapshot:
            for table in snapshot.tables():
                total = 0
                for row in snapshot.rows(table):
                    total += int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=16).digest())
                found[table] = f"{total:x}"
        return found


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
