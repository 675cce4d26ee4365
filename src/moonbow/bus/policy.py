"""Decides how the two bus servers of a site are configured, and who may say and hear what on them.

`bus` carries account R of the region and is joined to its sisters; `border` carries account X and is joined straight
to the border server of every other site, so that a site which goes leaves the way to the next one standing
(`docs/adr/0005`).

Laws: no server can store anything; a region's account exists on its own `bus` servers only; in account X a region
publishes only as itself and hears only what is sent to it or to everybody; only the border of an open region knows
servers of another; servers dial each other through link addresses only, so that a cut link is cut.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from moonbow.world import Ports, SiteRef, World, link_address, site_address

PAYLOAD_BYTES_MAX = 1_048_576
PENDING_BYTES_MAX = 32 * 1_048_576  # unread by one connection before its server closes it
CONNECTIONS_MAX = 1_024
SUBSCRIPTIONS_MAX = 10_000  # of one connection
PING_INTERVAL_S = 1
PINGS_MAX = 2  # unanswered before a connection counts as dead: a black hole is noticed in 3 to 4 s
Server = Literal["bus", "border"]
SERVERS: tuple[Server, ...] = ("bus", "border")
_PORTS = {  # of clients, of the monitor, of other servers
    "bus": (Ports.BUS, Ports.BUS_MONITOR, Ports.BUS_ROUTES),
    "border": (Ports.BORDER, Ports.BORDER_MONITOR, Ports.BORDER_ROUTES),
}
_NOWHERE = 1  # a port nobody listens on, see `_advertised`


def peers(world: World, region: str) -> tuple[str, ...]:
    """The regions that `region` can talk to over account X, in file order; none from or to a sealed one."""
    if world.regions[region].sealed:
        return ()
    return tuple(name for name, found in world.regions.items() if name != region and not found.sealed)


def sisters(world: World, ref: SiteRef) -> tuple[SiteRef, ...]:
    """The other primary sites of the region of `ref`, in file order."""
    return tuple(other for other in world.primaries(ref.region) if other.site.name != ref.site.name)


def neighbours(world: World, ref: SiteRef) -> tuple[SiteRef, ...]:
    """The primary sites whose border servers that of `ref` is joined to: its sisters first."""
    return (*sisters(world, ref), *(other for region in peers(world, ref.region) for other in world.primaries(region)))


def server_urls(world: World, ref: SiteRef, server: Server) -> tuple[str, ...]:
    """Where processes of a site find such a server: their own site's first, then its sisters' in file order."""
    sites = sorted(world.primaries(ref.region), key=lambda other: other.site.name != ref.site.name)
    return tuple(f"tls://{site_address(world, other)}:{_PORTS[server][0]}" for other in sites)


def user_files(state: Path, region: str, account: str) -> tuple[Path, Path, Path]:
    """Authority, certificate and key of the bus user of `region` in `account`, which is `r` or `x`."""
    pki = state / "pki"
    return pki / "mesh-ca.crt", pki / f"bus-{account}-{region}.crt", pki / f"bus-{account}-{region}.key"


def render_server(world: World, ref: SiteRef, state: Path, server: Server) -> str:
    """Configuration text of a server of primary site `ref`, for nats-server 2.15 or later."""
    here, (port, monitor, _) = site_address(world, ref), _PORTS[server]
    blocks = [
        f'server_name: "{ref.site.name}"',
        f"listen: {_quoted(here, port)}",
        f"http: {_quoted(here, monitor)}",
        "debug: false\ntrace: false",  # a trace would write payloads to disk
        f"max_payload: {PAYLOAD_BYTES_MAX}",
        f"max_pending: {PENDING_BYTES_MAX}",
        f"max_connections: {CONNECTIONS_MAX}",
        f"max_subscriptions: {SUBSCRIPTIONS_MAX}",
        f'ping_interval: "{PING_INTERVAL_S}s"\nping_max: {PINGS_MAX}\nwrite_deadline: "2s"',
        _tls(state, ref, "verify_and_map: true, handshake_first: true"),
        "authorization { timeout: 2 }",
        _cluster(world, ref, state, server),
        _accounts(ref.region, _account_r(ref.region) if server == "bus" else _account_x(ref.region)),
    ]
    return "\n".join(blocks) + "\n"


def _tls(state: Path, ref: SiteRef, verify: str) -> str:
    pki = state / "pki"
    return (
        f'tls {{ cert_file: "{pki}/mesh-{ref.site.name}.crt", key_file: "{pki}/mesh-{ref.site.name}.key", '
        f'ca_file: "{pki}/mesh-ca.crt", {verify}, min_version: "1.2", timeout: 2 }}'
    )


def _advertised(world: World, ref: SiteRef, port: int) -> str:
    """What a server tells others about where it is reached.

    On one machine every pair of sites has a link address of its own, which gossip does not know; a server there
    advertises a port that nobody listens on, and only the configured addresses lead anywhere.
    """
    return _quoted(site_address(world, ref), port if ref.site.address else _NOWHERE)


def _cluster(world: World, ref: SiteRef, state: Path, server: Server) -> str:
    """The servers that `server` is joined to, each by a connection of its own, and which certificates it takes."""
    port = _PORTS[server][2]
    crosses = server == "border" and not world.regions[ref.region].sealed
    others = neighbours(world, ref) if server == "border" else sisters(world, ref)
    routes = ",\n    ".join(_url(world, ref, other, port) for other in others)
    return f"""cluster {{
  name: {server if crosses else f"{server}-{ref.region}"}
  listen: {_quoted(site_address(world, ref), port)}
  advertise: {_advertised(world, ref, port)}
  no_advertise: true
  pool_size: -1
  {_tls(state, ref, "verify_and_map: true")}
  authorization {{ user: "node.{"" if crosses else f"{ref.region}."}bus.moonbow" }}
  routes: [
    {routes}
  ]
}}"""


def _url(world: World, src: SiteRef, dst: SiteRef, port: int) -> str:
    return f'"tls://{dst.site.address or link_address(world, src, dst)}:{port}"'


def _quoted(address: str, port: int) -> str:
    return f'"{address}:{port}"'


def _accounts(region: str, account: str) -> str:
    """The one account of a server, and one for the servers themselves, whose events stay in the region."""
    return f"""accounts {{
  SYS_{region} {{ }}
  {account}
}}
system_account: SYS_{region}"""


def _account_r(region: str) -> str:
    return f"""R_{region} {{ users: [ {{ user: "r.{region}.bus.moonbow", permissions: {{
    publish: {{ deny: ["$JS.>", "$SYS.>"] }}
    subscribe: {{ deny: ["$JS.>", "$SYS.>"] }} }} }} ] }}"""


def _account_x(region: str) -> str:
    return f"""X {{ users: [ {{ user: "x.{region}.bus.moonbow", permissions: {{
    publish: {{ allow: ["private.{region}.to.*.>", "private.*.rpc.{region}.>", "shared.{region}.>"], deny: ["$JS.>"] }}
    subscribe: {{ allow: ["private.*.to.{region}.>", "private.{region}.rpc.*.>", "shared.>", "_INBOX.{region}.>"],
                 deny: ["$JS.>"] }}
    allow_responses: {{ max: 1, expires: "10s" }} }} }} ] }}"""
