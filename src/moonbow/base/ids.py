"""Identifiers that route themselves: `<kind>_<region>_<uuidv7 in Crockford base32>`.

The region in the name is where the thing rests, so any site can send a request on without a look-up.
An id says where, never who.  The last part is 26 characters, sorts by time and is unique.
"""

from __future__ import annotations

import os
import re
import time

from .errors import Refused

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
KINDS = frozenset({"usr", "org", "rom", "dir", "inb", "ent", "ses", "gwy", "fam", "key", "fil"})
_ID = re.compile(r"([a-z]{3})_([a-z][a-z0-9]{0,15})_([0-7][0-9a-hjkmnp-tv-z]{25})")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]


def base32(value: int, length: int = 26) -> str:
    """Crockford base32, lower case, most significant digit first; `length` characters, an even number."""
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(5 * (length - 2), -1, -10)])


def new_id(kind: str, region: str) -> str:
    """A fresh id: 48 bits of milliseconds, then version, variant and 74 random bits (RFC 9562, section 5.7)."""
    random = int.from_bytes(os.urandom(10), "big")
    value = (
        (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & ((1 << 62) - 1)
    )
    return f"{kind}_{region}_{base32(value)}"


def home(ident: str) -> str:
    """The region in which the thing named by `ident` rests.  Trusts its input: parse foreign ids first."""
    return ident.split("_", 2)[1]


def parse_id(text: str, *kinds: str, place: str = "id") -> str:
    """`text` if it is an id of one of `kinds`, else `Refused` with code `id_malformed`."""
    match = _ID.fullmatch(text) if len(text) <= 64 else None
    if match is None or match.group(1) not in (kinds or KINDS):
        wanted = " or ".join(kinds or sorted(KINDS))
        raise Refused("id_malformed", f"expected an id of kind {wanted}", place=place)
    return text


def inbox_of(person: str) -> str:
    """The inbox stream of a person."""
    return "inb" + person[3:]


def person_of(inbox: str) -> str:
    """The person whose inbox stream this is."""
    return "usr" + inbox[3:]


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its canonical lower-case form (RFC 9562, section 4)."""
    return _UUID.fullmatch(text) is not None
