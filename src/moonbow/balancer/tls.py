"""Certificates and TLS of the doors: TLS 1.2 or later for clients, mutual TLS 1.3 between sites.

Law: whom to trust is named beside the authority, in one validation context.  Were the authority a secret, Envoy would
add up the names in both, and either would do.
"""

from __future__ import annotations

from .model import Door, Json
from .xds import extension, resources, secret, typed

_SOCKETS = "extensions.transport_sockets.tls.v3."
_CIPHERS = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES256-GCM-SHA384",
]
_MESH_ONLY = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}


def compile_secrets(door: Door) -> dict[str, Json]:
    """The SDS files: what the door shows to clients, and what the site proves to others."""

    def pair(name: str, stem: str) -> Json:
        found = {
            "certificate_chain": {"filename": str(door.state / "pki" / f"{stem}.crt")},
            "private_key": {"filename": str(door.state / "pki" / f"{stem}.key")},
        }
        return resources(typed(_SOCKETS + "Secret", name=name, tls_certificate=found))

    return {
        "sds-door.json": pair("door", "door"),
        "sds-site.json": pair("site", f"mesh-{door.ref.site.name}"),
    }


def for_clients(door: Door) -> Json:
    """The transport socket of the public listener."""
    common = {
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_2",
            "tls_maximum_protocol_version": "TLSv1_3",
            "cipher_suites": _CIPHERS,
        },
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [secret(door, "door")],
    }
    return extension("tls", _SOCKETS + "DownstreamTlsContext", common_tls_context=common)


def for_other_sites(door: Door) -> Json:
    """The transport socket of the mesh listener: a certificate of a site of a region that may enter, or nothing."""
    trusted = [{"prefix": f"spiffe://moonbow/region/{region}/site/"} for region in door.regions()]
    common = _mesh_context(door, trusted, ["h2", "http/1.1"])
    return extension(
        "tls", _SOCKETS + "DownstreamTlsContext", require_client_certificate=True, common_tls_context=common
    )


def to_region(door: Door, region: str, protocol: str) -> Json:
    """The transport socket towards the primary sites of `region`, and towards nobody else; protocol as in ALPN."""
    sites = [ref.site.name for ref in door.world.primaries(region)]
    trusted = [{"exact": f"spiffe://moonbow/region/{region}/site/{site}"} for site in sites]
    common = _mesh_context(door, trusted, [protocol])
    return extension("tls", _SOCKETS + "UpstreamTlsContext", sni=f"{region}.mesh.moonbow", common_tls_context=common)


def _mesh_context(door: Door, trusted: list[Json], protocols: list[str]) -> Json:
    names = [{"san_type": "URI", "matcher": matcher} for matcher in trusted]
    return {
        "tls_params": _MESH_ONLY,
        "alpn_protocols": protocols,
        "tls_certificate_sds_secret_configs": [secret(door, "site")],
        "validation_context": {
            "trusted_ca": {"filename": str(door.state / "pki" / "mesh-ca.crt")},
            "match_typed_subject_alt_names": names,
        },
    }
