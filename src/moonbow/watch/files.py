"""Walks the files under a state folder: whether each is known, what logs and settings say, which words stand in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from moonbow.bus.policy import Server, render_server
from moonbow.world import World

from . import policy
from .book import Book
from .canaries import NEVER_ON_DISK, SEALED, Canary
from .model import Finding, Progress
from .policy import Where
from .search import Searcher

READ_BYTES_MAX = 32 * 1_048_576  # of a log or a configuration; launchers keep logs within 10 MB
READ = (
    "opaque",
    "text",
    "json_log",
    "door_log",
    "bus_config",
)  # contents in which ids of people are looked for


class Seen(NamedTuple):
    """A file that was met: its path under the state folder, what it is, its size."""

    path: str
    where: Where
    size_bytes: int


def list_files(world: World, state: Path, book: Book) -> list[Seen]:
    """Every file the catalogue knows; those that it does not know become findings."""
    seen: list[Seen] = []
    for folder, folders, names in os.walk(state):
        base = Path(folder).relative_to(state)
        for name in folders:
            _judge_folder(world, (base / name).as_posix(), Path(folder, name), book)
        for name in sorted(names):
            if (found := _see(world, state, (base / name).as_posix(), book)) is not None:
                seen.append(found)
    return seen


def _judge_folder(world: World, path: str, folder: Path, book: Book) -> None:
    at = policy.region_of(world, path)
    if folder.name == "jetstream":
        book.found(Finding(code="bus_store", place=path, said="is a folder in which a bus stores messages", at=at))
    elif folder.is_symlink():
        book.found(Finding(code="unknown_file", place=path, said="leads elsewhere", at=at))


def _see(world: World, state: Path, path: str, book: Book) -> Seen | None:
    try:
        found = os.lstat(state / path)
    except FileNotFoundError:  # it lived for a moment only
        return None
    where, at = policy.place_file(world, path), policy.region_of(world, path)
    if where is None or stat.S_ISLNK(found.st_mode):
        said = "leads elsewhere" if where is not None else "is not in the data map"
        book.found(Finding(code="unknown_file", place=path, said=said, at=at))
        return None
    size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    book.saw_file(where.file, where.region, where.site, size)
    return Seen(path, where, size) if stat.S_ISREG(found.st_mode) else None


def judge_contents(world: World, state: Path, seen: list[Seen], book: Book) -> None:
    """Logs line by line, bus servers' configurations, and names of people in whatever is not a store."""
    for file in seen:
        if file.where.file.content in READ and (content := _read(state / file.path)) is not None:
            for fault, key in _faults(world, state, file, content):
                book.found(policy.as_finding(fault, file.path, file.where.region, key=key))


def _faults(world: World, state: Path, file: Seen, content: bytes) -> Iterator[tuple[policy.Fault, str]]:
    kind = file.where.file.content
    if (fault := policy.judge_names(world, file.where, content)) is not None:
        yield fault, ""
    if kind in ("json_log", "door_log"):
        lines = content.split(b"\n")[:-1]  # what follows the last end of line is being written
        for number, line in enumerate(lines, 1):
            if line and (fault := policy.judge_log_line(file.where, line)) is not None:
                yield fault, f"line {number}"
    elif kind == "bus_config":
        server: Server = "border" if file.path.endswith("/border/nats.conf") else "bus"
        wanted = render_server(world, world.site(file.where.site), state.absolute(), server).encode()
        if (fault := policy.judge_bus_config(content, wanted)) is not None:
            yield fault, ""


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(READ_BYTES_MAX)
    except FileNotFoundError:
        return None


Forms = dict[str, set[str]]  # name of what was looked for -> forms in which it was seen at home


def search_files(
    world: World, state: Path, seen: list[Seen], canaries: Mapping[str, Canary], own: Searcher, book: Book
) -> tuple[dict[str, int], Forms]:
    """Look for canaries in every byte: how often each was seen at home; those elsewhere become findings.

    `own` are the words that the audit itself laid down: in which forms each was seen.
    """
    searcher = Searcher({name: canary.needles for name, canary in canaries.items()})
    at_home = dict.fromkeys(canaries, 0)
    forms: Forms = {}
    total, done = sum(file.size_bytes for file in seen), 0
    for file in seen:
        for name in {hit.name for hit in searcher.in_file(state / file.path)}:
            at_home[name] += _judge_hit(world, file, canaries[name], book)
        if "/audit/control-" in file.path:
            for hit in own.in_file(state / file.path):
                forms.setdefault(hit.name, set()).add(hit.form)
        done += file.size_bytes
        book.tell(Progress(stage="looking for canaries", done=done, total=total))
    return at_home, forms


def _judge_hit(world: World, file: Seen, canary: Canary, book: Book) -> int:
    where = file.where
    said = f"holds the {canary.kind} of a canary of {canary.region}"
    if where.region != canary.region or not where.keeps:
        book.found(Finding(code="foreign_canary", place=file.path, said=said, at=where.region, of=canary.region))
        return 0
    if canary.kind in NEVER_ON_DISK:
        book.found(Finding(code="canary_on_disk", place=file.path, said=said, at=where.region, of=canary.region))
    elif canary.kind in SEALED and world.regions[canary.region].data.encrypted:
        said += " in clear, and the region seals what people write"
        book.found(Finding(code="unsealed", place=file.path, said=said, at=where.region, of=canary.region))
    return 1
