"""A region's witness is lost and comes back: nobody notices, and nobody says meanwhile that a site may be lost too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from .. import laws
from ..cluster import begin, conclude, judge_undisturbed, judge_writes, mended
from ..drill import Drill
from ..nodes import Nodes

BEFORE_S, AWAY_S, AFTER_S = 3.0, 10.0, 3.0
LEFT_S = 5.0


async def play(drill: Drill) -> None:
    """Kill the witness under load, look at what the nodes say, start it again."""
    nodes = await begin(drill)
    witness = nodes.witnesses[0]
    async with drill.load():
        await asyncio.sleep(drill.lasting(BEFORE_S))
        killed_at = drill.recorder.done(f"{witness} loses power")
        await drill.stage.kill_site(witness)
        await asyncio.sleep(LEFT_S + drill.lasting(AWAY_S))
        said = [fault async for fault in _boasts(nodes)]
        started_at = drill.recorder.done(f"{witness} starts again")
        await drill.stage.start_site(witness)
        await mended(drill, nodes, started_at, "from the witness's start to a complete cluster")
        await asyncio.sleep(drill.lasting(AFTER_S))
    await conclude(drill, nodes)
    drill.verdicts += [
        laws.always_answered(drill.history),
        laws.judge("always_says_what_it_cannot_lose", f"{len(nodes.sites)} nodes", iter(said)),
    ]
    judge_undisturbed(drill, [member.name for member in drill.crowd.members])
    judge_writes(drill, nodes, killed_at)


async def _boasts(nodes: Nodes) -> AsyncIterator[str]:
    for site in nodes.sites:
        node = await nodes.look(site)
        if node is None or not node.ready:
            yield f"{site} does not serve"
        elif node.redundant:
            yield f"{site} says that any site may be lost, without a witness"
