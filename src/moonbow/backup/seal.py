"""Sealed files: what is in an archive, in chunks that nobody can read, change, cut off, double or put in another order.

A file is a header (8 bytes that say what it is, 32 of chance) and chunks of `CHUNK_BYTES`, each under AES-256-GCM;
only the last one may be shorter.  The key of a file is derived (HKDF, RFC 5869) from the backup key, the header's
chance and its `purpose`, so what was sealed as one thing opens as no other.  A nonce is the chunk's number and whether
it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015): what ends early does not open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from moonbow.base.errors import Broken

MAGIC = b"MOONBK1\n"
CHANCE_BYTES = 32
CHUNK_BYTES = 262_144
TAG_BYTES = 16


class Readable(Protocol):
    """A file open for reading."""

    def read(self, size: int, /) -> bytes: ...


def seal(key: bytes, purpose: str, content: Iterable[bytes]) -> Iterator[bytes]:
    """The sealed file of `content`, piece by piece."""
    header = MAGIC + os.urandom(CHANCE_BYTES)
    cipher = _cipher(key, header, purpose)
    yield header
    number, waiting = 0, bytearray()
    for piece in content:
        waiting += piece
        while len(waiting) > CHUNK_BYTES:  # what is exactly a chunk may be the last one
            yield cipher.encrypt(_nonce(number, last=False), bytes(waiting[:CHUNK_BYTES]), None)
            del waiting[:CHUNK_BYTES]
            number += 1
    yield cipher.encrypt(_nonce(number, last=True), bytes(waiting), None)


def open_sealed(key: bytes, purpose: str, file: Readable) -> Iterator[bytes]:
    """What was sealed, chunk by chunk; `Broken` if it is not whole, not as it was, or not for this key and purpose.

    What was yielded before is genuine, but only the end says that nothing is missing: use nothing before.
    """
    header = _exactly(file, len(MAGIC) + CHANCE_BYTES)
    if not header.startswith(MAGIC) or len(header) < len(MAGIC) + CHANCE_BYTES:
        raise Broken(f"{purpose}: this is no sealed file")
    cipher = _cipher(key, header, purpose)
    number, chunk = 0, _exactly(file, CHUNK_BYTES + TAG_BYTES)
    while True:
        following = _exactly(file, CHUNK_BYTES + TAG_BYTES)
        try:
            yield cipher.decrypt(_nonce(number, last=not following), chunk, None)
        except (InvalidTag, ValueError) as error:
            raise Broken(f"{purpose}: cut off, changed, or sealed with another key (chunk {number})") from error
        if not following:
            return
        number, chunk = number + 1, following


def _cipher(key: bytes, header: bytes, purpose: str) -> AESGCM:
    info = b"moonbow backup\0" + purpose.encode()
    return AESGCM(HKDF(SHA256(), 32, salt=header, info=info).derive(key))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _exactly(file: Readable, size: int) -> bytes:
    """`size` bytes, fewer only at the end."""
    found = b""
    while len(found) < size and (more := file.read(size - len(found))):
        found += more
    return found
