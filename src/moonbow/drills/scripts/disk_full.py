"""The disk of one data node is full under load: the site's node leaves, and comes back when there is room again.

The disk is a small file system in memory, mounted in place of the node's folder, and taken away afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

from moonbow.base.errors import ConfigError

from .. import laws
from ..cluster import at_site, conclude, judge_undisturbed, judge_writes, mended
from ..drill import Drill
from ..nodes import Nodes

BEFORE_S, FULL_S, AFTER_S = 4.0, 15.0, 5.0
DISK_BYTES = 1_000_000_000
FILL_BYTES = 1_048_576
LEFT_S = 60.0
PAUSE_S = 12.0  # the node hangs in its writing for a while before its engine gives up


async def play(drill: Drill) -> None:
    """Give the first site a small disk, fill it to the last byte, make room again."""
    nodes = Nodes(drill.stage, drill.stage.clusters()[0])
    site = nodes.sites[0]
    async with _small_disk(drill, nodes, site) as disk:
        await drill.assemble()
        async with drill.load():
            await asyncio.sleep(drill.lasting(BEFORE_S))
            hit, others = at_site(drill, site)
            full_at = drill.recorder.done(f"the disk of {site} is full; it serves {len(hit)} people")
            ballast = await asyncio.to_thread(_fill, disk)
            left = await nodes.until_left(site, LEFT_S)
            drill.recorder.done(f"the node of {site} {'has left' if left else 'is still there'}")
            await asyncio.sleep(drill.lasting(FULL_S))
            ballast.unlink()
            room_at = drill.recorder.done(f"{site} has room again")
            await mended(drill, nodes, room_at, "from room to a complete cluster")
            await asyncio.sleep(drill.lasting(AFTER_S))
        await conclude(drill, nodes)
    drill.verdicts.append(laws.judge("eventually_left", site, iter([] if left else [f"{site} stayed {LEFT_S:g} s"])))
    judge_undisturbed(drill, others)
    judge_writes(drill, nodes, full_at, PAUSE_S)


@contextlib.asynccontextmanager
async def _small_disk(drill: Drill, nodes: Nodes, site: str) -> AsyncGenerator[Path]:
    """A site's data on a disk of its own; afterwards on the old one, where it catches up."""
    disk, beside = nodes.folder(site), nodes.folder(site).with_name("sql.small")
    beside.mkdir(mode=0o700)
    _run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "moonbow-drill", str(beside))
    mounted = beside
    try:
        await drill.stage.stop_site(site)
        await asyncio.to_thread(shutil.copytree, disk, beside, dirs_exist_ok=True)
        _run("mount", "--move", str(beside), str(disk))
        mounted = disk
        await drill.stage.start_site(site)
        await nodes.until_redundant()
        drill.recorder.done(f"{site} has a small disk")
        yield disk
        await drill.stage.stop_site(site)
    finally:
        if mounted == disk:
            await drill.stage.kill_site(site)  # if it was not stopped: nothing may lie on what goes away
        _run("umount", str(mounted))
        beside.rmdir()
    await drill.stage.start_site(site)
    await nodes.until_redundant()


def _fill(disk: Path) -> Path:
    """A file that leaves no byte on the disk."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (FILL_BYTES, 4096):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return ballast


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{' '.join(argv)}: {done.stderr.strip()}")
