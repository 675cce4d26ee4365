"""Cookies: the vectors of RFC 9018, and what a jar takes and gives over the days."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.director.cookies import AHEAD_S, COOKIES_PER_S_MAX, DAY_S, GOOD_S, RENEW_S, Jar, secret_of, siphash24

ROOT = bytes(range(32))
CLIENT, HERE = b"clientck", ip_address("192.0.2.1").packed
NOW = 1_700_000_000


@pytest.mark.parametrize(
    ("secret", "client", "server", "address"),
    [
        ("e5e973e5a6b2a43f48e7dc849e37bfcf", "2464c4abcf10c957", "010000005cf79f111f8130c3eee29480", "198.51.100.100"),
        ("e5e973e5a6b2a43f48e7dc849e37bfcf", "2464c4abcf10c957", "010000005cf7a871d4a564a1442aca77", "198.51.100.100"),
        ("e5e973e5a6b2a43f48e7dc849e37bfcf", "fc93fc62807ddb86", "01abcdef5cf78f71a314227b6679ebf5", "203.0.113.203"),
        (
            "445536bcd2513298075a5d379663c962",
            "22681ab97d52c298",
            "010000005cf7c609a6bb79d16625507a",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
        ),
    ],
)
def test_the_vectors_of_rfc_9018(secret: str, client: str, server: str, address: str) -> None:
    told = bytes.fromhex(client) + bytes.fromhex(server)[:8] + ip_address(address).packed
    assert siphash24(bytes.fromhex(secret), told) == bytes.fromhex(server)[8:]


def test_siphash_as_its_authors_have_it() -> None:
    key, data = bytes(range(16)), bytes(range(15))
    assert siphash24(key, data) == (0xA129CA6149BE45E5).to_bytes(8, "little")


def test_a_cookie_is_given_and_taken_by_every_process() -> None:
    given_, good = Jar(ROOT, NOW).read(CLIENT, HERE)
    assert not good
    assert given_[:8] == CLIENT
    assert len(given_) == 24
    assert Jar(ROOT, NOW + 5).read(given_, HERE) == (given_, True)
    assert Jar(bytes(32), NOW).read(given_, HERE)[1] is False, "another root"
    assert Jar(ROOT, NOW).read(given_, ip_address("192.0.2.2").packed)[1] is False, "another address"
    assert Jar(ROOT, NOW).read(b"otherone" + given_[8:], HERE)[1] is False, "another client cookie"


@given(age_s=st.integers(-2 * GOOD_S, 2 * GOOD_S), now_s=st.integers(0, 2**32 + DAY_S))
def test_a_cookie_is_good_for_an_hour_across_days_and_the_end_of_32_bits(age_s: int, now_s: int) -> None:
    made_s = max(0, now_s - age_s)
    cookie, _ = Jar(ROOT, made_s).read(CLIENT, HERE)
    again, good = Jar(ROOT, now_s).read(cookie, HERE)
    age_s = now_s - made_s
    assert good is (-AHEAD_S <= age_s <= GOOD_S)
    assert (again == cookie) is (good and age_s < RENEW_S) or again[12:16] == cookie[12:16]


def test_secrets_change_daily() -> None:
    assert len({secret_of(ROOT, day) for day in range(100)}) == 100
    jar = Jar(ROOT, NOW)
    cookie, _ = jar.read(CLIENT, HERE)
    jar.tick(NOW + 2 * DAY_S)
    assert jar.read(cookie, HERE)[1] is False


def test_no_more_cookies_are_made_than_a_second_may_have() -> None:
    jar = Jar(ROOT, NOW)
    made = [jar.read(number.to_bytes(8, "big"), HERE)[0] for number in range(COOKIES_PER_S_MAX + 10)]
    assert made.count(b"") == 10
    jar.tick(NOW + 1)
    assert jar.read(CLIENT, HERE)[0]


@given(cookie=st.binary(min_size=8, max_size=40), source=st.sampled_from([HERE, ip_address("2001:db8::1").packed]))
def test_made_up_cookies_are_never_good(cookie: bytes, source: bytes) -> None:
    option, good = Jar(ROOT, NOW).read(cookie, source)
    assert not good
    assert option[:8] == cookie[:8]
