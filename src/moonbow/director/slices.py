"""Slices: the 16 parts of a bucket, and who gets how many of them.  Pure.

A slice is a hash of the client's /16 (IPv6: /32), so it is the same on every director, in every cache, and for all
clients behind one provider's resolver.  Laws: neighbouring blocks never share a slice, so a split bucket's scope is
exactly a block (or the range, where that is smaller).
"""

from __future__ import annotations

from .atlas import scope
from .model import Table

BLOCK_BITS = {32: 16, 128: 32}  # the length of the prefix that is hashed, by family
_GOLDEN = 0x9E3779B1  # 2**32 / the golden ratio: spreads neighbours as far apart as can be


def slice_of(bits: int, address: int) -> int:
    """The slice, 0..15, of an address of the family with `bits` bits."""
    block = address >> (bits - BLOCK_BITS[bits])
    return (block * _GOLDEN & 0xFFFFFFFF) >> 28


def cell_scope(table: Table, at: int, address: int, split: bool) -> int:
    """The length of the shortest prefix around `address` answered alike: within range `at`, and its slice if `split`.

    Two neighbouring blocks are 0.618 of the circle of slices apart, so no prefix wider than a block is of one slice.
    """
    length = scope(table, at, address)
    return max(length, BLOCK_BITS[table.bits]) if split else length
