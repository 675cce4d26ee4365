"""The address map: made by a scan, written, read back, refused when damaged."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonbow.base.errors import ConfigError
from moonbow.director import addresses, compile
from moonbow.director.addresses import Ranges, decode, encode, make_ranges, parse_address
from moonbow.director.geography import COUNTRIES, country

CODES = st.sampled_from([None, "DE", "FR", "US"])
ROWS4 = st.lists(st.tuples(st.integers(0, 2**32 - 1), CODES)).map(lambda rows: sorted(dict(rows).items()))
ROWS6 = st.lists(st.tuples(st.integers(0, 2**64 - 1), CODES)).map(lambda rows: sorted(dict(rows).items()))


@given(ROWS4, ROWS6)
def test_what_is_written_is_read(four, six) -> None:
    ranges = make_ranges("somewhere 1.2", four, six)
    assert decode(encode(ranges)) == ranges


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_file_is_refused(at: int, flip: int) -> None:
    data = bytearray(encode(make_ranges("x", [(n << 20, ("DE", "FR")[n % 2]) for n in range(200)])))
    at = at % len(data)
    if 8 <= at < 40:
        return  # the name of the source is only for people
    data[at] ^= flip
    with pytest.raises(ConfigError):
        decode(bytes(data))
    with pytest.raises(ConfigError):
        decode(bytes(data[:at]))


def test_a_missing_file_says_which_command_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOONBOW_ADDRESSES", str(tmp_path / "addresses.bin"))
    with pytest.raises(ConfigError, match=r"python -m moonbow\.director\.compile"):
        addresses.load()
    addresses.default_path().write_bytes(encode(make_ranges("x", [])))
    assert addresses.load().source == "x"


def test_look_ups(ranges: Ranges) -> None:
    wanted = {"194.2.0.0": "FR", "194.3.255.255": "FR", "194.4.0.0": None, "0.0.0.0": None, "255.255.255.255": None}
    assert {text: ranges.country(IPv4Address(text)) for text in wanted} == wanted
    assert ranges.country(IPv6Address("2001:660::9")) == "FR"
    assert ranges.country(IPv6Address("2001:661::")) is None
    assert parse_address("::ffff:194.2.0.1") == IPv4Address("194.2.0.1")


def test_a_scan_finds_every_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole IPv4 scan over a small made-up registry; IPv6 over three blocks of it."""
    truth = {"5.6.7.0": "DE", "5.6.8.0": "FR", "2001:67c:1::": "FR", "2001:67d::": "DE", "2400:1::": "JP"}
    monkeypatch.setattr(compile, "V6_BLOCKS", (0x2001, 0x2400))
    seen: list[tuple[int, int]] = []

    def lookup(names: list[str]) -> list[str | None]:
        return [truth.get(name) for name in names]

    four, six = compile.scan(lookup, lambda done, of: seen.append((done, of)))
    ranges = make_ranges("x", four, six)
    assert seen[-1] == (226, 226)
    inside = {"5.6.7.255": "DE", "5.6.8.1": "FR", "5.6.9.0": None, "5.6.6.255": None}
    assert {text: ranges.country(IPv4Address(text)) for text in inside} == inside
    inside6 = {"2001:67c::1": None, "2001:67c:1:5::": "FR", "2001:67c:2::": None, "2001:67d:ffff::": "DE"}
    inside6 |= {"2001:67e::": None, "2400:1::9": "JP", "2400:2::": None, "2002::": None}
    assert {text: ranges.country(IPv6Address(text)) for text in inside6} == inside6


def test_every_country_has_a_continent_and_a_place() -> None:
    assert len(COUNTRIES) == 250
    for code, found in COUNTRIES.items():
        assert len(code) == 2
        assert code.isupper()
        assert -90 <= found.at[0] <= 90
        assert -180 <= found.at[1] <= 180
    assert country("DE").continent == "EU"
    assert country("ZA").continent == "AF"
    assert country("EU") is None
    assert country(None) is None
