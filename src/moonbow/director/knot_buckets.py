"""The bucket database of Knot's geoip module: every network of IPv4 and IPv6 -> its bucket and slice.  Pure.

Laws: every address has a leaf, and it says what `atlas.find` and `slice_of` say; its prefix is the shortest one that
does, so the scope that Knot tells is never 0 and never too wide; a bucket's label follows from what the bucket is, so
it stays the same between runs, and from map to map.  The one exception: `::/96` (obsolete, RFC 4291) is
where the format keeps IPv4.

Slices cut the IPv6 space into 2**32 blocks, far too many to write out.  But a block's slice is the top of its product
with a constant, which turns like a wheel: the slices of 2**k neighbouring blocks follow one of only 16 * 2**k patterns.
Each pattern is stored once for a bucket: 0.8 million nodes at most where 2**33 would be needed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import cache
from hashlib import blake2b

from .knot_mmdb import Tree, Value, encode_database
from .model import SLICES, Bucket, Map, Table
from .slices import BLOCK_BITS, slice_of

KIND = "Moonbow-Buckets"
LABEL_BYTES = 4
PATTERNS_MAX = 15  # larger groups of blocks than 2**k do not repeat: there are not enough of them
TURN = 0x9E3779B1  # what one block adds to the product, as in `slice_of`
NOTCH_BITS = 28  # below the four bits that are the slice
NOTCHES = (1 << NOTCH_BITS) - 1
REPORT_BITS = {32: 8, 128: 16}  # progress is told whenever a network of this length is done
Progress = Callable[[int, int], None]


@cache
def label_of(bucket: Bucket) -> str:
    """A bucket's name in DNS and in the database: its region, and a hash of what the bucket is."""
    return f"{bucket.region}-{blake2b(repr(bucket).encode(), digest_size=LABEL_BYTES).hexdigest()}"


def slice_label(number: int) -> str:
    """A slice's name: two digits."""
    return f"{number:02}"


def build_database(compiled: Map, progress: Progress = lambda done, of: None) -> bytes:
    """The file for one map; some seconds for a whole earth.  `progress` is told (ranges done, of how many)."""
    total = len(compiled.v4.starts) + len(compiled.v6.starts)
    builder = _Builder()
    v4 = builder.cover(compiled.v4, 0, 0, lambda done: progress(done, total))
    tree = builder.cover_beside(compiled.v6, v4, lambda done: progress(len(compiled.v4.starts) + done, total))
    labels = [label_of(bucket) for bucket in compiled.buckets]
    leaves: list[Value] = [
        {"bucket": label, "slice": slice_label(number)} for label in labels for number in range(SLICES)
    ]
    progress(total, total)
    return encode_database(tree, leaves, KIND, f"map {compiled.digest}")


@cache
def _notches(power: int) -> list[int]:
    """Where, along one sixteenth of the wheel, the pattern of 2**power blocks changes with the place of the first."""
    return sorted(-turn * TURN & NOTCHES for turn in range(1 << power))


class _Builder:
    """Nodes as they come about.  A place is a node's number, or `~leaf`."""

    def __init__(self) -> None:
        self.left: list[int] = []
        self.right: list[int] = []
        self._patterns: dict[int, int] = {}

    def cover(self, table: Table, depth: int, start: int, done: Callable[[int], None]) -> int:
        """The place of the network `start`/`depth` of a table."""
        first = bisect_right(table.starts, start) - 1
        last = bisect_left(table.starts, start + (1 << table.bits - depth), first + 1) - 1
        return self._split(table, depth, start, first, last, done)

    def cover_beside(self, table: Table, v4: int, done: Callable[[int], None]) -> Tree:
        """All of an IPv6 table, with IPv4 at ::/96."""
        place = v4
        for depth in range(95, -1, -1):
            beside = self.cover(table, depth + 1, 1 << 127 - depth, done)
            place = self._node(place, beside)
        return Tree(self.left, self.right, place)

    def _node(self, left: int, right: int) -> int:
        self.left.append(left)
        self.right.append(right)
        return len(self.left) - 1

    def _split(self, table: Table, depth: int, start: int, first: int, last: int, done: Callable[[int], None]) -> int:
        """`first` and `last` are the ranges at both ends of the network."""
        starts, bits = table.starts, table.bits
        if first == last:
            bucket, left_over = table.buckets[first], BLOCK_BITS[bits] - depth
            if left_over <= 0:
                return ~(SLICES * bucket + slice_of(bits, start))
            return self._uniform(bucket, left_over, (start >> bits - BLOCK_BITS[bits]) * TURN & 0xFFFFFFFF)
        middle = start + (1 << bits - depth - 1)
        at = bisect_left(starts, middle, first + 1, last + 1)  # the first range that begins at the middle or later
        upper = at if at <= last and starts[at] == middle else at - 1
        left = self._split(table, depth + 1, start, first, at - 1, done)
        right = self._split(table, depth + 1, middle, upper, last, done)
        if depth == REPORT_BITS[bits]:
            done(last)
        return self._node(left, right)

    def _uniform(self, bucket: int, power: int, product: int) -> int:
        """2**power blocks of one bucket, the first with this product."""
        half = power - 1
        second = product + (TURN << half) & 0xFFFFFFFF
        if not half:
            leaf = SLICES * bucket
            return self._node(~(leaf + (product >> NOTCH_BITS)), ~(leaf + (second >> NOTCH_BITS)))
        if power > PATTERNS_MAX:
            return self._node(self._uniform(bucket, half, product), self._uniform(bucket, half, second))
        notch = bisect_right(_notches(power), product & NOTCHES)
        key = ((bucket << 5 | power) << 4 | product >> NOTCH_BITS) << 32 | notch
        found = self._patterns.get(key)
        if found is None:
            left, right = self._uniform(bucket, half, product), self._uniform(bucket, half, second)
            found = self._patterns[key] = self._node(left, right)
        return found
