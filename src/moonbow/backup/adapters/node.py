"""One node of a region's cluster, alone, in a world that does not run: what a restore is put into.

It is the data agent of the region's first site, told to begin by itself as an operator would, so that everything is as
it will be: accounts, certificates, the cluster's history.  It leaves in order, as the last one: when the world starts
the node begins, and the others take everything from it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from moonbow.base.errors import ConfigError
from moonbow.base.files import make_private
from moonbow.base.leash import leash
from moonbow.base.line import Line
from moonbow.base.programs import end_process
from moonbow.world import Ports, World, site_address

from ..restore import node_folder

START_S = 120.0  # a first start makes the system tables
ASK_S, LOOK_S = 1.0, 0.1
STOP_S = 40.0  # the agent itself ends its engine after 25 s
SAID_BYTES = 2_000


@asynccontextmanager
async def lone_node(world: World, state: Path, region: str) -> AsyncGenerator[None]:
    """The region's database in `state` for as long as the block runs, on its first site's node.

    `ConfigError` if another node of the region holds anything, which this one may lack, or if the node does not start.
    """
    first, *others = world.primaries(region)
    for other in others:
        if (node_folder(state, other.site.name) / "data").exists():
            raise ConfigError(f"{other.site.name} holds data of region {region} too: start the whole world instead")
    folder, logs = node_folder(state, first.site.name), state / "sites" / first.site.name / "logs"
    if await _health(site_address(world, first)) is not None:  # never into a database that serves people
        raise ConfigError(f"a world runs at {site_address(world, first)} already: stop it, or take another slot")
    for needed in (folder, logs):
        make_private(needed)
    (folder / "force").touch(mode=0o600)
    agent = await _start(state, first.site.name, logs / "data.jsonl")
    try:
        await _until_ready(agent, site_address(world, first), first.site.name, logs)
        yield
    finally:
        await end_process(agent, STOP_S)


async def _start(state: Path, site: str, log: Path) -> Process:
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "moonbow.data", "--state", str(state), "--site", site),
            stdin=DEVNULL, stdout=said, stderr=said, process_group=0, preexec_fn=leash(),
        )  # fmt: skip
    finally:
        os.close(said)


async def _until_ready(agent: Process, address: str, site: str, logs: Path) -> None:
    try:
        async with asyncio.timeout(START_S):
            while agent.returncode is None:
                if await _health(address) == 200:
                    return
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        pass
    said = (logs / "data.jsonl").read_text(errors="replace")[-SAID_BYTES:].strip().splitlines()
    raise ConfigError(f"the database of {site} does not start alone (does a world run in this slot?):", *said[-5:])


async def _health(address: str) -> int | None:
    """What the data agent there says of its health; None if nobody answers."""
    line = None
    try:
        async with asyncio.timeout(ASK_S):
            _, line = await asyncio.get_running_loop().create_connection(Line, address, Ports.DATA)
            request = f"GET /healthz HTTP/1.1\r\nHost: {address}:{Ports.DATA}\r\n\r\n"
            return (await line.ask(request.encode()))[0]
    except (OSError, ValueError):  # nobody listens yet, it is late, or it is no HTTP
        return None
    finally:
        if line is not None:
            line.abort()
