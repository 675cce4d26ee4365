"""Unbound as a real resolver between clients and answers: it follows every change within the TTL and mixes nobody up."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest

from moonbow.director.addresses import Ranges
from moonbow.director.atlas import find
from moonbow.director.model import Overrides, Pool
from moonbow.director.policy import TTL_S
from moonbow.director.slices import slice_of
from moonbow.director.snapshot import Snapshot, take_snapshot
from moonbow.director.zone import addresses_of, ttl_of
from moonbow.world import World
from support import eventually

from .nameservers import ZONE, Served, addresses_in, ask, free_udp_port, query, served

pytestmark = pytest.mark.slow
UNBOUND = shutil.which("unbound", path="/usr/sbin:/usr/bin:/usr/local/sbin")
COUNTRIES = {
    "France": "194.2.0.0/24",
    "Japan": "1.33.0.0/24",
    "South Africa": "196.10.52.0/24",
    "Germany": "53.0.0.0/24",
    "Brazil": "200.160.0.0/24",
    "America": "12.0.0.0/24",
    "China": "101.4.0.0/24",
    "nowhere": "240.0.0.0/24",
}
AWAY = {"paris", "frankfurt", "tokyo", "capetown"}  # so that nobody is at his first choice, and TTLs are short
LATE_S = 2.0  # for a resolver to count its seconds and ask

CONFIG = """
server:
  interface: 127.0.0.1@{port}
  port: {port}
  do-ip6: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 1
  num-threads: 1
  do-not-query-localhost: no
  module-config: "subnetcache validator iterator"
  send-client-subnet: 127.0.0.1
  client-subnet-always-forward: yes
  max-client-subnet-ipv4: 24
  access-control: 127.0.0.0/8 allow
  local-zone: "localhost." nodefault
  prefetch: no
  {trust}
remote-control:
  control-enable: no
stub-zone:
  name: "{zone}"
  stub-addr: 127.0.0.1@{server}
"""


class Resolver:
    """An unbound of our own."""

    def __init__(self, folder: Path, server: Served, *, validates: bool) -> None:
        anchor = server.state / "world" / "director" / "zone.ds"
        trust = f'trust-anchor-file: "{anchor}"' if validates else ""
        self.validates = validates
        self.port = free_udp_port()
        config = folder / "unbound.conf"
        text = CONFIG.format(port=self.port, folder=folder, trust=trust, zone=ZONE, server=server.port)
        config.write_text(text)
        assert UNBOUND is not None
        self._log = (folder / "unbound.log").open("wb")
        self._process = subprocess.Popen([UNBOUND, "-d", "-c", str(config)], stdout=self._log, stderr=self._log)
        eventually(lambda: self.ask("France").rcode() == dns.rcode.NOERROR, within_s=10)

    def ask(self, country: str, name: str = ZONE) -> dns.message.Message:
        message = query(name, net=COUNTRIES[country], want_dnssec=True)
        message.flags |= dns.flags.RD
        return ask(message, "127.0.0.1", self.port)

    def answer(self, country: str) -> frozenset[str]:
        reply = self.ask(country)
        assert reply.rcode() == dns.rcode.NOERROR
        assert bool(reply.flags & dns.flags.AD) is self.validates
        assert reply.answer[0].ttl <= TTL_S
        return frozenset(addresses_in(reply))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()


@pytest.fixture(scope="module")
def server(laptop: World, ranges: Ranges, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), decide(laptop, ranges, set())) as running:
        yield running


@pytest.fixture
def resolvers(server: Served, laptop: World, ranges: Ranges, tmp_path: Path) -> Iterator[list[Resolver]]:
    """One that validates, and one that does not."""
    if UNBOUND is None:
        pytest.skip("unbound is not installed: apt-get install --no-install-recommends unbound")
    server.serve(decide(laptop, ranges, AWAY))
    found: list[Resolver] = []
    try:
        for name in ("plain", "validating"):
            (tmp_path / name).mkdir()
            found.append(Resolver(tmp_path / name, server, validates=name == "validating"))
        yield found
    finally:
        for running in found:
            running.close()


def decide(world: World, ranges: Ranges, down: set[str]) -> Snapshot:
    return take_snapshot(world, ranges, overrides=Overrides(down=frozenset(down)), changed_at_s=time.time())


def pool_of(snapshot: Snapshot, country: str) -> Pool:
    address = int(ip_network(COUNTRIES[country])[0])
    bucket = snapshot.map.v4.buckets[find(snapshot.map.v4, address)]
    return snapshot.plans["door"].pool(bucket, slice_of(32, address))


def truth(snapshot: Snapshot, country: str) -> frozenset[str]:
    return frozenset(addresses_of(snapshot, "door", pool_of(snapshot, country).sites))


def test_resolvers_follow_a_flip_within_the_ttl_and_mix_no_countries(
    resolvers: list[Resolver], server: Served, laptop: World, ranges: Ranges
) -> None:
    flip(resolvers, server, decide(laptop, ranges, AWAY), decide(laptop, ranges, AWAY - {"frankfurt"}))


@pytest.mark.long
def test_resolvers_follow_from_health_to_trouble_and_back(
    resolvers: list[Resolver], server: Served, laptop: World, ranges: Ranges
) -> None:
    states = [AWAY, set(), {"paris"}, {"paris", "frankfurt"}, {"tokyo", "capetown"}, set()]
    for before, now in pairwise(states):
        flip(resolvers, server, decide(laptop, ranges, before), decide(laptop, ranges, now))


def flip(resolvers: list[Resolver], server: Served, before: Snapshot, now: Snapshot) -> None:
    for resolver in resolvers:
        for country in COUNTRIES:
            assert resolver.answer(country) == truth(before, country)
    server.serve(now)
    began = time.monotonic()
    waiting = {(at, country) for at in range(len(resolvers)) for country in COUNTRIES}

    def look() -> bool:
        """None gets anything but its old or new answer, and never the old one again, nor after its time."""
        for at, resolver in enumerate(resolvers):
            for country in COUNTRIES:
                found = resolver.answer(country)
                if found == truth(now, country):
                    waiting.discard((at, country))
                    continue
                late = time.monotonic() - began > ttl_of(pool_of(before, country)) + LATE_S
                if found != truth(before, country) or late or (at, country) not in waiting:
                    wrong.append(f"{country} got {sorted(found)} after {time.monotonic() - began:.1f} s")
        return bool(wrong) or not waiting

    wrong: list[str] = []
    eventually(look, within_s=TTL_S + 2 * LATE_S)
    assert not wrong
