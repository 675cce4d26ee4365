"""A data node comes back after many writes that it has not seen: once as it left, once with what it noted damaged."""

from __future__ import annotations

import asyncio

from ..cluster import at_site, begin, busiest, conclude, judge_back, judge_undisturbed, judge_writes, mended
from ..drill import Drill

BEFORE_S, AWAY_S, AFTER_S = 3.0, 20.0, 4.0
DAMAGE = b"# GALERA saved state\nversion: 2.1\nuuid:    0000"  # torn in the middle of a line


async def play(drill: Drill) -> None:
    """The same site is lost twice under load."""
    nodes = await begin(drill)
    async with drill.load():
        await asyncio.sleep(drill.lasting(BEFORE_S))
        site = busiest(drill, nodes)
        hit, others = at_site(drill, site)
        killed_at = drill.recorder.done(f"{site} loses power; it served {len(hit)} people")
        await drill.stage.kill_site(site)
        await asyncio.sleep(drill.lasting(AWAY_S))
        started_at = drill.recorder.done(f"{site} starts again, as it was")
        await drill.stage.start_site(site)
        await mended(drill, nodes, started_at, "from the start of a stale node to a complete cluster")
        drill.recorder.done(f"{site} loses power again")
        await drill.stage.kill_site(site)
        (nodes.folder(site) / "data" / "grastate.dat").write_bytes(DAMAGE)
        await asyncio.sleep(drill.lasting(AWAY_S))
        started_at = drill.recorder.done(f"{site} starts again, its grastate.dat torn")
        await drill.stage.start_site(site)
        await mended(drill, nodes, started_at, "from the start of a damaged node to a complete cluster")
        await asyncio.sleep(drill.lasting(AFTER_S))
    await conclude(drill, nodes)
    judge_back(drill, hit, killed_at)
    judge_undisturbed(drill, [name for name in others if not name.startswith(nodes.region)])
    judge_writes(drill, nodes, killed_at)
