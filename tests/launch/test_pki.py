"""The certificates of a world: names, constraint, lifetimes, modes; judged by OpenSSL's own verification."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509

from moonbow.launch.pki import LEAF_DAYS, RENEW_DAYS, Leaf, _Authority, ensure_pki, mesh_leaves
from moonbow.world import World, data_authority_name, link_address, parse_world, site_address

WORLD = parse_world(Path("worlds/laptop.toml").read_text())


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_pki(WORLD, tmp_path_factory.mktemp("state"))


def _load(pki: Path, stem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((pki / f"{stem}.crt").read_bytes())


def _shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """One TLS handshake over a socket pair; raises what the client raises."""
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(far, server_side=True) as tls:
                tls.recv(1)
        except OSError:
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname=name) as tls:
            tls.send(b"x")
    finally:
        near.close()
        thread.join(5)


def _server(pki: Path, stem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{stem}.crt", pki / f"{stem}.key")
    return context


def test_everything_is_there_and_private(pki: Path) -> None:
    stems = {"ca", "door", "mesh-ca", *(leaf.stem for leaf in mesh_leaves(WORLD))}
    assert {path.name for path in pki.iterdir()} == {f"{stem}.{kind}" for stem in stems for kind in ("crt", "key")}
    assert {stat.S_IMODE(path.stat().st_mode) for path in pki.iterdir()} == {0o600}
    assert stat.S_IMODE(pki.stat().st_mode) == 0o700


def test_a_client_that_trusts_the_ca_accepts_the_door(pki: Path) -> None:
    client = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    _shake(_server(pki, "door"), client, WORLD.domain)
    _shake(_server(pki, "door"), client, f"door.{WORLD.domain}")
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake(_server(pki, "door"), client, "example.org")


def test_the_door_ca_cannot_sign_for_others(pki: Path, tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    authority = _Authority.ensure(pki, "ca", "unused", now, constrained_to=WORLD.domain)
    authority.issue(tmp_path, Leaf("bank", (("dns", "bank.example"),), server=True, client=False), now)
    client = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        _shake(_server(tmp_path, "bank"), client, "bank.example")


def test_a_site_is_reached_at_its_own_address_and_at_every_link(pki: Path) -> None:
    client = ssl.create_default_context(cafile=str(pki / "mesh-ca.crt"))
    paris, tokyo = WORLD.site("paris"), WORLD.site("tokyo")
    for address in (site_address(WORLD, tokyo), link_address(WORLD, paris, tokyo)):
        _shake(_server(pki, "mesh-tokyo"), client, address)
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake(_server(pki, "mesh-tokyo"), client, site_address(WORLD, paris))


def test_a_mesh_certificate_names_its_site_once(pki: Path) -> None:
    names = _load(pki, "mesh-tokyo").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == ["spiffe://moonbow/region/apac/site/tokyo"]
    hosts = names.get_values_for_type(x509.DNSName)
    assert [host for host in hosts if not host.startswith("node.")] == ["tokyo.apac.bus.moonbow"]


def test_data_nodes_are_signed_for_by_their_own_region_only(tmp_path: Path) -> None:
    world = parse_world(Path("worlds/laptop-engines.toml").read_text())
    folder = ensure_pki(world, tmp_path)
    for name, region in (("paris", "emea"), ("zurich", "emea"), ("tokyo", "apac")):
        for authority in ("emea", "apac"):
            client = ssl.create_default_context(cafile=str(folder / f"data-ca-{authority}.crt"))
            if authority == region:
                _shake(_server(folder, f"data-{name}"), client, site_address(world, world.site(name)))
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    _shake(_server(folder, f"data-{name}"), client, site_address(world, world.site(name)))
    assert not (folder / "data-capetown.crt").exists()
    issuer = _load(folder, "sql-emea").issuer.rfc4514_string()
    assert issuer == f"CN={data_authority_name(world, 'emea')}"


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    folder = ensure_pki(WORLD, tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    ensure_pki(WORLD, tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_leaves_near_their_end_are_issued_again_by_the_same_authority(tmp_path: Path) -> None:
    start = dt.datetime.now(dt.UTC)
    folder = ensure_pki(WORLD, tmp_path, start)
    authority, door = (folder / "ca.crt").read_bytes(), _load(folder, "door")
    ensure_pki(WORLD, tmp_path, start + dt.timedelta(days=LEAF_DAYS - RENEW_DAYS + 1))
    assert (folder / "ca.crt").read_bytes() == authority
    assert _load(folder, "door").serial_number != door.serial_number


def test_another_domain_makes_another_door_authority(tmp_path: Path) -> None:
    ensure_pki(WORLD, tmp_path)
    other: World = parse_world(Path("worlds/laptop.toml").read_text().replace("moonbow.localhost", "example.test"))
    folder = ensure_pki(other, tmp_path)
    client = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    _shake(_server(folder, "door"), client, "example.test")
