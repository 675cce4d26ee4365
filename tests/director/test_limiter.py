"""The limiter and the desk around it: who is limited, what he gets then, and that cookies and TCP are exempt."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.director.addresses import Ranges
from moonbow.director.cookies import Jar
from moonbow.director.desk import ENTRIES_MAX, Desk
from moonbow.director.dns import Responder
from moonbow.director.limiter import BIG_COSTS, PREFIXES_MAX, Limiter, Rates, Said, cost_of
from moonbow.director.model import Overrides
from moonbow.director.snapshot import take_snapshot
from moonbow.world import World

from .nameservers import AFRICA, FRANCE, ZONE, addresses_in, query

HERE, NEAR, FAR = b"\xc0\0\2\1", b"\xc0\0\2\xfe", b"\xc0\0\3\1"
SIX, SIX_NEAR = b"\x20\x01\x0d\xb8\0\1\2" + bytes(9), b"\x20\x01\x0d\xb8\0\1\2\xff" + bytes(8)
NOW = 1_700_000_000


@pytest.fixture(scope="module")
def responder(laptop: World, ranges: Ranges) -> Responder:
    return Responder(take_snapshot(laptop, ranges))


def desk_of(responder: Responder, per_s: int = 10, slip: int = 2) -> Desk:
    return Desk(responder, Jar(bytes(32), NOW), Rates(per_s, slip))


def ask(desk: Desk, packet: bytes, source: bytes = HERE) -> dns.message.Message | None:
    reply = desk.handle(packet, source)
    return dns.message.from_wire(reply) if reply is not None else None


def test_who_asks_too_much_gets_the_rate_and_every_second_short_reply(responder: Responder) -> None:
    desk, packet = desk_of(responder), query(ZONE, net=FRANCE).to_wire()
    replies = [ask(desk, packet, HERE if number % 2 else NEAR) for number in range(30)]
    assert all(reply is not None and addresses_in(reply) for reply in replies[:10])
    rest = replies[10:]
    short = [reply for reply in rest if reply is not None]
    assert len(short) == len(rest) // 2
    assert all(reply.flags & dns.flags.TC and not reply.answer for reply in short)
    assert addresses_in(ask(desk, packet, FAR)), "another network is not touched"
    desk.tick(NOW + 1)
    assert ask(desk, packet) is None or not addresses_in(ask(desk, packet)), "the excess is taken along"
    desk.tick(NOW + 2)
    desk.tick(NOW + 3)
    assert addresses_in(ask(desk, packet))
    limited = desk.collect().limited
    assert limited["dropped"] >= 10
    assert abs(limited["dropped"] - limited["slipped"]) <= 1


def test_six_is_limited_by_56(responder: Responder) -> None:
    desk, packet = desk_of(responder, per_s=2), query(ZONE, net=FRANCE).to_wire()
    assert ask(desk, packet, SIX) is not None
    assert ask(desk, packet, SIX_NEAR) is not None
    assert ask(desk, packet, SIX) is None or not addresses_in(ask(desk, packet, SIX))


def test_a_good_cookie_is_never_limited(responder: Responder) -> None:
    desk = desk_of(responder, per_s=3, slip=1)
    first = query(ZONE, net=FRANCE, options=[dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"clientck")])
    replies = [ask(desk, first.to_wire()) for _ in range(6)]
    assert [reply.rcode() for reply in replies] == [0] * 3 + [dns.rcode.BADCOOKIE] * 3
    cookie = next(option for option in replies[-1].options if option.otype == dns.edns.OptionType.COOKIE)
    second = query(ZONE, net=FRANCE, options=[cookie])
    for _ in range(100):
        assert addresses_in(ask(desk, second.to_wire())) == {"127.110.1.11", "127.110.1.12"}
    forged = dns.edns.CookieOption(b"clientck", b"\x01" + bytes(15))
    assert ask(desk, query(ZONE, net=FRANCE, options=[forged]).to_wire()).rcode() == dns.rcode.BADCOOKIE
    stolen = ask(desk, second.to_wire(), FAR)
    assert addresses_in(stolen), "from another network it is just a question"
    for _ in range(3):
        stolen = ask(desk, second.to_wire(), FAR)
    assert stolen.rcode() == dns.rcode.BADCOOKIE


def test_tcp_is_not_limited(responder: Responder) -> None:
    desk, packet = desk_of(responder, per_s=1), query(ZONE, net=FRANCE).to_wire()
    for _ in range(20):
        assert addresses_in(dns.message.from_wire(desk.handle_stream(packet, HERE)))


def test_no_rate_is_no_limit(responder: Responder) -> None:
    desk, packet = desk_of(responder, per_s=0), query(ZONE, net=FRANCE).to_wire()
    assert all(ask(desk, packet) is not None for _ in range(3_000))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 20))
def test_less_than_the_rate_is_never_limited_more_gets_about_the_rate(seconds: list[int], rate: int) -> None:
    limiter, went = Limiter(Rates(rate, 0)), []
    for asked in seconds:
        passed = 0
        for _ in range(asked):
            counted = limiter.counts.get(b"x", 0) + 1
            limiter.counts[b"x"] = counted
            if counted <= limiter.allowed:
                passed += 1
            else:
                assert limiter.judge(b"x") is Said.DROP
        went.append(passed)
        limiter.tick()
    assert all(passed <= rate for passed in went)
    if max(seconds) <= rate:
        assert went == seconds


def test_memory_is_bounded() -> None:
    limiter = Limiter(Rates(10, 2))
    limiter.counts = {number.to_bytes(3, "big"): 1 for number in range(PREFIXES_MAX + 1)}
    limiter.counts[b"big"] = 11
    limiter.trim()
    assert len(limiter.counts) <= PREFIXES_MAX // 8
    assert limiter.counts[b"big"] == 11
    assert cost_of(513) == BIG_COSTS


def test_what_is_remembered_goes_with_its_snapshot(responder: Responder) -> None:
    desk, packet = desk_of(responder, per_s=0), query(ZONE, net=FRANCE).to_wire()
    plain = query(ZONE).to_wire()
    for _ in range(3):
        assert addresses_in(ask(desk, packet)) == {"127.110.1.11", "127.110.1.12"}
        ask(desk, plain)
    before = responder.snapshot
    moved = take_snapshot(before.world, before.ranges, before.map, overrides=Overrides(down=frozenset({"paris"})))
    desk.serve(Responder(moved))
    assert addresses_in(ask(desk, packet)) == {"127.110.2.11", "127.110.2.12"}
    assert addresses_in(ask(desk, plain)) == {"127.110.2.11", "127.110.2.12"}
    counts = desk.collect()
    assert counts.replies["udp", 0] == 8
    assert counts.cells.total() == 8


def test_what_depends_on_the_source_is_remembered_by_source(responder: Responder) -> None:
    desk, packet = desk_of(responder, per_s=0), query(ZONE).to_wire()
    france, africa = bytes([194, 2, 0, 9]), bytes([196, 10, 52, 9])
    for _ in range(3):
        assert addresses_in(ask(desk, packet, france)) == {"127.110.1.11", "127.110.1.12"}
        assert addresses_in(ask(desk, packet, africa)) == {"127.110.3.11"}
    assert addresses_in(ask(desk, query(ZONE, net=AFRICA).to_wire(), france)) == {"127.110.3.11"}


def test_what_is_remembered_is_bounded(responder: Responder) -> None:
    desk = desk_of(responder, per_s=0)
    packet = bytearray(query(ZONE, net=FRANCE).to_wire())
    for number in range(ENTRIES_MAX + 5_000):
        packet[-3:] = number.to_bytes(3, "big")
        desk.handle(bytes(packet), HERE)
    assert len(desk.shelf.common) <= ENTRIES_MAX
