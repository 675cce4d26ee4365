"""A payload of an archive: packed (zlib), sealed, synced and measured on its way in, measured again on its way out."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from moonbow.base.errors import Broken

from .model import Payload
from .seal import CHUNK_BYTES, open_sealed, seal

LEVEL = 1  # most of it is sealed already and cannot be packed


class Meter:
    """Counts and hashes what passes."""

    def __init__(self) -> None:
        self.bytes = 0
        self._digest = hashlib.sha256()

    def through(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces, measured."""
        for piece in pieces:
            self.bytes += len(piece)
            self._digest.update(piece)
            yield piece

    @property
    def sha256(self) -> str:
        """Of what has passed, in hex."""
        return self._digest.hexdigest()


def write_payload(
    path: Path, name: str, purpose: str, key: bytes, content: Iterable[bytes], rows: dict[str, int] | None = None
) -> Payload:
    """Seal `content` into a new file at `path`, synced before this returns."""
    plain, sealed = Meter(), Meter()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.writelines(sealed.through(seal(key, purpose, _packed(plain.through(content)))))
        file.flush()
        os.fsync(file.fileno())
    return Payload(
        name=name,
        plain_bytes=plain.bytes,
        plain_sha256=plain.sha256,
        sealed_bytes=sealed.bytes,
        sealed_sha256=sealed.sha256,
        rows=rows or {},
    )


def read_blob(path: Path, bytes_max: int, purpose: str, key: bytes) -> Iterator[bytes]:
    """What was sealed, where nothing but its size is known beforehand; `Broken` if it is not whole."""
    file = _MeteredFile(path)
    with file:
        yield from _unpacked(open_sealed(key, purpose, file), bytes_max, purpose)


def read_payload(path: Path, payload: Payload, purpose: str, key: bytes) -> Iterator[bytes]:
    """What was sealed; `Broken` if anything differs from what was measured.  Nothing is true before the end."""
    plain, sealed = Meter(), _MeteredFile(path)
    with sealed:
        yield from plain.through(_unpacked(open_sealed(key, purpose, sealed), payload.plain_bytes, purpose))
    for what, seen, wanted in (
        ("sealed bytes", sealed.meter.bytes, payload.sealed_bytes),
        ("sealed hash", sealed.meter.sha256, payload.sealed_sha256),
        ("plain bytes", plain.bytes, payload.plain_bytes),
        ("plain hash", plain.sha256, payload.plain_sha256),
    ):
        if seen != wanted:
            raise Broken(f"{purpose}: {what} are {seen}, the manifest says {wanted}")


class _MeteredFile:
    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise Broken(f"{path}: cannot be read: {error.strerror}") from error
        self.meter = Meter()

    def read(self, size: int, /) -> bytes:
        piece = self._file.read(size)
        return b"".join(self.meter.through([piece]))

    def __enter__(self) -> None:
        return None

    def __exit__(self, *fault: object) -> None:
        self._file.close()


def _packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(LEVEL)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _unpacked(pieces: Iterable[bytes], bytes_max: int, purpose: str) -> Iterator[bytes]:
    """No more than `bytes_max` in all, in pieces of a chunk at most."""
    unpacker, left = zlib.decompressobj(), bytes_max
    try:
        for piece in pieces:
            while piece:
                plain = unpacker.decompress(piece, CHUNK_BYTES)
                left -= len(plain)
                if left < 0:
                    raise Broken(f"{purpose}: unpacks to more than the manifest says")
                yield plain
                piece = unpacker.unconsumed_tail
        if rest := unpacker.flush():  # what zlib still held when its room was full: less than its window
            yield rest
    except zlib.error as error:
        raise Broken(f"{purpose}: cannot be unpacked: {error}") from error
    if not unpacker.eof:
        raise Broken(f"{purpose}: ends too early")
