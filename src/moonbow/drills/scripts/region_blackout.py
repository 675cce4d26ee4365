"""A whole region loses power at once, witness and edges included, and is started again with nobody's help."""

from __future__ import annotations

import asyncio

from ..cluster import begin, conclude, judge_back, judge_undisturbed, mended
from ..drill import Drill

BEFORE_S, AWAY_S, AFTER_S = 4.0, 6.0, 6.0
BACK_S = 15.0  # once the region is ready; clients that fail again and again wait ever longer between two tries


async def play(drill: Drill) -> None:
    """SIGKILL to every process of the first region with a cluster, then `start`."""
    nodes = await begin(drill)
    before, away, after = (drill.lasting(s) for s in (BEFORE_S, AWAY_S, AFTER_S))
    hit = [member.name for member in drill.crowd.members if member.region == nodes.region]
    async with drill.load():
        await asyncio.sleep(before)
        drill.recorder.done(f"{nodes.region} loses power")
        await drill.stage.kill_site(nodes.region)
        await asyncio.sleep(away)
        started_at = drill.recorder.done(f"{nodes.region} starts again")
        await drill.stage.start_site(nodes.region)
        ready_at = drill.recorder.done(f"{nodes.region} is ready")
        drill.numbers["from the start of all to ready, s"] = round(ready_at - started_at, 1)
        await mended(drill, nodes, started_at, "from the start of all to a complete cluster")
        await asyncio.sleep(after + BACK_S)
    await conclude(drill, nodes)
    judge_back(drill, hit, started_at, ready_at - started_at + BACK_S)
    judge_undisturbed(drill, [one.name for one in drill.crowd.members if one.name not in hit])
