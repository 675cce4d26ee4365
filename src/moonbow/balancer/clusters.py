"""Whom a door sends requests to: clusters, and the endpoints that change with the operator's word.

Laws: this site's gateways come first and sister sites second; `own-*` clusters hold this site's gateways alone, and
only they decide whether the site is healthy; a region's sites are tried nearest first; every hop to another site is
mutual TLS over a link address.
"""

from __future__ import annotations

from moonbow.world import Ports, SiteRef, World, door_address, link_address, nearest_sites, site_address
from moonbow.world.model import Policy

from .model import BUFFER_BYTES, CONNECTIONS_PER_CLIENT, Door, Json, SiteHealth
from .policies import spread_of
from .tls import to_region
from .xds import address, extension, resources, source, typed

LOCAL_REST, LOCAL_STREAM = "local-rest", "local-stream"  # own gateways, then sister sites
OWN_REST, OWN_STREAM = "own-rest", "own-stream"  # own gateways alone
GATEWAY_IDLE_S = 4.0  # less than gateways keep an idle connection, so that none is used while they close it
_HTTP = "extensions.upstreams.http.v3.HttpProtocolOptions"


def region_cluster(region: str) -> str:
    """The cluster of a region's primary sites, seen from another region or from an edge."""
    return f"region-{region}"


def foreign_regions(door: Door) -> tuple[str, ...]:
    """The regions reached through the mesh: all others, and for an edge its own too."""
    return tuple(region for region in door.regions() if door.is_edge or region != door.ref.region)


def compile_clusters(door: Door) -> Json:
    """The CDS file."""
    found: list[Json] = []
    if not door.is_edge:
        balancing = door.world.balancing
        for name, policy in _own_services(balancing.rest, balancing.stream):
            found.append(_gateways(door, name, policy))
    found += [_region(door, region) for region in foreign_regions(door)]
    return resources(*found)


def compile_endpoints(door: Door, health: SiteHealth) -> dict[str, Json]:
    """The EDS files: of clusters whose endpoints the operator's word changes.

    Every file followed costs one of the few watchers that Linux gives a user.  Other sites of the mesh tell their own
    health, so `own-stream` and regions are written with their clusters.
    """
    if door.is_edge:
        return {}
    found: list[Json] = []
    for name, stream in ((LOCAL_REST, False), (LOCAL_STREAM, True)):
        own = _locality(door.ref, 0, _own_gateways(door, health, stream=stream))
        sisters = [_locality(ref, 1, _links(door, ref, health, mark=True)) for ref in door.sisters()]
        found.append(_assignment(name, [own, *sisters]))
    found.append(_assignment(OWN_REST, [_locality(door.ref, 0, _own_gateways(door, health, stream=False))]))
    kind = "config.endpoint.v3.ClusterLoadAssignment"
    return {f"eds-{one['cluster_name']}.json": resources(typed(kind, **one)) for one in found}


def _own_services(rest: Policy, stream: Policy) -> tuple[tuple[str, Policy], ...]:
    return ((LOCAL_REST, rest), (LOCAL_STREAM, stream), (OWN_REST, rest), (OWN_STREAM, stream))


def _gateways(door: Door, name: str, policy: Policy) -> Json:
    """Plain HTTP/1.1 to own gateways; endpoints marked `mesh` are doors of sister sites and get mutual TLS.

    If none is healthy a local cluster tries them all: a gateway that answers is better than a door that does not.
    """
    options = typed(
        _HTTP,
        common_http_protocol_options={"idle_timeout": f"{GATEWAY_IDLE_S}s"},
        explicit_http_config={"http_protocol_options": {}},
    )
    found = {
        **_cluster(name, "HTTP1", options, streams_max(door)),
        "load_balancing_policy": spread_of(policy),
        "common_lb_config": {"healthy_panic_threshold": {"value": 1 if name.startswith("local-") else 0}},
    }
    if name == OWN_STREAM:
        own = _locality(door.ref, 0, _own_gateways(door, SiteHealth(), stream=True))
        return {**found, "type": "STATIC", "load_assignment": _assignment(name, [own])}
    followed = {"type": "EDS", "eds_cluster_config": {"eds_config": source(door, f"eds-{name}.json")}}
    if name == OWN_REST:
        return {**found, **followed}
    raw = "extensions.transport_sockets.raw_buffer.v3.RawBuffer"
    to_sisters = to_region(door, door.ref.region, "http/1.1")
    matches = [
        {"name": "mesh", "match": {"mesh": True}, "transport_socket": to_sisters},
        {"name": "gateway", "match": {}, "transport_socket": extension("envoy.transport_sockets.raw_buffer", raw)},
    ]
    return {**found, **followed, "transport_socket_matches": matches}


def _region(door: Door, region: str) -> Json:
    """HTTP/2 over mutual TLS; WebSockets are extended CONNECT streams in it (RFC 8441)."""
    http2 = {"allow_connect": True, "connection_keepalive": {"interval": "10s", "timeout": "3s"}}
    options = typed(_HTTP, explicit_http_config={"http2_protocol_options": http2})
    nearest = enumerate(nearest_sites(door.world, region, door.ref))
    sites = [_locality(ref, priority, _links(door, ref, SiteHealth())) for priority, ref in nearest]
    name = region_cluster(region)
    return {
        **_cluster(name, "HTTP2", options, streams_max(door)),
        "type": "STATIC",
        "load_assignment": _assignment(name, sites),
        "load_balancing_policy": spread_of("round_robin"),
        "transport_socket": to_region(door, region, "h2"),
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def streams_max(door: Door) -> int:
    """Streams and requests to one cluster at once: what the whole world's clients could ask for."""
    return CONNECTIONS_PER_CLIENT * sum(ref.site.capacity for ref in door.world.sites())


def _cluster(name: str, codec: str, options: Json, most: int) -> Json:
    return typed(
        "config.cluster.v3.Cluster",
        name=name,
        connect_timeout="0.5s",
        per_connection_buffer_limit_bytes=BUFFER_BYTES,
        ignore_health_on_host_removal=True,
        health_checks=[_probe(codec, 2 if name.startswith(("local-", "own-")) else 4)],
        outlier_detection=_ejection(),
        circuit_breakers={"thresholds": [_bounds(most)]},
        typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    )


def _probe(codec: str, unused_s: int) -> Json:
    """Who fails is asked again soon; who is well every 2 s, or `unused_s` as long as no request has used the cluster.

    Without jitter the clusters of a door ask at one moment, which wakes door and gateway once.
    """
    return {
        "interval": "2s",
        "no_traffic_interval": "0.5s",
        "no_traffic_healthy_interval": f"{unused_s}s",
        "unhealthy_interval": "0.5s",
        "unhealthy_edge_interval": "0.5s",
        "healthy_edge_interval": "0.5s",
        "timeout": "0.5s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 2,
        "http_health_check": {"path": "/healthz", "host": "door.moonbow", "codec_client_type": codec},
    }


def _ejection() -> Json:
    """Eject who cannot be reached.  An answer never ejects: a gateway may say 503 for somebody else's trouble."""
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 2,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "5s",
        "max_ejection_time": "30s",
        "max_ejection_percent": 100,
        "always_eject_one_host": True,
        "successful_active_health_check_uneject_host": True,
    }


def _bounds(most: int) -> Json:
    """Limits of a cluster; every request may be tried again, since a dead site fails all of them at once."""
    return {
        "max_connections": most,
        "max_requests": most,
        "max_pending_requests": 1024,
        "retry_budget": {"budget_percent": {"value": 100}, "min_retry_concurrency": 100},
    }


def _assignment(name: str, localities: list[Json]) -> Json:
    """140: a priority that loses more than two sevenths of its endpoints passes the rest of its share on."""
    return {"cluster_name": name, "endpoints": localities, "policy": {"overprovisioning_factor": 140}}


def _locality(ref: SiteRef, priority: int, endpoints: list[Json]) -> Json:
    return {
        "locality": {"region": ref.region, "zone": ref.site.name},
        "priority": priority,
        "lb_endpoints": endpoints,
    }


def _own_gateways(door: Door, health: SiteHealth, *, stream: bool) -> list[Json]:
    """Every gateway of this site; the stream's health is asked on the same gateway's REST port."""
    host = site_address(door.world, door.ref)
    found: list[Json] = []
    for number in range(door.ref.site.gateways):
        endpoint: Json = {"address": address(host, (Ports.STREAM if stream else Ports.REST) + number)}
        if stream:
            endpoint["health_check_config"] = {"port_value": Ports.REST + number}
        found.append({"endpoint": endpoint, **_wish(door.ref, health)})
    return found


def _links(door: Door, dest: SiteRef, health: SiteHealth, *, mark: bool = False) -> list[Json]:
    """The mesh addresses of another site; `mark` asks for mutual TLS where a cluster also has plain endpoints."""
    marked = {"metadata": {"filter_metadata": {"envoy.transport_socket_match": {"mesh": True}}}} if mark else {}
    return [
        {"endpoint": {"address": address(host, Ports.MESH)}, **marked, **_wish_far(dest, health)}
        for host in mesh_addresses(door.world, door.ref, dest)
    ]


def mesh_addresses(world: World, src: SiteRef, dest: SiteRef) -> tuple[str, ...]:
    """Where `src` dials the mesh of `dest`: a link on one machine, every door of it on real hosts."""
    if dest.site.address is None:
        return (link_address(world, src, dest),)
    return tuple(door_address(world, dest, number) for number in range(dest.site.doors))


def _wish(ref: SiteRef, health: SiteHealth) -> Json:
    return {"health_status": "DRAINING"} if health.refuses(ref.site.name) else {}


def _wish_far(dest: SiteRef, health: SiteHealth) -> Json:
    """For another site that is unfit, only what nobody better can take.

    Envoy's own checks come on top: who does not answer them gets nothing, whatever the director thinks.
    """
    unfit = {"health_status": "DEGRADED"} if dest.site.name in health.unfit else {}
    return _wish(dest, health) or unfit
