"""Every live event of a region is lost: its bus and border servers are hung, all of them, while people talk."""

from __future__ import annotations

import asyncio

from moonbow.bus.policy import SERVERS

from .. import laws
from ..drill import Drill
from ..stage import frozen

SHOWN_S = 3.0  # the law: a message is on every screen, bus or not
HEALED_S = 5.0  # the law: what had to wait for the bus is on every screen so long after its return
BEFORE_S, LOST_S, AFTER_S = 2.0, 10.0, 4.0


async def play(drill: Drill) -> None:
    """Hang the bus of the first region.  Rooms inside it must not mind; what crosses borders waits and arrives."""
    await drill.assemble()
    region = drill.stage.regions()[0]
    before, lost, after = (drill.lasting(s) for s in (BEFORE_S, LOST_S, AFTER_S))
    async with asyncio.TaskGroup() as tasks:
        talking = tasks.create_task(drill.crowd.talk(drill.rate, before + lost + after))
        await asyncio.sleep(before)
        began = drill.recorder.now()
        end = began + lost
        while drill.recorder.now() < end:  # a hung server is replaced by its supervisor: hang the new one too
            sites = drill.stage.primaries(region)
            servers = [p for p in await drill.stage.processes() if p.name in SERVERS and p.site in sites]
            drill.recorder.done(f"hang {', '.join(server.key for server in servers)}")
            with frozen(servers):
                await asyncio.sleep(min(2.5, max(0.1, end - drill.recorder.now())))
        over = drill.recorder.done("the bus is let go")
    await drill.finish()
    near, everywhere = drill.near[region], list(drill.crowd.rooms)
    drill.verdicts.append(laws.eventually_shown(drill.history, "inside", near, (began, over), SHOWN_S))
    drill.verdicts.append(laws.eventually_shown(drill.history, "everywhere", everywhere, (began, over), HEALED_S, over))
    drill.numbers["messages a second"] = round(talking.result(), 1)
