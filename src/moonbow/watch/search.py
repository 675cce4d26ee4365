"""Looks for words in the bytes of files: as they stand, in many spellings, and in what is compressed there.

The one searcher of the house: drills give it words, the audit salted marks.
"""

from __future__ import annotations

import hmac
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from .spelling import Spelling, spell

Name = TypeVar("Name", bound=str)
CHUNK_BYTES = 4 * 1_048_576
UNPACKED_BYTES_MAX = 4 * 1_048_576  # of one compressed part; what is beyond it is not looked at
PACKED_BYTES_MAX = 1_048_576  # of the same, as it lies there
PACKED_TRIES_MAX = 20_000  # of one chunk: two bytes that look like a beginning are found often by chance
_PACKED = ((b"\x1f\x8b\x08", 31), (b"\x78\x01", 15), (b"\x78\x5e", 15), (b"\x78\x9c", 15), (b"\x78\xda", 15))


class Needle(NamedTuple):
    """What is looked for: a head, and so many bytes behind it with the salted hash `mac`; none: the head is all."""

    head: bytes
    rest_bytes: int = 0
    form: str = "utf-8"
    salt: bytes = b""
    mac: bytes = b""

    def stands(self, data: bytes, at: int) -> bool:
        """Whether it is what stands at `at`, where its head was found."""
        begin = at + len(self.head)
        rest = data[begin : begin + self.rest_bytes]
        if len(rest) < self.rest_bytes:
            return False
        return not self.rest_bytes or hmac.compare_digest(mac_of(self.salt, rest), self.mac)


def mac_of(salt: bytes, rest: bytes) -> bytes:
    """The salted hash of the secret part of a spelling."""
    return hmac.digest(salt, rest, "sha256")[:16]


def whole(spelling: Spelling) -> Needle:
    """A spelling that is no secret."""
    return Needle(spelling.head + spelling.rest, form=spelling.form)


class Hit(NamedTuple):
    """A needle that was found: the name it was given, and in which form."""

    name: str
    form: str


class Searcher:
    """Needles by their heads, so that those that begin alike are looked for once."""

    def __init__(self, needles: Mapping[str, Iterable[Needle]]) -> None:
        self._by_head: dict[bytes, list[tuple[str, Needle]]] = defaultdict(list)
        for name, some in needles.items():
            for needle in some:
                self._by_head[needle.head].append((name, needle))
        sizes = (len(head) + each.rest_bytes for head, some in self._by_head.items() for _, each in some)
        self._overlap = max(sizes, default=1) - 1

    def in_bytes(self, data: bytes) -> set[Hit]:
        """What stands in some bytes, as they are."""
        found: set[Hit] = set()
        for head, some in self._by_head.items():
            at = data.find(head)
            while at >= 0:
                found |= {Hit(name, each.form) for name, each in some if each.stands(data, at)}
                at = data.find(head, at + 1)
        return found

    def in_stream(self, file: BinaryIO) -> Iterator[tuple[int, set[Hit]]]:
        """Chunk by chunk: how many bytes were read, and what stands there, packed or not."""
        tail = b""
        while chunk := file.read(CHUNK_BYTES):
            data = tail + chunk
            found = self.in_bytes(data)
            for unpacked in _unpacked(data):
                found |= {Hit(hit.name, f"packed {hit.form}") for hit in self.in_bytes(unpacked)}
            yield len(chunk), found
            tail = data[-self._overlap :] if self._overlap else b""

    def in_file(self, path: Path) -> set[Hit]:
        """What stands in a file; nothing if it vanishes meanwhile."""
        found: set[Hit] = set()
        try:
            with path.open("rb") as file:
                for _, some in self.in_stream(file):
                    found |= some
        except FileNotFoundError:
            return set()
        return found


def _unpacked(data: bytes) -> Iterator[bytes]:
    """What the compressed parts of some bytes hold (RFC 1950, RFC 1952), as far as the bounds let us look."""
    tries, view = 0, memoryview(data)
    for magic, window in _PACKED:
        at = data.find(magic)
        while at >= 0 and tries < PACKED_TRIES_MAX:
            tries += 1
            try:
                unpacker = zlib.decompressobj(window)
                unpacked = unpacker.decompress(view[at : at + PACKED_BYTES_MAX], UNPACKED_BYTES_MAX)
            except zlib.error:
                unpacked = b""
            if unpacked:
                yield unpacked
            at = data.find(magic, at + 1)


def search(folders: Iterable[Path], words: Mapping[Name, str]) -> dict[Name, list[Path]]:
    """name of a word -> files in which it stands, in any spelling.  Files that vanish meanwhile are passed over."""
    searcher = Searcher({name: map(whole, spell(word)) for name, word in words.items()})
    found: dict[Name, list[Path]] = {name: [] for name in words}
    for path in sorted(file for folder in folders for file in folder.rglob("*") if file.is_file()):
        seen = {hit.name for hit in searcher.in_file(path)}
        for name in words:
            if name in seen:
                found[name].append(path)
    return found
