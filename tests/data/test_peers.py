"""The exchange between agents over real sockets: only the region's own data nodes may speak and listen."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import msgspec
import pytest

from moonbow.base.http import HttpServer, Page
from moonbow.data.adapters.peers import Peer, peer_context
from moonbow.launch.pki import ensure_pki
from moonbow.wire.data import DataReport, encode_report
from moonbow.world import Ports, load_world, site_address

WORLD = msgspec.structs.replace(load_world(Path("worlds/laptop-engines.toml")), slot=11)
PARIS, FRANKFURT, TOKYO = (WORLD.site(name) for name in ("paris", "frankfurt", "tokyo"))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_pki(WORLD, tmp_path_factory.mktemp("state"))


async def ask(pki: Path, body: bytes, client: ssl.SSLContext) -> DataReport | None:
    """What a client gets from the agent of Paris, which publishes `body`."""
    server = HttpServer(
        site_address(WORLD, PARIS),
        Ports.DATA_PEERS,
        lambda path, _: Page(200, "application/json", body),
        tls=peer_context(ssl.PROTOCOL_TLS_SERVER, pki, PARIS),
    )
    await server.open()
    peer = Peer(WORLD, PARIS, client)
    try:
        first = await peer.ask()
        assert await peer.ask() == first  # on the connection that is kept
        return first
    finally:
        peer.close()
        await server.close()


def test_a_report_travels_between_nodes_of_a_region(pki: Path) -> None:
    report = DataReport(site="paris", known=True, history="h", seqno=7, members=("a", "b"))
    client = peer_context(ssl.PROTOCOL_TLS_CLIENT, pki, FRANKFURT)
    assert asyncio.run(ask(pki, encode_report(report), client)) == report


@pytest.mark.parametrize("body", [b"", b"{}", b'{"site": "paris", "seqno": -2}', encode_report(DataReport(site="x"))])
def test_what_is_not_a_report_of_that_site_is_nothing(pki: Path, body: bytes) -> None:
    client = peer_context(ssl.PROTOCOL_TLS_CLIENT, pki, FRANKFURT)
    assert asyncio.run(ask(pki, body, client)) is None


def test_strangers_get_nothing(pki: Path) -> None:
    body = encode_report(DataReport(site="paris"))
    assert asyncio.run(ask(pki, body, peer_context(ssl.PROTOCOL_TLS_CLIENT, pki, TOKYO))) is None
    nobody = ssl.create_default_context(cafile=str(pki / "data-ca-emea.crt"))
    assert asyncio.run(ask(pki, body, nobody)) is None
    mesh = ssl.create_default_context(cafile=str(pki / "data-ca-emea.crt"))
    mesh.load_cert_chain(pki / "mesh-frankfurt.crt", pki / "mesh-frankfurt.key")
    assert asyncio.run(ask(pki, body, mesh)) is None
