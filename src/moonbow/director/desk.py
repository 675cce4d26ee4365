"""What a name server does with one packet: recall or answer, check the cookie, limit, count.  No sockets, no clock.

`handle` is the fast path: a packet seen lately costs a dictionary look-up.  What was answered is kept by the packet
without its id (by the source as well where that matters) on a `Shelf` that lasts as long as its responder.
Laws: an answer never outlives the snapshot it was made from; the same packet gets the same answer whether it was seen
before or not, but for the age of a cookie; memory is bounded.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from . import codec
from .codec import Fault, Query, Reply, read_query
from .cookies import Jar
from .dns import Responder, Template
from .dnssec import Exhausted
from .limiter import Limiter, Rates, Said, cost_of
from .model import SERVICES
from .recent import Recent

ENTRIES_MAX = 65_536  # answers kept, about 500 bytes each
ENTRIES_OF_SOURCES_MAX = 32_768
KEPT_PACKET_BYTES_MAX = 256
TEMPLATES_MAX = 4_096  # questions that differ only in the client's network
TEMPLATE_BYTES = (3, 7)  # of the usual networks: /24 of IPv4, /56 of IPv6
HEAD_OPT_SUBNET_BYTES = 12 + 11 + 8  # a query with nothing but its client's network, less question and address
FORGET_S = 60  # what was answered to one source, cookies among it, is gone after twice this
RCODES = 32


class Entry(NamedTuple):
    """An answer on the shelf: its parts, where it is counted, and what it costs its network."""

    head: bytes
    turns: tuple[bytes, ...]
    tail: bytes
    hit: int
    cost: int


class Shelf:
    """A responder, and what was answered from it: for everybody alike, and for one source."""

    def __init__(self, responder: Responder) -> None:
        self.responder = responder
        self.common: Recent[bytes, Entry] = Recent(ENTRIES_MAX)
        self.templates: dict[int, Recent[bytes, Template]] = {size: Recent(TEMPLATES_MAX) for size in TEMPLATE_BYTES}
        self.own: Recent[tuple[bytes, bytes], Entry] = Recent(ENTRIES_OF_SOURCES_MAX)
        self.beyond = responder.cells * len(SERVICES)
        self.hits = [0] * (self.beyond + RCODES)


class Counts:
    """What happened so far, for the metrics; TCP connections are those open now.

    `cells` counts questions by (service, cell) of the present map.
    """

    def __init__(self) -> None:
        self.replies: Counter[tuple[str, int]] = Counter()  # (transport, rcode)
        self.silent: Counter[str] = Counter()
        self.limited: Counter[str] = Counter()  # slipped, dropped
        self.cookies: Counter[str] = Counter()  # good, new
        self.cells: Counter[tuple[str, int]] = Counter()
        self.signed = 0
        self.tcp_connections = 0
        self.tcp_refused = 0
        self.restarts = 0  # of workers
        self.workers: dict[int, tuple[int, float]] = {}  # worker -> (snapshot that it serves, age of its report in s)
        self.knot: dict[str, float] = {}  # how well Knot follows, where it answers

    def add(self, other: Counts) -> None:
        """Take in what was counted elsewhere."""
        self.replies.update(other.replies)
        self.silent.update(other.silent)
        self.limited.update(other.limited)
        self.cookies.update(other.cookies)
        self.cells.update(other.cells)
        self.signed += other.signed
        self.tcp_refused += other.tcp_refused


class Desk:
    """One server's desk.  `serve` puts another responder behind it, at any time and from any thread."""

    def __init__(self, responder: Responder, jar: Jar | None = None, rates: Rates | None = None) -> None:
        self.shelf = Shelf(responder)
        self.limiter = Limiter(rates or Rates())
        self.counts = Counts()
        self.tcp_connections = 0
        self._jar = jar
        self._ticks = 0

    @property
    def responder(self) -> Responder:
        """Who answers now."""
        return self.shelf.responder

    def serve(self, responder: Responder) -> None:
        """Answer from `responder` from now on."""
        before, self.shelf = self.shelf, Shelf(responder)
        self._count_hits(before)

    def tick(self, now_s: float) -> None:
        """To be called once a second, with the time."""
        self._ticks += 1
        self.limiter.tick()
        if self._jar is not None:
            self._jar.tick(now_s)
        if signer := self.responder.signer:
            signer.refill()
        if self._ticks % FORGET_S == 0:
            self.shelf.own.age()

    def handle(self, packet: bytes, source: bytes) -> bytes | None:
        """The reply to a UDP packet from a packed address; None where silence is right."""
        shelf = self.shelf
        entry = shelf.common.young.get(packet[2:])
        if entry is None:
            entry = self._find(shelf, packet, source)
            if entry is None:
                self.counts.silent["udp"] += 1
                return None
        head, turns, tail, hit, cost = entry
        if cost:
            limiter = self.limiter
            prefix = source[:3] if len(source) == 4 else source[:7]
            counts = limiter.counts
            spent = counts.get(prefix, 0) + cost
            counts[prefix] = spent
            if spent > limiter.allowed:
                return self._limited(packet, source, prefix)
        shelf.hits[hit] += 1
        return packet[:2] + head + turns[packet[1] & 7] + tail

    def handle_stream(self, packet: bytes, source: bytes) -> bytes | None:
        """The reply to a packet over TCP; None if it is not a query."""
        try:
            query = read_query(packet)
        except Fault as fault:
            reply, cell = fault.reply, -1
        else:
            shelf, option = self.shelf, self._cookie(query.edns.cookie, source)[0] if query.edns else b""
            if signer := shelf.responder.signer:
                signer.left = max(signer.left, 1)  # whoever is here hears us, and waits for his turn
            reply, _, cell = shelf.responder.answer(query, source, codec.size_limit(query, True), option)
            if cell >= 0:
                self.counts.cells[self._cell_name(shelf, cell)] += 1
        if reply is None:
            self.counts.silent["tcp"] += 1
            return None
        self.counts.replies["tcp", reply.rcode] += 1
        return reply.finish(packet)

    def collect(self) -> Counts:
        """All that was counted until now."""
        self._count_hits(self.shelf)
        if signer := self.responder.signer:
            self.counts.signed, signer.signed = self.counts.signed + signer.signed, 0
        self.counts.tcp_connections = self.tcp_connections
        return self.counts

    def take(self) -> Counts:
        """What was counted since the last time."""
        found, self.counts = self.collect(), Counts()
        return found

    def _find(self, shelf: Shelf, packet: bytes, source: bytes) -> Entry | None:
        """From the shelf's depth, or else made and put there; None where silence is right."""
        key = packet[2:]
        if (found := shelf.common.get(key)) is not None:
            return found
        own = (source, key)
        if (found := shelf.own.get(own)) is not None:
            return found
        for size, templates in shelf.templates.items():
            if template := templates.young.get(packet[2:-size]):
                reply, cell = template.fill(packet[-size:])
                entry = Entry(reply.head, reply.turns, reply.tail, cell, cost_of(reply.size))
                shelf.common.put(key, entry)
                return entry
        try:
            query = read_query(packet)
        except Fault as fault:
            return _entry(fault.reply, shelf.beyond + fault.reply.rcode, 1) if fault.reply else None
        self._keep_template(shelf, query, packet)
        entry, common = self._make(shelf, query, source)
        if len(packet) <= KEPT_PACKET_BYTES_MAX:
            if common:
                shelf.common.put(key, entry)
            else:
                shelf.own.put(own, entry)
        return entry

    def _keep_template(self, shelf: Shelf, query: Query, packet: bytes) -> None:
        size = len(query.edns.subnet.raw) if query.edns and query.edns.subnet else 0
        if size not in TEMPLATE_BYTES or len(packet) != HEAD_OPT_SUBNET_BYTES + len(query.question) + size:
            return
        if template := shelf.responder.template(query, codec.size_limit(query, tcp=False)):
            shelf.templates[size].put(packet[2:-size], template)

    def _make(self, shelf: Shelf, query: Query, source: bytes) -> tuple[Entry, bool]:
        """(a new entry, whether it is right for every source)."""
        option, good = self._cookie(query.edns.cookie, source) if query.edns else (b"", False)
        limit = codec.size_limit(query, tcp=False)
        try:
            reply, by_source, cell = shelf.responder.answer(query, source, limit, option)
        except Exhausted:
            reply, by_source, cell = codec.build_reply(query, codec.NOERROR, limit=0, cookie=option), True, -1
            return _entry(reply, shelf.beyond, 1), False
        hit = cell if cell >= 0 else shelf.beyond + reply.rcode
        return _entry(reply, hit, 0 if good else cost_of(reply.size)), not (by_source or option)

    def _cookie(self, cookie: bytes, source: bytes) -> tuple[bytes, bool]:
        if not cookie or self._jar is None:
            return b"", False
        option, good = self._jar.read(cookie, source)
        self.counts.cookies["good" if good else "new" if option else "none left"] += 1
        return option, good

    def _limited(self, packet: bytes, source: bytes, prefix: bytes) -> bytes | None:
        """Nothing, or a short reply: who has a cookie of its own gets ours (BADCOOKIE), others are sent to TCP."""
        if self.limiter.judge(prefix) is Said.DROP:
            self.counts.limited["dropped"] += 1
            return None
        self.counts.limited["slipped"] += 1
        try:
            query = read_query(packet)
        except Fault:
            return None
        if query.edns and query.edns.cookie and (option := self._cookie(query.edns.cookie, source)[0]):
            self.counts.replies["udp", codec.BADCOOKIE] += 1
            return codec.build_reply(query, codec.BADCOOKIE, limit=codec.UDP_BYTES_PLAIN, cookie=option).finish(packet)
        self.counts.replies["udp", codec.NOERROR] += 1
        return codec.build_reply(query, codec.NOERROR, limit=0).finish(packet)

    def _count_hits(self, shelf: Shelf) -> None:
        """Move what the fast path counted to the counters with names."""
        fresh, shelf.hits = shelf.hits, [0] * len(shelf.hits)
        for at, number in enumerate(fresh):
            if not number:
                continue
            if at < shelf.beyond:
                self.counts.cells[self._cell_name(shelf, at)] += number
                self.counts.replies["udp", codec.NOERROR] += number
            else:
                self.counts.replies["udp", at - shelf.beyond] += number

    def _cell_name(self, shelf: Shelf, cell: int) -> tuple[str, int]:
        service, number = divmod(cell, shelf.responder.cells)
        return SERVICES[service], number


def _entry(reply: Reply, hit: int, cost: int) -> Entry:
    return Entry(reply.head, reply.turns, reply.tail, hit, cost)
