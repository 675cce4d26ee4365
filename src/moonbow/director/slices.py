"""Slices: the 16 parts of a bucket, and who gets which of them.  Pure.

A slice is a hash of the client's /16 (IPv6: /32), so it is the same on every director, in every cache, and for all
clients behind one provider's resolver.  Laws: neighbouring blocks never share a slice, so a split bucket's scope is
exactly a block (or the range, where that is smaller); raising a share never takes a slice away from it; a share gets
its part of the 16 to within one slice; when a site leaves, only its own slices move.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from hashlib import blake2b
from math import floor, log

from .atlas import scope
from .model import SLICES, Table

BLOCK_BITS = {32: 16, 128: 32}  # the length of the prefix that is hashed, by family
SPREAD = (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15)  # an order whose every beginning is spread evenly
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


def deal(shares: Mapping[str, float]) -> tuple[str, ...]:
    """Who owns each slice: the names laid out side by side in their order, each as wide as its share.

    A name's piece only grows at both of its ends when its share is raised, so it never loses a slice by that.
    """
    total = sum(shares.values())
    owners: list[str] = []
    laid = 0.0
    for name, share in shares.items():
        laid += share
        owners += [name] * (floor(SLICES * laid / total + 0.5) - len(owners))
    return tuple(owners)


def claim(wanted: Mapping[str, int]) -> dict[int, str]:
    """Which slices canaries take: each the first free ones, as many as it wants, spread evenly over what others own."""
    taken: dict[int, str] = {}
    for name, count in wanted.items():
        free = [number for number in SPREAD if number not in taken]
        taken.update(dict.fromkeys(free[: max(0, count)], name))
    return taken


def inherit(slice_no: int, names: Collection[str], weights: Mapping[str, int]) -> str:
    """Who takes over a slice whose owner is gone: by weighted rendezvous, so that nobody else's slice ever moves."""
    return min(names, key=lambda name: (_draw(name, slice_no) / weights.get(name, 100), name))


@lru_cache(maxsize=8_192)
def _draw(name: str, slice_no: int) -> float:
    """A number that is always the same for a site and a slice, spread as a waiting time is."""
    number = int.from_bytes(blake2b(f"{name}/{slice_no}".encode(), digest_size=8).digest(), "big")
    return -log((number + 1) / (2**64 + 1))
