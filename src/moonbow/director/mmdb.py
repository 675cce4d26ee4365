"""MaxMind DB files (format 2, https://maxmind.github.io/MaxMind-DB/), read with suspicion.  Pure: bytes in, values out.

A file is a binary search tree over the bits of an address, then the records that its leaves point to, then metadata.
Laws: nothing that a file holds makes reading it run without end or take more memory than a few times its size; every
fault is an `Unreadable` with a stable code and its place.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple

from moonbow.base.errors import ConfigError

MARKER = b"\xab\xcd\xefMaxMind.com"
METADATA_BYTES_MAX = 131_072
DATABASE_BYTES_MAX = 1 << 29
METADATA_VALUES_MAX = 4_096
RECORD_VALUES_MAX = 4_096  # values passed by in one record; GeoIP2 Enterprise has some 200
VALUES_MAX = 100_000_000  # in all records together
VISITS_A_NODE = 4  # of the tree, whose branches may meet again
VISITS_MORE = 4_000_000
CUT = 64  # an IPv6 network longer than this counts with the first of its /64
STEP = 65_536  # nodes between two words of progress

POINTER, STRING, DOUBLE, BYTES, UINT16, UINT32, MAP, INT32, UINT64, UINT128, ARRAY = range(1, 12)
BOOLEAN, FLOAT = 14, 15
_UNSIGNED = (UINT16, UINT32, UINT64, UINT128)
_HIGH, _LOW = bytes(value >> 4 for value in range(256)), bytes(value & 15 for value in range(256))

Value = str | int | float | bool | bytes | list["Value"] | dict[str, "Value"]
Progress = Callable[[int, int], None]


class Unreadable(ConfigError):
    """A database that cannot be used.  `code` is stable; `place` is a byte, a field of the metadata or a network."""

    def __init__(self, code: str, place: str, detail: str) -> None:
        super().__init__(f"{place}: {detail} [{code}]")
        self.code = code
        self.place = place
        self.detail = detail


class Metadata(NamedTuple):
    """What a file says of itself.  `built_s` is Unix time."""

    kind: str
    built_s: int
    nodes: int
    record_bits: int
    ip_version: int


class Section:
    """A part of a file that holds values: records, or metadata.  `first` is its place in the file, for messages."""

    def __init__(self, data: bytes, first: int) -> None:
        self._data = data
        self._first = first
        self._passed = 0

    def place(self, at: int) -> str:
        """Where something is, for people."""
        return f"byte {self._first + at}"

    def head(self, at: int) -> tuple[int, int, int]:
        """(type, size or target of a pointer, where its payload begins) of the value at `at`."""
        data = self._data
        try:
            first = data[at]
            kind, size, at = first >> 5, first & 31, at + 1
            if kind == POINTER:
                return self._pointer(first, at)
            if not kind:
                kind, at = data[at] + 7, at + 1
            if size >= 29:
                more = size - 28
                extra, at = data[at : at + more], at + more
                if at > len(data):
                    raise IndexError
                size = (29, 285, 65_821)[more - 1] + int.from_bytes(extra, "big")
        except IndexError:
            raise Unreadable("data_truncated", self.place(at), "a value reaches beyond the end") from None
        if kind not in (MAP, ARRAY, BOOLEAN) and at + size > len(data):
            raise Unreadable("data_truncated", self.place(at), f"a value of {size} bytes reaches beyond the end")
        return kind, size, at

    def _pointer(self, first: int, at: int) -> tuple[int, int, int]:
        length = (first >> 3 & 3) + 1
        raw = self._data[at : at + length]
        if len(raw) < length:
            raise Unreadable("data_truncated", self.place(at), "a pointer reaches beyond the end")
        target = int.from_bytes(raw, "big")
        if length < 4:
            target += ((first & 7) << 8 * length) + (0, 2_048, 526_336)[length - 1]
        return POINTER, target, at + length

    def resolve(self, at: int) -> tuple[int, int, int]:
        """As `head`, of what the value stands for: a pointer is followed, once."""
        found = self.head(at)
        if found[0] != POINTER:
            return found
        if found[1] >= len(self._data):
            raise Unreadable("pointer_outside", self.place(at), f"a pointer to {found[1]}, beyond the end")
        target = self.head(found[1])
        if target[0] == POINTER:
            raise Unreadable("pointer_to_pointer", self.place(at), "a pointer to a pointer")
        return target

    def skip(self, at: int) -> int:
        """Where the value after the one at `at` begins.  Pointers are not followed."""
        left, passed = 1, 0
        while left:
            kind, size, at = self.head(at)
            if kind == MAP:
                left += 2 * size
            elif kind == ARRAY:
                left += size
            elif kind not in (POINTER, BOOLEAN):
                at += size
            left, passed = left - 1, passed + 1
            if left + passed > RECORD_VALUES_MAX:
                raise Unreadable("record_too_big", self.place(at), f"more than {RECORD_VALUES_MAX} values in a record")
        self._passed += passed
        if self._passed > VALUES_MAX:
            raise Unreadable("records_too_many", self.place(at), f"more than {VALUES_MAX} values in all")
        return at

    def fields(self, at: int) -> Iterator[tuple[bytes, int]]:
        """The names in a map and where their values are; nothing if it is no map."""
        kind, size, at = self.resolve(at)
        if kind != MAP:
            return
        if size > RECORD_VALUES_MAX:
            raise Unreadable("record_too_big", self.place(at), f"a map of {size} fields")
        for _ in range(size):
            named, length, begin = self.resolve(at)
            if named != STRING:
                raise Unreadable("field_unnamed", self.place(at), "a field's name is not text")
            at = self.skip(at)
            yield self._data[begin : begin + length], at
            at = self.skip(at)

    def text(self, at: int) -> bytes | None:
        """The text at `at`; None if it is something else."""
        kind, size, begin = self.resolve(at)
        return self._data[begin : begin + size] if kind == STRING else None

    def decode(self, at: int = 0) -> Value:
        """A whole value, for metadata: at most `METADATA_VALUES_MAX` values, at most 8 deep."""
        return self._decode(at, 8, [METADATA_VALUES_MAX])

    def _decode(self, at: int, deep: int, left: list[int]) -> Value:
        left[0] -= 1
        if not deep or left[0] < 0:
            raise Unreadable("metadata_too_big", self.place(at), "the metadata holds too much")
        kind, size, begin = self.resolve(at)
        if kind == MAP:
            return {
                name.decode("utf-8", "replace"): self._decode(value, deep - 1, left) for name, value in self.fields(at)
            }
        raw = self._data[begin : begin + size]
        if kind == STRING:
            return raw.decode("utf-8", "replace")
        if kind in _UNSIGNED:
            return int.from_bytes(raw, "big")
        if kind == INT32:
            return int.from_bytes(raw, "big", signed=len(raw) == 4)
        if kind == ARRAY:
            found: list[Value] = []
            for _ in range(size):
                found.append(self._decode(begin, deep - 1, left))
                begin = self.skip(begin)
            return found
        if kind == BOOLEAN:
            return bool(size)
        if (kind, size) in ((DOUBLE, 8), (FLOAT, 4)):
            number: float = struct.unpack("!d" if kind == DOUBLE else "!f", raw)[0]
            return number
        if kind == BYTES:
            return raw
        raise Unreadable("type_unknown", self.place(at), f"a value of type {kind} and size {size}")


class Database:
    """A file's tree and records.  `Unreadable` if it is no such file, or a broken one."""

    def __init__(self, data: bytes) -> None:
        if len(data) > DATABASE_BYTES_MAX:
            raise Unreadable("file_too_big", "file", f"{len(data)} bytes, at most {DATABASE_BYTES_MAX} are read")
        end = data.rfind(MARKER, max(0, len(data) - METADATA_BYTES_MAX))
        if end < 0:
            raise Unreadable("not_a_database", "file", "no MaxMind DB metadata at its end; is it whole?")
        self.metadata = read_metadata(Section(data[end + len(MARKER) :], end + len(MARKER)))
        nodes, width = self.metadata.nodes, self.metadata.record_bits // 4
        records_at = nodes * width + 16
        if records_at > end:
            place = "metadata.node_count"
            raise Unreadable("tree_truncated", place, f"{nodes} nodes need {records_at} bytes, the file has {end}")
        self.section = Section(data[records_at:end], records_at)
        self._size = end - records_at
        self._tree = read_tree(data[: nodes * width], self.metadata.record_bits)
        self._v4 = self._v4_root()

    def _v4_root(self) -> int:
        """The node of ::/96, under which IPv4 lies; the value of a leaf if one is met before."""
        node = 0
        for _ in range(96 if self.metadata.ip_version == 6 else 0):
            if node >= self.metadata.nodes:
                break
            node = self._tree[2 * node]
        return node

    def networks(self, version: int, progress: Progress = lambda done, of: None) -> Iterator[tuple[int, int | None]]:
        """(start, place of the record in `section`, or None) wherever it changes, in rising order; all is covered.

        IPv4 starts are addresses; IPv6 starts are the upper 64 bits, without ::/64 and the places that repeat IPv4.
        """
        if version == 4:
            yield from self._walk(self._v4, 32, 32, self.metadata.nodes, progress)
        elif self.metadata.ip_version == 6:
            yield from self._walk(0, CUT, 128, self._v4, progress)
        else:
            yield 0, None

    def _walk(
        self, root: int, bits: int, deepest: int, alias: int, progress: Progress
    ) -> Iterator[tuple[int, int | None]]:
        tree, nodes = self._tree, self.metadata.nodes
        visits, visits_max, told = 0, VISITS_A_NODE * nodes + VISITS_MORE, STEP
        last: int | None = -1
        waiting = [(root, 0, 0)]
        while waiting:
            node, start, depth = waiting.pop()
            while node < nodes:
                if node == alias and depth:
                    node = nodes
                elif depth == bits:
                    node = self._first_leaf(node, deepest - bits) if start else nodes
                else:
                    depth += 1
                    visits += 1
                    waiting.append((tree[2 * node + 1], start | 1 << bits - depth, depth))
                    node = tree[2 * node]
            if visits > told:
                if visits > visits_max:
                    raise Unreadable("tree_tangled", f"node {node}", "the tree's branches meet again and again")
                told = visits + STEP
                progress(min(visits, nodes), nodes)
            found = self._record(node)
            if found != last:
                yield start, found
                last = found
        if visits > visits_max:
            raise Unreadable("tree_tangled", "tree", "the tree's branches meet again and again")
        progress(nodes, nodes)

    def _first_leaf(self, node: int, deepest: int) -> int:
        for _ in range(deepest):
            node = self._tree[2 * node]
            if node >= self.metadata.nodes:
                return node
        raise Unreadable("tree_too_deep", f"node {node}", "a branch is longer than an address")

    def _record(self, value: int) -> int | None:
        if value == self.metadata.nodes:
            return None
        at = value - self.metadata.nodes - 16
        if not 0 <= at < self._size:
            raise Unreadable("record_outside", "tree", f"a leaf points to {value}, where no record is")
        return at


def read_metadata(section: Section) -> Metadata:
    """What the end of a file says; `Unreadable` if it makes no sense."""
    found = section.decode()
    if not isinstance(found, dict):
        raise Unreadable("metadata_malformed", "metadata", "not a map")

    def number(name: str, *wanted: int) -> int:
        value = found.get(name)
        if not isinstance(value, int) or (wanted and value not in wanted):
            among = f", wanted one of {wanted}" if wanted else ""
            raise Unreadable("metadata_malformed", f"metadata.{name}", f"is {str(value)[:40]!r}{among}")
        return value

    number("binary_format_major_version", 2)
    record_bits, version = number("record_size", 24, 28, 32), number("ip_version", 4, 6)
    nodes, built_s = number("node_count"), found.get("build_epoch")
    if not 1 <= nodes < DATABASE_BYTES_MAX:
        raise Unreadable("metadata_malformed", "metadata.node_count", f"is {nodes}")
    kind = found.get("database_type")
    name = "".join(letter for letter in str(kind or "database") if letter.isprintable())[:64]
    return Metadata(name, built_s if isinstance(built_s, int) else 0, nodes, record_bits, version)


def read_tree(data: bytes, record_bits: int) -> array[int]:
    """The tree's records, left and right of each node in turn, as numbers."""
    if record_bits == 32:
        wide = bytearray(data)
    elif record_bits == 24:
        wide = bytearray(len(data) // 3 * 4)
        for byte in range(3):
            wide[byte + 1 :: 4] = data[byte::3]
    else:
        wide = bytearray(len(data) // 7 * 8)
        wide[0::8], wide[4::8] = data[3::7].translate(_HIGH), data[3::7].translate(_LOW)
        for byte in range(3):
            wide[byte + 1 :: 8], wide[byte + 5 :: 8] = data[byte::7], data[byte + 4 :: 7]
    found: array[int] = array("I")
    found.frombytes(wide)
    if sys.byteorder == "little":
        found.byteswap()
    return found
