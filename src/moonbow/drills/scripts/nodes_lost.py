"""The engines of all data nodes of a region die at once (SIGKILL), and are started again by nobody but their agents."""

from __future__ import annotations

import asyncio
import os
import signal

from ..cluster import begin, conclude, judge_writes, mended
from ..drill import Drill

BEFORE_S, AFTER_S = 4.0, 6.0
AGAIN_S = 45.0  # for the nodes to recover, find together, and be found by the services


async def play(drill: Drill) -> None:
    """Kill them in the middle of everything; the witness lives."""
    nodes = await begin(drill)
    async with drill.load():
        await asyncio.sleep(drill.lasting(BEFORE_S))
        pids = [await nodes.engine_pid(site) for site in nodes.sites]
        starts = await nodes.starts()
        killed_at = drill.recorder.done(f"the engines of {' and '.join(nodes.sites)} die")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await mended(drill, nodes, killed_at, "from the death of all nodes to a complete cluster", starts)
        await asyncio.sleep(AFTER_S)
    await conclude(drill, nodes)
    judge_writes(drill, nodes, killed_at, AGAIN_S)
