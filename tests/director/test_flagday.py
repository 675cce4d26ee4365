"""The checks of the DNS flag days (EDNS compliance), restated: what every resolver relies on, over real sockets.

Each row is a query as the compliance testers send it, and what a good server does with it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from moonbow.director.addresses import Ranges
from moonbow.director.snapshot import take_snapshot
from moonbow.world import World

from .nameservers import ZONE, Served, query, served

AA, AD, CD, RA, RD, TC = 0x0400, 0x0020, 0x0010, 0x0080, 0x0100, 0x0200
Z = 0x0040
DO = 0x8000


class Asked(NamedTuple):
    """A query: flags and opcode in the header, type, and the parts of its OPT record (None: without)."""

    kind: str = "SOA"
    flags: int = 0
    opcode: int = 0
    version: int | None = None
    edns_flags: int = 0
    options: bytes = b""
    udp_bytes: int = 4096
    tcp: bool = False


def option(code: int, data: bytes = b"") -> bytes:
    return struct.pack("!HH", code, len(data)) + data


UNKNOWN, NSID, SUBNET, EXPIRE = option(100), option(3), option(8, b"\0\1\0\0"), option(9)
COOKIE = option(10, b"clientck")
LIST = NSID + SUBNET + EXPIRE + COOKIE

CHECKS = {
    "dns": Asked(),
    "aa": Asked(flags=AA),
    "ad": Asked(flags=AD),
    "cd": Asked(flags=CD),
    "ra": Asked(flags=RA),
    "rd": Asked(flags=RD),
    "tc": Asked(flags=TC),
    "zflag": Asked(flags=Z),
    "opcode": Asked(opcode=15),
    "opcodeflg": Asked(opcode=15, flags=TC | RD | RA | CD | AD | Z | AA),
    "type666": Asked(kind="TYPE666"),
    "tcp": Asked(tcp=True),
    "edns": Asked(version=0),
    "edns1": Asked(version=1),
    "edns@512": Asked(kind="DNSKEY", version=0, udp_bytes=512, edns_flags=DO),
    "ednsopt": Asked(version=0, options=UNKNOWN),
    "edns1opt": Asked(version=1, options=UNKNOWN),
    "do": Asked(version=0, edns_flags=DO),
    "docd": Asked(version=0, edns_flags=DO, flags=CD),
    "edns1do": Asked(version=1, edns_flags=DO),
    "ednsflags": Asked(version=0, edns_flags=0x0080),
    "edns1flags": Asked(version=1, edns_flags=0x0080),
    "optlist": Asked(version=0, options=LIST),
    "ednsnsid": Asked(version=0, options=NSID),
    "ednscookie": Asked(version=0, options=COOKIE),
    "ednsexpire": Asked(version=0, options=EXPIRE),
    "ednssubnet": Asked(version=0, options=SUBNET),
    "edns1nsid": Asked(version=1, options=NSID),
    "edns1cookie": Asked(version=1, options=COOKIE),
    "edns1expire": Asked(version=1, options=EXPIRE),
    "edns1subnet": Asked(version=1, options=SUBNET),
    "ednstcp": Asked(version=0, tcp=True, edns_flags=DO, kind="DNSKEY"),
    "ednskey": Asked(kind="DNSKEY", version=0, edns_flags=DO),
    "a": Asked(kind="A", version=0, edns_flags=DO),
    "padding": Asked(version=0, options=option(12, bytes(64))),
    "keepalive": Asked(version=0, options=option(11), tcp=True),
}


def packet_of(asked: Asked) -> bytes:
    packet = bytearray(dns.message.make_query(ZONE, asked.kind, flags=asked.flags).to_wire())
    packet[2] = packet[2] & 0x87 | asked.opcode << 3
    packet[3] |= asked.flags & 0xFF
    if asked.version is not None:
        packet[11] = 1
        ttl = asked.version << 16 | asked.edns_flags
        packet += b"\0" + struct.pack("!HHIH", 41, asked.udp_bytes, ttl, len(asked.options)) + asked.options
    return bytes(packet)


@pytest.fixture(scope="module")
def server(laptop: World, ranges: Ranges, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("flagday")
    with served(folder, take_snapshot(laptop, ranges)) as running:
        yield running


def exchange(server: Served, asked: Asked) -> dns.message.Message:
    over: Callable[..., dns.message.Message] = dns.query.tcp if asked.tcp else dns.query.udp
    return server.ask(Raw(packet_of(asked)), over)


class Raw(dns.message.QueryMessage):
    """A message sent as the bytes it was made of."""

    def __init__(self, packet: bytes) -> None:
        super().__init__(struct.unpack_from("!H", packet)[0])
        self._packet = packet

    def to_wire(self, *_: object, **__: object) -> bytes:
        return self._packet

    def is_response(self, other: dns.message.Message) -> bool:
        return other.id == self.id and bool(other.flags & dns.flags.QR)


@pytest.mark.parametrize("name", CHECKS)
def test_flag_day(server: Served, name: str) -> None:
    asked = CHECKS[name]
    reply = exchange(server, asked)
    assert reply.flags & dns.flags.QR
    assert not reply.flags & (dns.flags.RA | dns.flags.AD), "neither a resolver nor a validator"
    assert not reply.to_wire()[3] & 0x40, "the Z bit is not given back"
    if asked.opcode:
        assert reply.rcode() == dns.rcode.NOTIMP
        assert not reply.flags & (dns.flags.AA | dns.flags.TC)
        return
    assert bool(reply.flags & dns.flags.RD) is bool(asked.flags & RD)
    assert bool(reply.flags & dns.flags.CD) is bool(asked.flags & CD)
    assert (reply.edns >= 0) is (asked.version is not None), "an OPT record for an OPT record"
    assert not reply.flags & dns.flags.TC
    if asked.version is not None:
        assert reply.edns == 0, "our version"
        assert reply.ednsflags & ~(DO | 0xFF0000) & 0x7FFF == 0, "unknown flags are not given back"
        assert bool(reply.ednsflags & DO) is bool(asked.edns_flags & DO)
        assert {option.otype for option in reply.options} <= {8, 10}, "nothing that nobody knows is given back"
        assert reply.payload == 1232
    if asked.version:
        assert reply.rcode() == dns.rcode.BADVERS
        assert not reply.answer
        return
    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.flags & dns.flags.AA
    if asked.kind == "TYPE666":
        assert not reply.answer
        assert reply.authority[0].rdtype == dns.rdatatype.SOA
        return
    assert reply.answer[0].rdtype == dns.rdatatype.from_text(asked.kind)
    signed = any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in reply.answer)
    assert signed is bool(asked.edns_flags & DO), "signatures for who wants them, and nobody else"


def test_the_cookie_and_the_subnet_come_back(server: Served) -> None:
    reply = exchange(server, CHECKS["optlist"])
    found = {option.otype: option for option in reply.options}
    assert found[10].client == b"clientck"
    assert len(found[10].server) == 16
    assert found[8].scopelen == 0


def test_a_cookie_alone_may_be_asked_for(server: Served) -> None:
    packet = struct.pack("!HHHHHH", 7, 0, 0, 0, 0, 1) + b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(COOKIE)) + COOKIE
    reply = server.ask(Raw(packet))
    assert reply.rcode() == dns.rcode.NOERROR
    assert not reply.question
    assert len(reply.options[0].server) == 16


@pytest.mark.parametrize("data", [b"", b"short", b"clientck1", b"clientck" + bytes(7), b"clientck" + bytes(33)])
def test_a_cookie_of_a_wrong_length_is_a_fault(server: Served, data: bytes) -> None:
    assert exchange(server, Asked(version=0, options=option(10, data))).rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\1\x18",
        b"\0\3\x18\0\xc2\2\0",
        b"\0\1\x21\0\xc2\2\0\0\0",
        b"\0\2\x81\0" + bytes(17),
        b"\0\1\x18\x01\xc2\2\0",
        b"\0\1\x18\0\xc2\2",
        b"\0\1\x18\0\xc2\2\0\0",
        b"\0\1\x17\0\xc2\2\1",
        b"\0\0\x18\0\xc2\2\0",
    ],
)
def test_a_malformed_subnet_is_a_fault(server: Served, data: bytes) -> None:
    assert exchange(server, Asked(kind="A", version=0, options=option(8, data))).rcode() == dns.rcode.FORMERR
    assert exchange(server, Asked(kind="A", version=0, options=SUBNET + option(8, data))).rcode() == dns.rcode.FORMERR


def test_names_of_others_and_of_the_server_are_refused(server: Served) -> None:
    for name, kind, klass in (
        ("version.bind", "TXT", "CH"),
        ("id.server", "TXT", "CH"),
        ("hostname.bind", "TXT", "CH"),
        (ZONE, "TXT", "CH"),
        (ZONE, "A", "HS"),
        ("example.com", "A", "IN"),
        (".", "NS", "IN"),
        ("localhost", "SOA", "IN"),
        (ZONE, "AXFR", "IN"),
    ):
        message = dns.message.make_query(name, kind, klass)
        assert server.ask(Raw(message.to_wire())).rcode() == dns.rcode.REFUSED


def test_case_is_kept_in_every_kind_of_reply(server: Served) -> None:
    for name in ("mOOnbow.LOCALhost", "dOOr.Moonbow.localhosT", "nOPe.moonBOW.localhost", "EXAMPLE.com"):
        message = query(name, want_dnssec=True)
        assert message.question[0].name.to_wire() in server.ask(message).to_wire(origin=None)
        assert (
            dns.query.udp(message, "127.0.0.1", port=server.port).question[0].name.labels
            == message.question[0].name.labels
        )
