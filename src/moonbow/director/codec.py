"""DNS messages as bytes: read a query, build the parts of an answer.  Pure; no input makes it fail.

Sources: RFC 1035 (4.1 messages), RFC 6891 (EDNS), RFC 7871 (client subnet), RFC 7873 (cookies), RFC 9619 (one
question), RFC 9824 (the CO flag).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

A, NS, SOA, HINFO, TXT, AAAA, OPT, RRSIG, NSEC, DNSKEY = 1, 2, 6, 13, 16, 28, 41, 46, 47, 48
NXNAME, IXFR, AXFR, ANY, CAA = 128, 251, 252, 255, 257
IN = 1
NOERROR, FORMERR, NXDOMAIN, NOTIMP, REFUSED, BADVERS, BADCOOKIE = 0, 1, 3, 4, 5, 16, 23
QR, AA, TC, RD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0010
DO, CO = 0x8000, 0x4000
ECS, COOKIE = 8, 10
CLIENT_COOKIE_BYTES = 8
COOKIE_BYTES = frozenset({8, *range(16, 41)})  # a client's cookie alone, or with a server's behind it
UDP_BYTES_MAX = 1232  # what crosses every network unfragmented (DNS flag day 2020)
UDP_BYTES_PLAIN = 512
RECORDS_MAX = 4  # additional records looked at in a query
NAME_BYTES_MAX = 255
TURNS = 8  # orders of one answer; a power of two, for the last bits of the query's id pick one

_HEADER = struct.Struct("!HHHHHH")
_TAIL = struct.Struct("!HHHHH")
_TYPE_CLASS = struct.Struct("!HH")
_OPTION_SUBNET = struct.Struct("!HHHBB")
_FAMILY_BITS = {1: 32, 2: 128}
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
    co: bool = False
    cookie: bytes = b""


class Query(NamedTuple):
    """One question.  `key` is the name in lower case, on the wire; `question` the section as sent, case and all."""

    ident: int
    flags: int
    key: bytes
    kind: int
    klass: int
    question: bytes
    edns: Edns | None


class Reply(NamedTuple):
    """A reply without the id in front: `head`, one of eight `turns` of the answer section, `tail`."""

    rcode: int
    head: bytes
    turns: tuple[bytes, ...]
    tail: bytes

    def finish(self, packet: bytes) -> bytes:
        """The reply to `packet`: its id decides which turn it gets."""
        return packet[:2] + self.head + self.turns[packet[1] & TURNS - 1] + self.tail

    @property
    def size(self) -> int:
        """Bytes of the whole reply."""
        return 2 + len(self.head) + len(self.turns[0]) + len(self.tail)


class Section(NamedTuple):
    """An answer section: how many records, and their bytes in eight orders."""

    records: int
    turns: tuple[bytes, ...]


NO_TURNS = (b"",) * TURNS
NOTHING = Section(0, NO_TURNS)


class Fault(Exception):
    """The query cannot be answered; `reply` is what to send, None for nothing."""

    def __init__(self, reply: Reply | None) -> None:
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
        raise Fault(_bare(flags & (0x7800 | RD) | NOTIMP))
    bad = Fault(_bare(flags & RD | FORMERR))
    if questions > 1 or answers or authorities or additionals > RECORDS_MAX:
        raise bad
    if not questions:
        return _read_cookie_query(packet, ident, flags, additionals, bad)
    end = _name_end(packet, 12, bad)
    if end + 4 > len(packet) or end - 12 > NAME_BYTES_MAX:
        raise bad
    kind, klass = _TYPE_CLASS.unpack_from(packet, end)
    edns = _read_additional(packet, end + 4, additionals, bad) if additionals else None
    if not additionals and len(packet) != end + 4:
        raise bad
    return Query(ident, flags, packet[12:end].lower(), kind, klass, packet[12 : end + 4], edns)


def _bare(flags: int) -> Reply:
    """A reply of a header alone."""
    return Reply(flags & 0xF, _HEADER.pack(0, QR | flags, 0, 0, 0, 0)[2:], NO_TURNS, b"")


def _read_cookie_query(packet: bytes, ident: int, flags: int, additionals: int, bad: Fault) -> Query:
    """RFC 7873, section 5.4: a query without a question asks for a cookie only."""
    edns = _read_additional(packet, 12, additionals, bad)
    if edns is None or not edns.cookie:
        raise bad
    return Query(ident, flags, b"", 0, IN, b"", edns)


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
            subnet, cookie = _read_options(packet[at : at + length], bad) if length else (None, b"")
            edns = Edns(klass, ttl >> 16 & 0xFF, bool(ttl & DO), subnet, bool(ttl & CO), cookie)
        at += length
    if at != len(packet):
        raise bad
    return edns


def _read_options(data: bytes, bad: Fault) -> tuple[Subnet | None, bytes]:
    """The client subnet and the cookie among the options; only the first cookie counts (RFC 7873, section 5.2)."""
    found: Subnet | None = None
    cookie, seen = b"", False
    at, size = 0, len(data)
    while at < size:
        if at + 4 > size:
            raise bad
        code, length = _OPTION.unpack_from(data, at)
        at += 4
        if at + length > size:
            raise bad
        if code == ECS:
            if seen:
                raise bad
            found, seen = _read_subnet(data[at : at + length], bad), True
        elif code == COOKIE and not cookie:
            if length not in COOKIE_BYTES:
                raise bad
            cookie = data[at : at + length]
        at += length
    return found, cookie


def _read_subnet(data: bytes, bad: Fault) -> Subnet | None:
    """RFC 7871, section 6: the address has as many bytes as the prefix needs, and no bit set beyond it.

    Family 0 without an address is how some ask for no subnet; it is taken as none, and not given back.
    """
    if len(data) < 4:
        raise bad
    family, source, scope = _SUBNET.unpack_from(data)
    bits = _FAMILY_BITS.get(family)
    raw = data[4:]
    if data == b"\0\0\0\0":
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
    answer: Section = NOTHING,
    authority: tuple[int, bytes] = (0, b""),
    scope: int = 0,
    *,
    limit: int,
    cookie: bytes = b"",
) -> Reply:
    """A reply of at most `limit` bytes: question as asked, answer, (count, records) of authority, EDNS if it was used.

    What does not fit is left out whole and marked truncated, so that the client comes back over TCP.
    """
    flags = QR | query.flags & (RD | CD) | rcode & 0xF
    if rcode in (NOERROR, NXDOMAIN):
        flags |= AA
    edns = query.edns
    tail = build_edns(edns, rcode, scope, cookie) if edns else b""
    question, questions, additionals = query.question, 1 if query.question else 0, 1 if edns else 0
    if 12 + len(question) + len(answer.turns[0]) + len(authority[1]) + len(tail) > limit:
        return Reply(rcode, _TAIL.pack(flags | TC, questions, 0, 0, additionals) + question, NO_TURNS, tail)
    head = _TAIL.pack(flags, questions, answer.records, authority[0], additionals) + question
    return Reply(rcode, head, answer.turns, authority[1] + tail)


def build_edns(asked: Edns, rcode: int, scope: int, cookie: bytes = b"") -> bytes:
    """Our OPT record: own size and version 0, the DO bit and the client subnet given back, `cookie` if there is one."""
    option = b""
    if asked.subnet is not None:
        family, source, _, raw = asked.subnet
        option = _OPTION_SUBNET.pack(ECS, 4 + len(raw), family, source, scope) + raw
    if cookie:
        option += _OPTION.pack(COOKIE, len(cookie)) + cookie
    return b"\0" + _RECORD.pack(OPT, UDP_BYTES_MAX, (rcode >> 4) << 24 | (DO if asked.do else 0), len(option)) + option


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


def steady(records: Iterable[bytes]) -> Section:
    """An answer section that is the same in every turn."""
    found = list(records)
    return Section(len(found), (b"".join(found),) * TURNS)
