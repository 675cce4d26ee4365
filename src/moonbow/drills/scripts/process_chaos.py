"""For a minute random processes of random sites are killed, or hung for a while, while people talk."""

from __future__ import annotations

import asyncio
import signal

from ..drill import Drill
from ..stage import Process, send_signal

LASTS_S = 60.0
PAUSE_S = (0.5, 3.0)
HANG_S = (0.3, 6.0)  # beyond about 3 s its supervisor kills a hung process, which is part of the game


async def play(drill: Drill) -> None:
    """Kill or hang one process after another; at the end all are let go, and the laws must hold."""
    await drill.assemble()
    lasts = drill.lasting(LASTS_S)
    async with asyncio.TaskGroup() as tasks:
        talking = tasks.create_task(drill.crowd.talk(drill.rate, lasts))
        end = drill.recorder.now() + lasts
        while drill.recorder.now() < end:
            await asyncio.sleep(drill.rng.uniform(*PAUSE_S))
            await _harm_one(drill, tasks)
    drill.recorder.done("no more faults")
    drill.numbers["seconds until every process was ready"] = round(await drill.stage.wait_ready(), 2)
    await drill.finish()
    drill.numbers["messages a second"] = round(talking.result(), 1)


async def _harm_one(drill: Drill, tasks: asyncio.TaskGroup) -> None:
    running = [process for process in await drill.stage.processes() if process.name != "internet"]
    process = drill.rng.choice(running)
    if drill.rng.random() < 0.5:
        drill.recorder.done(f"kill {process.key}")
        send_signal(process, signal.SIGKILL)
    else:
        seconds = drill.rng.uniform(*HANG_S)
        drill.recorder.done(f"hang {process.key} for {seconds:.1f} s")
        tasks.create_task(_hang(process, seconds))


async def _hang(process: Process, seconds: float) -> None:
    if send_signal(process, signal.SIGSTOP):
        try:
            await asyncio.sleep(seconds)
        finally:
            send_signal(process, signal.SIGCONT)
