"""Renders what SeaweedFS needs at one site: one `weed server`, and the files it reads.  Pure: text and words.

Every primary site runs master, volumes, filer and S3 in one process; a witness runs master and volumes, so that there
are three places for the two copies of everything and writes go on when any one is gone.  Names are kept in the region's
MariaDB.  Between sites everything is mutual TLS among the region's data nodes; over S3, TLS and a key.
Sources: `weed scaffold -config=security|filer|master`, `weed server -h`, SeaweedFS 4.48.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from moonbow.world import (
    OBJECTS_USER,
    Ports,
    SiteRef,
    World,
    data_authority,
    data_leaf,
    data_voters,
    names_way,
    objects_grpc_port,
    objects_secret,
    site_address,
)

COPIES = "100"  # one more at another site
VOLUME_MB = 1_024
ELECTION_S = 3  # without a leading master, before others are willing to lead; a new one lets nobody write for 15 s
MEND_MINUTES = 5  # between two looks for what has too few copies
SERVICES: tuple[str, ...] = ("master", "volume", "filer", "s3")
PORTS = (Ports.OBJECTS_MASTER, Ports.OBJECTS_VOLUME, Ports.OBJECTS_FILER, Ports.OBJECTS_S3)
_PORTS: dict[str, int] = dict(zip(SERVICES, PORTS, strict=True))


class WeedFiles(NamedTuple):
    """Where a site's SeaweedFS keeps everything."""

    folder: Path

    @property
    def volumes(self) -> Path:
        """What objects hold, encrypted."""
        return self.folder / "volumes"

    @property
    def master(self) -> Path:
        """What its master remembers."""
        return self.folder / "master"


def keeps_objects(world: World, ref: SiteRef) -> bool:
    """Whether a site has a SeaweedFS."""
    return ref.site.kind != "edge" and world.regions[ref.region].data.objects == "seaweedfs"


def weed_files(state: Path, site: str) -> WeedFiles:
    """The folders of the SeaweedFS at a site."""
    return WeedFiles(state / "sites" / site / "objects")


def render_weed(world: World, ref: SiteRef, state: Path, key: str) -> dict[str, str]:
    """The files that the SeaweedFS at `ref` reads, by name; `key` is the region's secret of objects."""
    made = {"security.toml": _security(world, ref, state, key), "master.toml": _master()}
    if ref.site.kind == "primary":
        made |= {"filer.toml": _filer(world, ref, state), "s3.json": _identities(key)}
    return made


def weed_ports(ref: SiteRef) -> tuple[int, ...]:
    """The ports of the services that a site has."""
    return tuple(_PORTS[name] for name in _services(ref))


def weed_sockets(world: World, ref: SiteRef) -> tuple[Path, ...]:
    """What SeaweedFS leaves in /tmp when it is killed."""
    ports = ((name, objects_grpc_port(world, ref, _PORTS[name])) for name in _services(ref))
    return tuple(Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock") for name, port in ports)


def weed_argv(program: str, world: World, ref: SiteRef, state: Path) -> tuple[str, ...]:
    """The command line of the SeaweedFS of a site."""
    host, files, site = site_address(world, ref), weed_files(state, ref.site.name), ref.site.name
    masters = (
        f"{site_address(world, voter)}:{Ports.OBJECTS_MASTER}.{objects_grpc_port(world, voter, Ports.OBJECTS_MASTER)}"
        for voter in data_voters(world, ref.region)
    )
    words = {
        "ip": host,
        "ip.bind": host,
        "dataCenter": site,
        "dir": str(files.volumes),
        "metricsPort": str(Ports.OBJECTS_METRICS),
        "disableHttp": "true",  # of masters and filers: everybody speaks gRPC
        "master.dir": str(files.master),
        "master.peers": ",".join(masters),
        "master.defaultReplication": COPIES,
        "master.volumeSizeLimitMB": str(VOLUME_MB),
        "master.electionTimeout": f"{ELECTION_S}s",
        "master.telemetry": "false",
        "volume.max": "0",  # as many as its disk holds
        "volume.preStopSeconds": "0",
        "volume.allowUntrustedRemoteEndpoints": "true",  # sister sites, whose addresses are private ones
    }
    for name in _services(ref):
        words |= {
            f"{name}.port": str(_PORTS[name]),
            f"{name}.port.grpc": str(objects_grpc_port(world, ref, _PORTS[name])),
        }
    if ref.site.kind == "primary":
        words |= _front(world, ref, state, files)
    said = tuple(f"-{name}={value}" for name, value in words.items())
    return (program, f"-config_dir={files.folder}", "-logtostderr=true", "-log_json=true", "server", *said)


def _front(world: World, ref: SiteRef, state: Path, files: WeedFiles) -> dict[str, str]:
    """The words for filer and S3.  Their local sockets get abstract names (unix(7)), for they cannot be left out."""
    _, cert, key = node_files(ref, state)
    sockets = f"@moonbow-{world.slot}-{ref.site.name}"
    return {
        "filer": "true",
        "filer.localSocket": f"{sockets}-filer",
        "filer.defaultReplicaPlacement": COPIES,
        "s3": "true",
        "s3.localSocket": f"{sockets}-s3",
        "s3.config": str(files.folder / "s3.json"),
        "s3.cert.file": str(cert),
        "s3.key.file": str(key),
        "s3.iam": "false",
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
    }


def _services(ref: SiteRef) -> tuple[str, ...]:
    return SERVICES if ref.site.kind == "primary" else SERVICES[:2]


def node_files(ref: SiteRef, state: Path) -> tuple[Path, Path, Path]:
    """Authority, certificate and key of a site's data node, as PEM files."""
    own = state / "pki" / data_leaf(ref.site.name)
    return state / "pki" / f"{data_authority(ref.region)}.crt", own.with_suffix(".crt"), own.with_suffix(".key")


def _security(world: World, ref: SiteRef, state: Path, key: str) -> str:
    """Who may speak with whom.  A witness keeps what it cannot decrypt."""
    ca, cert, own = node_files(ref, state)
    nodes = ",".join(data_leaf(voter.site.name) for voter in data_voters(world, ref.region))
    services = _services(ref)
    lines = [
        _section("jwt.signing", key=objects_secret(key, "volume writes")),
        _section("grpc", ca=ca),
        *(_section(f"grpc.{name}", cert=cert, key=own, allowed_commonNames=nodes) for name in services),
        _section("grpc.client", cert=cert, key=own),
        *(_section(f"https.{name}", cert=cert, key=own, ca=ca) for name in services if name != "s3"),
        "[https.client]\nenabled = true\n" + _section("", cert=cert, key=own, ca=ca),
        _section("tls", min_version="TLS 1.2", max_version="TLS 1.3"),  # one alone turns TLS off for gRPC
    ]
    if ref.site.kind == "primary":
        lines += [
            _section("jwt.filer_signing", key=objects_secret(key, "filer writes")),
            _section("jwt.filer_signing.read", key=objects_secret(key, "filer reads")),
            "[filer.expose_directory_metadata]\nenabled = false\n",
            _section("s3.sse", kek=objects_secret(key, "encryption")),
        ]
    return "\n".join(lines)


def _filer(world: World, ref: SiteRef, state: Path) -> str:
    """The filer's store is its own site's node, and reads wait for what other sites have committed."""
    way = names_way(world, state, ref.region, ref.site.name)
    options = "collation=utf8mb4_bin&timeout=2s&readTimeout=10s&writeTimeout=10s&wsrep_sync_wait=1"
    return f"""[mysql]
enabled = true
dsn = "{way.user}@tcp({way.hosts[0]}:{way.port})/{way.database}?{options}"
enable_tls = true
tls_server_name = "{way.hosts[0]}"
ca_crt = "{way.ca}"
client_crt = "{way.cert}"
client_key = "{way.key}"
connection_max_idle = 8
connection_max_open = 24
connection_max_lifetime_seconds = 300
enableUpsert = true
upsertQuery = \"\"\"INSERT INTO `%s` (`dirhash`,`name`,`directory`,`meta`) VALUES (?,?,?,?) \
ON DUPLICATE KEY UPDATE `meta` = VALUES(`meta`)\"\"\"
"""


def _master() -> str:
    return f"""[master.maintenance]
scripts = \"\"\"
  lock
  volume.fix.replication -apply
  volume.deleteEmpty -quietFor=24h -apply
  s3.clean.uploads -timeAgo=24h
  unlock
\"\"\"
sleep_minutes = {MEND_MINUTES}

[master.volume_growth]
copy_2 = 3
"""


def _identities(key: str) -> str:
    """Who may speak S3: one key, which may make the bucket; nobody without one."""
    credentials = [{"accessKey": OBJECTS_USER, "secretKey": objects_secret(key, "s3")}]
    return json.dumps({"identities": [{"name": OBJECTS_USER, "credentials": credentials, "actions": ["Admin"]}]})


def _section(title: str, **values: object) -> str:
    """A section of TOML whose values are strings."""
    head = f"[{title}]\n" if title else ""
    return head + "".join(f"{name} = {json.dumps(str(value))}\n" for name, value in values.items())
