"""A rolling restart: every primary site in turn is drained, stopped and started, while people talk and see nothing."""

from __future__ import annotations

import asyncio

from .. import laws
from ..drill import Drill

SHOWN_S = 1.0  # the law: no message is later than this, inside a region or across a border
PAUSE_S = 2.0


async def play(drill: Drill) -> None:
    """Restart site after site; nobody's line may drop, no message may be late."""
    await drill.assemble()
    rolled = asyncio.Event()

    async def talk() -> float:
        rates: list[float] = []
        while not rolled.is_set():
            rates.append(await drill.crowd.talk(drill.rate, 1.0))
        return sum(rates) / len(rates)

    async with asyncio.TaskGroup() as tasks:
        talking = tasks.create_task(talk())
        await asyncio.sleep(drill.lasting(PAUSE_S))
        began = drill.recorder.now()
        for region in drill.stage.regions():
            for site in drill.stage.primaries(region):
                await _restart(drill, site)
        over = drill.recorder.now()
        await asyncio.sleep(drill.lasting(PAUSE_S))
        rolled.set()
    await drill.finish()
    everyone = [member.name for member in drill.crowd.members]
    drill.verdicts.append(laws.eventually_shown(drill.history, "inside", drill.near_rooms(), (began, over), SHOWN_S))
    drill.verdicts.append(laws.eventually_shown(drill.history, "across", drill.far, (began, over), SHOWN_S))
    drill.verdicts.append(laws.always_undisturbed(drill.history, everyone, 0.0))
    drill.verdicts.append(laws.always_answered(drill.history))
    drill.numbers["messages a second"] = round(talking.result(), 1)


async def _restart(drill: Drill, site: str) -> None:
    drill.recorder.done(f"{site} is drained and stopped; it serves {len(drill.members_at(site))} people")
    await drill.stage.stop_site(site)
    drill.recorder.done(f"{site} starts again")
    await drill.stage.start_site(site)
    drill.recorder.done(f"{site} is ready")
    await asyncio.sleep(drill.lasting(PAUSE_S))
