"""From world, health and keys to the files of one door: the whole compilation, without any I/O.

Laws: equal input gives equal files, so that only what changed is written; `lds.json`, `cds.json` and `bootstrap.json`
depend on the world alone; a file is written after all that it names (`write_order`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

from moonbow.world import SiteRef, World

from .bootstrap import compile_bootstrap
from .clusters import compile_clusters, compile_endpoints
from .listeners import compile_listeners
from .model import Door, Json, Keys, SiteHealth
from .routes import compile_routes
from .tls import compile_secrets
from .tokens import compile_tokens

_ORDER = ("sds-", "ecds-", "eds-", "cds", "rds-", "lds", "bootstrap")


def compile_door(
    world: World, ref: SiteRef, door_no: int, health: SiteHealth, keys: Keys, state_dir: Path
) -> dict[str, Json]:
    """Every file of one door by name, in the order in which they are to be written.

    `state_dir` must be absolute: Envoy runs where its supervisor does.
    """
    door = Door(world, ref, door_no, state_dir)
    files = {
        **compile_secrets(door),
        "ecds-tokens.json": compile_tokens(door, keys),
        **compile_endpoints(door, health),
        "cds.json": compile_clusters(door),
        "rds-door.json": compile_routes(door, health),
        "lds.json": compile_listeners(door),
        "bootstrap.json": compile_bootstrap(door),
    }
    return {name: files[name] for name in write_order(files)}


def write_order(names: Iterable[str]) -> list[str]:
    """Names of files so that each comes after those it refers to; Envoy does not heal a reference to a late file."""
    return sorted(names, key=lambda name: (next(i for i, head in enumerate(_ORDER) if name.startswith(head)), name))


def followed_files(files: Mapping[str, Json]) -> frozenset[str]:
    """What Envoy will watch: its files, and the certificates they name.  Each costs the user an inotify instance."""
    return frozenset(path for content in files.values() for path in _paths(content))


def _paths(found: object) -> Iterator[str]:
    if isinstance(found, dict):
        for name, value in cast("Json", found).items():
            if name == "path_config_source":
                yield value["path"]
            elif name == "certificate_chain":
                yield value["filename"]
            else:
                yield from _paths(value)
    elif isinstance(found, list):
        for value in cast("list[object]", found):
            yield from _paths(value)


def plan_writes(wanted: Mapping[str, bytes], written: Mapping[str, bytes]) -> tuple[tuple[str, bytes], ...]:
    """What has to be written, in order, to go from `written` to `wanted`.

    Files no longer wanted stay: a world does not change while it runs.
    """
    return tuple((name, wanted[name]) for name in write_order(wanted) if written.get(name) != wanted[name])


def note_silence(before: Mapping[str, str], reached: Mapping[str, bool], now: str) -> dict[str, str]:
    """Since when each unreachable region has been silent; one that answers is forgotten at once."""
    return {region: before.get(region, now) for region, answers in reached.items() if not answers}
