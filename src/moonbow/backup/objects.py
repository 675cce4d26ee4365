"""A region's objects in its backups: each sealed once, however many backups name it, and never read again unchanged."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from moonbow.base.errors import Broken

from .model import INDEX, Manifest, Object, Step, purpose
from .payload import Meter, read_blob, read_payload, write_payload
from .ports import Found, Objects
from .shelf import Shelf

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(Object)


def copy_objects(
    objects: Objects, blobs: Path, key: bytes, previous: dict[str, Object], report: Callable[[Step], None]
) -> Iterator[Object]:
    """Seal what `blobs` lacks, and name everything; what disappears meanwhile was deleted, and is left out."""
    done = 0
    for found in objects.list():
        known = previous.get(found.name)
        if known is None or (known.bytes, known.mark) != (found.bytes, found.mark) or not (blobs / known.blob).exists():
            try:
                known = _seal(objects, found, blobs, key)
            except FileNotFoundError:
                continue
        done += found.bytes
        report(Step("objects", done))
        yield known


def _seal(objects: Objects, found: Found, blobs: Path, key: bytes) -> Object:
    """Its place follows from its content and the key, so what is the same is kept once and nobody else can tell."""
    digest = Meter()
    for _ in digest.through(objects.read(found.name)):
        pass
    blob = hmac.new(key, b"moonbow backup object\0" + digest.sha256.encode(), hashlib.sha256).hexdigest()
    if not (blobs / blob).exists():
        beside = blobs / f".{blob}.partial"
        try:
            written = write_payload(beside, found.name, purpose(INDEX, blob), key, objects.read(found.name))
            if written.plain_sha256 != digest.sha256:
                raise Broken(f"the object {found.name} changed while it was copied")
            beside.rename(blobs / blob)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    return Object(name=found.name, bytes=digest.bytes, sha256=digest.sha256, mark=found.mark, blob=blob)


def read_object(blobs: Path, found: Object, key: bytes) -> Iterator[bytes]:
    """The content of an object; `Broken` if it is not what the index says.  Nothing is true before the end."""
    meter = Meter()
    yield from meter.through(read_blob(blobs / found.blob, found.bytes, purpose(INDEX, found.blob), key))
    if (meter.bytes, meter.sha256) != (found.bytes, found.sha256):
        raise Broken(f"the object {found.name} is not what its index says")


def read_index(shelf: Shelf, manifest: Manifest, key: bytes) -> Iterator[Object]:
    """The objects that an archive names."""
    for payload in manifest.payloads:
        if payload.name == INDEX:
            path = shelf.file(manifest.id, INDEX)
            yield from decode_index(read_payload(path, payload, purpose(manifest.id, INDEX), key))


def encode_index(found: Iterable[Object]) -> Iterator[bytes]:
    """An index, a line for each object."""
    return (_encode(one) + b"\n" for one in found)


def decode_index(pieces: Iterable[bytes]) -> Iterator[Object]:
    """The objects of an index; `Broken` if it is none."""
    waiting = b""
    for piece in pieces:
        *lines, waiting = (waiting + piece).split(b"\n")
        for line in lines:
            try:
                found = _object.decode(line)
            except msgspec.MsgspecError as error:
                raise Broken(f"not an index of objects: {error}") from error
            if os.sep in found.blob or found.blob.startswith("."):
                raise Broken(f"{found.blob!r} is no place of an object")
            yield found
    if waiting:
        raise Broken("an index of objects ends within a line")
