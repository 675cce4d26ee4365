"""Reading rows that have arrived: PyMySQL takes each packet, and each column of it, by calls of its own.

Here every whole row in the receive buffer is taken in one loop; whatever else comes (the end, an error, a row that is
not all there) is PyMySQL's.  Source: MariaDB, "Resultset row" and "Protocol data types" (length-encoded strings).
"""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from typing import Any

from pymysql.connections import MySQLResult

BUFFER_BYTES = 65_536
_NULL, _TWO, _THREE, _NO_ROW = 0xFB, 0xFC, 0xFD, 0xFE  # first bytes


class Rows(MySQLResult):  # type: ignore[misc]  # it has no types
    """The answer to a statement."""

    connection: Any
    converters: list[tuple[str | None, Callable[[Any], Any] | None]]
    _check_packet_is_eof: Callable[[Any], bool]
    _read_row_from_packet: Callable[[Any], tuple[Any, ...]]

    def _read_rowdata_packet(self) -> None:
        found: list[tuple[Any, ...]] = []
        takers = [_taker(*how) for how in self.converters]
        while not self._check_packet_is_eof(packet := self.connection._read_packet()):
            found.append(self._read_row_from_packet(packet))
            self._take_buffered(takers, found)
        self.connection = None  # it refers to this
        self.affected_rows, self.rows = len(found), tuple(found)

    def _take_buffered(self, takers: list[Callable[[bytes], Any]], found: list[tuple[Any, ...]]) -> None:
        """Add the rows that are wholly in the buffer."""
        connection = self.connection
        data: bytes = connection._rfile.peek()
        packet, size, number = 0, len(data), connection._next_seq_id
        while packet + 4 < size:
            end = packet + 4 + (data[packet] | data[packet + 1] << 8 | data[packet + 2] << 16)
            if end > size or data[packet + 3] != number or data[packet + 4] >= _NO_ROW:
                break
            found.append(_row(data, packet + 4, takers))
            packet, number = end, (number + 1) % 256
        connection._rfile.read(packet)
        connection._next_seq_id = number


def _row(data: bytes, at: int, takers: list[Callable[[bytes], Any]]) -> tuple[Any, ...]:
    row: list[Any] = []
    for take in takers:
        length = data[at]
        at += 1
        if length < _NULL:
            pass
        elif length == _TWO:
            length = data[at] | data[at + 1] << 8
            at += 2
        elif length == _NULL:
            row.append(None)
            continue
        else:
            count = 3 if length == _THREE else 8
            length = int.from_bytes(data[at : at + count], "little")
            at += count
        row.append(take(data[at : at + length]))
        at += length
    return tuple(row)


def _taker(encoding: str | None, convert: Callable[[Any], Any] | None) -> Callable[[bytes], Any]:
    """What makes a value of a column's bytes."""
    if convert is int:
        return int
    if encoding is None:
        return convert or bytes
    decode = methodcaller("decode", encoding)
    return decode if convert is None else lambda raw: convert(decode(raw))
