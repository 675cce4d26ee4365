"""DNS messages as bytes: read a query, build the parts of an answer.  Pure; no input makes it fail.

Sources: RFC 1035 (4.1 messages), RFC 6891 (EDNS), RFC 7871 (client subnet), RFC 8482 (ANY), RFC 9619 (one question).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

A, NS, SOA, HINFO, TXT, AAAA, OPT, IXFR, AXFR, ANY = 1, 2, 6, 13, 16, 28, 41, 251, 252, 255
IN = 1
NOERROR, FORMERR, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 3, 4, 5, 16
QR, AA, TC, RD = 0x8000, 0x0400, 0x0200, 0x0100
DO = 0x8000
ECS = 8
UDP_BYTES_MAX = 1232  # what crosses every network unfragmented (DNS flag day 2020)
UDP_BYTES_PLAIN = 512
RECORDS_MAX = 4  # additional records looked at in a query

_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_OPTION = struct.Struct("!HH")
_SUBNET = struct.Struct("!HBB")


class Subnet(NamedTuple):
    """A client subnet: family 1 (IPv4) or 2 (IPv6), prefix length, address, and its bytes as sent."""

    family: int
    source: int
    address: int
    raw: bytes


class Edns(NamedTuple):
    """What a query's OPT record says."""

    udp_bytes: int
    version: int
    do: bool
    subnet: Subnet | None


class Query(NamedTuple):
    """One question.  `key` is the name in lower case, on the wire; `question` the section as sent, case and all."""

    ident: int
    flags: int
    key: bytes
    kind: int
    klass: int
    question: bytes
    edns: Edns | None


class Fault(Exception):
    """The query cannot be answered; `reply` is what to send, None for nothing."""

    def __init__(self, reply: bytes | None) -> None:
        super().__init__("query refused")
        self.reply = reply


def read_query(packet: bytes) -> Query:
    """The query in a packet, or `Fault` with the reply that it deserves."""
    if len(packet) < 12:
        raise Fault(None)
    ident, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(packet)
    if flags & QR:
        raise Fault(None)
    if flags & 0x7800:
        raise Fault(_HEADER.pack(ident, QR | flags & 0x7800 | flags & RD | NOTIMP, 0, 0, 0, 0))
    bad = Fault(_HEADER.pack(ident, QR | flags & RD | FORMERR, 0, 0, 0, 0))
    if questions != 1 or answers or authorities or additionals > RECORDS_MAX:
        raise bad
    end = _name_end(packet, 12, bad)
    if end + 4 > len(packet) or end - 12 > 255:
        raise bad
    key = packet[12:end].lower()
    kind, klass = struct.unpack_from("!HH", packet, end)
    question = packet[12 : end + 4]
    edns = _read_additional(packet, end + 4, additionals, bad) if additionals else None
    if not additionals and len(packet) != end + 4:
        raise bad
    return Query(ident, flags, key, kind, klass, question, edns)


def _name_end(packet: bytes, at: int, bad: Fault) -> int:
    """The place after an uncompressed name.  Length octets are below 64, so lower-casing a name leaves them alone."""
    size = len(packet)
    while True:
        if at >= size:
            raise bad
        length = packet[at]
        at += 1
        if not length:
            return at
        if length > 63:
            raise bad
        at += length


def _read_additional(packet: bytes, at: int, count: int, bad: Fault) -> Edns | None:
    edns: Edns | None = None
    for _ in range(count):
        start, at = at, _name_end(packet, at, bad)
        if at + 10 > len(packet):
            raise bad
        kind, klass, ttl, length = _RECORD.unpack_from(packet, at)
        at += 10
        if at + length > len(packet):
            raise bad
        if kind == OPT:
            if edns is not None or packet[start]:
                raise bad
            subnet = _read_options(packet[at : at + length], bad)
            edns = Edns(klass, ttl >> 16 & 0xFF, bool(ttl & DO), subnet)
        at += length
    if at != len(packet):
        raise bad
    return edns


def _read_options(data: bytes, bad: Fault) -> Subnet | None:
    found: Subnet | None = None
    at, size = 0, len(data)
    while at < size:
        if at + 4 > size:
            raise bad
        code, length = _OPTION.unpack_from(data, at)
        at += 4
        if at + length > size:
            raise bad
        if code == ECS:
            if found is not None:
                raise bad
            found = _read_subnet(data[at : at + length], bad)
        at += length
    return found


def _read_subnet(data: bytes, bad: Fault) -> Subnet | None:
    """RFC 7871, section 6: the address has as many bytes as the prefix needs, and no bit set beyond it.

    Family 0 without an address is how some ask for no subnet; it is taken as none, and not given back.
    """
    if len(data) < 4:
        raise bad
    family, source, scope = _SUBNET.unpack_from(data)
    bits = {1: 32, 2: 128}.get(family)
    raw = data[4:]
    if data == bytes(4):
        return None
    if bits is None or source > bits or scope or len(raw) != (source + 7) // 8:
        raise bad
    address = int.from_bytes(raw, "big") << (bits - 8 * len(raw))
    if source < bits and address & ((1 << (bits - source)) - 1):
        raise bad
    return Subnet(family, source, address, raw)


def build_reply(
    query: Query,
    rcode: int,
    answer: tuple[int, bytes] = (0, b""),
    authority: bytes = b"",
    scope: int = 0,
    *,
    limit: int,
) -> bytes:
    """A reply of at most `limit` bytes: question as asked, (count, records), one authority record, EDNS if it was used.

    What does not fit is left out whole and marked truncated, so that the client comes back over TCP.
    """
    flags = QR | query.flags & RD | rcode & 0xF
    if rcode in (NOERROR, NXDOMAIN):
        flags |= AA
    edns = build_edns(query.edns, rcode, scope) if query.edns else b""
    count, records = answer
    size = 12 + len(query.question) + len(records) + len(authority) + len(edns)
    if size > limit:
        header = _HEADER.pack(query.ident, flags | TC, 1, 0, 0, 1 if edns else 0)
        return header + query.question + edns
    header = _HEADER.pack(query.ident, flags, 1, count, 1 if authority else 0, 1 if edns else 0)
    return b"%b%b%b%b%b" % (header, query.question, records, authority, edns)


def build_edns(asked: Edns, rcode: int, scope: int) -> bytes:
    """Our OPT record: own size and version 0, the DO bit and the client subnet given back."""
    option = b""
    if asked.subnet is not None:
        family, source, _, raw = asked.subnet
        option = struct.pack("!HHHBB", ECS, 4 + len(raw), family, source, scope) + raw
    ttl = (rcode >> 4) << 24 | (DO if asked.do else 0)
    return b"\0" + _RECORD.pack(OPT, UDP_BYTES_MAX, ttl, len(option)) + option


def size_limit(query: Query, tcp: bool) -> int:
    """How many bytes the reply may have."""
    if tcp:
        return 65535
    return min(max(query.edns.udp_bytes, UDP_BYTES_PLAIN), UDP_BYTES_MAX) if query.edns else UDP_BYTES_PLAIN


def name_wire(name: str) -> bytes:
    """An ASCII domain name on the wire, lower case."""
    labels = [label.encode("ascii") for label in name.lower().rstrip(".").split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record(kind: int, ttl_s: int, data: bytes, owner: bytes = b"\xc0\x0c") -> bytes:
    """One record of class IN; its owner is by default the name that was asked."""
    return owner + _RECORD.pack(kind, IN, ttl_s, len(data)) + data


def text_data(text: str) -> bytes:
    """The data of a TXT record, cut into strings of 255 bytes."""
    data = text.encode()
    return b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, max(len(data), 1), 255))


def join_records(records: Iterable[bytes]) -> tuple[int, bytes]:
    """Records as `build_reply` takes them."""
    found = list(records)
    return len(found), b"".join(found)
