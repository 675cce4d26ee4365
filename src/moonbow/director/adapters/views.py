"""Directors tell each other what they see: one connection for each pair, mutual TLS with the sites' own certificates.

A director speaks for its site alone: whoever a certificate names is the observer of every view on its connection.
The whole view is sent whenever it changes and once a second, length first; to a peer that is slow only the newest one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from moonbow.base.clock import to_next_beat
from moonbow.wire.views import VIEW_BYTES_MAX, SiteView, decode_view, encode_view
from moonbow.world import Ports, SiteRef, World, link_address, site_address

BEAT_S = 1.0
SILENT_S = 5.0  # without a view, after which a connection is given up
DIAL_S = 2.0
AGAIN_FIRST_S, AGAIN_MAX_S = 0.2, 5.0
HEAD_BYTES = 4
WAITING_BYTES_HIGH = 65_536

log = logging.getLogger("moonbow.director")
Tell = Callable[[], SiteView]
Heard = Callable[[str, SiteView], None]  # (who says it, by certificate; what)


class Counts:
    """What happened so far, for the metrics."""

    def __init__(self) -> None:
        self.sent = self.heard = self.refused = 0


class Keys(NamedTuple):
    """The two TLS contexts of a site, both of which prove it and want proof."""

    server: ssl.SSLContext
    client: ssl.SSLContext

    @classmethod
    def load(cls, pki: Path, site: str) -> Keys:
        """From `mesh-<site>.crt`, its key and `mesh-ca.crt`; OSError or `ssl.SSLError` if they cannot be used."""
        return cls(_context(ssl.PROTOCOL_TLS_SERVER, pki, site), _context(ssl.PROTOCOL_TLS_CLIENT, pki, site))


def _context(side: int, pki: Path, site: str) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # a site is known by its SPIFFE name, see `speaker`
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(pki / "mesh-ca.crt")
    context.load_cert_chain(pki / f"mesh-{site}.crt", pki / f"mesh-{site}.key")
    return context


def speaker(certificate: Mapping[str, Any] | None, sites: Mapping[str, str]) -> str | None:
    """Which of `sites` (name -> region) a verified certificate stands for, by its SPIFFE name; None for others."""
    names = {value for kind, value in (certificate or {}).get("subjectAltName", ()) if kind == "URI"}
    for site, region in sites.items():
        if f"spiffe://moonbow/region/{region}/site/{site}" in names:
            return site
    return None


class Peers:
    """The directors of one plane, seen from one of them.  `run` serves until it is cancelled; OSError at its start.

    `tell` gives the view of the moment, `heard` takes those of others.
    """

    def __init__(
        self, world: World, ref: SiteRef, peers: tuple[SiteRef, ...], keys: Keys, tell: Tell, heard: Heard
    ) -> None:
        self.name = ref.site.name
        self.sites = {peer.site.name: peer.region for peer in peers}
        self.keys = keys
        self.tell = tell
        self.heard = heard
        self.counts = Counts()
        self.lines: dict[str, Line] = {}
        self.newest: bytes | None = None
        order = [found.site.name for found in world.sites()]
        self._address = site_address(world, ref)
        self._dialled = {
            peer.site.name: link_address(world, ref, peer)
            for peer in peers
            if order.index(peer.site.name) > order.index(self.name)
        }

    async def run(self) -> None:
        """Listen, dial the peers that come later in the world file, and repeat the view at every beat."""
        server = await asyncio.get_running_loop().create_server(
            lambda: Line(self), self._address, Ports.VIEWS, ssl=self.keys.server, ssl_handshake_timeout=DIAL_S
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, address in self._dialled.items():
                    tasks.create_task(self._keep(name, address))
                tasks.create_task(self._repeat())
        finally:
            server.close()
            for line in tuple(self.lines.values()):
                line.abort()

    def push(self) -> None:
        """Tell every peer now; one that cannot take it now gets the newest view when it can."""
        payload = encode_view(self.tell())
        assert len(payload) <= VIEW_BYTES_MAX, "a view longer than its readers take"
        self.newest = len(payload).to_bytes(HEAD_BYTES, "big") + payload
        for line in self.lines.values():
            line.send()

    async def _repeat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.push()
            await asyncio.sleep(to_next_beat(BEAT_S, loop.time()))
            for line in tuple(self.lines.values()):
                if loop.time() - line.heard_at > SILENT_S:
                    line.abort()

    async def _keep(self, name: str, address: str) -> None:
        """Keep one connection to a peer; wait longer after each that brought nothing."""
        loop, pause_s = asyncio.get_running_loop(), AGAIN_FIRST_S
        while True:
            try:
                async with asyncio.timeout(DIAL_S):
                    _, line = await loop.create_connection(
                        lambda: Line(self, name), address, Ports.VIEWS, ssl=self.keys.client, server_hostname=address
                    )
            except OSError:  # TimeoutError and ssl.SSLError are of this kind
                pass
            else:
                await line.lost.wait()
                pause_s = AGAIN_FIRST_S if line.views else pause_s
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(AGAIN_MAX_S, 2 * pause_s)


class Line(asyncio.Protocol):
    """One connection between two directors.  `expected` is whom we dialled; None for who dialled us."""

    def __init__(self, peers: Peers, expected: str | None = None) -> None:
        self.lost = asyncio.Event()
        self.views = 0
        self.heard_at = asyncio.get_running_loop().time()
        self._peers = peers
        self._expected = expected
        self._name: str | None = None
        self._waiting = bytearray()
        self._choked = self._owing = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peers, name = self._peers, speaker(transport.get_extra_info("peercert"), self._peers.sites)
        if name is None or self._expected not in (None, name):
            peers.counts.refused += 1
            log.warning("stranger", extra={"f": {"expected": self._expected, "shows": name}})
            self.abort()
            return
        self._name = name
        self._transport.set_write_buffer_limits(high=WAITING_BYTES_HIGH)
        if (before := peers.lines.get(name)) is not None:  # the newest one counts: the other may be half dead
            before.abort()
        peers.lines[name] = self
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        if self._name is not None and self._peers.lines.get(self._name) is self:
            del self._peers.lines[self._name]

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        while len(self._waiting) >= HEAD_BYTES and self._name is not None:
            size = int.from_bytes(self._waiting[:HEAD_BYTES], "big")
            if size > VIEW_BYTES_MAX:
                self._refuse(f"a view of {size} bytes")
                return
            if len(self._waiting) < HEAD_BYTES + size:
                return
            payload = bytes(self._waiting[HEAD_BYTES : HEAD_BYTES + size])
            del self._waiting[: HEAD_BYTES + size]
            self._take(self._name, payload)

    def _take(self, name: str, payload: bytes) -> None:
        try:
            view = decode_view(payload)
        except msgspec.MsgspecError as error:
            self._refuse(str(error))
            return
        if view.observer != name:
            self._refuse(f"speaks for {view.observer}")
            return
        self.views += 1
        self.heard_at = asyncio.get_running_loop().time()
        self._peers.counts.heard += 1
        self._peers.heard(name, view)

    def _refuse(self, why: str) -> None:
        self._peers.counts.refused += 1
        log.warning("bad view", extra={"f": {"of": self._name, "why": why}})
        self._waiting.clear()
        self.abort()

    def pause_writing(self) -> None:
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        if self._owing:
            self.send()

    def send(self) -> None:
        """Send the newest view, now or as soon as the peer takes it."""
        newest = self._peers.newest
        if newest is None or self._transport is None or self._transport.is_closing():
            return
        self._owing = self._choked
        if not self._choked:
            self._transport.write(newest)
            self._peers.counts.sent += 1

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
