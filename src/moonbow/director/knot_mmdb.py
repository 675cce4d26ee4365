"""Write and look into MaxMind DB files (https://maxmind.github.io/MaxMind-DB/, format 2.0).  Pure.

A file is a binary tree over the bits of an address, a section of values, and what is said about them.  Here a tree may
come together again: nodes that answer alike are stored once, whatever leads to them, which readers need not notice.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import NamedTuple

MARKER = b"\xab\xcd\xefMaxMind.com"
SEPARATOR_BYTES = 16  # zeros between tree and values; offsets of values count from before them
_STRING, UINT16, UINT32, _MAP, UINT64, _ARRAY = 2, 5, 6, 7, 9, 11


class Number(NamedTuple):
    """A number that is not negative, of a kind: UINT16, UINT32 or UINT64; readers insist on the kind."""

    kind: int
    value: int


Value = str | Number | Mapping[str, "Value"] | Sequence["Value"]


class Tree(NamedTuple):
    """A tree as two columns: `left[n]`, `right[n]` are where a bit 0 or 1 leads from node n.

    0 or more: a node; less: leaf number `~value`.  `root` is the node of the first bit.
    """

    left: list[int]
    right: list[int]
    root: int


def encode_value(value: Value) -> bytes:
    """One value of the data section."""
    if isinstance(value, str):
        data = value.encode()
        return _control(_STRING, len(data)) + data
    if isinstance(value, Number):
        data = value.value.to_bytes((value.value.bit_length() + 7) // 8, "big")
        return _control(value.kind, len(data)) + data
    if isinstance(value, Mapping):
        rows = (encode_value(key) + encode_value(held) for key, held in value.items())
        return _control(_MAP, len(value)) + b"".join(rows)
    return _control(_ARRAY, len(value)) + b"".join(encode_value(held) for held in value)


def _control(kind: int, size: int) -> bytes:
    assert size < 285
    more = b"" if size < 29 else bytes([size - 29])
    size = min(size, 29)
    return (bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])) + more


def encode_database(tree: Tree, leaves: Sequence[Value], kind: str, description: str, built_s: int = 1) -> bytes:
    """The file of a tree over IPv6 (IPv4 below ::/96).  `built_s` is Unix time, not 0; equal input, equal files."""
    values = bytearray()
    offsets: list[int] = []
    for leaf in leaves:
        offsets.append(len(values))
        values += encode_value(leaf)
    count = len(tree.left)
    base = count + SEPARATOR_BYTES
    records = [0] * (2 * count)
    # The first node of a file is the root: exchange it with whatever comes first.
    order = {tree.root: 0, 0: tree.root} if tree.root else {}
    left, right = list(tree.left), list(tree.right)
    left[0], left[tree.root] = left[tree.root], left[0]
    right[0], right[tree.root] = right[tree.root], right[0]
    records[0::2] = [order.get(to, to) if to >= 0 else base + offsets[~to] for to in left]
    records[1::2] = [order.get(to, to) if to >= 0 else base + offsets[~to] for to in right]
    bits = 24 if base + len(values) < 1 << 24 else 32
    about: dict[str, Value] = {
        "binary_format_major_version": Number(UINT16, 2),
        "binary_format_minor_version": Number(UINT16, 0),
        "build_epoch": Number(UINT64, built_s),
        "database_type": kind,
        "description": {"en": description},
        "ip_version": Number(UINT16, 6),
        "languages": ["en"],
        "node_count": Number(UINT32, count),
        "record_size": Number(UINT16, bits),
    }
    return _pack(records, bits) + bytes(SEPARATOR_BYTES) + values + MARKER + encode_value(about)


def _pack(records: list[int], bits: int) -> bytes:
    wide = array("I", records)
    if sys.byteorder == "little":
        wide.byteswap()
    data = wide.tobytes()
    if bits == 32:
        return data
    narrow = bytearray(3 * len(records))
    for byte in range(3):
        narrow[byte::3] = data[byte + 1 :: 4]
    return bytes(narrow)


def look_up(data: bytes, bits: int, address: int) -> tuple[dict[str, str], int]:
    """(strings of the leaf, length of its prefix) for an address of the family with `bits` bits.

    Reads what `encode_database` writes, without trust in its own arithmetic; `LookupError` where nothing is found.
    """
    at = data.rindex(MARKER) + len(MARKER)
    count, size = _number_at(data, at, b"node_count"), _number_at(data, at, b"record_size") // 8
    node = 0
    for depth in range(128):  # IPv4 lies below 96 zero bits
        start = (2 * node + (address >> (127 - depth) & 1)) * size
        node = int.from_bytes(data[start : start + size], "big")
        if node >= count:
            if node == count:
                break
            found = _strings_at(data, count * 2 * size + node - count)
            return found, depth + 1 - (96 if bits == 32 else 0)
    raise LookupError(f"nothing is known of {address:#x}")


def _number_at(data: bytes, start: int, key: bytes) -> int:
    at = data.index(bytes([_STRING << 5 | len(key)]) + key, start) + len(key) + 1
    size = data[at] & 0x1F
    return int.from_bytes(data[at + 1 : at + 1 + size], "big")


def _strings_at(data: bytes, at: int) -> dict[str, str]:
    texts: list[str] = []
    pairs = data[at] & 0x1F
    at += 1
    for _ in range(2 * pairs):
        size = data[at] & 0x1F
        at += 1
        if size == 29:
            size, at = 29 + data[at], at + 1
        texts.append(struct.unpack_from(f"{size}s", data, at)[0].decode())
        at += size
    return dict(zip(texts[::2], texts[1::2], strict=True))
