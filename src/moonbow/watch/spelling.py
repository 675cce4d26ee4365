"""How a word may stand in a file: as characters in several codes, escaped, inside base64, an id as its bare bytes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from moonbow.base.ids import ALPHABET

REST_CHARS_MAX = 18


class Spelling(NamedTuple):
    """A word in one form, in two parts: what may be known of it, and what may not."""

    form: str
    head: bytes
    rest: bytes


def spell(word: str) -> list[Spelling]:
    """A word in every form in which it may stand in a file, each form once."""
    cut = max(min(8, len(word) // 2), len(word) - REST_CHARS_MAX)
    head, rest = word[:cut], word[cut:]
    found: dict[bytes, Spelling] = {}
    for spelling in (*_letters(head, rest), *_base64(head.encode(), rest.encode()), *_binary(word)):
        found.setdefault(spelling.head + spelling.rest, spelling)
    return list(found.values())


def _letters(head: str, rest: str) -> Iterator[Spelling]:
    """Forms in which every character stands for itself."""
    yield Spelling("utf-8", head.encode(), rest.encode())
    for form in ("utf-16-le", "utf-16-be"):
        yield Spelling(form, head.encode(form), rest.encode(form))
    escaped = _json_escaped(head), _json_escaped(rest)
    yield Spelling("json", *escaped)
    if not head.isascii():
        yield Spelling("JSON", *(part.upper().replace(b"\\U", b"\\u") for part in escaped))
    percent = quote_from_bytes(head.encode()).encode(), quote_from_bytes(rest.encode()).encode()
    yield Spelling("url", *percent)
    if not head.isascii():
        yield Spelling("URL", *(part.lower() for part in percent))


def _json_escaped(text: str) -> bytes:
    units = text.encode("utf-16-be")
    pairs = (units[at : at + 2] for at in range(0, len(units), 2))
    return b"".join(pair[1:] if pair[0] == 0 and pair[1] < 128 else b"\\u%02x%02x" % tuple(pair) for pair in pairs)


def _base64(head: bytes, rest: bytes) -> Iterator[Spelling]:
    """What base64 makes of it, wherever in a longer text it begins, without what its neighbours change."""
    for shift in range(3):
        for alphabet in (None, b"-_"):
            text = base64.b64encode(b"\0" * shift + head + rest, alphabet)
            begin, middle, end = (-(-8 * shift // 6), 8 * (shift + len(head)) // 6, 8 * (shift + len(head + rest)) // 6)
            yield Spelling(f"base64+{shift}", text[begin:middle], text[middle:end])


def _binary(word: str) -> Iterator[Spelling]:
    """The 16 bytes of an id's last part (base/ids.py)."""
    last = word.rpartition("_")[2]
    if word.count("_") != 2 or len(last) != 26 or not set(last) <= set(ALPHABET):
        return
    value = 0
    for letter in last:
        value = value << 5 | ALPHABET.index(letter)
    raw = (value & ((1 << 128) - 1)).to_bytes(16)
    yield Spelling("binary", raw[:8], raw[8:])
