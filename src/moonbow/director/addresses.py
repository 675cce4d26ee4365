"""The address map: which country a network belongs to, as sorted ranges that cover all of IPv4 and IPv6.

File: header `<8s32sIII16s` = magic, where the data came from (UTF-8, zero padded), counts of countries, IPv4 ranges
and IPv6 ranges, and the BLAKE2b-128 of what follows: country codes (2 letters each, number 0 = `--` = nobody's);
IPv4 starts (u32) and their country numbers (u8); IPv6 starts (the upper 64 bits, u64) and their numbers.
All little-endian.  A range ends where the next one starts.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

from moonbow.base.errors import ConfigError

MAGIC = b"moonadr1"
HEADER = struct.Struct("<8s32sIII16s")
NOBODY = "--"
RANGES_MAX = 4_000_000
COUNTRIES_MAX = 256
Address = IPv4Address | IPv6Address


class Ranges(NamedTuple):
    """Countries of networks.  `v4`/`v6` are sorted starts, the first is 0; `*_country` are numbers in `countries`."""

    source: str
    countries: tuple[str, ...]
    v4: array[int]
    v4_country: bytes
    v6: array[int]
    v6_country: bytes

    def country(self, address: Address) -> str | None:
        """The country an address is registered in, None if it is nobody's."""
        if address.version == 4:
            found = self.v4_country[bisect_right(self.v4, int(address)) - 1]
        else:
            found = self.v6_country[bisect_right(self.v6, int(address) >> 64) - 1]
        return self.countries[found] if found else None


def make_ranges(source: str, v4: Iterable[tuple[int, str | None]], v6: Iterable[tuple[int, str | None]] = ()) -> Ranges:
    """Ranges from (start, country) in rising order; IPv6 starts are upper 64 bits.  Equal neighbours are merged."""
    numbers: dict[str | None, int] = {None: 0}
    starts4, countries4 = _column("I", v4, numbers)
    starts6, countries6 = _column("Q", v6, numbers)
    codes = (NOBODY, *(code for code in numbers if code is not None))
    return Ranges(source, codes, starts4, countries4, starts6, countries6)


def _column(
    kind: str, rows: Iterable[tuple[int, str | None]], numbers: dict[str | None, int]
) -> tuple[array[int], bytes]:
    starts: array[int] = array(kind, [0])
    countries = bytearray([0])
    for start, code in rows:
        number = numbers.setdefault(code, len(numbers))
        if number >= COUNTRIES_MAX or len(starts) >= RANGES_MAX:
            raise ConfigError(f"an address map holds at most {COUNTRIES_MAX} countries and {RANGES_MAX} ranges")
        if start == starts[-1]:
            countries[-1] = number
        elif number != countries[-1]:
            starts.append(start)
            countries.append(number)
    return starts, bytes(countries)


def nothing_known() -> Ranges:
    """A map without data: every network is nobody's."""
    return make_ranges("nothing", ())


def encode(ranges: Ranges) -> bytes:
    """The file of a map."""
    body = b"".join(
        (
            "".join(ranges.countries).encode("ascii"),
            _little(ranges.v4).tobytes(),
            ranges.v4_country,
            _little(ranges.v6).tobytes(),
            ranges.v6_country,
        )
    )
    sizes = (len(ranges.countries), len(ranges.v4), len(ranges.v6))
    return HEADER.pack(MAGIC, ranges.source.encode()[:32], *sizes, _checksum(body)) + body


def decode(data: bytes) -> Ranges:
    """The map in a file; `ConfigError` if it is not one, or is damaged."""
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise ConfigError("not an address map")
    _, source, countries, v4, v6, checksum = HEADER.unpack_from(data)
    if max(v4, v6) > RANGES_MAX or len(data) != HEADER.size + 2 * countries + 5 * v4 + 9 * v6:
        raise ConfigError("the address map has a wrong length")
    body = data[HEADER.size :]
    if _checksum(body) != checksum:
        raise ConfigError("the address map is damaged (wrong checksum)")
    codes = body[: 2 * countries].decode("ascii")
    at, rest = 2 * countries, memoryview(body)
    starts4 = _little(array("I", rest[at : at + 4 * v4].tobytes()))
    at += 4 * v4
    countries4 = bytes(rest[at : at + v4])
    at += v4
    starts6 = _little(array("Q", rest[at : at + 8 * v6].tobytes()))
    names = tuple(codes[i : i + 2] for i in range(0, len(codes), 2))
    text = source.rstrip(b"\0").decode("utf-8", "replace")
    return Ranges(text, names, starts4, countries4, starts6, bytes(rest[at + 8 * v6 :]))


def _little(values: array[int]) -> array[int]:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values


def _checksum(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()


def default_path() -> Path:
    """Where the map lies: MOONBOW_ADDRESSES, or beside the environment that runs us."""
    return Path(os.environ.get("MOONBOW_ADDRESSES") or Path(sys.prefix, "share", "moonbow", "addresses.bin"))


def load(path: Path | None = None) -> Ranges:
    """The map at `path` (default: `default_path`); `ConfigError` saying which command makes one."""
    path = path or default_path()
    try:
        return decode(path.read_bytes())
    except (OSError, ConfigError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: {reason}; make it with: python -m moonbow.director.compile") from error


def parse_address(text: str) -> Address:
    """An IP address; an IPv4-mapped IPv6 one counts as the IPv4 address inside.  `ValueError` if it is none."""
    address = ip_address(text.strip())
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
