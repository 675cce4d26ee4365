"""Knot DNS driven by us beside Knot DNS as people set it up: `python -m bench.knot [--seconds 5] [--world planet]`.

Speed per CPU core of the server, with a client network of its own in every question, and the time from a decision to
the changed answer.  `driven` and `plain` are for other benchmarks as well.  Needs knot, knot-module-geoip, dnsperf.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from moonbow.director import addresses
from moonbow.director.adapters.knot import KnotDriver
from moonbow.director.atlas import compile_map, country_rule
from moonbow.director.codec import name_wire
from moonbow.director.knot import make_key, prepare, program
from moonbow.director.knot_config import KnotSettings
from moonbow.director.knot_mmdb import Tree, Value, encode_database
from moonbow.director.model import Overrides
from moonbow.director.snapshot import Snapshot, take_snapshot
from moonbow.director.zone import addresses_of
from moonbow.world import World, parse_world

HOME = "127.0.0.1"
QUESTIONS = 20_000
START_S = 20.0


class Served(NamedTuple):
    """A knotd that answers: its process and port, and who drives it, if anybody."""

    process: subprocess.Popen[bytes]
    port: int
    driver: KnotDriver | None


@contextlib.contextmanager
def driven(snapshot: Snapshot, folder: Path, *, signed: bool, limits: bool = False) -> Iterator[Served]:
    """A knotd with one UDP worker that answers `snapshot`; offer `driver` others.  `limits`: rate limit and cookies."""
    settings = KnotSettings(
        folder, snapshot.world.domain, ((HOME, free_port()),), {"ns": (HOME,)}, signed, cookies=limits,
        replies_per_s_max=1_000_000 if limits else 0,
    )  # fmt: skip
    prepare(settings, snapshot)
    with _running(settings.config) as process:
        driver = asyncio.run(_first(settings, snapshot))
        yield Served(process, settings.listen[0][1], driver)


async def _first(settings: KnotSettings, snapshot: Snapshot) -> KnotDriver:
    driver = KnotDriver(settings)
    driver.offer(snapshot)
    deadline = time.monotonic() + START_S
    while not await driver.step():
        if time.monotonic() > deadline:
            raise SystemExit(f"knot: {driver.status.trouble}")
        await asyncio.sleep(0.05)
    return driver


@contextlib.contextmanager
def plain(snapshot: Snapshot, folder: Path, *, signed: bool) -> Iterator[Served]:
    """A knotd as its manual shows it: countries of a MaxMind database -> CNAME -> a pool, all fixed."""
    folder.mkdir(parents=True)
    (folder / "db").mkdir()
    domain, port = snapshot.world.domain, free_port()
    settings = KnotSettings(folder, domain, ((HOME, port),), {"ns": (HOME,)}, signed)
    codes = snapshot.ranges.countries
    settings.database.write_bytes(encode_database(_countries(snapshot), [_leaf(code) for code in codes], "Country", ""))
    regions = {code: country_rule(snapshot.world, code)[0] for code in codes}
    views = "".join(f"  - geo: {code}\n    CNAME: {region}.pool.{domain}.\n" for code, region in regions.items())
    settings.views.write_text(f"door.{domain}:\n{views}")
    zone = [f"{domain}. 3600 SOA ns.{domain}. h.{domain}. 1 3600 600 604800 30", f"{domain}. 3600 NS ns.{domain}."]
    zone += [f"ns.{domain}. 3600 A {HOME}", f"door.{domain}. 30 CNAME {snapshot.world.traffic.default}.pool.{domain}."]
    for region in set(regions.values()):
        site = snapshot.world.primaries(region)[0].site.name
        zone += (f"{region}.pool.{domain}. 30 A {text}" for text in addresses_of(snapshot, "door", [site]))
    (folder / "zone").write_text("\n".join(zone) + "\n")
    settings.config.write_text(
        f"server:\n    rundir: {folder}\n    listen: {HOME}@{port}\n    edns-client-subnet: on\n"
        f"    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\ndatabase:\n    storage: {folder}/db\n"
        f"policy:\n  - id: p\n    algorithm: ecdsap256sha256\n    manual: on\n"
        f"mod-geoip:\n  - id: g\n    config-file: {settings.views}\n    ttl: 30\n    mode: geodb\n"
        f"    geodb-file: {settings.database}\n    geodb-key: country/iso_code\n"
        f"zone:\n  - domain: {domain}\n    file: {folder}/zone\n    module: mod-geoip/g\n    zonefile-sync: -1\n"
        f"    dnssec-signing: {'on' if signed else 'off'}\n    dnssec-policy: p\n"
    )
    if signed:
        make_key(settings)
    with _running(settings.config) as process:
        yield Served(process, port, None)


def _leaf(code: str) -> Value:
    return {"country": {"iso_code": code}}


def _countries(snapshot: Snapshot) -> Tree:
    """The IPv4 countries as a tree; IPv6 has none."""
    left: list[int] = []
    right: list[int] = []
    starts, numbers = (*snapshot.ranges.v4, 1 << 32), snapshot.ranges.v4_country

    def node(one: int, other: int) -> int:
        left.append(one)
        right.append(other)
        return len(left) - 1

    def cover(start: int, size: int, first: int, end: int) -> int:
        if end - first == 1:
            return ~numbers[first]
        middle = start + size // 2
        at = next((no for no in range(first + 1, end) if starts[no] >= middle), end) if end - first < 40 else 0
        if not at:
            low, high = first + 1, end
            while low < high:
                half = (low + high) // 2
                low, high = (half + 1, high) if starts[half] < middle else (low, half)
            at = low
        upper = at if at < end and starts[at] == middle else at - 1
        return node(cover(start, size // 2, first, at), cover(middle, size // 2, upper, end))

    place = cover(0, 1 << 32, 0, len(numbers))
    for _ in range(96):
        place = node(place, ~0)
    return Tree(left, right, place)


@contextlib.contextmanager
def _running(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (config.parent / "log").open("wb") as log:
        process = subprocess.Popen([program("knotd"), "-c", str(config)], stderr=log, stdout=log)
    try:
        time.sleep(1.0)
        if process.poll() is not None:
            raise SystemExit((config.parent / "log").read_text())
        yield process
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """A port of 127.0.0.1 that was free for UDP and TCP a moment ago."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind((HOME, 0))
            port: int = udp.getsockname()[1]
            with contextlib.suppress(OSError):
                tcp.bind((HOME, port))
                return port


def question(name: str, network: int, do: bool, ident: int = 0) -> bytes:
    """An A question of a resolver that tells the /24 of its client."""
    subnet = struct.pack("!HHHBB", 8, 7, 1, 24, 0) + network.to_bytes(4, "big")[:3]
    opt = struct.pack("!BHHIH", 0, 41, 1232, 0x8000 if do else 0, len(subnet)) + subnet
    return struct.pack("!HHHHHH", ident, 0, 1, 0, 0, 1) + name_wire(name) + struct.pack("!HH", 1, 1) + opt


def measure(served: Served, domain: str, do: bool, seconds: int) -> tuple[float, float, int]:
    """(questions a second, the same per CPU core of the server, bytes of an answer), by dnsperf over UDP."""
    chance = random.Random(1)
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(QUESTIONS):
            data = question(f"door.{domain}", chance.randrange(1 << 24, 224 << 24) & 0xFFFFFF00, do)
            file.write(len(data).to_bytes(2, "big") + data)
        file.flush()
        argv = ("dnsperf", "-B", "-d", file.name, "-s", HOME, "-p", str(served.port), "-m", "udp", "-c", "8")
        before = _cpu_s(served.process.pid)
        said = subprocess.run(
            (*argv, "-T", "1", "-q", "500", "-l", str(seconds)), capture_output=True, text=True
        ).stdout
        used = _cpu_s(served.process.pid) - before
    done = int(re.search(r"Queries completed:\s+(\d+)", said)[1])  # type: ignore[index]
    rate = float(re.search(r"Queries per second:\s+([\d.]+)", said)[1])  # type: ignore[index]
    size = int(re.search(r"response (\d+)", said)[1])  # type: ignore[index]
    return rate, done / used, size


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def flip(served: Served, before: Snapshot, after: Snapshot) -> tuple[float, float, int]:
    """(ms to the changed answer of a service's name, ms until all is done, edits) from `before` to `after`."""
    assert served.driver is not None
    driver, changed = served.driver, _who_moves(before, after)
    await driver.step()
    edits, began = driver.counts.edits, time.perf_counter()
    loop = asyncio.get_running_loop()
    driver.offer(after)
    work = asyncio.ensure_future(driver.step())
    seen = 0.0
    if changed is not None:
        network, wanted = changed
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect((HOME, served.port))
            while not seen:
                await loop.sock_sendall(sock, question(f"door.{before.world.domain}", network, False))
                if wanted in await loop.sock_recv(sock, 4_096):
                    seen = 1e3 * (time.perf_counter() - began)
    await work
    return seen, 1e3 * (time.perf_counter() - began), driver.counts.edits - edits


def _who_moves(before: Snapshot, after: Snapshot) -> tuple[int, bytes] | None:
    """A client whose door changes, and an address that only the new answer has."""
    for at, bucket in enumerate(before.map.v4.buckets):
        old, new = (
            set(addresses_of(found, "door", found.plans["door"].pool(bucket, 0).sites)) for found in (before, after)
        )
        start = before.map.v4.starts[at]
        if new - old and start & 0xFFFF == 0:
            return start, socket.inet_aton(min(new - old))
    return None


async def flips(served: Served, well: Snapshot, world: World) -> None:
    """Every site and every region fails and comes back; prints a line for each kind."""
    sites = [(ref.site.name,) for ref in world.sites() if ref.site.kind != "witness"]
    regions = [tuple(site.name for site in region.sites) for region in world.regions.values()]
    for title, groups in (("a site", sites), ("a region", regions)):
        rows: list[tuple[float, float, int]] = []
        for number, group in enumerate(groups):
            wanted = Overrides(down=frozenset(group))
            fallen = take_snapshot(world, well.ranges, well.map, overrides=wanted, number=2 * number + 2)
            rows.append(await flip(served, well, fallen))
            rows.append(await flip(served, fallen, well._replace(number=2 * number + 3)))
        seen = [row[0] for row in rows if row[0]]
        whole, edits = [row[1] for row in rows], [row[2] for row in rows]
        print(
            f"{title:10} changed answer after {median(seen):4.0f} ms (worst {max(seen):4.0f}), "
            f"all and the zone's own name after {median(whole):4.0f} ms (worst {max(whole):4.0f}); "
            f"edits {median(edits):.0f} (most {max(edits)})"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of load for each row (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of all rows; their median counts (%(default)s)")
    parser.add_argument("--world", default="planet", help="a shipped world (%(default)s)")
    given = parser.parse_args()
    world = parse_world((Path(__file__).parents[1] / "worlds" / f"{given.world}.toml").read_text())
    ranges = addresses.load()
    well = take_snapshot(world, ranges, compile_map(world, ranges))
    cores: dict[tuple[str, bool], list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        print(f"{'':10} {'signed':6} {'questions/s':>12} {'per core':>9} {'bytes':>6}")
        for turn in range(given.rounds):
            for signed in (False, True):
                folders = [Path(scratch, f"{name}{turn}{signed}") for name in ("p", "d")]
                for name, serving in (
                    ("plain", plain(well, folders[0], signed=signed)),
                    ("driven", driven(well, folders[1], signed=signed)),
                ):
                    with serving as served:
                        rate, core, size = measure(served, world.domain, signed, given.seconds)
                    cores.setdefault((name, signed), []).append(core)
                    print(f"{name:10} {'yes' if signed else 'no':6} {rate:12,.0f} {core:9,.0f} {size:6}", flush=True)
        for signed in (False, True):
            share = median(cores["driven", signed]) / median(cores["plain", signed])
            print(f"driven / plain, {'signed' if signed else 'unsigned'}: {share:.2f}")
        with driven(well, Path(scratch, "flips"), signed=True) as served:
            asyncio.run(flips(served, well, world))


if __name__ == "__main__":
    main()
