"""Opens an archive from its first byte to its last, lets the engine check its databases, and compares what it finds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from moonbow.base.errors import Broken, ConfigError, MoonbowError

from .model import INDEX, Checked, Manifest, Payload, Step, purpose
from .objects import decode_index, read_object
from .payload import read_payload
from .ports import Databases
from .shelf import Shelf, genuine_manifest


def verify(
    shelf: Shelf, ident: str, key: bytes, databases: Databases, room: Path, now: float,
    report: Callable[[Step], None] = lambda step: None,
) -> Checked:  # fmt: skip
    """Everything that is wrong with an archive; copies in clear are made in `room`, one at a time."""
    try:
        manifest = genuine_manifest(shelf.root / ident, key)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    except Broken as error:
        return Checked(at=now, faults=(str(error),))
    return Checked(at=now, faults=tuple(_faults(shelf, manifest, key, databases, room, report)))


def _faults(
    shelf: Shelf, manifest: Manifest, key: bytes, databases: Databases, room: Path, report: Callable[[Step], None]
) -> Iterator[str]:
    total = sum(one.plain_bytes for one in manifest.payloads) + manifest.object_bytes
    done = 0

    def passing(pieces: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal done
        for piece in pieces:
            done += len(piece)
            report(Step(f"check {manifest.id}", done, total))
            yield piece

    for payload in manifest.payloads:
        content = passing(
            read_payload(shelf.file(manifest.id, payload.name), payload, purpose(manifest.id, payload.name), key)
        )
        try:
            if payload.rows:
                _check_database(payload, content, databases, room / payload.name)
            elif payload.name == INDEX:
                found = list(decode_index(content))
                for one in found:
                    for _ in passing(read_object(shelf.blobs, one, key)):
                        pass
                if (len(found), sum(one.bytes for one in found)) != (manifest.objects, manifest.object_bytes):
                    raise Broken("the index names other objects than the manifest counts")
            else:
                for _ in content:
                    pass
        except MoonbowError as error:
            yield str(error)


def _check_database(payload: Payload, content: Iterable[bytes], databases: Databases, copied: Path) -> None:
    try:
        unseal(content, copied)
        rows, _ = databases.examine(payload.name, copied)
    finally:
        copied.unlink(missing_ok=True)
    if rows != payload.rows:
        differing = sorted({name for name, _ in rows.items() ^ payload.rows.items()})
        raise Broken(f"{payload.name}: other rows than the manifest counts in {', '.join(differing)}")


def unseal(content: Iterable[bytes], into: Path) -> None:
    """Write a payload's content to a new private file, synced."""
    with os.fdopen(os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.writelines(content)
        file.flush()
        os.fsync(file.fileno())
