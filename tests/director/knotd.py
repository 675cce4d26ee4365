"""A real knotd with private folders and a port of its own, for tests that drive it."""

from __future__ import annotations

import asyncio
import functools
import shutil
import socket
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, ParamSpec

import dns.dnssec
import dns.edns
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from moonbow.base.programs import PROGRAM_FOLDERS
from moonbow.director.knot import PACKAGES, prepare, program
from moonbow.director.knot_config import KnotSettings
from moonbow.director.snapshot import Snapshot
from support import eventually

HOME = "127.0.0.1"
SERVERS = {"ns": (HOME,)}


def _is_here() -> bool:
    modules = Path("/usr/lib").glob("*/knot/modules-*/geoip.so")
    folders = PROGRAM_FOLDERS
    return any(shutil.which("knotd", path=folder) for folder in folders) and any(modules)


needs_knot = pytest.mark.skipif(
    not _is_here(), reason=f"NOT TESTED: Knot is not installed (apt-get install --no-install-recommends {PACKAGES})"
)


P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """A test that is a coroutine function, for pytest."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class Reply(NamedTuple):
    """What came back: all addresses, the least TTL of them, the scope that was told, and the whole message."""

    addresses: set[str]
    ttl_s: int
    scope: int | None
    message: dns.message.Message


class Knotd:
    """One knotd: its settings, and its process while it runs."""

    def __init__(self, settings: KnotSettings) -> None:
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.settings.folder / "log"

    def start(self) -> None:
        """Come up, and wait until questions are answered by whatever it holds."""
        with self.log.open("ab") as log:
            argv = [program("knotd"), "-c", str(self.settings.config)]
            self.process = subprocess.Popen(argv, stderr=log, stdout=log)
        eventually(self.settings.socket.exists, within_s=10)
        eventually(lambda: self._exchange(dns.message.make_query(self.settings.domain, "SOA")), within_s=10)

    def stop(self, number: int = 15) -> None:
        """End it; 9 to kill it."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None
            if number == 9:  # knotd leaves its socket behind
                self.settings.socket.unlink(missing_ok=True)

    def _exchange(self, query: dns.message.Message) -> dns.message.Message:
        address, port = self.settings.listen[0]
        try:
            return dns.query.udp(query, address, timeout=2.0, port=port, ignore_unexpected=True)
        except dns.exception.DNSException as error:
            raise OSError(str(error)) from error

    def ask(self, name: str, client: str | None = None, length: int = 24, kind: str = "A", do: bool = False) -> Reply:
        """Ask for `name` as a resolver of `client`'s network would."""
        options = [dns.edns.ECSOption(client, length)] if client else []
        reply = self._exchange(
            dns.message.make_query(name, kind, use_edns=0, options=options, want_dnssec=do, payload=4096)
        )
        found = [rrset for rrset in reply.answer if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)]
        scopes = [option.scopelen for option in reply.options if isinstance(option, dns.edns.ECSOption)]
        addresses = {rr.address for rrset in found for rr in rrset}
        return Reply(addresses, min((rrset.ttl for rrset in found), default=-1), scopes[0] if scopes else None, reply)

    def validate(self, reply: dns.message.Message) -> int:
        """How many record sets of a reply are signed, each by the zone's key; raises where one is not, or wrongly."""
        zone = dns.name.from_text(self.settings.domain)
        keys = self._exchange(dns.message.make_query(zone, "DNSKEY", want_dnssec=True, payload=4096))
        held = {zone: keys.get_rrset(keys.answer, zone, 1, dns.rdatatype.DNSKEY)}
        count = 0
        for section in (reply.answer, reply.authority):
            for rrset in section:
                if rrset.rdtype != dns.rdatatype.RRSIG:
                    signatures = reply.get_rrset(section, rrset.name, 1, dns.rdatatype.RRSIG, rrset.rdtype)
                    assert signatures, f"{rrset.name} {rrset.rdtype} is not signed"
                    dns.dnssec.validate(rrset, signatures, held)
                    count += 1
        return count


def free_udp_port() -> int:
    """A port of 127.0.0.1 that was free for UDP and TCP a moment ago."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind((HOME, 0))
            port: int = udp.getsockname()[1]
            try:
                tcp.bind((HOME, port))
            except OSError:
                continue
            return port


@contextmanager
def knotd_of(snapshot: Snapshot, folder: Path) -> Iterator[Knotd]:
    """A running knotd for a snapshot's world, in `folder`, which nobody drives yet."""
    listen = ((HOME, free_udp_port()),)
    settings = KnotSettings(folder, snapshot.world.domain, listen, SERVERS, replies_per_s_max=0)
    prepare(settings, snapshot)
    knotd = Knotd(settings)
    knotd.start()
    try:
        yield knotd
    finally:
        if knotd.process is not None:
            knotd.process.send_signal(18)  # SIGCONT, should a test have failed while it was stopped
        knotd.stop()
