"""Looks for planted words in every file of some folders: raw bytes, databases and their logs included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

CHUNK_BYTES = 4 * 1_048_576


def spellings(word: str) -> tuple[bytes, ...]:
    """How a word may stand in a file: UTF-8, UTF-16, and JSON's and a URL's escapes."""
    escaped = word.encode("unicode_escape") if word.isascii() else _json_escaped(word)
    percent = "".join(f"%{byte:02X}" for byte in word.encode()).encode()
    return tuple(dict.fromkeys((word.encode(), word.encode("utf-16-le"), escaped, percent)))


def search(folders: Iterable[Path], words: Mapping[str, str]) -> dict[str, list[Path]]:
    """name of a word -> files in which it stands, in any spelling.  Files that vanish meanwhile are passed over."""
    needles = {name: spellings(word) for name, word in words.items()}
    overlap = max((len(each) for some in needles.values() for each in some), default=1) - 1
    found: dict[str, list[Path]] = {name: [] for name in words}
    for path in sorted(file for folder in folders for file in folder.rglob("*") if file.is_file()):
        for name in _in_file(path, needles, overlap):
            found[name].append(path)
    return found


def _in_file(path: Path, needles: Mapping[str, tuple[bytes, ...]], overlap: int) -> set[str]:
    seen: set[str] = set()
    try:
        with path.open("rb") as file:
            tail = b""
            while chunk := file.read(CHUNK_BYTES):
                data = tail + chunk
                seen |= {name for name, some in needles.items() if any(each in data for each in some)}
                tail = data[-overlap:] if overlap else b""
    except FileNotFoundError:
        return set()
    return seen


def _json_escaped(word: str) -> bytes:
    units = word.encode("utf-16-be")
    return b"".join(b"\\u%02x%02x" % (units[at], units[at + 1]) for at in range(0, len(units), 2))
