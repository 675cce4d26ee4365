"""The private certificates of a world: what the doors show, and what sites and bus users prove to each other.

Authorities.  The *door CA* signs one leaf for the world's domain and may, by a critical name constraint, sign for
nothing else, so a person can trust it without risk.  The *mesh CA* signs what only our own processes look at.  A
region whose sites keep its data together has a *data CA* of its own: engines look at the signature alone, so nobody
else's certificate may bear it.
Layout of `STATE/pki`: see `README.md`.  Sources: RFC 5280 (sections 4.2.1.10, 4.2.1.12), SPIFFE X.509-SVID.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from moonbow.base.files import write_private
from moonbow.world import (
    SiteRef,
    World,
    data_authority,
    data_authority_name,
    data_leaf,
    data_voters,
    door_address,
    is_clustered,
    link_address,
    objects_client,
    site_address,
    sql_client,
    sql_reader,
)

CA_DAYS = 3650
LEAF_DAYS = 365
RENEW_DAYS = 90  # a leaf with less than this left is issued again at the next start

Name = tuple[str, str]  # kind ("dns", "uri" or "ip") and value


@dataclass(frozen=True)
class Leaf:
    """One certificate wanted: its file stem, the names in it, and which sides of TLS it may take."""

    stem: str
    names: tuple[Name, ...]
    server: bool
    client: bool


def door_leaf(world: World) -> Leaf:
    """What every door of the world shows to clients."""
    return Leaf("door", (("dns", world.domain), ("dns", f"*.{world.domain}")), server=True, client=False)


def site_leaf(world: World, ref: SiteRef) -> Leaf:
    """What a site proves to other sites, as bus server and as door, on every address it is reached at."""
    addresses = [site_address(world, ref)]
    addresses += [door_address(world, ref, door) for door in range(ref.site.doors)]
    addresses += [link_address(world, other, ref) for other in world.sites() if other.site.name != ref.site.name]
    names: list[Name] = [
        ("uri", f"spiffe://moonbow/region/{ref.region}/site/{ref.site.name}"),
        ("dns", f"{ref.site.name}.{ref.region}.bus.moonbow"),
        ("dns", f"node.{ref.region}.bus.moonbow"),  # may be a server of its region's cluster
        ("dns", "node.bus.moonbow"),  # may be a server of another region
    ]
    names += [("ip", address) for address in addresses]
    return Leaf(f"mesh-{ref.site.name}", tuple(names), server=True, client=True)


def user_leaves(region: str) -> Iterator[Leaf]:
    """The two bus users of a region: `r` for what stays in it, `x` for what may cross."""
    for account in ("r", "x"):
        yield Leaf(f"bus-{account}-{region}", (("dns", f"{account}.{region}.bus.moonbow"),), server=False, client=True)


def mesh_leaves(world: World) -> tuple[Leaf, ...]:
    """Everything the mesh CA signs."""
    sites = [site_leaf(world, ref) for ref in world.sites()]
    return (*sites, *(leaf for region in world.regions for leaf in user_leaves(region)))


def data_leaves(world: World, region: str) -> tuple[Leaf, ...]:
    """Everything the data CA of a region signs: its nodes, and the clients of its SQL."""
    nodes = (_node_leaf(world, ref) for ref in data_voters(world, region))
    clients = [(sql_client(region), "sql"), (sql_reader(region), "backup")]
    if world.regions[region].data.objects == "seaweedfs":
        clients.append((objects_client(region), "objects"))
    names = ((stem, f"{name}.{region}.data.moonbow") for stem, name in clients)
    return (*nodes, *(Leaf(stem, (("dns", name),), server=False, client=True) for stem, name in names))


def _node_leaf(world: World, ref: SiteRef) -> Leaf:
    names = (
        ("uri", f"spiffe://moonbow/region/{ref.region}/site/{ref.site.name}/data"),
        ("dns", f"{ref.site.name}.{ref.region}.data.moonbow"),
        ("ip", site_address(world, ref)),
    )
    return Leaf(data_leaf(ref.site.name), names, server=True, client=True)


def ensure_pki(world: World, state: Path, now: dt.datetime | None = None) -> Path:
    """Make what is missing, outdated or named wrongly under `state/pki`, mode 0600 in a folder 0700; that folder."""
    now = now or dt.datetime.now(dt.UTC)
    folder = state / "pki"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    door_ca = _Authority.ensure(folder, "ca", f"Moonbow {world.name} door CA", now, constrained_to=world.domain)
    mesh_ca = _Authority.ensure(folder, "mesh-ca", f"Moonbow {world.name} mesh CA", now)
    wanted = [(door_ca, door_leaf(world)), *((mesh_ca, leaf) for leaf in mesh_leaves(world))]
    for name in (name for name, region in world.regions.items() if is_clustered(region)):
        data_ca = _Authority.ensure(folder, data_authority(name), data_authority_name(world, name), now)
        wanted += ((data_ca, leaf) for leaf in data_leaves(world, name))
    for authority, leaf in wanted:
        if not _still_good(folder, leaf, authority, now):
            authority.issue(folder, leaf, now)
    return folder


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def ensure(
        cls, folder: Path, stem: str, title: str, now: dt.datetime, constrained_to: str | None = None
    ) -> _Authority:
        try:
            certificate, key = _read_pair(folder, stem)
        except (OSError, ValueError):
            pass
        else:
            fresh = certificate.not_valid_after_utc > now + dt.timedelta(days=LEAF_DAYS)
            if fresh and certificate.public_key() == key.public_key() and _permits(certificate, constrained_to):
                return cls(certificate, key)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign_authority(title, key, now, constrained_to)
        _write_pair(folder, stem, certificate, key)
        return cls(certificate, key)

    def issue(self, folder: Path, leaf: Leaf, now: dt.datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] * leaf.server + [ExtendedKeyUsageOID.CLIENT_AUTH] * leaf.client
        authority_key = self.key.public_key()
        certificate = (
            _builder(leaf.stem, self.certificate.subject, key.public_key(), now, LEAF_DAYS)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in leaf.names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        _write_pair(folder, leaf.stem, certificate, key)


def _sign_authority(
    title: str, key: ec.EllipticCurvePrivateKey, now: dt.datetime, constrained_to: str | None
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    builder = (
        _builder(title, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    if constrained_to:
        permitted = x509.NameConstraints([x509.DNSName(constrained_to)], None)
        builder = builder.add_extension(permitted, critical=True)
    return builder.sign(key, hashes.SHA256())


def _builder(
    common_name: str, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _still_good(folder: Path, leaf: Leaf, authority: _Authority, now: dt.datetime) -> bool:
    """Whether the leaf on disk carries exactly the names wanted, is signed by `authority` and lasts long enough."""
    try:
        found, key = _read_pair(folder, leaf.stem)
        found.verify_directly_issued_by(authority.certificate)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False  # missing, unreadable, signed by somebody else: all mean "issue it again"
    if found.not_valid_after_utc < now + dt.timedelta(days=RENEW_DAYS) or found.public_key() != key.public_key():
        return False
    return list(names) == [_general_name(name) for name in leaf.names]


def _read_pair(folder: Path, stem: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = serialization.load_pem_private_key((folder / f"{stem}.key").read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{stem}.key is not an elliptic-curve key")
    return x509.load_pem_x509_certificate((folder / f"{stem}.crt").read_bytes()), key


def _permits(certificate: x509.Certificate, domain: str | None) -> bool:
    if domain is None:
        return True
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return False
    return list(constraints.permitted_subtrees or ()) == [x509.DNSName(domain)]


def _general_name(name: Name) -> x509.GeneralName:
    kind, value = name
    if kind == "ip":
        return x509.IPAddress(ip_address(value))
    return x509.DNSName(value) if kind == "dns" else x509.UniformResourceIdentifier(value)


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write_pair(folder: Path, stem: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(folder / f"{stem}.key", secret)
    write_private(folder / f"{stem}.crt", certificate.public_bytes(serialization.Encoding.PEM))
