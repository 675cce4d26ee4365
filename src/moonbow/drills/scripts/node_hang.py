"""The engine of a data node hangs (SIGSTOP): the others go on without it, its site's services use the sister's node."""

from __future__ import annotations

import asyncio
import os
import signal

from ..cluster import at_site, begin, busiest, conclude, judge_undisturbed, judge_writes, mended
from ..drill import Drill
from ..laws_data import eventually_written_again, write_pause_s

BEFORE_S, AFTER_S = 4.0, 5.0
HANG_S = 18.0  # less than the agent's patience with an engine that does not answer
LEFT_S = 5.0  # a node that says nothing is out after 1.5 to 3 s
MOVED_AFTER_S = 9.0  # one wait for an answer in vain, and one more of who asked just before the first was over
MOVED_S = 3.0  # answers at the hung site, once its services have moved


async def play(drill: Drill) -> None:
    """Hang the engine of the site that serves most people, for eighteen seconds."""
    nodes = await begin(drill)
    async with drill.load():
        await asyncio.sleep(drill.lasting(BEFORE_S))
        site = busiest(drill, nodes)
        hit, others = at_site(drill, site)
        pid = await nodes.engine_pid(site)
        hung_at = drill.recorder.done(f"the engine of {site} hangs; the site serves {len(hit)} people")
        os.kill(pid, signal.SIGSTOP)
        try:
            left = await nodes.until_left(site, LEFT_S)
            drill.recorder.done(f"the others {'go on without it' if left else 'still wait for it'}")
            await asyncio.sleep(HANG_S - LEFT_S)
        finally:
            os.kill(pid, signal.SIGCONT)
        woken_at = drill.recorder.done(f"the engine of {site} goes on")
        await mended(drill, nodes, woken_at, "from waking to a complete cluster")
        await asyncio.sleep(drill.lasting(AFTER_S))
    await conclude(drill, nodes)
    judge_undisturbed(drill, others)
    judge_writes(drill, nodes, hung_at)
    rooms = drill.near[nodes.region]
    moved_s = write_pause_s(drill.history, rooms, hung_at + MOVED_AFTER_S, woken_at, hit)
    drill.verdicts.append(eventually_written_again(moved_s, MOVED_S, f"people of {site}, once moved"))
