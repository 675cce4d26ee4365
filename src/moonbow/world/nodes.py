"""Which data nodes a region has, and how a process reaches its region's SQL.  Pure: from the world file alone.

Laws: a way names nodes of its own region only, the asking site's own first; every node of a region appears once.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import NamedTuple

from .model import Region, SiteRef, World
from .policy import Ports, site_address

SQL_USER = SQL_DATABASE = "moonbow"
SQL_READER = "moonbow_backup"
OBJECTS_USER = OBJECTS_DATABASE = "moonbow_objects"  # where SeaweedFS keeps the names of objects
OBJECTS_BUCKET = "objects"


class SqlWay(NamedTuple):
    """How to open a connection to a region's MariaDB: try `hosts` in their order, with TLS that proves both ends.

    Each host is an address that its node's certificate names; `ca`, `cert` and `key` are PEM files.  There is no
    password: the user must show the region's own client certificate.
    """

    hosts: tuple[str, ...]
    port: int
    user: str
    database: str
    ca: Path
    cert: Path
    key: Path


def sql_way(world: World, state: Path, region: str, site: str | None = None) -> SqlWay:
    """The way to the SQL of `region` from `site`, whose own node comes first; without one, in file order."""
    nodes = sorted(world.primaries(region), key=lambda ref: ref.site.name != site)
    pki = state / "pki"
    return SqlWay(
        tuple(site_address(world, ref) for ref in nodes),
        Ports.SQL,
        SQL_USER,
        SQL_DATABASE,
        pki / f"{data_authority(region)}.crt",
        pki / f"{sql_client(region)}.crt",
        pki / f"{sql_client(region)}.key",
    )


def backup_way(world: World, state: Path, region: str) -> SqlWay:
    """The same for who takes backups, and may read and nothing else."""
    way, files = sql_way(world, state, region), state / "pki" / sql_reader(region)
    return way._replace(user=SQL_READER, cert=files.with_suffix(".crt"), key=files.with_suffix(".key"))


def names_way(world: World, state: Path, region: str, site: str | None = None) -> SqlWay:
    """The way to the names of the objects of `region`, which its SeaweedFS keeps in the same nodes."""
    stem = state / "pki" / objects_client(region)
    way = sql_way(world, state, region, site)._replace(user=OBJECTS_USER, database=OBJECTS_DATABASE)
    return way._replace(cert=stem.with_suffix(".crt"), key=stem.with_suffix(".key"))


class ObjectsWay(NamedTuple):
    """How to reach a region's objects over S3: any of `endpoints` (URLs), the asking site's own first.

    `ca` is the PEM file of the authority that signs for them, `key` the file that `objects_secret` derives from.
    """

    endpoints: tuple[str, ...]
    bucket: str
    ca: Path
    key: Path


def objects_way(world: World, state: Path, region: str, site: str | None = None) -> ObjectsWay:
    """The way to the objects of `region` from `site`; without one, in file order."""
    nodes = sorted(world.primaries(region), key=lambda ref: ref.site.name != site)
    return ObjectsWay(
        tuple(f"https://{site_address(world, ref)}:{Ports.OBJECTS_S3}" for ref in nodes),
        OBJECTS_BUCKET,
        state / "pki" / f"{data_authority(region)}.crt",
        objects_key(state, region),
    )


def objects_key(state: Path, region: str) -> Path:
    """The file of the one secret of a region's objects: 32 bytes in hexadecimal digits."""
    return state / "regions" / region / "keys" / "objects.key"


def objects_secret(key: str, purpose: str) -> str:
    """What the secret `key` gives for one purpose: 64 hexadecimal digits."""
    return hmac.new(bytes.fromhex(key), f"objects {purpose}".encode(), hashlib.sha256).hexdigest()


def is_clustered(region: Region) -> bool:
    """Whether the region's sites keep its data together, and so need certificates to prove themselves to each other."""
    return region.data.sql == "galera" or region.data.objects == "seaweedfs"


def data_voters(world: World, region: str) -> tuple[SiteRef, ...]:
    """The sites whose data agents vote in a region: primaries with a node each, and witnesses, in file order."""
    return tuple(ref for ref in world.sites() if ref.region == region and ref.site.kind != "edge")


def data_authority(region: str) -> str:
    """File stem of the authority that signs for the data nodes of one region and nobody else."""
    return f"data-ca-{region}"


def data_authority_name(world: World, region: str) -> str:
    """What that authority is called in its certificate."""
    return f"Moonbow {world.name} data CA {region}"


def data_leaf(site: str) -> str:
    """File stem of what a site's data node shows to its sisters and clients."""
    return f"data-{site}"


def sql_client(region: str) -> str:
    """File stem of what a client of a region's SQL shows; its certificate's common name as well."""
    return f"sql-{region}"


def sql_reader(region: str) -> str:
    """The same for what takes backups of a region."""
    return f"sql-backup-{region}"


def objects_client(region: str) -> str:
    """File stem of what a region's SeaweedFS shows to its SQL; its certificate's common name as well."""
    return f"objects-{region}"
