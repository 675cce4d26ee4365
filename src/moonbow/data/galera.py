"""Renders what MariaDB, Galera and its arbitrator need at one site.  Pure: text and words from settings.

Everything between sites is TLS with certificates of the region's own authority: replication, increments and snapshots
verify the other end, and clients must show one.  Sources: MariaDB 10.11 "Galera Cluster System Variables",
Galera 26.4 "Galera Parameters", `wsrep_sst_mariabackup`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from moonbow.world import (
    OBJECTS_DATABASE,
    OBJECTS_USER,
    SQL_DATABASE,
    SQL_READER,
    SQL_USER,
    Ports,
    SiteRef,
    World,
    data_authority,
    data_authority_name,
    data_leaf,
    data_voters,
    objects_client,
    site_address,
    sql_client,
    sql_reader,
)

PROVIDER = "/usr/lib/galera/libgalera_smm.so"
# A dead site is out of the cluster after 1.5 to 3 s: writes pause that long (measured 2.5 to 2.8 s).
TIMES = {
    "evs.keepalive_period": "PT0.3S",
    "evs.suspect_timeout": "PT1.5S",
    "evs.inactive_timeout": "PT3S",
    "evs.inactive_check_period": "PT0.3S",
    "evs.install_timeout": "PT3S",
    "gmcast.peer_timeout": "PT1.5S",
}
POOL, LOG, CACHE = "64M", "32M", "64M"  # of pages, of changes to redo, of changes for who returns


class NodeSettings(NamedTuple):
    """One site's member of its region's cluster.  `cluster` is its name, `peers` every member's address.

    `authority` is the name of the region's data authority as its certificate has it; `account` is the user of this
    machine that runs it, and the only one who may enter without a certificate.  `objects`: SeaweedFS keeps names there.
    """

    cluster: str
    site: str
    region: str
    address: str
    peers: tuple[str, ...]
    number: int
    folder: Path
    pki: Path
    authority: str
    account: str
    objects: bool

    @property
    def data(self) -> Path:
        """MariaDB's own folder."""
        return self.folder / "data"

    @property
    def config(self) -> Path:
        """The file of `render_node`."""
        return self.folder / "my.cnf"

    @property
    def socket(self) -> Path:
        """Where the node's own machine enters."""
        return self.data / SOCKET


SOCKET = "sql.sock"


def node_settings(world: World, ref: SiteRef, state: Path, account: str) -> NodeSettings:
    """The settings of the member at site `ref`."""
    voters = data_voters(world, ref.region)
    return NodeSettings(
        f"{world.name}-{ref.region}",
        ref.site.name,
        ref.region,
        site_address(world, ref),
        tuple(site_address(world, voter) for voter in voters),
        [voter.site.name for voter in voters].index(ref.site.name),
        state / "sites" / ref.site.name / "sql",
        state / "pki",
        data_authority_name(world, ref.region),
        account,
        world.regions[ref.region].data.objects == "seaweedfs",
    )


def render_node(settings: NodeSettings) -> str:
    """The configuration of the MariaDB server of a site.

    The socket's path is relative to the data folder, because a unix address holds 107 bytes only.
    """
    ca, cert, key = _files(settings)
    return f"""[mysqld]
datadir={settings.data}
socket={SOCKET}
pid-file=sql.pid
tmpdir={settings.folder / "tmp"}
bind-address={settings.address}
port={Ports.SQL}
skip-name-resolve
skip-networking=OFF
local-infile=OFF
secure-file-priv={settings.folder / "tmp"}
require-secure-transport=ON
tls_version=TLSv1.2,TLSv1.3
ssl_ca={ca}
ssl_cert={cert}
ssl_key={key}
default-storage-engine=InnoDB
character-set-server=utf8mb4
collation-server=utf8mb4_bin
transaction-isolation=READ-COMMITTED
binlog_format=ROW
innodb_autoinc_lock_mode=2
innodb_flush_log_at_trx_commit=1
innodb_buffer_pool_size={POOL}
innodb_log_file_size={LOG}
innodb_flush_method=O_DIRECT
performance_schema=OFF
max_connections=200
table_open_cache=400
wsrep_on=ON
wsrep_provider={PROVIDER}
wsrep_cluster_name={settings.cluster}
wsrep_node_name={settings.site}
wsrep_node_address={settings.address}
wsrep_node_incoming_address={settings.address}:{Ports.SQL}
wsrep_cluster_address=gcomm://{",".join(f"{peer}:{Ports.SQL_CLUSTER}" for peer in settings.peers)}
wsrep_slave_threads=4
wsrep_retry_autocommit=4
wsrep_sst_method=mariabackup
wsrep_sst_auth={settings.account}:
wsrep_sst_receive_address={settings.address}:{Ports.SQL_SNAPSHOT}
wsrep_provider_options="{_provider_options(settings, is_node=True)}"

[sst]
encrypt=4
ssl-mode=VERIFY_CA
tca={ca}
tcert={cert}
tkey={key}
sockopt=",bind={settings.address}"
sst-log-archive=0
"""


def witness_argv(program: str, settings: NodeSettings) -> tuple[str, ...]:
    """The command line of the arbitrator of a witness site."""
    others = (peer for peer in settings.peers if peer != settings.address)
    return (
        program,
        *("--address", "gcomm://" + ",".join(f"{peer}:{Ports.SQL_CLUSTER}" for peer in others)),
        *("--group", settings.cluster, "--name", settings.site, "--workdir", str(settings.folder)),
        *("--options", _provider_options(settings, is_node=False)),
    )


def render_accounts(settings: NodeSettings) -> tuple[str, ...]:
    """The statements that make the region's database, who may use it, and who may only read it, for backups: each by
    certificate, not password.

    SeaweedFS has a database, one table and an account of its own, which may change rows and nothing else.
    """
    made = (
        f"CREATE DATABASE IF NOT EXISTS {SQL_DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        _account(settings, SQL_USER, sql_client(settings.region)),
        f"GRANT ALL PRIVILEGES ON {SQL_DATABASE}.* TO {SQL_USER}@'%'",
        _account(settings, SQL_READER, sql_reader(settings.region)),
        f"GRANT SELECT ON {SQL_DATABASE}.* TO {SQL_READER}@'%'",
    )
    if not settings.objects:
        return made
    return (
        *made,
        f"CREATE DATABASE IF NOT EXISTS {OBJECTS_DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        f"CREATE TABLE IF NOT EXISTS {OBJECTS_DATABASE}.filemeta (dirhash BIGINT NOT NULL, name VARCHAR(766) NOT NULL,"
        " directory TEXT NOT NULL, meta LONGBLOB, PRIMARY KEY (dirhash, name))",
        _account(settings, OBJECTS_USER, objects_client(settings.region)),
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {OBJECTS_DATABASE}.filemeta TO {OBJECTS_USER}@'%'",
    )


def _account(settings: NodeSettings, user: str, client: str) -> str:
    issuer = f"/CN={settings.authority}"
    return f"CREATE USER IF NOT EXISTS {user}@'%' REQUIRE SUBJECT '/CN={client}' AND ISSUER '{issuer}'"


def _files(settings: NodeSettings) -> tuple[Path, Path, Path]:
    """Authority, certificate and key."""
    own = settings.pki / data_leaf(settings.site)
    return settings.pki / f"{data_authority(settings.region)}.crt", own.with_suffix(".crt"), own.with_suffix(".key")


def _provider_options(settings: NodeSettings, is_node: bool) -> str:
    ca, cert, key = _files(settings)
    options = {
        "base_host": settings.address,
        "base_port": str(Ports.SQL_CLUSTER),
        "gmcast.listen_addr": f"tcp://{settings.address}:{Ports.SQL_CLUSTER}",
        "gmcast.segment": str(settings.number),
        "pc.recovery": "true",
        **TIMES,
        "socket.ssl": "YES",
        "socket.ssl_ca": str(ca),
        "socket.ssl_cert": str(cert),
        "socket.ssl_key": str(key),
    }
    if is_node:
        options |= {
            "ist.recv_addr": f"{settings.address}:{Ports.SQL_INCREMENT}",
            "gcache.size": CACHE,
            "gcache.recover": "yes",
        }
    return ";".join(f"{name}={value}" for name, value in options.items())
