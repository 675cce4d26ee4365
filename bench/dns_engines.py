"""The other name servers, with private configurations in a scratch folder: Knot, gdnsd, PowerDNS (YAML and Lua)."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address, summarize_address_range
from pathlib import Path
from typing import NamedTuple

from moonbow.director.atlas import country_rule
from moonbow.director.knot_mmdb import encode_database
from moonbow.director.snapshot import Snapshot
from moonbow.director.zone import addresses_of

from .knot import HOME, _countries, free_port, plain

PATH = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
START_S = 15.0
Say = Callable[[str], None]


class Engine(NamedTuple):
    """A server that answers `door.` on a port; which kinds of questions it is asked."""

    title: str
    port: int
    pids: Callable[[], tuple[int, ...]]
    signed: bool
    unsigned: bool


@contextlib.contextmanager
def engines(folder: Path, snapshot: Snapshot, say: Say) -> Iterator[list[Engine]]:
    """All that are installed, running; those that are not are said.  Empty without dnsperf."""
    with contextlib.ExitStack() as stack:
        found: list[Engine] = []
        if shutil.which("dnsperf") is not None:
            for program, start in (("knotd", _knot), ("gdnsd", _gdnsd), ("pdns_server", _powerdns)):
                if shutil.which(program, path=PATH) is None:
                    say(f"{program} is not installed")
                    continue
                try:
                    found += start(stack, folder, snapshot)
                except RuntimeError as error:
                    say(str(error))
        yield found


def _knot(stack: contextlib.ExitStack, folder: Path, snapshot: Snapshot) -> list[Engine]:
    made = []
    for signed in (False, True):
        served = stack.enter_context(plain(snapshot, folder / f"knot{signed:d}", signed=signed))
        pid = served.process.pid
        title = f"Knot, geoip module{', signed' if signed else ''}"
        made.append(Engine(title, served.port, lambda pid=pid: (pid,), signed=signed, unsigned=not signed))
    return made


def regions_of(snapshot: Snapshot) -> dict[str, list[str]]:
    """Region -> the addresses of the doors of its first primary site."""
    world = snapshot.world
    return {name: addresses_of(snapshot, "door", [world.primaries(name)[0].site.name]) for name in world.regions}


def _gdnsd(stack: contextlib.ExitStack, folder: Path, snapshot: Snapshot) -> list[Engine]:
    """Its map as a file of networks, one data centre a region."""
    home, port, regions = folder / "gdnsd", free_port(), regions_of(snapshot)
    for part in ("etc/zones", "etc/geoip", "run", "lib"):
        (home / part).mkdir(parents=True)
    default = snapshot.world.traffic.default
    ranges = snapshot.ranges
    ends = [*ranges.v4[1:], 1 << 32]
    with (home / "etc/geoip/nets").open("w") as out:
        for start, end, number in zip(ranges.v4, ends, ranges.v4_country, strict=True):
            code = ranges.countries[number] if number else None
            region = country_rule(snapshot.world, code)[0]
            if region != default:
                for net in summarize_address_range(ip_address(start), ip_address(end - 1)):
                    out.write(f"{net} => [{region}]\n")
    order = [default, *(name for name in regions if name != default)]  # the first one takes what no network names
    maps = f"door_map => {{ datacenters => [{', '.join(order)}], nets => nets }}"
    pools = "\n".join(f"{name} => {{ {_gdnsd_pool(found)} }}" for name, found in regions.items())
    (home / "etc/config").write_text(
        f"options => {{ listen => {HOME}:{port}, run_dir => {home}/run, state_dir => {home}/lib, udp_threads => 1,\n"
        f" tcp_threads => 1 }}\n"
        f"plugins => {{ geoip => {{ maps => {{ {maps} }}, resources => {{ door => {{ map => door_map,\n"
        f" service_types => up, dcmap => {{ {pools} }} }} }} }} }}\n"
    )
    domain = snapshot.world.domain
    (home / "etc/zones" / domain).write_text(
        f"@ 3600 SOA ns.{domain}. h.{domain}. (1 3600 600 604800 30)\n@ NS ns\nns A {HOME}\ndoor 30 DYNA geoip!door\n"
    )
    return _started(stack, home, port, ["gdnsd", "-c", f"{home}/etc", "start"], domain, ("gdnsd, nets file",))


def _gdnsd_pool(found: list[str]) -> str:
    return ", ".join(f"d{number} => {text}" for number, text in enumerate(found))


def _powerdns(stack: contextlib.ExitStack, folder: Path, snapshot: Snapshot) -> list[Engine]:
    """Twice: a service of its geoip backend, by country; and a Lua record that asks for the country."""
    database = folder / "countries.mmdb"
    leaves = [{"country": {"iso_code": code}} for code in snapshot.ranges.countries]
    database.write_bytes(encode_database(_countries(snapshot), leaves, "GeoIP2-Country", ""))
    return [*_powerdns_yaml(stack, folder, snapshot, database), *_powerdns_lua(stack, folder, snapshot, database)]


def _powerdns_yaml(stack: contextlib.ExitStack, folder: Path, snapshot: Snapshot, database: Path) -> list[Engine]:
    home, port, domain = folder / "pdns-yaml", free_port(), snapshot.world.domain
    home.mkdir()
    lines = [f"domains:\n- domain: {domain}\n  ttl: 30\n  records:\n    {domain}:\n"]
    lines.append(f"      - soa: ns.{domain} h.{domain} 1 3600 600 604800 30\n      - ns: ns.{domain}\n")
    regions = regions_of(snapshot)
    for code in [*snapshot.ranges.countries, "unknown"]:
        found = regions[country_rule(snapshot.world, code if code != "unknown" else None)[0]]
        if code:
            lines.append(f"    {code.lower()}.cc.{domain}:\n" + "".join(f"      - a: {text}\n" for text in found))
    default = regions[snapshot.world.traffic.default]
    lines.append(f"    default.cc.{domain}:\n" + "".join(f"      - a: {text}\n" for text in default))
    lines.append(f"  services:\n    door.{domain}: ['%cc.cc.{domain}', 'default.cc.{domain}']\n")
    (home / "zones.yaml").write_text("".join(lines))
    _powerdns_conf(
        home, port, f"launch=geoip\ngeoip-zones-file={home}/zones.yaml\ngeoip-database-files=mmdb:{database}"
    )
    return _started(stack, home, port, ["pdns_server", f"--config-dir={home}"], domain, ("PowerDNS, geoip YAML",))


def _powerdns_lua(stack: contextlib.ExitStack, folder: Path, snapshot: Snapshot, database: Path) -> list[Engine]:
    home, port, domain = folder / "pdns-lua", free_port(), snapshot.world.domain
    home.mkdir()
    regions, codes = regions_of(snapshot), {}
    for code in snapshot.ranges.countries:
        if code:
            codes.setdefault(country_rule(snapshot.world, code)[0], []).append(code)
    steps = []
    for region, found in regions.items():
        if region in codes:
            named, answer = ",".join(f"'{code}'" for code in codes[region]), ",".join(f"'{text}'" for text in found)
            steps.append(f"if(country({{{named}}})) then return {{{answer}}} end")
    rest = ",".join(f"'{text}'" for text in regions[snapshot.world.traffic.default])
    code = " ".join([*steps, f"return {{{rest}}}"])
    parts = " ".join(f'"{code[at : at + 250]}"' for at in range(0, len(code), 250))
    parts = parts.replace('"', '";', 1)
    (home / "zone").write_text(
        f"$ORIGIN {domain}.\n@ 3600 SOA ns h 1 3600 600 604800 30\n@ 3600 NS ns\nns 3600 A {HOME}\n"
        f"door 30 LUA A ({parts})\n"
    )
    (home / "named.conf").write_text(f'zone "{domain}" {{ type master; file "{home}/zone"; }};\n')
    (home / "empty.yaml").write_text("domains: []\n")
    _powerdns_conf(
        home,
        port,
        f"launch=bind,geoip\nbind-config={home}/named.conf\ngeoip-zones-file={home}/empty.yaml\n"
        f"geoip-database-files=mmdb:{database}\nenable-lua-records=shared",
    )
    return _started(stack, home, port, ["pdns_server", f"--config-dir={home}"], domain, ("PowerDNS, Lua record",))


def _powerdns_conf(home: Path, port: int, backend: str) -> None:
    (home / "pdns.conf").write_text(
        f"local-address={HOME}\nlocal-port={port}\nsocket-dir={home}\ndaemon=no\nguardian=no\nsetuid=\nsetgid=\n"
        f"chroot=\nreceiver-threads=1\ndistributor-threads=1\nedns-subnet-processing=yes\nloglevel=3\n"
        f"disable-axfr=yes\n{backend}\n"
    )


def _started(
    stack: contextlib.ExitStack, home: Path, port: int, argv: list[str], domain: str, titles: tuple[str, ...]
) -> list[Engine]:
    """Start a server and wait for its first answer; with its own last words if there is none."""
    program = shutil.which(argv[0], path=PATH)
    assert program is not None
    log = stack.enter_context((home / "log").open("wb"))
    process = subprocess.Popen([program, *argv[1:]], stdout=log, stderr=log)
    stack.callback(_end, process)
    until = time.monotonic() + START_S
    while not _answers(port, domain):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{argv[0]} does not answer:\n{(home / 'log').read_text()[-2_000:]}")
        time.sleep(0.1)
    return [Engine(title, port, lambda: (process.pid,), signed=False, unsigned=True) for title in titles]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def _answers(port: int, domain: str) -> bool:
    from .dns import question

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(0.5)
        line.connect((HOME, port))
        try:
            line.send(question(domain, 0x01210000))
            reply = line.recv(4_096)
        except OSError:
            return False
        return reply[3] & 0xF == 0 and reply[6:8] != b"\0\0"
