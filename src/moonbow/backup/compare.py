"""Compares a region as it lies there with one of its archives, row by row and object by object."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from .model import INDEX, Manifest, purpose
from .objects import read_index
from .payload import read_payload
from .ports import Databases, Objects
from .shelf import Shelf, genuine_manifest
from .verify import unseal


class Differences(NamedTuple):
    """`rows`: per `database.table` that differs, how many rows of the archive are not there and how many are only
    there; `objects`: the names of those that are missing, other than they were, or only there."""

    rows: dict[str, tuple[int, int]]
    objects: list[str]


def compare(
    shelf: Shelf, ident: str, key: bytes, databases: Databases, objects: Objects, room: Path
) -> tuple[Manifest, Differences]:
    """What differs; copies in clear are made in `room`, one at a time."""
    manifest = genuine_manifest(shelf.root / ident, key)
    rows: dict[str, tuple[int, int]] = {}
    for payload in manifest.payloads:
        if payload.rows:
            copied = room / payload.name
            path = shelf.file(ident, payload.name)
            unseal(read_payload(path, payload, purpose(ident, payload.name), key), copied)
            found = databases.differ(payload.name, copied)
            rows |= {f"{payload.name}.{table}": counts for table, counts in found.items()}
            copied.unlink()
    if not any(payload.name == INDEX for payload in manifest.payloads):
        return manifest, Differences(rows, [])
    wanted = {(one.name, one.sha256) for one in read_index(shelf, manifest, key)}
    there = {(found.name, _digest(objects, found.name)) for found in objects.list()}
    return manifest, Differences(rows, sorted({name for name, _ in wanted ^ there}))


def _digest(objects: Objects, name: str) -> str:
    digest = hashlib.sha256()
    for piece in objects.read(name):
        digest.update(piece)
    return digest.hexdigest()
