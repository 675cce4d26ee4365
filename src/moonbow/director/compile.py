"""Make the address map: ask iptocc (registry data of the five RIRs) for the country of every network, once.

IPv4: every /24, the smallest allocation.  IPv6: every /32 of the blocks IANA gave to the registries, and every /48
of the few blocks from which single /48s are given out.  `python -m moonbow.director.compile [OUT]`, 20 to 30 s.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from .addresses import Ranges, default_path, encode, make_ranges

Lookup = Callable[[list[str]], list[str | None]]
Progress = Callable[[int, int], None]

# IANA "IPv6 Global Unicast Address Assignments": the /16s that hold registries' blocks.
V6_BLOCKS = (
    0x2001,
    0x2003,
    *range(0x2400, 0x2420),
    *range(0x2600, 0x2640),
    *range(0x2800, 0x2810),
    *range(0x2A00, 0x2A20),
    *range(0x2C00, 0x2C10),
)
# /32s cut into /48s: exchange points and provider-independent networks of RIPE, APNIC, AFRINIC and ARIN.
V6_FINE = frozenset(
    (0x2001, low) for low in (0x0678, 0x067C, 0x07F8, *range(0x0DF0, 0x0DF8), *range(0x43F8, 0x4400))
) | frozenset((0x2620, low) for low in range(8))


def scan(lookup: Lookup, progress: Progress = lambda done, of: None) -> tuple[list[tuple[int, str | None]], ...]:
    """All (start, country) changes of IPv4 (u32) and IPv6 (upper 64 bits) that `lookup` knows."""
    total = 224 + len(V6_BLOCKS)
    v4: list[tuple[int, str | None]] = []
    v6: list[tuple[int, str | None]] = []
    tails = [f".{second}.{third}.0" for second in range(256) for third in range(256)]
    for first in range(224):  # 224 and beyond is multicast and reserved
        found = lookup([f"{first}{tail}" for tail in tails])
        v4 += _changes(found, first << 24, 8)
        progress(first + 1, total)
    v4.append((224 << 24, None))
    tails = [f":{low:x}::" for low in range(65536)]
    for done, high in enumerate(V6_BLOCKS):
        found = lookup([f"{high:x}{tail}" for tail in tails])
        v6 += _fill(lookup, high, _changes(found, high << 48, 32))
        v6.append(((high + 1) << 48, None))
        progress(225 + done, total)
    return v4, sorted(dict(v6).items())


def _changes(found: list[str | None], base: int, shift: int) -> Iterator[tuple[int, str | None]]:
    last: str | None = "?"
    for number, code in enumerate(found):
        if code != last:
            last = code
            yield base + (number << shift), code


def _fill(lookup: Lookup, high: int, changes: Iterable[tuple[int, str | None]]) -> Iterator[tuple[int, str | None]]:
    """`changes` of the /32s of one /16, with the finely cut ones looked up /48 by /48."""
    fine = sorted(low for block, low in V6_FINE if block == high)
    coarse = list(changes)
    for low in fine:
        base, after = (high << 48) + (low << 32), (high << 48) + ((low + 1) << 32)
        resumed = [code for start, code in coarse if start <= after][-1]
        inner = _changes(lookup([f"{high:x}:{low:x}:{third:x}::" for third in range(65536)]), base, 16)
        coarse = [row for row in coarse if not base <= row[0] <= after]
        coarse = sorted([*coarse, *inner, (after, resumed)])
    yield from coarse


def scan_registries(progress: Progress = lambda done, of: None) -> Ranges:
    """The map of what the installed iptocc knows."""
    from iptocc import country_code

    v4, v6 = scan(country_code, progress)
    return make_ranges(f"iptocc {version('iptocc')}", v4, v6)


def compile_addresses(out: Path, progress: Progress = lambda done, of: None) -> Ranges:
    """Scan the installed iptocc and write the map to `out`, whole or not at all."""
    ranges = scan_registries(progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.{os.getpid()}")
    part.write_bytes(encode(ranges))
    part.replace(out)
    return ranges


def main(argv: list[str]) -> int:
    """Compile to the path given, or to the default one."""
    out = Path(argv[0]) if argv else default_path()
    shown = sys.stderr.isatty()

    def progress(done: int, of: int) -> None:
        if shown:
            print(f"\raddress map: {100 * done // of:3d} %", end="", file=sys.stderr, flush=True)

    ranges = compile_addresses(out, progress)
    print(f"{chr(13) if shown else ''}address map: {len(ranges.v4)} IPv4 and {len(ranges.v6)} IPv6 ranges -> {out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
