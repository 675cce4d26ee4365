"""A site loses power under load (SIGKILL to all its processes), stays away, and comes back."""

from __future__ import annotations

import asyncio

from .. import laws
from ..drill import Drill
from ..measure import outage_times

BACK_S = 3.0  # the law: every client of a dead site is served again, with all it missed
BEFORE_S, AWAY_S, AFTER_S = 4.0, 10.0, 6.0


async def play(drill: Drill) -> None:
    """Kill the site that serves most people of the first region."""
    await drill.assemble()
    before, away, after = (drill.lasting(s) for s in (BEFORE_S, AWAY_S, AFTER_S))
    async with asyncio.TaskGroup() as tasks:
        talking = tasks.create_task(drill.crowd.talk(drill.rate, before + away + after))
        await asyncio.sleep(before)
        site = max(drill.stage.primaries(drill.stage.regions()[0]), key=lambda name: len(drill.members_at(name)))
        hit = [member.name for member in drill.members_at(site)]
        others = [member.name for member in drill.crowd.members if member.name not in hit]
        killed_at = drill.recorder.done(f"{site} loses power; it served {len(hit)} people")
        await drill.stage.kill_site(site)
        await asyncio.sleep(away)
        drill.recorder.done(f"{site} starts again")
        await drill.stage.start_site(site)
        drill.recorder.done(f"{site} is ready")
    await drill.finish()
    drill.verdicts.append(laws.eventually_back(drill.history, hit, killed_at, BACK_S))
    drill.verdicts.append(laws.always_undisturbed(drill.history, others, 0.0))
    drill.numbers["outage of the dead site's people"] = outage_times(drill.history, hit, killed_at)
    drill.numbers["messages a second"] = round(talking.result(), 1)
