"""A site loses its power and its disk under load, and comes back with an empty one: its sister sends it everything."""

from __future__ import annotations

import asyncio
import shutil

from ..cluster import at_site, begin, busiest, conclude, judge_back, judge_undisturbed, judge_writes, mended
from ..drill import Drill

BEFORE_S, AWAY_S, AFTER_S = 4.0, 10.0, 5.0


async def play(drill: Drill) -> None:
    """Kill the site that serves most people of the first region with a cluster, and delete its data node's folder."""
    nodes = await begin(drill)
    before, away, after = (drill.lasting(s) for s in (BEFORE_S, AWAY_S, AFTER_S))
    async with drill.load():
        await asyncio.sleep(before)
        site = busiest(drill, nodes)
        hit, others = at_site(drill, site)
        killed_at = drill.recorder.done(f"{site} loses power and disk; it served {len(hit)} people")
        await drill.stage.kill_site(site)
        await asyncio.to_thread(shutil.rmtree, nodes.folder(site))
        await asyncio.sleep(away)
        started_at = drill.recorder.done(f"{site} starts again, with an empty disk")
        await drill.stage.start_site(site)
        drill.recorder.done(f"{site} is ready")
        await mended(drill, nodes, started_at, "from an empty disk to a complete cluster")
        await asyncio.sleep(after)
    await conclude(drill, nodes)
    judge_back(drill, hit, killed_at)
    judge_undisturbed(drill, others)
    judge_writes(drill, nodes, killed_at)
