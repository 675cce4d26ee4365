"""File watchers (inotify instances): every file an Envoy follows costs one, and Linux grants a user 128 by default.

Envoy aborts when it gets none, so the launcher counts before it starts anything.  As root it raises the limit, which
lasts until the machine restarts; otherwise it names the one line that does.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from moonbow.balancer.model import Door, SiteHealth
from moonbow.balancer.policy import compile_door
from moonbow.world import World

from .proc import open_files, processes

LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
WANTED = 1024
SPARE = 4
log = logging.getLogger("moonbow.launch")


def doors_of(world: World, state: Path) -> Iterator[Door]:
    """Every door of the world."""
    for ref in world.sites():
        if ref.site.kind != "witness":
            yield from (Door(world, ref, number, state) for number in range(ref.site.doors))


def count_watchers(doors: Iterable[Door]) -> int:
    """How many watchers these doors need: one per followed file, one per followed folder."""
    total = 0
    for door in doors:
        files = compile_door(door.world, door.ref, door.number, SiteHealth(), {}, door.state)
        text = json.dumps(files)
        total += text.count('"path_config_source"') + text.count('"watched_directory"')
    return total


def make_room(needed: int) -> str:
    """Why `needed` watchers cannot be had, with the cure; empty if they can, if need be after raising the limit."""
    limit, used = int(LIMIT.read_text()), _used()
    if needed + used + SPARE <= limit:
        return ""
    try:
        LIMIT.write_text(f"{max(WANTED, needed + used + SPARE)}\n")
    except OSError:
        return (
            f"file watchers: the doors need {needed}, but this user has {max(0, limit - used)} of {limit} left; "
            f"`sudo sysctl fs.inotify.max_user_instances={WANTED}` makes room until the machine restarts"
        )
    log.warning("limit of file watchers raised", extra={"f": {"from": limit, "needed": needed, "used": used}})
    return ""


def _used() -> int:
    """Watchers that this user's processes hold now, as far as they can be seen."""
    return sum(name == "anon_inode:inotify" for folder in processes(os.getuid()) for name in open_files(folder))
